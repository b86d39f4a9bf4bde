//! Streamed answers.
//!
//! Anthropic API reference, "Streaming messages", read on 2026-11-23. Events and deltas of kinds that this version
//! does not know are passed over, as the reference asks for.

use std::borrow::Cow;

use assistiv_core::conversation::AnswerEvent;
use assistiv_core::provider::sse::Splitter;
use assistiv_core::provider::{Decoder, Output, ProviderError, ProviderErrorKind as Kind};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::answer::{Answer, Block, malformed};
use super::classify;
use super::usage::Report;
use crate::page::Page;

/// Decodes a stream of events.
#[derive(Debug)]
pub(super) struct StreamDecoder {
    answer: Answer,
    splitter: Splitter,
    page: Page,
    open: Open,
    stage: Stage,
}

/// How far the stream has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Blocks are generated.
    Open,
    /// The reason of the end is there.
    Complete,
    /// The end was put out; what follows is ignored.
    Done,
}

/// The block that is being generated.
#[derive(Debug)]
enum Open {
    /// None, or one of a kind that has no place in the answer.
    Other,
    Text,
    Thinking {
        thinking: String,
        signature: String,
    },
    Call {
        /// Arguments that came with the beginning; they count when no others follow.
        input: Option<Box<str>>,
    },
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    message: Option<Message<'a>>,
    #[serde(borrow)]
    content_block: Option<&'a RawValue>,
    #[serde(borrow)]
    delta: Option<Delta<'a>>,
    usage: Option<Report>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow, default)]
    id: Cow<'a, str>,
    #[serde(borrow, default)]
    model: Cow<'a, str>,
    usage: Option<Report>,
}

/// What is added: to a block, or to the message.
#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    text: Cow<'a, str>,
    #[serde(borrow, default)]
    thinking: Cow<'a, str>,
    #[serde(borrow, default)]
    signature: Cow<'a, str>,
    #[serde(borrow, default)]
    partial_json: Cow<'a, str>,
    stop_reason: Option<String>,
    stop_sequence: Option<String>,
}

// === impl StreamDecoder ===

impl StreamDecoder {
    pub(super) fn new(answer: Answer) -> Self {
        Self {
            answer,
            splitter: Splitter::new(),
            page: Page::default(),
            open: Open::Other,
            stage: Stage::Open,
        }
    }

    fn event(&mut self, data: &[u8], out: &mut Output) -> Result<(), ProviderError> {
        if self.stage == Stage::Done || data.trim_ascii().is_empty() {
            return Ok(());
        }
        let event: Event<'_> = serde_json::from_slice(data).map_err(malformed)?;
        match &*event.kind {
            "message_start" => {
                if let Some(message) = event.message {
                    let known = |text| Some(text).filter(|text: &&str| !text.is_empty());
                    let started = AnswerEvent::Started {
                        id: known(&message.id),
                        model: known(&message.model),
                    };
                    self.answer.write(started, out);
                    self.answer.begin(message.usage.unwrap_or_default(), out);
                }
            }
            "content_block_start" => {
                self.close(out);
                if let Some(block) = event.content_block {
                    self.open(block, out)?;
                }
            }
            "content_block_delta" => {
                if let Some(delta) = event.delta {
                    self.delta(&delta, out);
                }
            }
            "content_block_stop" => self.close(out),
            "message_delta" => {
                self.close(out);
                if let Some(usage) = event.usage {
                    self.answer.report(usage, out);
                }
                if let Some(delta) = event.delta
                    && let Some(reason) = &delta.stop_reason
                    && self.stage == Stage::Open
                {
                    self.stage = Stage::Complete;
                    let sequence = delta.stop_sequence.as_deref();
                    self.answer.finish(reason, sequence, out);
                }
            }
            "message_stop" => return self.end(out),
            "error" => return Err(classify::body(data)),
            _ => {}
        }
        Ok(())
    }

    fn open(&mut self, raw: &RawValue, out: &mut Output) -> Result<(), ProviderError> {
        let block: Block<'_> = serde_json::from_str(raw.get()).map_err(malformed)?;
        self.open = match &*block.kind {
            "text" => {
                self.answer.write(AnswerEvent::Text(&block.text), out);
                Open::Text
            }
            "thinking" => {
                self.answer
                    .write(AnswerEvent::Reasoning(&block.thinking), out);
                Open::Thinking {
                    thinking: block.thinking.into_owned(),
                    signature: block.signature.into_owned(),
                }
            }
            "redacted_thinking" => {
                self.answer.keep(raw, out);
                Open::Other
            }
            "tool_use" => {
                self.answer.call(&block, out);
                Open::Call {
                    input: block.input.map(|input| input.get().into()),
                }
            }
            _ => Open::Other,
        };
        Ok(())
    }

    fn delta(&mut self, delta: &Delta<'_>, out: &mut Output) {
        match (&mut self.open, &*delta.kind) {
            (Open::Text, "text_delta") => self.answer.write(AnswerEvent::Text(&delta.text), out),
            (Open::Thinking { thinking, .. }, "thinking_delta") => {
                thinking.push_str(&delta.thinking);
                self.answer
                    .write(AnswerEvent::Reasoning(&delta.thinking), out);
            }
            (Open::Thinking { signature, .. }, "signature_delta") => {
                signature.push_str(&delta.signature);
            }
            (Open::Call { input }, "input_json_delta") if !delta.partial_json.is_empty() => {
                *input = None;
                self.answer
                    .write(AnswerEvent::Arguments(&delta.partial_json), out);
            }
            _ => {}
        }
    }

    fn close(&mut self, out: &mut Output) {
        match std::mem::replace(&mut self.open, Open::Other) {
            Open::Thinking {
                thinking,
                signature,
            } => self.answer.thought(&thinking, &signature, out),
            Open::Call { input: Some(input) } => {
                self.answer.write(AnswerEvent::Arguments(&input), out);
            }
            _ => {}
        }
    }

    /// Puts out the end, when the answer is complete.
    fn end(&mut self, out: &mut Output) -> Result<(), ProviderError> {
        match self.stage {
            Stage::Open => Err(ProviderError::new(Kind::Interrupted)),
            Stage::Complete => {
                self.stage = Stage::Done;
                self.answer.write(AnswerEvent::Ended, out);
                Ok(())
            }
            Stage::Done => Ok(()),
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
            Err(_) if self.stage != Stage::Open => self.end(out),
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
