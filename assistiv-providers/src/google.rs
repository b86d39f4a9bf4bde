//! Google's Gemini API.
//!
//! Gemini API reference, "Generating content", "Function calling", "Thinking" and "Thought signatures", read on
//! 2026-11-23. The caller's dialect is another one, so a request is written anew from the neutral conversation, and
//! an answer is read into neutral events. What a model takes is data (the module `model`).

mod answer;
mod classify;
mod embeddings;
mod encode;
mod model;
mod parts;
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
use self::embeddings::EmbeddingsDecoder;
use self::stream::StreamDecoder;
use self::whole::WholeDecoder;
use crate::key;

/// The name of the adapter, under which its state is remembered.
const NAME: &str = "google";
const API_KEY: HeaderName = HeaderName::from_static("x-goog-api-key");

/// The adapter for Google's Gemini API.
#[derive(Clone, Copy, Debug, Default)]
pub struct Google;

#[async_trait]
impl Provider for Google {
    fn name(&self) -> &str {
        NAME
    }

    fn support(&self, operation: Operation) -> Support {
        match operation {
            Operation::ChatCompletions | Operation::Responses | Operation::Messages => {
                Support::Translated
            }
            Operation::Embeddings => Support::Translated,
            _ => Support::Unsupported,
        }
    }

    fn encode(
        &self,
        request: &InferenceRequest,
        target: &Target,
    ) -> Result<Encoded, ProviderError> {
        match request.operation() {
            Operation::Embeddings => embeddings::encode(request, target),
            _ => encode::encode(request, target),
        }
    }

    async fn authorize(
        &self,
        request: &mut http::Request<Bytes>,
        credential: &Credential,
    ) -> Result<(), ProviderError> {
        let key = key::header("", credential)?;
        request.headers_mut().insert(API_KEY, key);
        Ok(())
    }

    fn classify(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> ProviderError {
        classify::response(status, headers, body)
    }

    fn decoder(&self, request: &InferenceRequest, target: &Target) -> Box<dyn Decoder> {
        if request.operation() == Operation::Embeddings {
            return Box::new(EmbeddingsDecoder::new(request, target.slug().as_str()));
        }
        let answer = Answer::new(AnswerWriter::new(request, target), target.upstream_model());
        if request.is_stream() {
            Box::new(StreamDecoder::new(answer))
        } else {
            Box::new(WholeDecoder::new(answer))
        }
    }
}

#[cfg(test)]
mod tests;
