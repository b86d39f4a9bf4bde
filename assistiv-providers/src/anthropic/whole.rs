//! Answers in one piece.
//!
//! Anthropic API reference, "Messages", read on 2026-11-23.

use std::borrow::Cow;

use assistiv_core::conversation::AnswerEvent;
use assistiv_core::json;
use assistiv_core::provider::{Decoder, Output, ProviderError, ProviderErrorKind as Kind};
use bytes::{Bytes, BytesMut};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::answer::{Answer, Block, malformed};
use super::classify;
use super::usage::Report;

/// The longest body.
const BODY_BYTES_MAX: usize = 32 << 20;

/// Decodes a body that is one JSON object.
#[derive(Debug)]
pub(super) struct WholeDecoder {
    answer: Answer,
    body: BytesMut,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Cow<'a, str>,
    id: Option<&'a str>,
    model: Option<&'a str>,
    #[serde(borrow, default)]
    content: Vec<&'a RawValue>,
    stop_reason: Option<String>,
    stop_sequence: Option<String>,
    usage: Option<Report>,
}

// === impl WholeDecoder ===

impl WholeDecoder {
    pub(super) fn new(answer: Answer) -> Self {
        Self {
            answer,
            body: BytesMut::new(),
        }
    }

    fn block(&mut self, raw: &RawValue, out: &mut Output) -> Result<(), ProviderError> {
        let block: Block<'_> = serde_json::from_str(raw.get()).map_err(malformed)?;
        match &*block.kind {
            "text" => self.answer.write(AnswerEvent::Text(&block.text), out),
            "thinking" => {
                self.answer
                    .write(AnswerEvent::Reasoning(&block.thinking), out);
                if !block.signature.is_empty() {
                    self.answer.keep(raw, out);
                }
            }
            "redacted_thinking" => self.answer.keep(raw, out),
            "tool_use" => {
                self.answer.call(&block, out);
                if let Some(input) = block.input {
                    self.answer.write(AnswerEvent::Arguments(input.get()), out);
                }
            }
            _ => {}
        }
        Ok(())
    }
}

impl Decoder for WholeDecoder {
    fn push(&mut self, chunk: Bytes, _: &mut Output) -> Result<(), ProviderError> {
        if self.body.len() + chunk.len() > BODY_BYTES_MAX {
            return Err(ProviderError::new(Kind::Failed)
                .with_message("the provider's answer is larger than 32 MiB"));
        }
        self.body.extend_from_slice(&chunk);
        Ok(())
    }

    fn finish(&mut self, out: &mut Output) -> Result<(), ProviderError> {
        let body = self.body.split();
        json::check(&body).map_err(malformed)?;
        let message: Message<'_> = serde_json::from_slice(&body).map_err(malformed)?;
        if message.kind == "error" {
            return Err(classify::body(&body));
        }
        let Some(reason) = message.stop_reason else {
            return Err(ProviderError::new(Kind::Malformed));
        };
        let started = AnswerEvent::Started {
            id: message.id,
            model: message.model,
        };
        self.answer.write(started, out);
        for raw in message.content {
            self.block(raw, out)?;
        }
        if let Some(usage) = message.usage {
            self.answer.report(usage, out);
        }
        let sequence = message.stop_sequence.as_deref();
        self.answer.finish(&reason, sequence, out);
        self.answer.write(AnswerEvent::Ended, out);
        Ok(())
    }
}
