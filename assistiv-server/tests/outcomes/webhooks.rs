//! Webhooks from the running server to a receiver on the same machine.

mod receiver;

use std::collections::HashSet;
use std::time::Duration;

use serde_json::{Value, json};

use self::receiver::{Message, Receiver, verify};
use crate::client::Request;
use crate::world::World;

const PATIENCE: Duration = Duration::from_secs(30);

async fn get(world: &World, path: &str) -> Value {
    let request = Request::new("GET", path, &world.platform.key);
    let answer = world.send(&request).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["data"].clone()
}

async fn endpoint(world: &World, url: &str, event_types: Value) -> Value {
    let mut body = json!({"url": url});
    if !event_types.is_null() {
        body["event_types"] = event_types;
    }
    world
        .manage("POST", &world.path("/webhooks"), body, 201)
        .await
}

fn path_of(world: &World, hook: &Value, rest: &str) -> String {
    world.path(&format!("/webhooks/{}{rest}", hook["id"].as_str().unwrap()))
}

async fn top_up(world: &World) {
    let path = world.user_path("/budget/topup");
    world
        .manage("POST", &path, json!({"amount_usd": "1"}), 200)
        .await;
}

/// The endpoint's deliveries once they are as wanted.
async fn deliveries(world: &World, hook: &Value, is_so: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let path = path_of(world, hook, "/deliveries");
    let wait = async {
        loop {
            let rows = get(world, &path).await.as_array().unwrap().clone();
            if is_so(&rows) {
                return rows;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, wait).await;
    waited.expect("the deliveries come to it")
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap()
}

fn event(message: &Message) -> Value {
    serde_json::from_slice(&message.body).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happens_arrives_signed_and_once() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let url = receiver.url("/hook?tenant=7");
    let hook = endpoint(&world, &url, Value::Null).await;
    let on_by_default = [
        "budget.topped_up",
        "budget.low_balance",
        "budget.suspended",
        "budget.unsuspended",
    ];
    assert_eq!(hook["event_types"], json!(on_by_default));
    top_up(&world).await;
    let message = receiver.next().await;
    assert_eq!(message.path, "/hook?tenant=7");
    assert_eq!(message.headers["content-type"], "application/json");
    let secret = text(&hook, "secret");
    assert!(verify(&message, secret));
    let told = event(&message);
    assert_eq!(told["event_type"], "budget.topped_up");
    assert_eq!(told["api_version"], "2026-04-11");
    assert_eq!(told["data"]["type"], "topup");
    assert_eq!(told["data"]["end_user_id"], world.end_user.id);
    let entry = text(&told["data"], "transaction_id");
    assert_eq!(told["event_id"], format!("{entry}:budget.topped_up"));

    let rows = deliveries(&world, &hook, |rows| rows[0]["status"] == "delivered").await;
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0]["event_id"], told["event_id"]);
    assert_eq!(
        (&rows[0]["attempt"], &rows[0]["response_status"]),
        (&json!(1), &json!(204))
    );
    assert!(rows[0]["next_attempt_at"].is_null());

    // Replayed it is the same message.
    let replay = path_of(
        &world,
        &hook,
        &format!("/deliveries/{}/replay", text(&rows[0], "id")),
    );
    world.manage("POST", &replay, json!({}), 202).await;
    let again = receiver.next().await;
    assert_eq!(again.headers["svix-id"], message.headers["svix-id"]);
    assert_eq!(again.body, message.body);
    assert!(verify(&again, secret));

    let ping = world
        .manage("POST", &path_of(&world, &hook, "/test"), json!({}), 202)
        .await;
    assert_eq!(ping["event_type"], "ping");
    let message = receiver.next().await;
    assert_eq!(event(&message)["event_type"], "ping");
    assert!(verify(&message, secret));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_secrets_sign_after_a_rotation() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let hook = endpoint(&world, &receiver.url("/"), Value::Null).await;
    let rotate = path_of(&world, &hook, "/rotate-secret");
    let rotated = world.manage("POST", &rotate, json!({}), 200).await;
    let (old, new) = (text(&hook, "secret"), text(&rotated, "secret"));
    assert_ne!(old, new);
    let shown = get(&world, &path_of(&world, &hook, "/secret")).await;
    assert_eq!(shown, json!({"secret": new}));
    assert!(
        get(&world, &path_of(&world, &hook, ""))
            .await
            .get("secret")
            .is_none()
    );
    top_up(&world).await;
    let message = receiver.next().await;
    assert!(verify(&message, old) && verify(&message, new));
    assert!(!verify(&message, "whsec_plJ3nmyCDGBKInavdOK15jsl"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_and_redirects_are_tried_again() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let elsewhere = Receiver::start().await;
    receiver.answer(&[
        "500 Internal Server Error".to_owned(),
        format!("307 Temporary Redirect\r\nlocation: {}", elsewhere.url("/")),
    ]);
    let hook = endpoint(&world, &receiver.url("/"), Value::Null).await;
    top_up(&world).await;
    let first = receiver.next().await;
    let rows = deliveries(&world, &hook, |rows| rows[0]["attempt"] == 1).await;
    assert_eq!(rows[0]["status"], "pending");
    assert_eq!(rows[0]["response_status"], 500);
    assert!(rows[0]["next_attempt_at"].is_string());
    let second = receiver.next().await;
    assert_eq!(second.headers["webhook-id"], first.headers["webhook-id"]);
    assert_eq!(second.body, first.body);
    let rows = deliveries(&world, &hook, |rows| rows[0]["attempt"] == 2).await;
    assert_eq!(rows[0]["status"], "pending");
    assert_eq!(rows[0]["response_status"], 307);
    assert!(elsewhere.is_idle());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_hangs_delays_nobody_else() {
    let world = World::new().await;
    let (dead, fine) = (Receiver::start().await, Receiver::start().await);
    dead.hang();
    endpoint(&world, &dead.url("/"), Value::Null).await;
    endpoint(&world, &fine.url("/"), Value::Null).await;
    let mut ids = HashSet::new();
    for _ in 0..12 {
        top_up(&world).await;
    }
    for _ in 0..12 {
        let message = fine.next().await;
        ids.insert(message.headers["svix-id"].clone());
    }
    assert_eq!(ids.len(), 12);
    assert!(dead.most_at_once() <= 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_gets_what_it_asked_for_and_nothing_of_others() {
    let world = World::new().await;
    let (mine, theirs) = (Receiver::start().await, Receiver::start().await);
    let all = json!(["budget.suspended", "budget.unsuspended"]);
    endpoint(&world, &mine.url("/"), all).await;
    let other = world.make_platform("Other", "1").await;
    let path = format!("/v1/platforms/{}/webhooks", other.id);
    let body =
        json!({"url": theirs.url("/"), "event_types": ["budget.suspended", "budget.unsuspended"]});
    let request = Request::new("POST", &path, &other.key).json(body);
    let made = world.send(&request).await;
    assert_eq!(made.status, 201, "{made:?}");
    let hook = made.json()["data"].clone();

    top_up(&world).await;
    let suspended = json!({"is_suspended": true, "reason": "unpaid"});
    world
        .manage("PATCH", &world.user_path("/budget"), suspended, 200)
        .await;
    let resumed = json!({"is_suspended": false});
    world
        .manage("PATCH", &world.user_path("/budget"), resumed, 200)
        .await;
    let mut told = HashSet::new();
    for _ in 0..2 {
        let told_now = event(&mine.next().await);
        told.insert(text(&told_now, "event_type").to_owned());
    }
    let expected = ["budget.suspended", "budget.unsuspended"].map(str::to_owned);
    assert_eq!(told, HashSet::from(expected));
    assert!(theirs.is_idle());

    // Another platform's webhook is unknown, whatever is done with it.
    let id = text(&hook, "id");
    for (method, rest) in [
        ("GET", ""),
        ("DELETE", ""),
        ("GET", "/secret"),
        ("POST", "/rotate-secret"),
        ("POST", "/test"),
        ("GET", "/deliveries"),
    ] {
        let path = world.path(&format!("/webhooks/{id}{rest}"));
        let request = Request::new(method, &path, &world.platform.key);
        let answer = world.send(&request).await;
        assert_eq!(answer.status, 404, "{method} {rest}");
        assert_eq!(answer.json()["error"]["reason"], "webhook_not_found");
    }
    // And end users have none.
    let request = Request::new("GET", &world.path("/webhooks"), &world.end_user.key);
    assert_eq!(world.send(&request).await.status, 403);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_an_endpoint_is_refused() {
    let world = World::new().await;
    let path = world.path("/webhooks");
    for (body, param) in [
        (json!({}), "url"),
        (json!({"url": "ftp://example.com/"}), "url"),
        (json!({"url": "http://example.com/"}), "url"),
        (json!({"url": "https://10.0.0.1/"}), "url"),
        (json!({"url": "https://169.254.169.254/latest"}), "url"),
        (json!({"url": "https://localhost/"}), "url"),
        (json!({"url": "https://a:b@example.com/"}), "url"),
        (
            json!({"url": "https://example.com/", "event_types": ["budget.eaten"]}),
            "event_types",
        ),
        (
            json!({"url": "https://example.com/", "event_types": ["ping"]}),
            "event_types",
        ),
        (
            json!({"url": "https://example.com/", "event_types": ["billing.overrun"]}),
            "event_types",
        ),
        (
            json!({"url": "https://example.com/", "event_types": []}),
            "event_types",
        ),
    ] {
        let request = Request::new("POST", &path, &world.platform.key).json(&body);
        let answer = world.send(&request).await;
        assert_eq!(answer.status, 400, "{body} {answer:?}");
        let error = &answer.json()["error"];
        assert_eq!(error["reason"], "validation_failed", "{body}");
        assert_eq!(error["param"], param, "{body}");
    }
    for _ in 0..10 {
        endpoint(&world, "https://example.com/hook", Value::Null).await;
    }
    let body = json!({"url": "https://example.com/hook"});
    let request = Request::new("POST", &path, &world.platform.key).json(body);
    let answer = world.send(&request).await;
    assert_eq!(answer.status, 409);
    assert_eq!(answer.json()["error"]["reason"], "webhook_limit_reached");
    let listed = get(&world, &path).await;
    assert_eq!(listed.as_array().unwrap().len(), 10);
    assert!(
        listed
            .as_array()
            .unwrap()
            .iter()
            .all(|hook| hook.get("secret").is_none())
    );
}
