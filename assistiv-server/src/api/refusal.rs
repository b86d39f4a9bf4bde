//! Refusals on their way out: from a typed error to the error envelope.

use std::error::Error;
use std::sync::Arc;

use assistiv_core::Problem;
use assistiv_core::auth::AuthError;
use assistiv_core::command::CommandError;
use assistiv_core::error::{FieldError, Reason};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use uuid::Uuid;

use super::ApiState;
use crate::http::problem::{self, RequestId};

/// What a handler gives: an answer, or why there is none.
pub(super) type Handled = Result<Response, Refusal>;

/// Why a request gets no answer. It becomes a body in [`render`], which knows the request's id.
#[derive(Debug)]
pub(super) struct Refusal(Box<Refused>);

#[derive(Clone, Debug)]
struct Refused {
    problem: Problem,
    /// What the caller is not told, for the log.
    cause: Option<Arc<dyn Error + Send + Sync>>,
}

// === impl Refusal ===

impl Refusal {
    /// Refuses with a reason and a message for people.
    pub(super) fn new(reason: Reason, message: impl Into<String>) -> Self {
        Problem::new(reason, message).into()
    }

    /// Refuses because of one field.
    pub(super) fn field(param: &str, message: &str) -> Self {
        let error = FieldError {
            param: param.to_owned(),
            message: message.to_owned(),
        };
        Problem::validation(&[error]).into()
    }

    /// Refuses because of something that cannot be the caller's fault.
    pub(super) fn internal(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        CommandError::Internal(error.into()).into()
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self(Box::new(Refused {
            problem,
            cause: None,
        }))
    }
}

impl From<CommandError> for Refusal {
    fn from(error: CommandError) -> Self {
        Self(Box::new(Refused {
            problem: Problem::from(&error),
            cause: Some(Arc::new(error)),
        }))
    }
}

impl From<AuthError> for Refusal {
    fn from(error: AuthError) -> Self {
        Self(Box::new(Refused {
            problem: Problem::from(&error),
            cause: Some(Arc::new(error)),
        }))
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = self.0.problem.status().into_response();
        response.extensions_mut().insert(*self.0);
        response
    }
}

/// Gives every request an id and every refusal its body; logs what is not the caller's fault.
pub(super) async fn render(
    State(state): State<ApiState>,
    mut request: Request,
    next: Next,
) -> Response {
    let id = request
        .extensions()
        .get::<RequestId>()
        .cloned()
        .unwrap_or_else(|| {
            let id = RequestId(format!("req_{}", Uuid::now_v7().simple()).into());
            request.extensions_mut().insert(id.clone());
            id
        });
    let mut response = next.run(request).await;
    let Some(Refused { problem, cause }) = response.extensions_mut().remove::<Refused>() else {
        return response;
    };
    if problem.status().is_server_error() {
        let cause = cause.as_deref().map(|cause| cause as &dyn Error);
        tracing::error!(
            request_id = &*id.0,
            reason = problem.reason.as_str(),
            error = cause,
            "a request failed"
        );
    }
    problem::response(&problem, &id, &state.docs_url).map(Body::new)
}

/// Answers on paths that lead nowhere.
pub(super) async fn unknown_path() -> Refusal {
    Refusal::new(
        Reason::NOT_FOUND,
        "there is nothing at this path; paths match exactly, without a trailing slash",
    )
}

/// Answers when a path takes other methods; `Allow` names them.
pub(super) async fn wrong_method() -> Refusal {
    Refusal::new(
        Reason::METHOD_NOT_ALLOWED,
        "this path takes other methods; see the header `Allow`",
    )
}
