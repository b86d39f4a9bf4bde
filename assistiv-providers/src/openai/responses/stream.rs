//! Streamed answers.
//!
//! OpenAI API reference, "Streaming events", read on 2026-11-23. Events of kinds that this version does not know are
//! passed over.

use std::borrow::Cow;

use assistiv_core::conversation::AnswerEvent;
use assistiv_core::provider::sse::Splitter;
use assistiv_core::provider::{Decoder, Output, ProviderError, ProviderErrorKind as Kind};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::answer::{Answer, Response};
use crate::openai::answer::malformed;
use crate::openai::classify;
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

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    response: Option<&'a RawValue>,
    #[serde(default)]
    output_index: u64,
    #[serde(default)]
    summary_index: u64,
    #[serde(borrow)]
    item: Option<&'a RawValue>,
    #[serde(borrow)]
    delta: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
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
        let data = data.trim_ascii();
        if self.done || data.is_empty() || data == b"[DONE]" {
            return Ok(());
        }
        let event: Event<'_> = serde_json::from_slice(data).map_err(malformed)?;
        let failed = event.error.is_some_and(|it| classify::is_error(it.get()));
        if event.kind == "error" || (failed && event.response.is_none()) {
            return Err(classify::body(data));
        }
        match &*event.kind {
            "response.created" | "response.in_progress" | "response.queued" => {
                if let Some(response) = event.response {
                    self.answer.begin(&read(response)?, out);
                }
            }
            "response.output_item.added" => {
                if let Some(item) = event.item {
                    self.answer.item_added(event.output_index, item, out);
                }
            }
            "response.output_item.done" => {
                if let Some(item) = event.item {
                    self.answer.item_done(event.output_index, item, out);
                }
            }
            "response.reasoning_summary_part.added" => {
                self.answer.summary_part(event.summary_index, out);
            }
            kind @ ("response.output_text.delta"
            | "response.refusal.delta"
            | "response.reasoning_summary_text.delta"
            | "response.reasoning_text.delta"
            | "response.function_call_arguments.delta") => {
                let Some(delta) = event.delta else {
                    return Ok(());
                };
                let text: Text<'_> = serde_json::from_str(delta.get()).map_err(malformed)?;
                match kind {
                    "response.output_text.delta" => {
                        self.answer.write(AnswerEvent::Text(&text.0), out);
                    }
                    "response.refusal.delta" => {
                        self.answer.write(AnswerEvent::Refusal(&text.0), out);
                    }
                    "response.function_call_arguments.delta" => {
                        self.answer.arguments(event.output_index, &text.0, out);
                    }
                    _ => self.answer.write(AnswerEvent::Reasoning(&text.0), out),
                }
            }
            "response.completed" | "response.incomplete" | "response.failed" => {
                let Some(response) = event.response else {
                    return Err(ProviderError::new(Kind::Malformed));
                };
                let response = read(response)?;
                self.answer.begin(&response, out);
                self.answer.end(&response, out)?;
                self.done = true;
            }
            _ => {}
        }
        Ok(())
    }
}

/// A string that borrows where it can.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

fn read(raw: &RawValue) -> Result<Response<'_>, ProviderError> {
    serde_json::from_str(raw.get()).map_err(malformed)
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
            Err(_) if self.done => Ok(()),
            read => read,
        }
    }

    fn finish(&mut self, _: &mut Output) -> Result<(), ProviderError> {
        match self.page.content() {
            Some(page) => Err(classify::page(page)),
            None if self.done => Ok(()),
            None => Err(ProviderError::new(Kind::Interrupted)),
        }
    }
}
