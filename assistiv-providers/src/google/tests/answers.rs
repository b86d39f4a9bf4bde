//! Answers: what is let through, what is kept, and what is a failure.

use assistiv_core::provider::ProviderErrorKind as Kind;

use super::*;
use crate::vectors::{End, Outcome, replay_every_split};

fn read(stream: bool, body: &[u8]) -> Outcome {
    let model = "gemini-3.8-flash";
    let request = json!({ "model": model, "stream": stream, "messages": [{ "role": "user", "content": "x" }] });
    let request = InferenceRequest::parse(Operation::ChatCompletions, request.to_string().into());
    let (request, target) = (request.unwrap(), target(model));
    replay_every_split(|| Google.decoder(&request, &target), body, End::Neat)
}

fn streamed(pieces: &[Value]) -> Outcome {
    let text: String = pieces
        .iter()
        .map(|piece| format!("data: {piece}\r\n\r\n"))
        .collect();
    read(true, text.as_bytes())
}

fn kind(outcome: &Outcome) -> Option<Kind> {
    outcome.error.as_ref().map(|(kind, _)| *kind)
}

fn piece(parts: Value, reason: Value) -> Value {
    json!({ "candidates": [{ "content": { "parts": parts }, "finishReason": reason }], "responseId": "r" })
}

fn text(text: &str) -> Value {
    piece(json!([{ "text": text }]), Value::Null)
}

fn end(reason: &str) -> Value {
    json!({ "candidates": [{ "finishReason": reason }], "usageMetadata": { "promptTokenCount": 3, "candidatesTokenCount": 2 } })
}

#[test]
fn every_reason_is_understood() {
    let call = piece(json!([{ "functionCall": { "name": "f" } }]), Value::Null);
    for (before, reason, expected) in [
        (Some(text("x")), "STOP", Ok("stop")),
        (None, "STOP", Ok("stop")),
        (Some(call.clone()), "STOP", Ok("tool_calls")),
        (Some(call.clone()), "OTHER", Ok("tool_calls")),
        (Some(call.clone()), "MAX_TOKENS", Ok("length")),
        (Some(text("x")), "CONTINUATION", Ok("length")),
        (Some(text("x")), "IMAGE_SAFETY", Ok("content_filter")),
        (None, "RECITATION", Ok("content_filter")),
        (Some(text("x")), "OTHER", Ok("stop")),
        (Some(text("x")), "NEW_REASON", Ok("stop")),
        (None, "OTHER", Err(Kind::Malformed)),
        (None, "NO_IMAGE", Err(Kind::Malformed)),
        (
            Some(text("x")),
            "MALFORMED_FUNCTION_CALL",
            Err(Kind::Malformed),
        ),
        (Some(call), "TOO_MANY_TOOL_CALLS", Err(Kind::Malformed)),
    ] {
        let pieces: Vec<Value> = before.into_iter().chain([end(reason)]).collect();
        let outcome = streamed(&pieces);
        match expected {
            Ok(word) => {
                let finish = format!(r#""finish_reason":"{word}""#);
                assert!(
                    outcome.text().contains(&finish),
                    "{reason} {}",
                    outcome.text()
                );
                assert!(outcome.complete && outcome.text().ends_with("[DONE]\n\n"));
            }
            Err(expected) => assert_eq!(kind(&outcome), Some(expected), "{reason}"),
        }
        assert_eq!(outcome.usage.unwrap().total(), 5, "{reason}");
    }
}

#[test]
fn a_blocked_prompt_ends_a_stream_too() {
    let blocked = json!({ "promptFeedback": { "blockReason": "SAFETY" }, "usageMetadata": { "promptTokenCount": 9 } });
    let outcome = streamed(&[blocked]);
    assert!(outcome.text().contains("content_filter"));
    assert_eq!(outcome.usage.unwrap().total(), 9);
    // Ratings of a prompt that was let through are no block.
    let rated = json!({ "promptFeedback": { "safetyRatings": [] } });
    assert_eq!(kind(&streamed(&[rated])), Some(Kind::Interrupted));
}

#[test]
fn input_is_known_from_the_start_and_output_may_not_be() {
    let mut first = text("Half");
    first["usageMetadata"] = json!({ "promptTokenCount": 31, "totalTokenCount": 31 });
    let outcome = streamed(&[first]);
    assert_eq!(kind(&outcome), Some(Kind::Interrupted));
    assert_eq!((outcome.usage, outcome.content_bytes), (None, 4));
    assert_eq!(outcome.input.unwrap().input, 31);
}

#[test]
fn usage_may_follow_the_end() {
    let late = json!({ "usageMetadata": { "promptTokenCount": 3, "candidatesTokenCount": 7, "serviceTier": "priority" } });
    let more = text("never");
    let outcome = streamed(&[text("x"), end("STOP"), late, more]);
    assert_eq!(outcome.usage.unwrap().total(), 10);
    assert_eq!(outcome.tier.as_deref(), Some("priority"));
    assert!(!outcome.text().contains("never"));
}

#[test]
fn nothing_that_follows_spoils_a_complete_answer() {
    let expected = streamed(&[text("x"), end("STOP")]);
    assert!(expected.complete && expected.error.is_none());
    let error = json!({ "error": { "code": 500, "status": "INTERNAL", "message": "m" } });
    assert_eq!(streamed(&[text("x"), end("STOP"), error.clone()]), expected);
    assert_eq!(
        streamed(&[text("x"), end("STOP"), error, text("y")]),
        expected
    );
}

#[test]
fn parts_and_candidates_of_other_kinds_are_passed_over() {
    let odd = json!({ "candidates": [
        { "index": 1, "content": { "parts": [{ "text": "other" }] } },
        { "index": 0, "content": { "parts": [
            { "executableCode": { "code": "x" } }, { "newThing": { "a": [1] } }, { "text": "gr\u{fc}n" },
        ] }, "newMember": {} },
    ], "createTime": "t" });
    let outcome = streamed(&[odd, json!({}), end("STOP")]);
    assert!(outcome.text().contains("gr\u{fc}n") && !outcome.text().contains("other"));
    assert!(outcome.complete);
}

#[test]
fn arguments_lose_their_space_and_nothing_else() {
    let body = "{\n \"candidates\": [ { \"content\": { \"parts\": [ { \"functionCall\": { \"name\": \"f\", \"args\": {\n  \"b\": 1.50,\n  \"a\": 12345678901234567890123\n } } }, { \"functionCall\": { \"name\": \"g\" } } ] }, \"finishReason\": \"STOP\" } ] }";
    let shown = read(false, body.as_bytes()).text();
    let arguments = r#""arguments":"{\"b\":1.50,\"a\":12345678901234567890123}""#;
    assert!(shown.contains(arguments), "{shown}");
    assert!(shown.contains(r#""arguments":"{}""#), "{shown}");
}

#[test]
fn bodies_that_are_no_answer() {
    let error = r#"{"error":{"code":503,"message":"Overloaded","status":"UNAVAILABLE"}}"#;
    let array = format!("[{error}]");
    for (stream, body, expected) in [
        (true, "", Kind::Interrupted),
        (true, "<html>", Kind::Malformed),
        (true, error, Kind::Overloaded),
        (true, &array, Kind::Overloaded),
        (true, "data: nonsense\n\n", Kind::Malformed),
        (true, "data: {\"candidates\":3}\n\n", Kind::Malformed),
        (false, "", Kind::Malformed),
        (false, "[]", Kind::Malformed),
        (false, "{}", Kind::Malformed),
        (false, &array, Kind::Overloaded),
        (false, error, Kind::Overloaded),
        (false, "nonsense", Kind::Malformed),
        (false, r#"{"candidates":[{"content":{}}]}"#, Kind::Malformed),
    ] {
        let outcome = read(stream, body.as_bytes());
        assert_eq!(kind(&outcome), Some(expected), "{body}");
        assert!(outcome.pieces.is_empty(), "{body}");
    }
}
