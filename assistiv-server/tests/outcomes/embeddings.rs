//! Embeddings: both encodings, and a charge for the input alone.

use serde_json::{Value, json};

use crate::charge::with;
use crate::client::{Answer, Request};
use crate::world::World;

const SMALL: &str = "text-embedding-3-small";

async fn embed(world: &World, body: Value) -> Answer {
    let request = Request::new("POST", "/v1/embeddings", &world.end_user.key).json(body);
    world.send(&request).await
}

/// What the platform reads below its path.
async fn read(world: &World, rest: &str) -> String {
    let request = Request::new("GET", &world.path(rest), &world.platform.key);
    world.send(&request).await.text
}

fn body(input: &Value) -> Value {
    json!({"model": SMALL, "input": input})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn vectors_come_in_order_and_cost_their_input() {
    let world = World::new().await;
    for (input, count) in [
        (json!("mock:prompt_tokens=1000 one"), 1),
        (json!(["mock:prompt_tokens=1000", "two"]), 2),
        (json!([1, 2, 3]), 1),
        (json!([[1, 2], [3]]), 2),
    ] {
        let answer = embed(&world, body(&input)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let list = answer.json();
        assert_eq!(
            (&list["object"], &list["model"]),
            (&json!("list"), &json!(SMALL))
        );
        let data = list["data"].as_array().unwrap();
        assert_eq!(data.len(), count);
        for (index, entry) in data.iter().enumerate() {
            assert_eq!(entry["index"], index);
            assert!(entry["embedding"][0].is_number());
        }
        assert!(answer.header("x-assistiv-max-tokens").is_none());
    }
    let input = json!("mock:prompt_tokens=1000 x");
    let options = json!({"encoding_format": "base64", "dimensions": 4, "user": "u"});
    let answer = embed(&world, with(body(&input), options)).await;
    // Four 32-bit floats.
    assert_eq!(
        answer.json()["data"][0]["embedding"]
            .as_str()
            .unwrap()
            .len(),
        24
    );
    let sent: Value = serde_json::from_slice(&world.mock.last_request().unwrap().body).unwrap();
    assert_eq!(sent["dimensions"], 4);
    // At 0.02 dollars a million tokens: 3,000 and six.
    world.no_hold_is_left().await;
    let wallet = read(&world, "/wallet").await;
    assert!(wallet.contains("\"balance\":0.99993988"), "{wallet}");
    // Rows of the log are written in the background.
    while !read(&world, "/logs").await.contains("\"embedding\"") {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn models_and_endpoints_must_fit() {
    let world = World::new().await;
    let answer = embed(&world, json!({"model": "gpt-4o-mini", "input": "x"})).await;
    answer.refused(400, "unsupported_endpoint");
    let chat = json!({"model": SMALL, "messages": [{"role": "user", "content": "x"}]});
    let answer = world.send(&Request::chat(&world.end_user.key, chat)).await;
    answer.refused(400, "unsupported_endpoint");
    embed(&world, body(&json!([])))
        .await
        .refused(400, "validation_failed");
    embed(&world, body(&json!("mock:status=429")))
        .await
        .refused(429, "provider_rate_limited");
    embed(&world, body(&json!("mock:garbage")))
        .await
        .refused(502, "provider_malformed_output");
    world.charged(&[]).await;
    let listed = world
        .send(&Request::new("GET", "/v1/models", &world.end_user.key))
        .await;
    let ids: Vec<_> = listed.json()["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["id"].clone())
        .collect();
    assert!(ids.contains(&json!(SMALL)), "{ids:?}");
    let one = format!("/v1/models/{SMALL}");
    let one = world
        .send(&Request::new("GET", &one, &world.end_user.key))
        .await;
    assert_eq!(one.json()["owned_by"], "openai");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_provider_does_not_take_at_once_goes_in_parts() {
    let world = World::new().await;
    let key = json!({"provider": "google", "api_key": crate::world::PROVIDER_KEY});
    world
        .manage("POST", &world.path("/llm-configs"), key, 201)
        .await;
    let ask = async |texts: &[String]| {
        embed(
            &world,
            json!({"model": "gemini-embedding-001", "input": texts}),
        )
        .await
    };
    let texts: Vec<_> = (0..250).map(|index| format!("text {index}")).collect();
    let all = ask(&texts).await;
    assert_eq!(all.status, 200, "{all:?}");
    world.provider_saw(3);
    let all = all.json();
    let all = all["data"].as_array().unwrap();
    assert_eq!(all.len(), 250);
    for (index, entry) in all.iter().enumerate() {
        assert_eq!(entry["index"], index);
    }
    // Each in its own place, as if it had been asked for alone.
    for index in [0, 99, 100, 101, 200, 249] {
        let one = ask(&texts[index..=index]).await.json();
        assert_eq!(one["data"][0]["embedding"], all[index]["embedding"]);
    }

    // One part that fails fails all of it, and nothing is charged.
    world.no_hold_is_left().await;
    let before = read(&world, "/wallet").await;
    let mut texts = texts;
    texts[150] = "mock:status=400".to_owned();
    let failed = ask(&texts).await;
    assert_eq!(failed.status, 400, "{failed:?}");
    world.no_hold_is_left().await;
    let balance =
        |wallet: &str| serde_json::from_str::<Value>(wallet).unwrap()["data"]["balance"].clone();
    assert_eq!(balance(&read(&world, "/wallet").await), balance(&before));
}
