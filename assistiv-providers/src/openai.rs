//! OpenAI's chat completions, and the servers that speak the same format with small differences.
//!
//! Where the caller's dialect is the provider's own, a request is edited and not rebuilt: the members that must
//! differ are exchanged in the caller's bytes, and an answer's frames are treated the same way on their way back.
//! For callers of other dialects there is the module `translated`. What a server does differently is data, a
//! [`Dialect`].

mod answer;
mod choice;
mod classify;
mod dialect;
mod embeddings;
mod encode;
mod stream;
mod translated;
mod usage;
mod whole;

pub use dialect::{DeveloperRole, Dialect, FinishReason, ReasoningTokens};

use std::borrow::Cow;
use std::sync::Arc;

use assistiv_core::call::{InferenceRequest, Operation};
use assistiv_core::provider::{
    AnswerWriter, Credential, Decoder, Encoded, Provider, ProviderError, ProviderErrorKind, Support,
};
use assistiv_core::routing::Target;
use async_trait::async_trait;
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, StatusCode};
use secrecy::ExposeSecret;

use self::answer::Answer;
use self::embeddings::EmbeddingsDecoder;
use self::stream::StreamDecoder;
use self::whole::WholeDecoder;

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
            Operation::ChatCompletions | Operation::Embeddings => Support::Native,
            Operation::Messages => Support::Translated,
            _ => Support::Unsupported,
        }
    }

    fn encode(
        &self,
        request: &InferenceRequest,
        target: &Target,
    ) -> Result<Encoded, ProviderError> {
        match request.operation() {
            Operation::ChatCompletions => {
                encode::encode(&self.dialect, request, target.into()).map(Encoded::from)
            }
            Operation::Embeddings => embeddings::encode(request, target).map(Encoded::from),
            _ => translated::encode(&self.dialect, request, target),
        }
    }

    async fn authorize(
        &self,
        request: &mut http::Request<Bytes>,
        credential: &Credential,
    ) -> Result<(), ProviderError> {
        request
            .headers_mut()
            .insert(AUTHORIZATION, bearer(credential.secret().expose_secret())?);
        Ok(())
    }

    fn classify(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> ProviderError {
        classify::response(status, headers, body)
    }

    fn decoder(&self, request: &InferenceRequest, target: &Target) -> Box<dyn Decoder> {
        match request.operation() {
            Operation::ChatCompletions => {}
            Operation::Embeddings => {
                return Box::new(EmbeddingsDecoder::new(request, target.slug().as_str()));
            }
            _ => {
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

/// A key with a line break in it would write headers of its own, so such a key is never sent.
fn bearer(key: &str) -> Result<HeaderValue, ProviderError> {
    let refused = || ProviderError::new(ProviderErrorKind::Auth);
    if key.is_empty() || !key.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(refused());
    }
    let mut value = HeaderValue::try_from(format!("Bearer {key}")).map_err(|_| refused())?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests;
