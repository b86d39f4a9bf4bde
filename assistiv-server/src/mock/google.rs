//! Google's Gemini API: <https://ai.google.dev/api/generate-content>.
//!
//! What is asked is read as the chat completion that it is another spelling of, so that the same question has the
//! same answer and the same cost in every format. An answer with `reasoning_tokens` begins with a thought, and its
//! first call carries a signature.

use http::{HeaderMap, Method, StatusCode};
use serde_json::{Map, Value, json};

use super::Mock;
use super::answer::{Answer, Content};
use super::embeddings;
use super::errors::{self, ApiError};
use super::knobs::{Fault, Knobs, UsageReport};
use super::reply::{Call, Reply};
use super::request::ChatRequest;
use super::stats::{GOOGLE_KEY, Outcome, Tokens};
use super::stream::{Frame, Script};

const MODELS: &str = "/v1/models/";
const WHOLE: &str = ":generateContent";
const EMBED: &str = ":batchEmbedContents";
const STREAM: &str = ":streamGenerateContent";

const THOUGHT: &str = "Let me count the words.";
const SIGNATURE: &str = "bW9jaw==";

/// One answer: everything its JSON and its stream have in common.
struct Generated<'a> {
    number: u64,
    request: &'a ChatRequest,
    knobs: &'a Knobs,
    answer: Answer,
    tokens: Tokens,
}

/// Whether a path is one of this format.
pub(super) fn is_path(path: &str) -> bool {
    path.starts_with(MODELS) && path.contains(':')
}

/// Answers one call.
pub(super) fn reply(call: &Call<'_>) -> Reply {
    answer(call).unwrap_or_else(|error| refusal(&error, &[]))
}

fn answer(call: &Call<'_>) -> Result<Reply, ApiError> {
    let headers = &call.parts.headers;
    let uri = &call.parts.uri;
    let unknown = || errors::unknown_url(call.parts.method.as_str(), uri.path());
    let asked = uri.path().strip_prefix(MODELS).ok_or_else(unknown)?;
    if let Some(model) = asked.strip_suffix(EMBED) {
        return match key_of(headers) {
            Some(key) => embed(call, model, key),
            None => Ok(key_refused(
                "API key not valid. Please pass a valid API key.",
            )),
        };
    }
    let (model, streams) = match (asked.strip_suffix(WHOLE), asked.strip_suffix(STREAM)) {
        (Some(model), _) => (model, false),
        (_, Some(model)) => (model, true),
        _ => return Err(unknown()),
    };
    if call.parts.method != Method::POST {
        return Err(unknown());
    }
    let Some(key) = key_of(headers) else {
        return Ok(key_refused(
            "API key not valid. Please pass a valid API key.",
        ));
    };
    if streams && uri.query() != Some("alt=sse") {
        return Err(errors::invalid(
            "alt",
            "The mock streams with alt=sse alone.",
        ));
    }
    let body = serde_json::from_slice(call.body).map_err(|_| errors::not_json())?;
    let request = ChatRequest::read(chat(&body, model))?;
    let (knobs, words) = Knobs::parse(&request.user_text())
        .map_err(|error| errors::invalid("contents", error.to_string()))?;
    let reply = match knobs.fault {
        Some(Fault::Status(StatusCode::UNAUTHORIZED)) => {
            key_refused(&format!("API key not valid: {key}."))
        }
        Some(Fault::Status(status)) => {
            let error = errors::with_status(status, model, key);
            refusal(&error, &retry_info(status))
        }
        Some(Fault::Quota) => quota(),
        Some(Fault::Html) => Reply::bad_gateway(),
        _ => {
            let generated = Generated::new(call.number, &request, &knobs, words);
            if streams {
                generated.stream()
            } else {
                generated.whole()
            }
        }
    };
    Ok(reply.paced(&knobs))
}

/// A batch of texts becomes vectors.
fn embed(call: &Call<'_>, model: &str, key: &str) -> Result<Reply, ApiError> {
    let body: Value = serde_json::from_slice(call.body).map_err(|_| errors::not_json())?;
    let requests = body["requests"].as_array();
    let requests = requests.ok_or_else(|| errors::missing("requests"))?;
    let texts: Option<Vec<String>> = requests
        .iter()
        .map(|request| text_of(&request["content"]))
        .collect();
    let texts = texts.ok_or_else(|| errors::missing("content"))?;
    let (knobs, _) = Knobs::parse(&texts.join(" "))
        .map_err(|error| errors::invalid("requests", error.to_string()))?;
    match knobs.fault {
        Some(Fault::Status(status)) => {
            let error = errors::with_status(status, model, key);
            return Ok(refusal(&error, &retry_info(status)).paced(&knobs));
        }
        Some(Fault::Quota) => return Ok(quota()),
        _ => {}
    }
    let vectors: Vec<Value> = requests
        .iter()
        .zip(&texts)
        .map(|(request, text)| {
            let dimensions = request["outputDimensionality"].as_u64();
            json!({ "values": embeddings::vector_of(text, dimensions) })
        })
        .collect();
    let counted: u64 = texts
        .iter()
        .map(|text| embeddings::tokens_of_text(text))
        .sum();
    let tokens = knobs.prompt_tokens.unwrap_or(counted);
    let mut body = json!({ "embeddings": vectors });
    if knobs.usage == UsageReport::Honest {
        body["usageMetadata"] = json!({ "promptTokenCount": tokens });
    }
    let charged = Tokens {
        prompt_tokens: tokens,
        completion_tokens: 0,
    };
    let outcome = Outcome::Finished(Some((model.to_owned(), charged)));
    Ok(Reply::json(StatusCode::OK, body.to_string(), outcome).paced(&knobs))
}

fn key_of(headers: &HeaderMap) -> Option<&str> {
    let key = headers.get(GOOGLE_KEY)?.to_str().ok()?;
    (!key.is_empty() && key != Mock::INVALID_KEY).then_some(key)
}

/// The request in OpenAI's format.
fn chat(body: &Value, model: &str) -> Value {
    let mut messages = Vec::new();
    if let Some(system) = text_of(&body["systemInstruction"]) {
        messages.push(json!({ "role": "system", "content": system }));
    }
    for content in body["contents"].as_array().into_iter().flatten() {
        let parts = content["parts"].as_array().into_iter().flatten();
        let results = parts.filter_map(|part| part.get("functionResponse"));
        let mut has_results = false;
        for result in results {
            has_results = true;
            let content = result["response"].to_string();
            messages.push(json!({ "role": "tool", "content": content }));
        }
        let said = text_of(content);
        if said.is_some() || !has_results {
            let role = match content["role"].as_str() {
                Some("model") => "assistant",
                _ => "user",
            };
            messages.push(json!({ "role": role, "content": said }));
        }
    }
    let config = &body["generationConfig"];
    let mut chat = json!({
        "model": model, "messages": messages, "max_tokens": config["maxOutputTokens"], "tool_choice": null,
    });
    if let Some(functions) = body.pointer("/tools/0/functionDeclarations") {
        let functions = functions.as_array().into_iter().flatten();
        let tools = functions.map(|function| {
            let parameters = &function["parametersJsonSchema"];
            json!({ "type": "function", "function": { "name": function["name"], "parameters": parameters } })
        });
        chat["tools"] = tools.collect();
        let calling = &body["toolConfig"]["functionCallingConfig"];
        chat["tool_choice"] = match (
            calling["mode"].as_str(),
            calling.pointer("/allowedFunctionNames/0"),
        ) {
            (Some("NONE"), _) => json!("none"),
            (Some("ANY"), None) => json!("required"),
            (Some("ANY"), Some(name)) => {
                json!({ "type": "function", "function": { "name": name } })
            }
            _ => Value::Null,
        };
    }
    let schema = &config["responseJsonSchema"];
    if !schema.is_null() {
        chat["response_format"] =
            json!({ "type": "json_schema", "json_schema": { "schema": schema } });
    } else if config["responseMimeType"] == "application/json" {
        chat["response_format"] = json!({ "type": "json_object" });
    }
    chat
}

/// The text of a content, when it has any.
fn text_of(content: &Value) -> Option<String> {
    let parts = content["parts"].as_array()?;
    let texts: Vec<_> = parts
        .iter()
        .filter_map(|part| part["text"].as_str())
        .collect();
    (!texts.is_empty()).then(|| texts.concat())
}

/// An error in Google's words.
fn refusal(error: &ApiError, details: &[Value]) -> Reply {
    // Only its text tells an unknown model from an unknown path.
    let message = match error.status() {
        StatusCode::NOT_FOUND => {
            "models/mock is not found for API version v1beta, or is not supported for generateContent."
        }
        _ => error.message(),
    };
    let body = said(error.status(), message, details);
    Reply::json(error.status(), body.to_string(), Outcome::Failed)
}

fn key_refused(message: &str) -> Reply {
    let reason = json!({
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": "API_KEY_INVALID", "domain": "googleapis.com",
    });
    let status = StatusCode::BAD_REQUEST;
    Reply::json(
        status,
        said(status, message, &[reason]).to_string(),
        Outcome::Failed,
    )
}

fn quota() -> Reply {
    let failure = json!({
        "@type": "type.googleapis.com/google.rpc.QuotaFailure",
        "violations": [{ "quotaId": "GenerateRequestsPerDayPerProjectPerModel" }],
    });
    let status = StatusCode::TOO_MANY_REQUESTS;
    let message = "You exceeded your current quota, please check your plan and billing details.";
    Reply::json(
        status,
        said(status, message, &[failure]).to_string(),
        Outcome::Failed,
    )
}

fn retry_info(status: StatusCode) -> Vec<Value> {
    let delay = json!({
        "@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "1.5s",
    });
    match status {
        StatusCode::TOO_MANY_REQUESTS => vec![delay],
        _ => Vec::new(),
    }
}

fn said(status: StatusCode, message: &str, details: &[Value]) -> Value {
    let name = match status.as_u16() {
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        409 => "ABORTED",
        429 => "RESOURCE_EXHAUSTED",
        503 | 529 => "UNAVAILABLE",
        504 => "DEADLINE_EXCEEDED",
        500..=599 => "INTERNAL",
        _ => "INVALID_ARGUMENT",
    };
    let code = status.as_u16();
    json!({ "error": { "code": code, "message": message, "status": name, "details": details } })
}

// === impl Generated ===

impl<'a> Generated<'a> {
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

    fn whole(&self) -> Reply {
        let mut parts = self.thought();
        match &self.answer.content {
            Content::Text(pieces) => parts.push(json!({ "text": pieces.concat() })),
            Content::Calls(_) => parts.extend(self.calls()),
        }
        let body = self.piece(parts, Some(self.finish_reason()));
        // Google indents what it sends in one piece.
        Reply::whole_json(format!("{body:#}"), self.knobs, self.charged())
    }

    fn stream(&self) -> Reply {
        let error = errors::server_error();
        // No mark ends the stream; usage may come once more.
        let usage = json!({ "usageMetadata": self.usage(true) });
        let script = Script {
            frames: self.frames(),
            end: Frame::other(usage.to_string()),
            error: Frame::other(said(error.status(), error.message(), &[]).to_string()),
            garbage: Frame::other("{\"candidates\": mock".to_owned()),
            charged: self.charged(),
        };
        script.play(self.knobs)
    }

    /// The frames of a sound stream up to the reason of its end.
    fn frames(&self) -> Vec<Frame> {
        let piece = |part: Value| self.piece(vec![part], None).to_string();
        let thoughts = self.thought().into_iter();
        let mut frames: Vec<Frame> = thoughts.map(|part| Frame::other(piece(part))).collect();
        match &self.answer.content {
            Content::Text(pieces) => {
                let texts = pieces.iter().map(|text| json!({ "text": text }));
                frames.extend(texts.map(|part| Frame::content(piece(part))));
            }
            // A call comes whole.
            Content::Calls(_) => {
                let calls = self.calls().into_iter();
                frames.extend(calls.map(|part| Frame::content(piece(part))));
            }
        }
        let end = self.piece(vec![json!({ "text": "" })], Some(self.finish_reason()));
        frames.push(Frame::other(end.to_string()));
        frames
    }

    fn piece(&self, parts: Vec<Value>, reason: Option<&str>) -> Value {
        let mut candidate = json!({ "content": { "parts": parts, "role": "model" }, "index": 0 });
        if let Some(reason) = reason {
            candidate["finishReason"] = reason.into();
        }
        let mut piece = json!({
            "candidates": [candidate], "modelVersion": self.request.model,
            "responseId": format!("mock{:08}", self.number),
        });
        // Before the end, nothing is said of the output: what is not counted is left out.
        if let Some(usage) = self.usage(reason.is_some()) {
            piece["usageMetadata"] = usage;
        }
        piece
    }

    fn thought(&self) -> Vec<Value> {
        match self.thinks() {
            true => vec![json!({ "text": THOUGHT, "thought": true })],
            false => Vec::new(),
        }
    }

    fn calls(&self) -> Vec<Value> {
        let Content::Calls(calls) = &self.answer.content else {
            return Vec::new();
        };
        let call = |(at, call): (usize, &super::answer::ToolCall)| {
            let args: Value =
                serde_json::from_str(&call.arguments.concat()).unwrap_or_else(|_| json!({}));
            let id = format!("fc_mock{:08}{at:03}", self.number);
            let mut part = json!({ "functionCall": { "id": id, "name": call.name, "args": args } });
            if at == 0 && self.thinks() {
                part["thoughtSignature"] = SIGNATURE.into();
            }
            part
        };
        calls.iter().enumerate().map(call).collect()
    }

    fn thinks(&self) -> bool {
        self.knobs.reasoning_tokens.is_some_and(|tokens| tokens > 0)
    }

    fn finish_reason(&self) -> &'static str {
        match self.answer.finish_reason {
            "length" => "MAX_TOKENS",
            _ => "STOP",
        }
    }

    /// What the answer reports: thoughts stand beside the candidates, not among them.
    fn usage(&self, with_output: bool) -> Option<Value> {
        let (prompt, output, cached) = match self.knobs.usage {
            UsageReport::Absent => return None,
            UsageReport::Zero => (0, 0, 0),
            UsageReport::Honest => {
                let cached = self.knobs.cached_tokens.unwrap_or(0);
                (
                    self.tokens.prompt_tokens,
                    self.tokens.completion_tokens,
                    cached,
                )
            }
        };
        let mut usage = Map::new();
        usage.insert("promptTokenCount".to_owned(), prompt.into());
        if cached > 0 {
            usage.insert("cachedContentTokenCount".to_owned(), cached.into());
        }
        let mut total = prompt;
        if with_output {
            let thoughts = self.knobs.reasoning_tokens.unwrap_or(0).min(output);
            if thoughts > 0 {
                usage.insert("thoughtsTokenCount".to_owned(), thoughts.into());
            }
            let candidates = output - thoughts;
            usage.insert("candidatesTokenCount".to_owned(), candidates.into());
            total = prompt.saturating_add(output);
        }
        usage.insert("totalTokenCount".to_owned(), total.into());
        Some(usage.into())
    }

    fn charged(&self) -> Outcome {
        Outcome::Finished(Some((self.request.model.clone(), self.tokens)))
    }
}
