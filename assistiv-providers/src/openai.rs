//! OpenAI's chat completions, and the servers that speak the same format with small differences.
//!
//! The caller's dialect is the provider's own, so a request is edited and not rebuilt: the members that must
//! differ are exchanged in the caller's bytes, and an answer's frames are treated the same way on their way back.
//! What a server does differently is data, a [`Dialect`]; so is what each model takes. Models that call functions on
//! the Responses API alone are reached there (the module `responses`), without the caller noticing.

mod answer;
mod choice;
mod classify;
mod dialect;
mod encode;
mod model;
mod responses;
mod stream;
mod usage;
mod whole;

pub use dialect::{DeveloperRole, Dialect, FinishReason, ReasoningTokens};

use std::borrow::Cow;
use std::sync::Arc;

use assistiv_core::call::{InferenceRequest, Operation};
use assistiv_core::provider::{Credential, Decoder, Encoded, Provider, ProviderError, Support};
use assistiv_core::routing::{Target, UpstreamApi};
use async_trait::async_trait;
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderMap, StatusCode};

use self::answer::Answer;
use self::stream::StreamDecoder;
use self::whole::WholeDecoder;
use crate::key;

/// The adapter for OpenAI and the servers that speak its format.
#[derive(Clone, Debug)]
pub struct OpenAiCompatible {
    dialect: Arc<Dialect>,
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
}

#[async_trait]
impl Provider for OpenAiCompatible {
    fn name(&self) -> &str {
        &self.dialect.name
    }

    fn support(&self, operation: Operation) -> Support {
        match operation {
            Operation::ChatCompletions => Support::Native,
            Operation::Responses | Operation::Messages if self.dialect.responses.is_some() => {
                Support::Translated
            }
            _ => Support::Unsupported,
        }
    }

    fn speaks(&self, api: UpstreamApi) -> bool {
        api == UpstreamApi::Chat || self.dialect.responses.is_some()
    }

    fn is_rewritten(&self, request: &InferenceRequest, target: &Target) -> bool {
        responses::bridges(&self.dialect, request, target)
    }

    fn encode(
        &self,
        request: &InferenceRequest,
        target: &Target,
    ) -> Result<Encoded, ProviderError> {
        if self.is_rewritten(request, target) {
            return responses::encode(&self.dialect, request, target);
        }
        encode::encode(&self.dialect, request, target.into())
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
        if self.is_rewritten(request, target) {
            return responses::decoder(&self.dialect, request, target);
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
