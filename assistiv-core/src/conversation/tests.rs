//! What chat completions say, and what of it cannot be translated.

use serde_json::Value;

use super::*;
use crate::call::{InferenceRequest, Operation};

fn request(body: &str) -> InferenceRequest {
    let body = bytes::Bytes::copy_from_slice(body.as_bytes());
    InferenceRequest::parse(Operation::ChatCompletions, body).unwrap()
}

fn with_messages(messages: &str) -> InferenceRequest {
    request(&format!(r#"{{"model":"m","messages":{messages}}}"#))
}

fn refusal(request: &InferenceRequest) -> (ProviderErrorKind, String) {
    let error = request
        .conversation()
        .and_then(|conversation| conversation.turns().map(|_| ()))
        .unwrap_err();
    (error.kind(), error.param().unwrap_or_default().to_owned())
}

const LOOP: &str = r#"[
    {"role":"system","content":"be brief"},
    {"role":"user","content":[{"type":"text","text":"Gr\u00fc\u00dfe"},{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA","detail":"low"},"cache_control":{"type":"ephemeral","ttl":"1h"}}]},
    {"role":"user","content":"and?"},
    {"role":"assistant","content":"Let me see.","tool_calls":[
        {"id":"a","type":"function","function":{"name":"f","arguments":"{\"big\": 12345678901234567890}"}},
        {"id":"b","type":"function","function":{"name":"g","arguments":""}}]},
    {"role":"tool","tool_call_id":"b","content":[{"type":"text","text":"2"}]},
    {"role":"user","content":"go on"},
    {"role":"developer","content":"in English"},
    {"role":"tool","tool_call_id":"a","content":"1"}]"#;

#[test]
fn messages_become_turns() {
    let request = with_messages(LOOP);
    let conversation = request.conversation().unwrap();
    let turns = conversation.turns().unwrap();
    assert_eq!(turns.instructions.len(), 2);
    let speakers: Vec<_> = turns.turns.iter().map(|turn| turn.speaker).collect();
    assert_eq!(speakers, [Speaker::User, Speaker::Assistant, Speaker::User]);
    let [first, calls, results] = &turns.turns[..] else {
        panic!("three turns")
    };
    let [
        Part::Text(text),
        Part::Image(image),
        Part::CacheBreakpoint(CacheLifetime::OneHour),
        Part::Text(_),
    ] = first.parts[..]
    else {
        panic!("{first:?}")
    };
    assert_eq!(text, "Gr\u{fc}\u{df}e");
    assert!(matches!(&image.media, Media::Data(data) if data.media_type == "image/png"));
    let [Part::Text(_), Part::ToolCall(a), Part::ToolCall(b)] = calls.parts[..] else {
        panic!("{calls:?}")
    };
    // Numbers keep their digits.
    assert_eq!(a.arguments.get(), r#"{"big": 12345678901234567890}"#);
    assert_eq!(b.arguments.get(), "{}");
    let [Part::ToolResult(b), Part::ToolResult(a), Part::Text(_)] = results.parts[..] else {
        panic!("results come first: {results:?}")
    };
    assert_eq!(
        (a.name.as_deref(), b.name.as_deref()),
        (Some("f"), Some("g"))
    );
}

#[test]
fn calls_and_results_must_meet() {
    let call = r#"{"role":"assistant","tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"{}"}}]}"#;
    let result = r#"{"role":"tool","tool_call_id":"a","content":"1"}"#;
    let user = r#"{"role":"user","content":"x"}"#;
    let refused = (ProviderErrorKind::Invalid, "messages".to_owned());
    for messages in [
        format!("[{user},{call}]"),
        format!("[{user},{call},{user},{call},{result}]"),
        format!("[{user},{result}]"),
        format!("[{user},{call},{result},{result}]"),
        r#"[{"role":"system","content":"alone"}]"#.to_owned(),
    ] {
        assert_eq!(refusal(&with_messages(&messages)), refused, "{messages}");
    }
    let fine = with_messages(&format!("[{user},{call},{result},{user}]"));
    fine.conversation().unwrap().turns().unwrap();
}

#[test]
fn the_old_form_of_calls_is_read() {
    let request = with_messages(
        r#"[{"role":"user","content":"x"},
        {"role":"assistant","content":null,"function_call":{"name":"f","arguments":"{\"a\":1}"}},
        {"role":"function","name":"f","content":"1"}]"#,
    );
    let conversation = request.conversation().unwrap();
    let turns = conversation.turns().unwrap();
    assert!(
        matches!(turns.turns[1].parts[..], [Part::ToolCall(call)] if call.id == "call_1" && call.name == "f")
    );
    assert!(
        matches!(turns.turns[2].parts[..], [Part::ToolResult(result)] if result.call_id == "call_1")
    );
}

#[test]
fn what_cannot_be_said_is_refused_by_name() {
    use ProviderErrorKind::{Invalid, UnsupportedParameter, UnsupportedValue};
    let user = |content: &str| format!(r#"[{{"role":"user","content":{content}}}]"#);
    for (messages, kind, param) in [
        (user("3"), Invalid, "messages[0].content"),
        (user(r#"[{"type":"text"}]"#), Invalid, "messages[0].content[0].text"),
        (
            user(r#"[{"type":"image_url","image_url":{"url":"data:image/png;base64,!"}}]"#),
            Invalid,
            "messages[0].content[0].image_url.url",
        ),
        (
            user(r#"[{"type":"image_url","image_url":{"url":"file:///etc/passwd"}}]"#),
            Invalid,
            "messages[0].content[0].image_url.url",
        ),
        (
            user(r#"[{"type":"file","file":{"file_id":"file-1"}}]"#),
            UnsupportedParameter,
            "messages[0].content[0].file.file_id",
        ),
        (user(r#"[{"type":"hologram"}]"#), UnsupportedParameter, "messages[0].content[0].type"),
        (
            r#"[{"role":"tool","content":"x"}]"#.to_owned(),
            Invalid,
            "messages[0].tool_call_id",
        ),
        (
            r#"[{"role":"assistant","tool_calls":[{"id":"a","function":{"name":"f","arguments":"[]"}}]}]"#.to_owned(),
            Invalid,
            "messages[0].tool_calls[0].function.arguments",
        ),
        (
            r#"[{"role":"assistant","tool_calls":[{"id":"a","type":"custom","custom":{}}]}]"#.to_owned(),
            UnsupportedParameter,
            "messages[0].tool_calls[0].type",
        ),
        (
            r#"[{"role":"system","content":[{"type":"image_url","image_url":{"url":"https://x"}}]}]"#.to_owned(),
            Invalid,
            "messages[0].content",
        ),
    ] {
        assert_eq!(refusal(&with_messages(&messages)), (kind, param.to_owned()), "{messages}");
    }
    for (member, kind, param) in [
        (
            r#""tools":[{"type":"custom","custom":{"name":"x"}}]"#,
            UnsupportedParameter,
            "tools[0].type",
        ),
        (r#""tools":[{"type":"function"}]"#, Invalid, "tools[0]"),
        (r#""tool_choice":"sometimes""#, Invalid, "tool_choice"),
        (
            r#""reasoning_effort":"enormous""#,
            UnsupportedValue,
            "reasoning_effort",
        ),
        (
            r#""response_format":{"type":"json_schema"}"#,
            Invalid,
            "response_format",
        ),
    ] {
        let body = format!(r#"{{"model":"m","messages":{},{member}}}"#, user("\"x\""));
        assert_eq!(
            refusal(&request(&body)),
            (kind, param.to_owned()),
            "{member}"
        );
    }
}

#[test]
fn parameters_are_read_or_weighed() {
    let request = request(
        r#"{"model":"m","messages":[{"role":"user","content":"x"}],"max_completion_tokens":9,"temperature":0.2,
        "stop":"END","reasoning_effort":"low","tool_choice":{"type":"function","function":{"name":"f"}},
        "response_format":{"type":"json_schema","json_schema":{"name":"s","schema":{ "type":"object" },"strict":true}},
        "tools":[{"type":"function","function":{"name":"f","parameters":{"b":1,"a":2}}}],
        "seed":7,"user":"u","logit_bias":{"1":1},"sparkle":1,"logprobs":false,"modalities":["text"],"verbosity":null}"#,
    );
    let conversation = request.conversation().unwrap();
    assert_eq!(conversation.max_output_tokens, Some(9));
    assert_eq!(conversation.sampling.temperature, Some(0.2));
    assert_eq!(conversation.sampling.seed, Some(7));
    assert_eq!(conversation.stop, ["END"]);
    assert_eq!(conversation.effort, Some(Effort::Low));
    assert_eq!(
        conversation.tool_choice,
        Some(ToolChoice::Named("f".into()))
    );
    assert_eq!(
        conversation.tools[0].parameters.unwrap().get(),
        r#"{"b":1,"a":2}"#
    );
    assert!(
        matches!(&conversation.format, Format::JsonSchema(s) if s.schema.unwrap().get() == r#"{ "type":"object" }"#)
    );
    let mut dropped = Dropped::default();
    conversation.leave_out_others(&mut dropped).unwrap();
    assert_eq!(
        dropped.names().collect::<Vec<_>>(),
        ["logit_bias", "sparkle"]
    );
    assert_eq!(dropped.first_hint(), Some("logit_bias"));
}

#[test]
fn what_is_remembered_stands_where_it_was() {
    let state = |text: &str| {
        let json = serde_json::value::to_raw_value(&Value::from(text)).unwrap();
        ProviderState::new("p", json)
    };
    let memory = |reasoning: &[&str], call: Option<&str>| {
        std::sync::Arc::new(Memory {
            reasoning: reasoning.iter().map(|text| state(text)).collect(),
            call: call.map(state),
        })
    };
    let mut request = with_messages(LOOP);
    let of_calls = [
        ("a".to_owned(), memory(&["1", "2"], Some("s"))),
        ("b".to_owned(), memory(&["3"], None)),
    ];
    request.recall(Recalled(of_calls.into()));
    let conversation = request.conversation().unwrap();
    let parts: Vec<String> = conversation.messages[3]
        .parts
        .iter()
        .map(|part| match part {
            Part::Reasoning(thought) => thought
                .state
                .as_ref()
                .unwrap()
                .of("p")
                .unwrap()
                .get()
                .to_owned(),
            Part::ToolCall(call) => format!("{}:{}", call.id, call.state.is_some()),
            _ => "text".to_owned(),
        })
        .collect();
    assert_eq!(
        parts,
        ["\"1\"", "\"2\"", "text", "a:true", "\"3\"", "b:false"]
    );
    assert!(state("x").of("another").is_none());
}
