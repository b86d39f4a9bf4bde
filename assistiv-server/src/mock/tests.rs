//! Sound answers, over HTTP.

use serde_json::{Value, json};

use super::test_client::*;
use super::*;

#[tokio::test]
async fn json_has_the_shape_of_a_completion() {
    let mock = start();
    let got = ask(&mock, "Hello dear mock", json!({})).await;
    let body = got.json();
    assert_eq!((got.status, got.whole), (200, true));
    assert!(
        got.body
            .starts_with(r#"{"id":"chatcmpl-mock00000001","object":"chat.completion","#)
    );
    assert_eq!(body["model"], "gpt-x");
    let choice = &body["choices"][0];
    assert_eq!(
        (&choice["index"], &choice["finish_reason"]),
        (&json!(0), &json!("stop"))
    );
    assert_eq!(choice["message"]["role"], "assistant");
    assert!(
        choice["message"]["content"]
            .as_str()
            .unwrap()
            .ends_with("message: 3.")
    );
    let usage = &body["usage"];
    assert_eq!(usage["prompt_tokens"], 4 + 3);
    assert_eq!(
        (&usage["completion_tokens"], &usage["total_tokens"]),
        (&json!(14), &json!(21))
    );
    assert_eq!(usage["prompt_tokens_details"]["cached_tokens"], 0);
    assert_eq!(usage["completion_tokens_details"]["reasoning_tokens"], 0);
}

#[tokio::test]
async fn a_stream_ends_with_finish_usage_and_done() {
    let mock = start();
    let got = ask(&mock, "mock:words=4", streamed()).await;
    assert!(got.head.contains("content-type: text/event-stream"));
    assert!(got.whole && got.is_done());
    let frames = got.frames();
    assert_eq!(frames.len(), 1 + 4 + 1 + 1);
    assert_eq!(
        frames[0]["choices"][0]["delta"],
        json!({"role": "assistant", "content": ""})
    );
    assert_eq!(got.text(), "mock answers repeat these");
    assert_eq!(frames[5]["choices"][0]["delta"], json!({}));
    assert_eq!(frames[5]["choices"][0]["finish_reason"], "stop");
    assert!(
        frames[..6]
            .iter()
            .all(|f| f.get("usage") == Some(&Value::Null))
    );
    assert!(
        frames[..6]
            .iter()
            .all(|f| f["object"] == "chat.completion.chunk")
    );
    assert_eq!(frames[6]["choices"], json!([]));
    assert_eq!(frames[6]["usage"]["completion_tokens"], 4);
}

#[tokio::test]
async fn usage_is_streamed_only_when_asked_for() {
    let mock = start();
    let got = ask(&mock, "Hi", json!({"stream": true})).await;
    assert!(got.is_done());
    assert!(got.frames().iter().all(|f| f.get("usage").is_none()));
}

#[tokio::test]
async fn tool_arguments_are_streamed_in_pieces() {
    let mock = start();
    let parameters = json!({
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        "required": ["city", "days"],
    });
    let tool =
        |name| json!({"type": "function", "function": {"name": name, "parameters": parameters}});
    let tools = json!([tool("first"), tool("second")]);
    let got = ask(&mock, "parallel", json!({"stream": true, "tools": tools})).await;
    let frames = got.frames();
    let calls = frames
        .iter()
        .filter_map(|f| f.pointer("/choices/0/delta/tool_calls/0"));
    let second: Vec<&Value> = calls.filter(|call| call["index"] == 1).collect();
    assert_eq!(
        second[0]["function"],
        json!({"name": "second", "arguments": ""})
    );
    assert_eq!(second[0]["type"], "function");
    assert!(second.len() > 3 && second[1..].iter().all(|call| call.get("id").is_none()));
    let pieces = second
        .iter()
        .filter_map(|call| call["function"]["arguments"].as_str());
    let arguments: Value = serde_json::from_str(&pieces.collect::<String>()).unwrap();
    assert_eq!(arguments, json!({"city": "text", "days": 1}));
    assert_eq!(got.finish_reason().as_deref(), Some("tool_calls"));

    let message = ask(&mock, "Hi", json!({"tools": tools})).await.json()["choices"][0].take();
    assert_eq!(message["message"]["content"], Value::Null);
    assert_eq!(
        message["message"]["tool_calls"][0]["function"]["name"],
        "first"
    );
}

#[tokio::test]
async fn every_choice_is_streamed_and_charged() {
    let mock = start();
    let got = ask(&mock, "mock:words=3", json!({"stream": true, "n": 2})).await;
    assert_eq!(got.frames().len(), 2 * 5);
    assert_eq!(mock.stats().completion_tokens, 6);
}

#[tokio::test]
async fn models_are_listed() {
    let mock = start();
    let stream = send(&mock, "GET /v1/models", "authorization: Bearer k\r\n", "").await;
    let got = receive(stream).await;
    assert_eq!((got.status, &got.json()["object"]), (200, &json!("list")));
    assert_eq!(got.json()["data"][0]["object"], "model");
    assert_eq!(mock.stats().finished, 1);
}

#[tokio::test]
async fn a_refused_key_is_repeated() {
    let mock = start();
    for (key, text) in [
        ("", "You didn't provide"),
        ("authorization: Basic abc\r\n", "You didn't provide"),
        (
            "authorization: Bearer mock-invalid-key\r\n",
            "provided: mock-invalid-key.",
        ),
    ] {
        let got = receive(send(&mock, "POST /v1/chat/completions", key, "{}").await).await;
        assert_eq!(got.status, 401);
        assert!(
            got.json()["error"]["message"]
                .as_str()
                .unwrap()
                .contains(text)
        );
    }
    assert!(
        ask(&mock, "mock:status=401", json!({}))
            .await
            .body
            .contains("sk-upstream")
    );
}

#[tokio::test]
async fn account_headers_are_sent() {
    let mock = start();
    let got = ask(&mock, "mock:header_secret", json!({})).await;
    for header in [
        "openai-organization: org-mock",
        "x-ratelimit-remaining-requests: 9999",
        "x-request-id: req_mock00000001",
        "x-secret: leak",
    ] {
        assert!(got.head.contains(header), "{header}");
    }
}

#[tokio::test]
async fn finished_answers_are_counted_as_they_are_reported() {
    let mock = start();
    let knobs = "mock:prompt_tokens=100 mock:completion_tokens=50 mock:cached_tokens=40";
    let got = ask(&mock, knobs, json!({})).await;
    let usage = &got.json()["usage"];
    assert_eq!(
        (&usage["prompt_tokens"], &usage["total_tokens"]),
        (&json!(100), &json!(150))
    );
    assert_eq!(usage["prompt_tokens_details"]["cached_tokens"], 40);
    ask(&mock, "mock:words=7 mock:no_usage", streamed()).await;
    ask(&mock, "mock:status=500", json!({})).await;
    let stats = mock.stats();
    assert_eq!(
        (stats.requests, stats.finished, stats.failed, stats.dropped),
        (3, 2, 1, 0)
    );
    assert_eq!((stats.prompt_tokens, stats.completion_tokens), (110, 57));
    assert_eq!(mock.tokens_by_model()["gpt-x"].completion_tokens, 57);
    assert_eq!(mock.requests().len(), 3);
}

#[tokio::test]
async fn requests_are_recorded_without_showing_keys() {
    let mock = start();
    assert!(mock.last_request().is_none());
    ask(&mock, "remember me", json!({})).await;
    let request = mock.last_request().unwrap();
    assert_eq!(request.path, "/v1/chat/completions");
    assert_eq!(request.headers["authorization"], "Bearer sk-upstream");
    assert_eq!(
        request.json().unwrap()["messages"][0]["content"],
        "remember me"
    );
    assert!(!format!("{:?}", request.headers).contains("sk-upstream"));
}

#[tokio::test]
async fn only_loopback_is_served() {
    let error = Mock::start(([0, 0, 0, 0], 0).into()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    assert!(start().base_url().starts_with("http://127.0.0.1:"));
}

#[test]
fn a_runtime_is_needed() {
    assert!(Mock::start(([127, 0, 0, 1], 0).into()).is_err());
}

#[tokio::test]
async fn messages_are_another_spelling_of_the_same() {
    let mock = start();
    let ask = async |text: &str, extra: Value| {
        let mut body = json!({"model": "claude-x", "max_tokens": 50, "system": [{"type": "text", "text": "abcd"}],
            "messages": [{"role": "user", "content": [{"type": "text", "text": text}]}]});
        let extra = extra.as_object().unwrap().clone();
        body.as_object_mut().unwrap().extend(extra);
        let key = "x-api-key: sk-upstream\r\n";
        receive(send(&mock, "POST /v1/messages", key, &body.to_string()).await).await
    };
    let whole = ask("mock:words=2 mock:cached_tokens=2", json!({}))
        .await
        .json();
    assert_eq!(
        whole["content"],
        json!([{"type": "text", "text": "mock answers"}])
    );
    assert_eq!(whole["stop_reason"], "end_turn");
    let usage = &whole["usage"];
    let input = (4 + "mock:words=2 mock:cached_tokens=2".len() as u64).div_ceil(4) + 3;
    assert_eq!(
        (&usage["input_tokens"], &usage["cache_read_input_tokens"]),
        (&json!(input - 2), &json!(2))
    );
    assert_eq!(usage["output_tokens"], 2);

    let stream = ask("mock:words=2", json!({"stream": true})).await;
    let kinds: Vec<_> = stream
        .frames()
        .iter()
        .map(|f| f["type"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        kinds,
        [
            "message_start",
            "ping",
            "content_block_start",
            "content_block_delta",
            "content_block_delta",
            "content_block_stop",
            "message_delta",
            "message_stop"
        ]
    );
    assert!(stream.body.contains("event: message_delta\ndata: "));

    let tools = json!([{"name": "f", "input_schema": {"type": "object"}}]);
    let called = ask("x", json!({"tools": tools})).await.json();
    assert_eq!(
        (&called["stop_reason"], &called["content"][0]["name"]),
        (&json!("tool_use"), &json!("f"))
    );

    let refused = ask("mock:status=529", json!({})).await;
    assert_eq!(
        (refused.status, &refused.json()["error"]["type"]),
        (529, &json!("overloaded_error"))
    );
    let refused = ask("x", json!({"max_tokens": null})).await;
    assert_eq!(
        (refused.status, &refused.json()["error"]["type"]),
        (400, &json!("invalid_request_error"))
    );
}
