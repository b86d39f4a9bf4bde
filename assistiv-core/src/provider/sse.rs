//! Splits a stream of server-sent events.
//!
//! Follows the WHATWG HTML standard, section 9.2.6 (read 2026-11-23): lines end with LF, CR or CRLF; a blank line
//! ends an event; several `data` fields are joined with a line feed; comments and unknown fields are passed over;
//! an event that is not ended is dropped. The result does not depend on how the input is cut.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// The longest line.
pub const LINE_MAX: usize = 1 << 20;

/// The longest event, all its lines together.
pub const EVENT_MAX: usize = 4 << 20;

/// A line is longer than [`LINE_MAX`], or an event than [`EVENT_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a line or an event of the stream is too long")]
pub struct SseError;

/// Takes bytes, gives the data of events.
#[derive(Debug, Default)]
pub struct Splitter {
    line: BytesMut,
    /// Bytes of `line` that are known to hold no line end.
    scanned: usize,
    /// The `data` lines of the event so far, joined.
    data: Option<BytesMut>,
    events: VecDeque<Bytes>,
    /// The last byte was CR: a LF that follows belongs to it.
    after_cr: bool,
    begun: bool,
}

impl Splitter {
    /// A splitter at the beginning of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// [`SseError`] when a line is too long; the stream cannot be read on.
    pub fn push(&mut self, chunk: Bytes) -> Result<(), SseError> {
        self.line.extend_from_slice(&chunk);
        loop {
            if self.after_cr && !self.line.is_empty() {
                if self.line[0] == b'\n' {
                    let _ = self.line.split_to(1);
                }
                self.after_cr = false;
            }
            let Some(at) = memchr::memchr2(b'\n', b'\r', &self.line[self.scanned..]) else {
                self.scanned = self.line.len();
                return if self.scanned > LINE_MAX {
                    Err(SseError)
                } else {
                    Ok(())
                };
            };
            let end = self.scanned + at;
            if end > LINE_MAX {
                return Err(SseError);
            }
            self.after_cr = self.line[end] == b'\r';
            let line = self.line.split_to(end).freeze();
            let _ = self.line.split_to(1);
            self.scanned = 0;
            self.take_line(line)?;
        }
    }

    /// The data of the next event, if one is whole.
    pub fn next_event(&mut self) -> Option<Bytes> {
        self.events.pop_front()
    }

    fn take_line(&mut self, mut line: Bytes) -> Result<(), SseError> {
        if !self.begun {
            self.begun = true;
            if line.starts_with(b"\xef\xbb\xbf") {
                line = line.slice(3..);
            }
        }
        if line.is_empty() {
            self.events.extend(self.data.take().map(BytesMut::freeze));
            return Ok(());
        }
        let Some(rest) = line.strip_prefix(b"data") else {
            return Ok(());
        };
        let value = match rest {
            [b':', b' ', ..] => line.slice(6..),
            [b':', ..] => line.slice(5..),
            [] => Bytes::new(),
            _ => return Ok(()),
        };
        match &mut self.data {
            // The common case, one line: the slice is taken over without a copy.
            None => self.data = Some(value.into()),
            Some(data) if data.len() + value.len() > EVENT_MAX => return Err(SseError),
            Some(data) => {
                data.extend_from_slice(b"\n");
                data.extend_from_slice(&value);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(pieces: &[&[u8]]) -> Vec<Bytes> {
        let mut splitter = Splitter::new();
        let mut events = Vec::new();
        for piece in pieces {
            splitter.push(Bytes::copy_from_slice(piece)).unwrap();
            events.extend(std::iter::from_fn(|| splitter.next_event()));
        }
        events
    }

    const STREAM: &[u8] = b"\xef\xbb\xbf: hi\r\n\r\ndata: one\n\ndata:two\rdata: 2\r\revent: x\nid: 3\ndata: {\"a\":\"\xc3\xa9\"}\r\n\r\ndata\n\ndatax: no\n\ndata: cut";

    #[test]
    fn reads_events_whatever_ends_their_lines() {
        let events = split(&[STREAM]);
        assert_eq!(
            events,
            [&b"one"[..], b"two\n2", b"{\"a\":\"\xc3\xa9\"}", b""]
        );
    }

    #[test]
    fn every_split_gives_the_same_events() {
        let whole = split(&[STREAM]);
        for at in 0..=STREAM.len() {
            assert_eq!(
                split(&[&STREAM[..at], &STREAM[at..]]),
                whole,
                "split at {at}"
            );
        }
        let bytes: Vec<&[u8]> = STREAM.chunks(1).collect();
        assert_eq!(split(&bytes), whole);
    }

    #[test]
    fn a_line_has_a_limit() {
        let mut splitter = Splitter::new();
        let long = vec![b'x'; LINE_MAX + 1];
        assert_eq!(splitter.push(long.into()), Err(SseError));
    }

    #[test]
    fn an_event_has_a_limit() {
        let mut splitter = Splitter::new();
        let line = Bytes::from(format!("data: {}\n", "x".repeat(LINE_MAX - 8)));
        let pushed: Result<Vec<()>, _> = (0..6).map(|_| splitter.push(line.clone())).collect();
        assert_eq!(pushed, Err(SseError));
    }

    proptest! {
        #[test]
        fn any_bytes_cut_anywhere(bytes in prop::collection::vec(prop::sample::select(b"data: x\r\n\xef\xbb\xbf".to_vec()), 0..80), at in 0usize..80) {
            let at = at.min(bytes.len());
            prop_assert_eq!(split(&[&bytes[..at], &bytes[at..]]), split(&[&bytes]));
        }
    }
}
