//! OpenAI's chat completions: one JSON object, or the chunks of a stream.
//!
//! OpenAI API reference, "The chat completion object" and "The chat completion chunk object", read on 2026-11-23.
//! What their SDKs rely on: the role, and the id, type and name of a call are sent once; calls are numbered from 0
//! without gaps; usage comes in a chunk of its own, the last one before `[DONE]`.

use serde_json::{Map, Value, json};

use super::Dialect;
use crate::call::InferenceRequest;
use crate::conversation::{AnswerEvent, FinishReason, UsageReport};
use crate::json;
use crate::provider::Output;

/// Writes chat completions.
pub(super) struct ChatWriter {
    id: String,
    created: i64,
    model: Box<str>,
    usage: Option<UsageReport>,
    finish: Option<FinishReason>,
    form: Form,
}

enum Form {
    Whole(Message),
    Stream(Stream),
}

/// A message as it grows.
#[derive(Default)]
struct Message {
    text: String,
    reasoning: String,
    refusal: String,
    calls: Vec<Call>,
}

struct Call {
    id: String,
    name: String,
    arguments: String,
}

/// Where a stream stands.
struct Stream {
    include_usage: bool,
    /// What every chunk begins with.
    head: String,
    begun: bool,
    calls: u32,
}

// === impl ChatWriter ===

impl ChatWriter {
    pub(super) fn new(request: &InferenceRequest, model: &str) -> Self {
        let id = uuid::Uuid::now_v7();
        let created = id
            .get_timestamp()
            .map_or(0, |at| i64::try_from(at.to_unix().0).unwrap_or(0));
        let id = format!("chatcmpl-{}", id.simple());
        let model = json::string(model);
        let form = if request.is_stream() {
            Form::Stream(Stream {
                include_usage: request.wants_usage(),
                head: format!(
                    r#"data: {{"id":"{id}","object":"chat.completion.chunk","created":{created},"model":{model},"choices":["#
                ),
                begun: false,
                calls: 0,
            })
        } else {
            Form::Whole(Message::default())
        };
        Self {
            id,
            created,
            model,
            usage: None,
            finish: None,
            form,
        }
    }

    fn body(&self, message: &Message) -> String {
        let choice = json!({
            "index": 0,
            "message": message.to_json(),
            "logprobs": null,
            "finish_reason": self.finish.map(FinishReason::as_str),
        });
        let usage = usage_json(&self.usage.unwrap_or_default());
        format!(
            r#"{{"id":"{}","object":"chat.completion","created":{},"model":{},"choices":[{choice}],"usage":{usage}}}"#,
            self.id, self.created, self.model
        )
    }
}

impl Dialect for ChatWriter {
    fn write(&mut self, event: &AnswerEvent<'_>, out: &mut Output) {
        match event {
            AnswerEvent::Usage(report) => self.usage = Some(*report),
            AnswerEvent::Finished { reason, .. } => self.finish = Some(*reason),
            _ => {}
        }
        match &mut self.form {
            Form::Stream(stream) => stream.write(event, self.usage.as_ref(), out),
            Form::Whole(message) => {
                message.take(event);
                if let (AnswerEvent::Ended, Form::Whole(message)) = (event, &self.form) {
                    out.terminal(self.body(message));
                }
            }
        }
    }
}

// === impl Message ===

impl Message {
    fn take(&mut self, event: &AnswerEvent<'_>) {
        match event {
            AnswerEvent::Text(text) => self.text.push_str(text),
            AnswerEvent::Reasoning(text) => self.reasoning.push_str(text),
            AnswerEvent::Refusal(text) => self.refusal.push_str(text),
            AnswerEvent::ToolCall { id, name, .. } => self.calls.push(Call {
                id: id.unwrap_or_default().to_owned(),
                name: (*name).to_owned(),
                arguments: String::new(),
            }),
            AnswerEvent::Arguments(text) => {
                if let Some(call) = self.calls.last_mut() {
                    call.arguments.push_str(text);
                }
            }
            _ => {}
        }
    }

    fn to_json(&self) -> Value {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        // An answer that says nothing at all is an empty text; only calls and refusals stand in its place.
        let silent = self.text.is_empty() && (!self.calls.is_empty() || !self.refusal.is_empty());
        let content = (!silent).then_some(&self.text);
        let mut message = Map::new();
        message.insert("role".into(), "assistant".into());
        message.insert("content".into(), json!(content));
        message.insert("refusal".into(), json!(some(&self.refusal)));
        if let Some(reasoning) = some(&self.reasoning) {
            message.insert("reasoning_content".into(), reasoning.into());
        }
        if !self.calls.is_empty() {
            let calls = self.calls.iter().map(|call| {
                json!({
                    "id": call.id,
                    "type": "function",
                    "function": { "name": call.name, "arguments": call.arguments },
                })
            });
            message.insert("tool_calls".into(), calls.collect());
        }
        message.into()
    }
}

// === impl Stream ===

impl Stream {
    fn write(&mut self, event: &AnswerEvent<'_>, usage: Option<&UsageReport>, out: &mut Output) {
        let delta = match event {
            AnswerEvent::Text(text) => format!("\"content\":{}", json::string(text)),
            AnswerEvent::Reasoning(text) => {
                format!("\"reasoning_content\":{}", json::string(text))
            }
            AnswerEvent::Refusal(text) => format!("\"refusal\":{}", json::string(text)),
            AnswerEvent::ToolCall { id, name, .. } => {
                let index = self.calls;
                self.calls += 1;
                let (id, name) = (json::string(id.unwrap_or_default()), json::string(name));
                format!(
                    r#""tool_calls":[{{"index":{index},"id":{id},"type":"function","function":{{"name":{name},"arguments":""}}}}]"#
                )
            }
            AnswerEvent::Arguments(text) => {
                let index = self.calls.saturating_sub(1);
                let text = json::string(text);
                format!(r#""tool_calls":[{{"index":{index},"function":{{"arguments":{text}}}}}]"#)
            }
            AnswerEvent::Finished { reason, .. } => {
                if !self.begun {
                    let role = self.chunk("", None);
                    out.content(role);
                }
                return out.terminal(self.chunk("", Some(*reason)));
            }
            AnswerEvent::Ended => {
                if self.include_usage
                    && let Some(usage) = usage
                {
                    let usage = usage_json(usage);
                    out.terminal(format!("{}],\"usage\":{usage}}}\n\n", self.head));
                }
                return out.terminal(&b"data: [DONE]\n\n"[..]);
            }
            _ => return,
        };
        let chunk = self.chunk(&delta, None);
        out.content(chunk);
    }

    /// A chunk with a piece of the message; the first one says who speaks.
    fn chunk(&mut self, delta: &str, finish: Option<FinishReason>) -> String {
        let role = match (self.begun, delta) {
            (true, _) => "",
            (false, "") => r#""role":"assistant","content":"""#,
            (false, delta) if delta.starts_with("\"content\"") => r#""role":"assistant","#,
            (false, _) => r#""role":"assistant","content":null,"#,
        };
        self.begun = true;
        let finish = finish.map_or_else(|| "null".to_owned(), |f| format!("\"{}\"", f.as_str()));
        let usage = if self.include_usage {
            ",\"usage\":null"
        } else {
            ""
        };
        let head = &self.head;
        format!(
            "{head}{{\"index\":0,\"delta\":{{{role}{delta}}},\"logprobs\":null,\"finish_reason\":{finish}}}]{usage}}}\n\n"
        )
    }
}

fn usage_json(report: &UsageReport) -> Value {
    let usage = &report.usage;
    let mut prompt = Map::new();
    let mut completion = Map::new();
    let detail = |details: &mut Map<String, Value>, name: &str, tokens: u64, named: bool| {
        if named || tokens > 0 {
            details.insert(name.into(), tokens.into());
        }
    };
    let writes = [
        usage.cache_write_5m,
        usage.cache_write_30m,
        usage.cache_write_1h,
        usage.cache_write_12h,
    ];
    let writes = writes.into_iter().fold(0, u64::saturating_add);
    detail(
        &mut prompt,
        "cached_tokens",
        usage.cached_input,
        report.names_cached,
    );
    detail(
        &mut prompt,
        "cache_write_tokens",
        writes,
        report.names_cache_writes,
    );
    detail(&mut prompt, "audio_tokens", usage.audio_input, false);
    detail(&mut prompt, "image_tokens", usage.image_input, false);
    detail(
        &mut completion,
        "reasoning_tokens",
        usage.reasoning,
        report.names_reasoning,
    );
    detail(&mut completion, "audio_tokens", usage.audio_output, false);
    detail(&mut completion, "image_tokens", usage.image_output, false);
    let mut json = Map::new();
    json.insert("prompt_tokens".into(), usage.input_total().into());
    json.insert("completion_tokens".into(), usage.output_total().into());
    json.insert("total_tokens".into(), usage.total().into());
    for (name, details) in [
        ("prompt_tokens_details", prompt),
        ("completion_tokens_details", completion),
    ] {
        if !details.is_empty() {
            json.insert(name.into(), details.into());
        }
    }
    json.into()
}
