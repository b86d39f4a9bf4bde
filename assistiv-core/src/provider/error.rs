//! Errors of providers: what happened, who is at fault, whether another target may be tried.

use std::error::Error as StdError;
use std::time::Duration;

use super::transport::{TransportError, TransportErrorKind};

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProviderErrorKind {
    /// The request is wrong, as was seen before the provider was asked.
    Invalid,
    /// The provider refused the request as wrong.
    BadRequest,
    /// The prompt is longer than the model takes.
    ContextLength,
    /// The model does not take a parameter.
    UnsupportedParameter,
    /// The model does not take a value.
    UnsupportedValue,
    /// The provider does not know the model.
    ModelNotFound,
    /// The request is too large.
    PayloadTooLarge,
    /// The provider key was refused.
    Auth,
    /// The provider account is used up.
    Quota,
    /// The provider throttles.
    RateLimited,
    /// The provider is overloaded.
    Overloaded,
    /// The provider was asked for something that stands in the way of something else; asked again, it may answer.
    Conflict,
    /// The provider failed, or the connection to it did.
    Failed,
    /// The provider sent nonsense.
    Malformed,
    /// The answer broke off.
    Interrupted,
    /// The provider was too slow.
    Timeout,
}

/// Who is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The caller, whose request is wrong.
    Caller,
    /// The platform, whose provider account is.
    Platform,
    /// The provider.
    Provider,
}

/// A failed attempt to have a provider answer.
///
/// `Display` is safe for the caller: an adapter passes a provider's text on only after taking secrets out.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct ProviderError {
    kind: ProviderErrorKind,
    message: String,
    param: Option<String>,
    retry_after: Option<Duration>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

// === impl ProviderErrorKind ===

impl ProviderErrorKind {
    /// Who is at fault.
    pub const fn fault(self) -> Fault {
        match self {
            Self::Invalid
            | Self::BadRequest
            | Self::ContextLength
            | Self::UnsupportedParameter
            | Self::UnsupportedValue
            | Self::ModelNotFound
            | Self::PayloadTooLarge => Fault::Caller,
            Self::Auth | Self::Quota => Fault::Platform,
            _ => Fault::Provider,
        }
    }

    /// Whether another target may do better, as long as nothing was delivered.
    pub const fn may_try_another(self) -> bool {
        !matches!(self.fault(), Fault::Caller)
    }

    const fn message(self) -> &'static str {
        match self {
            Self::Invalid => "the request is not valid",
            Self::BadRequest => "the provider refused the request",
            Self::ContextLength => "the prompt is longer than the model takes",
            Self::UnsupportedParameter => "the model does not take one of the parameters",
            Self::UnsupportedValue => "the model does not take one of the values",
            Self::ModelNotFound => "the provider does not know this model",
            Self::PayloadTooLarge => "the request is too large for the provider",
            Self::Auth => {
                "the provider refused this platform's provider key; replace it in the LLM config"
            }
            Self::Quota => "this platform's account at the provider is used up",
            Self::RateLimited => "the provider limits the rate of this platform's requests",
            Self::Overloaded => "the provider is overloaded",
            Self::Conflict | Self::Failed => "the provider failed",
            Self::Malformed => "the provider sent an answer that cannot be read",
            Self::Interrupted => "the provider's stream ended before the answer was complete",
            Self::Timeout => "the provider did not answer in time",
        }
    }
}

// === impl ProviderError ===

impl ProviderError {
    /// An error with the standard message of its kind.
    pub fn new(kind: ProviderErrorKind) -> Self {
        Self {
            kind,
            message: kind.message().to_owned(),
            param: None,
            retry_after: None,
            source: None,
        }
    }

    /// Replaces the message. The text must be safe for the caller.
    #[must_use]
    pub fn with_message(mut self, message: impl Into<String>) -> Self {
        self.message = message.into();
        self
    }

    /// Names the offending parameter.
    #[must_use]
    pub fn with_param(mut self, param: impl Into<String>) -> Self {
        self.param = Some(param.into());
        self
    }

    /// Says how long the provider asked to wait.
    #[must_use]
    pub fn with_retry_after(mut self, after: Option<Duration>) -> Self {
        self.retry_after = after;
        self
    }

    /// Keeps a cause for the log.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What went wrong.
    pub fn kind(&self) -> ProviderErrorKind {
        self.kind
    }

    /// The offending parameter.
    pub fn param(&self) -> Option<&str> {
        self.param.as_deref()
    }

    /// How long the provider asked to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

impl From<TransportError> for ProviderError {
    fn from(error: TransportError) -> Self {
        let kind = match error.kind() {
            TransportErrorKind::Timeout => ProviderErrorKind::Timeout,
            TransportErrorKind::Connect
            | TransportErrorKind::Refused
            | TransportErrorKind::Broken => ProviderErrorKind::Failed,
        };
        Self::new(kind).with_source(error)
    }
}
