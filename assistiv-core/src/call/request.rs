//! A request that has been read: what the gateway needs to know, and the body it may edit.

use bytes::Bytes;
use http::HeaderMap;

use crate::call::{Operation, RequestError, chat, embeddings, messages, responses};
use crate::conversation::{self, Conversation, Recalled};
use crate::json::Members;
use crate::provider::{ProviderError, ProviderErrorKind};
use crate::responses::Asked;

/// A request of some operation, read and validated.
#[derive(Clone, Debug)]
pub struct InferenceRequest {
    pub(crate) operation: Operation,
    pub(crate) members: Members,
    pub(crate) model: String,
    pub(crate) stream: bool,
    pub(crate) include_usage: bool,
    pub(crate) output_limit: Option<(LimitField, u64)>,
    pub(crate) choices: u32,
    pub(crate) service_tier: Option<String>,
    pub(crate) prompt_tokens: u64,
    pub(crate) recalled: Recalled,
    /// What a request for a response asks of the gateway itself.
    pub(crate) response: Option<Box<Asked>>,
    pub(crate) headers: HeaderMap,
}

/// The member in which a request limits its output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitField {
    /// `max_tokens`.
    MaxTokens,
    /// `max_completion_tokens`.
    MaxCompletionTokens,
    /// `max_output_tokens`, of responses.
    MaxOutputTokens,
}

/// Members that would change where, or with which credential, a provider is called. Always dropped.
const ROUTING_MEMBERS: [&str; 6] = [
    "base_url",
    "api_base",
    "api_key",
    "organization",
    "extra_headers",
    "api_version",
];

// === impl InferenceRequest ===

impl InferenceRequest {
    /// Reads and validates a body.
    ///
    /// # Errors
    /// [`RequestError`] names every bad field at once.
    pub fn parse(operation: Operation, body: Bytes) -> Result<Self, RequestError> {
        let mut members = Members::parse(body)?;
        for name in ROUTING_MEMBERS {
            members.remove(name);
        }
        match operation {
            Operation::ChatCompletions => chat::read(members),
            Operation::Responses => responses::read(members),
            Operation::Messages | Operation::CountTokens => messages::read(operation, members),
            Operation::Embeddings => embeddings::read(members),
        }
    }

    /// What is wanted.
    pub fn operation(&self) -> Operation {
        self.operation
    }

    /// The body, member by member.
    pub fn members(&self) -> &Members {
        &self.members
    }

    /// The slug that the caller asked for.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// Whether the answer is streamed.
    pub fn is_stream(&self) -> bool {
        self.stream
    }

    /// Whether the caller wants usage in the stream.
    pub fn wants_usage(&self) -> bool {
        self.include_usage
    }

    /// The output limit that the caller set, and where.
    pub fn output_limit(&self) -> Option<(LimitField, u64)> {
        self.output_limit
    }

    /// How many choices are asked for.
    pub fn choices(&self) -> u32 {
        self.choices
    }

    /// The request in no provider's dialect, for adapters that write it anew.
    ///
    /// # Errors
    /// [`ProviderErrorKind::Invalid`] and its neighbours name the
    /// field that cannot be understood or translated.
    pub fn conversation(&self) -> Result<Conversation<'_>, ProviderError> {
        match self.operation {
            Operation::ChatCompletions => conversation::read_chat(self),
            Operation::Responses => conversation::read_response(self),
            Operation::Messages | Operation::CountTokens => conversation::read_messages(self),
            _ => Err(ProviderError::new(ProviderErrorKind::Invalid)),
        }
    }

    /// The ids of the tool calls in the request, as far as it can be read.
    pub fn tool_call_ids(&self) -> Vec<String> {
        match self.operation {
            Operation::ChatCompletions => conversation::chat_call_ids(self),
            Operation::Responses => conversation::response_call_ids(self),
            Operation::Messages => conversation::messages_call_ids(self),
            _ => Vec::new(),
        }
    }

    /// Headers that belong to the operation's dialect, with values that may be sent on.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Adds the headers that came with the request; only those of its dialect are kept.
    #[must_use]
    pub fn with_headers(mut self, headers: &HeaderMap) -> Self {
        for name in self.operation.headers() {
            for value in headers.get_all(*name) {
                self.headers.append(*name, value.clone());
            }
        }
        self
    }

    /// What is remembered of the tool calls in the request.
    pub fn recalled(&self) -> &Recalled {
        &self.recalled
    }

    /// Adds what is remembered of the tool calls in the request; [`conversation`](Self::conversation) puts it
    /// where it belongs.
    pub fn recall(&mut self, recalled: Recalled) {
        self.recalled = recalled;
    }

    /// The prompt's size as counted without a tokenizer; used where the provider reports none.
    pub fn prompt_tokens(&self) -> u64 {
        self.prompt_tokens
    }
}

// === impl LimitField ===

impl LimitField {
    /// The member's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MaxTokens => "max_tokens",
            Self::MaxCompletionTokens => "max_completion_tokens",
            Self::MaxOutputTokens => "max_output_tokens",
        }
    }
}
