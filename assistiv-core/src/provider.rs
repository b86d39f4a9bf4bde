//! Providers: pure codecs, separate transport.
//!
//! An adapter implements [`Provider`]: it encodes a request for its API, and makes a [`Decoder`] that turns the
//! answer's bytes into what the caller's dialect expects. It does no I/O; bytes travel through a [`Transport`].
//! An adapter lives wherever its author likes and is handed to the gateway's builder.

mod answer;
mod error;
mod output;
mod registry;
pub mod sse;
mod transport;

pub use answer::AnswerWriter;
pub use error::{Fault, ProviderError, ProviderErrorKind};
pub use output::{Origin, Output, Piece};
pub use registry::{Providers, Registered};
pub use transport::{Transport, TransportError, TransportErrorKind, UpstreamBody, full_body};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use secrecy::SecretString;

use crate::call::{InferenceRequest, Operation};
use crate::conversation::Dropped;
use crate::routing::{Target, UpstreamApi};

/// How well an adapter serves an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Support {
    /// In the provider's own dialect: bytes are passed through.
    Native,
    /// Translated to another dialect and back.
    Translated,
    /// Not at all.
    Unsupported,
}

/// The secret with which a provider is called.
#[derive(Clone, Debug)]
pub struct Credential(SecretString);

/// A request as it goes to a provider.
#[derive(Debug)]
pub struct Encoded {
    /// The request, not signed yet.
    pub request: http::Request<Bytes>,
    /// Where the provider does not take all of it at once: the rest, in order. The decoder reads all their answers as
    /// one body, one after the other; a failure of any of them is the failure of all.
    pub further: Vec<http::Request<Bytes>>,
    /// The caller's parameters that are not in it, since the provider or the model does not take them.
    pub dropped: Dropped,
}

/// One provider's API.
#[async_trait]
pub trait Provider: Send + Sync + 'static {
    /// The name of the adapter, for logs.
    fn name(&self) -> &str;

    /// How well the adapter serves an operation.
    fn support(&self, operation: Operation) -> Support;

    /// Whether the adapter speaks one of the APIs that routes name.
    fn speaks(&self, api: UpstreamApi) -> bool {
        api == UpstreamApi::Chat
    }

    /// Whether a request is written anew and not spliced. Then what is remembered of its tool calls is looked up.
    fn is_rewritten(&self, request: &InferenceRequest, _target: &Target) -> bool {
        self.support(request.operation()) == Support::Translated
    }

    /// Writes a request for the provider. Pure: no I/O, no clock.
    ///
    /// `target` says which upstream model, which base URL, and how far the output was limited by what the caller
    /// can pay. An adapter of another dialect reads [`InferenceRequest::conversation`] and names what it leaves
    /// out; one that leaves nothing out gives its `http::Request` `.into()`.
    ///
    /// # Errors
    /// When the request cannot be expressed in the provider's dialect.
    fn encode(&self, request: &InferenceRequest, target: &Target)
    -> Result<Encoded, ProviderError>;

    /// Signs a request. May do I/O, for providers with short-lived tokens.
    ///
    /// # Errors
    /// When the credential cannot be used.
    async fn authorize(
        &self,
        request: &mut http::Request<Bytes>,
        credential: &Credential,
    ) -> Result<(), ProviderError>;

    /// Understands an answer that is no success. `body` is cut off at 64 KiB.
    fn classify(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> ProviderError;

    /// Makes a decoder for one answer.
    fn decoder(&self, request: &InferenceRequest, target: &Target) -> Box<dyn Decoder>;

    /// Reads how many tokens a prompt has, in the answer to a [`CountTokens`](Operation::CountTokens) request. Asked
    /// only of adapters that support the operation.
    ///
    /// # Errors
    /// When the answer does not say.
    fn counted(&self, body: &[u8]) -> Result<u64, ProviderError> {
        let _ = body;
        Err(ProviderError::new(ProviderErrorKind::Malformed))
    }

    /// Whether the provider bills an answer to its end although the call is cancelled. Then an answer whose
    /// caller has left is read to its end instead.
    fn bills_on_cancel(&self) -> bool {
        false
    }
}

/// Turns an answer's bytes into the caller's dialect: a synchronous push parser, so that it can be tested split
/// at every byte.
pub trait Decoder: Send + 'static {
    /// Takes the next bytes of the answer.
    ///
    /// # Errors
    /// When the bytes cannot be understood, or carry the provider's own error. What was put out before stands.
    fn push(&mut self, chunk: Bytes, out: &mut Output) -> Result<(), ProviderError>;

    /// Takes note that the answer has ended.
    ///
    /// # Errors
    /// [`ProviderErrorKind::Interrupted`] when it ended before it was complete.
    fn finish(&mut self, out: &mut Output) -> Result<(), ProviderError>;
}

// === impl Encoded ===

impl Encoded {
    /// The request, unless a known parameter had to be left out: for platforms that would rather know.
    ///
    /// # Errors
    /// [`ProviderErrorKind::UnsupportedValue`] for the first one.
    pub fn strict(self) -> Result<Self, ProviderError> {
        match self.dropped.first_hint() {
            None => Ok(self),
            Some(name) => Err(ProviderError::new(ProviderErrorKind::UnsupportedValue)
                .with_param(name)
                .with_message(format!("this model does not take `{name}`"))),
        }
    }
}

impl From<http::Request<Bytes>> for Encoded {
    fn from(request: http::Request<Bytes>) -> Self {
        Self {
            request,
            further: Vec::new(),
            dropped: Dropped::default(),
        }
    }
}

// === impl Credential ===

impl Credential {
    /// Wraps a provider key.
    pub fn new(secret: impl Into<SecretString>) -> Self {
        Self(secret.into())
    }

    /// The secret, for signing a request.
    pub fn secret(&self) -> &SecretString {
        &self.0
    }
}
