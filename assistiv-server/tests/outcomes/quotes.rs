//! What a call would cost, before it is made.

use serde_json::{Value, json};

use crate::charge::body;
use crate::client::{Answer, Request};
use crate::world::{Setup, World};

async fn ask(world: &World, key: &str, quote: Value) -> Answer {
    let request = Request::new("POST", "/v1/quotes", key).json(quote);
    world.send(&request).await
}

fn chat(prompt: &str, max_tokens: u64) -> Value {
    let mut request = body(prompt);
    request["max_tokens"] = json!(max_tokens);
    json!({"endpoint": "/v1/chat/completions", "request": request})
}

async fn quoted(world: &World, key: &str, quote: Value) -> Value {
    let answer = ask(world, key, quote).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["data"].clone()
}

/// Nothing of a quote remains: no charge, no log row, no hold, no request to a provider.
async fn nothing_happened(world: &World) {
    world.provider_saw(0);
    world.charged(&[]).await;
    let path = world.path("/logs");
    let request = Request::new("GET", &path, &world.platform.key);
    assert_eq!(world.send(&request).await.json()["total"], 0);
}

#[tokio::test]
async fn a_platform_sees_route_lines_and_hold() {
    let world = World::new().await;
    let quote = quoted(&world, &world.platform.key, chat("hello there", 512)).await;
    assert_eq!(quote["endpoint"], "/v1/chat/completions");
    assert_eq!(quote["model"], "gpt-4o-mini");
    let route = &quote["route"];
    assert_eq!(route["provider"], "openai");
    assert!(route["llm_config_id"].is_string() && route["price_id"].is_string());
    assert_eq!(route["fallbacks"], json!([]));
    let input = quote["tokens"]["input"].as_i64().unwrap();
    assert_eq!(quote["tokens"]["max_output"], 512);
    // At 0.15 and 0.60 dollars a million tokens: exact to the billionth.
    let [first, second] = &quote["price_lines"].as_array().unwrap()[..] else {
        panic!("{quote}")
    };
    assert_eq!(first["bucket"], "input");
    assert_eq!(first["amount_usd"], json!(in_usd(input * 150)));
    assert_eq!(second["amount_usd"], json!(in_usd(512 * 600)));
    assert_eq!(second["usd_per_mtok"], json!(0.6));
    // The hold has the margin on the input.
    let held = (input * 11 + 9) / 10;
    assert_eq!(
        quote["hold"],
        json!({"wallet_usd": in_usd(held * 150 + 512 * 600)})
    );
    assert_eq!(quote["max_output_tokens_sent"], 512);
    assert_eq!(
        (&quote["admitted"], &quote["refusal"]),
        (&json!(true), &Value::Null)
    );
    nothing_happened(&world).await;
}

#[tokio::test]
async fn an_end_user_sees_what_its_budget_would_be_charged() {
    let world = World::new().await;
    let settings = json!({"settings": {"markup_percentage": 25, "end_user_budget_view": "usd"}});
    world.manage("PATCH", &world.path(""), settings, 200).await;
    let quote = quoted(&world, &world.end_user.key, chat("hello there", 100)).await;
    let input = quote["tokens"]["input"].as_i64().unwrap();
    let line = &quote["price_lines"][1];
    assert_eq!(line["amount_usd"], json!(in_usd(100 * 750)), "{quote}");
    assert!(line.get("usd_per_mtok").is_none(), "{quote}");
    let hold = &quote["hold"];
    assert_eq!(hold["budget_tokens"], (input * 11 + 9) / 10 + 100);
    assert!(hold["budget_usd"].is_number() && hold.get("wallet_usd").is_none());
    let text = quote.to_string();
    assert!(
        !text.contains("llm_config_id") && !text.contains("price_id"),
        "{text}"
    );

    // A platform asks for the same user, and sees both sides.
    let mut request = chat("hello there", 100);
    request["end_user_id"] = json!(world.end_user.id);
    let seen = quoted(&world, &world.platform.key, request).await;
    assert_eq!(seen["hold"]["budget_usd"], hold["budget_usd"]);
    assert!(seen["hold"]["wallet_usd"].is_number());

    let tokens = json!({"settings": {"end_user_budget_view": "tokens"}});
    world.manage("PATCH", &world.path(""), tokens, 200).await;
    let quote = quoted(&world, &world.end_user.key, chat("hello there", 100)).await;
    assert!(!quote.to_string().contains("usd"), "{quote}");
    assert!(quote["hold"]["budget_tokens"].is_number());
    nothing_happened(&world).await;
}

#[tokio::test]
async fn what_would_be_refused_is_said_with_the_refusal() {
    let world = World::new().await;
    let poor = world.make_platform("poor", "0").await;
    let quote = quoted(&world, &poor.key, chat("hello", 100)).await;
    assert_eq!(quote["admitted"], false);
    assert_eq!(
        quote["checks"],
        json!({"rate_limits": true, "budget": true, "wallet": false, "price": true})
    );
    let refusal = &quote["refusal"];
    let call = world.send(&Request::chat(&poor.key, body("hello"))).await;
    let error = call.refused(402, "wallet_insufficient");
    assert_eq!(
        (&refusal["status"], &refusal["reason"], &refusal["code"]),
        (&json!(402), &error["reason"], &error["code"])
    );

    let suspended = json!({"is_suspended": true});
    let path = world.user_path("/budget");
    world.manage("PATCH", &path, suspended, 200).await;
    let quote = quoted(&world, &world.end_user.key, chat("hello", 100)).await;
    assert_eq!(quote["refusal"]["reason"], "budget_suspended");
    assert_eq!(
        (&quote["checks"]["budget"], &quote["checks"]["wallet"]),
        (&json!(false), &json!(true))
    );
    nothing_happened(&world).await;
}

#[tokio::test]
async fn an_output_limit_that_would_be_lowered_is_told() {
    let world = World::with(Setup {
        wallet: 100_000,
        ..Setup::default()
    })
    .await;
    let quote = quoted(&world, &world.platform.key, chat("hello", 4_000)).await;
    let sent = quote["max_output_tokens_sent"].as_u64().unwrap();
    assert!(sent < 4_000 && sent > 0, "{quote}");
    assert_eq!(quote["tokens"]["max_output"], sent);
    nothing_happened(&world).await;
    let mut request = body("mock:words=3 hello");
    request["max_tokens"] = json!(4_000);
    let answer = world
        .send(&Request::chat(&world.platform.key, request))
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.header("x-assistiv-max-tokens").is_some());
}

#[tokio::test]
async fn wrong_requests_are_refused_like_calls() {
    let world = World::new().await;
    let key = &world.platform.key;
    let unknown = json!({"endpoint": "/v1/chat/completions", "request": {"model": "gpt-nine", "messages": []}});
    let answer = ask(&world, key, unknown).await;
    assert!(answer.status == 404 || answer.status == 400, "{answer:?}");
    let nowhere = json!({"endpoint": "/v1/messages/count_tokens", "request": {}});
    ask(&world, key, nowhere)
        .await
        .refused(400, "validation_failed");
    ask(&world, key, json!({}))
        .await
        .refused(400, "validation_failed");
    let own = json!({"endpoint": "/v1/chat/completions", "request": body("x"), "end_user_id": world.end_user.id});
    ask(&world, &world.end_user.key, own)
        .await
        .refused(400, "validation_failed");
    let other = world.make_platform("other", "1").await;
    let foreign = json!({"endpoint": "/v1/chat/completions", "request": body("x"), "end_user_id": world.end_user.id});
    ask(&world, &other.key, foreign)
        .await
        .refused(404, "end_user_not_found");
    ask(&world, &world.operator, chat("x", 1))
        .await
        .refused(403, "wrong_key_type");
    nothing_happened(&world).await;
}

fn in_usd(nano: i64) -> f64 {
    let text = format!("{}.{:09}", nano / 1_000_000_000, nano % 1_000_000_000);
    text.parse().unwrap()
}
