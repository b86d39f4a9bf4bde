//! What operators can count.

use serde_json::json;

use crate::client::Request;
use crate::world::World;

/// The value of a sample, 0 where there is none.
fn sample(text: &str, name: &str) -> f64 {
    let found = text.lines().find_map(|line| line.strip_prefix(name));
    found.map_or(0.0, |value| value.trim().parse().unwrap())
}

#[tokio::test]
async fn operators_see_what_happened_and_nobody_sees_whose_it_was() {
    let world = World::new().await;
    let operator = world.operator.clone();
    let read = async |world: &World| {
        let answer = world
            .send(&Request::new("GET", "/metrics", &operator))
            .await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(
            answer.header("content-type"),
            Some("text/plain; version=0.0.4; charset=utf-8")
        );
        answer.text
    };
    // One recorder serves all servers of a process.
    let before = read(&world).await;
    world.whole("mock:words=3").await;
    world.no_hold_is_left().await;
    let poor = world.make_platform("poor", "0").await;
    let call = json!({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "x"}]});
    let refused = world.send(&Request::chat(&poor.key, call)).await;
    assert_eq!(refused.status, 402, "{refused:?}");
    let after = read(&world).await;
    for name in [
        r#"http_requests_total{route="/v1/chat/completions",status="200"}"#,
        r#"http_requests_total{route="/v1/chat/completions",status="402"}"#,
        "billing_holds_total",
        "billing_settlements_total",
        r#"billing_denied_total{reason="wallet_insufficient",transient="false"}"#,
        r#"upstream_attempts_total{provider="openai",outcome="accepted"}"#,
        "billing_authorize_seconds_count",
        r#"billing_gate_wait_seconds_count{gate="settle"}"#,
        r#"billing_batch_seconds_count{lane="settle"}"#,
    ] {
        assert!(
            sample(&after, name) > sample(&before, name),
            "{name} in {after}"
        );
    }
    for id in [
        &world.platform.id,
        &world.end_user.id,
        &world.platform.key,
        &poor.id,
    ] {
        assert!(!after.contains(id), "{id} in {after}");
    }
}

#[tokio::test]
async fn metrics_are_the_operators() {
    let world = World::new().await;
    let ask = async |key: &str| world.send(&Request::new("GET", "/metrics", key)).await;
    ask(&world.platform.key)
        .await
        .refused(403, "wrong_key_type");
    ask(&world.end_user.key)
        .await
        .refused(403, "wrong_key_type");
    let mut without = Request::new("GET", "/metrics", &world.operator);
    without.drop("authorization");
    world.send(&without).await.refused(401, "missing_api_key");
}
