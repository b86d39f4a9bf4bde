//! Callers of Anthropic's dialect, whoever answers: what they see, what providers see, and what is charged.

use serde_json::{Value, json};

use crate::charge::{Charge, with};
use crate::client::{Answer, Connection, Request};
use crate::world::{PROVIDER_KEY, World};

const CLAUDE: &str = "claude-haiku-4-5";
const MINI: &str = "gpt-4o-mini";
const USAGE: &str = "mock:prompt_tokens=100 mock:completion_tokens=40 mock:cached_tokens=60";

/// A world whose platform has a key for Anthropic, too.
async fn world() -> World {
    let world = World::new().await;
    let key = json!({"provider": "anthropic", "api_key": PROVIDER_KEY});
    world
        .manage("POST", &world.path("/llm-configs"), key, 201)
        .await;
    world
}

fn body(model: &str, prompt: &str) -> Value {
    json!({"model": model, "max_tokens": 500, "messages": [{"role": "user", "content": prompt}]})
}

/// As Anthropic's clients send it.
fn request(world: &World, path: &str, body: &Value) -> Request {
    let mut request = Request::new("POST", path, "none").json(body);
    request.drop("authorization");
    request
        .header("x-api-key", &world.end_user.key)
        .header("anthropic-version", "2023-06-01")
}

async fn whole(world: &World, body: &Value) -> Answer {
    world.send(&request(world, "/v1/messages", body)).await
}

/// The events of a stream.
async fn streamed(world: &World, body: Value) -> Vec<Value> {
    let mut connection = Connection::open(world.address).await;
    let body = with(body, json!({"stream": true}));
    connection
        .send(&request(world, "/v1/messages", &body))
        .await;
    let mut stream = connection.stream().await;
    let mut events = Vec::new();
    while let Some(data) = stream.frame().await {
        events.push(serde_json::from_str(&data).unwrap());
    }
    events
}

fn kinds(events: &[Value]) -> Vec<&str> {
    let mut kinds: Vec<_> = events
        .iter()
        .map(|it| it["type"].as_str().unwrap())
        .collect();
    kinds.retain(|kind| *kind != "ping");
    kinds.dedup();
    kinds
}

fn text_of(events: &[Value]) -> String {
    let deltas = events.iter().map(|it| &it["delta"]["text"]);
    deltas.filter_map(Value::as_str).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_model_answers_a_message() {
    let world = world().await;
    for (model, path) in [(CLAUDE, "/v1/messages"), (MINI, "/v1/responses")] {
        let answer = whole(&world, &body(model, &format!("mock:words=3 {USAGE}"))).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let message = answer.json();
        assert_eq!(message["type"], "message");
        assert_eq!(message["model"], model);
        assert_eq!(message["role"], "assistant");
        assert_eq!(
            message["content"],
            json!([{"type": "text", "text": "mock answers repeat"}])
        );
        assert_eq!(message["stop_reason"], "end_turn");
        let usage = &message["usage"];
        assert_eq!(
            (
                &usage["input_tokens"],
                &usage["cache_read_input_tokens"],
                &usage["output_tokens"]
            ),
            (&json!(40), &json!(60), &json!(40)),
            "{model}"
        );
        assert_eq!(world.mock.last_request().unwrap().path, path);
        assert!(answer.header("x-assistiv-log-id").is_some());
    }
    // The two models cost different amounts, so that only the second one's charge is compared here.
    let sent = &world.mock.requests()[0];
    assert_eq!(sent.headers["x-api-key"], PROVIDER_KEY);
    assert_eq!(sent.headers["anthropic-version"], "2023-06-01");
    assert!(!sent.headers.contains_key("authorization"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_charged_like_a_chat_completion() {
    let world = World::new().await;
    whole(&world, &body(MINI, &format!("mock:words=3 {USAGE}"))).await;
    streamed(&world, body(MINI, &format!("mock:words=3 {USAGE}"))).await;
    let charge = Charge {
        cached: 60,
        ..Charge::reported(100, 40)
    };
    world.charged(&[charge, charge]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_has_all_its_events() {
    let world = world().await;
    for model in [CLAUDE, MINI] {
        let events = streamed(
            &world,
            body(model, &format!("mock:words=5 mock:comments {USAGE}")),
        )
        .await;
        assert_eq!(
            kinds(&events),
            [
                "message_start",
                "content_block_start",
                "content_block_delta",
                "content_block_stop",
                "message_delta",
                "message_stop"
            ],
            "{model}"
        );
        assert_eq!(text_of(&events), "mock answers repeat these simple");
        assert_eq!(events[0]["message"]["model"], model);
        assert!(
            events[0]["message"]["usage"]["input_tokens"]
                .as_u64()
                .unwrap()
                > 0
        );
        let end = &events[events.len() - 2];
        assert_eq!(end["delta"]["stop_reason"], "end_turn");
        assert_eq!(end["usage"]["output_tokens"], 40);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tool_loop_runs_on_any_model() {
    let world = world().await;
    let schema =
        json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]});
    let tools = json!([{"name": "weather", "description": "d", "input_schema": schema}]);
    for model in [CLAUDE, MINI] {
        for stream in [false, true] {
            let asked = with(body(model, "Oslo?"), json!({"tools": tools}));
            let call = if stream {
                let events = streamed(&world, asked.clone()).await;
                let start = events
                    .iter()
                    .find(|it| it["content_block"]["type"] == "tool_use")
                    .unwrap();
                let json: String = events
                    .iter()
                    .filter_map(|it| it["delta"]["partial_json"].as_str())
                    .collect();
                assert_eq!(events[events.len() - 2]["delta"]["stop_reason"], "tool_use");
                with(
                    start["content_block"].clone(),
                    json!({"input": serde_json::from_str::<Value>(&json).unwrap()}),
                )
            } else {
                let answer = whole(&world, &asked).await.json();
                assert_eq!(answer["stop_reason"], "tool_use", "{answer}");
                answer["content"][0].clone()
            };
            assert_eq!(call["name"], "weather");
            assert!(call["input"]["city"].is_string(), "{call}");
            let mut next = asked;
            let messages = next["messages"].as_array_mut().unwrap();
            messages.push(json!({"role": "assistant", "content": [call]}));
            messages.push(json!({"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": call["id"], "content": "rain"},
                {"type": "text", "text": "mock:words=2"},
            ]}));
            next["tool_choice"] = json!({"type": "none"});
            let answer = whole(&world, &next).await;
            assert_eq!(answer.json()["stop_reason"], "end_turn", "{answer:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_have_anthropics_form_at_the_gateways_status() {
    let world = world().await;
    for model in [CLAUDE, MINI] {
        for (prompt, status, kind, reason) in [
            (
                "mock:status=529",
                503,
                "overloaded_error",
                "provider_overloaded",
            ),
            (
                "mock:status=429",
                429,
                "rate_limit_error",
                "provider_rate_limited",
            ),
            ("mock:status=401", 502, "api_error", "provider_auth_error"),
            (
                "mock:status=400",
                400,
                "invalid_request_error",
                "provider_bad_request",
            ),
            ("mock:html", 502, "api_error", "provider_error"),
        ] {
            if model == MINI && prompt.contains("529") {
                continue;
            }
            let answer = whole(&world, &body(model, prompt)).await;
            refused(&answer, status, kind, reason);
        }
    }
    let answer = whole(&world, &body("none", "x")).await;
    refused(&answer, 404, "not_found_error", "model_not_found");
    let answer = whole(&world, &json!({"model": MINI})).await;
    refused(&answer, 400, "invalid_request_error", "validation_failed");
    let tool = json!({"tools": [{"type": "web_search_20250305", "name": "s"}]});
    let answer = whole(&world, &with(body(MINI, "x"), tool)).await;
    refused(
        &answer,
        400,
        "invalid_request_error",
        "unsupported_parameter",
    );
    let mut stranger = request(&world, "/v1/messages", &body(MINI, "x"));
    stranger.set("x-api-key", "sk-eu_nonsense");
    let answer = world.send(&stranger).await;
    refused(&answer, 401, "authentication_error", "invalid_api_key");
    let answer = world
        .send(&Request::new("GET", "/v1/messages", &world.end_user.key))
        .await;
    refused(&answer, 405, "invalid_request_error", "method_not_allowed");
    world.charged(&[]).await;
}

#[track_caller]
fn refused(answer: &Answer, status: u16, kind: &str, reason: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    let body = answer.json();
    assert_eq!(body["type"], "error");
    assert_eq!(body["request_id"], answer.header("x-request-id").unwrap());
    assert_eq!(answer.header("request-id"), answer.header("x-request-id"));
    let error = &body["error"];
    assert_eq!(
        (&error["type"], &error["reason"]),
        (&json!(kind), &json!(reason))
    );
    assert!(error["doc_url"].as_str().unwrap().ends_with(reason));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_breaks_ends_with_an_error_event() {
    let world = world().await;
    for model in [CLAUDE, MINI] {
        for fault in ["cut", "end_early", "error_mid", "garbage"] {
            let prompt = format!("mock:words=10 mock:{fault}");
            let events = streamed(&world, body(model, &prompt)).await;
            let last = events.last().unwrap();
            assert_eq!(last["type"], "error", "{model} {fault}: {events:?}");
            assert_eq!(last["error"]["type"], "api_error", "{last}");
            let all = kinds(&events);
            assert!(!all.contains(&"message_delta") && !all.contains(&"message_stop"));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_are_counted_for_nothing() {
    let world = world().await;
    let path = "/v1/messages/count_tokens";
    let count = |model: &str, prompt: &str| {
        let mut body = body(model, prompt);
        body.as_object_mut().unwrap().remove("max_tokens");
        request(&world, path, &body)
    };
    let answer = world.send(&count(CLAUDE, "mock:prompt_tokens=77")).await;
    assert_eq!(answer.json(), json!({"input_tokens": 77}));
    assert_eq!(
        answer.header("x-assistiv-token-count-method"),
        Some("reported")
    );
    assert_eq!(world.mock.last_request().unwrap().path, path);
    // A provider that fails is no reason to refuse; a request that is wrong is.
    for model in [MINI, CLAUDE] {
        let answer = world.send(&count(model, "mock:status=500")).await;
        assert!(
            answer.json()["input_tokens"].as_u64().unwrap() > 3,
            "{answer:?}"
        );
        assert_eq!(
            answer.header("x-assistiv-token-count-method"),
            Some("estimated")
        );
    }
    let answer = world.send(&count(CLAUDE, "mock:status=400")).await;
    refused(
        &answer,
        400,
        "invalid_request_error",
        "provider_bad_request",
    );
    let answer = world.send(&count("none", "x")).await;
    refused(&answer, 404, "not_found_error", "model_not_found");
    world.charged(&[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_token_may_be_asked_for() {
    let world = World::new().await;
    let one = with(body(MINI, "mock:words=9"), json!({"max_tokens": 1}));
    let answer = whole(&world, &one).await;
    assert_eq!(answer.json()["stop_reason"], "max_tokens", "{answer:?}");
    assert_eq!(answer.json()["usage"]["output_tokens"], 1);
    let sent = world.mock.last_request().unwrap();
    assert_eq!(sent.path, "/v1/chat/completions");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_claude_code_sends_is_taken_by_every_model() {
    let world = world().await;
    let body = json!({
        "model": MINI, "max_tokens": 64_000, "stream": true,
        "system": [{"type": "text", "text": "You are an agent.", "cache_control": {"type": "ephemeral"}}],
        "messages": [{"role": "user", "content": [
            {"type": "text", "text": "<system-reminder>x</system-reminder>"},
            {"type": "text", "text": "mock:words=2", "cache_control": {"type": "ephemeral"}}]}],
        "tools": [{"name": "Bash", "description": "d", "input_schema": {"type": "object", "properties": {}, "$schema": "https://json-schema.org/draft/2020-12/schema"}}],
        "tool_choice": {"type": "none"},
        "thinking": {"type": "enabled", "budget_tokens": 31_999},
        "temperature": 1,
        "metadata": {"user_id": "user_x"},
        "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
    });
    for model in [MINI, CLAUDE] {
        let mut connection = Connection::open(world.address).await;
        let request = request(
            &world,
            "/v1/messages?beta=true",
            &with(body.clone(), json!({"model": model})),
        )
        .header(
            "anthropic-beta",
            "claude-code-20250219,interleaved-thinking-2025-05-14",
        );
        connection.send(&request).await;
        let mut stream = connection.stream().await;
        let mut last = String::new();
        while let Some(data) = stream.frame().await {
            last = data;
        }
        assert_eq!(last, r#"{"type":"message_stop"}"#, "{model}");
    }
    let sent = world.mock.last_request().unwrap();
    assert_eq!(
        sent.headers["anthropic-beta"],
        "claude-code-20250219,interleaved-thinking-2025-05-14"
    );
}
