//! Chat completions that take the way of the Responses API.

use std::collections::HashMap;

use assistiv_core::conversation::Recalled;
use assistiv_core::provider::{Output, ProviderErrorKind as Kind};

use super::*;

const MODEL: &str = "gpt-6.1-sol";

fn asked(members: Value) -> InferenceRequest {
    let mut body = json!({ "model": MODEL, "messages": [{ "role": "user", "content": "x" }] });
    let members = members.as_object().unwrap().clone();
    body.as_object_mut().unwrap().extend(members);
    request(&body)
}

fn tools() -> Value {
    json!([{ "type": "function", "function": { "name": "f" } }])
}

fn sent_by(
    adapter: &OpenAiCompatible,
    model: &str,
    request: &InferenceRequest,
) -> (String, Value, Vec<String>) {
    let encoded = adapter.encode(request, &target(adapter, model)).unwrap();
    let dropped = encoded.dropped.names().map(str::to_owned).collect();
    let body = serde_json::from_slice(encoded.request.body()).unwrap();
    (encoded.request.uri().path().to_owned(), body, dropped)
}

fn sent(request: &InferenceRequest) -> (Value, Vec<String>) {
    let (path, body, dropped) = sent_by(&OpenAiCompatible::openai(), MODEL, request);
    assert_eq!(path, "/v1/responses");
    (body, dropped)
}

#[test]
fn the_way_depends_on_model_and_request() {
    let openai = OpenAiCompatible::openai();
    for (model, members, path) in [
        (MODEL, json!({}), "/v1/chat/completions"),
        (MODEL, json!({ "tools": [] }), "/v1/chat/completions"),
        (MODEL, json!({ "tools": tools() }), "/v1/responses"),
        (MODEL, json!({ "reasoning_effort": "max" }), "/v1/responses"),
        ("gpt-5.5", json!({ "tools": tools() }), "/v1/responses"),
        (
            "gpt-5.2",
            json!({ "tools": tools() }),
            "/v1/chat/completions",
        ),
        (
            "gpt-4o",
            json!({ "tools": tools() }),
            "/v1/chat/completions",
        ),
        ("o3-pro", json!({}), "/v1/responses"),
        ("gpt-5.3-codex", json!({}), "/v1/responses"),
    ] {
        assert_eq!(sent_by(&openai, model, &asked(members)).0, path, "{model}");
    }
    let xai = OpenAiCompatible::xai();
    let grok = "grok-4.20-multi-agent-0309";
    let (path, body, _) = sent_by(
        &xai,
        grok,
        &asked(json!({ "messages": [
        { "role": "developer", "content": "Be brief." }, { "role": "user", "content": "x" },
    ] })),
    );
    assert_eq!(path, "/v1/responses");
    assert_eq!(body["input"][0]["role"], "system");
}

#[test]
fn a_request_is_written_in_items() {
    let (body, dropped) = sent(&asked(json!({
        "tools": [{ "type": "function", "function": { "name": "f", "strict": true, "parameters": { "type": "object" } } }, tools()[0]],
        "tool_choice": { "type": "allowed_tools", "allowed_tools": { "mode": "required", "tools": [{ "type": "function", "function": { "name": "f" } }] } },
        "parallel_tool_calls": false, "max_tokens": 99, "reasoning_effort": "low", "verbosity": "low", "user": "u",
        "response_format": { "type": "json_schema", "json_schema": { "name": "r", "strict": true, "schema": { "type": "object" } } },
        "messages": [
            { "role": "system", "content": "Be exact." },
            { "role": "user", "content": [
                { "type": "text", "text": "See" },
                { "type": "image_url", "image_url": { "url": "https://example.com/a.png", "detail": "low" } },
                { "type": "file", "file": { "filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA" } },
                { "type": "input_audio", "input_audio": { "data": "AAAA", "format": "wav" } },
            ] },
            { "role": "assistant", "content": "Hm.", "tool_calls": [{ "id": "c", "type": "function", "function": { "name": "f", "arguments": "" } }] },
            { "role": "tool", "tool_call_id": "c", "content": [{ "type": "text", "text": "1" }, { "type": "text", "text": "8" }] },
            { "role": "assistant", "content": "", "refusal": "No." },
            { "role": "user", "content": "go" },
        ],
    })));
    let function = |strict: bool, parameters: Value| json!({ "type": "function", "name": "f", "strict": strict, "parameters": parameters });
    let message =
        |role: &str, content: Value| json!({ "type": "message", "role": role, "content": content });
    let expected = json!({
        "model": MODEL, "store": false, "include": ["reasoning.encrypted_content"], "max_output_tokens": 99,
        "reasoning": { "effort": "low" }, "user": "u", "parallel_tool_calls": false,
        "tools": [function(true, json!({ "type": "object" })), function(false, json!({ "type": "object", "properties": {} }))],
        "tool_choice": { "type": "allowed_tools", "mode": "required", "tools": [{ "type": "function", "name": "f" }] },
        "text": { "format": { "type": "json_schema", "name": "r", "strict": true, "schema": { "type": "object" } }, "verbosity": "low" },
        "input": [
            message("developer", json!([{ "type": "input_text", "text": "Be exact." }])),
            message("user", json!([
                { "type": "input_text", "text": "See" },
                { "type": "input_image", "image_url": "https://example.com/a.png", "detail": "low" },
                { "type": "input_file", "file_data": "data:application/pdf;base64,AAAA", "filename": "a.pdf" },
                { "type": "input_audio", "input_audio": { "data": "AAAA", "format": "wav" } },
            ])),
            message("assistant", json!([{ "type": "output_text", "text": "Hm." }])),
            { "type": "function_call", "call_id": "c", "name": "f", "arguments": "{}" },
            { "type": "function_call_output", "call_id": "c", "output": "18" },
            message("assistant", json!([{ "type": "refusal", "refusal": "No." }])),
            message("user", json!([{ "type": "input_text", "text": "go" }])),
        ],
    });
    assert_eq!(body, expected);
    assert!(dropped.is_empty(), "{dropped:?}");
}

#[test]
fn what_has_no_counterpart_is_named_or_refused() {
    let (body, dropped) = sent(&asked(json!({
        "tools": tools(), "store": true, "stop": ["x"], "seed": 1, "logit_bias": {}, "temperature": 0.5, "top_p": 1,
        "presence_penalty": 1, "sparkle": 1, "metadata": { "a": "b" },
    })));
    assert_eq!(
        (&body["store"], &body["metadata"]["a"]),
        (&json!(true), &json!("b"))
    );
    assert!(body.get("temperature").is_none() && body.get("top_p").is_none());
    assert_eq!(
        dropped,
        [
            "temperature",
            "presence_penalty",
            "seed",
            "stop",
            "logit_bias",
            "sparkle"
        ]
    );
    let openai = OpenAiCompatible::openai();
    for (members, kind, param) in [
        (json!({ "n": 2 }), Kind::UnsupportedParameter, "n"),
        (
            json!({ "logprobs": true }),
            Kind::UnsupportedParameter,
            "logprobs",
        ),
        (
            json!({ "max_completion_tokens": 15 }),
            Kind::Invalid,
            "max_completion_tokens",
        ),
    ] {
        let mut all = json!({ "tools": tools() });
        let members = members.as_object().unwrap().clone();
        all.as_object_mut().unwrap().extend(members);
        let error = openai
            .encode(&asked(all), &target(&openai, MODEL))
            .unwrap_err();
        assert_eq!((error.kind(), error.param()), (kind, Some(param)));
    }
}

fn streamed(events: &[Value]) -> Outcome {
    let text: String = events
        .iter()
        .map(|event| format!("event: x\ndata: {event}\n\n"))
        .collect();
    read(true, text.as_bytes())
}

fn read(stream: bool, body: &[u8]) -> Outcome {
    let openai = OpenAiCompatible::openai();
    let target = target(&openai, MODEL);
    let request = asked(json!({ "tools": tools(), "stream": stream }));
    replay_every_split(|| openai.decoder(&request, &target), body, End::Neat)
}

fn kind(outcome: &Outcome) -> Option<Kind> {
    outcome.error.as_ref().map(|(kind, _)| *kind)
}

fn end(status: &str, more: Value) -> Value {
    let mut response = json!({ "id": "resp_1", "status": status, "usage": { "input_tokens": 3, "output_tokens": 2 } });
    let more = more.as_object().unwrap().clone();
    response.as_object_mut().unwrap().extend(more);
    json!({ "type": format!("response.{status}"), "response": response })
}

fn text(text: &str) -> Value {
    json!({ "type": "response.output_text.delta", "delta": text })
}

#[test]
fn every_end_is_understood() {
    let incomplete = |reason: &str| {
        end(
            "incomplete",
            json!({ "incomplete_details": { "reason": reason } }),
        )
    };
    for (last, word) in [
        (end("completed", json!({})), "stop"),
        (incomplete("max_output_tokens"), "length"),
        (incomplete("content_filter"), "content_filter"),
    ] {
        let outcome = streamed(&[text("x"), last]);
        let finish = format!(r#""finish_reason":"{word}""#);
        assert!(outcome.text().contains(&finish), "{}", outcome.text());
        assert!(outcome.complete && outcome.text().ends_with("[DONE]\n\n"));
        assert_eq!(outcome.usage.unwrap().total(), 5);
    }
    let failed = |code: &str| {
        end(
            "failed",
            json!({ "error": { "code": code, "message": "m" } }),
        )
    };
    let error =
        json!({ "type": "error", "code": "rate_limit_exceeded", "message": "m", "param": null });
    for (last, expected) in [
        (failed("server_error"), Kind::Failed),
        (failed("rate_limit_exceeded"), Kind::RateLimited),
        (failed("invalid_prompt"), Kind::BadRequest),
        (error, Kind::RateLimited),
        (
            json!({ "error": { "code": "server_is_overloaded", "message": "m" } }),
            Kind::Overloaded,
        ),
        (
            json!({ "type": "new.event", "delta": { "a": 1 } }),
            Kind::Interrupted,
        ),
        (json!({ "type": "response.completed" }), Kind::Malformed),
    ] {
        let outcome = streamed(&[text("x"), last]);
        assert_eq!(kind(&outcome), Some(expected), "{}", outcome.text());
        assert!(!outcome.complete);
    }
    let done = [text("x"), end("completed", json!({}))];
    let after = [
        &done[..],
        &[json!({ "type": "error", "code": "server_error" })],
    ]
    .concat();
    assert_eq!(streamed(&after), streamed(&done));
}

#[test]
fn pieces_of_calls_may_be_mixed() {
    let call = |index: u64| json!({ "type": "function_call", "call_id": format!("c{index}"), "name": "f", "arguments": "" });
    let added = |index: u64| json!({ "type": "response.output_item.added", "output_index": index, "item": call(index) });
    let piece = |index: u64, text: &str| json!({ "type": "response.function_call_arguments.delta", "output_index": index, "delta": text });
    let done = |index: u64, arguments: &str| {
        let mut call = call(index);
        call["arguments"] = arguments.into();
        json!({ "type": "response.output_item.done", "output_index": index, "item": call })
    };
    let outcome = streamed(&[
        added(1),
        piece(1, "{\"a\""),
        added(2),
        piece(2, "{\"b\""),
        piece(1, ":1}"),
        piece(2, ":2}"),
        done(1, "{\"a\":1}"),
        done(2, "{\"b\":2}"),
        done(3, "{\"c\":3}"),
        end("completed", json!({})),
    ]);
    let shown = vectors::assemble("mixed", MODEL, &outcome);
    let calls = shown["message"]["tool_calls"].as_array().unwrap();
    let told: Vec<_> = calls
        .iter()
        .map(|call| {
            (
                call["id"].as_str().unwrap(),
                call["function"]["arguments"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("c1", "{\"a\":1}"),
            ("c2", "{\"b\":2}"),
            ("c3", "{\"c\":3}")
        ]
    );
    assert_eq!(shown["finish_reason"], "tool_calls");
}

#[test]
fn thoughts_are_shown_and_come_back() {
    let thought = json!({ "id": "rs_1", "type": "reasoning", "summary": [{ "type": "summary_text", "text": "One." }, { "type": "summary_text", "text": "Two." }], "encrypted_content": "opaque" });
    let bare = json!({ "id": "rs_0", "type": "reasoning", "summary": [] });
    let call = json!({ "type": "function_call", "call_id": "c", "name": "f", "arguments": "{}" });
    let message = json!({ "type": "message", "content": [{ "type": "output_text", "text": "Hi" }, { "type": "new" }, { "type": "refusal", "refusal": "no" }] });
    let answer = json!({ "id": "resp_1", "status": "completed", "output": [bare, thought, { "type": "web_search_call" }, message, call] });
    let outcome = read(false, answer.to_string().as_bytes());
    let shown: Value = serde_json::from_str(&outcome.text()).unwrap();
    let shown = &shown["choices"][0]["message"];
    assert_eq!(shown["reasoning_content"], "One.\n\nTwo.");
    assert_eq!(
        (&shown["content"], &shown["refusal"]),
        (&json!("Hi"), &json!("no"))
    );

    let openai = OpenAiCompatible::openai();
    let mut decoder = openai.decoder(&asked(json!({ "tools": tools() })), &target(&openai, MODEL));
    let mut out = Output::new();
    decoder.push(answer.to_string().into(), &mut out).unwrap();
    decoder.finish(&mut out).unwrap();
    let memories = out.take_memories().into_iter();
    let memories: HashMap<_, _> = memories.map(|(id, it)| (id, it.into())).collect();
    let mut again = asked(json!({ "tools": tools(), "messages": [
        { "role": "user", "content": "x" },
        { "role": "assistant", "tool_calls": [{ "id": "c", "type": "function", "function": { "name": "f", "arguments": "{}" } }] },
        { "role": "tool", "tool_call_id": "c", "content": "18" },
    ] }));
    again.recall(Recalled(memories));
    let (body, _) = sent(&again);
    assert_eq!(body["input"][1], thought);
    assert_eq!(body["input"][2]["type"], "function_call");
    let (_, other, _) = sent_by(&openai, "gpt-6-sol", &again);
    assert_eq!(other["input"][1]["type"], "function_call");
}

#[test]
fn bodies_that_are_no_answer() {
    let error = r#"{"error":{"message":"m","type":"service_unavailable_error","code":"server_is_overloaded"}}"#;
    for (stream, body, expected) in [
        (true, "", Kind::Interrupted),
        (true, "<html>", Kind::Malformed),
        (true, error, Kind::Overloaded),
        (true, "data: nonsense\n\n", Kind::Malformed),
        (false, "", Kind::Malformed),
        (false, "{}", Kind::Malformed),
        (false, error, Kind::Overloaded),
        (
            false,
            r#"{"status":"in_progress","output":[]}"#,
            Kind::Malformed,
        ),
        (
            false,
            r#"{"status":"failed","error":{"code":"server_error","message":"m"}}"#,
            Kind::Failed,
        ),
    ] {
        let outcome = read(stream, body.as_bytes());
        assert_eq!(kind(&outcome), Some(expected), "{body}");
        assert!(outcome.pieces.is_empty(), "{body}");
    }
}
