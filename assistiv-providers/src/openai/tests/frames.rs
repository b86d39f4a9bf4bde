//! Answers: what is let through, and what is a failure.

use assistiv_core::billing::Usage;
use assistiv_core::provider::{Piece, ProviderErrorKind as Kind};

use super::*;
use crate::vectors::{assemble, replay};

fn streamed(more: Value) -> InferenceRequest {
    let mut body =
        json!({ "model": "m", "stream": true, "messages": [{ "role": "user", "content": "x" }] });
    body.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    request(&body)
}

fn whole() -> InferenceRequest {
    request(&json!({ "model": "m", "messages": [{ "role": "user", "content": "x" }] }))
}

fn stream(dialect: &Dialect, request: &InferenceRequest, text: &str) -> Outcome {
    replay_every_split(|| decoder(dialect, request), text.as_bytes(), End::Neat)
}

fn kind(outcome: &Outcome) -> Option<Kind> {
    outcome.error.as_ref().map(|(kind, _)| *kind)
}

const TEXT: &str = r#"data: {"id":"a","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"h\u00e9é"}}]}"#;
const STOP: &str = r#"data: {"id":"a","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
const BLANK: &str = r#"data: {"id":"a","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{},"finish_reason":""}]}"#;
const USAGE: &str = r#"data: {"id":"a","object":"chat.completion.chunk","created":1,"model":"m","choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}"#;

#[test]
fn content_waits_for_the_first_gate_and_the_end_for_the_second() {
    let text = format!("{TEXT}\n\n{STOP}\n\n{USAGE}\n\ndata: [DONE]\n\ndata: junk\n\n");
    let outcome = stream(&Dialect::openai(), &streamed(json!({})), &text);
    let [
        Piece::Content(text),
        Piece::Terminal(stop),
        Piece::Terminal(done),
    ] = &outcome.pieces[..]
    else {
        panic!("{outcome:?}")
    };
    let expected = r#"{"id":"a","object":"chat.completion.chunk","created":1,"model":"public-name","choices":[{"index":0,"delta":{"content":"h\u00e9é"}}]}"#;
    assert_eq!(text, format!("data: {expected}\n\n").as_bytes());
    assert!(stop.ends_with(b"\n\n"));
    assert_eq!(done, "data: [DONE]\n\n".as_bytes());
    assert!(outcome.complete && outcome.content_bytes == 5);
    assert_eq!(
        outcome.usage,
        Some(Usage {
            input: 1,
            output: 2,
            ..Usage::default()
        })
    );
}

#[test]
fn a_stream_that_just_ends_was_cut() {
    let openai = Dialect::openai();
    let one = streamed(json!({}));
    let two = streamed(json!({ "n": 2 }));
    for (dialect, request, text) in [
        (&openai, &one, String::new()),
        (&openai, &one, "\n\n".into()),
        (&openai, &one, format!("{TEXT}\n\n")),
        (&openai, &one, format!("{TEXT}\n\ndata: [DONE]\n\n")),
        (&openai, &one, format!("{TEXT}\n\n{USAGE}\n\n")),
        (
            &openai,
            &one,
            format!("{TEXT}\n\n{BLANK}\n\ndata: [DONE]\n\n"),
        ),
        (&openai, &one, format!("{TEXT}\n\n{STOP}\n")),
        (&openai, &two, format!("{STOP}\n\n")),
        (&Dialect::xai(), &one, format!("{TEXT}\n\n{BLANK}\n\n")),
        (
            &Dialect::xai(),
            &one,
            format!("{TEXT}\n\n{USAGE}\n\n{TEXT}\n\n"),
        ),
    ] {
        let outcome = stream(dialect, request, &text);
        assert_eq!(kind(&outcome), Some(Kind::Interrupted), "{text}");
        assert!(!outcome.text().contains("[DONE]") && !outcome.complete);
    }
}

#[test]
fn an_answer_of_fewer_choices_may_still_be_complete() {
    let request = streamed(json!({ "n": 2 }));
    let outcome = stream(
        &Dialect::openai(),
        &request,
        &format!("{TEXT}\n\n{STOP}\n\ndata: [DONE]\n\n"),
    );
    assert_eq!((kind(&outcome), outcome.complete), (None, true));
}

#[test]
fn xai_may_leave_the_reason_out_once_it_has_said_that_it_is_done() {
    let request = streamed(json!({ "stream_options": { "include_usage": true } }));
    for tail in [
        format!("{USAGE}\n\n"),
        format!("{USAGE}\n\ndata: [DONE]\n\n"),
        "data: [DONE]\n\n".into(),
    ] {
        let outcome = stream(
            &Dialect::xai(),
            &request,
            &format!("{TEXT}\n\n{BLANK}\n\n{tail}"),
        );
        assert_eq!((kind(&outcome), outcome.complete), (None, true));
        let shown = assemble("derived", "public-name", &outcome);
        assert_eq!(
            (&shown["finish_reason"], &shown["done_marker"]),
            (&json!("stop"), &json!(true))
        );
        assert_eq!(shown["usage"].is_object(), tail.contains("usage"));
    }
}

#[test]
fn frames_of_another_shape_are_malformed() {
    for text in [
        "data: {\n\n",
        "data: []\n\n",
        "data: 1\n\n",
        "data: hello\n\n",
        "data: {\"choices\":{}}\n\n",
        "data: {\"choices\":[1]}\n\n",
        "data: {\"choices\":[],\"choices\":[]}\n\n",
        "data: {\"choices\":[{\"finish_reason\":7}]}\n\n",
        "data: \u{1}\n\n",
        "<html>busy</html>",
        "[]",
        "{\"object\":\"chat.completion\"}",
    ] {
        let outcome = stream(&Dialect::openai(), &streamed(json!({})), text);
        assert_eq!(kind(&outcome), Some(Kind::Malformed), "{text}");
        assert!(outcome.pieces.is_empty());
    }
}

/// A kind of event that this version does not know is no fault, and no answer either.
#[test]
fn frames_that_say_nothing_are_passed_over() {
    for text in [
        "data: {}\n\n",
        "data: {\"choices\":null}\n\n",
        "event: ping\ndata: {\"type\":\"ping\"}\n\n",
    ] {
        let outcome = stream(&Dialect::openai(), &streamed(json!({})), text);
        assert_eq!(kind(&outcome), Some(Kind::Interrupted), "{text}");
        assert!(outcome.pieces.is_empty());
    }
}

#[test]
fn errors_inside_a_stream_are_understood() {
    for (error, expected) in [
        (
            r#"{"error":{"message":"m","type":"server_error"}}"#,
            Some(Kind::Failed),
        ),
        (
            r#"{"error":{"code":"rate_limit_exceeded"},"choices":[]}"#,
            Some(Kind::RateLimited),
        ),
        (
            r#"{"code":"The service is currently unavailable","error":"x"}"#,
            Some(Kind::Overloaded),
        ),
        (r#"{"error":null,"choices":[]}"#, Some(Kind::Interrupted)),
    ] {
        let outcome = stream(
            &Dialect::openai(),
            &streamed(json!({})),
            &format!("{TEXT}\n\ndata: {error}\n\n"),
        );
        assert_eq!(kind(&outcome), expected, "{error}");
        assert_eq!(outcome.pieces.len(), 1);
    }
}

#[test]
fn nothing_that_follows_spoils_a_complete_answer() {
    let request = streamed(json!({ "stream_options": { "include_usage": true } }));
    let long = "x".repeat((1 << 20) + 1);
    for tail in [
        "data: {\n\n",
        "data: {\"error\":{\"message\":\"m\"}}\n\ndata: more\n\n",
        long.as_str(),
    ] {
        let text = format!("{TEXT}\n\n{STOP}\n\n{USAGE}\n\n{tail}");
        let outcome = replay(
            decoder(&Dialect::openai(), &request),
            &[text.as_bytes()],
            End::Neat,
        );
        assert_eq!((kind(&outcome), outcome.complete), (None, true));
        let shown = assemble("spoiled", "public-name", &outcome);
        assert!(shown["usage"].is_object() && shown["done_marker"] == true);
    }
}

#[test]
fn a_line_without_an_end_is_given_up() {
    let request = streamed(json!({}));
    let long = vec![b'x'; (1 << 20) + 1];
    let outcome = replay(
        decoder(&Dialect::openai(), &request),
        &[b"data: ", &long],
        End::Neat,
    );
    assert_eq!(kind(&outcome), Some(Kind::Malformed));
}

#[test]
fn an_answer_that_is_no_completion_is_malformed() {
    for (text, expected) in [
        ("", Kind::Malformed),
        ("<html>", Kind::Malformed),
        ("{}", Kind::Malformed),
        (r#"{"choices":[]}"#, Kind::Malformed),
        (
            r#"{"choices":[{"index":0,"message":{"content":"x"},"finish_reason":null}]}"#,
            Kind::Malformed,
        ),
        (
            r#"{"choices":[{"index":0,"finish_reason":"stop"}]}"#,
            Kind::Malformed,
        ),
        (
            r#"{"choices":[{"message":{},"finish_reason":"stop"}]} {}"#,
            Kind::Malformed,
        ),
        (
            r#"{"error":{"message":"m","type":"server_error"}}"#,
            Kind::Failed,
        ),
    ] {
        let outcome = stream(&Dialect::openai(), &whole(), text);
        assert_eq!(kind(&outcome), Some(expected), "{text}");
        assert!(outcome.pieces.is_empty() && !outcome.complete);
    }
}

#[test]
fn a_whole_answer_keeps_its_bytes_but_for_the_name() {
    let text = r#"{ "id":"a", "model":"m-2026", "x":[1.0, {}],"choices":[ {"index":0,"message":{"content":"é"},"finish_reason":"stop"} ]}"#;
    let outcome = stream(&Dialect::openai(), &whole(), text);
    let expected = r#"{"id":"a","model":"public-name","x":[1.0, {}],"choices":[ {"index":0,"message":{"content":"é"},"finish_reason":"stop"} ]}"#;
    assert_eq!(outcome.text(), expected);
    assert!(matches!(&outcome.pieces[..], [Piece::Terminal(_)]) && outcome.complete);
    assert_eq!((outcome.content_bytes, outcome.usage), (2, None));
}

#[test]
fn xai_answers_without_a_reason_get_one() {
    let text = r#"{"choices":[{"index":0,"message":{"tool_calls":[{"function":{"name":"f","arguments":"{}"}}]},"finish_reason":""},{"index":1,"message":{"content":"x"}}]}"#;
    let outcome = stream(&Dialect::xai(), &whole(), text);
    let shown: Value = serde_json::from_str(&outcome.text()).unwrap();
    assert_eq!(shown["choices"][0]["finish_reason"], "tool_calls");
    assert_eq!(shown["choices"][1]["finish_reason"], "stop");
}

#[test]
fn costs_are_not_shown() {
    let text = r#"{"choices":[{"message":{"content":"x"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"cost":0.1,"completion_tokens":1,"cost_in_usd_ticks":5}}"#;
    let outcome = stream(&Dialect::compatible("x"), &whole(), text);
    assert!(
        outcome
            .text()
            .contains(r#""usage":{"prompt_tokens":1,"completion_tokens":1}"#),
        "{}",
        outcome.text()
    );
}

#[test]
fn an_answer_has_a_limit() {
    let mut decoder = decoder(&Dialect::openai(), &whole());
    let mut out = assistiv_core::provider::Output::new();
    let chunk = Bytes::from(vec![b' '; 16 << 20]);
    decoder.push(chunk.clone(), &mut out).unwrap();
    decoder.push(chunk.clone(), &mut out).unwrap();
    assert_eq!(
        decoder.push(chunk, &mut out).unwrap_err().kind(),
        Kind::Failed
    );
}
