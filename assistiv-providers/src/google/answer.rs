//! What both decoders know of an answer.

use std::borrow::Cow;

use assistiv_core::conversation::{AnswerEvent, FinishReason};
use assistiv_core::provider::{AnswerWriter, Output, ProviderError, ProviderErrorKind as Kind};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::usage::Report;
use super::{parts, schema};

/// An answer as far as it was read.
#[derive(Debug)]
pub(super) struct Answer {
    writer: AnswerWriter,
    model: Box<str>,
    report: Report,
    begun: bool,
    /// Whether there is anything to see.
    has_content: bool,
    has_calls: bool,
    finished: bool,
}

/// An answer in one piece, or a piece of a streamed one.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Piece<'a> {
    #[serde(borrow)]
    candidates: Option<Vec<Candidate<'a>>>,
    #[serde(borrow)]
    prompt_feedback: Option<Feedback<'a>>,
    usage_metadata: Option<Report>,
    #[serde(borrow)]
    model_version: Option<Cow<'a, str>>,
    #[serde(borrow)]
    response_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Candidate<'a> {
    index: Option<u32>,
    #[serde(borrow)]
    content: Option<Content<'a>>,
    #[serde(borrow)]
    finish_reason: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Content<'a> {
    #[serde(borrow)]
    parts: Option<Vec<Part<'a>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Part<'a> {
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
    thought: Option<bool>,
    #[serde(borrow)]
    thought_signature: Option<Cow<'a, str>>,
    #[serde(borrow)]
    function_call: Option<Call<'a>>,
}

#[derive(Deserialize)]
struct Call<'a> {
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    args: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Feedback<'a> {
    #[serde(borrow)]
    block_reason: Option<Cow<'a, str>>,
}

/// How Google's reason for the end is to be understood.
enum Reason {
    Told(FinishReason),
    /// Whatever was generated counts, if anything was.
    Vague,
    /// What was generated cannot be used.
    Unusable,
}

// === impl Piece ===

impl Piece<'_> {
    /// Whether it is an error in place of an answer.
    pub(super) fn is_error(&self) -> bool {
        self.error.is_some()
    }
}

// === impl Answer ===

impl Answer {
    /// The answer of a model, by Google's name for it.
    pub(super) fn new(writer: AnswerWriter, model: &str) -> Self {
        Self {
            writer,
            model: model.into(),
            report: Report::default(),
            begun: false,
            has_content: false,
            has_calls: false,
            finished: false,
        }
    }

    /// Whether the reason of the end is there.
    pub(super) fn is_finished(&self) -> bool {
        self.finished
    }

    /// Takes the next piece. Of a stream that has ended, usage may still come.
    pub(super) fn take(&mut self, piece: Piece<'_>, out: &mut Output) -> Result<(), ProviderError> {
        if !self.begun {
            self.begun = true;
            let known = |text: &'_ Option<Cow<'_, str>>| text.as_deref().map(str::to_owned);
            let (id, model) = (known(&piece.response_id), known(&piece.model_version));
            let started = AnswerEvent::Started {
                id: id.as_deref(),
                model: model.as_deref(),
            };
            self.writer.write(started, out);
        }
        let candidates = piece.candidates.unwrap_or_default();
        // One choice is asked for.
        let candidate = candidates.into_iter().find(|it| it.index.unwrap_or(0) == 0);
        let feedback = piece.prompt_feedback;
        let blocked = candidate.is_none() && feedback.is_some_and(|it| it.block_reason.is_some());
        let reason = candidate
            .as_ref()
            .and_then(|it| it.finish_reason.as_deref());
        let reason = reason.map(str::to_owned);
        if let Some(usage) = piece.usage_metadata {
            self.report(usage, blocked || reason.is_some(), out);
        }
        if self.finished {
            return Ok(());
        }
        if blocked {
            self.finish(FinishReason::ContentFilter, out);
            return Ok(());
        }
        let content = candidate.and_then(|candidate| candidate.content);
        for part in content
            .and_then(|content| content.parts)
            .into_iter()
            .flatten()
        {
            self.part(&part, out);
        }
        match reason {
            Some(reason) => self.end(&reason, out),
            None => Ok(()),
        }
    }

    /// The end, after everything else.
    pub(super) fn close(&mut self, out: &mut Output) {
        self.writer.write(AnswerEvent::Ended, out);
    }

    fn part(&mut self, part: &Part<'_>, out: &mut Output) {
        let signature = part.thought_signature.as_deref();
        let signature = signature.filter(|signature| !signature.is_empty());
        if let Some(call) = &part.function_call {
            return self.call(call, signature, out);
        }
        if let Some(text) = part.text.as_deref().filter(|text| !text.is_empty()) {
            if part.thought == Some(true) {
                self.writer.write(AnswerEvent::Reasoning(text), out);
            } else {
                self.has_content = true;
                self.writer.write(AnswerEvent::Text(text), out);
            }
        }
        if let Some(state) = parts::keep(&self.model, signature, false) {
            self.writer.write(AnswerEvent::ReasoningState(state), out);
        }
    }

    fn call(&mut self, call: &Call<'_>, signature: Option<&str>, out: &mut Output) {
        self.has_content = true;
        self.has_calls = true;
        let id = call.id.as_deref().filter(|id| !id.is_empty());
        let event = AnswerEvent::ToolCall {
            id,
            name: &call.name,
            state: parts::keep(&self.model, signature, id.is_some()),
        };
        self.writer.write(event, out);
        if let Some(args) = call.args.filter(|args| args.get() != "null") {
            let args = schema::compact(args.get());
            self.writer.write(AnswerEvent::Arguments(&args), out);
        }
    }

    /// Takes note of usage, which replaces what was known.
    fn report(&mut self, report: Report, ends: bool, out: &mut Output) {
        self.report.update(report);
        if let Some(usage) = self.report.usage() {
            // Counts of zero are left out. Before the end, an output that is not counted may be none or unknown.
            let event = match ends || self.finished || self.report.names_output() {
                true => AnswerEvent::Usage(usage),
                false => AnswerEvent::Input(usage),
            };
            self.writer.write(event, out);
        }
        if let Some(tier) = self.report.tier() {
            self.writer.write(AnswerEvent::Tier(tier), out);
        }
    }

    fn end(&mut self, reason: &str, out: &mut Output) -> Result<(), ProviderError> {
        let stop = match self.has_calls {
            // There is no reason of its own for calls.
            true => FinishReason::ToolCalls,
            false => FinishReason::Stop,
        };
        let reason = match Reason::of(reason) {
            Reason::Told(FinishReason::Stop) => stop,
            Reason::Told(reason) => reason,
            Reason::Vague if self.has_content => stop,
            Reason::Vague | Reason::Unusable => return Err(ProviderError::new(Kind::Malformed)),
        };
        self.finish(reason, out);
        Ok(())
    }

    fn finish(&mut self, reason: FinishReason, out: &mut Output) {
        self.finished = true;
        self.writer.write(AnswerEvent::finished(reason), out);
    }
}

// === impl Reason ===

impl Reason {
    fn of(word: &str) -> Self {
        match word {
            "STOP" => Self::Told(FinishReason::Stop),
            "MAX_TOKENS" | "CONTINUATION" => Self::Told(FinishReason::Length),
            "SAFETY"
            | "RECITATION"
            | "LANGUAGE"
            | "BLOCKLIST"
            | "PROHIBITED_CONTENT"
            | "SPII"
            | "ESCALATION"
            | "PUP_LIMITED_DISABLED"
            | "MODEL_ARMOR" => Self::Told(FinishReason::ContentFilter),
            image if image.starts_with("IMAGE_") => Self::Told(FinishReason::ContentFilter),
            "MALFORMED_FUNCTION_CALL"
            | "MALFORMED_RESPONSE"
            | "UNEXPECTED_TOOL_CALL"
            | "TOO_MANY_TOOL_CALLS"
            | "MISSING_THOUGHT_SIGNATURE"
            | "NO_IMAGE" => Self::Unusable,
            // `OTHER`, `FINISH_REASON_UNSPECIFIED`, and what is not known yet.
            _ => Self::Vague,
        }
    }
}

/// An answer that cannot be read.
pub(super) fn malformed(cause: impl std::error::Error + Send + Sync + 'static) -> ProviderError {
    ProviderError::new(Kind::Malformed).with_source(cause)
}
