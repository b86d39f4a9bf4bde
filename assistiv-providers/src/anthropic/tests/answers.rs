//! Answers: what is let through, what is kept, and what is a failure.

use std::collections::HashMap;

use assistiv_core::conversation::Recalled;
use assistiv_core::provider::{Output, ProviderErrorKind as Kind};

use super::*;
use crate::vectors::{End, Outcome, replay, replay_every_split};

fn request(stream: bool) -> InferenceRequest {
    let body = json!({ "model": "claude-sonnet-5-5", "stream": stream, "messages": [{ "role": "user", "content": "x" }] });
    InferenceRequest::parse(Operation::ChatCompletions, body.to_string().into()).unwrap()
}

fn streamed(events: &[Value]) -> Outcome {
    let text: String = events
        .iter()
        .map(|event| format!("data: {event}\n\n"))
        .collect();
    read(true, text.as_bytes())
}

fn read(stream: bool, body: &[u8]) -> Outcome {
    let (request, target) = (request(stream), target("claude-sonnet-5-5"));
    replay_every_split(|| Anthropic.decoder(&request, &target), body, End::Neat)
}

fn kind(outcome: &Outcome) -> Option<Kind> {
    outcome.error.as_ref().map(|(kind, _)| *kind)
}

fn start() -> Value {
    json!({ "type": "message_start", "message": { "id": "msg_1", "model": "claude-sonnet-5-5", "usage": { "input_tokens": 31, "output_tokens": 1 } } })
}

fn text(text: &str) -> [Value; 3] {
    [
        json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "text", "text": "" } }),
        json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "text_delta", "text": text } }),
        json!({ "type": "content_block_stop", "index": 0 }),
    ]
}

fn end(reason: &str) -> Value {
    json!({ "type": "message_delta", "delta": { "stop_reason": reason }, "usage": { "output_tokens": 9 } })
}

fn stop() -> Value {
    json!({ "type": "message_stop" })
}

#[test]
fn input_is_known_from_the_start_and_output_is_not() {
    let mut events = vec![start()];
    events.extend(text("Half"));
    let outcome = streamed(&events);
    assert_eq!(kind(&outcome), Some(Kind::Interrupted));
    assert_eq!((outcome.usage, outcome.content_bytes), (None, 4));
    assert_eq!(outcome.input.unwrap().input, 31);
}

#[test]
fn an_error_before_anything_else_leaves_nothing_behind() {
    let error = json!({ "type": "error", "error": { "type": "overloaded_error", "message": "Overloaded" } });
    let outcome = streamed(&[start(), error]);
    assert_eq!(kind(&outcome), Some(Kind::Overloaded));
    assert!(outcome.pieces.is_empty() && !outcome.complete);
}

#[test]
fn nothing_that_follows_spoils_a_complete_answer() {
    let mut events = vec![start()];
    events.extend(text("x"));
    events.push(end("end_turn"));
    let complete: Vec<Value> = [events.clone(), vec![stop()]].concat();
    let expected = streamed(&complete);
    assert!(expected.complete && expected.error.is_none());
    let error = json!({ "type": "error", "error": { "type": "api_error", "message": "m" } });
    // Without its last event, with an error in its place, with one after it.
    assert_eq!(streamed(&events), expected);
    assert_eq!(streamed(&[events, vec![error.clone()]].concat()), expected);
    assert_eq!(streamed(&[complete, vec![error]].concat()), expected);
}

#[test]
fn a_refusal_before_the_first_word_costs_nothing() {
    let outcome = streamed(&[start(), end("refusal"), stop()]);
    assert_eq!(outcome.usage, Some(Usage::default()));
    assert!(outcome.text().contains("content_filter"));
    let mut events = vec![start()];
    events.extend(text("Well"));
    events.extend([end("refusal"), stop()]);
    assert_eq!(streamed(&events).usage.unwrap().total(), 40);
}

#[test]
fn arguments_may_come_with_the_beginning() {
    let outcome = streamed(&[
        start(),
        json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "tool_use", "id": "a", "name": "f", "input": { "x": 1 } } }),
        json!({ "type": "content_block_stop", "index": 0 }),
        json!({ "type": "content_block_start", "index": 1, "content_block": { "type": "server_tool_use", "id": "b", "name": "web_search" } }),
        json!({ "type": "content_block_delta", "index": 1, "delta": { "type": "input_json_delta", "partial_json": "{\"q\":1}" } }),
        end("tool_use"),
        stop(),
    ]);
    assert!(outcome.text().contains(r#""arguments":"{\"x\":1}""#));
    assert!(!outcome.text().contains("web_search") && !outcome.text().contains(r#"\"q\""#));
}

#[test]
fn bodies_that_are_no_answer() {
    let error = r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;
    for (stream, body, expected) in [
        (true, "", Kind::Interrupted),
        (true, "<html>", Kind::Malformed),
        (true, error, Kind::Overloaded),
        (true, "data: nonsense\n\n", Kind::Malformed),
        (
            true,
            "data: {\"type\":\"message_stop\"}\n\n",
            Kind::Interrupted,
        ),
        (false, "", Kind::Malformed),
        (false, "<html>", Kind::Malformed),
        (false, error, Kind::Overloaded),
        (false, r#"{"type":"message","content":[]}"#, Kind::Malformed),
        (
            false,
            r#"{"type":"message","content":[{}],"stop_reason":"end_turn"}"#,
            Kind::Malformed,
        ),
    ] {
        let outcome = read(stream, body.as_bytes());
        assert_eq!(kind(&outcome), Some(expected), "{body}");
    }
}

#[test]
fn blocks_of_another_kind_are_passed_over() {
    let body = json!({ "type": "message", "content": [
        { "type": "hologram", "shape": { "x": 1 } }, { "type": "text", "text": "a" }, { "type": "text", "text": "b" }],
        "stop_reason": "someday" });
    let outcome = read(false, body.to_string().as_bytes());
    let shown: Value = serde_json::from_str(&outcome.text()).unwrap();
    assert_eq!(shown["choices"][0]["message"]["content"], "ab");
    assert_eq!(shown["choices"][0]["finish_reason"], "stop");
    assert_eq!((outcome.usage, outcome.content_bytes), (None, 2));
}

/// Thoughts of a turn come back with it: unchanged, in their place, to the model that had them.
#[test]
fn thoughts_come_back_with_the_call_that_they_led_to() {
    let thinking = json!({ "type": "thinking", "thinking": "Hm.", "signature": "c2ln" });
    let redacted = json!({ "type": "redacted_thinking", "data": "ZGF0YQ==" });
    let call = |id: &str| json!({ "type": "tool_use", "id": id, "name": "f", "input": {} });
    let body = json!({ "type": "message", "content": [
        thinking, redacted, { "type": "text", "text": "Let me see." }, call("a"), thinking, call("b")],
        "stop_reason": "tool_use", "usage": { "input_tokens": 1, "output_tokens": 1 } });
    let remembered = |model: &str, stream: bool, bytes: &[u8]| {
        let mut out = Output::new();
        let mut decoder = Anthropic.decoder(&request(stream), &target(model));
        decoder
            .push(Bytes::copy_from_slice(bytes), &mut out)
            .unwrap();
        decoder.finish(&mut out).unwrap();
        let all = out.take_memories().into_iter();
        Recalled(
            all.map(|(id, memory)| (id, Arc::new(memory)))
                .collect::<HashMap<_, _>>(),
        )
    };
    let sent = |model: &str, recalled: Recalled| {
        let call = |id: &str| json!({ "id": id, "type": "function", "function": { "name": "f", "arguments": "{}" } });
        let result = |id: &str| json!({ "role": "tool", "tool_call_id": id, "content": "1" });
        let body = json!({ "model": model, "messages": [
            { "role": "user", "content": "x" },
            { "role": "assistant", "content": "Let me see.", "tool_calls": [call("a"), call("b")] },
            result("a"), result("b")] });
        let body = body.to_string().into();
        let mut request = InferenceRequest::parse(Operation::ChatCompletions, body).unwrap();
        request.recall(recalled);
        let encoded = Anthropic.encode(&request, &target(model)).unwrap();
        let body: Value = serde_json::from_slice(encoded.request.body()).unwrap();
        body["messages"][1]["content"].clone()
    };
    let model = "claude-sonnet-5-5";
    let recalled = remembered(model, false, body.to_string().as_bytes());
    assert_eq!(sent(model, recalled.clone()), body["content"]);
    let plain = json!([{ "type": "text", "text": "Let me see." }, call("a"), call("b")]);
    assert_eq!(sent("claude-opus-5-5", recalled), plain);
    assert_eq!(sent(model, Recalled::default()), plain);

    let deltas = [
        json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "thinking", "thinking": "", "signature": "" } }),
        json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "thinking_delta", "thinking": "Hm." } }),
        json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "signature_delta", "signature": "c2ln" } }),
        json!({ "type": "content_block_stop", "index": 0 }),
        json!({ "type": "content_block_start", "index": 1, "content_block": call("a") }),
        json!({ "type": "content_block_stop", "index": 1 }),
        end("tool_use"),
        stop(),
    ];
    let text: String = deltas
        .iter()
        .map(|event| format!("data: {event}\n\n"))
        .collect();
    let recalled = remembered(model, true, text.as_bytes());
    assert_eq!(sent(model, recalled)[0], thinking);
}

#[test]
fn an_answer_has_a_limit() {
    let mut decoder = Anthropic.decoder(&request(false), &target("claude-sonnet-5-5"));
    let mut out = Output::new();
    let chunk = Bytes::from(vec![b' '; 16 << 20]);
    decoder.push(chunk.clone(), &mut out).unwrap();
    decoder.push(chunk.clone(), &mut out).unwrap();
    assert_eq!(
        decoder.push(chunk, &mut out).unwrap_err().kind(),
        Kind::Failed
    );
    let long = vec![b'x'; (1 << 20) + 1];
    let decoder = Anthropic.decoder(&request(true), &target("claude-sonnet-5-5"));
    let outcome = replay(decoder, &[b"data: ", &long[..]], End::Neat);
    assert_eq!(kind(&outcome), Some(Kind::Malformed));
}
