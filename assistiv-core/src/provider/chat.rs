//! Writes OpenAI chat completions, for adapters whose providers speak another dialect.

use serde_json::{Value, json};

use super::Output;
use crate::billing::Usage;
use crate::call::InferenceRequest;
use crate::routing::Target;

/// Turns what an adapter reads into an OpenAI chat completion: one JSON object, or the chunks of a stream.
///
/// Call [`text`](Self::text) for each piece, [`finish`](Self::finish) once, [`usage`](Self::usage) where the
/// provider reports it, and [`end`](Self::end) at the end of the answer.
#[derive(Debug)]
pub struct ChatWriter {
    id: String,
    created: i64,
    model: String,
    stream: bool,
    include_usage: bool,
    text: String,
    finish_reason: Option<String>,
    begun: bool,
}

impl ChatWriter {
    /// A writer for the answer to a request.
    pub fn new(request: &InferenceRequest, target: &Target) -> Self {
        let id = uuid::Uuid::now_v7();
        let created = id
            .get_timestamp()
            .map_or(0, |at| i64::try_from(at.to_unix().0).unwrap_or(0));
        Self {
            id: format!("chatcmpl-{}", id.simple()),
            created,
            model: target.slug().as_str().to_owned(),
            stream: request.is_stream(),
            include_usage: request.wants_usage(),
            text: String::new(),
            finish_reason: None,
            begun: false,
        }
    }

    /// A piece of the answer's text.
    pub fn text(&mut self, out: &mut Output, text: &str) {
        out.observe(text.len());
        if !self.stream {
            self.text.push_str(text);
            return;
        }
        let delta = if self.begun {
            json!({ "content": text })
        } else {
            json!({ "role": "assistant", "content": text })
        };
        self.begun = true;
        out.content(self.chunk(delta, Value::Null));
    }

    /// The answer is complete, for this reason: `stop`, `length`, `tool_calls` or `content_filter`.
    pub fn finish(&mut self, out: &mut Output, reason: &str) {
        self.finish_reason = Some(reason.to_owned());
        out.complete();
        if self.stream {
            if !self.begun {
                self.begun = true;
                out.content(self.chunk(json!({ "role": "assistant", "content": "" }), Value::Null));
            }
            out.terminal(self.chunk(json!({}), reason.into()));
        }
    }

    /// What the provider says was used.
    pub fn usage(&mut self, out: &mut Output, usage: Usage) {
        out.report(usage);
    }

    /// The end of the answer.
    pub fn end(&mut self, out: &mut Output) {
        let usage = out.usage().map(usage_json);
        if self.stream {
            if self.include_usage
                && let Some(usage) = usage
            {
                let mut chunk = self.head("chat.completion.chunk", json!([]));
                chunk["usage"] = usage;
                out.terminal(frame(&chunk));
            }
            out.terminal(&b"data: [DONE]\n\n"[..]);
            return;
        }
        let choice = json!({
            "index": 0,
            "message": { "role": "assistant", "content": self.text, "refusal": null },
            "logprobs": null,
            "finish_reason": self.finish_reason,
        });
        let mut body = self.head("chat.completion", json!([choice]));
        body["usage"] = usage.unwrap_or_else(|| usage_json(&Usage::default()));
        out.terminal(body.to_string());
    }

    fn chunk(&self, delta: Value, finish_reason: Value) -> String {
        let choice =
            json!({ "index": 0, "delta": delta, "logprobs": null, "finish_reason": finish_reason });
        frame(&self.head("chat.completion.chunk", json!([choice])))
    }

    fn head(&self, object: &str, choices: Value) -> Value {
        json!({
            "id": self.id, "object": object, "created": self.created, "model": self.model, "choices": choices,
        })
    }
}

fn frame(chunk: &Value) -> String {
    format!("data: {chunk}\n\n")
}

fn usage_json(usage: &Usage) -> Value {
    json!({
        "prompt_tokens": usage.input_total(),
        "completion_tokens": usage.output_total(),
        "total_tokens": usage.total(),
        "prompt_tokens_details": { "cached_tokens": usage.cached_input },
        "completion_tokens_details": { "reasoning_tokens": usage.reasoning },
    })
}
