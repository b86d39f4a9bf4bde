//! How bytes travel to a provider.

use std::error::Error as StdError;

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;

/// The body of an answer, as it arrives.
pub type UpstreamBody = UnsyncBoxBody<Bytes, TransportError>;

/// What went wrong on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TransportErrorKind {
    /// No connection came about: the provider saw nothing of the request.
    Connect,
    /// The address is not one that the gateway may call.
    Refused,
    /// The connection broke.
    Broken,
    /// The connection took too long.
    Timeout,
}

/// A failure of the way, not of what was said on it.
#[derive(Debug, thiserror::Error)]
#[error("the connection to the provider failed")]
pub struct TransportError {
    kind: TransportErrorKind,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// Sends requests. One implementation with one address guard serves all adapters of a gateway.
#[async_trait]
pub trait Transport: Send + Sync + 'static {
    /// Sends a request and returns when the head of the answer is there.
    ///
    /// Dropping the future, or the body of the answer, cancels the exchange.
    ///
    /// # Errors
    /// [`TransportError`] when there is no answer. An answer that is an error is no transport error.
    async fn send(
        &self,
        request: http::Request<Bytes>,
    ) -> Result<http::Response<UpstreamBody>, TransportError>;
}

// === impl TransportError ===

impl TransportError {
    /// An error of a kind, without a cause.
    pub fn new(kind: TransportErrorKind) -> Self {
        Self { kind, source: None }
    }

    /// Keeps a cause for the log.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What went wrong.
    pub fn kind(&self) -> TransportErrorKind {
        self.kind
    }
}

/// A body that is all there, for transports that do not use a network.
pub fn full_body(bytes: impl Into<Bytes>) -> UpstreamBody {
    http_body_util::Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}
