//! Request bodies, and what becomes of those that nobody reads to their end.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use pin_project_lite::pin_project;

/// How much of an unwanted body is read so that the connection can be used again.
const DISCARD_MAX: usize = 64 << 10;
const DISCARD_WAIT: Duration = Duration::from_secs(1);

pin_project! {
    /// A request body that says whether it was read to its end.
    pub(super) struct Intake<B> {
        #[pin]
        body: B,
        // `None` for requests without a body: most of them.
        open: Option<Arc<AtomicBool>>,
    }
}

/// Whether the end of a request's body is still to come.
#[derive(Clone, Default)]
pub(super) struct Unread(Option<Arc<AtomicBool>>);

// === impl Intake ===

impl<B: Body<Data = Bytes>> Intake<B> {
    pub(super) fn new(body: B) -> (Self, Unread) {
        let open = (!body.is_end_stream()).then(|| Arc::new(AtomicBool::new(true)));
        (
            Self {
                body,
                open: open.clone(),
            },
            Unread(open),
        )
    }
}

impl<B: Body<Data = Bytes>> Body for Intake<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let mut this = self.project();
        let frame = ready!(this.body.as_mut().poll_frame(cx));
        let is_end = frame.is_none() || (matches!(frame, Some(Ok(_))) && this.body.is_end_stream());
        if is_end && let Some(open) = this.open {
            open.store(false, Ordering::Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

// === impl Unread ===

impl Unread {
    /// Whether bytes of the body may still be on the way. Then the connection cannot carry another request.
    pub(super) fn is_pending(&self) -> bool {
        self.0
            .as_ref()
            .is_some_and(|open| open.load(Ordering::Relaxed))
    }
}

/// Reads a small body that nobody wants, so that the refusal of a request does not cost its connection. A large
/// or slow one is left where it is.
pub(super) async fn discard<B: Body<Data = Bytes>>(body: B) {
    if body.size_hint().lower() > DISCARD_MAX as u64 {
        return;
    }
    let mut body = std::pin::pin!(body);
    let read = async {
        let mut left = DISCARD_MAX;
        while let Some(Ok(frame)) = body.frame().await {
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            match left.checked_sub(bytes) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    };
    let _ = tokio::time::timeout(DISCARD_WAIT, read).await;
}
