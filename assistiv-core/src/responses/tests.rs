//! What callers get of a response, event by event.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json, value::to_raw_value};
use uuid::Uuid;

use super::seal::Seal;
use super::{Draft, ResponseId};
use crate::billing::Usage;
use crate::call::{InferenceRequest, Operation};
use crate::conversation::{AnswerEvent, FinishReason, Part, ProviderState, Role, ToolChoice};
use crate::error::{Problem, Reason};
use crate::provider::{AnswerWriter, Output, Piece};
use crate::secrets::MasterKeyCipher;

fn seal(owner: u128) -> Seal {
    static CIPHER: std::sync::LazyLock<Arc<MasterKeyCipher>> = std::sync::LazyLock::new(|| {
        Arc::new(MasterKeyCipher::new(
            &MasterKeyCipher::generate_key().unwrap(),
        ))
    });
    Seal::new(CIPHER.clone(), Uuid::from_u128(owner))
}

fn request(body: &Value) -> InferenceRequest {
    let body = Bytes::from(body.to_string());
    let mut request = InferenceRequest::parse(Operation::Responses, body).unwrap();
    request.response.as_mut().unwrap().seal = Some(seal(1));
    request
}

fn refused(body: &Value) -> (String, Option<String>) {
    let body = Bytes::from(body.to_string());
    let error = InferenceRequest::parse(Operation::Responses, body).unwrap_err();
    let problem = Problem::from(&crate::Error::from(error));
    (problem.reason.as_str().to_owned(), problem.param)
}

fn state() -> ProviderState {
    ProviderState::new("p", to_raw_value("signed").unwrap())
}

fn events() -> Vec<AnswerEvent<'static>> {
    let usage = Usage {
        input: 7,
        cached_input: 3,
        output: 4,
        reasoning: 2,
        ..Usage::default()
    };
    vec![
        AnswerEvent::Started {
            id: None,
            model: None,
        },
        AnswerEvent::Reasoning("Hm"),
        AnswerEvent::Reasoning("m."),
        AnswerEvent::ReasoningState(state()),
        AnswerEvent::Text("Let \u{1f600}\n"),
        AnswerEvent::Refusal("No."),
        AnswerEvent::ToolCall {
            id: Some("call_a"),
            name: "f",
            state: Some(state()),
        },
        AnswerEvent::Arguments("{\"x\":"),
        AnswerEvent::Arguments("1}"),
        AnswerEvent::ToolCall {
            id: Some("call_b"),
            name: "g",
            state: None,
        },
        AnswerEvent::Usage(usage.into()),
        AnswerEvent::finished(FinishReason::ToolCalls),
        AnswerEvent::Ended,
    ]
}

fn write(request: &InferenceRequest, events: Vec<AnswerEvent<'_>>) -> Output {
    let mut writer = AnswerWriter::naming(request, "my \"model\"");
    let mut out = Output::new();
    for event in events {
        writer.write(event, &mut out);
    }
    out
}

/// The events of a stream with whether each waits for the charge, after checking what clients rely on.
fn stream(out: &mut Output) -> Vec<(bool, Value)> {
    let mut events = Vec::new();
    while let Some(piece) = out.pop() {
        let (late, bytes) = match piece {
            Piece::Content(bytes) => (false, bytes),
            Piece::Terminal(bytes) => (true, bytes),
        };
        for event in std::str::from_utf8(&bytes)
            .unwrap()
            .split_terminator("\n\n")
        {
            let (name, data) = event.split_once('\n').unwrap();
            let data: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
            assert_eq!(name, format!("event: {}", data["type"].as_str().unwrap()));
            assert_eq!(data["sequence_number"], events.len());
            events.push((late, data));
        }
    }
    events
}

fn whole(out: &mut Output) -> Value {
    let Some(Piece::Terminal(bytes)) = out.pop() else {
        panic!("one piece, after the charge")
    };
    assert!(out.pop().is_none());
    serde_json::from_slice(&bytes).unwrap()
}

#[test]
fn a_stream_says_everything_that_its_last_event_says() {
    let request =
        request(&json!({ "model": "m", "input": "x", "stream": true, "metadata": { "k": "v" } }));
    let mut out = write(&request, events());
    let kept: Value = serde_json::from_str(&out.take_response().unwrap()).unwrap();
    let events = stream(&mut out);
    let types: Vec<_> = events
        .iter()
        .map(|(_, event)| {
            event["type"]
                .as_str()
                .unwrap()
                .strip_prefix("response.")
                .unwrap()
        })
        .collect();
    let item = |kinds: &'static [&str]| {
        let mut all = vec!["output_item.added"];
        all.extend(kinds);
        all.push("output_item.done");
        all
    };
    let mut expected = vec!["created", "in_progress"];
    expected.extend(item(&[
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
    ]));
    expected.extend(item(&[
        "content_part.added",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "content_part.added",
        "refusal.delta",
        "refusal.done",
        "content_part.done",
    ]));
    expected.extend(item(&[
        "function_call_arguments.delta",
        "function_call_arguments.delta",
        "function_call_arguments.done",
    ]));
    expected.extend(item(&[
        "function_call_arguments.delta",
        "function_call_arguments.done",
    ]));
    expected.push("completed");
    assert_eq!(types, expected);

    let response = &events.last().unwrap().1["response"];
    assert_eq!(*response, kept);
    let done: Vec<_> = events
        .iter()
        .filter(|(_, event)| event["type"] == "response.output_item.done")
        .map(|(_, event)| event["item"].clone())
        .collect();
    assert_eq!(response["output"], json!(done));
    for (index, item) in done.iter().enumerate() {
        let added = events.iter().find(|(_, event)| {
            event["type"] == "response.output_item.added" && event["output_index"] == index
        });
        assert_eq!(added.unwrap().1["item"]["id"], item["id"]);
    }
    assert_eq!(done[1]["content"][0]["text"], "Let \u{1f600}\n");
    assert_eq!(done[1]["content"][1]["refusal"], "No.");
    assert_eq!(done[2]["arguments"], "{\"x\":1}");
    assert_eq!(done[3]["arguments"], "{}");
    assert_eq!(response["model"], "my \"model\"");
    assert_eq!(response["metadata"], json!({ "k": "v" }));
    assert_eq!(response["usage"]["input_tokens"], 10);
    assert_eq!(
        response["usage"]["input_tokens_details"]["cached_tokens"],
        3
    );
    assert_eq!(
        response["usage"]["output_tokens_details"]["reasoning_tokens"],
        2
    );
    // What shows that the answer is whole waits for the charge; what was said before does not.
    let first_late = events.iter().position(|(late, _)| *late).unwrap();
    assert!(events[first_late..].iter().all(|(late, _)| *late));
    assert_eq!(
        events[first_late].1["type"],
        "response.function_call_arguments.done"
    );
}

#[test]
fn an_answer_in_one_piece_is_the_last_event_of_the_stream() {
    let body = json!({ "model": "m", "input": "x" });
    let response = whole(&mut write(&request(&body), events()));
    assert_eq!(response["status"], "completed");
    assert_eq!(response["error"], Value::Null);
    let kinds: Vec<_> = response["output"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| &item["type"])
        .collect();
    assert_eq!(
        kinds,
        ["reasoning", "message", "function_call", "function_call"]
    );
    assert_eq!(response["store"], true);
    assert_eq!(response["tools"], json!([]));
}

#[test]
fn a_limit_leaves_the_last_item_incomplete() {
    for (reason, details) in [
        (FinishReason::Length, "max_output_tokens"),
        (FinishReason::ContentFilter, "content_filter"),
    ] {
        let cut = || {
            vec![
                AnswerEvent::Text("Once"),
                AnswerEvent::finished(reason),
                AnswerEvent::Ended,
            ]
        };
        let body = json!({ "model": "m", "input": "x" });
        let response = whole(&mut write(&request(&body), cut()));
        assert_eq!(response["status"], "incomplete");
        assert_eq!(response["incomplete_details"]["reason"], details);
        assert_eq!(response["output"][0]["status"], "incomplete");
        let body = json!({ "model": "m", "input": "x", "stream": true });
        let events = stream(&mut write(&request(&body), cut()));
        assert_eq!(events.last().unwrap().1["type"], "response.incomplete");
    }
}

#[test]
fn a_failure_goes_on_where_the_stream_stood() {
    let request = request(&json!({ "model": "m", "input": "x", "stream": true }));
    let mut out = write(&request, vec![AnswerEvent::Text("Once")]);
    let said = stream(&mut out);
    let mut draft: Box<Draft> = out.take_draft().unwrap();
    let mut end = Output::new();
    draft.failed(&Problem::new(Reason::PROVIDER_ERROR, "it broke"), &mut end);
    let Some(Piece::Content(bytes)) = end.pop() else {
        panic!("one event")
    };
    let text = std::str::from_utf8(&bytes).unwrap();
    let data = text.lines().nth(1).unwrap().strip_prefix("data: ").unwrap();
    let event: Value = serde_json::from_str(data).unwrap();
    assert_eq!(event["sequence_number"], said.len());
    let response = &event["response"];
    let error = json!({ "code": "bad_gateway", "reason": "provider_error", "message": "it broke" });
    assert_eq!(
        (&response["status"], &response["error"]),
        (&json!("failed"), &error)
    );
    assert_eq!(response["output"][0]["content"][0]["text"], "Once");
    assert_eq!(response["usage"], Value::Null);
    assert!(out.take_response().is_none());
}

#[test]
fn sealed_state_comes_back_to_its_owner_alone() {
    let sealed = seal(1).seal(&state()).unwrap();
    assert_eq!(seal(1).open(&sealed), Some(state()));
    assert_eq!(seal(2).open(&sealed), None);
    assert_eq!(seal(1).open("gAAAAABo_of_somebody_else"), None);
    let changed = sealed.replace(
        &sealed[20..21],
        if &sealed[20..21] == "A" { "B" } else { "A" },
    );
    assert_eq!(seal(1).open(&changed), None);
}

#[test]
fn what_was_answered_can_be_sent_back_as_input() {
    let body = json!({ "model": "m", "input": "x" });
    let response = whole(&mut write(&request(&body), events()));
    let mut input = vec![json!({ "role": "user", "content": "x" })];
    input.extend(response["output"].as_array().unwrap().iter().cloned());
    for (id, output) in [
        ("call_a", json!("1")),
        ("call_b", json!([{ "type": "input_text", "text": "2" }])),
    ] {
        input.push(json!({ "type": "function_call_output", "call_id": id, "output": output }));
    }
    let request = request(&json!({
        "model": "m", "input": input, "instructions": "Be brief.", "tool_choice": { "type": "function", "name": "f" },
        "tools": [{ "type": "function", "function": { "name": "f", "parameters": {} } }, { "type": "function", "name": "g" }],
        "response_format": { "type": "json_object" },
    }));
    assert_eq!(request.tool_call_ids(), ["call_a", "call_b"]);
    let conversation = request.conversation().unwrap();
    let roles: Vec<_> = conversation
        .messages
        .iter()
        .map(|message| message.role)
        .collect();
    assert_eq!(
        roles,
        [
            Role::System,
            Role::User,
            Role::Assistant,
            Role::Tool,
            Role::Tool
        ]
    );
    let said = &conversation.messages[2].parts;
    assert!(
        matches!(&said[0], Part::Reasoning(thought) if thought.state == Some(state()) && thought.text == "Hmm.")
    );
    assert!(matches!(&said[1], Part::Text(text) if text == "Let \u{1f600}\n"));
    assert!(matches!(&said[2], Part::Refusal(text) if text == "No."));
    assert!(
        matches!(&said[3], Part::ToolCall(call) if call.state == Some(state()) && call.arguments.get() == "{\"x\":1}")
    );
    assert!(
        matches!(&said[4], Part::ToolCall(call) if call.id == "call_b" && call.state.is_none())
    );
    assert!(
        matches!(&conversation.messages[4].parts[0], Part::ToolResult(result) if result.name.as_deref() == Some("g"))
    );
    assert_eq!(conversation.tools[0].name, "f");
    assert_eq!(
        conversation.tool_choice,
        Some(ToolChoice::Named("f".into()))
    );
    assert!(matches!(
        conversation.format,
        crate::conversation::Format::JsonObject
    ));
    assert!(conversation.turns().is_ok());
}

#[test]
fn what_cannot_be_honoured_is_refused_by_name() {
    let with = |name: &str, value: Value| {
        let mut body = json!({ "model": "m", "input": "x" });
        body[name] = value;
        refused(&body)
    };
    for (name, value) in [
        ("conversation", json!("conv_1")),
        ("background", json!(true)),
        ("prompt", json!({ "id": "p" })),
        ("agent_id", json!("a")),
    ] {
        assert_eq!(
            with(name, value),
            ("unsupported_parameter".into(), Some(name.into()))
        );
    }
    let hosted = with(
        "tools",
        json!([{ "type": "function", "name": "f" }, { "type": "mcp", "server_label": "x" }]),
    );
    assert_eq!(
        hosted,
        ("unsupported_parameter".into(), Some("tools[1].type".into()))
    );
    for (name, value) in [
        ("input", json!([])),
        ("input", json!(1)),
        ("thread_id", json!("")),
        ("metadata", json!({ "k": 1 })),
        ("max_output_tokens", json!(0)),
        ("temperature", json!(3)),
        ("store", json!("yes")),
        ("text", json!("json")),
        ("tools", json!([{}])),
    ] {
        assert_eq!(
            with(name, value),
            ("validation_failed".into(), Some(name.into())),
            "{name}"
        );
    }
    let role = with("input", json!([{ "role": "robot", "content": "x" }]));
    assert_eq!(role.1.as_deref(), Some("input[0].role"));
    let hosted = request(&json!({ "model": "m", "input": "x", "tools": [{ "type": "computer" }] }));
    assert_eq!(
        hosted.conversation().unwrap_err().param(),
        Some("tools[0].type")
    );
    let auto = request(&json!({ "model": "m", "input": "x", "truncation": "auto" }));
    let conversation = auto.conversation().unwrap();
    assert!(
        conversation
            .leave_out_others(&mut crate::conversation::Dropped::default())
            .is_err()
    );
}

#[test]
fn only_the_written_form_of_an_id_is_one() {
    let id = ResponseId::new();
    let text = id.to_string();
    assert_eq!(text.parse(), Ok(id));
    assert_eq!(
        ResponseId::of_item(&text.replace("resp_", "msg_")),
        Some(id)
    );
    for wrong in [
        "resp_".to_owned(),
        text.to_uppercase(),
        text.replace("resp_", "resp_resp_"),
        format!("resp_{}", id.as_uuid()),
        text.replace("resp_", ""),
    ] {
        assert!(wrong.parse::<ResponseId>().is_err(), "{wrong}");
    }
}
