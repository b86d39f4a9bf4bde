//! OpenAI's chat completions, and the servers that speak the same format with small differences.
//!
//! Where the caller's dialect is the provider's own, a request is edited and not rebuilt: the members that must
//! differ are exchanged in the caller's bytes, and an answer's frames are treated the same way on their way back.
//! What a server does differently is data, a [`Dialect`]; so is what each model takes. Models that call functions on
//! the Responses API alone are reached there (the module `responses`), without the caller noticing; so are callers of
//! other dialects, where the server has that API, and by chat completions (the module `translated`) where it has not.

mod answer;
mod choice;
mod classify;
mod dialect;
mod embeddings;
mod encode;
mod model;
mod responses;
mod stream;
mod translated;
mod usage;
mod whole;

pub use dialect::{DeveloperRole, Dialect, FinishReason, ReasoningTokens};

use std::borrow::Cow;
use std::sync::Arc;

use assistiv_core::call::{InferenceRequest, Operation};
use assistiv_core::provider::{
    AnswerWriter, Credential, Decoder, Encoded, Provider, ProviderError, Support,
};
use assistiv_core::routing::{Target, UpstreamApi};
use async_trait::async_trait;
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderMap, StatusCode};

use self::answer::Answer;
use self::embeddings::EmbeddingsDecoder;
use self::stream::StreamDecoder;
use self::whole::WholeDecoder;
use crate::key;

/// The adapter for OpenAI and the servers that speak its format.
#[derive(Clone, Debug)]
pub struct OpenAiCompatible {
    dialect: Arc<Dialect>,
}

/// How a request reaches the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Chat completions, spliced.
    Chat,
    /// Embeddings, spliced.
    Embeddings,
    /// The Responses API.
    Responses,
    /// Chat completions, written anew.
    Translated,
}

// === impl OpenAiCompatible ===

impl OpenAiCompatible {
    /// An adapter for a dialect.
    pub fn new(dialect: Dialect) -> Self {
        Self {
            dialect: Arc::new(dialect),
        }
    }

    /// OpenAI itself.
    pub fn openai() -> Self {
        Self::new(Dialect::openai())
    }

    /// xAI's chat completions.
    pub fn xai() -> Self {
        Self::new(Dialect::xai())
    }

    /// Any other server of OpenAI's format: a local model server, an aggregator.
    pub fn compatible(name: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Dialect::compatible(name))
    }

    /// Whether the output limit is too small for the Responses API and the model has another.
    fn is_below_responses(&self, request: &InferenceRequest, target: &Target) -> bool {
        let asked = request.output_limit().map(|(_, limit)| limit);
        let limit = target.output_limit().or(asked);
        let least = self.dialect.responses.unwrap_or(0);
        target.upstream_api() == UpstreamApi::Chat && limit.is_some_and(|limit| limit < least)
    }

    fn way(&self, request: &InferenceRequest, target: &Target) -> Way {
        match request.operation() {
            Operation::Embeddings => Way::Embeddings,
            // Agents ask for a single token to see whether a key is good, which the Responses API refuses.
            Operation::Messages if self.is_below_responses(request, target) => Way::Translated,
            _ if responses::bridges(&self.dialect, request, target) => Way::Responses,
            Operation::ChatCompletions => Way::Chat,
            _ => Way::Translated,
        }
    }
}

#[async_trait]
impl Provider for OpenAiCompatible {
    fn name(&self) -> &str {
        &self.dialect.name
    }

    fn support(&self, operation: Operation) -> Support {
        match operation {
            Operation::ChatCompletions | Operation::Embeddings => Support::Native,
            Operation::Responses | Operation::Messages => Support::Translated,
            _ => Support::Unsupported,
        }
    }

    fn speaks(&self, api: UpstreamApi) -> bool {
        api == UpstreamApi::Chat || self.dialect.responses.is_some()
    }

    fn is_rewritten(&self, request: &InferenceRequest, target: &Target) -> bool {
        matches!(self.way(request, target), Way::Responses | Way::Translated)
    }

    fn encode(
        &self,
        request: &InferenceRequest,
        target: &Target,
    ) -> Result<Encoded, ProviderError> {
        match self.way(request, target) {
            Way::Chat => encode::encode(&self.dialect, request, target.into()),
            Way::Embeddings => embeddings::encode(request, target).map(Encoded::from),
            Way::Responses => responses::encode(&self.dialect, request, target),
            Way::Translated => translated::encode(&self.dialect, request, target),
        }
    }

    async fn authorize(
        &self,
        request: &mut http::Request<Bytes>,
        credential: &Credential,
    ) -> Result<(), ProviderError> {
        let key = key::header("Bearer ", credential)?;
        request.headers_mut().insert(AUTHORIZATION, key);
        Ok(())
    }

    fn classify(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> ProviderError {
        classify::response(status, headers, body)
    }

    fn decoder(&self, request: &InferenceRequest, target: &Target) -> Box<dyn Decoder> {
        match self.way(request, target) {
            Way::Chat => {}
            Way::Embeddings => {
                return Box::new(EmbeddingsDecoder::new(request, target.slug().as_str()));
            }
            Way::Responses => return responses::decoder(&self.dialect, request, target),
            Way::Translated => {
                let writer = AnswerWriter::new(request, target);
                return translated::decoder(&self.dialect, writer, request.is_stream());
            }
        }
        let answer = Answer::new(&self.dialect, request, target.slug().as_str());
        if request.is_stream() {
            Box::new(StreamDecoder::new(answer))
        } else {
            Box::new(WholeDecoder::new(answer))
        }
    }
}

#[cfg(test)]
mod tests;
