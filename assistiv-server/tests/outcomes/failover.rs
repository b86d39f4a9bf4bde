//! Calls whose first target fails: another one answers, and is paid once.

use serde_json::json;

use crate::client::Request;
use crate::world::{PROVIDER_KEY, Setup, World};

/// The double refuses this key with 401, which counts as a failure of the target.
const REFUSED_KEY: &str = "mock-invalid-key";

/// A world whose platform's first key is refused by the provider, and whose second is good.
async fn world() -> World {
    let world = World::with(Setup {
        provider_key: REFUSED_KEY,
        ..Setup::default()
    })
    .await;
    let good = json!({"provider": "openai", "api_key": PROVIDER_KEY, "priority": 1000});
    world
        .manage("POST", &world.path("/llm-configs"), good, 201)
        .await;
    world
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_target_answers_and_is_paid_once() {
    let world = world().await;
    let answer = world.whole("mock:words=3").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    world.provider_saw(2);
    world.no_hold_is_left().await;
    world.stream("mock:words=3").await.rest().await.ended_well();
    world.provider_saw(4);
    let path = world.path("/wallet/transactions?type=llm_usage");
    let request = Request::new("GET", &path, &world.platform.key);
    let rows = world.send(&request).await.json();
    assert_eq!(rows["data"].as_array().unwrap().len(), 2, "{rows}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_keeps_failing_is_left_alone() {
    let world = world().await;
    for _ in 0..5 {
        assert_eq!(world.whole("mock:words=3").await.status, 200);
    }
    world.provider_saw(10);
    for _ in 0..3 {
        assert_eq!(world.whole("mock:words=3").await.status, 200);
    }
    world.provider_saw(13);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_asks_for_rest_is_left_alone() {
    let world = World::new().await;
    let second = json!({"provider": "openai", "api_key": "sk-second", "priority": 1000});
    world
        .manage("POST", &world.path("/llm-configs"), second, 201)
        .await;
    // Both targets ask to be left alone, and are asked all the same, one of them, when there is no other.
    world
        .whole("mock:status=429")
        .await
        .refused(429, "provider_rate_limited");
    world.provider_saw(2);
    assert_eq!(world.whole("mock:words=3").await.status, 200);
    world.provider_saw(3);
    // The one that has answered is well; the other still rests.
    world
        .whole("mock:status=500")
        .await
        .refused(502, "provider_error");
    world.provider_saw(4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_request_goes_to_no_other_target() {
    let world = World::new().await;
    let second = json!({"provider": "openai", "api_key": "sk-second", "priority": 1000});
    world
        .manage("POST", &world.path("/llm-configs"), second, 201)
        .await;
    for _ in 0..10 {
        world
            .whole("mock:status=400")
            .await
            .refused(400, "provider_bad_request");
    }
    world.provider_saw(10);
    world.charged(&[]).await;
}
