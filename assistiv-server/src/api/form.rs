//! Request bodies as forms: fields are read one by one, and all that is wrong is told at once.

use assistiv_core::Problem;
use assistiv_core::call::RequestError;
use assistiv_core::error::{FieldError, Reason};
use assistiv_core::json::{Members, check};
use axum::extract::{FromRequest, Request};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http_body::Body as _;

use super::ApiState;
use super::field::Read;
use super::refusal::Refusal;
use crate::http::body;

/// The fields of a JSON object. Fields that nobody reads are ignored.
pub(super) struct Form {
    members: Members,
    source: Bytes,
    errors: Vec<FieldError>,
}

/// A form that need not be sent: an absent body is an empty one.
pub(super) struct OptionalForm(pub(super) Form);

impl FromRequest<ApiState> for Form {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &ApiState) -> Result<Self, Refusal> {
        body::check_json(request.headers())?;
        let source = body::read(request.into_body(), state.body).await?;
        if source.is_empty() {
            return Err(Refusal::new(
                Reason::INVALID_JSON,
                "the request body is empty; send a JSON object",
            ));
        }
        Self::parse(source)
    }
}

impl FromRequest<ApiState> for OptionalForm {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &ApiState) -> Result<Self, Refusal> {
        if !request.headers().contains_key(CONTENT_TYPE) && request.body().is_end_stream() {
            return Form::parse(Bytes::from_static(b"{}")).map(Self);
        }
        Form::from_request(request, state).await.map(Self)
    }
}

// === impl Form ===

impl Form {
    fn parse(source: Bytes) -> Result<Self, Refusal> {
        let refused = |error| Refusal::from(Problem::from(&RequestError::Json(error)));
        check(&source).map_err(refused)?;
        if source.trim_ascii_start().first() != Some(&b'{') {
            return Err(Refusal::field("body", "must be a JSON object"));
        }
        let members = Members::parse_trusted(source.clone()).map_err(refused)?;
        Ok(Self {
            members,
            source,
            errors: Vec::new(),
        })
    }

    /// The body as it was sent.
    pub(super) fn source(&self) -> &[u8] {
        &self.source
    }

    /// Whether any of these fields was sent.
    pub(super) fn has_any(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.members.contains(name))
    }

    /// A field that must be sent.
    pub(super) fn required<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&str) -> Read<T>,
    ) -> Option<T> {
        if self.members.find(name).is_none() {
            self.error(name, "is required");
        }
        self.optional(name, read)
    }

    /// A field that may be sent; null stands for nothing.
    pub(super) fn optional<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&str) -> Read<T>,
    ) -> Option<T> {
        match read(self.members.find(name)?) {
            Ok(value) => Some(value),
            Err(message) => {
                self.error(name, message);
                None
            }
        }
    }

    /// A field to change, if it was sent; it cannot be cleared.
    pub(super) fn change<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&str) -> Read<T>,
    ) -> Option<T> {
        if self.members.contains(name) && self.members.find(name).is_none() {
            self.error(name, "must not be null");
        }
        self.optional(name, read)
    }

    /// A field to change, if it was sent; null clears it.
    pub(super) fn nullable<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&str) -> Read<T>,
    ) -> Option<Option<T>> {
        self.members
            .contains(name)
            .then(|| self.optional(name, read))
    }

    /// Adds an error.
    pub(super) fn error(&mut self, name: &str, message: impl Into<String>) {
        self.errors.push(FieldError {
            param: name.to_owned(),
            message: message.into(),
        });
    }

    /// Adds errors.
    pub(super) fn errors(&mut self, errors: Vec<FieldError>) {
        self.errors.extend(errors);
    }

    /// Makes something of the fields, if none is bad. `make` gives `None` where a required one is missing.
    pub(super) fn build<T>(self, make: impl FnOnce() -> Option<T>) -> Result<T, Refusal> {
        match make() {
            Some(made) if self.errors.is_empty() => Ok(made),
            _ => Err(Problem::validation(&self.errors).into()),
        }
    }
}
