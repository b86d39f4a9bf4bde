//! Requests: what becomes of what the caller asks for.

use super::*;

fn sent(model: &str, members: Value) -> (Value, Vec<String>) {
    let encoded = encoded(model, members).unwrap();
    let dropped = encoded.dropped.names().map(str::to_owned).collect();
    (
        serde_json::from_slice(encoded.request.body()).unwrap(),
        dropped,
    )
}

fn encoded(model: &str, members: Value) -> Result<Encoded, ProviderError> {
    let mut body = json!({ "model": model, "messages": [{ "role": "user", "content": "x" }] });
    let members = members.as_object().unwrap().clone();
    body.as_object_mut().unwrap().extend(members);
    let request = InferenceRequest::parse(Operation::ChatCompletions, body.to_string().into());
    Anthropic.encode(&request.unwrap(), &target(model))
}

fn refused(model: &str, members: Value) -> (ProviderErrorKind, String) {
    let error = encoded(model, members).unwrap_err();
    (error.kind(), error.param().unwrap_or_default().to_owned())
}

const NEW: &str = "claude-sonnet-5-5";
const FOUR_SIX: &str = "claude-opus-4-6";
const FOUR_FIVE: &str = "claude-haiku-4-5";

fn tools() -> Value {
    json!([{ "type": "function", "function": { "name": "f" } }, { "type": "function", "function": { "name": "g" } }])
}

#[test]
fn effort_is_told_in_each_models_own_way() {
    let summarized = json!({ "type": "adaptive", "display": "summarized" });
    for (model, effort, thinking, word) in [
        (NEW, "none", Value::Null, json!("low")),
        (NEW, "minimal", summarized.clone(), json!("low")),
        (NEW, "xhigh", summarized.clone(), json!("xhigh")),
        (
            "claude-opus-4-8",
            "none",
            json!({ "type": "disabled" }),
            Value::Null,
        ),
        (FOUR_SIX, "xhigh", summarized, json!("max")),
        (FOUR_FIVE, "none", Value::Null, Value::Null),
        (
            FOUR_FIVE,
            "low",
            json!({ "type": "enabled", "budget_tokens": 1024 }),
            Value::Null,
        ),
        (
            FOUR_FIVE,
            "medium",
            json!({ "type": "enabled", "budget_tokens": 3999 }),
            Value::Null,
        ),
    ] {
        let (body, dropped) = sent(
            model,
            json!({ "reasoning_effort": effort, "max_tokens": 4000 }),
        );
        assert_eq!(body["thinking"], thinking, "{model} {effort}");
        assert_eq!(body["output_config"]["effort"], word, "{model} {effort}");
        assert!(dropped.is_empty());
    }
    let (body, dropped) = sent(
        FOUR_FIVE,
        json!({ "reasoning_effort": "high", "max_tokens": 500 }),
    );
    assert_eq!(
        (&body["thinking"], &*dropped),
        (&Value::Null, &["reasoning_effort".to_owned()][..])
    );
    let forced = json!({ "reasoning_effort": "high", "tool_choice": "required", "tools": tools() });
    let (body, dropped) = sent(FOUR_FIVE, forced);
    assert_eq!(
        (&body["thinking"], &*dropped),
        (&Value::Null, &["reasoning_effort".to_owned()][..])
    );
}

#[test]
fn sampling_goes_where_it_is_taken() {
    let all = json!({ "temperature": 1.5, "top_p": 0.9, "top_k": 5, "seed": 1, "presence_penalty": 0, "frequency_penalty": 1 });
    let (body, dropped) = sent(FOUR_FIVE, all.clone());
    assert_eq!(
        (&body["temperature"], &body["top_k"]),
        (&json!(1.0), &json!(5))
    );
    assert_eq!(dropped, ["top_p", "frequency_penalty", "seed"]);
    let (body, dropped) = sent(NEW, all);
    assert!(body.get("temperature").is_none() && body.get("top_k").is_none());
    assert_eq!(
        dropped,
        ["temperature", "top_p", "top_k", "frequency_penalty", "seed"]
    );
    let (body, dropped) = sent(
        FOUR_SIX,
        json!({ "temperature": 0.5, "reasoning_effort": "low" }),
    );
    assert!(body.get("temperature").is_none());
    assert_eq!(dropped, ["temperature"]);
    let (body, _) = sent(FOUR_FIVE, json!({ "top_p": 0.9 }));
    assert_eq!(body["top_p"], 0.9);
}

#[test]
fn the_limit_is_always_there() {
    for (model, members, limit) in [
        (NEW, json!({ "max_tokens": 7 }), 7),
        (NEW, json!({}), 32_000),
        (NEW, json!({ "stream": true }), 128_000),
        (FOUR_FIVE, json!({ "stream": true }), 64_000),
    ] {
        assert_eq!(sent(model, members).0["max_tokens"], limit, "{model}");
    }
}

#[test]
fn tools_may_be_forced_where_the_model_allows_it() {
    for (model, choice, expected, lost) in [
        (FOUR_SIX, json!("required"), json!({ "type": "any" }), false),
        (FOUR_SIX, json!("none"), json!({ "type": "none" }), false),
        (
            FOUR_SIX,
            json!({ "type": "function", "function": { "name": "g" } }),
            json!({ "type": "tool", "name": "g" }),
            false,
        ),
        (NEW, json!("required"), json!({ "type": "auto" }), true),
        (
            FOUR_SIX,
            json!({ "type": "allowed_tools", "allowed_tools": { "mode": "required", "tools": [{ "type": "function", "function": { "name": "g" } }] } }),
            json!({ "type": "any" }),
            false,
        ),
    ] {
        let (body, dropped) = sent(model, json!({ "tools": tools(), "tool_choice": choice }));
        assert_eq!(body["tool_choice"], expected, "{model} {choice}");
        assert_eq!(dropped.contains(&"tool_choice".to_owned()), lost);
        let count = if choice["type"] == "allowed_tools" {
            1
        } else {
            2
        };
        assert_eq!(body["tools"].as_array().unwrap().len(), count);
    }
    let (body, _) = sent(NEW, json!({ "tools": tools() }));
    assert!(body.get("tool_choice").is_none());
}

#[test]
fn what_the_model_cannot_do_is_refused_by_name() {
    use ProviderErrorKind::{UnsupportedParameter, UnsupportedValue};
    for (members, kind, param) in [
        (
            json!({ "logprobs": true }),
            UnsupportedParameter,
            "logprobs",
        ),
        (json!({ "n": 2 }), UnsupportedParameter, "n"),
        (
            json!({ "modalities": ["text", "audio"] }),
            UnsupportedParameter,
            "modalities",
        ),
        (
            json!({ "functions": [{ "name": "f" }] }),
            UnsupportedParameter,
            "functions",
        ),
        (
            json!({ "messages": [{ "role": "user", "content": [{ "type": "input_audio", "input_audio": { "data": "AAAA", "format": "wav" } }] }] }),
            UnsupportedParameter,
            "messages",
        ),
        (
            json!({ "messages": [{ "role": "user", "content": [{ "type": "file", "file": { "file_data": "data:application/zip;base64,AAAA" } }] }] }),
            UnsupportedValue,
            "messages",
        ),
    ] {
        assert_eq!(
            refused(NEW, members.clone()),
            (kind, param.to_owned()),
            "{members}"
        );
    }
}

#[test]
fn documents_marks_and_blanks() {
    let (body, dropped) = sent(
        NEW,
        json!({ "stop": ["END", " \n"], "user": "u", "sparkle": 1, "service_tier": "default", "messages": [
            { "role": "system", "content": [{ "type": "text", "text": "s", "cache_control": { "type": "ephemeral", "ttl": "1h" } }] },
            { "role": "user", "content": [
                { "type": "text", "text": "" },
                { "type": "file", "file": { "file_data": "data:application/pdf;base64,AAAA", "filename": "a.pdf" } },
                { "type": "file", "file": { "file_data": "data:text/csv;base64,YSxi" }, "prompt_cache_breakpoint": true }] },
            { "role": "assistant", "content": "So \n" }] }),
    );
    assert_eq!(
        body["system"],
        json!([{ "type": "text", "text": "s", "cache_control": { "type": "ephemeral", "ttl": "1h" } }])
    );
    assert_eq!(
        body["messages"],
        json!([
            { "role": "user", "content": [
                { "type": "document", "source": { "type": "base64", "media_type": "application/pdf", "data": "AAAA" }, "title": "a.pdf" },
                { "type": "document", "source": { "type": "text", "media_type": "text/plain", "data": "a,b" }, "cache_control": { "type": "ephemeral" } }] },
            { "role": "assistant", "content": [{ "type": "text", "text": "So" }] }])
    );
    assert_eq!(
        (&body["stop_sequences"], &body["service_tier"]),
        (&json!(["END"]), &json!("standard_only"))
    );
    assert_eq!(dropped, ["stop", "sparkle"]);
}

#[test]
fn ids_from_elsewhere_and_long_numbers_survive() {
    let call = json!({ "id": "call:1/x", "type": "function", "function": { "name": "f", "arguments": "{\"b\":12345678901234567890,\"a\":1.50}" } });
    let members = json!({ "messages": [
        { "role": "user", "content": "x" }, { "role": "assistant", "tool_calls": [call] },
        { "role": "tool", "tool_call_id": "call:1/x", "content": "1" }] });
    let text = encoded(NEW, members).unwrap().request.into_body();
    let text = std::str::from_utf8(&text).unwrap();
    assert!(
        text.contains(r#""input":{"b":12345678901234567890,"a":1.50}"#),
        "{text}"
    );
    let body: Value = serde_json::from_str(text).unwrap();
    let id = &body["messages"][1]["content"][0]["id"];
    assert_eq!(id, "call-0-renamed");
    assert_eq!(*id, body["messages"][2]["content"][0]["tool_use_id"]);
}

#[test]
fn any_json_is_asked_for_in_words() {
    let (body, _) = sent(NEW, json!({ "response_format": { "type": "json_object" } }));
    let words = body["system"][0]["text"].as_str().unwrap();
    assert!(words.contains("JSON object") && body.get("output_config").is_none());
}
