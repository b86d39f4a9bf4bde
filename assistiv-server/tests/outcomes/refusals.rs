//! Calls that the gateway refuses: nothing reaches the provider, nothing is charged.

use assistiv_core::auth::{KeyKind, PresentedKey};
use serde_json::json;

use crate::charge::{Charge, body, with};
use crate::client::{Answer, Request};
use crate::world::{BUDGET_USD, Setup, World, dollars};

/// Nothing came of the calls so far.
async fn nothing_happened(world: &World) {
    world.provider_saw(0);
    world.charged(&[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_key_is_refused() {
    let world = World::new().await;
    let unknown = PresentedKey::generate(KeyKind::Platform).unwrap();
    for key in [
        "sk-plat_123",
        unknown.reveal(),
        &world.end_user.key[..20],
        "",
    ] {
        let answer = world.send(&Request::chat(key, body("hello"))).await;
        let reason = if key.is_empty() {
            "missing_api_key"
        } else {
            "invalid_api_key"
        };
        answer.refused(401, reason);
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        assert!(key.is_empty() || !answer.text.contains(key));
    }
    nothing_happened(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_user_key_manages_nothing() {
    let world = World::new().await;
    let change = json!({"max_usd": 1000});
    for (method, path) in [
        ("GET", world.path("")),
        ("POST", world.path("/wallet/topup")),
        ("PATCH", world.user_path("/budget")),
        ("POST", "/v1/admin/platforms".to_owned()),
    ] {
        let request = Request::new(method, &path, &world.end_user.key);
        let answer = if method == "GET" {
            world.send(&request).await
        } else {
            world.send(&request.json(&change)).await
        };
        answer.refused(403, "wrong_key_type");
    }
    nothing_happened(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_of_another_platform_sees_nothing() {
    let world = World::new().await;
    let other = world.make_platform("Other", "1").await;
    for path in [
        world.path(""),
        world.path("/wallet"),
        world.user_path("/budget"),
    ] {
        let answer = world.send(&Request::new("GET", &path, &other.key)).await;
        answer.refused(403, "forbidden");
        assert!(!answer.text.contains("Acme"));
    }
    // Below one's own platform, an end user of another is as unknown as one who never was.
    let path = format!("/v1/platforms/{}/end-users/{}", other.id, world.end_user.id);
    let answer = world.send(&Request::new("GET", &path, &other.key)).await;
    answer.refused(404, "end_user_not_found");
    nothing_happened(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_wallet_is_told() {
    let world = World::with(Setup {
        wallet: 0,
        ..Setup::default()
    })
    .await;
    for key in [&world.platform.key, &world.end_user.key] {
        let answer = world.send(&Request::chat(key, body("hello"))).await;
        let error = answer.refused(402, "wallet_insufficient");
        assert_eq!(error["details"]["transient"], false);
        assert_eq!(answer.header("retry-after"), None);
        // What the platform has is no business of its end users.
        let shows = error["details"].get("available").is_some();
        assert_eq!(shows, *key == world.platform.key, "{error}");
    }
    nothing_happened(&world).await;
}

/// Refused for want of `ledger`, until it is topped up.
async fn refused_until_topped_up(world: &World, ledger: &str, topup: serde_json::Value) {
    let answer = world.whole("hello").await;
    let error = answer.refused(402, "budget_exhausted");
    assert_eq!(
        (&error["details"]["ledger"], &error["details"]["transient"]),
        (&ledger.into(), &false.into())
    );
    assert_eq!(answer.header("retry-after"), None);
    world.provider_saw(0);
    world
        .manage("POST", &world.user_path("/budget/topup"), topup, 200)
        .await;
    assert_eq!(world.whole("hello").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exhausted_dollar_budget_is_told() {
    let world = World::new().await;
    let debit = json!({"amount_usd": dollars(BUDGET_USD)});
    world
        .manage("POST", &world.user_path("/budget/debit"), debit, 200)
        .await;
    refused_until_topped_up(&world, "usd", json!({"amount_usd": 1})).await;
    // The debit is no call and stands in no wallet.
    world.provider_saw(1);
    assert_eq!(
        world
            .send(&Request::chat(&world.platform.key, body("hi")))
            .await
            .status,
        200
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exhausted_token_budget_is_told() {
    let budget = json!({"max_tokens": 100});
    let world = World::with(Setup {
        budget,
        ..Setup::default()
    })
    .await;
    let debit = json!({"amount_tokens": 100});
    world
        .manage("POST", &world.user_path("/budget/debit"), debit, 200)
        .await;
    refused_until_topped_up(&world, "tokens", json!({"amount_tokens": 1000})).await;
    world.provider_saw(1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suspended_user_is_refused_until_resumed() {
    let world = World::new().await;
    let path = world.user_path("/budget");
    world
        .manage("PATCH", &path, json!({"is_suspended": true}), 200)
        .await;
    world.whole("hello").await.refused(402, "budget_suspended");
    world
        .refused_stream("hello")
        .await
        .refused(402, "budget_suspended");
    nothing_happened(&world).await;
    world
        .manage("PATCH", &path, json!({"is_suspended": false}), 200)
        .await;
    assert_eq!(
        world
            .whole("mock:prompt_tokens=10 mock:completion_tokens=20")
            .await
            .status,
        200
    );
    world.charged(&[Charge::reported(10, 20)]).await;
}

async fn refused_body(world: &World, body: &str, status: u16, reason: &str) -> Answer {
    let answer = world.send(&Request::chat(&world.end_user.key, body)).await;
    answer.refused(status, reason);
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_model_is_not_found() {
    let world = World::new().await;
    let asked = with(body("hello"), json!({"model": "gpt-4o-mimi"})).to_string();
    let answer = refused_body(&world, &asked, 404, "model_not_found").await;
    let error = &answer.json()["error"];
    assert_eq!(
        (&error["param"], &error["details"]["suggestion"]),
        (&"model".into(), &"gpt-4o-mini".into())
    );
    nothing_happened(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_without_an_adapter_is_not_found() {
    let world = World::new().await;
    // In the catalogue, but only at a provider that this server has no adapter for.
    let asked = with(body("hello"), json!({"model": "claude-fable-5-2"})).to_string();
    refused_body(&world, &asked, 404, "model_not_found").await;
    nothing_happened(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_no_acceptable_json_is_refused() {
    let world = World::new().await;
    let deep = format!("{}1{}", "[".repeat(65), "]".repeat(65));
    let deep = with(body("hello"), json!({"metadata": "DEEP"}))
        .to_string()
        .replace("\"DEEP\"", &deep);
    let good = body("hello").to_string();
    let repeated = good.replacen('{', r#"{"model":"gpt-4o","#, 1);
    for bad in ["", "hello", "{", "[1]", r#"{"model":}"#, &repeated, &deep] {
        refused_body(&world, bad, 400, "invalid_json").await;
    }
    nothing_happened(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_bad_fields_are_listed_at_once() {
    let world = World::new().await;
    let bad = json!({"model": "gpt-4o-mini", "temperature": 3, "n": 0}).to_string();
    let answer = refused_body(&world, &bad, 400, "validation_failed").await;
    let error = &answer.json()["error"];
    let params = error["details"]["errors"].as_array().unwrap().iter();
    let params: Vec<_> = params
        .map(|error| error["param"].as_str().unwrap())
        .collect();
    assert_eq!(params, ["messages", "n", "temperature"]);
    assert_eq!(error["param"], "messages");
    nothing_happened(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_content_type_is_refused() {
    let world = World::new().await;
    let text = body("hello").to_string();
    for (name, value) in [("content-type", "text/plain"), ("content-encoding", "gzip")] {
        let mut request = Request::chat(&world.end_user.key, &text);
        request.set(name, value);
        world
            .send(&request)
            .await
            .refused(415, "unsupported_media_type");
    }
    nothing_happened(&world).await;
}

/// Also where no rule charges it anything for the call.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_display_ledger_that_is_used_up_refuses() {
    let world = World::new().await;
    let put = json!({"max": 2, "used": 2});
    world
        .manage("PUT", &world.user_path("/wallet"), put, 200)
        .await;
    for answer in [
        world.whole("hello").await,
        world.refused_stream("hello").await,
    ] {
        let error = answer.refused(402, "budget_exhausted");
        assert_eq!(error["details"]["ledger"], "display", "{error}");
    }
    nothing_happened(&world).await;
    let more = json!({"amount": "0.000001"});
    world
        .manage("POST", &world.user_path("/wallet/topup"), more, 200)
        .await;
    assert_eq!(world.whole("mock:words=3").await.status, 200);
    world.no_hold_is_left().await;
    let request = Request::new("GET", &world.user_path("/wallet"), &world.platform.key);
    let wallet = world.send(&request).await.json()["data"]["display_ledger"].clone();
    assert_eq!(wallet["used"], 2, "{wallet}");
}
