//! What callers get of the events of an answer.

use bytes::Bytes;
use serde_json::{Value, json, value::to_raw_value};

use super::*;
use crate::billing::Usage;
use crate::call::Operation;
use crate::conversation::{FinishReason, ProviderState, UsageReport};
use crate::provider::Piece;

const USAGE: UsageReport = UsageReport {
    usage: Usage {
        input: 1,
        cached_input: 0,
        cache_write_5m: 3,
        cache_write_30m: 0,
        cache_write_1h: 4,
        cache_write_12h: 0,
        audio_input: 0,
        image_input: 0,
        output: 5,
        reasoning: 2,
        audio_output: 0,
        image_output: 0,
    },
    names_cached: true,
    names_cache_writes: false,
    names_reasoning: false,
};

fn write(request: &str, events: Vec<AnswerEvent<'_>>) -> Output {
    let body = format!(r#"{{"model":"m","messages":[{{"role":"user","content":"x"}}]{request}}}"#);
    let request = InferenceRequest::parse(Operation::ChatCompletions, body.into()).unwrap();
    let mut writer = AnswerWriter::naming(&request, "public \"name\"");
    let mut out = Output::new();
    for event in events {
        writer.write(event, &mut out);
    }
    out
}

fn events() -> Vec<AnswerEvent<'static>> {
    let state = |text: &str| ProviderState::new("p", to_raw_value(text).unwrap());
    vec![
        AnswerEvent::Started {
            id: Some("msg_1"),
            model: Some("real"),
        },
        AnswerEvent::Reasoning("Hm"),
        AnswerEvent::Reasoning("m."),
        AnswerEvent::ReasoningState(state("signed")),
        AnswerEvent::Text(""),
        AnswerEvent::Text("Let \u{1f600}\n"),
        AnswerEvent::Text("me see."),
        AnswerEvent::ToolCall {
            id: Some("a"),
            name: "f",
            state: Some(state("s")),
        },
        AnswerEvent::Arguments(""),
        AnswerEvent::Arguments("{\"x\":"),
        AnswerEvent::Arguments("1}"),
        AnswerEvent::ToolCall {
            id: None,
            name: "g",
            state: None,
        },
        AnswerEvent::Usage(USAGE),
        AnswerEvent::Tier("priority"),
        AnswerEvent::finished(FinishReason::ToolCalls),
        AnswerEvent::Ended,
    ]
}

/// The data of the chunks, with whether each waits for the charge.
fn chunks(out: &mut Output) -> Vec<(bool, Value)> {
    let piece = |piece| match piece {
        Piece::Content(bytes) => (false, bytes),
        Piece::Terminal(bytes) => (true, bytes),
    };
    let data = |bytes: Bytes| {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let data = text
            .strip_prefix("data: ")
            .and_then(|t| t.strip_suffix("\n\n"));
        serde_json::from_str(data.unwrap()).unwrap_or_else(|_| data.unwrap().into())
    };
    std::iter::from_fn(|| out.pop())
        .map(|it| {
            let (last, bytes) = piece(it);
            (last, data(bytes))
        })
        .collect()
}

#[test]
fn a_stream_says_everything_once() {
    let mut out = write(
        r#","stream":true,"stream_options":{"include_usage":true}"#,
        events(),
    );
    let chunks = chunks(&mut out);
    let deltas: Vec<&Value> = chunks
        .iter()
        .map(|(_, chunk)| &chunk["choices"][0]["delta"])
        .collect();
    assert_eq!(
        deltas[0],
        &json!({"role":"assistant","content":null,"reasoning_content":"Hm"})
    );
    assert_eq!(deltas[1], &json!({"reasoning_content":"m."}));
    assert_eq!(deltas[2], &json!({"content":"Let \u{1f600}\n"}));
    assert_eq!(
        deltas[4],
        &json!({"tool_calls":[{"index":0,"id":"a","type":"function","function":{"name":"f","arguments":""}}]})
    );
    assert_eq!(
        deltas[5],
        &json!({"tool_calls":[{"index":0,"function":{"arguments":"{\"x\":"}}]})
    );
    assert_eq!(deltas[7]["tool_calls"][0]["index"], 1);
    assert!(
        deltas[7]["tool_calls"][0]["id"]
            .as_str()
            .unwrap()
            .starts_with("call_")
    );
    assert_eq!(
        deltas[8],
        &json!({"tool_calls":[{"index":1,"function":{"arguments":"{}"}}]})
    );
    assert_eq!(deltas[9], &json!({}));
    let held: Vec<bool> = chunks.iter().map(|(held, _)| *held).collect();
    assert_eq!(held, [[false; 9].as_slice(), &[true; 3]].concat());
    assert_eq!(chunks[9].1["choices"][0]["finish_reason"], "tool_calls");
    assert_eq!(chunks[10].1["choices"], json!([]));
    assert_eq!(chunks[10].1["usage"]["total_tokens"], 15);
    assert_eq!(chunks[11].1, "[DONE]");
    for (_, chunk) in &chunks[..11] {
        assert_eq!(chunk["id"], chunks[0].1["id"]);
        assert_eq!(
            (&chunk["model"], &chunk["object"]),
            (&json!("public \"name\""), &json!("chat.completion.chunk"))
        );
        assert!(chunk.as_object().unwrap().contains_key("usage"));
    }
    assert!(out.is_complete());
    assert_eq!(
        (out.usage(), out.service_tier()),
        (Some(&USAGE.usage), Some("priority"))
    );
    let bytes = "Hmm.Let \u{1f600}\nme see.f{\"x\":1}g".len() as u64;
    assert_eq!(out.content_bytes(), bytes);
    assert_eq!(out.origin().model.as_deref(), Some("real"));
    let memories = out.take_memories();
    let [(id, memory)] = &memories[..] else {
        panic!("{memories:?}")
    };
    assert_eq!(
        (&**id, memory.reasoning.len(), memory.call.is_some()),
        ("a", 1, true)
    );
}

#[test]
fn usage_is_shown_to_those_who_asked() {
    let mut out = write(r#","stream":true"#, events());
    let chunks = chunks(&mut out);
    assert_eq!(chunks.len(), 11);
    assert!(
        chunks
            .iter()
            .all(|(_, chunk)| chunk.get("usage").is_none() && chunk["choices"] != json!([]))
    );
}

#[test]
fn an_answer_in_one_piece_waits_for_its_charge() {
    let mut out = write("", events());
    let Some(Piece::Terminal(body)) = out.pop() else {
        panic!("one piece")
    };
    assert_eq!(out.pop(), None);
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["object"], "chat.completion");
    let choice = &body["choices"][0];
    assert_eq!(choice["finish_reason"], "tool_calls");
    let message = &choice["message"];
    assert_eq!(message["content"], "Let \u{1f600}\nme see.");
    assert_eq!(message["reasoning_content"], "Hmm.");
    assert_eq!(
        message["tool_calls"][0]["function"],
        json!({"name":"f","arguments":"{\"x\":1}"})
    );
    assert_eq!(message["tool_calls"][1]["function"]["arguments"], "{}");
    assert_eq!(
        body["usage"],
        json!({"prompt_tokens":8,"completion_tokens":7,"total_tokens":15,
            "prompt_tokens_details":{"cached_tokens":0,"cache_write_tokens":7},
            "completion_tokens_details":{"reasoning_tokens":2}})
    );
}

#[test]
fn silence_is_an_empty_text_and_calls_are_none() {
    let silent = vec![
        AnswerEvent::finished(FinishReason::Length),
        AnswerEvent::Ended,
    ];
    let mut out = write(r#","stream":true"#, silent.clone());
    let first = &chunks(&mut out)[0];
    assert_eq!(
        first.1["choices"][0]["delta"],
        json!({"role":"assistant","content":""})
    );
    let message = |events| {
        let mut out = write("", events);
        let Some(Piece::Terminal(body)) = out.pop() else {
            panic!("one piece")
        };
        serde_json::from_slice::<Value>(&body).unwrap()["choices"][0]["message"].clone()
    };
    assert_eq!(
        message(silent),
        json!({"role":"assistant","content":"","refusal":null})
    );
    let call = AnswerEvent::ToolCall {
        id: None,
        name: "f",
        state: None,
    };
    let done = AnswerEvent::finished(FinishReason::ToolCalls);
    assert_eq!(
        message(vec![call, done, AnswerEvent::Ended])["content"],
        Value::Null
    );
    let refused = vec![
        AnswerEvent::Refusal("no"),
        AnswerEvent::finished(FinishReason::Stop),
        AnswerEvent::Ended,
    ];
    assert_eq!(
        message(refused),
        json!({"role":"assistant","content":null,"refusal":"no"})
    );
}
