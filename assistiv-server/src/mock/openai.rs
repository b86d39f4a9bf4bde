//! OpenAI's Chat Completions and model list.

use http::header::AUTHORIZATION;
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};

use super::Mock;
use super::answer::{Answer, Content};
use super::embeddings;
use super::errors::{self, ApiError};
use super::knobs::{Fault, Knobs, UsageReport};
use super::reply::{Call, Reply};
use super::request::ChatRequest;
use super::stats::{Outcome, Tokens};
use super::stream::{Frame, Script};
use super::wire::{self, Choice, Completion, Function, Message, ToolCall, Usage};

/// 2026-01-01T00:00:00Z; answers are made one second after another, so that they do not depend
/// on the day of a test.
const CREATED_BASE: u64 = 1_767_225_600;

const MODELS: [&str; 2] = ["mock-large", "mock-small"];

/// One completion: everything its JSON and its stream have in common.
struct Chat<'a> {
    number: u64,
    id: String,
    request: &'a ChatRequest,
    knobs: &'a Knobs,
    answer: Answer,
    tokens: Tokens,
}

/// Answers one call.
pub(super) fn reply(call: &Call<'_>) -> Reply {
    let path = call.parts.uri.path();
    let key = match authorized(&call.parts.headers) {
        Ok(key) => key,
        Err(error) => return error.into(),
    };
    match (&call.parts.method, path) {
        (&Method::POST, "/v1/chat/completions") => chat(call, key).unwrap_or_else(Reply::from),
        (&Method::POST, "/v1/embeddings") => {
            embeddings::reply(call, key).unwrap_or_else(Reply::from)
        }
        (&Method::GET, "/v1/models") => models(),
        (method, path) => errors::unknown_url(method.as_str(), path).into(),
    }
}

pub(super) fn authorized(headers: &HeaderMap) -> Result<&str, ApiError> {
    let value = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let (scheme, key) = value
        .and_then(|value| value.split_once(' '))
        .ok_or_else(errors::no_key)?;
    match key.trim() {
        _ if !scheme.eq_ignore_ascii_case("bearer") => Err(errors::no_key()),
        "" => Err(errors::no_key()),
        key if key == Mock::INVALID_KEY => Err(errors::invalid_key(key)),
        key => Ok(key),
    }
}

fn models() -> Reply {
    let model =
        |id| json!({"id": id, "object": "model", "created": CREATED_BASE, "owned_by": "mock"});
    let list = json!({"object": "list", "data": MODELS.map(model)});
    Reply::json(StatusCode::OK, list.to_string(), Outcome::Finished(None))
}

fn chat(call: &Call<'_>, key: &str) -> Result<Reply, ApiError> {
    let request = ChatRequest::parse(call.body)?;
    let (knobs, words) = Knobs::parse(&request.user_text())
        .map_err(|error| errors::invalid("messages", error.to_string()))?;
    let reply = match knobs.fault {
        Some(Fault::Status(status)) => errors::with_status(status, &request.model, key).into(),
        Some(Fault::Quota) => errors::quota().into(),
        Some(Fault::Html) => Reply::bad_gateway(),
        _ => {
            let chat = Chat::new(call.number, &request, &knobs, words);
            if request.streams() {
                chat.stream()
            } else {
                chat.json()
            }
        }
    };
    Ok(reply.paced(&knobs))
}

// === impl Chat ===

impl<'a> Chat<'a> {
    fn new(number: u64, request: &'a ChatRequest, knobs: &'a Knobs, words: usize) -> Self {
        let answer = request.answer(knobs, words);
        let completion = answer.tokens * request.choices() as u64;
        let tokens = Tokens {
            prompt_tokens: knobs
                .prompt_tokens
                .unwrap_or_else(|| request.prompt_tokens()),
            completion_tokens: knobs.completion_tokens.unwrap_or(completion),
        };
        Self {
            number,
            id: format!("chatcmpl-mock{number:08}"),
            request,
            knobs,
            answer,
            tokens,
        }
    }

    fn json(&self) -> Reply {
        let choice = |index| Choice {
            index,
            message: Some(Message::new(&self.answer, |call| self.call_id(index, call))),
            delta: None,
            logprobs: None,
            finish_reason: Some(self.answer.finish_reason),
        };
        let choices = (0..self.request.choices()).map(choice).collect();
        let body = self.completion("chat.completion", choices, self.usage().map(Some));
        Reply::whole_json(body, self.knobs, self.charged())
    }

    fn stream(&self) -> Reply {
        let script = Script {
            frames: self.frames(),
            end: Frame::other("[DONE]".to_owned()),
            error: Frame::other(errors::server_error().json()),
            garbage: Frame::other("{\"id\": mock".to_owned()),
            charged: self.charged(),
        };
        script.play(self.knobs)
    }

    /// The frames of a sound stream up to `[DONE]`.
    fn frames(&self) -> Vec<Frame> {
        let mut frames = Vec::new();
        for index in 0..self.request.choices() {
            let other = |delta| Frame::other(self.chunk(index, delta, None));
            let content = |delta| Frame::content(self.chunk(index, delta, None));
            match &self.answer.content {
                Content::Text(pieces) => {
                    frames.push(other(json!({"role": "assistant", "content": ""})));
                    frames.extend(
                        pieces
                            .iter()
                            .map(|piece| content(json!({"content": piece}))),
                    );
                }
                Content::Calls(calls) => {
                    frames.push(other(json!({"role": "assistant", "content": null})));
                    for (at, call) in calls.iter().enumerate() {
                        let head = ToolCall {
                            index: Some(at),
                            id: self.call_id(index, at),
                            kind: "function",
                            function: Function {
                                name: &call.name,
                                arguments: String::new(),
                            },
                        };
                        frames.push(content(json!({"tool_calls": [head]})));
                        frames.extend(call.arguments.iter().map(|piece| {
                            let piece = json!({"index": at, "function": {"arguments": piece}});
                            content(json!({"tool_calls": [piece]}))
                        }));
                    }
                }
            }
            let finish = Some(self.answer.finish_reason);
            frames.push(Frame::other(self.chunk(index, json!({}), finish)));
        }
        if self.request.includes_usage()
            && let Some(usage) = self.usage()
        {
            let chunk = self.completion("chat.completion.chunk", Vec::new(), Some(Some(usage)));
            frames.push(Frame::other(chunk));
        }
        frames
    }

    fn chunk(&self, index: usize, delta: Value, finish_reason: Option<&'static str>) -> String {
        let choice = Choice {
            index,
            message: None,
            delta: Some(delta),
            logprobs: None,
            finish_reason,
        };
        let usage = self.request.includes_usage().then_some(None);
        self.completion("chat.completion.chunk", vec![choice], usage)
    }

    fn completion(
        &self,
        object: &'static str,
        choices: Vec<Choice<'_>>,
        usage: Option<Option<Usage>>,
    ) -> String {
        wire::json(&Completion {
            id: &self.id,
            object,
            created: CREATED_BASE + self.number,
            model: &self.request.model,
            choices,
            usage,
            service_tier: "default",
            system_fingerprint: "fp_mock",
        })
    }

    fn call_id(&self, choice: usize, call: usize) -> String {
        format!("call_mock{:08}{choice:02}{call:03}", self.number)
    }

    /// What the answer reports.
    fn usage(&self) -> Option<Usage> {
        match self.knobs.usage {
            UsageReport::Absent => None,
            UsageReport::Zero => Some(Usage::new(0, 0, 0, 0)),
            UsageReport::Honest => Some(Usage::new(
                self.tokens.prompt_tokens,
                self.tokens.completion_tokens,
                self.knobs.cached_tokens.unwrap_or(0),
                self.knobs.reasoning_tokens.unwrap_or(0),
            )),
        }
    }

    fn charged(&self) -> Outcome {
        Outcome::Finished(Some((self.request.model.clone(), self.tokens)))
    }
}
