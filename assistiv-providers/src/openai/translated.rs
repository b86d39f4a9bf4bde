//! Callers of other dialects on servers without a Responses API: conversations written as chat completions, and answers read into neutral events.
//!
//! OpenAI API reference, "Create chat completion", "The chat completion object" and "The chat completion chunk
//! object", read on 2026-11-23.

mod events;
mod messages;
mod request;

use std::sync::Arc;

use assistiv_core::provider::sse::Splitter;
use assistiv_core::provider::{AnswerWriter, Decoder, Output, ProviderError, ProviderErrorKind};
use bytes::{Bytes, BytesMut};

pub(super) use self::request::encode;

use self::events::Events;
use super::answer::malformed;
use super::classify;
use super::dialect::Dialect;
use crate::page::Page;

/// The longest body.
const BODY_BYTES_MAX: usize = 32 << 20;

/// Decodes a stream of chunks.
#[derive(Debug)]
struct StreamDecoder {
    events: Events,
    splitter: Splitter,
    page: Page,
}

/// Decodes a body that is one JSON object.
#[derive(Debug)]
struct WholeDecoder {
    events: Events,
    body: BytesMut,
}

/// Makes a decoder that gives an answer to `writer`.
pub(super) fn decoder(
    dialect: &Arc<Dialect>,
    writer: AnswerWriter,
    is_stream: bool,
) -> Box<dyn Decoder> {
    let events = Events::new(dialect.clone(), writer);
    if is_stream {
        Box::new(StreamDecoder {
            events,
            splitter: Splitter::new(),
            page: Page::default(),
        })
    } else {
        Box::new(WholeDecoder {
            events,
            body: BytesMut::new(),
        })
    }
}

impl StreamDecoder {
    fn event(&mut self, data: &[u8], out: &mut Output) -> Result<(), ProviderError> {
        match data.trim_ascii() {
            b"" => Ok(()),
            b"[DONE]" => self.events.done(out),
            _ => self.events.chunk(data, out),
        }
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
            Err(_) if self.events.is_complete() => self.events.end(out),
            read => read,
        }
    }

    fn finish(&mut self, out: &mut Output) -> Result<(), ProviderError> {
        match self.page.content() {
            Some(page) => Err(classify::page(page)),
            None => self.events.end(out),
        }
    }
}

impl Decoder for WholeDecoder {
    fn push(&mut self, chunk: Bytes, _: &mut Output) -> Result<(), ProviderError> {
        if self.body.len() + chunk.len() > BODY_BYTES_MAX {
            return Err(ProviderError::new(ProviderErrorKind::Failed)
                .with_message("the provider's answer is larger than 32 MiB"));
        }
        self.body.extend_from_slice(&chunk);
        Ok(())
    }

    fn finish(&mut self, out: &mut Output) -> Result<(), ProviderError> {
        let body = self.body.split();
        assistiv_core::json::check(&body).map_err(malformed)?;
        self.events.chunk(&body, out)?;
        match self.events.done(out) {
            // It came whole, so that nothing was cut; it just makes no sense.
            Err(error) if error.kind() == ProviderErrorKind::Interrupted => {
                Err(ProviderError::new(ProviderErrorKind::Malformed))
            }
            ended => ended,
        }
    }
}

/// What a body says is wrong, when it says so.
fn error_in(data: &[u8], member: Option<&str>) -> Option<ProviderError> {
    member
        .is_some_and(classify::is_error)
        .then(|| classify::body(data))
}
