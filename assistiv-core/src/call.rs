//! A model call as it grows: [`Call`] → [`Authenticated`] → [`Planned`] → [`Funded`].
//!
//! Each layer of the stack takes the type that the layer before it made, so that a stack in the wrong order
//! does not compile and nothing reaches a provider without a [`Funded`] value.

mod chat;
mod embeddings;
mod fields;
mod messages;
mod request;
mod responses;

pub(crate) use chat::tokens_of_bytes;
pub(crate) use responses::tokens_of_items;

pub use request::{InferenceRequest, LimitField};

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use tokio::time::Instant;

use crate::auth::{Identity, PresentedKey};
use crate::billing::Hold;
use crate::error::FieldError;
use crate::id::LogId;
use crate::json::JsonError;
use crate::limits::Reserved;
use crate::routing::Plan;

/// What a caller wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// OpenAI's `POST /v1/chat/completions`.
    ChatCompletions,
    /// OpenAI's `POST /v1/responses`.
    Responses,
    /// Anthropic's `POST /v1/messages`.
    Messages,
    /// Anthropic's `POST /v1/messages/count_tokens`.
    CountTokens,
    /// OpenAI's `POST /v1/embeddings`.
    Embeddings,
}

/// A model call as it came in.
#[derive(Clone, Debug)]
pub struct Call {
    /// The key that was presented.
    pub key: PresentedKey,
    /// What is wanted.
    pub operation: Operation,
    /// The body, in the operation's dialect.
    pub body: Bytes,
    /// Headers that belong to the operation's dialect. Only those that [`Operation::headers`] names count.
    pub headers: HeaderMap,
    /// The id under which the caller and the log know the request.
    pub request_id: Arc<str>,
    /// When its last byte arrived.
    pub received_at: Instant,
}

/// A call whose caller is known.
#[derive(Debug)]
pub struct Authenticated {
    pub(crate) call: Call,
    pub(crate) identity: Arc<Identity>,
}

/// A call that may be sent to one of several targets, at a known price.
#[derive(Debug)]
pub struct Planned {
    pub(crate) identity: Arc<Identity>,
    pub(crate) request: InferenceRequest,
    pub(crate) plan: Plan,
    pub(crate) log_id: LogId,
    pub(crate) request_id: Arc<str>,
    pub(crate) received_at: Instant,
    /// Tokens that rate limits have counted for it.
    pub(crate) reserved: Option<Reserved>,
}

/// A call for which money is held.
#[derive(Debug)]
pub struct Funded {
    pub(crate) planned: Planned,
    pub(crate) hold: Hold,
}

/// Why a request cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The body is not acceptable JSON.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// Fields are missing or out of range; all at once.
    #[error("{} fields are not valid", .0.len())]
    Fields(Vec<FieldError>),
    /// An operation of another service than this one.
    #[error("this operation is not served")]
    NotServed(Operation),
    /// A parameter that this endpoint cannot honour.
    #[error("`{param}` is not supported here: {hint}")]
    UnsupportedParameter {
        /// Which one.
        param: String,
        /// What to do instead.
        hint: &'static str,
    },
}

// === impl Operation ===

impl Operation {
    /// Those that this version serves.
    pub const SERVED: &'static [Self] = &[
        Self::ChatCompletions,
        Self::Responses,
        Self::Messages,
        Self::CountTokens,
        Self::Embeddings,
    ];

    /// The path under which it is called.
    pub const fn path(self) -> &'static str {
        match self {
            Self::ChatCompletions => "/v1/chat/completions",
            Self::Responses => "/v1/responses",
            Self::Messages => "/v1/messages",
            Self::CountTokens => "/v1/messages/count_tokens",
            Self::Embeddings => "/v1/embeddings",
        }
    }

    /// The headers that are part of the dialect: what the caller says in them is for a provider of the same
    /// dialect.
    pub const fn headers(self) -> &'static [&'static str] {
        match self {
            Self::Messages | Self::CountTokens => &["anthropic-version", "anthropic-beta"],
            _ => &[],
        }
    }

    /// What a model has to be able to do: whoever writes messages can say how large one is.
    pub(crate) const fn ability(self) -> Self {
        match self {
            Self::CountTokens => Self::Messages,
            other => other,
        }
    }

    /// The operation of a path, when this version serves it.
    pub fn of(path: &str) -> Option<Self> {
        let mut served = Self::SERVED.iter().copied();
        served.find(|operation| operation.path() == path)
    }
}

// === impl Call ===

impl Call {
    /// A call that has just arrived, with a fresh request id.
    pub fn new(key: PresentedKey, operation: Operation, body: impl Into<Bytes>) -> Self {
        let request_id = format!("req_{}", uuid::Uuid::now_v7().simple());
        Self {
            key,
            operation,
            body: body.into(),
            headers: HeaderMap::new(),
            request_id: request_id.into(),
            received_at: Instant::now(),
        }
    }

    /// The same call with headers of its dialect.
    #[must_use]
    pub fn with_headers(mut self, headers: HeaderMap) -> Self {
        self.headers = headers;
        self
    }

    /// The same call under the caller's own request id.
    #[must_use]
    pub fn with_request_id(mut self, request_id: impl Into<Arc<str>>) -> Self {
        self.request_id = request_id.into();
        self
    }
}

// === impl Authenticated ===

impl Authenticated {
    /// Who calls.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }
}

// === impl Planned ===

impl Planned {
    /// Who calls.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// What is asked.
    pub fn request(&self) -> &InferenceRequest {
        &self.request
    }

    /// Where it may go and what it may cost.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The id of the call's log row and charge.
    pub fn log_id(&self) -> LogId {
        self.log_id
    }

    pub(crate) fn fund(self, hold: Hold) -> Funded {
        Funded {
            planned: self,
            hold,
        }
    }
}
