//! One attempt at one target: the answer as it arrives, and what it has cost so far.

use std::time::Duration;

use http_body_util::BodyExt;
use tokio::time::Instant;

use crate::billing::{Funds, Hold};
use crate::provider::{
    Decoder, Output, Piece, ProviderError, ProviderErrorKind, Registered, TransportError,
    UpstreamBody,
};

/// How long an answer that is complete may still bring its usage.
const AFTER_COMPLETE: Duration = Duration::from_secs(5);

/// An answer that is being read.
pub(super) struct Exchange {
    pub(super) hold: Hold,
    pub(super) out: Output,
    pub(super) registered: Registered,
    body: UpstreamBody,
    decoder: Box<dyn Decoder>,
    total_at: Instant,
    idle: Duration,
    idle_at: Instant,
    ended: bool,
}

/// What a step has brought.
#[derive(Debug)]
pub(super) enum Step {
    /// There may be more.
    More,
    /// The answer is complete.
    End,
    /// Nothing came until the given time.
    Quiet,
    /// Wallet or budget are used up, or may be.
    Short(Funds),
}

impl Exchange {
    pub(super) fn new(
        hold: Hold,
        registered: Registered,
        decoder: Box<dyn Decoder>,
        body: UpstreamBody,
        ends_at: Instant,
        idle: Duration,
    ) -> Self {
        Self {
            hold,
            out: Output::new(),
            registered,
            body,
            decoder,
            total_at: ends_at,
            idle,
            idle_at: Instant::now() + idle,
            ended: false,
        }
    }

    /// Reads the next part of the answer, waiting until `until` at most.
    ///
    /// Cancel-safe: what was read is in `out`.
    pub(super) async fn step(&mut self, until: Instant) -> Result<Step, ProviderError> {
        if self.ended {
            return Ok(Step::End);
        }
        let deadline = self.total_at.min(self.idle_at);
        match tokio::time::timeout_at(until.min(deadline), self.body.frame()).await {
            Ok(frame) => self.take(frame.transpose()),
            Err(_) if Instant::now() < deadline => Ok(Step::Quiet),
            Err(_) => self.end_or(ProviderErrorKind::Timeout, None),
        }
    }

    /// Whether the answer's end is at hand: everything that is left waits for the charge.
    pub(super) fn is_at_its_end(&self) -> bool {
        matches!(self.out.peek(), Some(Piece::Terminal(_)))
    }

    fn take(
        &mut self,
        frame: Result<Option<http_body::Frame<bytes::Bytes>>, TransportError>,
    ) -> Result<Step, ProviderError> {
        let pushed = match frame {
            Ok(Some(frame)) => match frame.into_data() {
                Ok(data) => self.decoder.push(data, &mut self.out),
                Err(_trailers) => Ok(()),
            },
            Ok(None) => {
                self.ended = true;
                self.decoder.finish(&mut self.out)
            }
            Err(error) => return self.end_or(ProviderErrorKind::Interrupted, Some(error)),
        };
        let funds = self.hold.observe(&self.out);
        match pushed {
            // What comes after the end of a complete answer cannot spoil it.
            Err(error) if !self.out.is_complete() => return Err(error),
            Err(_) => return self.end_or(ProviderErrorKind::Malformed, None),
            Ok(()) => {}
        }
        if self.ended {
            let origin = self.out.origin();
            tracing::debug!(
                id = origin.id,
                model = origin.model,
                "the provider has answered"
            );
            return Ok(Step::End);
        }
        self.idle_at = Instant::now()
            + if self.out.is_complete() {
                AFTER_COMPLETE
            } else {
                self.idle
            };
        Ok(match funds {
            Funds::Enough => Step::More,
            short => Step::Short(short),
        })
    }

    /// An answer that was complete ends well although its connection did not.
    fn end_or(
        &mut self,
        kind: ProviderErrorKind,
        cause: Option<TransportError>,
    ) -> Result<Step, ProviderError> {
        self.ended = true;
        if self.out.is_complete() {
            // The end may not have been written out yet, and what the decoder still says changes nothing.
            let _ = self.decoder.finish(&mut self.out);
            return Ok(Step::End);
        }
        let error = ProviderError::new(kind);
        Err(match cause {
            Some(cause) => error.with_source(cause),
            None => error,
        })
    }
}
