//! Models of OpenAI's that call functions on the Responses API alone: callers of chat completions do not notice.

use serde_json::{Value, json};

use crate::charge::with;
use crate::client::{Connection, Request};
use crate::world::{PROVIDER_KEY, WALLET, World};

const MODEL: &str = "gpt-5.5";
const USAGE: &str = "mock:prompt_tokens=100 mock:completion_tokens=40 mock:cached_tokens=60";

fn body(prompt: &str) -> Value {
    json!({"model": MODEL, "messages": [{"role": "user", "content": prompt}], "tools": [
        {"type": "function", "function": {"name": "weather", "parameters": {
            "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"],
        }}},
    ]})
}

/// What the wallet has paid, in nano-dollars.
async fn paid(world: &World) -> i64 {
    world.no_hold_is_left().await;
    let scope = world.gateway.local_operator();
    let scope = scope.manage(world.platform.id.parse().unwrap()).unwrap();
    let wallet = world.gateway.stores().ledger.wallet(&scope).await.unwrap();
    WALLET - wallet.balance.get()
}

/// 40 fresh, 60 cached and 40 generated tokens, at 5, 0.50 and 30 dollars a million.
const COST: i64 = 40 * 5_000 + 60 * 500 + 40 * 30_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tool_loop_goes_another_way_and_comes_back() {
    let world = World::new().await;
    let asked = body(&format!("Oslo? mock:reasoning_tokens=5 {USAGE}"));
    let request = Request::chat(&world.end_user.key, asked.clone());
    let answer = world.send(&request).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let choice = &answer.json()["choices"][0];
    assert_eq!(choice["finish_reason"], "tool_calls");
    assert_eq!(
        choice["message"]["reasoning_content"],
        "Let me count the words."
    );
    let call = &choice["message"]["tool_calls"][0];
    assert_eq!(call["function"]["arguments"], r#"{"city": "text"}"#);
    assert_eq!(paid(&world).await, COST);
    let sent = world.mock.last_request().unwrap();
    assert_eq!(sent.path, "/v1/responses");
    assert_eq!(
        sent.headers["authorization"],
        format!("Bearer {PROVIDER_KEY}")
    );
    assert_eq!(sent.json().unwrap()["store"], false);

    let result = json!({"role": "tool", "tool_call_id": call["id"], "content": "18C"});
    let messages = json!([asked["messages"][0], choice["message"], result]);
    let again = with(asked, json!({"messages": messages}));
    let answer = world.send(&Request::chat(&world.end_user.key, again)).await;
    assert_eq!(answer.json()["choices"][0]["finish_reason"], "stop");
    let sent = world.mock.last_request().unwrap().json().unwrap();
    assert_eq!(sent["input"][1]["encrypted_content"], "bW9jaw==", "{sent}");
    assert_eq!(sent["input"][2]["call_id"], call["id"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_go_the_same_way_and_break_as_others() {
    let world = World::new().await;
    let streamed = async |prompt: &str| {
        let options = json!({"stream": true, "stream_options": {"include_usage": true}, "tool_choice": "none"});
        let request = Request::chat(&world.end_user.key, with(body(prompt), options));
        let mut connection = Connection::open(world.address).await;
        connection.send(&request).await;
        connection.stream().await.rest().await
    };
    let rest = streamed(&format!("mock:words=30 mock:comments {USAGE}")).await;
    rest.ended_well();
    assert_eq!(rest.text().split(' ').count(), 30);
    assert_eq!(rest.chunks.last().unwrap()["usage"]["total_tokens"], 140);
    assert_eq!(paid(&world).await, COST);
    for (fault, reason) in [
        ("cut", "provider_stream_interrupted"),
        ("garbage", "provider_malformed_output"),
        ("error_mid", "provider_error"),
    ] {
        let rest = streamed(&format!("mock:words=20 mock:{fault}")).await;
        rest.failed(502, reason);
        assert_eq!(rest.text().split(' ').count(), 10, "{fault}");
    }
    let sent = world.mock.requests();
    assert!(sent.iter().all(|request| request.path == "/v1/responses"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_that_is_served_nowhere_else_answers_chats() {
    let world = World::new().await;
    let asked = json!({"model": "o3-pro", "messages": [{"role": "user", "content": "Hello you"}]});
    let answer = world
        .send(&Request::chat(&world.end_user.key, asked.clone()))
        .await;
    let text = answer.json()["choices"][0]["message"]["content"].clone();
    assert_eq!(
        text,
        "Hello! I am the mock provider. Words that I counted in your message: 2."
    );
    assert_eq!(world.mock.last_request().unwrap().path, "/v1/responses");
    let short = with(asked, json!({"max_tokens": 15}));
    let answer = world.send(&Request::chat(&world.end_user.key, short)).await;
    assert_eq!(
        answer.refused(400, "validation_failed")["param"],
        "max_tokens"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grok_is_sent_what_it_takes() {
    let world = World::new().await;
    let key = json!({"provider": "xai", "api_key": PROVIDER_KEY});
    world
        .manage("POST", &world.path("/llm-configs"), key, 201)
        .await;
    let asked = json!({
        "model": "grok-4.3", "stop": ["x"], "frequency_penalty": 1, "reasoning_effort": "max",
        "messages": [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": format!("hi {USAGE}")}],
    });
    let answer = world.send(&Request::chat(&world.end_user.key, asked)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("x-assistiv-provider"), Some("xai"));
    assert_eq!(
        answer.header("x-assistiv-dropped-params"),
        Some("frequency_penalty, stop")
    );
    let sent = world.mock.last_request().unwrap().json().unwrap();
    assert_eq!(sent["messages"][0]["role"], "system");
    assert_eq!(sent["reasoning_effort"], "high");
    assert!(sent.get("stop").is_none());
    // At 1.25, 0.20 and 2.50 dollars a million tokens.
    assert_eq!(paid(&world).await, 40 * 1_250 + 60 * 200 + 40 * 2_500);
}
