//! From a typed error to what the caller reads.

use std::time::Duration;

use http::StatusCode;
use serde::Serialize;
use serde::ser::SerializeStruct;
use serde_json::{Map, Value, json};

use super::{Error, Reason};
use crate::auth::AuthError;
use crate::billing::{ActRefusal, FundError};
use crate::call::RequestError;
use crate::command::CommandError;
use crate::limits::{RateLimitStatus, RateLimited};
use crate::provider::{ProviderError, ProviderErrorKind};
use crate::responses::ResponseError;
use crate::routing::PlanError;
use crate::store::StoreError;

/// What a caller reads of an error: the envelope of `docs/api-design.md`, and its headers.
#[derive(Clone, Debug)]
pub struct Problem {
    /// Decides status, code and type.
    pub reason: Reason,
    /// For people: names the thing, the value and the way out; never internals.
    pub message: String,
    /// The offending field in dotted form.
    pub param: Option<String>,
    /// What a program may want beside the reason.
    pub details: Map<String, Value>,
    /// How long to wait before the same request may succeed.
    pub retry_after: Option<Duration>,
    /// Whether repeating the same request makes sense; `None` leaves it to the client.
    pub should_retry: Option<bool>,
    /// What is left of rate limits.
    pub rate_limits: Option<Box<RateLimitStatus>>,
}

/// One bad field of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// The field in dotted form.
    pub param: String,
    /// What is wrong with it.
    pub message: String,
}

// === impl Problem ===

impl Problem {
    /// A problem with nothing but reason and message.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
            param: None,
            details: Map::new(),
            retry_after: None,
            should_retry: None,
            rate_limits: None,
        }
    }

    /// `validation_failed` with all bad fields at once.
    pub fn validation(errors: &[FieldError]) -> Self {
        let message = match errors {
            [one] => format!("`{}` {}", one.param, one.message),
            many => format!("{} fields are not valid, see details.errors", many.len()),
        };
        let mut problem = Self::new(Reason::VALIDATION_FAILED, message);
        problem.param = errors.first().map(|e| e.param.clone());
        problem.details.insert("errors".into(), json!(errors));
        problem
    }

    /// Names the offending field.
    #[must_use]
    pub fn with_param(mut self, param: impl Into<String>) -> Self {
        self.param = Some(param.into());
        self
    }

    /// Adds a detail.
    #[must_use]
    pub fn with_detail(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.details.insert(name.into(), value.into());
        self
    }

    /// Says how long to wait.
    #[must_use]
    pub fn with_retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        self.reason.status()
    }

    /// The JSON body `{"error": {…}}` for a request and a documentation base URL.
    pub fn to_json(&self, request_id: &str, docs_url: &str) -> String {
        let body = Body {
            problem: self,
            request_id,
            docs_url,
        };
        serde_json::to_string(&json!({ "error": body }))
            .unwrap_or_else(|_| "{\"error\":{}}".to_owned())
    }
}

struct Body<'a> {
    problem: &'a Problem,
    request_id: &'a str,
    docs_url: &'a str,
}

impl Serialize for Body<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Problem {
            reason,
            message,
            param,
            details,
            ..
        } = self.problem;
        let mut body = serializer.serialize_struct("Error", 8)?;
        body.serialize_field("code", reason.code())?;
        body.serialize_field("reason", reason.as_str())?;
        body.serialize_field("message", message)?;
        body.serialize_field("type", reason.error_type().as_str())?;
        body.serialize_field("param", param)?;
        body.serialize_field("details", details)?;
        body.serialize_field("request_id", self.request_id)?;
        let doc_url = format!("{}/docs/errors#{}", self.docs_url, reason.as_str());
        body.serialize_field("doc_url", &doc_url)?;
        body.end()
    }
}

impl From<&Error> for Problem {
    fn from(error: &Error) -> Self {
        match error {
            Error::Auth(error) => error.into(),
            Error::Request(error) => error.into(),
            Error::Plan(error) => error.into(),
            Error::RateLimited(error) => (&**error).into(),
            Error::Fund(error) => error.into(),
            Error::Provider(error) => error.into(),
            Error::Response(error) => error.into(),
            Error::Command(error) => error.into(),
            Error::Store(error) => error.into(),
            Error::Overloaded | Error::Draining => {
                Self::new(Reason::SERVICE_UNAVAILABLE, error.to_string())
                    .with_retry_after(Duration::from_secs(1))
            }
        }
    }
}

impl From<&AuthError> for Problem {
    fn from(error: &AuthError) -> Self {
        let reason = match error {
            AuthError::MissingKey => Reason::MISSING_API_KEY,
            AuthError::InvalidKey => Reason::INVALID_API_KEY,
            AuthError::Revoked => Reason::API_KEY_REVOKED,
            AuthError::Expired => Reason::API_KEY_EXPIRED,
            AuthError::PlatformDisabled => Reason::PLATFORM_DISABLED,
            AuthError::EndUserDisabled => Reason::END_USER_DISABLED,
            AuthError::WrongKeyType { .. } => Reason::WRONG_KEY_TYPE,
            AuthError::OtherPlatform => Reason::FORBIDDEN,
            AuthError::PlatformMismatch => Reason::PLATFORM_MISMATCH,
            AuthError::InsufficientScope { .. } => Reason::INSUFFICIENT_SCOPE,
            AuthError::Store(error) => return error.into(),
        };
        let problem = Self::new(reason, error.to_string());
        match error {
            AuthError::InsufficientScope { required } => {
                problem.with_detail("required", required.as_str())
            }
            _ => problem,
        }
    }
}

impl From<&RequestError> for Problem {
    fn from(error: &RequestError) -> Self {
        match error {
            RequestError::Json(cause) => Self::new(Reason::INVALID_JSON, cause.to_string()),
            RequestError::Fields(errors) => Self::validation(errors),
            RequestError::NotServed(_) => {
                Self::new(Reason::UNSUPPORTED_ENDPOINT, error.to_string())
            }
            RequestError::UnsupportedParameter { param, .. } => {
                Self::new(Reason::UNSUPPORTED_PARAMETER, error.to_string()).with_param(param)
            }
        }
    }
}

impl From<&PlanError> for Problem {
    fn from(error: &PlanError) -> Self {
        match error {
            PlanError::ModelNotFound { suggestion, .. } => {
                let problem =
                    Self::new(Reason::MODEL_NOT_FOUND, error.to_string()).with_param("model");
                match suggestion {
                    Some(slug) => problem.with_detail("suggestion", slug.as_str()),
                    None => problem,
                }
            }
            PlanError::PricingMissing { .. } => {
                let mut problem = Self::new(Reason::PRICING_MISSING, error.to_string());
                problem.should_retry = Some(false);
                problem
            }
            PlanError::UnsupportedEndpoint { .. } => {
                Self::new(Reason::UNSUPPORTED_ENDPOINT, error.to_string()).with_param("model")
            }
            PlanError::OutputLimitTooSmall { param, min } => Self::validation(&[FieldError {
                param: (*param).to_owned(),
                message: format!("must be at least {min} for this model"),
            }]),
            PlanError::ContextLength { .. } => {
                Self::new(Reason::CONTEXT_LENGTH_EXCEEDED, error.to_string()).with_param("messages")
            }
            PlanError::Secret => {
                let mut problem = Self::new(Reason::PROVIDER_AUTH_ERROR, error.to_string());
                problem.should_retry = Some(false);
                problem
            }
            PlanError::Store(error) => error.into(),
        }
    }
}

impl From<&RateLimited> for Problem {
    fn from(error: &RateLimited) -> Self {
        let mut problem = Self::new(Reason::RATE_LIMIT_EXCEEDED, error.to_string())
            .with_detail("limit_type", error.limit_type.as_str())
            .with_detail("scope", error.subject.as_str())
            .with_detail("limit", error.limit)
            .with_detail("retry_after_seconds", error.retry_after_seconds())
            .with_retry_after(error.retry_after);
        problem.rate_limits = Some(Box::new(error.status));
        problem
    }
}

impl From<&FundError> for Problem {
    fn from(error: &FundError) -> Self {
        let reason = match error {
            FundError::BudgetRequired => Reason::BUDGET_REQUIRED,
            FundError::BudgetSuspended => Reason::BUDGET_SUSPENDED,
            FundError::BudgetExhausted { .. } => Reason::BUDGET_EXHAUSTED,
            FundError::WalletInsufficient { .. } => Reason::WALLET_INSUFFICIENT,
            FundError::Uncertain { .. } => {
                return Self::new(Reason::SERVICE_UNAVAILABLE, error.to_string())
                    .with_detail("component", "billing")
                    .with_retry_after(Duration::from_secs(1));
            }
        };
        let mut problem = Self::new(reason, error.to_string());
        if let FundError::BudgetExhausted {
            dimension,
            resets_at,
            ..
        } = error
        {
            problem = problem.with_detail("ledger", dimension.as_str());
            if let Some(at) = resets_at {
                problem = problem.with_detail("resets_at", at.to_string());
            }
        }
        if let FundError::BudgetExhausted { shortfall, .. }
        | FundError::WalletInsufficient { shortfall } = error
        {
            problem = problem.with_detail("transient", shortfall.transient);
            if shortfall.transient {
                problem = problem.with_retry_after(Duration::from_secs(1));
            }
            if let Some((required, available)) = &shortfall.shown {
                problem.details.insert("required".into(), required.clone());
                problem
                    .details
                    .insert("available".into(), available.clone());
            }
        }
        problem
    }
}

impl From<&ProviderError> for Problem {
    fn from(error: &ProviderError) -> Self {
        use ProviderErrorKind as Kind;
        let (reason, should_retry) = match error.kind() {
            Kind::Invalid => {
                return Self::validation(&[FieldError {
                    param: error.param().unwrap_or_default().to_owned(),
                    message: error.to_string(),
                }]);
            }
            Kind::BadRequest => (Reason::PROVIDER_BAD_REQUEST, None),
            Kind::ContextLength => (Reason::CONTEXT_LENGTH_EXCEEDED, None),
            Kind::UnsupportedParameter => (Reason::UNSUPPORTED_PARAMETER, None),
            Kind::UnsupportedValue => (Reason::UNSUPPORTED_VALUE, None),
            Kind::ModelNotFound => (Reason::MODEL_NOT_FOUND, None),
            Kind::PayloadTooLarge => (Reason::PAYLOAD_TOO_LARGE, None),
            Kind::Auth => (Reason::PROVIDER_AUTH_ERROR, Some(false)),
            Kind::Quota => (Reason::PROVIDER_QUOTA_EXHAUSTED, Some(false)),
            Kind::RateLimited => (Reason::PROVIDER_RATE_LIMITED, None),
            Kind::Overloaded => (Reason::PROVIDER_OVERLOADED, None),
            Kind::Conflict | Kind::Failed => (Reason::PROVIDER_ERROR, None),
            Kind::Malformed => (Reason::PROVIDER_MALFORMED_OUTPUT, Some(false)),
            Kind::Interrupted => (Reason::PROVIDER_STREAM_INTERRUPTED, Some(false)),
            Kind::Timeout => (Reason::PROVIDER_TIMEOUT, None),
        };
        let mut problem = Self::new(reason, error.to_string());
        problem.retry_after = error.retry_after();
        problem.should_retry = should_retry;
        problem.param = error.param().map(str::to_owned);
        problem
    }
}

impl From<&ResponseError> for Problem {
    fn from(error: &ResponseError) -> Self {
        let invalid = |param: &str| {
            Self::validation(&[FieldError {
                param: param.to_owned(),
                message: error.to_string(),
            }])
        };
        match error {
            ResponseError::NotFound { param, .. } => {
                let mut problem = Self::new(Reason::RESPONSE_NOT_FOUND, error.to_string());
                problem.param = param.map(str::to_owned);
                problem
            }
            ResponseError::OtherThread => invalid("previous_response_id"),
            ResponseError::NoSuchItem { param } => invalid(param),
            ResponseError::TooLong => {
                Self::new(Reason::PAYLOAD_TOO_LARGE, error.to_string()).with_param("input")
            }
            ResponseError::ThreadBusy => {
                let mut problem = Self::new(Reason::THREAD_BUSY, error.to_string())
                    .with_param("thread_id")
                    .with_retry_after(Duration::from_secs(1));
                problem.should_retry = Some(true);
                problem
            }
            ResponseError::Store(error) => error.into(),
        }
    }
}

impl From<&CommandError> for Problem {
    fn from(error: &CommandError) -> Self {
        match error {
            CommandError::Refused { reason, message } => {
                let mut problem = Self::new(*reason, message.clone());
                if reason.status() == StatusCode::CONFLICT {
                    problem.should_retry = Some(*reason == Reason::IDEMPOTENCY_IN_PROGRESS);
                }
                problem
            }
            CommandError::Fields(errors) => Self::validation(errors),
            CommandError::Act(refusal) => (*refusal).into(),
            CommandError::Auth(error) => error.into(),
            CommandError::Store(error) => error.into(),
            CommandError::Internal(_) => Self::new(
                Reason::INTERNAL_ERROR,
                "something went wrong inside the gateway",
            ),
        }
    }
}

impl From<ActRefusal> for Problem {
    fn from(refusal: ActRefusal) -> Self {
        let field = match refusal {
            ActRefusal::NoLimit => "max_usd",
            ActRefusal::Replenish => "auto_replenish",
            ActRefusal::OutOfRange => "amount",
            _ => {
                let mut problem = Self::new(refusal.reason(), refusal.to_string());
                problem.should_retry = (problem.status() == StatusCode::CONFLICT).then_some(false);
                return match refusal {
                    ActRefusal::LimitNotSet(dimension) => {
                        problem.with_detail("ledger", dimension.as_str())
                    }
                    _ => problem,
                };
            }
        };
        Self::validation(&[FieldError {
            param: field.to_owned(),
            message: refusal.to_string(),
        }])
    }
}

impl From<&StoreError> for Problem {
    fn from(error: &StoreError) -> Self {
        match error {
            StoreError::NotFound => Self::new(Reason::NOT_FOUND, "no such object"),
            StoreError::Conflict(_) | StoreError::Unavailable(_) | StoreError::Lost { .. } => {
                Self::new(
                    Reason::SERVICE_UNAVAILABLE,
                    "the service is temporarily unavailable",
                )
                .with_retry_after(Duration::from_secs(1))
            }
            StoreError::Corrupt(_) => Self::new(
                Reason::INTERNAL_ERROR,
                "something went wrong inside the gateway",
            ),
        }
    }
}
