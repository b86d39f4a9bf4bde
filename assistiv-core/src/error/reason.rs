//! The stable reasons of errors (`docs/api-design.md`).

use http::StatusCode;

/// The stable, fine-grained value that programs branch on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Reason(&'static Entry);

#[derive(Debug, PartialEq, Eq, Hash)]
struct Entry {
    name: &'static str,
    status: u16,
    meaning: &'static str,
}

/// OpenAI's error types, so that unmodified clients behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorType {
    /// The request is at fault.
    InvalidRequest,
    /// The key is at fault.
    Authentication,
    /// Wallet or budget cannot pay.
    Billing,
    /// The key may not do this.
    Permission,
    /// Too many requests.
    RateLimit,
    /// The gateway or the provider is at fault.
    Server,
}

macro_rules! reasons {
    ($(#[doc = $meaning:literal] $constant:ident = $name:literal, $status:literal;)*) => {
        impl Reason {
            $(
                #[doc = $meaning]
                pub const $constant: Self =
                    Self(&Entry { name: $name, status: $status, meaning: $meaning });
            )*

            /// Every reason, in the order of the specification.
            pub const ALL: &'static [Self] = &[$(Self::$constant),*];
        }
    };
}

reasons! {
    /// The body is not acceptable JSON.
    INVALID_JSON = "invalid_json", 400;
    /// Broken HTTP: host or framing.
    INVALID_REQUEST = "invalid_request", 400;
    /// A field is missing or out of range; `details.errors` lists all.
    VALIDATION_FAILED = "validation_failed", 400;
    /// The server demands an `Idempotency-Key`.
    IDEMPOTENCY_KEY_REQUIRED = "idempotency_key_required", 400;
    /// Header and path name different platforms.
    PLATFORM_MISMATCH = "platform_mismatch", 400;
    /// This model or path cannot take the parameter.
    UNSUPPORTED_PARAMETER = "unsupported_parameter", 400;
    /// This model or path cannot take the value.
    UNSUPPORTED_VALUE = "unsupported_value", 400;
    /// Model and endpoint do not fit.
    UNSUPPORTED_ENDPOINT = "unsupported_endpoint", 400;
    /// The prompt is longer than the model takes.
    CONTEXT_LENGTH_EXCEEDED = "context_length_exceeded", 400;
    /// The provider refused the request.
    PROVIDER_BAD_REQUEST = "provider_bad_request", 400;
    /// No key was presented.
    MISSING_API_KEY = "missing_api_key", 401;
    /// The key has the wrong shape or is unknown.
    INVALID_API_KEY = "invalid_api_key", 401;
    /// The key is switched off.
    API_KEY_REVOKED = "api_key_revoked", 401;
    /// The key is past its expiry.
    API_KEY_EXPIRED = "api_key_expired", 401;
    /// The end user is paused.
    BUDGET_SUSPENDED = "budget_suspended", 402;
    /// A limit of the budget is used up.
    BUDGET_EXHAUSTED = "budget_exhausted", 402;
    /// The platform wallet is empty.
    WALLET_INSUFFICIENT = "wallet_insufficient", 402;
    /// There is no active budget where one is needed.
    BUDGET_REQUIRED = "budget_required", 402;
    /// The caller may not act here.
    FORBIDDEN = "forbidden", 403;
    /// The route wants another kind of key.
    WRONG_KEY_TYPE = "wrong_key_type", 403;
    /// The key lacks a scope.
    INSUFFICIENT_SCOPE = "insufficient_scope", 403;
    /// The platform is switched off.
    PLATFORM_DISABLED = "platform_disabled", 403;
    /// The end user is switched off.
    END_USER_DISABLED = "end_user_disabled", 403;
    /// The browser origin is refused.
    ORIGIN_NOT_ALLOWED = "origin_not_allowed", 403;
    /// The provider does not take base URLs of platforms.
    BASE_URL_NOT_ALLOWED = "base_url_not_allowed", 403;
    /// The module is switched off.
    FEATURE_DISABLED = "feature_disabled", 403;
    /// No such route or object.
    NOT_FOUND = "not_found", 404;
    /// The model is unknown or not usable on this platform.
    MODEL_NOT_FOUND = "model_not_found", 404;
    /// No such end user on this platform.
    END_USER_NOT_FOUND = "end_user_not_found", 404;
    /// No such key on this platform.
    API_KEY_NOT_FOUND = "api_key_not_found", 404;
    /// The end user has no active budget.
    BUDGET_NOT_FOUND = "budget_not_found", 404;
    /// No such LLM config on this platform.
    LLM_CONFIG_NOT_FOUND = "llm_config_not_found", 404;
    /// No such webhook on this platform, or no such delivery of it.
    WEBHOOK_NOT_FOUND = "webhook_not_found", 404;
    /// No such stored response of this caller.
    RESPONSE_NOT_FOUND = "response_not_found", 404;
    /// No such capability.
    CAPABILITY_NOT_FOUND = "capability_not_found", 404;
    /// No such entry of a wallet or budget.
    TRANSACTION_NOT_FOUND = "transaction_not_found", 404;
    /// The path takes other methods.
    METHOD_NOT_ALLOWED = "method_not_allowed", 405;
    /// The body stopped arriving.
    REQUEST_TIMEOUT = "request_timeout", 408;
    /// The name is taken by another model.
    ALIAS_TAKEN = "alias_taken", 409;
    /// The slug is taken.
    SLUG_TAKEN = "slug_taken", 409;
    /// There is an active budget already.
    BUDGET_EXISTS = "budget_exists", 409;
    /// A top-up of a limit that is not set.
    BUDGET_LIMIT_NOT_SET = "budget_limit_not_set", 409;
    /// The end user has no display ledger.
    DISPLAY_LEDGER_DISABLED = "display_ledger_disabled", 409;
    /// The last platform key that may manage cannot go.
    LAST_PLATFORM_KEY = "last_platform_key", 409;
    /// No more active keys are allowed.
    KEY_LIMIT_REACHED = "key_limit_reached", 409;
    /// No more webhooks are allowed.
    WEBHOOK_LIMIT_REACHED = "webhook_limit_reached", 409;
    /// More would be given back than was taken.
    ALREADY_REFUNDED = "already_refunded", 409;
    /// The delivery was resolved in the other way.
    ALREADY_RESOLVED = "already_resolved", 409;
    /// The balance is too small.
    INSUFFICIENT_BALANCE = "insufficient_balance", 409;
    /// Another response of the thread is being written.
    THREAD_BUSY = "thread_busy", 409;
    /// Calls of the period are still being settled.
    SETTLEMENT_PENDING = "settlement_pending", 409;
    /// The key was used with another body.
    IDEMPOTENCY_KEY_REUSED = "idempotency_key_reused", 409;
    /// A request with this key is still running.
    IDEMPOTENCY_IN_PROGRESS = "idempotency_in_progress", 409;
    /// The body is too large.
    PAYLOAD_TOO_LARGE = "payload_too_large", 413;
    /// The URI is too long.
    URI_TOO_LONG = "uri_too_long", 414;
    /// Not `application/json`, or encoded.
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type", 415;
    /// A rate limit of the end user or the platform is reached.
    RATE_LIMIT_EXCEEDED = "rate_limit_exceeded", 429;
    /// All candidates throttle.
    PROVIDER_RATE_LIMITED = "provider_rate_limited", 429;
    /// Headers are too large or too many.
    HEADERS_TOO_LARGE = "headers_too_large", 431;
    /// A bug.
    INTERNAL_ERROR = "internal_error", 500;
    /// The provider failed.
    PROVIDER_ERROR = "provider_error", 502;
    /// The provider sent nonsense.
    PROVIDER_MALFORMED_OUTPUT = "provider_malformed_output", 502;
    /// The provider's stream was cut before its end; only inside streams.
    PROVIDER_STREAM_INTERRUPTED = "provider_stream_interrupted", 502;
    /// The platform's provider key was refused.
    PROVIDER_AUTH_ERROR = "provider_auth_error", 502;
    /// No route has a price in force.
    PRICING_MISSING = "pricing_missing", 503;
    /// All candidates are overloaded.
    PROVIDER_OVERLOADED = "provider_overloaded", 503;
    /// The platform's provider account is used up.
    PROVIDER_QUOTA_EXHAUSTED = "provider_quota_exhausted", 503;
    /// A dependency is down, or the node is full or draining.
    SERVICE_UNAVAILABLE = "service_unavailable", 503;
    /// The provider was too slow.
    PROVIDER_TIMEOUT = "provider_timeout", 504;
}

impl Reason {
    /// The text on the wire.
    pub const fn as_str(self) -> &'static str {
        self.0.name
    }

    /// When it occurs, in one sentence.
    pub fn meaning(self) -> &'static str {
        self.0.meaning.trim()
    }

    /// The status that goes with it.
    pub fn status(self) -> StatusCode {
        StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The standard class of the status: `error.code`.
    pub const fn code(self) -> &'static str {
        match self.0.status {
            400 => "bad_request",
            401 => "unauthorized",
            402 => "payment_required",
            403 => "forbidden",
            404 => "not_found",
            405 => "method_not_allowed",
            408 => "request_timeout",
            409 => "conflict",
            413 => "payload_too_large",
            414 => "uri_too_long",
            415 => "unsupported_media_type",
            429 => "rate_limited",
            431 => "headers_too_large",
            502 => "bad_gateway",
            503 => "service_unavailable",
            504 => "gateway_timeout",
            _ => "internal_error",
        }
    }

    /// OpenAI's type for the status.
    pub const fn error_type(self) -> ErrorType {
        match self.0.status {
            401 => ErrorType::Authentication,
            402 => ErrorType::Billing,
            403 => ErrorType::Permission,
            429 => ErrorType::RateLimit,
            500.. => ErrorType::Server,
            _ => ErrorType::InvalidRequest,
        }
    }
}

impl ErrorType {
    /// The text on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request_error",
            Self::Authentication => "authentication_error",
            Self::Billing => "billing_error",
            Self::Permission => "permission_error",
            Self::RateLimit => "rate_limit_error",
            Self::Server => "server_error",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_statuses_known() {
        for (i, reason) in Reason::ALL.iter().enumerate() {
            assert!(
                Reason::ALL[..i]
                    .iter()
                    .all(|other| other.as_str() != reason.as_str()),
                "{reason:?}"
            );
            assert!(reason.status().is_client_error() || reason.status().is_server_error());
            assert!(
                (reason.code() == "internal_error") == (reason.status().as_u16() == 500),
                "{reason:?}"
            );
        }
    }
}
