//! Callers of Anthropic's dialect on a server of OpenAI's format that has no other API.

use assistiv_core::provider::ProviderErrorKind as Kind;

use super::*;

const ACME: &str = r#"{
    "providers": [{ "slug": "acme", "name": "Acme", "base_url": "https://api.acme.example/v1" }],
    "models": [{ "slug": "acme-1", "released": "2026-01-01T00:00:00Z", "max_output_tokens": 4096, "routes": [
        { "provider": "acme", "provider_model_id": "acme-large", "prices": [
            { "effective_from": "2026-01-01T00:00:00Z", "rates": { "input": "1", "output": "2" } }] }] }]
}"#;

fn acme() -> (OpenAiCompatible, Target) {
    let adapter = OpenAiCompatible::compatible("acme");
    let registered = Registered {
        provider: Arc::new(adapter.clone()),
        transport: Arc::new(Nowhere),
        needs_credential: false,
    };
    let catalogue = Catalogue::built_in().unwrap().extended(ACME).unwrap();
    let at = "2026-11-23T12:00:00Z".parse().unwrap();
    let target = Target::for_testing(&catalogue, "acme-1", registered, at).unwrap();
    (adapter, target)
}

fn ask(body: &Value) -> InferenceRequest {
    InferenceRequest::parse(Operation::Messages, body.to_string().into()).unwrap()
}

#[test]
fn an_agents_request_becomes_a_chat_completion() {
    let (adapter, target) = acme();
    let request = ask(&json!({
        "model": "acme-1", "max_tokens": 32_000, "stream": true, "temperature": 0.5, "top_k": 3,
        "thinking": { "type": "enabled", "budget_tokens": 2000 }, "stop_sequences": ["END"],
        "system": [{ "type": "text", "text": "a" }, { "type": "text", "text": "b" }],
        "tools": [{ "name": "f", "description": "d", "input_schema": { "type": "object" } }],
        "tool_choice": { "type": "tool", "name": "f", "disable_parallel_tool_use": true },
        "messages": [
            { "role": "user", "content": "look" },
            { "role": "assistant", "content": [
                { "type": "thinking", "thinking": "hm", "signature": "s" },
                { "type": "text", "text": "so" },
                { "type": "tool_use", "id": "t", "name": "f", "input": { "a": 1 } }] },
            { "role": "user", "content": [
                { "type": "tool_result", "tool_use_id": "t", "is_error": true, "content": [
                    { "type": "text", "text": "bad" },
                    { "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": "AAAA" } }] },
                { "type": "text", "text": "go on" }] },
        ],
    }));
    assert!(adapter.is_rewritten(&request, &target));
    let encoded = adapter.encode(&request, &target).unwrap();
    assert_eq!(encoded.request.uri().path(), "/v1/chat/completions");
    let body: Value = serde_json::from_slice(encoded.request.body()).unwrap();
    let call = json!({ "id": "t", "type": "function", "function": { "name": "f", "arguments": "{\"a\":1}" } });
    assert_eq!(
        body,
        json!({
            "model": "acme-large", "max_tokens": 4096, "stream": true, "stream_options": { "include_usage": true },
            "temperature": 0.5, "stop": ["END"],
            "tools": [{ "type": "function", "function": { "name": "f", "description": "d", "parameters": { "type": "object" } } }],
            "tool_choice": { "type": "function", "function": { "name": "f" } }, "parallel_tool_calls": false,
            "messages": [
                { "role": "system", "content": "a\n\nb" },
                { "role": "user", "content": "look" },
                { "role": "assistant", "content": "so", "tool_calls": [call] },
                { "role": "tool", "tool_call_id": "t", "content": "Error: bad\n(The rest of this result follows in the next message of the user.)" },
                { "role": "user", "content": [
                    { "type": "text", "text": "From the result of the tool call t:" },
                    { "type": "image_url", "image_url": { "url": "data:image/png;base64,AAAA" } },
                    { "type": "text", "text": "go on" }] },
            ],
        })
    );
    let dropped: Vec<_> = encoded.dropped.names().collect();
    assert_eq!(dropped, ["top_k", "reasoning_effort"]);
}

fn read(stream: bool, body: &str) -> Outcome {
    let (adapter, target) = acme();
    let request = ask(&json!({
        "model": "acme-1", "max_tokens": 9, "stream": stream, "messages": [{ "role": "user", "content": "x" }],
    }));
    replay_every_split(
        || adapter.decoder(&request, &target),
        body.as_bytes(),
        End::Neat,
    )
}

fn chunks(chunks: &[Value]) -> String {
    chunks.iter().map(|it| format!("data: {it}\n\n")).collect()
}

fn delta(delta: &Value, finish: Option<&str>) -> Value {
    json!({ "id": "c", "model": "real", "choices": [{ "index": 0, "delta": delta, "finish_reason": finish }] })
}

#[test]
fn a_stream_with_parallel_calls_becomes_blocks() {
    let call = |index: u32, id: Option<&str>, name: Option<&str>, arguments: &str| json!({ "tool_calls": [{ "index": index, "id": id, "function": { "name": name, "arguments": arguments } }] });
    let usage = json!({ "choices": [], "usage": { "prompt_tokens": 10, "completion_tokens": 6,
        "prompt_tokens_details": { "cached_tokens": 4 } } });
    let body = chunks(&[
        delta(&json!({ "role": "assistant", "content": "" }), None),
        delta(&json!({ "reasoning_content": "hm" }), None),
        delta(&json!({ "content": "so" }), None),
        delta(&call(0, Some("a"), Some("f"), ""), None),
        delta(&call(0, None, None, "{\"x\":1}"), None),
        delta(&call(1, Some("b"), Some("g"), ""), None),
        delta(&json!({}), Some("tool_calls")),
        usage,
    ]) + "data: [DONE]\n\n";
    let outcome = read(true, &body);
    assert!(outcome.complete && outcome.error.is_none(), "{outcome:?}");
    let usage = outcome.usage.unwrap();
    assert_eq!((usage.input, usage.cached_input, usage.output), (6, 4, 6));
    let text = outcome.text();
    let events: Vec<Value> = text
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .map(|data| serde_json::from_str(data).unwrap())
        .collect();
    let kinds: Vec<_> = events
        .iter()
        .map(|it| {
            let kind = it["type"].as_str().unwrap().replace("content_block_", "");
            format!(
                "{kind} {}",
                it["delta"]["type"].as_str().unwrap_or_default()
            )
        })
        .collect();
    let kinds: Vec<_> = kinds.iter().map(|kind| kind.trim()).collect();
    assert_eq!(
        kinds,
        [
            "message_start",
            "start",
            "delta thinking_delta",
            "delta signature_delta",
            "stop",
            "start",
            "delta text_delta",
            "stop",
            "start",
            "delta input_json_delta",
            "stop",
            "start",
            "delta input_json_delta",
            "stop",
            "message_delta",
            "message_stop",
        ]
    );
    let [.., end, _] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(end["delta"]["stop_reason"], "tool_use");
    assert_eq!(
        end["usage"],
        json!({ "input_tokens": 6, "cache_read_input_tokens": 4, "cache_creation_input_tokens": 0, "output_tokens": 6 })
    );
    let opened: Vec<_> = events
        .iter()
        .filter(|it| it["type"] == "content_block_start")
        .map(|it| {
            (
                it["index"].as_u64().unwrap(),
                it["content_block"]["id"].as_str(),
            )
        })
        .collect();
    assert_eq!(
        opened,
        [(0, None), (1, None), (2, Some("a")), (3, Some("b"))]
    );
}

#[test]
fn an_answer_in_one_piece_becomes_a_message() {
    let body = json!({
        "id": "c", "model": "real",
        "choices": [{ "index": 0, "finish_reason": "stop", "message": { "role": "assistant", "content": "Hello",
            "tool_calls": [{ "id": "a", "type": "function", "function": { "name": "f", "arguments": "{\"x\": 1e0}" } }] } }],
        "usage": { "prompt_tokens": 3, "completion_tokens": 2 },
    });
    let outcome = read(false, &body.to_string());
    assert!(outcome.complete && outcome.error.is_none(), "{outcome:?}");
    let message: Value = serde_json::from_str(&outcome.text()).unwrap();
    assert_eq!(message["model"], "acme-1");
    assert_eq!(
        message["content"],
        json!([{ "type": "text", "text": "Hello" }, { "type": "tool_use", "id": "a", "name": "f", "input": { "x": 1e0 } }])
    );
    assert_eq!(message["stop_reason"], "tool_use");
    assert!(outcome.text().contains(r#""input":{"x": 1e0}"#));
}

#[test]
fn a_cut_never_looks_like_an_end() {
    let kind = |outcome: &Outcome| outcome.error.as_ref().map(|(kind, _)| *kind);
    let half = chunks(&[delta(&json!({ "content": "so" }), None)]);
    let cut = read(true, &half);
    assert_eq!(kind(&cut), Some(Kind::Interrupted));
    assert!(!cut.text().contains("message_delta"));
    let done = half.clone() + "data: [DONE]\n\n";
    assert_eq!(kind(&read(true, &done)), Some(Kind::Interrupted));
    let error =
        half + "data: {\"error\":{\"message\":\"m\",\"code\":\"server_is_overloaded\"}}\n\n";
    assert_eq!(kind(&read(true, &error)), Some(Kind::Overloaded));
    assert_eq!(
        kind(&read(false, r#"{"choices":[]}"#)),
        Some(Kind::Malformed)
    );
    assert_eq!(kind(&read(false, "<html>")), Some(Kind::Malformed));
}
