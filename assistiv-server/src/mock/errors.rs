//! OpenAI's errors: <https://platform.openai.com/docs/guides/error-codes>.

use std::borrow::Cow;

use http::StatusCode;
use serde::Serialize;

use super::reply::Reply;
use super::stats::Outcome;
use super::wire;

const INVALID_REQUEST: &str = "invalid_request_error";
const SERVER_ERROR: &str = "server_error";

/// An error with the status that carries it.
#[derive(Debug, Clone)]
pub(super) struct ApiError {
    status: StatusCode,
    error: ErrorBody,
}

#[derive(Debug, Clone, Serialize)]
struct ErrorBody {
    message: Cow<'static, str>,
    #[serde(rename = "type")]
    kind: &'static str,
    param: Option<&'static str>,
    code: Option<&'static str>,
}

#[derive(Serialize)]
struct Envelope<'a> {
    error: &'a ErrorBody,
}

// === impl ApiError ===

impl ApiError {
    fn new(
        status: StatusCode,
        kind: &'static str,
        code: Option<&'static str>,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            status,
            error: ErrorBody {
                message: message.into(),
                kind,
                param: None,
                code,
            },
        }
    }

    fn about(mut self, param: &'static str) -> Self {
        self.error.param = Some(param);
        self
    }

    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    pub(super) fn message(&self) -> &str {
        &self.error.message
    }

    /// `{"error": …}`, as a body or as a stream's frame.
    pub(super) fn json(&self) -> String {
        wire::json(&Envelope { error: &self.error })
    }
}

impl From<ApiError> for Reply {
    fn from(error: ApiError) -> Self {
        Self::json(error.status, error.json(), Outcome::Failed)
    }
}

pub(super) fn no_key() -> ApiError {
    let message = "You didn't provide an API key. You need to provide your API key in an \
        Authorization header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY). You can \
        obtain an API key from https://platform.openai.com/account/api-keys.";
    ApiError::new(StatusCode::UNAUTHORIZED, INVALID_REQUEST, None, message)
}

/// Repeats the key, so that tests can prove that a gateway takes it out.
pub(super) fn invalid_key(key: &str) -> ApiError {
    let message = format!(
        "Incorrect API key provided: {key}. You can find your API key at \
         https://platform.openai.com/account/api-keys."
    );
    ApiError::new(
        StatusCode::UNAUTHORIZED,
        INVALID_REQUEST,
        Some("invalid_api_key"),
        message,
    )
}

pub(super) fn unknown_url(method: &str, path: &str) -> ApiError {
    let message = format!(
        "Invalid URL ({method} {path}). Please check the URL for typos, or see the docs at \
         https://platform.openai.com/docs/api-reference/."
    );
    ApiError::new(
        StatusCode::NOT_FOUND,
        INVALID_REQUEST,
        Some("unknown_url"),
        message,
    )
}

/// The request's body was too large or broke off.
pub(super) fn unreadable() -> ApiError {
    let message = "The request body could not be read or is too large.";
    ApiError::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        INVALID_REQUEST,
        None,
        message,
    )
}

pub(super) fn not_json() -> ApiError {
    let message = "We could not parse the JSON body of your request. The OpenAI API expects a \
        JSON payload, but what was sent was not valid JSON.";
    ApiError::new(StatusCode::BAD_REQUEST, INVALID_REQUEST, None, message)
}

pub(super) fn missing(param: &'static str) -> ApiError {
    let message = format!("Missing required parameter: '{param}'.");
    let code = Some("missing_required_parameter");
    ApiError::new(StatusCode::BAD_REQUEST, INVALID_REQUEST, code, message).about(param)
}

/// A field of the wrong type; OpenAI words it by field, the mock repeats its parser's text.
pub(super) fn wrong_type(error: &serde_json::Error) -> ApiError {
    let message = format!("Invalid type in the request: {error}.");
    ApiError::new(
        StatusCode::BAD_REQUEST,
        INVALID_REQUEST,
        Some("invalid_type"),
        message,
    )
}

pub(super) fn invalid(param: &'static str, reason: impl Into<Cow<'static, str>>) -> ApiError {
    ApiError::new(
        StatusCode::BAD_REQUEST,
        INVALID_REQUEST,
        Some("invalid_value"),
        reason,
    )
    .about(param)
}

pub(super) fn quota() -> ApiError {
    let message = "You exceeded your current quota, please check your plan and billing details. \
        For more information on this error, read the docs: \
        https://platform.openai.com/docs/guides/error-codes/api-errors.";
    let kind = "insufficient_quota";
    ApiError::new(StatusCode::TOO_MANY_REQUESTS, kind, Some(kind), message)
}

pub(super) fn server_error() -> ApiError {
    let message = "The server had an error while processing your request. Sorry about that!";
    ApiError::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        SERVER_ERROR,
        None,
        message,
    )
}

/// What OpenAI says with `status` about a request for `model` with `key`.
pub(super) fn with_status(status: StatusCode, model: &str, key: &str) -> ApiError {
    let error = |kind, code, message: String| ApiError::new(status, kind, code, message);
    match status {
        StatusCode::UNAUTHORIZED => invalid_key(key),
        StatusCode::FORBIDDEN => error(
            "request_forbidden",
            Some("unsupported_country_region_territory"),
            "Country, region, or territory not supported".to_owned(),
        ),
        StatusCode::NOT_FOUND => error(
            INVALID_REQUEST,
            Some("model_not_found"),
            format!("The model `{model}` does not exist or you do not have access to it."),
        ),
        StatusCode::TOO_MANY_REQUESTS => error(
            "requests",
            Some("rate_limit_exceeded"),
            format!(
                "Rate limit reached for {model} in organization org-mock on requests per min \
                 (RPM): Limit 500, Used 500, Requested 1. Please try again in 2s."
            ),
        ),
        StatusCode::SERVICE_UNAVAILABLE => error(
            "service_unavailable_error",
            Some("server_is_overloaded"),
            "The engine is currently overloaded, please try again later.".to_owned(),
        ),
        _ if status.is_server_error() => ApiError {
            status,
            ..server_error()
        },
        _ => error(
            INVALID_REQUEST,
            None,
            format!("The request failed with status {status}."),
        ),
    }
}
