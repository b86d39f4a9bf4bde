//! Anthropic's Messages: <https://docs.anthropic.com/en/api/messages>.
//!
//! What is asked is read as the chat completion that it is another spelling of, so that the same question has the
//! same answer and the same cost in both formats. An answer with `reasoning_tokens` has a thinking block with a
//! signature before it.

use http::header::AUTHORIZATION;
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};

use super::Mock;
use super::answer::{Answer, Content};
use super::errors::{self, ApiError};
use super::knobs::{Fault, Knobs, UsageReport};
use super::reply::{Call, Reply};
use super::request::ChatRequest;
use super::stats::{API_KEY, Outcome, Tokens};
use super::stream::{Frame, Script};

/// Where messages are made.
pub(super) const PATH: &str = "/v1/messages";
/// Where prompts are counted.
pub(super) const COUNT_PATH: &str = "/v1/messages/count_tokens";

const THOUGHT: &str = "Let me count the words.";
const SIGNATURE: &str = "bW9jaw==";

/// One answer: everything its JSON and its stream have in common.
struct Messages<'a> {
    number: u64,
    request: &'a ChatRequest,
    knobs: &'a Knobs,
    answer: Answer,
    tokens: Tokens,
}

/// Answers one call.
pub(super) fn reply(call: &Call<'_>) -> Reply {
    answer(call).unwrap_or_else(|error| refusal(&error))
}

fn answer(call: &Call<'_>) -> Result<Reply, ApiError> {
    let key = authorized(&call.parts.headers)?;
    if call.parts.method != Method::POST {
        return Err(errors::unknown_url(call.parts.method.as_str(), PATH));
    }
    let mut body: Value = serde_json::from_slice(call.body).map_err(|_| errors::not_json())?;
    let counts = call.parts.uri.path() == COUNT_PATH;
    if counts {
        body["max_tokens"] = json!(1);
    }
    let (chat, streams) = chat(&body)?;
    let request = ChatRequest::read(chat)?;
    let (knobs, words) = Knobs::parse(&request.user_text())
        .map_err(|error| errors::invalid("messages", error.to_string()))?;
    let reply = match knobs.fault {
        Some(Fault::Status(status)) => refusal(&errors::with_status(status, &request.model, key)),
        Some(Fault::Quota) => quota(),
        Some(Fault::Html) => Reply::bad_gateway(),
        _ if counts => {
            let tokens = knobs
                .prompt_tokens
                .unwrap_or_else(|| request.prompt_tokens());
            let body = json!({ "input_tokens": tokens }).to_string();
            Reply::whole_json(body, &knobs, Outcome::Finished(None))
        }
        _ => {
            let messages = Messages::new(call.number, &request, &knobs, words);
            if streams {
                messages.stream()
            } else {
                Reply::whole_json(messages.whole(), &knobs, messages.charged())
            }
        }
    };
    Ok(reply.paced(&knobs))
}

/// Anthropic takes the key in a header of its own or as a Bearer key, but not in both.
fn authorized(headers: &HeaderMap) -> Result<&str, ApiError> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let bearer = text(AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
    match (text(API_KEY), bearer) {
        (Some(key), None) | (None, Some(key)) if key == Mock::INVALID_KEY => {
            Err(errors::invalid_key(key))
        }
        (Some(key), None) | (None, Some(key)) if !key.is_empty() => Ok(key),
        _ => Err(errors::no_key()),
    }
}

/// The request in OpenAI's format, and whether its answer is streamed.
fn chat(body: &Value) -> Result<(Value, bool), ApiError> {
    let max_tokens = body["max_tokens"].as_u64();
    let max_tokens = max_tokens.ok_or_else(|| errors::missing("max_tokens"))?;
    let mut messages = Vec::new();
    if let Some(system) = text_of(&body["system"]) {
        messages.push(json!({ "role": "system", "content": system }));
    }
    for message in body["messages"].as_array().into_iter().flatten() {
        let blocks = message["content"].as_array();
        let results = |block: &&Value| block["type"] == "tool_result";
        let results: Vec<_> = blocks.into_iter().flatten().filter(results).collect();
        for result in &results {
            let content = text_of(&result["content"]).unwrap_or_default();
            messages.push(json!({ "role": "tool", "content": content }));
        }
        let said = text_of(&message["content"]);
        if said.is_some() || results.is_empty() {
            messages.push(json!({ "role": message["role"], "content": said }));
        }
    }
    let mut chat = json!({
        "model": body["model"], "messages": messages, "max_tokens": max_tokens, "tool_choice": null,
    });
    let choice = &body["tool_choice"];
    if let Some(tools) = body["tools"].as_array() {
        let function =
            |tool: &Value| json!({ "name": tool["name"], "parameters": tool["input_schema"] });
        let tools = tools
            .iter()
            .map(|tool| json!({ "type": "function", "function": function(tool) }));
        chat["tools"] = tools.collect();
        chat["tool_choice"] = match choice["type"].as_str() {
            Some("none") => json!("none"),
            Some("any") => json!("required"),
            Some("tool") => json!({ "type": "function", "function": { "name": choice["name"] } }),
            _ => Value::Null,
        };
        chat["parallel_tool_calls"] = (choice["disable_parallel_tool_use"] != true).into();
    }
    if let Some(schema) = body.pointer("/output_config/format/schema") {
        chat["response_format"] =
            json!({ "type": "json_schema", "json_schema": { "schema": schema } });
    }
    Ok((chat, body["stream"] == true))
}

/// The text of a string or of text blocks.
fn text_of(content: &Value) -> Option<String> {
    match content {
        Value::String(text) => Some(text.clone()),
        Value::Array(blocks) => {
            let texts: Vec<_> = blocks
                .iter()
                .filter_map(|block| block["text"].as_str())
                .collect();
            (!texts.is_empty()).then(|| texts.concat())
        }
        _ => None,
    }
}

/// An error in Anthropic's words.
fn refusal(error: &ApiError) -> Reply {
    let kind = match error.status().as_u16() {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        503 | 529 => "overloaded_error",
        504 => "timeout_error",
        500..=599 => "api_error",
        _ => "invalid_request_error",
    };
    let body = said(kind, error.message());
    Reply::json(error.status(), body.to_string(), Outcome::Failed)
}

fn quota() -> Reply {
    let mut body = said(
        "rate_limit_error",
        "This workspace has reached its spend limit.",
    );
    body["error"]["details"] = json!({ "error_code": "enforced_spend_limit_reached" });
    Reply::json(
        StatusCode::TOO_MANY_REQUESTS,
        body.to_string(),
        Outcome::Failed,
    )
}

fn said(kind: &str, message: &str) -> Value {
    json!({ "type": "error", "error": { "type": kind, "message": message }, "request_id": "req_mock" })
}

// === impl Messages ===

impl<'a> Messages<'a> {
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

    fn whole(&self) -> String {
        let mut content: Vec<Value> = match &self.answer.content {
            Content::Text(pieces) => vec![json!({ "type": "text", "text": pieces.concat() })],
            Content::Calls(calls) => {
                let calls = calls.iter().enumerate();
                calls
                    .map(|(at, call)| {
                        let input = serde_json::from_str(&call.arguments.concat());
                        self.call(at, &call.name, input.unwrap_or_else(|_| json!({})))
                    })
                    .collect()
            }
        };
        if self.thinks() {
            content.insert(0, thought(THOUGHT, SIGNATURE));
        }
        let mut message = self.message(content, self.usage(self.tokens.completion_tokens));
        message["stop_reason"] = self.stop_reason().into();
        message.to_string()
    }

    fn stream(&self) -> Reply {
        let error = said("api_error", errors::server_error().message());
        let script = Script {
            frames: self.frames(),
            end: event("message_stop", json!({})),
            error: Frame::other(error.to_string()).named("error"),
            garbage: Frame::other("{\"type\": mock".to_owned()).named("content_block_delta"),
            charged: self.charged(),
        };
        script.play(self.knobs)
    }

    /// The events of a sound stream up to `message_stop`.
    fn frames(&self) -> Vec<Frame> {
        // The output that is told at the beginning is a placeholder.
        let start = json!({ "message": self.message(Vec::new(), self.usage(1)) });
        let mut frames = vec![event("message_start", start), event("ping", json!({}))];
        let first = usize::from(self.thinks());
        if self.thinks() {
            let delta = |text: &String| json!({ "type": "thinking_delta", "thinking": text });
            let mut block = Self::block(0, thought("", ""), &[THOUGHT.to_owned()], delta);
            let signed = json!({ "type": "signature_delta", "signature": SIGNATURE });
            let signed = json!({ "index": 0, "delta": signed });
            block.insert(2, event("content_block_delta", signed));
            frames.extend(block);
        }
        match &self.answer.content {
            Content::Text(pieces) => {
                let block = json!({ "type": "text", "text": "" });
                let delta = |text: &String| json!({ "type": "text_delta", "text": text });
                frames.extend(Self::block(first, block, pieces, delta));
            }
            Content::Calls(calls) => {
                for (at, call) in calls.iter().enumerate() {
                    let block = self.call(at, &call.name, json!({}));
                    let delta =
                        |json: &String| json!({ "type": "input_json_delta", "partial_json": json });
                    frames.extend(Self::block(first + at, block, &call.arguments, delta));
                }
            }
        }
        let mut end =
            json!({ "delta": { "stop_reason": self.stop_reason(), "stop_sequence": null } });
        if let Some(usage) = self.usage(self.tokens.completion_tokens) {
            end["usage"] = usage;
        }
        frames.push(event("message_delta", end));
        frames
    }

    fn block(
        index: usize,
        block: Value,
        pieces: &[String],
        delta: impl Fn(&String) -> Value,
    ) -> Vec<Frame> {
        let start = json!({ "index": index, "content_block": block });
        let mut frames = vec![event("content_block_start", start)];
        frames.extend(pieces.iter().map(|piece| {
            let data = json!({ "index": index, "delta": delta(piece) });
            content("content_block_delta", data)
        }));
        frames.push(event("content_block_stop", json!({ "index": index })));
        frames
    }

    fn message(&self, content: Vec<Value>, usage: Option<Value>) -> Value {
        let mut message = json!({
            "id": format!("msg_mock{:08}", self.number), "type": "message", "role": "assistant",
            "model": self.request.model, "content": content, "stop_reason": null, "stop_sequence": null,
        });
        if let Some(usage) = usage {
            message["usage"] = usage;
        }
        message
    }

    fn call(&self, at: usize, name: &str, input: Value) -> Value {
        let id = format!("toolu_mock{:08}{at:03}", self.number);
        json!({ "type": "tool_use", "id": id, "name": name, "input": input })
    }

    fn thinks(&self) -> bool {
        self.knobs.reasoning_tokens.is_some_and(|tokens| tokens > 0)
    }

    fn stop_reason(&self) -> &'static str {
        match self.answer.finish_reason {
            "tool_calls" => "tool_use",
            "length" => "max_tokens",
            _ => "end_turn",
        }
    }

    /// What the answer reports: cached tokens stand beside the input, not in it.
    fn usage(&self, output: u64) -> Option<Value> {
        let usage = |prompt: u64, cached: u64, output: u64| {
            json!({
                "input_tokens": prompt.saturating_sub(cached), "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": cached, "output_tokens": output, "service_tier": "standard",
            })
        };
        match self.knobs.usage {
            UsageReport::Absent => None,
            UsageReport::Zero => Some(usage(0, 0, 0)),
            UsageReport::Honest => {
                let cached = self.knobs.cached_tokens.unwrap_or(0);
                let mut usage = usage(self.tokens.prompt_tokens, cached, output);
                if let Some(thinking) = self.knobs.reasoning_tokens {
                    usage["output_tokens_details"] = json!({ "thinking_tokens": thinking });
                }
                Some(usage)
            }
        }
    }

    fn charged(&self) -> Outcome {
        Outcome::Finished(Some((self.request.model.clone(), self.tokens)))
    }
}

fn thought(text: &str, signature: &str) -> Value {
    json!({ "type": "thinking", "thinking": text, "signature": signature })
}

fn event(name: &'static str, data: Value) -> Frame {
    Frame::other(typed(name, data)).named(name)
}

fn content(name: &'static str, data: Value) -> Frame {
    Frame::content(typed(name, data)).named(name)
}

fn typed(name: &str, mut data: Value) -> String {
    data["type"] = name.into();
    data.to_string()
}
