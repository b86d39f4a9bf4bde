//! What both decoders know of an answer.

use std::borrow::Cow;

use assistiv_core::conversation::{AnswerEvent, FinishReason, UsageReport};
use assistiv_core::provider::{AnswerWriter, Output, ProviderError, ProviderErrorKind};
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};

use super::blocks;
use super::usage::Report;

/// An answer as far as it was read.
#[derive(Debug)]
pub(super) struct Answer {
    writer: AnswerWriter,
    model: Box<str>,
    report: Report,
    /// Whether anything was generated.
    has_content: bool,
}

/// A block of content: the beginning of one in a stream, else a whole one.
#[derive(Deserialize)]
pub(super) struct Block<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) kind: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) text: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) thinking: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) signature: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) id: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) name: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) input: Option<&'a RawValue>,
}

// === impl Answer ===

impl Answer {
    /// The answer of a model, by Anthropic's name for it.
    pub(super) fn new(writer: AnswerWriter, model: &str) -> Self {
        Self {
            writer,
            model: model.into(),
            report: Report::default(),
            has_content: false,
        }
    }

    pub(super) fn write(&mut self, event: AnswerEvent<'_>, out: &mut Output) {
        self.has_content |= match &event {
            AnswerEvent::Text(text) | AnswerEvent::Reasoning(text) => !text.is_empty(),
            AnswerEvent::ToolCall { .. } => true,
            _ => false,
        };
        self.writer.write(event, out);
    }

    /// A thought has ended, with its signature.
    pub(super) fn thought(&mut self, thinking: &str, signature: &str, out: &mut Output) {
        if signature.is_empty() {
            return;
        }
        let block =
            serde_json::json!({ "type": "thinking", "thinking": thinking, "signature": signature });
        if let Ok(block) = to_raw_value(&block) {
            self.keep(&block, out);
        }
    }

    /// Keeps a block for the next turn.
    pub(super) fn keep(&mut self, block: &RawValue, out: &mut Output) {
        if let Some(state) = blocks::keep(&self.model, block) {
            self.write(AnswerEvent::ReasoningState(state), out);
        }
    }

    pub(super) fn call(&mut self, block: &Block<'_>, out: &mut Output) {
        let event = AnswerEvent::ToolCall {
            id: Some(&block.id),
            name: &block.name,
            state: None,
        };
        self.write(event, out);
    }

    /// Takes note of usage at the beginning of a stream.
    pub(super) fn begin(&mut self, report: Report, out: &mut Output) {
        self.report.update(report.without_output());
        if let Some(input) = self.report.input() {
            self.write(AnswerEvent::Input(input), out);
        }
        self.tier(out);
    }

    /// Takes note of usage, which replaces what was known.
    pub(super) fn report(&mut self, report: Report, out: &mut Output) {
        self.report.update(report);
        if let Some(usage) = self.report.usage() {
            self.write(AnswerEvent::Usage(usage), out);
        }
        self.tier(out);
    }

    fn tier(&mut self, out: &mut Output) {
        if let Some(tier) = self.report.tier() {
            self.writer.write(AnswerEvent::Tier(tier), out);
        }
    }

    /// The answer has ended for this reason.
    pub(super) fn finish(&mut self, reason: &str, stop_sequence: Option<&str>, out: &mut Output) {
        let reason = match reason {
            "max_tokens" | "model_context_window_exceeded" => FinishReason::Length,
            "tool_use" => FinishReason::ToolCalls,
            "refusal" => FinishReason::ContentFilter,
            // `end_turn`, `stop_sequence`, `pause_turn`, and what is not known yet.
            _ => FinishReason::Stop,
        };
        if reason == FinishReason::ContentFilter && !self.has_content {
            // A request that was refused before the model began is not billed.
            self.write(AnswerEvent::Usage(UsageReport::default()), out);
        }
        let event = AnswerEvent::Finished {
            reason,
            stop_sequence,
        };
        self.write(event, out);
    }
}

/// An answer that cannot be read.
pub(super) fn malformed(cause: impl std::error::Error + Send + Sync + 'static) -> ProviderError {
    ProviderError::new(ProviderErrorKind::Malformed).with_source(cause)
}
