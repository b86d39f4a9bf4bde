//! Runs recorded exchanges (`tests/vectors` of the repository) against a codec.

mod expect;
mod replay;

use std::path::Path;

use assistiv_core::billing::Usage;
use assistiv_core::call::{InferenceRequest, Operation};
use assistiv_core::provider::{Decoder, Encoded, ProviderError};
use assistiv_core::{Error, Problem};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::{Map, Value, json};

use self::expect::matches;
pub(crate) use self::replay::{End, Outcome, replay, replay_every_split, respellings};

/// An adapter, and how the vectors call it.
pub(crate) trait Codec {
    /// What callers call the model.
    fn model(&self) -> String;

    fn encode(&self, request: &InferenceRequest) -> Result<Encoded, ProviderError>;

    fn classify(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> ProviderError;

    fn decoder(&self, request: &InferenceRequest) -> Box<dyn Decoder>;

    /// What the model's price makes of usage, in USD.
    fn cost(&self, _: &Usage, _: Option<&str>) -> Option<String> {
        None
    }
}

/// Runs every vector of a provider that is about chat completions. Gives their number.
pub(crate) fn run(provider: &str, codec: impl Fn(&Value) -> Box<dyn Codec>) -> usize {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors");
    let mut count = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let vector: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        if vector["provider"] == provider && vector["endpoint"] == "/v1/chat/completions" {
            check(&vector, &*codec(&vector));
            count += 1;
        }
    }
    count
}

fn check(vector: &Value, codec: &dyn Codec) {
    let name = vector["name"].as_str().unwrap();
    let body = vector["request"].to_string();
    let request = InferenceRequest::parse(Operation::ChatCompletions, body.into()).unwrap();
    let expected = &vector["expected_client"];
    let strict = vector["gateway_config"]["unsupported_params"] == "error";
    let encoded = codec.encode(&request).and_then(|encoded| {
        if strict {
            encoded.strict()
        } else {
            Ok(encoded)
        }
    });
    match encoded {
        Err(error) => {
            let sent = &vector["expected_upstream_request"];
            assert!(sent.is_null(), "{name}: {error:?}");
            return check_problem(name, error, expected);
        }
        Ok(encoded) => check_request(name, &encoded, vector),
    }
    let answer = &vector["upstream"];
    let status = answer["status"].as_u64().unwrap().try_into().unwrap();
    let status = StatusCode::from_u16(status).unwrap();
    if !status.is_success() {
        let error = codec.classify(status, &headers_of(answer), &body_of(answer));
        return check_problem(name, error, expected);
    }
    let outcome = outcome(codec, &request, answer);
    if expected["status"] != 200 {
        assert!(outcome.pieces.is_empty(), "{name}");
        return check_problem(name, outcome.error().unwrap(), expected);
    }
    if let Some(body) = expected.get("body") {
        let shown: Value = serde_json::from_str(&outcome.text()).unwrap();
        assert!(matches(body, Some(&shown)), "{name}: {shown}");
        assert_eq!(shown["model"], codec.model(), "{name}");
    } else if let Some(assembled) = expected.get("assembled") {
        let shown = assemble(name, &codec.model(), &outcome);
        assert!(matches(assembled, Some(&shown)), "{name}: {shown}");
    }
    check_usage(name, codec, &outcome, &vector["expected_usage"]);
}

fn check_request(name: &str, encoded: &Encoded, vector: &Value) {
    let (expected, sent) = (&vector["expected_upstream_request"], &encoded.request);
    let headers: Map<String, Value> = sent
        .headers()
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().into()))
        .collect();
    for (header, value) in expected["headers"].as_object().unwrap() {
        // Credentials come later.
        if header != "authorization" && header != "x-api-key" && header != "x-goog-api-key" {
            assert!(matches(value, headers.get(header)), "{name}: {header}");
        }
    }
    let uri = sent.uri();
    let path = json!(uri.path());
    assert!(matches(&expected["path"], Some(&path)), "{name}: {path}");
    for (key, value) in expected["query"].as_object().into_iter().flatten() {
        let pair = format!("{key}={}", value.as_str().unwrap());
        let query = uri.query().unwrap_or_default();
        assert!(query.split('&').any(|it| it == pair), "{name}: {query}");
    }
    let body: Value = serde_json::from_slice(sent.body()).unwrap();
    assert!(matches(&expected["body"], Some(&body)), "{name}: {body}");
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    for pointer in list(&expected["body_absent"]) {
        let pointer = pointer.as_str().unwrap();
        assert!(body.pointer(pointer).is_none(), "{name}: {pointer}");
    }
    let any = list(&expected["body_any"]);
    let holds = |pair: &Value| matches(&pair[1], body.pointer(pair[0].as_str().unwrap()));
    assert!(any.is_empty() || any.iter().any(holds), "{name}: {body}");
    for (rule, wanted) in [("body_contains", true), ("body_not_contains", false)] {
        for (pointer, texts) in expected[rule].as_object().into_iter().flatten() {
            let text = body
                .pointer(pointer)
                .map(Value::to_string)
                .unwrap_or_default();
            for part in list(texts) {
                let held = text.contains(part.as_str().unwrap());
                assert_eq!(held, wanted, "{name}: {part} in {text}");
            }
        }
    }
    let dropped = &vector["expected_client"]["headers"]["x-assistiv-dropped-params"];
    for parameter in list(&dropped["$contains"]) {
        let parameter = parameter.as_str().unwrap();
        let noted = encoded.dropped.names().any(|name| name == parameter);
        assert!(noted, "{name}: {parameter}");
    }
}

/// Checks what the caller is told of an error.
fn check_problem(name: &str, error: ProviderError, expected: &Value) {
    let after = error.retry_after().map(|after| after.as_secs().to_string());
    let (status, body) = problem(error);
    assert_eq!(expected["status"], status, "{name}");
    assert!(matches(&expected["body"], Some(&body)), "{name}: {body}");
    if let Some(expected) = expected["headers"].get("retry-after") {
        assert_eq!(*expected, json!(after), "{name}");
    }
}

fn problem(error: ProviderError) -> (u16, Value) {
    let problem = Problem::from(&Error::from(error));
    let body = problem.to_json("req_1", "https://example.com");
    (
        problem.status().as_u16(),
        serde_json::from_str(&body).unwrap(),
    )
}

fn headers_of(answer: &Value) -> HeaderMap {
    let headers = answer["headers"].as_object().unwrap().iter();
    headers
        .map(|(name, value)| {
            let value = HeaderValue::from_str(value.as_str().unwrap()).unwrap();
            (name.parse::<HeaderName>().unwrap(), value)
        })
        .collect()
}

fn body_of(answer: &Value) -> Vec<u8> {
    match (answer.get("body"), answer.get("body_text")) {
        (Some(body), _) => body.to_string().into_bytes(),
        (None, Some(text)) => text.as_str().unwrap().into(),
        (None, None) => {
            let bytes = |chunk: &Value| match chunk.as_str() {
                Some(text) => text.as_bytes().to_vec(),
                None => BASE64_STANDARD
                    .decode(chunk["b64"].as_str().unwrap())
                    .unwrap(),
            };
            let chunks = answer["sse_chunks"].as_array().unwrap();
            chunks.iter().flat_map(bytes).collect()
        }
    }
}

/// Replays the answer in every way that must not make a difference.
fn outcome(codec: &dyn Codec, request: &InferenceRequest, answer: &Value) -> Outcome {
    let bytes = body_of(answer);
    let end = match answer["end"].as_str() {
        Some("abort" | "hang") => End::Broken,
        _ => End::Neat,
    };
    let decoder = || codec.decoder(request);
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
pub(crate) fn assemble(name: &str, model: &str, outcome: &Outcome) -> Value {
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
            (&json!(model), &json!("chat.completion.chunk"))
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
    let error = outcome.error();
    // The fixtures leave the transport's own error to the gateway.
    let error = error.or_else(|| {
        let interrupted = assistiv_core::provider::ProviderErrorKind::Interrupted;
        (!outcome.complete).then(|| ProviderError::new(interrupted))
    });
    let error = error.map(|error| problem(error).1["error"].clone());
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
    let first = message.as_object().unwrap().is_empty();
    let role = delta["delta"].get("role");
    assert!(first || role.is_none(), "{name}: the role is said once");
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
    assert!(index <= list.len(), "calls are numbered without gaps");
    match list.get_mut(index) {
        None => list.push(piece.clone()),
        Some(call) => {
            assert!(piece.get("id").is_none() && piece["function"].get("name").is_none());
            let arguments = &mut call["function"]["arguments"];
            let joined = [
                arguments.as_str().unwrap(),
                piece["function"]["arguments"].as_str().unwrap(),
            ];
            *arguments = joined.concat().into();
        }
    }
}

fn check_usage(name: &str, codec: &dyn Codec, outcome: &Outcome, expected: &Value) {
    if expected["source"] == "estimated" {
        assert_eq!(outcome.usage, None, "{name}");
        assert!(outcome.content_bytes > 0, "{name}");
        return;
    }
    let count = |key: &str| expected[key].as_u64().unwrap_or(0);
    let usage = outcome.usage.unwrap();
    if expected["output_tokens"].is_object() {
        // The answer broke off: the counts so far are as good as an estimate.
        assert_eq!(usage.input_total(), count("prompt_tokens_total"), "{name}");
        let output = json!(usage.output_total());
        assert!(matches(&expected["output_tokens"], Some(&output)), "{name}");
        return;
    }
    let parts = Usage {
        input: count("input_uncached"),
        cached_input: count("input_cached"),
        cache_write_5m: count("cache_write_5m"),
        cache_write_30m: count("cache_write_30m"),
        cache_write_1h: count("cache_write_1h"),
        cache_write_12h: count("cache_write_12h"),
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
    if let Some(cost) = codec.cost(&usage, outcome.tier.as_deref()) {
        let number = |text: &str| text.parse::<f64>().unwrap();
        let expected = expected["cost_usd"].as_str().unwrap();
        assert!(
            (number(&cost) - number(expected)).abs() < 1e-9,
            "{name}: {cost}"
        );
    }
}
