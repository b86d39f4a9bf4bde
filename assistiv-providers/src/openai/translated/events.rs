//! Chunks and whole answers, read into events.

use std::borrow::Cow;
use std::sync::Arc;

use assistiv_core::conversation::{AnswerEvent, FinishReason, UsageReport};
use assistiv_core::provider::{AnswerWriter, Output, ProviderError, ProviderErrorKind as Kind};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::answer::malformed;
use super::super::dialect::{Dialect, FinishReason as Given};
use super::super::usage::Report;
use super::error_in;

/// An answer as far as it was read.
#[derive(Debug)]
pub(super) struct Events {
    dialect: Arc<Dialect>,
    writer: AnswerWriter,
    begun: bool,
    /// The call that is being written.
    call: Option<Call>,
    has_called: bool,
    report: Report,
    stage: Stage,
}

#[derive(Debug)]
struct Call {
    index: u32,
    id: String,
}

/// How far the answer has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Open,
    /// The reason of the end is there.
    Complete,
    /// The end was put out; what follows is ignored.
    Done,
}

/// A chunk of a stream, or a whole answer.
#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(borrow)]
    id: Option<Text<'a>>,
    #[serde(borrow)]
    model: Option<Text<'a>>,
    #[serde(borrow)]
    choices: Option<Vec<Choice<'a>>>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(borrow)]
    service_tier: Option<Text<'a>>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

/// A string that borrows where it can.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow)]
    delta: Option<Delta<'a>>,
    #[serde(borrow)]
    message: Option<Delta<'a>>,
    #[serde(borrow)]
    finish_reason: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(borrow)]
    content: Option<Text<'a>>,
    #[serde(borrow)]
    refusal: Option<Text<'a>>,
    #[serde(borrow)]
    reasoning_content: Option<Text<'a>>,
    /// What aggregators call it.
    #[serde(borrow)]
    reasoning: Option<Text<'a>>,
    #[serde(borrow)]
    tool_calls: Option<Vec<ToolCall<'a>>>,
}

#[derive(Deserialize)]
struct ToolCall<'a> {
    index: Option<u32>,
    #[serde(borrow)]
    id: Option<Text<'a>>,
    #[serde(borrow)]
    function: Option<Function<'a>>,
}

#[derive(Deserialize)]
struct Function<'a> {
    #[serde(borrow)]
    name: Option<Text<'a>>,
    #[serde(borrow)]
    arguments: Option<Text<'a>>,
}

// === impl Events ===

impl Events {
    pub(super) fn new(dialect: Arc<Dialect>, writer: AnswerWriter) -> Self {
        Self {
            dialect,
            writer,
            begun: false,
            call: None,
            has_called: false,
            report: Report::default(),
            stage: Stage::Open,
        }
    }

    /// Whether the reason of the end was seen.
    pub(super) fn is_complete(&self) -> bool {
        self.stage != Stage::Open
    }

    /// Reads a chunk, or a whole answer.
    pub(super) fn chunk(&mut self, data: &[u8], out: &mut Output) -> Result<(), ProviderError> {
        if self.stage == Stage::Done {
            return Ok(());
        }
        let chunk: Chunk<'_> = serde_json::from_slice(data).map_err(malformed)?;
        if let Some(error) = error_in(data, chunk.error.map(RawValue::get)) {
            return Err(error);
        }
        if !self.begun && chunk.choices.is_some() {
            self.begun = true;
            let known = |text: &Option<Text<'_>>| {
                let text = text.as_ref().map(|text| text.0.to_string());
                text.filter(|text| !text.is_empty())
            };
            let (id, model) = (known(&chunk.id), known(&chunk.model));
            let started = AnswerEvent::Started {
                id: id.as_deref(),
                model: model.as_deref(),
            };
            self.writer.write(started, out);
        }
        if let Some(tier) = &chunk.service_tier {
            self.writer.write(AnswerEvent::Tier(&tier.0), out);
        }
        if let Some(usage) = chunk.usage.and_then(|usage| Report::read(usage.get())) {
            self.report.update(&usage);
            if let Some(usage) = self.report.usage(self.dialect.reasoning_tokens) {
                let report = UsageReport::from(usage);
                self.writer.write(AnswerEvent::Usage(report), out);
            }
        }
        // One choice was asked for.
        match chunk.choices.unwrap_or_default().into_iter().next() {
            Some(choice) => self.choice(choice, out),
            None => Ok(()),
        }
    }

    fn choice(&mut self, choice: Choice<'_>, out: &mut Output) -> Result<(), ProviderError> {
        if let Some(delta) = choice.delta.or(choice.message) {
            let texts = [
                delta
                    .reasoning_content
                    .as_ref()
                    .or(delta.reasoning.as_ref())
                    .map(|text| AnswerEvent::Reasoning(&text.0)),
                delta
                    .content
                    .as_ref()
                    .map(|text| AnswerEvent::Text(&text.0)),
                delta
                    .refusal
                    .as_ref()
                    .map(|text| AnswerEvent::Refusal(&text.0)),
            ];
            for event in texts.into_iter().flatten() {
                self.writer.write(event, out);
            }
            for call in delta.tool_calls.unwrap_or_default() {
                self.tool_call(&call, out)?;
            }
        }
        let reason = choice.finish_reason.filter(|reason| !reason.0.is_empty());
        if let Some(reason) = reason
            && self.stage == Stage::Open
        {
            self.complete(&reason.0, out);
        }
        Ok(())
    }

    fn tool_call(&mut self, call: &ToolCall<'_>, out: &mut Output) -> Result<(), ProviderError> {
        let id = call.id.as_ref().map_or("", |id| &*id.0);
        let name = call.function.as_ref().and_then(|it| it.name.as_ref());
        let name = name.map_or("", |name| &*name.0);
        // Servers that do not number their calls name each of them once.
        let is_next = |open: &Call| match call.index {
            Some(index) if index != open.index => true,
            _ => !name.is_empty() && !id.is_empty() && id != open.id,
        };
        if self.call.as_ref().is_none_or(is_next) {
            let index = call.index.unwrap_or(0);
            if self.call.as_ref().is_some_and(|open| index < open.index) || name.is_empty() {
                // Pieces of a call that has ended already, or of one without a name.
                return Err(ProviderError::new(Kind::Malformed));
            }
            self.call = Some(Call {
                index,
                id: id.to_owned(),
            });
            self.has_called = true;
            let event = AnswerEvent::ToolCall {
                id: Some(id),
                name,
                state: None,
            };
            self.writer.write(event, out);
        }
        let arguments = call.function.as_ref().and_then(|it| it.arguments.as_ref());
        if let Some(arguments) = arguments {
            self.writer.write(AnswerEvent::Arguments(&arguments.0), out);
        }
        Ok(())
    }

    fn complete(&mut self, reason: &str, out: &mut Output) {
        let reason = match reason {
            "length" => FinishReason::Length,
            "content_filter" => FinishReason::ContentFilter,
            // Some servers say `stop` where tools are called.
            _ if self.has_called => FinishReason::ToolCalls,
            _ => FinishReason::Stop,
        };
        self.stage = Stage::Complete;
        self.writer.write(AnswerEvent::finished(reason), out);
    }

    /// The server says that the answer is complete. A reason may be missing then, where the dialect allows for that.
    pub(super) fn done(&mut self, out: &mut Output) -> Result<(), ProviderError> {
        if self.stage == Stage::Open && self.begun && self.dialect.finish_reason == Given::Derived {
            self.complete("", out);
        }
        self.end(out)
    }

    /// Puts out the end, when the answer is complete.
    pub(super) fn end(&mut self, out: &mut Output) -> Result<(), ProviderError> {
        match self.stage {
            Stage::Open => Err(ProviderError::new(Kind::Interrupted)),
            Stage::Complete => {
                self.stage = Stage::Done;
                self.writer.write(AnswerEvent::Ended, out);
                Ok(())
            }
            Stage::Done => Ok(()),
        }
    }
}
