//! Anthropic's Messages: one JSON object, or the events of a stream.
//!
//! Anthropic API reference, "Messages" and "Streaming messages", read on 2026-11-23. What their SDKs rely on: blocks
//! are numbered from 0, one is open at a time, and each is begun and ended; counts of tokens are cumulative; a stream
//! ends with `message_stop`.

use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::Dialect;
use crate::billing::Usage;
use crate::call::InferenceRequest;
use crate::conversation::{AnswerEvent, FinishReason, UNSIGNED, UsageReport};
use crate::json;
use crate::provider::Output;

/// Writes messages.
pub(super) struct MessagesWriter {
    id: String,
    model: Box<str>,
    /// The input as counted here, for the beginning of a stream, when no provider has counted it yet.
    counted: u64,
    usage: Option<UsageReport>,
    refused: bool,
    finish: Option<Finish>,
    form: Form,
}

struct Finish {
    reason: FinishReason,
    stop_sequence: Option<String>,
}

enum Form {
    Whole(Vec<Block>),
    Stream(Stream),
}

/// A block as it grows.
struct Block {
    kind: Kind,
    text: String,
}

#[derive(Clone, PartialEq, Eq)]
enum Kind {
    Text,
    Thinking,
    ToolUse { id: String, name: String },
}

/// Where a stream stands.
#[derive(Default)]
struct Stream {
    begun: bool,
    /// What the open block is.
    open: Option<Kind>,
    /// The number of the open block, or of the next one.
    index: u32,
}

// === impl MessagesWriter ===

impl MessagesWriter {
    pub(super) fn new(request: &InferenceRequest, model: &str) -> Self {
        Self {
            id: format!("msg_{}", uuid::Uuid::now_v7().simple()),
            model: json::string(model),
            counted: request.prompt_tokens(),
            usage: None,
            refused: false,
            finish: None,
            form: match request.is_stream() {
                true => Form::Stream(Stream::default()),
                false => Form::Whole(Vec::new()),
            },
        }
    }

    /// Where a provider has reported nothing, the input is what was counted here.
    fn usage(&self) -> Value {
        let counted = Usage {
            input: self.counted,
            ..Usage::default()
        };
        usage_json(self.usage.as_ref().map_or(&counted, |report| &report.usage))
    }

    fn stop_reason(&self) -> (&'static str, Option<&str>) {
        let Some(finish) = &self.finish else {
            return ("end_turn", None);
        };
        match (finish.reason, finish.stop_sequence.as_deref()) {
            (FinishReason::Stop, _) if self.refused => ("refusal", None),
            (FinishReason::Stop, Some(text)) => ("stop_sequence", Some(text)),
            (FinishReason::Stop, None) => ("end_turn", None),
            (FinishReason::Length, _) => ("max_tokens", None),
            (FinishReason::ToolCalls, _) => ("tool_use", None),
            (FinishReason::ContentFilter, _) => ("refusal", None),
        }
    }

    fn body(&self, blocks: &[Block]) -> String {
        let content: Vec<String> = blocks.iter().map(Block::to_json).collect();
        let (reason, sequence) = self.stop_reason();
        format!(
            r#"{{"id":"{}","type":"message","role":"assistant","model":{},"content":[{}],"stop_reason":"{reason}","stop_sequence":{},"usage":{}}}"#,
            self.id,
            self.model,
            content.join(","),
            json!(sequence),
            self.usage(),
        )
    }

    fn start(&self) -> String {
        event(
            "message_start",
            &format!(
                r#""message":{{"id":"{}","type":"message","role":"assistant","model":{},"content":[],"stop_reason":null,"stop_sequence":null,"usage":{}}}"#,
                self.id,
                self.model,
                self.usage(),
            ),
        )
    }

    fn stream(&mut self, answer: &AnswerEvent<'_>, out: &mut Output) {
        let (kind, delta) = match answer {
            AnswerEvent::Text(text) | AnswerEvent::Refusal(text) => (
                Kind::Text,
                Some(format!(
                    r#"{{"type":"text_delta","text":{}}}"#,
                    json::string(text)
                )),
            ),
            AnswerEvent::Reasoning(text) => (
                Kind::Thinking,
                Some(format!(
                    r#"{{"type":"thinking_delta","thinking":{}}}"#,
                    json::string(text)
                )),
            ),
            AnswerEvent::ToolCall { id, name, .. } => (Kind::tool_use(*id, name), None),
            AnswerEvent::Arguments(text) => {
                let text = json::string(text);
                let delta = format!(r#"{{"type":"input_json_delta","partial_json":{text}}}"#);
                let Form::Stream(stream) = &self.form else {
                    return;
                };
                return out.content(stream.delta(&delta));
            }
            AnswerEvent::Finished { .. } => {
                let text = self.begin() + &self.close();
                // The last block is whole; with it, so is the answer.
                return out.terminal(text);
            }
            AnswerEvent::Ended => {
                let (reason, sequence) = self.stop_reason();
                let delta = json!({ "stop_reason": reason, "stop_sequence": sequence });
                let usage = self.usage();
                let mut end = event(
                    "message_delta",
                    &format!(r#""delta":{delta},"usage":{usage}"#),
                );
                end.push_str("event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n");
                return out.terminal(end);
            }
            _ => return,
        };
        let mut text = self.begin();
        let is_open = match &self.form {
            Form::Stream(stream) => stream.open.as_ref() == Some(&kind),
            Form::Whole(_) => return,
        };
        if !is_open || delta.is_none() {
            text.push_str(&self.close());
            if let Form::Stream(stream) = &mut self.form {
                text.push_str(&stream.open(kind));
            }
        }
        if let (Some(delta), Form::Stream(stream)) = (delta, &self.form) {
            text.push_str(&stream.delta(&delta));
        }
        out.content(text);
    }

    /// The beginning of the stream, once.
    fn begin(&mut self) -> String {
        let start = match &self.form {
            Form::Stream(stream) if !stream.begun => self.start(),
            _ => return String::new(),
        };
        if let Form::Stream(stream) = &mut self.form {
            stream.begun = true;
        }
        start
    }

    fn close(&mut self) -> String {
        match &mut self.form {
            Form::Stream(stream) => stream.close(),
            Form::Whole(_) => String::new(),
        }
    }
}

impl Dialect for MessagesWriter {
    fn write(&mut self, answer: &AnswerEvent<'_>, out: &mut Output) {
        match answer {
            AnswerEvent::Usage(report) | AnswerEvent::Input(report) => self.usage = Some(*report),
            AnswerEvent::Refusal(_) => self.refused = true,
            AnswerEvent::Finished {
                reason,
                stop_sequence,
            } => {
                self.finish = Some(Finish {
                    reason: *reason,
                    stop_sequence: stop_sequence.map(str::to_owned),
                });
            }
            _ => {}
        }
        match &mut self.form {
            Form::Stream(_) => self.stream(answer, out),
            Form::Whole(blocks) => {
                take(blocks, answer);
                if let (AnswerEvent::Ended, Form::Whole(blocks)) = (answer, &self.form) {
                    out.terminal(self.body(blocks));
                }
            }
        }
    }
}

/// Adds an event to the blocks.
fn take(blocks: &mut Vec<Block>, answer: &AnswerEvent<'_>) {
    let (kind, text) = match answer {
        AnswerEvent::Text(text) | AnswerEvent::Refusal(text) => (Kind::Text, *text),
        AnswerEvent::Reasoning(text) => (Kind::Thinking, *text),
        AnswerEvent::ToolCall { id, name, .. } => {
            let kind = Kind::tool_use(*id, name);
            let text = String::new();
            return blocks.push(Block { kind, text });
        }
        AnswerEvent::Arguments(text) => {
            if let Some(block) = blocks.last_mut() {
                block.text.push_str(text);
            }
            return;
        }
        _ => return,
    };
    match blocks.last_mut() {
        Some(block) if block.kind == kind => block.text.push_str(text),
        _ => blocks.push(Block {
            kind,
            text: text.to_owned(),
        }),
    }
}

// === impl Block ===

impl Block {
    fn to_json(&self) -> String {
        let text = json::string(&self.text);
        match &self.kind {
            Kind::Text => format!(r#"{{"type":"text","text":{text}}}"#),
            Kind::Thinking => {
                format!(r#"{{"type":"thinking","thinking":{text},"signature":"{UNSIGNED}"}}"#)
            }
            Kind::ToolUse { id, name } => {
                let (id, name) = (json::string(id), json::string(name));
                let input = input(&self.text);
                format!(r#"{{"type":"tool_use","id":{id},"name":{name},"input":{input}}}"#)
            }
        }
    }
}

/// Arguments as an object. Models may be cut in the middle of them, or write nonsense; then the caller gets the text
/// under the name that Anthropic's documentation suggests for it.
fn input(arguments: &str) -> String {
    let object = serde_json::from_str::<&RawValue>(arguments)
        .ok()
        .filter(|raw| raw.get().starts_with('{'));
    match object {
        Some(object) => object.get().to_owned(),
        None => json!({ "INVALID_JSON": arguments }).to_string(),
    }
}

// === impl Kind ===

impl Kind {
    fn tool_use(id: Option<&str>, name: &str) -> Self {
        Self::ToolUse {
            id: id.unwrap_or_default().to_owned(),
            name: name.to_owned(),
        }
    }
}

// === impl Stream ===

impl Stream {
    fn open(&mut self, kind: Kind) -> String {
        let block = match &kind {
            Kind::Text => r#"{"type":"text","text":""}"#.to_owned(),
            Kind::Thinking => r#"{"type":"thinking","thinking":"","signature":""}"#.to_owned(),
            Kind::ToolUse { id, name } => format!(
                r#"{{"type":"tool_use","id":{},"name":{},"input":{{}}}}"#,
                json::string(id),
                json::string(name),
            ),
        };
        self.open = Some(kind);
        event(
            "content_block_start",
            &format!(r#""index":{},"content_block":{block}"#, self.index),
        )
    }

    fn delta(&self, delta: &str) -> String {
        event(
            "content_block_delta",
            &format!(r#""index":{},"delta":{delta}"#, self.index),
        )
    }

    fn close(&mut self) -> String {
        let Some(kind) = self.open.take() else {
            return String::new();
        };
        let mut text = String::new();
        if kind == Kind::Thinking {
            let delta = format!(r#"{{"type":"signature_delta","signature":"{UNSIGNED}"}}"#);
            text.push_str(&self.delta(&delta));
        }
        text.push_str(&event(
            "content_block_stop",
            &format!(r#""index":{}"#, self.index),
        ));
        self.index += 1;
        text
    }
}

/// An event with its members beside the type.
fn event(kind: &str, members: &str) -> String {
    format!("event: {kind}\ndata: {{\"type\":\"{kind}\",{members}}}\n\n")
}

/// As Anthropic counts: what was read from or written to a cache is no part of the input.
fn usage_json(usage: &Usage) -> Value {
    let writes = [
        usage.cache_write_5m,
        usage.cache_write_30m,
        usage.cache_write_1h,
        usage.cache_write_12h,
    ];
    let writes = writes.into_iter().fold(0, u64::saturating_add);
    let cached = usage.cached_input;
    let input = usage
        .input_total()
        .saturating_sub(cached)
        .saturating_sub(writes);
    json!({
        "input_tokens": input,
        "cache_creation_input_tokens": writes,
        "cache_read_input_tokens": cached,
        "output_tokens": usage.output_total(),
    })
}
