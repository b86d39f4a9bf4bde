//! The one type of body that leaves the edge.

use std::pin::Pin;
use std::task::{Context, Poll};

use assistiv_core::dispatch::CallBody;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;

use super::log::RequestLog;

/// The body of a response.
pub struct ResponseBody {
    kind: Kind,
    /// Written when the body is dropped.
    log: Option<RequestLog>,
}

enum Kind {
    Full(Full<Bytes>),
    Call(CallBody),
    Management(axum::body::Body),
}

/// A body broke off before its end: the connection, or the stream on it, must be cut, so that nobody takes the
/// part for the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the response broke off")]
pub struct BodyAborted(());

// === impl ResponseBody ===

impl ResponseBody {
    /// Nothing.
    pub(super) fn empty() -> Self {
        Full::default().into()
    }

    /// Keeps a log line until the body is dropped.
    pub(super) fn with_log(mut self, log: RequestLog) -> Self {
        self.log = Some(log);
        self
    }
}

impl From<Full<Bytes>> for ResponseBody {
    fn from(body: Full<Bytes>) -> Self {
        Self {
            kind: Kind::Full(body),
            log: None,
        }
    }
}

impl From<CallBody> for ResponseBody {
    fn from(body: CallBody) -> Self {
        Self {
            kind: Kind::Call(body),
            log: None,
        }
    }
}

impl From<axum::body::Body> for ResponseBody {
    fn from(body: axum::body::Body) -> Self {
        Self {
            kind: Kind::Management(body),
            log: None,
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyAborted;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyAborted>>> {
        match &mut self.kind {
            Kind::Full(body) => Pin::new(body)
                .poll_frame(cx)
                .map_err(|never| match never {}),
            Kind::Call(body) => Pin::new(body)
                .poll_frame(cx)
                .map_err(|never| match never {}),
            Kind::Management(body) => Pin::new(body).poll_frame(cx).map_err(|error| {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "a response broke off"
                );
                BodyAborted(())
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Full(body) => body.is_end_stream(),
            Kind::Call(body) => body.is_end_stream(),
            Kind::Management(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Full(body) => body.size_hint(),
            Kind::Call(body) => body.size_hint(),
            Kind::Management(body) => body.size_hint(),
        }
    }
}

impl std::fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match &self.kind {
            Kind::Full(_) => "full",
            Kind::Call(_) => "call",
            Kind::Management(_) => "management",
        };
        f.debug_tuple("ResponseBody").field(&kind).finish()
    }
}
