//! What both decoders know of an answer.

use std::borrow::Cow;

use assistiv_core::conversation::{AnswerEvent, FinishReason};
use assistiv_core::provider::{AnswerWriter, Output, ProviderError, ProviderErrorKind as Kind};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::calls::Calls;
use super::input;
use super::usage::Report;
use crate::openai::classify;

/// An answer as far as it was read.
#[derive(Debug)]
pub(super) struct Answer {
    writer: AnswerWriter,
    /// The adapter, and what it calls the model.
    name: Cow<'static, str>,
    model: Box<str>,
    calls: Calls,
    has_calls: bool,
    begun: bool,
}

/// A response: the whole of it, or what the first and last events of a stream say.
#[derive(Deserialize)]
pub(super) struct Response<'a> {
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    model: Option<Cow<'a, str>>,
    #[serde(borrow)]
    status: Option<Cow<'a, str>>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    #[serde(borrow)]
    incomplete_details: Option<Incomplete<'a>>,
    #[serde(borrow)]
    service_tier: Option<Cow<'a, str>>,
    usage: Option<Report>,
    #[serde(borrow)]
    output: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize)]
struct Incomplete<'a> {
    #[serde(borrow)]
    reason: Option<Cow<'a, str>>,
}

/// An output item.
#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    content: Option<Vec<Text<'a>>>,
    #[serde(borrow, default)]
    summary: Option<Vec<Text<'a>>>,
    #[serde(borrow)]
    encrypted_content: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    call_id: Cow<'a, str>,
    #[serde(borrow, default)]
    name: Cow<'a, str>,
    #[serde(borrow, default)]
    arguments: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Text<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    text: Cow<'a, str>,
    #[serde(borrow, default)]
    refusal: Cow<'a, str>,
}

/// Between the parts of a summary.
const BREAK: &str = "\n\n";

// === impl Response ===

impl Response<'_> {
    /// Whether it is one, and no error in its place.
    pub(super) fn is_response(&self) -> bool {
        self.status.is_some()
    }
}

// === impl Answer ===

impl Answer {
    /// The answer of a model, by the provider's name for it, to the adapter `name`.
    pub(super) fn new(writer: AnswerWriter, name: Cow<'static, str>, model: &str) -> Self {
        Self {
            writer,
            name,
            model: model.into(),
            calls: Calls::default(),
            has_calls: false,
            begun: false,
        }
    }

    pub(super) fn write(&mut self, event: AnswerEvent<'_>, out: &mut Output) {
        self.writer.write(event, out);
    }

    /// What the response says of itself at its beginning.
    pub(super) fn begin(&mut self, response: &Response<'_>, out: &mut Output) {
        if !std::mem::replace(&mut self.begun, true) {
            let started = AnswerEvent::Started {
                id: response.id.as_deref(),
                model: response.model.as_deref(),
            };
            self.write(started, out);
        }
    }

    /// An item of a stream begins.
    pub(super) fn item_added(&mut self, index: u64, raw: &RawValue, out: &mut Output) {
        // Items of kinds that are not known yet may look like anything.
        if let Ok(item) = serde_json::from_str::<Item<'_>>(raw.get())
            && item.kind == "function_call"
        {
            self.has_calls = true;
            self.calls.begin(index, &item.call_id, &item.name);
            self.calls.write(&mut self.writer, out);
        }
    }

    /// A piece of the arguments of the call at an index.
    pub(super) fn arguments(&mut self, index: u64, piece: &str, out: &mut Output) {
        self.calls.add(index, piece);
        self.calls.write(&mut self.writer, out);
    }

    /// A part of a summary begins.
    pub(super) fn summary_part(&mut self, index: u64, out: &mut Output) {
        if index > 0 {
            self.write(AnswerEvent::Reasoning(BREAK), out);
        }
    }

    /// An item of a stream has ended; its texts came in pieces.
    pub(super) fn item_done(&mut self, index: u64, raw: &RawValue, out: &mut Output) {
        let Ok(item) = serde_json::from_str::<Item<'_>>(raw.get()) else {
            return;
        };
        match &*item.kind {
            "function_call" => {
                self.has_calls = true;
                self.calls.begin(index, &item.call_id, &item.name);
                self.calls.end(index, &item.arguments);
                self.calls.write(&mut self.writer, out);
            }
            "reasoning" => self.keep(&item, raw, out),
            _ => {}
        }
    }

    /// Thoughts come back in encrypted form alone: nothing is stored under their id.
    fn keep(&mut self, item: &Item<'_>, raw: &RawValue, out: &mut Output) {
        if item.encrypted_content.as_deref().is_none_or(str::is_empty) {
            return;
        }
        if let Some(state) = input::keep(&self.name, &self.model, raw) {
            self.write(AnswerEvent::ReasoningState(state), out);
        }
    }

    /// A whole item.
    fn item(&mut self, index: u64, raw: &RawValue, out: &mut Output) {
        let Ok(item) = serde_json::from_str::<Item<'_>>(raw.get()) else {
            return;
        };
        let content = item.content.iter().flatten();
        match &*item.kind {
            "message" => {
                for part in content {
                    match &*part.kind {
                        "output_text" => self.write(AnswerEvent::Text(&part.text), out),
                        "refusal" => self.write(AnswerEvent::Refusal(&part.refusal), out),
                        _ => {}
                    }
                }
            }
            "reasoning" => {
                for (at, part) in item.summary.iter().flatten().enumerate() {
                    if at > 0 {
                        self.write(AnswerEvent::Reasoning(BREAK), out);
                    }
                    self.write(AnswerEvent::Reasoning(&part.text), out);
                }
                for part in content {
                    self.write(AnswerEvent::Reasoning(&part.text), out);
                }
                self.keep(&item, raw, out);
            }
            _ => self.item_done(index, raw, out),
        }
    }

    /// The whole output.
    pub(super) fn output(&mut self, response: &Response<'_>, out: &mut Output) {
        for (index, raw) in (0..).zip(response.output.iter().flatten()) {
            self.item(index, raw, out);
        }
    }

    /// The response has ended.
    ///
    /// # Errors
    /// When there is no answer in it.
    pub(super) fn end(
        &mut self,
        response: &Response<'_>,
        out: &mut Output,
    ) -> Result<(), ProviderError> {
        self.calls.end_all();
        self.calls.write(&mut self.writer, out);
        if let Some(usage) = response.usage.and_then(|report| report.usage()) {
            self.write(AnswerEvent::Usage(usage), out);
        }
        if let Some(tier) = &response.service_tier {
            self.write(AnswerEvent::Tier(tier), out);
        }
        let details = response.incomplete_details.as_ref();
        let why = details.and_then(|details| details.reason.as_deref());
        let reason = match (response.status.as_deref(), why) {
            (Some("completed"), _) if self.has_calls => FinishReason::ToolCalls,
            (Some("completed"), _) => FinishReason::Stop,
            (Some("incomplete"), Some("content_filter")) => FinishReason::ContentFilter,
            (Some("incomplete"), Some("steered")) => FinishReason::Stop,
            (Some("incomplete"), _) => FinishReason::Length,
            (Some("failed"), _) => {
                return Err(match response.error {
                    Some(error) => classify::failure(error.get()),
                    None => ProviderError::new(Kind::Failed),
                });
            }
            // Cancelled, or not worked on yet.
            _ => return Err(ProviderError::new(Kind::Malformed)),
        };
        self.write(AnswerEvent::finished(reason), out);
        self.write(AnswerEvent::Ended, out);
        Ok(())
    }
}
