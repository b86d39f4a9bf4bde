//! What both decoders know of an answer: its choices, its usage, the names to show.

use std::sync::Arc;

use assistiv_core::call::InferenceRequest;
use assistiv_core::json::{self, Members};
use assistiv_core::provider::{Output, ProviderError, ProviderErrorKind};
use bytes::Bytes;
use serde_json::value::RawValue;

use super::choice::{Choice, Finish};
use super::dialect::{Dialect, FinishReason};
use super::usage::Report;

/// An answer as far as it was read.
#[derive(Debug)]
pub(super) struct Answer {
    dialect: Arc<Dialect>,
    /// The caller's name for the model, as JSON text.
    model: Box<str>,
    wants_usage: bool,
    wanted: usize,
    choices: Vec<Seen>,
    report: Report,
}

/// A choice of which something was read.
#[derive(Debug)]
struct Seen {
    index: u32,
    calls: bool,
    finished: bool,
}

// === impl Answer ===

impl Answer {
    /// The answer to a request, which calls the model `model`.
    pub(super) fn new(dialect: &Arc<Dialect>, request: &InferenceRequest, model: &str) -> Self {
        Self {
            dialect: dialect.clone(),
            model: json::string(model),
            wants_usage: request.wants_usage(),
            wanted: request.choices() as usize,
            choices: Vec::new(),
            report: Report::default(),
        }
    }

    /// The caller's name for the model, as JSON text.
    pub(super) fn model(&self) -> &str {
        &self.model
    }

    /// Whether the caller wants usage in the stream.
    pub(super) fn wants_usage(&self) -> bool {
        self.wants_usage
    }

    /// Whether finish reasons are derived where they are missing.
    pub(super) fn derives(&self) -> bool {
        self.dialect.finish_reason == FinishReason::Derived
    }

    /// Takes note of what was generated and what has ended.
    pub(super) fn observe(&mut self, choices: &[Choice], out: &mut Output) {
        for choice in choices {
            let generated = choice.generated();
            out.observe(generated.bytes);
            let index = choice.index();
            let at = match self.choices.iter().position(|seen| seen.index == index) {
                Some(at) => at,
                None => {
                    self.choices.push(Seen {
                        index,
                        calls: false,
                        finished: false,
                    });
                    self.choices.len() - 1
                }
            };
            let seen = &mut self.choices[at];
            seen.calls |= generated.calls;
            seen.finished |= choice.finish_reason == Finish::Given;
        }
    }

    /// Whether every choice that was asked for has ended.
    pub(super) fn is_finished(&self) -> bool {
        self.choices.iter().filter(|seen| seen.finished).count() >= self.wanted
    }

    /// Whether every choice that was begun has ended. Servers that know no `n` answer with one choice.
    pub(super) fn is_settled(&self) -> bool {
        !self.choices.is_empty() && self.choices.iter().all(|seen| seen.finished)
    }

    /// Ends the choices that have no finish reason, and gives the reasons that they must have had.
    pub(super) fn derive(&mut self) -> Vec<(u32, &'static str)> {
        let open = self.choices.iter_mut().filter(|seen| !seen.finished);
        open.map(|seen| {
            seen.finished = true;
            (seen.index, if seen.calls { "tool_calls" } else { "stop" })
        })
        .collect()
    }

    /// Takes note of a `usage` object, and gives it back as the caller may see it.
    pub(super) fn report(&mut self, json: &str, out: &mut Output) -> Box<str> {
        let Some(report) = Report::read(json) else {
            return json.into();
        };
        self.report.update(&report);
        let reasoning = self.dialect.reasoning_tokens;
        if let Some(usage) = self.report.usage(reasoning) {
            out.report(usage);
        }
        report
            .for_caller(json, reasoning)
            .map_or_else(|| json.into(), String::into_boxed_str)
    }

    /// Takes note of the service tier in a frame or body.
    pub(super) fn tier(&self, members: &Members, out: &mut Output) {
        if let Ok(Some(tier)) = members.read::<String>("service_tier") {
            out.report_tier(&tier);
        }
    }
}

/// A frame's choices with another finish reason, as JSON text; `None` leaves a choice as it is.
pub(super) fn with_finish(
    choices: &str,
    mut reason: impl FnMut(&Choice) -> Option<Box<str>>,
) -> Result<String, ProviderError> {
    let raw: Vec<&RawValue> = serde_json::from_str(choices).map_err(malformed)?;
    let mut text = String::with_capacity(choices.len() + 16);
    for choice in raw {
        text.push(if text.is_empty() { '[' } else { ',' });
        match reason(&serde_json::from_str(choice.get()).map_err(malformed)?) {
            None => text.push_str(choice.get()),
            Some(reason) => {
                let bytes = Bytes::copy_from_slice(choice.get().as_bytes());
                let mut members = Members::parse_trusted(bytes).map_err(malformed)?;
                members.set("finish_reason", reason);
                text.push_str(&String::from_utf8(members.to_bytes().into()).map_err(malformed)?);
            }
        }
    }
    text.push(']');
    Ok(text)
}

/// An answer that cannot be read.
pub(super) fn malformed(cause: impl std::error::Error + Send + Sync + 'static) -> ProviderError {
    ProviderError::new(ProviderErrorKind::Malformed).with_source(cause)
}
