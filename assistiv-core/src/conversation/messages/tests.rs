//! What Messages requests say, and what of it cannot be translated.

use bytes::Bytes;
use serde_json::json;

use super::*;
use crate::call::Operation;
use crate::conversation::{
    CacheLifetime, Dropped, Media, Memory, Part, ProviderState, Recalled, Role, Speaker,
};

fn request(body: &Value) -> InferenceRequest {
    let mut body = body.clone();
    for (name, value) in [
        ("model", json!("m")),
        ("max_tokens", json!(100)),
        ("messages", json!([{ "role": "user", "content": "x" }])),
    ] {
        if body.get(name).is_none() {
            body[name] = value;
        }
    }
    InferenceRequest::parse(Operation::Messages, Bytes::from(body.to_string())).unwrap()
}

fn refusal(body: &Value) -> (ProviderErrorKind, String) {
    let request = request(body);
    let error = request
        .conversation()
        .and_then(|conversation| {
            conversation.turns()?;
            conversation.leave_out_others(&mut Dropped::default())
        })
        .unwrap_err();
    (error.kind(), error.param().unwrap_or_default().to_owned())
}

fn with_messages(messages: Value) -> InferenceRequest {
    request(&json!({ "messages": messages }))
}

#[test]
fn an_agents_turn_becomes_a_conversation() {
    let request = request(&json!({
        "system": [{ "type": "text", "text": "be brief", "cache_control": { "type": "ephemeral", "ttl": "1h" } }],
        "messages": [
            { "role": "user", "content": "look" },
            { "role": "assistant", "content": [
                { "type": "thinking", "thinking": "hm", "signature": "sig" },
                { "type": "redacted_thinking", "data": "xx" },
                { "type": "text", "text": "" },
                { "type": "tool_use", "id": "a", "name": "f", "input": { "big": 1 } },
                { "type": "tool_use", "id": "b", "name": "g", "input": {} },
            ] },
            { "role": "user", "content": [
                { "type": "tool_result", "tool_use_id": "b", "is_error": true, "content": "no" },
                { "type": "tool_result", "tool_use_id": "a", "content": [
                    { "type": "text", "text": "seen" },
                    { "type": "image", "source": { "type": "base64", "media_type": "image/PNG", "data": "AAAA" } },
                ] },
                { "type": "text", "text": "go on" },
                { "type": "document", "title": "t", "source": { "type": "text", "media_type": "text/plain", "data": "hi" } },
            ] },
        ],
        "tools": [{ "name": "f", "description": "d", "input_schema": { "type": "object" }, "cache_control": { "type": "ephemeral" } }],
        "tool_choice": { "type": "any", "disable_parallel_tool_use": true },
        "stop_sequences": ["END"],
        "top_k": 5,
        "service_tier": "standard_only",
        "metadata": { "user_id": "u" },
    }));
    let conversation = request.conversation().unwrap();
    let roles: Vec<_> = conversation.messages.iter().map(|it| it.role).collect();
    let expected = [
        Role::System,
        Role::User,
        Role::Assistant,
        Role::Tool,
        Role::Tool,
        Role::User,
    ];
    assert_eq!(roles, expected);
    assert!(matches!(
        conversation.messages[0].parts[..],
        [Part::Text(_), Part::CacheBreakpoint(CacheLifetime::OneHour)]
    ));
    let [
        Part::Reasoning(thought),
        Part::ToolCall(a),
        Part::ToolCall(b),
    ] = &conversation.messages[2].parts[..]
    else {
        panic!("{:?}", conversation.messages[2])
    };
    assert_eq!((&*thought.text, thought.state.is_none()), ("hm", true));
    assert_eq!(
        (a.arguments.get(), b.arguments.get()),
        (r#"{"big":1}"#, "{}")
    );
    let [Part::ToolResult(failed)] = &conversation.messages[3].parts[..] else {
        panic!("{:?}", conversation.messages[3])
    };
    assert!(failed.is_error && failed.name.as_deref() == Some("g"));
    let [Part::ToolResult(seen)] = &conversation.messages[4].parts[..] else {
        panic!("{:?}", conversation.messages[4])
    };
    let [Part::Text(_), Part::Image(image)] = &seen.content[..] else {
        panic!("{seen:?}")
    };
    assert!(matches!(&image.media, Media::Data(data) if data.media_type == "image/png"));
    let [Part::Text(_), Part::File { data, name }] = &conversation.messages[5].parts[..] else {
        panic!("{:?}", conversation.messages[5])
    };
    assert_eq!((&*data.base64, name.as_deref()), ("aGk=", Some("t")));
    assert_eq!(conversation.tool_choice, Some(ToolChoice::Required));
    assert_eq!(conversation.parallel_tool_calls, Some(false));
    assert_eq!(conversation.stop, ["END"]);
    assert_eq!(conversation.sampling.top_k, Some(5));
    assert_eq!(conversation.service_tier.as_deref(), Some("default"));
    let mut dropped = Dropped::default();
    conversation.leave_out_others(&mut dropped).unwrap();
    assert!(dropped.is_empty(), "{dropped:?}");
    let turns = conversation.turns().unwrap();
    let speakers: Vec<_> = turns.turns.iter().map(|turn| turn.speaker).collect();
    assert_eq!(speakers, [Speaker::User, Speaker::Assistant, Speaker::User]);
}

#[test]
fn thinking_is_an_effort() {
    for (body, expected) in [
        (json!({}), None),
        (
            json!({ "thinking": { "type": "disabled" } }),
            Some(Effort::None),
        ),
        (json!({ "thinking": { "type": "adaptive" } }), None),
        (
            json!({ "thinking": { "type": "enabled", "budget_tokens": 1024 } }),
            Some(Effort::Low),
        ),
        (
            json!({ "thinking": { "type": "enabled", "budget_tokens": 10_000 } }),
            Some(Effort::Medium),
        ),
        (
            json!({ "thinking": { "type": "enabled", "budget_tokens": 31_999 } }),
            Some(Effort::High),
        ),
        (
            json!({ "output_config": { "effort": "max" } }),
            Some(Effort::Max),
        ),
        (
            json!({ "thinking": { "type": "adaptive" }, "output_config": { "effort": "low" } }),
            Some(Effort::Low),
        ),
        (
            json!({ "thinking": { "type": "disabled" }, "output_config": { "effort": "low" } }),
            Some(Effort::None),
        ),
    ] {
        let request = request(&body);
        assert_eq!(request.conversation().unwrap().effort, expected, "{body}");
    }
}

#[test]
fn a_schema_is_strict_where_all_of_it_is_required() {
    let object = |required: Value| {
        json!({
            "type": "object", "additionalProperties": false, "required": required,
            "properties": { "a": { "type": "string" }, "required": { "type": "number" } },
        })
    };
    for (schema, expected) in [
        (object(json!(["a", "required"])), true),
        (object(json!(["a"])), false),
        (
            json!({ "type": "array", "items": object(json!(["a"])) }),
            false,
        ),
        (json!({ "type": "object" }), false),
    ] {
        let config = json!({ "format": { "type": "json_schema", "schema": schema } });
        let request = request(&json!({ "output_config": config }));
        let conversation = request.conversation().unwrap();
        let Format::JsonSchema(read) = &conversation.format else {
            panic!("{:?}", conversation.format)
        };
        assert_eq!(read.strict, Some(expected), "{schema}");
        assert_eq!(read.schema.unwrap().get(), schema.to_string());
    }
}

#[test]
fn what_cannot_be_said_elsewhere_is_refused_by_name() {
    let block = |block: Value| json!({ "messages": [{ "role": "user", "content": [block] }] });
    let parameter = ProviderErrorKind::UnsupportedParameter;
    let invalid = ProviderErrorKind::Invalid;
    for (body, kind, param) in [
        (
            json!({ "tools": [{ "type": "web_search_20250305", "name": "s" }] }),
            parameter,
            "tools[0].type",
        ),
        (json!({ "container": "c" }), parameter, "container"),
        (
            json!({ "mcp_servers": [{ "url": "x" }] }),
            parameter,
            "mcp_servers",
        ),
        (json!({ "inference_geo": "eu" }), parameter, "inference_geo"),
        (
            block(json!({ "type": "image", "source": { "type": "file", "file_id": "f" } })),
            parameter,
            "messages[0].content[0].source.type",
        ),
        (
            block(json!({ "type": "document", "source": { "type": "url", "url": "https://x" } })),
            parameter,
            "messages[0].content[0].source.type",
        ),
        (
            block(json!({ "type": "container_upload" })),
            parameter,
            "messages[0].content[0].type",
        ),
        (
            block(
                json!({ "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": "-" } }),
            ),
            invalid,
            "messages[0].content[0].source.data",
        ),
        (
            block(json!({ "type": "tool_result", "tool_use_id": "a" })),
            invalid,
            "messages",
        ),
        (
            json!({ "messages": [{ "role": "user", "content": "x" }, { "role": "assistant", "content": [
                { "type": "server_tool_use", "id": "a", "name": "web_search", "input": {} }] }] }),
            parameter,
            "messages[1].content[0].type",
        ),
        (
            json!({ "tool_choice": { "type": "tool" } }),
            invalid,
            "tool_choice",
        ),
        (
            json!({ "thinking": { "type": "enabled" } }),
            invalid,
            "thinking",
        ),
        (
            json!({ "output_config": { "effort": "huge" } }),
            ProviderErrorKind::UnsupportedValue,
            "output_config.effort",
        ),
    ] {
        assert_eq!(refusal(&body), (kind, param.to_owned()), "{body}");
    }
}

#[test]
fn what_does_not_matter_is_left_out() {
    let request = request(&json!({
        "metadata": {}, "cache_control": { "type": "ephemeral" }, "mcp_servers": [], "speed": "standard",
        "context_management": { "edits": [] }, "new_thing": 1,
    }));
    let mut dropped = Dropped::default();
    let conversation = request.conversation().unwrap();
    conversation.leave_out_others(&mut dropped).unwrap();
    let names: Vec<_> = dropped.names().collect();
    assert_eq!(names, ["context_management", "new_thing"]);
}

#[test]
fn what_is_remembered_of_a_call_comes_back_before_it() {
    let call = json!([{ "role": "assistant", "content": [
        { "type": "text", "text": "so" }, { "type": "tool_use", "id": "a", "name": "f", "input": {} }] }]);
    let mut request = with_messages(call);
    assert_eq!(request.tool_call_ids(), ["a"]);
    let state =
        |json: &str| ProviderState::new("p", RawValue::from_string(json.to_owned()).unwrap());
    let memory = Memory {
        reasoning: vec![state("1")],
        call: Some(state("2")),
    };
    request.recall(Recalled([("a".to_owned(), memory.into())].into()));
    let conversation = request.conversation().unwrap();
    let [
        Part::Text(_),
        Part::Reasoning(thought),
        Part::ToolCall(call),
    ] = &conversation.messages[0].parts[..]
    else {
        panic!("{:?}", conversation.messages[0])
    };
    assert_eq!(thought.state, Some(state("1")));
    assert_eq!(call.state, Some(state("2")));
}
