//! Streamed answers.
//!
//! Gemini API reference, "Streaming", read on 2026-11-23: every event is a piece of the answer in the form of a whole
//! one, and nothing but the end of the connection says that there is no other.

use assistiv_core::provider::sse::Splitter;
use assistiv_core::provider::{Decoder, Output, ProviderError, ProviderErrorKind as Kind};
use bytes::Bytes;

use super::answer::{Answer, Piece, malformed};
use super::classify;
use crate::page::Page;

/// Decodes a stream of events.
#[derive(Debug)]
pub(super) struct StreamDecoder {
    answer: Answer,
    splitter: Splitter,
    page: Page,
    /// The end was put out; what follows is ignored.
    done: bool,
}

// === impl StreamDecoder ===

impl StreamDecoder {
    pub(super) fn new(answer: Answer) -> Self {
        Self {
            answer,
            splitter: Splitter::new(),
            page: Page::default(),
            done: false,
        }
    }

    fn event(&mut self, data: &[u8], out: &mut Output) -> Result<(), ProviderError> {
        if self.done || data.trim_ascii().is_empty() {
            return Ok(());
        }
        let piece: Piece<'_> = serde_json::from_slice(data).map_err(malformed)?;
        if piece.is_error() {
            return Err(classify::body(data));
        }
        self.answer.take(piece, out)
    }

    /// Puts out the end, when the answer is complete.
    fn end(&mut self, out: &mut Output) -> Result<(), ProviderError> {
        if self.done {
            return Ok(());
        }
        if !self.answer.is_finished() {
            return Err(ProviderError::new(Kind::Interrupted));
        }
        self.done = true;
        self.answer.close(out);
        Ok(())
    }
}

impl Decoder for StreamDecoder {
    fn push(&mut self, mut chunk: Bytes, out: &mut Output) -> Result<(), ProviderError> {
        if self.page.takes(&mut chunk)? {
            return Ok(());
        }
        let pushed = self.splitter.push(chunk).map_err(malformed);
        let mut read = Ok(());
        while let Some(data) = self.splitter.next_event()
            && read.is_ok()
        {
            read = self.event(&data, out);
        }
        match read.and(pushed) {
            // Nothing that follows can spoil an answer that was complete.
            Err(_) if self.answer.is_finished() => self.end(out),
            read => read,
        }
    }

    fn finish(&mut self, out: &mut Output) -> Result<(), ProviderError> {
        match self.page.content() {
            Some(page) => Err(classify::page(page)),
            None => self.end(out),
        }
    }
}
