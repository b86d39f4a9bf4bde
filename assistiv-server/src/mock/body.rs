//! The response body: a script that is played while the connection takes it.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame};
use tokio::time::Sleep;

use super::stats::{Exchange, Outcome};

/// One step of an answer's body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Pause(Duration),
    /// Bytes that leave in a write of their own.
    Write(Bytes),
    /// Silence until the client goes.
    Hang,
    /// Closes the connection (HTTP/2: resets the stream).
    Cut,
}

/// The mock closed the connection on purpose.
#[derive(Debug, thiserror::Error)]
#[error("the mock cut its answer")]
pub(super) struct CutShort;

/// Plays the steps. Dropped before the last of them, it counts its client as gone.
pub(super) struct ScriptBody {
    steps: VecDeque<Step>,
    outcome: Option<Outcome>,
    exchange: Exchange,
    sleep: Option<Pin<Box<Sleep>>>,
    flush: bool,
}

// === impl ScriptBody ===

impl ScriptBody {
    pub(super) fn new(steps: Vec<Step>, outcome: Outcome, exchange: Exchange) -> Self {
        Self {
            steps: steps.into(),
            outcome: Some(outcome),
            exchange,
            sleep: None,
            flush: false,
        }
    }

    fn close(&mut self) {
        if let Some(outcome) = self.outcome.take() {
            self.exchange.close(outcome);
        }
    }
}

impl Body for ScriptBody {
    type Data = Bytes;
    type Error = CutShort;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CutShort>>> {
        let this = &mut *self;
        // hyper collects frames while they are ready; one `Pending` makes it write this one.
        if std::mem::take(&mut this.flush) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        loop {
            if let Some(sleep) = &mut this.sleep {
                ready!(sleep.as_mut().poll(cx));
                this.sleep = None;
            }
            match this.steps.pop_front() {
                Some(Step::Pause(pause)) => {
                    this.sleep = Some(Box::pin(tokio::time::sleep(pause)));
                }
                Some(Step::Write(bytes)) => {
                    this.flush = true;
                    // A client may leave, or hyper may drop a body of known length, as soon as
                    // the last byte is there; both have had the whole answer.
                    if this.steps.is_empty() {
                        this.close();
                    }
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                Some(Step::Hang) => {
                    this.steps.push_front(Step::Hang);
                    return Poll::Pending;
                }
                Some(Step::Cut) => {
                    this.close();
                    return Poll::Ready(Some(Err(CutShort)));
                }
                None => {
                    this.close();
                    return Poll::Ready(None);
                }
            }
        }
    }
}
