//! Callers of Anthropic's own dialect: what is exchanged, and what stays byte for byte.

use assistiv_core::conversation::UNSIGNED;
use assistiv_core::provider::{Piece, ProviderErrorKind as Kind};
use http::HeaderMap;

use super::*;
use crate::vectors::{End, Outcome, replay_every_split};

const MODEL: &str = "claude-opus-4-5-20251101";

fn request(operation: Operation, body: &str) -> InferenceRequest {
    InferenceRequest::parse(operation, Bytes::copy_from_slice(body.as_bytes())).unwrap()
}

fn message(stream: bool) -> InferenceRequest {
    let body = format!(
        r#"{{"model":"{MODEL}","max_tokens":9,"stream":{stream},"messages":[{{"role":"user","content":"x"}}]}}"#
    );
    request(Operation::Messages, &body)
}

fn read(stream: bool, body: &str) -> Outcome {
    let (request, target) = (message(stream), named());
    replay_every_split(
        || Anthropic.decoder(&request, &target),
        body.as_bytes(),
        End::Neat,
    )
}

/// A target whose upstream name differs from what callers say.
fn named() -> Target {
    target("claude-opus-4-5")
}

fn sent(request: &InferenceRequest) -> (http::Request<Bytes>, String) {
    let encoded = Anthropic.encode(request, &named()).unwrap();
    assert!(encoded.dropped.is_empty());
    let body = String::from_utf8(encoded.request.body().to_vec()).unwrap();
    (encoded.request, body)
}

#[test]
fn the_body_goes_on_as_it_was_written() {
    let body = r#"{"max_tokens": 5,"model":"claude-opus-4-5", "new_thing" : {"z":1,"a":1.50},
        "messages":[{"role":"user","content":[{"type":"newblock","x":"\u00fc"}]}],"stream":true}"#;
    let mut headers = HeaderMap::new();
    headers.insert("anthropic-version", "2026-10-21".parse().unwrap());
    headers.append("anthropic-beta", "a,b".parse().unwrap());
    headers.append("anthropic-beta", "c".parse().unwrap());
    headers.insert("authorization", "Bearer secret".parse().unwrap());
    let request = request(Operation::Messages, body).with_headers(&headers);
    let (upstream, body) = sent(&request);
    let model = json!(named().upstream_model()).to_string();
    let expected = format!(
        r#"{{"max_tokens":5,"model":{model},"new_thing":{{"z":1,"a":1.50}},"messages":[{{"role":"user","content":[{{"type":"newblock","x":"\u00fc"}}]}}],"stream":true}}"#
    );
    assert_eq!(body, expected);
    assert!(upstream.uri().path().ends_with("/v1/messages"));
    let headers = upstream.headers();
    assert_eq!(headers["anthropic-version"], "2026-10-21");
    let betas: Vec<_> = headers.get_all("anthropic-beta").iter().collect();
    assert_eq!(betas, ["a,b", "c"]);
    assert_eq!(headers["accept"], "text/event-stream");
    assert!(!headers.contains_key("authorization"));
}

#[test]
fn a_count_has_a_path_of_its_own() {
    let body = r#"{"model":"m","messages":[{"role":"user","content":"x"}]}"#;
    let (upstream, _) = sent(&request(Operation::CountTokens, body));
    assert!(upstream.uri().path().ends_with("/v1/messages/count_tokens"));
    assert_eq!(upstream.headers()["anthropic-version"], "2023-06-01");
    assert_eq!(Anthropic.counted(br#"{"input_tokens":7}"#).unwrap(), 7);
    assert!(Anthropic.counted(b"{}").is_err());
}

#[test]
fn thoughts_that_nobody_signed_are_taken_out() {
    let thought = |signature: &str| {
        json!({ "type": "thinking", "thinking": "hm", "signature": signature }).to_string()
    };
    let (own, others) = (thought("real"), thought(UNSIGNED));
    let body = format!(
        r#"{{"model":"m","max_tokens":9,"messages":[{{"role":"user","content":"{UNSIGNED}"}},{{"role":"assistant","content":[{others},{own},{{"type":"text","text":"x"}}]}}]}}"#
    );
    let (_, body) = sent(&request(Operation::Messages, &body));
    assert!(!body.contains(&others) && body.contains(&own), "{body}");
    assert!(body.contains(&format!(r#"{{"role":"user","content":"{UNSIGNED}"}}"#)));
}

const START: &str = r#"{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","content":[],"model":"real","usage":{"input_tokens":31,"cache_read_input_tokens":4,"output_tokens":1}}}"#;
const TEXT: [&str; 3] = [
    r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""},"new":1}"#,
    r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Gr\u00fc\u00df dich"}}"#,
    r#"{"type":"content_block_stop","index":0}"#,
];
const END: &str = r#"{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":9}}"#;
const STOP: &str = r#"{"type":"message_stop"}"#;

fn stream(events: &[&str]) -> String {
    let event = |data: &&str| {
        let kind: Value = serde_json::from_str(data).unwrap();
        format!(
            "event: {}\ndata: {data}\n\n",
            kind["type"].as_str().unwrap()
        )
    };
    events.iter().map(event).collect()
}

#[test]
fn a_stream_is_passed_on_event_by_event() {
    let unknown = r#"{"type":"new_event","x":[1, 2]}"#;
    let events = [
        START,
        r#"{"type":"ping"}"#,
        TEXT[0],
        unknown,
        TEXT[1],
        r#"{"type":"ping"}"#,
        TEXT[2],
        END,
        STOP,
    ];
    let outcome = read(true, &stream(&events));
    assert!(outcome.error.is_none() && outcome.complete, "{outcome:?}");
    // The first ping came before anything that could not be asked for again.
    let start = START.replace("\"real\"", "\"claude-opus-4-5\"");
    let expected = [
        &*start,
        TEXT[0],
        unknown,
        TEXT[1],
        r#"{"type":"ping"}"#,
        TEXT[2],
        END,
        STOP,
    ];
    assert_eq!(outcome.text(), stream(&expected));
    let terminal: String = outcome
        .pieces
        .iter()
        .filter_map(|piece| match piece {
            Piece::Terminal(bytes) => Some(String::from_utf8_lossy(bytes)),
            Piece::Content(_) => None,
        })
        .collect();
    assert_eq!(terminal, stream(&[END, STOP]));
    let usage = outcome.usage.unwrap();
    assert_eq!((usage.input, usage.cached_input, usage.output), (31, 4, 9));
    assert_eq!(outcome.input.unwrap().input, 31);
    assert_eq!(outcome.content_bytes, "Gr\u{fc}\u{df} dich".len() as u64);
}

#[test]
fn a_stream_that_breaks_off_has_no_end() {
    let kind = |outcome: &Outcome| outcome.error.as_ref().map(|(kind, _)| *kind);
    let outcome = read(true, &stream(&[START, TEXT[0], TEXT[1]]));
    assert_eq!(kind(&outcome), Some(Kind::Interrupted));
    assert!(outcome.usage.is_none() && !outcome.complete);
    let outcome = read(true, &stream(&[START, TEXT[0], STOP]));
    assert_eq!(kind(&outcome), Some(Kind::Interrupted));
    let error = r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;
    // Nothing is out, so that another provider may be asked.
    let outcome = read(true, &stream(&[START, r#"{"type":"ping"}"#, error]));
    assert_eq!(kind(&outcome), Some(Kind::Overloaded));
    assert!(outcome.pieces.is_empty());
    // What follows a complete answer does not spoil it.
    let whole = read(
        true,
        &stream(&[START, TEXT[0], TEXT[1], TEXT[2], END, STOP]),
    );
    for last in [&[END][..], &[END, error], &[END, STOP, error]] {
        let events = [&[START, TEXT[0], TEXT[1], TEXT[2]], last].concat();
        assert_eq!(read(true, &stream(&events)), whole);
    }
}

#[test]
fn a_refusal_before_the_first_word_costs_nothing() {
    let refusal = END.replace("end_turn", "refusal");
    let outcome = read(true, &stream(&[START, &refusal, STOP]));
    assert_eq!(outcome.usage, Some(Usage::default()));
    let outcome = read(true, &stream(&[START, TEXT[0], TEXT[1], &refusal, STOP]));
    assert_eq!(outcome.usage.unwrap().output, 9);
}

#[test]
fn an_answer_in_one_piece_keeps_its_bytes() {
    let body = r#"{"model":"real", "id":"msg_1","type":"message","content":[{"type":"newblock"}],"stop_reason":"tool_use","usage":{"input_tokens":3,"output_tokens":4},"x":1.0}"#;
    let outcome = read(false, body);
    assert!(outcome.complete && outcome.error.is_none());
    let expected = body.replace(r#""real", "#, r#""claude-opus-4-5","#);
    assert_eq!(outcome.text(), expected);
    assert_eq!(outcome.usage.unwrap().total(), 7);
    let error = r#"{"type":"error","error":{"type":"overloaded_error","message":"m"}}"#;
    assert_eq!(read(false, error).error.unwrap().0, Kind::Overloaded);
    for broken in [
        "{}",
        "[]",
        "",
        r#"{"stop_reason":"end_turn","stop_reason":"x"}"#,
    ] {
        assert_eq!(
            read(false, broken).error.unwrap().0,
            Kind::Malformed,
            "{broken}"
        );
    }
}
