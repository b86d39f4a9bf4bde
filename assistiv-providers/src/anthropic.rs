//! Anthropic's Messages API.
//!
//! Anthropic API reference, "Messages", "Streaming messages" and "Errors", read on 2026-11-23. A caller of the same
//! dialect gets the provider's own bytes (the module `native`). For callers of others a request is written anew from
//! the neutral conversation, and an answer is read into neutral events. What a model takes is data (the module
//! `model`).

mod answer;
mod blocks;
mod classify;
mod encode;
mod model;
mod native;
mod schema;
mod stream;
mod usage;
mod whole;

use assistiv_core::call::{InferenceRequest, Operation};
use assistiv_core::provider::{
    AnswerWriter, Credential, Decoder, Encoded, Provider, ProviderError, Support,
};
use assistiv_core::routing::Target;
use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, StatusCode};

use self::answer::Answer;
use self::stream::StreamDecoder;
use self::whole::WholeDecoder;
use crate::key;

/// The name of the adapter, under which its state is remembered.
const NAME: &str = "anthropic";
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// The adapter for Anthropic's Messages API.
#[derive(Clone, Copy, Debug, Default)]
pub struct Anthropic;

#[async_trait]
impl Provider for Anthropic {
    fn name(&self) -> &str {
        NAME
    }

    fn support(&self, operation: Operation) -> Support {
        match operation {
            Operation::Messages | Operation::CountTokens => Support::Native,
            Operation::ChatCompletions | Operation::Responses => Support::Translated,
            _ => Support::Unsupported,
        }
    }

    fn encode(
        &self,
        request: &InferenceRequest,
        target: &Target,
    ) -> Result<Encoded, ProviderError> {
        match self.support(request.operation()) {
            Support::Native => native::encode(request, target).map(Encoded::from),
            _ => encode::encode(request, target),
        }
    }

    async fn authorize(
        &self,
        request: &mut http::Request<Bytes>,
        credential: &Credential,
    ) -> Result<(), ProviderError> {
        let value = key::header("", credential)?;
        request.headers_mut().insert(API_KEY, value);
        Ok(())
    }

    fn classify(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> ProviderError {
        classify::response(status, headers, body)
    }

    fn decoder(&self, request: &InferenceRequest, target: &Target) -> Box<dyn Decoder> {
        if self.support(request.operation()) == Support::Native {
            return native::decoder(request, target.slug().as_str());
        }
        let answer = Answer::new(AnswerWriter::new(request, target), target.upstream_model());
        if request.is_stream() {
            Box::new(StreamDecoder::new(answer))
        } else {
            Box::new(WholeDecoder::new(answer))
        }
    }

    fn counted(&self, body: &[u8]) -> Result<u64, ProviderError> {
        native::counted(body)
    }
}

#[cfg(test)]
mod tests;
