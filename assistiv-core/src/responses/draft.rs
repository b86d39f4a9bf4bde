//! A response as it grows: what was said so far, and the events that say it.
//!
//! OpenAI API reference, "The response object" and "Streaming events" of Responses, read on 2026-11-23. What their SDKs rely
//! on: events are numbered from 0 without gaps, an item is announced before its pieces and closed with the same id,
//! and the last event carries every item.

use serde_json::{Map, Value, json};

use super::asked::Asked;
use super::seal::Seal;
use crate::conversation::{AnswerEvent, FinishReason, ProviderState, UsageReport};
use crate::error::Problem;
use crate::json;
use crate::provider::Output;

/// A response, as far as it was written.
#[derive(Debug)]
pub(crate) struct Draft {
    id: Box<str>,
    /// What ids of items are made of.
    stem: Box<str>,
    created: i64,
    /// The caller's name for the model, as JSON text.
    model: Box<str>,
    echo: String,
    seal: Option<Seal>,
    stream: Option<Stream>,
    /// Items that are closed, as JSON text.
    items: Vec<String>,
    open: Option<Open>,
    usage: Option<UsageReport>,
    tier: Option<Box<str>>,
    finish: Option<FinishReason>,
}

/// Where a stream stands.
#[derive(Debug, Default)]
struct Stream {
    sequence: u64,
    begun: bool,
    /// Whether what is written belongs to the end.
    at_end: bool,
}

/// The item that grows.
#[derive(Debug)]
enum Open {
    Message {
        /// Parts that are closed, as JSON text.
        parts: Vec<String>,
        kind: PartKind,
        text: String,
    },
    Reasoning {
        text: String,
    },
    Call {
        id: String,
        name: String,
        arguments: String,
        state: Option<ProviderState>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PartKind {
    Text,
    Refusal,
}

// === impl Draft ===

impl Draft {
    /// A response about which nothing was said yet.
    pub(crate) fn new(asked: &Asked, stream: bool, model: &str) -> Self {
        Self {
            id: asked.id.to_string().into(),
            stem: asked.id.as_uuid().simple().to_string().into(),
            created: asked.id.created_at(),
            model: json::string(model),
            echo: asked.echo(),
            seal: asked.seal.clone(),
            stream: stream.then(Stream::default),
            items: Vec::new(),
            open: None,
            usage: None,
            tier: None,
            finish: None,
        }
    }

    /// Takes the next event of the answer.
    pub(crate) fn write(&mut self, event: &AnswerEvent<'_>, out: &mut Output) {
        match event {
            AnswerEvent::Text(text) => self.say(PartKind::Text, text, out),
            AnswerEvent::Refusal(text) => self.say(PartKind::Refusal, text, out),
            AnswerEvent::Reasoning(text) => self.think(text, out),
            AnswerEvent::ReasoningState(state) => {
                if !matches!(self.open, Some(Open::Reasoning { .. })) {
                    self.open_item(
                        Open::Reasoning {
                            text: String::new(),
                        },
                        out,
                    );
                }
                self.close("completed", Some(state), out);
            }
            AnswerEvent::ToolCall { id, name, state } => {
                let call = Open::Call {
                    id: id.unwrap_or_default().to_owned(),
                    name: (*name).to_owned(),
                    arguments: String::new(),
                    state: state.clone(),
                };
                self.open_item(call, out);
            }
            AnswerEvent::Arguments(piece) => {
                if let Some(Open::Call { arguments, .. }) = &mut self.open {
                    arguments.push_str(piece);
                    let delta = json::string(piece);
                    let at = self.at("fc");
                    self.event("response.function_call_arguments.delta", out, || {
                        format!(r#"{at},"delta":{delta}"#)
                    });
                }
            }
            AnswerEvent::Usage(report) => self.usage = Some(*report),
            AnswerEvent::Tier(tier) => {
                self.tier = Some(if *tier == "standard" { "default" } else { tier }.into());
            }
            AnswerEvent::Finished { reason, .. } => {
                self.begin(out);
                self.finish = Some(*reason);
                if let Some(stream) = &mut self.stream {
                    stream.at_end = true;
                }
                self.close(self.item_status(), None, out);
            }
            AnswerEvent::Ended => self.end(out),
            _ => {}
        }
    }

    /// The event that says that the response has failed; nothing follows it.
    pub(crate) fn failed(&mut self, problem: &Problem, out: &mut Output) {
        if let Some(item) = self.open.take() {
            let json = self.item(&item, "incomplete", None);
            self.items.push(json);
        }
        let error = json!({
            "code": problem.reason.code(),
            "reason": problem.reason.as_str(),
            "message": problem.message,
        });
        self.usage = None;
        let response = self.response("failed", &error.to_string(), "null");
        self.begin(out);
        self.event("response.failed", out, || {
            format!(r#""response":{response}"#)
        });
    }

    fn end(&mut self, out: &mut Output) {
        let (status, details) = match self.finish {
            Some(FinishReason::Length) => ("incomplete", r#"{"reason":"max_output_tokens"}"#),
            Some(FinishReason::ContentFilter) => ("incomplete", r#"{"reason":"content_filter"}"#),
            _ => ("completed", "null"),
        };
        let response = self.response(status, "null", details);
        if self.stream.is_some() {
            let kind = match status {
                "completed" => "response.completed",
                _ => "response.incomplete",
            };
            self.event(kind, out, || format!(r#""response":{response}"#));
        } else {
            out.terminal(response.clone());
        }
        out.keep_response(response);
    }

    /// The status of an item that grew until the end.
    fn item_status(&self) -> &'static str {
        match self.finish {
            Some(FinishReason::Length | FinishReason::ContentFilter) => "incomplete",
            _ => "completed",
        }
    }

    fn think(&mut self, piece: &str, out: &mut Output) {
        if !matches!(self.open, Some(Open::Reasoning { .. })) {
            self.open_item(
                Open::Reasoning {
                    text: String::new(),
                },
                out,
            );
        }
        let at = self.at("rs");
        let Some(Open::Reasoning { text }) = &mut self.open else {
            return;
        };
        let is_first = text.is_empty();
        text.push_str(piece);
        if is_first {
            self.event("response.reasoning_summary_part.added", out, || {
                format!(r#"{at},"summary_index":0,"part":{{"type":"summary_text","text":""}}"#)
            });
        }
        let delta = json::string(piece);
        self.event("response.reasoning_summary_text.delta", out, || {
            format!(r#"{at},"summary_index":0,"delta":{delta}"#)
        });
    }

    fn say(&mut self, kind: PartKind, piece: &str, out: &mut Output) {
        let is_other =
            matches!(&self.open, Some(Open::Message { kind: open, .. }) if *open != kind);
        if is_other {
            self.close_part(out);
            if let Some(Open::Message { kind: open, .. }) = &mut self.open {
                *open = kind;
            }
            self.add_part(kind, out);
        } else if !matches!(self.open, Some(Open::Message { .. })) {
            let message = Open::Message {
                parts: Vec::new(),
                kind,
                text: String::new(),
            };
            self.open_item(message, out);
            self.add_part(kind, out);
        }
        let at = self.at("msg");
        let Some(Open::Message { parts, text, .. }) = &mut self.open else {
            return;
        };
        text.push_str(piece);
        let index = parts.len();
        let delta = json::string(piece);
        let (event, logprobs) = match kind {
            PartKind::Text => ("response.output_text.delta", r#","logprobs":[]"#),
            PartKind::Refusal => ("response.refusal.delta", ""),
        };
        self.event(event, out, || {
            format!(r#"{at},"content_index":{index},"delta":{delta}{logprobs}"#)
        });
    }

    fn add_part(&mut self, kind: PartKind, out: &mut Output) {
        let at = self.at("msg");
        let Some(Open::Message { parts, .. }) = &self.open else {
            return;
        };
        let index = parts.len();
        let part = part(kind, "");
        self.event("response.content_part.added", out, || {
            format!(r#"{at},"content_index":{index},"part":{part}"#)
        });
    }

    fn close_part(&mut self, out: &mut Output) {
        let at = self.at("msg");
        let Some(Open::Message { parts, kind, text }) = &mut self.open else {
            return;
        };
        let (kind, text) = (*kind, std::mem::take(text));
        let index = parts.len();
        let part = part(kind, &text);
        parts.push(part.clone());
        let text = json::string(&text);
        let (event, rest) = match kind {
            PartKind::Text => (
                "response.output_text.done",
                format!(r#""text":{text},"logprobs":[]"#),
            ),
            PartKind::Refusal => ("response.refusal.done", format!(r#""refusal":{text}"#)),
        };
        self.event(event, out, || {
            format!(r#"{at},"content_index":{index},{rest}"#)
        });
        self.event("response.content_part.done", out, || {
            format!(r#"{at},"content_index":{index},"part":{part}"#)
        });
    }

    fn open_item(&mut self, item: Open, out: &mut Output) {
        self.begin(out);
        self.close("completed", None, out);
        let announced = match &item {
            Open::Message { .. } => {
                let empty = Open::Message {
                    parts: Vec::new(),
                    kind: PartKind::Text,
                    text: String::new(),
                };
                self.item(&empty, "in_progress", None)
            }
            other => self.item(other, "in_progress", None),
        };
        let index = self.items.len();
        self.open = Some(item);
        self.event("response.output_item.added", out, || {
            format!(r#""output_index":{index},"item":{announced}"#)
        });
    }

    /// Closes the item that grows, if there is one.
    fn close(&mut self, status: &str, state: Option<&ProviderState>, out: &mut Output) {
        match &self.open {
            None => return,
            Some(Open::Message { .. }) => self.close_part(out),
            Some(Open::Reasoning { text }) if text.is_empty() => {}
            Some(Open::Reasoning { text }) => {
                let (at, text) = (self.at("rs"), json::string(text));
                self.event("response.reasoning_summary_text.done", out, || {
                    format!(r#"{at},"summary_index":0,"text":{text}"#)
                });
                self.event("response.reasoning_summary_part.done", out, || {
                    let part = format!(r#"{{"type":"summary_text","text":{text}}}"#);
                    format!(r#"{at},"summary_index":0,"part":{part}"#)
                });
            }
            Some(Open::Call { arguments, .. }) => {
                let (at, arguments) = (self.at("fc"), json::string(arguments));
                self.event("response.function_call_arguments.done", out, || {
                    format!(r#"{at},"arguments":{arguments}"#)
                });
            }
        }
        let Some(item) = self.open.take() else {
            return;
        };
        let index = self.items.len();
        let json = self.item(&item, status, state);
        self.event("response.output_item.done", out, || {
            format!(r#""output_index":{index},"item":{json}"#)
        });
        self.items.push(json);
    }

    /// An item as JSON text.
    fn item(&self, item: &Open, status: &str, state: Option<&ProviderState>) -> String {
        let sealed = |state: Option<&ProviderState>| {
            let sealed = self.seal.as_ref()?.seal(state?)?;
            Some(format!(r#","encrypted_content":"{sealed}""#))
        };
        match item {
            Open::Message { parts, text, kind } => {
                let mut parts = parts.clone();
                if !text.is_empty() {
                    parts.push(part(*kind, text));
                }
                let id = self.item_id("msg");
                let content = parts.join(",");
                format!(
                    r#"{{"id":"{id}","type":"message","status":"{status}","role":"assistant","content":[{content}]}}"#
                )
            }
            Open::Reasoning { text } => {
                let id = self.item_id("rs");
                let summary = match &**text {
                    "" => String::new(),
                    text => format!(r#"{{"type":"summary_text","text":{}}}"#, json::string(text)),
                };
                let sealed = sealed(state).unwrap_or_default();
                format!(r#"{{"id":"{id}","type":"reasoning","summary":[{summary}]{sealed}}}"#)
            }
            Open::Call {
                id: call_id,
                name,
                arguments,
                state,
            } => {
                let id = self.item_id("fc");
                let sealed = match status {
                    "in_progress" => None,
                    _ => sealed(state.as_ref()),
                };
                format!(
                    r#"{{"id":"{id}","type":"function_call","status":"{status}","call_id":{},"name":{},"arguments":{}{}}}"#,
                    json::string(call_id),
                    json::string(name),
                    json::string(arguments),
                    sealed.unwrap_or_default(),
                )
            }
        }
    }

    fn item_id(&self, prefix: &str) -> String {
        format!("{prefix}_{}{:02x}", self.stem, self.items.len())
    }

    /// The place of a piece of the item that grows.
    fn at(&self, prefix: &str) -> String {
        format!(
            r#""item_id":"{}","output_index":{}"#,
            self.item_id(prefix),
            self.items.len()
        )
    }

    fn response(&self, status: &str, error: &str, details: &str) -> String {
        let usage = match (&self.usage, status) {
            (_, "in_progress") | (None, "failed") => Value::Null,
            (usage, _) => usage_json(&usage.unwrap_or_default()),
        };
        let tier = self
            .tier
            .as_deref()
            .map_or_else(|| "null".into(), json::string);
        format!(
            r#"{{"id":"{}","object":"response","created_at":{},"status":"{status}","model":{},"error":{error},"incomplete_details":{details},{}"service_tier":{tier},"output":[{}],"usage":{usage}}}"#,
            self.id,
            self.created,
            self.model,
            self.echo,
            self.items.join(","),
        )
    }

    /// The first two events.
    fn begin(&mut self, out: &mut Output) {
        match &mut self.stream {
            Some(stream) if !stream.begun => stream.begun = true,
            _ => return,
        }
        let response = self.response("in_progress", "null", "null");
        for kind in ["response.created", "response.in_progress"] {
            self.event(kind, out, || format!(r#""response":{response}"#));
        }
    }

    fn event(&mut self, kind: &str, out: &mut Output, rest: impl FnOnce() -> String) {
        let Some(stream) = &mut self.stream else {
            return;
        };
        let rest = rest();
        let number = stream.sequence;
        stream.sequence += 1;
        let event = format!(
            "event: {kind}\ndata: {{\"type\":\"{kind}\",\"sequence_number\":{number},{rest}}}\n\n"
        );
        match stream.at_end {
            true => out.terminal(event),
            false => out.content(event),
        }
    }
}

fn part(kind: PartKind, text: &str) -> String {
    let text = json::string(text);
    match kind {
        PartKind::Text => {
            format!(r#"{{"type":"output_text","text":{text},"annotations":[],"logprobs":[]}}"#)
        }
        PartKind::Refusal => format!(r#"{{"type":"refusal","refusal":{text}}}"#),
    }
}

fn usage_json(report: &UsageReport) -> Value {
    let usage = &report.usage;
    let writes = [
        usage.cache_write_5m,
        usage.cache_write_30m,
        usage.cache_write_1h,
        usage.cache_write_12h,
    ];
    let mut input = Map::new();
    input.insert("cached_tokens".into(), usage.cached_input.into());
    let written = writes.into_iter().fold(0, u64::saturating_add);
    input.insert("cache_write_tokens".into(), written.into());
    if usage.cache_write_30m > 0 || usage.cache_write_12h > 0 {
        let split = json!({ "ttl_30m_tokens": usage.cache_write_30m, "ttl_12h_tokens": usage.cache_write_12h });
        input.insert("cache_write_tokens_details".into(), split);
    }
    json!({
        "input_tokens": usage.input_total(),
        "input_tokens_details": input,
        "output_tokens": usage.output_total(),
        "output_tokens_details": { "reasoning_tokens": usage.reasoning },
        "total_tokens": usage.total(),
    })
}
