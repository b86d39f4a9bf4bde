//! A Gemini model, whose provider's pieces are all alike and whose streams just end: callers see the same, and pay
//! what it says.

use assistiv_core::id::PlatformId;
use serde_json::{Value, json};

use crate::charge::with;
use crate::client::{Answer, Connection, Request, Rest};
use crate::world::{PROVIDER_KEY, WALLET, World};

const MODEL: &str = "gemini-3.5-flash";
const USAGE: &str = "mock:prompt_tokens=100 mock:completion_tokens=40 mock:cached_tokens=60";

/// A world whose platform has a key for Google, too.
async fn world() -> World {
    let world = World::new().await;
    let key = json!({"provider": "google", "api_key": PROVIDER_KEY});
    world
        .manage("POST", &world.path("/llm-configs"), key, 201)
        .await;
    world
}

fn body(prompt: &str) -> Value {
    json!({"model": MODEL, "messages": [{"role": "user", "content": prompt}]})
}

async fn whole(world: &World, body: Value) -> Answer {
    world.send(&Request::chat(&world.end_user.key, body)).await
}

async fn streamed(world: &World, body: Value) -> Rest {
    let mut connection = Connection::open(world.address).await;
    let body = with(
        body,
        json!({"stream": true, "stream_options": {"include_usage": true}}),
    );
    connection
        .send(&Request::chat(&world.end_user.key, body))
        .await;
    connection.stream().await.rest().await
}

/// What the wallet has paid, in nano-dollars.
async fn paid(world: &World) -> i64 {
    world.no_hold_is_left().await;
    let platform: PlatformId = world.platform.id.parse().unwrap();
    let scope = world.gateway.local_operator().manage(platform).unwrap();
    let wallet = world.gateway.stores().ledger.wallet(&scope).await.unwrap();
    WALLET - wallet.balance.get()
}

/// At 1.50, 0.15 and 9 dollars a million tokens.
fn cost(input: i64, cached: i64, output: i64) -> i64 {
    input * 1_500 + cached * 150 + output * 9_000
}

fn tools() -> Value {
    let city =
        json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]});
    json!([{"type": "function", "function": {"name": "weather", "parameters": city}}])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_in_one_piece_costs_what_it_says() {
    let world = world().await;
    let answer = whole(&world, body(&format!("mock:words=7 {USAGE}"))).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("x-assistiv-provider"), Some("google"));
    let body = answer.json();
    assert_eq!(
        (&body["object"], &body["model"]),
        (&json!("chat.completion"), &json!(MODEL))
    );
    let choice = &body["choices"][0];
    assert_eq!(
        choice["message"]["content"],
        "mock answers repeat these simple words until"
    );
    assert_eq!(choice["finish_reason"], "stop");
    assert_eq!(body["usage"]["prompt_tokens"], 100);
    assert_eq!(body["usage"]["prompt_tokens_details"]["cached_tokens"], 60);
    assert_eq!(paid(&world).await, cost(40, 60, 40));
    let sent = world.mock.last_request().unwrap();
    assert_eq!(sent.path, format!("/v1/models/{MODEL}:generateContent"));
    assert_eq!(sent.headers["x-goog-api-key"], PROVIDER_KEY);
    assert!(sent.headers["x-goog-api-key"].is_sensitive());
    assert!(!sent.headers.contains_key("authorization"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_costs_what_it_says_at_its_end() {
    let world = world().await;
    let rest = streamed(
        &world,
        body(&format!("mock:words=30 mock:comments {USAGE}")),
    )
    .await;
    rest.ended_well();
    assert_eq!(rest.text().split(' ').count(), 30);
    let usage = &rest.chunks.last().unwrap()["usage"];
    assert_eq!(
        (&usage["prompt_tokens"], &usage["completion_tokens"]),
        (&json!(100), &json!(40))
    );
    assert_eq!(paid(&world).await, cost(40, 60, 40));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tool_loop_keeps_its_thoughts() {
    let world = world().await;
    for stream in [false, true] {
        let asked = with(
            body(&format!("Oslo? mock:reasoning_tokens=5 {USAGE}")),
            json!({"tools": tools()}),
        );
        let before = paid(&world).await;
        let (message, reason) = if stream {
            let rest = streamed(&world, asked.clone()).await;
            rest.ended_well();
            (message_of(&rest), rest.finish_reason().unwrap().to_owned())
        } else {
            let choice = whole(&world, asked.clone()).await.json()["choices"][0].clone();
            let reason = choice["finish_reason"].as_str().unwrap().to_owned();
            (choice["message"].clone(), reason)
        };
        assert_eq!(reason, "tool_calls");
        assert_eq!(paid(&world).await - before, cost(40, 60, 40));
        assert_eq!(message["reasoning_content"], "Let me count the words.");
        let call = &message["tool_calls"][0];
        assert_eq!(call["function"]["name"], "weather");
        let arguments = call["function"]["arguments"].as_str().unwrap();
        let arguments: Value = serde_json::from_str(arguments).unwrap();
        assert_eq!(arguments, json!({"city": "text"}));

        // A client that knows nothing of thoughts sends back what it understands.
        let said =
            json!({"role": "assistant", "content": null, "tool_calls": message["tool_calls"]});
        let result = json!({"role": "tool", "tool_call_id": call["id"], "content": "18C"});
        let messages = json!([asked["messages"][0], said, result]);
        let go_on = with(asked, json!({"messages": messages}));
        let answer = whole(&world, go_on).await;
        assert_eq!(answer.json()["choices"][0]["finish_reason"], "stop");
        let sent = world.mock.last_request().unwrap().json().unwrap();
        let part = &sent["contents"][1]["parts"][0];
        assert_eq!(part["thoughtSignature"], "bW9jaw==", "{sent}");
        assert_eq!(part["functionCall"]["id"], call["id"]);
        let result = &sent["contents"][2]["parts"][0]["functionResponse"];
        let expected = json!({"id": call["id"], "name": "weather", "response": {"output": "18C"}});
        assert_eq!(*result, expected);
    }
}

/// Puts the message of a stream with one tool call together.
fn message_of(rest: &Rest) -> Value {
    let deltas = || {
        rest.chunks
            .iter()
            .map(|chunk| &chunk["choices"][0]["delta"])
    };
    let joined = |pointer: &str| -> String {
        let pieces = deltas().filter_map(|delta| delta.pointer(pointer)?.as_str());
        pieces.collect()
    };
    let call = "/tool_calls/0/function";
    json!({
        "reasoning_content": joined("/reasoning_content"),
        "tool_calls": [{
            "id": joined("/tool_calls/0/id"), "type": "function",
            "function": { "name": joined(&format!("{call}/name")), "arguments": joined(&format!("{call}/arguments")) },
        }],
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_reminded_of_anothers_thoughts() {
    let world = world().await;
    let asked = with(
        body("Oslo? mock:reasoning_tokens=5"),
        json!({"tools": tools()}),
    );
    let answer = whole(&world, asked.clone()).await.json();
    let said = &answer["choices"][0]["message"];
    let result =
        json!({"role": "tool", "tool_call_id": said["tool_calls"][0]["id"], "content": "18C"});
    let messages = json!([asked["messages"][0], said, result]);
    let request = Request::chat(
        &world.platform.key,
        with(asked, json!({"messages": messages})),
    );
    assert_eq!(world.send(&request).await.status, 200);
    let sent = world.mock.last_request().unwrap().json().unwrap();
    let part = &sent["contents"][1]["parts"][0];
    let unchecked = "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I=";
    assert_eq!(part["thoughtSignature"], unchecked, "{sent}");
    assert!(part["functionCall"].get("id").is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_model_does_not_take_is_named_or_refused() {
    let world = world().await;
    let asked = with(
        body("hi"),
        json!({"logit_bias": {}, "sparkle": true, "a\"b,": 1}),
    );
    let answer = whole(&world, asked.clone()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(
        answer.header("x-assistiv-dropped-params"),
        Some("logit_bias, sparkle")
    );
    let settings = json!({"settings": {"unsupported_params": "error"}});
    world.manage("PATCH", &world.path(""), settings, 200).await;
    let before = paid(&world).await;
    let error = whole(&world, asked).await.refused(400, "unsupported_value");
    assert_eq!(error["param"], "logit_bias");
    let unknown = whole(&world, with(body("hi"), json!({"sparkle": true}))).await;
    assert_eq!(unknown.header("x-assistiv-dropped-params"), Some("sparkle"));
    let two = whole(&world, with(body("hi"), json!({"n": 2}))).await;
    assert_eq!(two.refused(400, "unsupported_parameter")["param"], "n");
    let lone = json!({"messages": [{"role": "system", "content": "x"}]});
    let error = whole(&world, with(body("hi"), lone))
        .await
        .refused(400, "validation_failed");
    assert_eq!(error["param"], "messages");
    world.provider_saw(2);
    assert!(paid(&world).await > before, "the one that was answered");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_providers_failures_are_told_as_any_others() {
    let world = world().await;
    for (fault, status, reason) in [
        ("status=503", 503, "provider_overloaded"),
        ("status=401", 502, "provider_auth_error"),
        ("status=429", 429, "provider_rate_limited"),
        ("quota", 503, "provider_quota_exhausted"),
        ("status=400", 400, "provider_bad_request"),
        ("html", 502, "provider_error"),
        ("garbage", 502, "provider_malformed_output"),
    ] {
        let answer = whole(&world, body(&format!("mock:{fault}"))).await;
        answer.refused(status, reason);
    }
    assert_eq!(paid(&world).await, 0);
    for (fault, status, reason) in [
        ("cut", 502, "provider_stream_interrupted"),
        ("end_early", 502, "provider_stream_interrupted"),
        ("garbage", 502, "provider_malformed_output"),
        ("error_mid", 502, "provider_error"),
    ] {
        let before = paid(&world).await;
        let rest = streamed(&world, body(&format!("mock:words=20 mock:{fault}"))).await;
        rest.failed(status, reason);
        assert_eq!(rest.text().split(' ').count(), 10, "{fault}");
        assert!(
            paid(&world).await > before,
            "what was delivered is charged: {fault}"
        );
    }
    let rest = streamed(&world, body("mock:no_done mock:words=3")).await;
    rest.ended_well();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_models_are_listed() {
    let world = world().await;
    let request = Request::new("GET", "/v1/models", &world.end_user.key);
    let models = world.send(&request).await.json();
    let model = models["data"]
        .as_array()
        .unwrap()
        .iter()
        .find(|model| model["id"] == MODEL);
    assert_eq!(model.unwrap()["owned_by"], "google");
}

async fn embed(world: &World, body: Value) -> Answer {
    let request = Request::new("POST", "/v1/embeddings", &world.end_user.key).json(body);
    world.send(&request).await
}

/// At 0.15 dollars a million tokens, whether the provider says how many there were or not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn embeddings_are_one_batch_and_come_back_in_order() {
    const EMBEDDING: &str = "gemini-embedding-001";
    let world = world().await;
    let texts = json!(["mock:prompt_tokens=1000 one", "two"]);
    let ask = json!({"model": EMBEDDING, "input": texts, "dimensions": 4});
    let answer = embed(&world, ask.clone()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let list = answer.json();
    assert_eq!(
        (&list["object"], &list["model"]),
        (&json!("list"), &json!(EMBEDDING))
    );
    assert_eq!(
        list["usage"],
        json!({"prompt_tokens": 1000, "total_tokens": 1000})
    );
    let numbers = list["data"].as_array().unwrap();
    assert_eq!(numbers.len(), 2);
    for (index, entry) in numbers.iter().enumerate() {
        assert_eq!(
            (&entry["object"], &entry["index"]),
            (&json!("embedding"), &json!(index))
        );
        assert_eq!(entry["embedding"].as_array().unwrap().len(), 4);
    }
    assert_ne!(numbers[0]["embedding"], numbers[1]["embedding"]);
    assert_eq!(paid(&world).await, 1000 * 150);

    let coded = embed(&world, with(ask, json!({"encoding_format": "base64"}))).await;
    // Four 32-bit floats.
    assert_eq!(
        coded.json()["data"][0]["embedding"].as_str().unwrap().len(),
        24
    );
    assert_eq!(paid(&world).await, 2 * 1000 * 150);

    let silent = json!({"model": EMBEDDING, "input": "mock:no_usage some words"});
    let answer = embed(&world, silent).await;
    let counted = answer.json()["usage"]["prompt_tokens"].as_i64().unwrap();
    assert_eq!(counted, 8, "24 bytes, three to a token");
    assert_eq!(paid(&world).await, 2 * 1000 * 150 + counted * 150);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_embedded_is_refused() {
    let world = world().await;
    let ask = async |input: Value| {
        embed(
            &world,
            json!({"model": "gemini-embedding-001", "input": input}),
        )
        .await
    };
    for ids in [json!([1, 2, 3]), json!([[1, 2], [3]])] {
        let error = ask(ids).await.refused(400, "unsupported_parameter");
        assert_eq!(error["param"], "input");
    }
    ask(json!("mock:status=503"))
        .await
        .refused(503, "provider_overloaded");
    assert_eq!(paid(&world).await, 0);
}
