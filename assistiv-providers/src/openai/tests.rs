//! The codec against recorded exchanges (`tests/fixtures/vectors`).

mod expect;
mod frames;
mod replay;
mod requests;

use std::path::Path;

use assistiv_core::billing::Usage;
use assistiv_core::call::LimitField;
use http::{HeaderName, HeaderValue};
use serde_json::{Map, Value, json};

use self::expect::matches;
use self::replay::{End, Outcome, replay, replay_every_split, respellings};
use super::encode::{Upstream, encode};
use super::*;

/// Parameters that a planner takes out by what a model accepts; the codec passes them on.
const PLANNED: [&str; 4] = [
    "/temperature",
    "/stop",
    "/frequency_penalty",
    "/presence_penalty",
];

fn request(body: &Value) -> InferenceRequest {
    InferenceRequest::parse(Operation::ChatCompletions, body.to_string().into()).unwrap()
}

fn upstream(model: &str) -> Upstream<'_> {
    Upstream {
        base_url: "https://api.example.com/v1",
        model,
        limit_field: LimitField::MaxTokens,
        output_limit: None,
    }
}

fn decoder(dialect: &Dialect, request: &InferenceRequest) -> Box<dyn Decoder> {
    let answer = Answer::new(&Arc::new(dialect.clone()), request, "public-name");
    if request.is_stream() {
        Box::new(StreamDecoder::new(answer))
    } else {
        Box::new(WholeDecoder::new(answer))
    }
}

#[test]
fn every_vector_comes_out_as_expected() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/vectors");
    let mut count = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let vector: Value =
            serde_json::from_slice(&std::fs::read(entry.unwrap().path()).unwrap()).unwrap();
        check(&vector);
        count += 1;
    }
    assert_eq!(count, 29);
}

fn check(vector: &Value) {
    let name = vector["name"].as_str().unwrap();
    let dialect = if vector["provider"] == "xai" {
        Dialect::xai()
    } else {
        Dialect::openai()
    };
    let request = request(&vector["request"]);
    check_request(
        name,
        &dialect,
        &request,
        &vector["expected_upstream_request"],
    );
    let (answer, expected) = (&vector["upstream"], &vector["expected_client"]);
    let status =
        StatusCode::from_u16(answer["status"].as_u64().unwrap().try_into().unwrap()).unwrap();
    if !status.is_success() {
        return check_error(name, status, answer, expected);
    }
    let outcome = outcome(&dialect, &request, answer);
    if expected["status"] != 200 {
        let (kind, message) = outcome.error.as_ref().unwrap();
        assert!(outcome.pieces.is_empty(), "{name}");
        check_problem(name, *kind, message, &expected["body"]["error"]);
        return;
    }
    if let Some(body) = expected.get("body") {
        let shown: Value = serde_json::from_str(&outcome.text()).unwrap();
        assert!(matches(body, Some(&shown)), "{name}: {shown}");
        assert_eq!(shown["model"], "public-name", "{name}");
    } else {
        let shown = assemble(name, &outcome);
        assert!(
            matches(&expected["assembled"], Some(&shown)),
            "{name}: {shown}"
        );
    }
    check_usage(name, &outcome, &vector["expected_usage"]);
}

fn check_request(name: &str, dialect: &Dialect, request: &InferenceRequest, expected: &Value) {
    let limit_field = if name.starts_with("openai-016") {
        LimitField::MaxCompletionTokens
    } else {
        LimitField::MaxTokens
    };
    let upstream = Upstream {
        limit_field,
        ..upstream(request.model())
    };
    let sent = encode(dialect, request, upstream).unwrap();
    assert_eq!(sent.uri().path(), expected["path"].as_str().unwrap());
    let body: Value = serde_json::from_slice(sent.body()).unwrap();
    assert!(matches(&expected["body"], Some(&body)), "{name}: {body}");
    for pointer in expected["body_absent"].as_array().unwrap() {
        let pointer = pointer.as_str().unwrap();
        assert!(
            PLANNED.contains(&pointer) || body.pointer(pointer).is_none(),
            "{name}: {pointer}"
        );
    }
    let any = expected["body_any"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    let holds = |pair: &Value| matches(&pair[1], body.pointer(pair[0].as_str().unwrap()));
    assert!(any.is_empty() || any.iter().any(holds), "{name}: {body}");
}

fn check_error(name: &str, status: StatusCode, answer: &Value, expected: &Value) {
    let headers: HeaderMap = answer["headers"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, value)| {
            let value = HeaderValue::from_str(value.as_str().unwrap()).unwrap();
            (name.parse::<HeaderName>().unwrap(), value)
        })
        .collect();
    let error = OpenAiCompatible::openai().classify(status, &headers, &body_of(answer));
    check_problem(
        name,
        error.kind(),
        &error.to_string(),
        &expected["body"]["error"],
    );
    assert!(
        matches(
            &expected["body"]["error"]["param"],
            Some(&json!(error.param()))
        ),
        "{name}"
    );
    if let Some(after) = expected["headers"]["retry-after"].as_str() {
        assert_eq!(
            error.retry_after().unwrap().as_secs().to_string(),
            after,
            "{name}"
        );
    }
}

fn check_problem(name: &str, kind: ProviderErrorKind, message: &str, expected: &Value) {
    let reason = reason(kind);
    assert!(
        matches(&expected["reason"], Some(&json!(reason))),
        "{name}: {reason}"
    );
    assert!(
        matches(&expected["message"], Some(&json!(message))),
        "{name}: {message}"
    );
}

/// The reasons of the API for the kinds of errors.
fn reason(kind: ProviderErrorKind) -> &'static str {
    match kind {
        ProviderErrorKind::BadRequest => "provider_bad_request",
        ProviderErrorKind::ContextLength => "context_length_exceeded",
        ProviderErrorKind::ModelNotFound => "model_not_found",
        ProviderErrorKind::Auth => "provider_auth_error",
        ProviderErrorKind::Quota => "provider_quota_exhausted",
        ProviderErrorKind::RateLimited => "provider_rate_limited",
        ProviderErrorKind::Overloaded => "provider_overloaded",
        ProviderErrorKind::Failed => "provider_error",
        ProviderErrorKind::Interrupted => "provider_stream_interrupted",
        other => panic!("no fixture is about {other:?}"),
    }
}

fn body_of(answer: &Value) -> Vec<u8> {
    match (answer.get("body"), answer.get("body_text")) {
        (Some(body), _) => body.to_string().into_bytes(),
        (None, Some(text)) => text.as_str().unwrap().into(),
        (None, None) => {
            let chunks = answer["sse_chunks"].as_array().unwrap();
            chunks
                .iter()
                .flat_map(|chunk| chunk.as_str().unwrap().bytes())
                .collect()
        }
    }
}

/// Replays the answer in every way that must not make a difference.
fn outcome(dialect: &Dialect, request: &InferenceRequest, answer: &Value) -> Outcome {
    let bytes = body_of(answer);
    let end = if answer["end"] == "abort" {
        End::Broken
    } else {
        End::Neat
    };
    let decoder = || decoder(dialect, request);
    let outcome = replay_every_split(decoder, &bytes, end);
    if answer.get("sse_chunks").is_some() {
        for spelling in respellings(std::str::from_utf8(&bytes).unwrap()) {
            assert_eq!(
                replay(decoder(), &[spelling.as_bytes()], end),
                outcome,
                "{spelling}"
            );
        }
    }
    outcome
}

/// Puts a stream together as a client would, and checks that it is one that clients understand.
fn assemble(name: &str, outcome: &Outcome) -> Value {
    let text = outcome.text();
    let frames: Vec<&str> = text
        .split_terminator("\n\n")
        .map(|e| e.strip_prefix("data: ").unwrap())
        .collect();
    let (done, frames): (Vec<&str>, Vec<&str>) =
        frames.iter().partition(|frame| **frame == "[DONE]");
    let mut choices: Vec<Map<String, Value>> = Vec::new();
    let mut usage = Value::Null;
    for frame in frames {
        let frame: Value = serde_json::from_str(frame).unwrap();
        assert_eq!(
            (&frame["model"], &frame["object"]),
            (&json!("public-name"), &json!("chat.completion.chunk"))
        );
        let deltas = frame["choices"].as_array().unwrap();
        assert!(usage.is_null(), "{name}: usage comes last");
        assert_eq!(
            deltas.is_empty(),
            frame["usage"].is_object(),
            "{name}: usage has a chunk of its own"
        );
        usage = frame["usage"].clone();
        for delta in deltas {
            let index = usize::try_from(delta["index"].as_u64().unwrap()).unwrap();
            if choices.len() <= index {
                choices.resize(index + 1, Map::new());
            }
            add_delta(name, &mut choices[index], delta);
        }
    }
    let error = outcome.error.as_ref().map(|(kind, message)| {
        json!({ "message": message, "type": "server_error", "code": "bad_gateway", "reason": reason(*kind) })
    });
    // The fixtures leave the transport's own error to the gateway.
    let error = error.or((!outcome.complete).then(|| {
        json!({ "message": "m", "type": "t", "code": "bad_gateway", "reason": "provider_stream_interrupted" })
    }));
    json!({
        "message": choices[0]["message"], "finish_reason": choices[0].get("finish_reason"), "choices": choices,
        "usage": usage, "error": error, "done_marker": !done.is_empty(),
    })
}

fn add_delta(name: &str, choice: &mut Map<String, Value>, delta: &Value) {
    assert!(
        !choice.contains_key("finish_reason"),
        "{name}: nothing follows the finish reason"
    );
    choice.insert("index".into(), delta["index"].clone());
    let message = choice.entry("message").or_insert_with(|| json!({}));
    for (key, piece) in delta["delta"].as_object().unwrap() {
        match (piece, &mut message[key]) {
            (Value::String(piece), Value::String(text)) => text.push_str(piece),
            (Value::Array(pieces), calls) => pieces.iter().for_each(|piece| add_call(calls, piece)),
            (piece, slot) => *slot = piece.clone(),
        }
    }
    if let Some(reason) = delta["finish_reason"].as_str() {
        choice.insert("finish_reason".into(), reason.into());
    }
}

fn add_call(calls: &mut Value, piece: &Value) {
    let index = usize::try_from(piece["index"].as_u64().unwrap()).unwrap();
    if !calls.is_array() {
        *calls = json!([]);
    }
    let list = calls.as_array_mut().unwrap();
    match list.get_mut(index) {
        None => list.push(piece.clone()),
        Some(call) => {
            let arguments = &mut call["function"]["arguments"];
            let joined = [
                arguments.as_str().unwrap(),
                piece["function"]["arguments"].as_str().unwrap(),
            ];
            *arguments = joined.concat().into();
        }
    }
}

fn check_usage(name: &str, outcome: &Outcome, expected: &Value) {
    if expected["source"] == "estimated" {
        assert_eq!(outcome.usage, None, "{name}");
        assert!(outcome.content_bytes > 0, "{name}");
        return;
    }
    let count = |key: &str| expected[key].as_u64().unwrap_or(0);
    let usage = outcome.usage.unwrap();
    let parts = Usage {
        input: count("input_uncached"),
        cached_input: count("input_cached"),
        cache_write_30m: count("cache_write_30m"),
        audio_input: count("audio_input"),
        image_input: count("image_input"),
        output: count("output_tokens") - count("reasoning_tokens") - count("audio_output"),
        reasoning: count("reasoning_tokens"),
        audio_output: count("audio_output"),
        ..Usage::default()
    };
    assert_eq!(usage, parts, "{name}");
    assert_eq!(usage.total(), count("total_tokens"), "{name}");
    let tier = outcome
        .tier
        .as_deref()
        .filter(|tier| *tier != "default")
        .unwrap_or("standard");
    assert_eq!(tier, expected["service_tier"], "{name}");
}

#[test]
fn a_key_never_writes_headers_of_its_own() {
    for key in ["", "sk-a\r\nx: y", "sk-a\0", "sk-a\t", "sk-\u{e4}"] {
        assert_eq!(
            bearer(key).unwrap_err().kind(),
            ProviderErrorKind::Auth,
            "{key:?}"
        );
    }
    let value = bearer("sk-a").unwrap();
    assert!(value.is_sensitive());
    assert_eq!(value, "Bearer sk-a");
}
