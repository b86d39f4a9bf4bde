//! The body of an answer.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::Stream;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;

use crate::billing::Settled;

/// The body of an answer: in one piece, or a stream of server-sent events.
///
/// A stream that is dropped before its end settles what was observed until then.
pub struct CallBody {
    kind: Kind,
    /// The call's place among those that run, given back with the body.
    place: Option<OwnedSemaphorePermit>,
}

enum Kind {
    /// The charge's delivery is proved once the body is dropped.
    Whole {
        bytes: Option<Bytes>,
        _settled: Settled,
    },
    /// Nothing was charged.
    Free(Option<Bytes>),
    Stream(Pin<Box<dyn Stream<Item = Bytes> + Send>>),
}

/// Bodies do not fail: a stream that breaks off says so in a frame of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {}

// === impl CallBody ===

impl CallBody {
    fn new(kind: Kind) -> Self {
        Self { kind, place: None }
    }

    /// Keeps a place until the body is dropped.
    pub(crate) fn keep(&mut self, place: OwnedSemaphorePermit) {
        self.place = Some(place);
    }

    pub(super) fn whole(bytes: Bytes, settled: Settled) -> Self {
        Self::new(Kind::Whole {
            bytes: Some(bytes),
            _settled: settled,
        })
    }

    pub(super) fn free(bytes: Bytes) -> Self {
        Self::new(Kind::Free(Some(bytes)))
    }

    pub(super) fn stream(stream: impl Stream<Item = Bytes> + Send + 'static) -> Self {
        Self::new(Kind::Stream(Box::pin(stream)))
    }
}

impl Body for CallBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.kind {
            Kind::Whole { bytes, .. } | Kind::Free(bytes) => {
                Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes))))
            }
            Kind::Stream(stream) => stream
                .as_mut()
                .poll_next(cx)
                .map(|item| item.map(|bytes| Ok(Frame::data(bytes)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(
            &self.kind,
            Kind::Whole { bytes: None, .. } | Kind::Free(None)
        )
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Whole { bytes, .. } | Kind::Free(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64))
            }
            Kind::Stream(_) => SizeHint::default(),
        }
    }
}

impl std::fmt::Debug for CallBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match &self.kind {
            Kind::Whole { .. } | Kind::Free(_) => "whole",
            Kind::Stream(_) => "stream",
        };
        f.debug_tuple("CallBody").field(&kind).finish()
    }
}
