//! What a platform changes of the catalogue for itself.

use serde_json::{Value, json};

use crate::charge::body;
use crate::client::{Answer, Request};
use crate::world::World;

async fn put(world: &World, overrides: Value) -> Answer {
    let path = world.path("/model-routes?limit=100");
    let request = Request::new("PUT", &path, &world.platform.key);
    world
        .send(&request.json(json!({"overrides": overrides})))
        .await
}

async fn ask(world: &World, model: &str) -> Answer {
    let mut request = body("mock:words=3");
    request["model"] = json!(model);
    world
        .send(&Request::chat(&world.end_user.key, request))
        .await
}

async fn models(world: &World, key: &str) -> Vec<String> {
    let listed = world.send(&Request::new("GET", "/v1/models", key)).await;
    let entries = listed.json()["data"].as_array().unwrap().clone();
    entries
        .iter()
        .map(|entry| entry["id"].as_str().unwrap().to_owned())
        .collect()
}

fn of<'a>(listed: &'a Value, model: &str) -> &'a Value {
    let mut entries = listed["data"].as_array().unwrap().iter();
    entries.find(|entry| entry["model"] == model).unwrap()
}

#[tokio::test]
async fn an_alias_is_a_name_of_the_platform_alone() {
    let world = World::new().await;
    let other = world.make_platform("Other", "1").await;
    let aliases = json!([{"model": "gpt-4o-mini", "aliases": ["fast", "acme/small"]}]);
    let put = put(&world, aliases).await;
    assert_eq!(put.status, 200, "{put:?}");
    let put = put.json();
    let entry = of(&put, "gpt-4o-mini");
    assert_eq!(entry["aliases"], json!(["fast", "acme/small"]));
    assert_eq!(
        (&entry["usable"], &entry["is_enabled"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(entry["routes"][0]["source"], "operator");

    let answer = ask(&world, "fast").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json()["model"], "fast");
    // Charged as what it is.
    world.no_hold_is_left().await;
    let request = Request::new("GET", &world.path("/logs"), &world.platform.key);
    let row = loop {
        // Rows of the log are written in the background.
        let rows = world.send(&request).await.json()["data"].take();
        if let Some(row) = rows.get(0) {
            break row.clone();
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(row["billing_status"], "billed", "{row}");
    assert_ne!(row["estimated_cost_usd"], "0.000000", "{row}");

    let listed = models(&world, &world.end_user.key).await;
    assert!(listed.contains(&"fast".to_owned()) && listed.contains(&"gpt-4o-mini".to_owned()));
    let one = Request::new("GET", "/v1/models/acme%2Fsmall", &world.end_user.key);
    let one = world.send(&one).await;
    assert_eq!(
        (one.status, &one.json()["owned_by"]),
        (200, &json!("openai"))
    );

    assert!(
        !models(&world, &other.key)
            .await
            .contains(&"fast".to_owned())
    );
    let request = Request::new("GET", "/v1/models/fast", &other.key);
    world.send(&request).await.refused(404, "model_not_found");
}

#[tokio::test]
async fn what_is_switched_off_is_not_there_until_it_is_switched_on() {
    let world = World::new().await;
    assert_eq!(ask(&world, "gpt-4o-mini").await.status, 200);
    for off in [
        json!([{"model": "gpt-4o-mini", "is_enabled": false}]),
        json!([{"model": "gpt-4o-mini", "routes": [{"provider": "openai", "is_enabled": false}]}]),
    ] {
        let listed = put(&world, off).await.json();
        assert_eq!(of(&listed, "gpt-4o-mini")["usable"], false, "{listed}");
        ask(&world, "gpt-4o-mini")
            .await
            .refused(404, "model_not_found");
        let listed = models(&world, &world.end_user.key).await;
        assert!(!listed.contains(&"gpt-4o-mini".to_owned()), "{listed:?}");
    }
    let listed = put(&world, json!([])).await.json();
    assert_eq!(of(&listed, "gpt-4o-mini")["usable"], true);
    assert_eq!(ask(&world, "gpt-4o-mini").await.status, 200);
    world.provider_saw(2);
}

#[tokio::test]
async fn priorities_of_the_platform_show_as_its_own() {
    let world = World::new().await;
    let first = json!([{"model": "gpt-4o", "routes": [{"provider": "openai", "priority": 7}]}]);
    let listed = put(&world, first).await.json();
    let route = &of(&listed, "gpt-4o")["routes"][0];
    assert_eq!(
        (&route["source"], &route["priority"]),
        (&json!("platform"), &json!(7))
    );
    assert_eq!(
        (&route["has_key"], &route["has_price"]),
        (&json!(true), &json!(true))
    );
    let claude = listed["data"]
        .as_array()
        .unwrap()
        .iter()
        .find(|entry| entry["routes"][0]["provider"] == "anthropic");
    let claude = claude.unwrap();
    assert_eq!(
        (&claude["usable"], &claude["routes"][0]["has_key"]),
        (&json!(false), &json!(false))
    );
    let slugs: Vec<_> = listed["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| &entry["model"])
        .collect();
    assert!(slugs.is_sorted_by_key(|slug| slug.as_str().unwrap()));
}

#[tokio::test]
async fn what_is_wrong_is_said_and_changes_nothing() {
    let world = World::new().await;
    put(
        &world,
        json!([{"model": "gpt-4o-mini", "aliases": ["fast"]}]),
    )
    .await;
    for taken in [
        json!([{"model": "gpt-4o-mini", "aliases": ["gpt-4o"]}]),
        json!([{"model": "gpt-4o-mini", "aliases": ["x", "x"]}]),
        json!([{"model": "gpt-4o-mini", "aliases": ["x"]}, {"model": "gpt-4o", "aliases": ["x"]}]),
    ] {
        put(&world, taken).await.refused(409, "alias_taken");
    }
    for wrong in [
        json!("all"),
        json!([{"is_enabled": true}]),
        json!([{"model": "gpt-9"}]),
        json!([{"model": "gpt-4o"}, {"model": "gpt-4o"}]),
        json!([{"model": "gpt-4o", "aliases": ["a name"]}]),
        json!([{"model": "gpt-4o", "routes": [{"provider": "nobody"}]}]),
        json!([{"model": "gpt-4o", "routes": [{"provider": "anthropic"}]}]),
        json!([{"model": "gpt-4o", "routes": [{"provider": "openai", "priority": 10_001}]}]),
        Value::Array(vec![json!({"model": "gpt-4o"}); 501]),
    ] {
        put(&world, wrong).await.refused(400, "validation_failed");
    }
    assert_eq!(ask(&world, "fast").await.status, 200);
    let path = world.path("/model-routes");
    let request = Request::new("PUT", &path, &world.end_user.key).json(json!({"overrides": []}));
    world.send(&request).await.refused(403, "wrong_key_type");
}
