//! OpenAI's Responses API: <https://platform.openai.com/docs/api-reference/responses>.
//!
//! What is asked is read as the chat completion that it is another spelling of, so that the same question has the
//! same answer and the same cost in every format. An answer with `reasoning_tokens` begins with a summary of thoughts.

use serde_json::{Value, json};

use super::answer::{Answer, Content};
use super::errors::{self, ApiError};
use super::knobs::{Fault, Knobs, UsageReport};
use super::openai;
use super::reply::{Call, Reply};
use super::request::ChatRequest;
use super::stats::{Outcome, Tokens};
use super::stream::{Frame, Script};

/// The only path.
pub(super) const PATH: &str = "/v1/responses";

const THOUGHT: &str = "Let me count the words.";

/// One answer: everything its JSON and its stream have in common.
struct Responded<'a> {
    number: u64,
    request: &'a ChatRequest,
    knobs: &'a Knobs,
    answer: Answer,
    tokens: Tokens,
}

/// Numbers events.
#[derive(Default)]
struct Events(Vec<Frame>);

/// Answers one call.
pub(super) fn reply(call: &Call<'_>) -> Reply {
    answer(call).unwrap_or_else(Reply::from)
}

fn answer(call: &Call<'_>) -> Result<Reply, ApiError> {
    let key = openai::authorized(&call.parts.headers)?;
    if call.parts.method != http::Method::POST {
        return Err(errors::unknown_url(call.parts.method.as_str(), PATH));
    }
    let body: Value = serde_json::from_slice(call.body).map_err(|_| errors::not_json())?;
    let request = ChatRequest::read(chat(&body))?;
    let (knobs, words) = Knobs::parse(&request.user_text())
        .map_err(|error| errors::invalid("input", error.to_string()))?;
    let reply = match knobs.fault {
        Some(Fault::Status(status)) => errors::with_status(status, &request.model, key).into(),
        Some(Fault::Quota) => errors::quota().into(),
        Some(Fault::Html) => Reply::bad_gateway(),
        _ => {
            let responded = Responded::new(call.number, &request, &knobs, words);
            if body["stream"] == true {
                responded.stream()
            } else {
                let whole = responded.response(responded.output(), responded.status());
                Reply::whole_json(whole.to_string(), &knobs, responded.charged())
            }
        }
    };
    Ok(reply.paced(&knobs))
}

/// The request in the form of chat completions.
fn chat(body: &Value) -> Value {
    let mut messages = Vec::new();
    if let Some(instructions) = body["instructions"].as_str() {
        messages.push(json!({ "role": "system", "content": instructions }));
    }
    if let Some(text) = body["input"].as_str() {
        messages.push(json!({ "role": "user", "content": text }));
    }
    for item in body["input"].as_array().into_iter().flatten() {
        let kind = item["type"].as_str().unwrap_or("message");
        messages.push(match kind {
            "message" => json!({ "role": item["role"], "content": item["content"] }),
            "function_call" => json!({ "role": "assistant", "content": null }),
            "function_call_output" => json!({ "role": "tool", "content": item["output"] }),
            _ => continue,
        });
    }
    let mut chat = json!({
        "model": body["model"], "messages": messages, "max_tokens": body["max_output_tokens"],
    });
    if let Some(tools) = body["tools"].as_array().filter(|tools| !tools.is_empty()) {
        chat["tools"] = tools
            .iter()
            .map(|tool| json!({ "type": "function", "function": tool }))
            .collect();
        let choice = &body["tool_choice"];
        chat["tool_choice"] = match choice["name"].as_str() {
            Some(name) => json!({ "type": "function", "function": { "name": name } }),
            None => choice.clone(),
        };
        chat["parallel_tool_calls"] = body["parallel_tool_calls"].clone();
    }
    let format = &body["text"]["format"];
    if !format.is_null() {
        chat["response_format"] = json!({ "type": format["type"], "json_schema": format });
    }
    chat
}

// === impl Responded ===

impl<'a> Responded<'a> {
    fn new(number: u64, request: &'a ChatRequest, knobs: &'a Knobs, words: usize) -> Self {
        let answer = request.answer(knobs, words);
        let prompt = knobs.prompt_tokens;
        let tokens = Tokens {
            prompt_tokens: prompt.unwrap_or_else(|| request.prompt_tokens()),
            completion_tokens: knobs.completion_tokens.unwrap_or(answer.tokens),
        };
        Self {
            number,
            request,
            knobs,
            answer,
            tokens,
        }
    }

    /// All items, whole.
    fn output(&self) -> Vec<Value> {
        let mut items = Vec::new();
        if self.knobs.reasoning_tokens.is_some_and(|tokens| tokens > 0) {
            let summary = json!({ "type": "summary_text", "text": THOUGHT });
            items.push(json!({
                "id": self.id("rs", 0), "type": "reasoning", "summary": [summary],
                "encrypted_content": "bW9jaw==",
            }));
        }
        match &self.answer.content {
            Content::Text(pieces) => items.push(self.message(&pieces.concat(), "completed")),
            Content::Calls(calls) => {
                for (at, call) in calls.iter().enumerate() {
                    let arguments = call.arguments.concat();
                    items.push(self.call(at, &call.name, &arguments, "completed"));
                }
            }
        }
        items
    }

    fn message(&self, text: &str, status: &str) -> Value {
        let part =
            json!({ "type": "output_text", "text": text, "annotations": [], "logprobs": [] });
        let content = match status {
            "completed" => vec![part],
            _ => Vec::new(),
        };
        json!({
            "id": self.id("msg", 0), "type": "message", "status": status, "role": "assistant",
            "content": content,
        })
    }

    fn call(&self, at: usize, name: &str, arguments: &str, status: &str) -> Value {
        json!({
            "id": self.id("fc", at), "type": "function_call", "status": status,
            "call_id": self.id("call", at), "name": name, "arguments": arguments,
        })
    }

    fn id(&self, kind: &str, at: usize) -> String {
        format!("{kind}_mock{:08}{at:03}", self.number)
    }

    fn status(&self) -> &'static str {
        match self.answer.finish_reason {
            "length" => "incomplete",
            _ => "completed",
        }
    }

    /// The response object; usage comes with the last one alone.
    fn response(&self, output: Vec<Value>, status: &str) -> Value {
        let details = match status {
            "incomplete" => json!({ "reason": "max_output_tokens" }),
            _ => Value::Null,
        };
        let usage = match status {
            "in_progress" => None,
            _ => self.usage(),
        };
        json!({
            "id": format!("resp_mock{:08}", self.number), "object": "response", "created_at": 1_700_000_000,
            "status": status, "error": null, "incomplete_details": details, "model": self.request.model,
            "output": output, "parallel_tool_calls": true, "service_tier": "default", "store": false,
            "tool_choice": "auto", "tools": [], "usage": usage,
        })
    }

    fn stream(&self) -> Reply {
        let mut events = Events::default();
        for name in ["response.created", "response.in_progress"] {
            let response = self.response(Vec::new(), "in_progress");
            events.add(name, json!({ "response": response }), false);
        }
        for (index, item) in self.output().iter().enumerate() {
            self.item(index, item, &mut events);
        }
        let last = match self.status() {
            "incomplete" => "response.incomplete",
            _ => "response.completed",
        };
        let response = self.response(self.output(), self.status());
        events.add(last, json!({ "response": response }), false);
        let mut frames = events.0;
        let end = frames.pop();
        let error = errors::server_error();
        let error = json!({ "type": "error", "code": "server_error", "message": error.message(), "param": null });
        let script = Script {
            frames,
            end: end.unwrap_or_else(|| Frame::other("{}".to_owned())),
            error: Frame::other(error.to_string()).named("error"),
            garbage: Frame::other("{\"type\": mock".to_owned()),
            charged: self.charged(),
        };
        script.play(self.knobs)
    }

    fn item(&self, index: usize, item: &Value, events: &mut Events) {
        let of = |more: Value| {
            with(
                json!({ "item_id": item["id"], "output_index": index }),
                more,
            )
        };
        let begun = match (&self.answer.content, item["type"].as_str()) {
            (_, Some("message")) => self.message("", "in_progress"),
            (_, Some("function_call")) => with(
                item.clone(),
                json!({ "arguments": "", "status": "in_progress" }),
            ),
            _ => with(item.clone(), json!({ "summary": [] })),
        };
        let added = json!({ "output_index": index, "item": begun });
        events.add("response.output_item.added", added, false);
        match (&self.answer.content, item["type"].as_str()) {
            (Content::Text(pieces), Some("message")) => {
                for piece in pieces {
                    let delta = of(json!({ "content_index": 0, "delta": piece, "logprobs": [] }));
                    events.add("response.output_text.delta", delta, true);
                }
            }
            (Content::Calls(calls), Some("function_call")) => {
                let call = calls
                    .iter()
                    .enumerate()
                    .find(|(at, _)| item["id"] == self.id("fc", *at));
                for piece in call.into_iter().flat_map(|(_, call)| &call.arguments) {
                    let delta = of(json!({ "delta": piece }));
                    events.add("response.function_call_arguments.delta", delta, true);
                }
            }
            _ => {
                let delta = of(json!({ "summary_index": 0, "delta": THOUGHT }));
                events.add("response.reasoning_summary_text.delta", delta, false);
            }
        }
        let done = json!({ "output_index": index, "item": item });
        events.add("response.output_item.done", done, false);
    }

    fn usage(&self) -> Option<Value> {
        let cached = self.knobs.cached_tokens.unwrap_or(0);
        let reasoning = self.knobs.reasoning_tokens.unwrap_or(0);
        let Tokens {
            prompt_tokens,
            completion_tokens,
            ..
        } = self.tokens;
        let (input, output, cached, reasoning) = match self.knobs.usage {
            UsageReport::Absent => return None,
            UsageReport::Zero => (0, 0, 0, 0),
            UsageReport::Honest => (prompt_tokens, completion_tokens, cached, reasoning),
        };
        Some(json!({
            "input_tokens": input, "input_tokens_details": { "cached_tokens": cached, "cache_write_tokens": 0 },
            "output_tokens": output, "output_tokens_details": { "reasoning_tokens": reasoning },
            "total_tokens": input.saturating_add(output),
        }))
    }

    fn charged(&self) -> Outcome {
        Outcome::Finished(Some((self.request.model.clone(), self.tokens)))
    }
}

// === impl Events ===

impl Events {
    fn add(&mut self, name: &'static str, data: Value, is_content: bool) {
        let number = self.0.len();
        let data = with(data, json!({ "type": name, "sequence_number": number })).to_string();
        let frame = match is_content {
            true => Frame::content(data),
            false => Frame::other(data),
        };
        self.0.push(frame.named(name));
    }
}

/// An object with other members laid over it.
fn with(mut object: Value, more: Value) -> Value {
    if let (Value::Object(members), Value::Object(more)) = (&mut object, more) {
        members.extend(more);
    }
    object
}
