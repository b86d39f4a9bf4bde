//! Query strings: parameters are read one by one, and all that is wrong is told at once.

use std::convert::Infallible;
use std::str::FromStr;

use assistiv_core::Problem;
use assistiv_core::error::FieldError;
use assistiv_core::store::Page;
use axum::extract::FromRequestParts;
use http::request::Parts;
use url::form_urlencoded;

use super::ApiState;
use super::refusal::Refusal;

const LIMIT_MAX: u32 = 100;

/// The parameters of a query. Those that nobody reads are ignored.
pub(super) struct Query {
    pairs: Vec<(String, String)>,
    errors: Vec<FieldError>,
}

impl FromRequestParts<ApiState> for Query {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &ApiState) -> Result<Self, Infallible> {
        let query = parts.uri.query().unwrap_or_default();
        Ok(Self {
            pairs: form_urlencoded::parse(query.as_bytes())
                .into_owned()
                .collect(),
            errors: Vec::new(),
        })
    }
}

// === impl Query ===

impl Query {
    /// Which page of a list.
    pub(super) fn page(&mut self) -> Page {
        let default = Page::default();
        let page = self.read("page", |text| number(text, u32::MAX));
        let limit = self.read("limit", |text| number(text, LIMIT_MAX));
        Page {
            page: page.unwrap_or(default.page),
            limit: limit.unwrap_or(default.limit),
        }
    }

    /// Any text.
    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        self.read(name, |text| Ok(text.to_owned()))
    }

    /// `true` or `false`.
    pub(super) fn flag(&mut self, name: &str) -> Option<bool> {
        self.read(name, |text| {
            text.parse().map_err(|_| "must be true or false".to_owned())
        })
    }

    /// The text of a `T`.
    pub(super) fn parsed<T>(&mut self, name: &str) -> Option<T>
    where
        T: FromStr,
        T::Err: std::fmt::Display,
    {
        self.read(name, |text| {
            text.parse().map_err(|error: T::Err| error.to_string())
        })
    }

    /// Reads a parameter with `read`, which says what it must be.
    pub(super) fn read<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let mut values = self.pairs.iter().filter(|(key, _)| key == name);
        let (_, text) = values.next()?;
        let result = match values.next() {
            Some(_) => Err("must be given once".to_owned()),
            None => read(text),
        };
        result
            .map_err(|message| {
                self.errors.push(FieldError {
                    param: name.to_owned(),
                    message,
                })
            })
            .ok()
    }

    /// Fails with all errors that were found, if any.
    pub(super) fn finish(self) -> Result<(), Refusal> {
        if self.errors.is_empty() {
            Ok(())
        } else {
            Err(Problem::validation(&self.errors).into())
        }
    }
}

fn number(text: &str, max: u32) -> Result<u32, String> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    let value = text
        .parse()
        .ok()
        .filter(|value| digits && (1..=max).contains(value));
    value.ok_or_else(|| format!("must be an integer of 1 to {max}"))
}
