//! The row of the request log for every way in which a call can end, sums that equal the ledger's to the
//! nano-dollar, and the doctor who checks them.

use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Resource, Rlimit};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::charge::{body, counted, streamed, with};
use crate::client::{Connection, Request};
use crate::world::{Setup, World, dollars, run};

const HALF_AND_SILENCE: &str = "mock:words=20 mock:hang_mid";

/// The rows once there are so many, newest first.
async fn rows(world: &World, count: usize) -> Vec<Value> {
    world.no_hold_is_left().await;
    let wait = async {
        loop {
            let listed = listed(world, "").await;
            let rows = listed["data"].as_array().unwrap();
            let settled = rows.iter().all(|row| row["billing_status"] != "pending");
            if rows.len() >= count && settled {
                assert_eq!(listed["total"], rows.len());
                return rows.clone();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let rows = tokio::time::timeout(Duration::from_secs(30), wait).await;
    let rows = rows.expect("the rows are written");
    assert_eq!(rows.len(), count, "{rows:#?}");
    rows
}

async fn listed(world: &World, query: &str) -> Value {
    let path = world.path(&format!("/logs{query}"));
    let answer = world
        .send(&Request::new("GET", &path, &world.platform.key))
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

async fn usage(world: &World, query: &str) -> Value {
    let path = world.path(&format!("/usage{query}"));
    let answer = world
        .send(&Request::new("GET", &path, &world.platform.key))
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["data"].clone()
}

/// Checks members of a row; the rest may be anything.
#[track_caller]
fn has(row: &Value, expected: Value) {
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&row[name], value, "{name} of {row:#}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_has_a_row() {
    let world = World::new().await;
    let prompt = "mock:prompt_tokens=120 mock:completion_tokens=45";
    let request = Request::chat(&world.end_user.key, body(prompt)).header("x-request-id", "mine-1");
    let answer = world.send(&request).await;
    assert_eq!(answer.status, 200);
    let row = &rows(&world, 1).await[0];
    has(
        row,
        json!({
            "id": answer.header("x-assistiv-log-id").unwrap(),
            "platform_id": world.platform.id, "end_user_id": world.end_user.id,
            "request_type": "chat.completion", "provider_model_id": "gpt-4o-mini",
            "prompt_tokens": 120, "completion_tokens": 45, "total_tokens": 165,
            // 0.15 and 0.60 dollars a million tokens.
            "estimated_cost_usd": "0.000045", "status": "success", "error_message": null,
            "token_count_method": "reported", "billing_status": "billed",
        }),
    );
    assert!(
        row["provider_id"].is_string() && row["model_id"].is_string(),
        "{row:#}"
    );
    assert!(
        row["latency_ms"].is_u64() && row["created_at"].is_string(),
        "{row:#}"
    );
    let metadata = &row["metadata"];
    has(
        metadata,
        json!({"request_id": "mine-1", "provider": "openai", "model": "gpt-4o-mini"}),
    );
    assert!(metadata["overhead_us"].as_u64().unwrap() > 0);
    assert!(metadata["price_id"].is_string() && metadata["api_key_id"].is_string());
    assert!(metadata.get("reason").is_none() && metadata.get("content").is_none());

    // By itself, too; and to nobody else.
    let path = world.path(&format!("/logs/{}", row["id"].as_str().unwrap()));
    let read = async |key: &str| world.send(&Request::new("GET", &path, key)).await;
    assert_eq!(&read(&world.platform.key).await.json()["data"], row);
    read(&world.end_user.key)
        .await
        .refused(403, "wrong_key_type");
    let other = world.make_platform("Globex", "1").await;
    read(&other.key).await.refused(403, "forbidden");
    let path = format!(
        "/v1/platforms/{}/logs/{}",
        other.id,
        row["id"].as_str().unwrap()
    );
    let theirs = world.send(&Request::new("GET", &path, &other.key)).await;
    theirs.refused(404, "not_found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_has_a_row() {
    let world = World::new().await;
    let prompt = "mock:words=30 mock:prompt_tokens=100 mock:completion_tokens=40";
    world.stream(prompt).await.rest().await.ended_well();
    has(
        &rows(&world, 1).await[0],
        json!({
            "prompt_tokens": 100, "completion_tokens": 40, "estimated_cost_usd": "0.000039",
            "status": "success", "token_count_method": "reported", "billing_status": "billed",
        }),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn usage_that_nobody_reports_is_marked_as_estimated() {
    let world = World::new().await;
    let prompt = "mock:words=3 mock:no_usage";
    world.stream(prompt).await.rest().await.ended_well();
    has(
        &rows(&world, 1).await[0],
        json!({
            "prompt_tokens": counted(prompt), "status": "success",
            "token_count_method": "estimated", "billing_status": "billed",
        }),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_provider_has_an_unbilled_row() {
    let world = World::new().await;
    world
        .whole("mock:status=500")
        .await
        .refused(502, "provider_error");
    world
        .refused_stream("mock:status=401")
        .await
        .refused(502, "provider_auth_error");
    let rows = rows(&world, 2).await;
    for (row, reason) in [
        (&rows[1], "provider_error"),
        (&rows[0], "provider_auth_error"),
    ] {
        has(
            row,
            json!({
                "prompt_tokens": 0, "completion_tokens": 0, "estimated_cost_usd": "0.000000",
                "status": "error", "billing_status": "unbilled",
                "end_user_id": world.end_user.id, "provider_model_id": "gpt-4o-mini",
            }),
        );
        assert_eq!(row["metadata"]["reason"], reason);
        let message = row["error_message"].as_str().unwrap();
        assert!(
            !message.is_empty() && !row.to_string().contains("sk-upstream"),
            "{row:#}"
        );
    }
    world.charged(&[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_the_provider_cuts_has_a_billed_row() {
    let world = World::new().await;
    let prompt = "mock:words=20 mock:cut";
    let rest = world.stream(prompt).await.rest().await;
    rest.failed(502, "provider_stream_interrupted");
    let row = &rows(&world, 1).await[0];
    has(
        row,
        json!({
            "prompt_tokens": counted(prompt), "status": "error", "billing_status": "billed",
            "token_count_method": "estimated",
        }),
    );
    assert_eq!(row["metadata"]["reason"], "provider_stream_interrupted");
    assert_ne!(row["estimated_cost_usd"], "0.000000");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_who_leaves_has_a_row() {
    let world = World::new().await;
    let mut stream = world.stream(HALF_AND_SILENCE).await;
    stream.texts(10).await;
    drop(stream);
    let row = &rows(&world, 1).await[0];
    has(
        row,
        json!({
            "prompt_tokens": counted(HALF_AND_SILENCE), "status": "error",
            "billing_status": "billed", "token_count_method": "estimated",
        }),
    );
    assert_eq!(row["metadata"]["reason"], "client_disconnected");

    // Before the provider has accepted, it costs nothing.
    let mut connection = Connection::open(world.address).await;
    connection
        .send(&Request::chat(
            &world.end_user.key,
            body("mock:first_ms=60000"),
        ))
        .await;
    world.wait_for_requests(2).await;
    drop(connection);
    let row = &rows(&world, 2).await[0];
    has(
        row,
        json!({"status": "error", "billing_status": "unbilled", "estimated_cost_usd": "0.000000"}),
    );
    assert_eq!(row["metadata"]["reason"], "client_disconnected");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_gateway_refuses_has_no_row() {
    let world = World::with(Setup {
        wallet: 1,
        ..Setup::default()
    })
    .await;
    let unknown = with(body("hello"), json!({"model": "no-such-model"}));
    let bad = json!({"model": "gpt-4o-mini", "messages": "hello"});
    for (body, status) in [(unknown, 404), (bad, 400)] {
        let answer = world.send(&Request::chat(&world.end_user.key, body)).await;
        assert_eq!(answer.status, status, "{answer:?}");
    }
    // One call may take the last nano-dollar; then there is nothing left.
    assert_eq!(world.whole("mock:prompt_tokens=100").await.status, 200);
    world.no_hold_is_left().await;
    world
        .whole("hello")
        .await
        .refused(402, "wallet_insufficient");
    assert_eq!(rows(&world, 1).await[0]["status"], "success");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_are_filtered_and_summed() {
    let world = World::new().await;
    let good = "mock:prompt_tokens=100 mock:completion_tokens=10";
    for key in [&world.end_user.key, &world.platform.key] {
        let request = Request::chat(key, body(good)).header("x-request-id", "both");
        assert_eq!(world.send(&request).await.status, 200);
    }
    world
        .whole("mock:status=500")
        .await
        .refused(502, "provider_error");
    rows(&world, 3).await;
    let user = &world.end_user.id;
    for (query, count) in [
        ("?status=success".to_owned(), 2),
        ("?status=error".to_owned(), 1),
        ("?billing_status=billed".to_owned(), 2),
        ("?billing_status=unbilled&status=error".to_owned(), 1),
        ("?billing_status=pending".to_owned(), 0),
        ("?request_id=both".to_owned(), 2),
        (format!("?end_user_id={user}"), 2),
        (format!("?end_user_id={user}&status=success"), 1),
        ("?model=gpt-4o-mini&limit=2".to_owned(), 3),
        // An alias of the model.
        ("?model=gpt-4o-mini".to_owned(), 3),
        ("?model=echo".to_owned(), 0),
        ("?request_type=chat.completion".to_owned(), 3),
        ("?request_type=embedding".to_owned(), 0),
        ("?from=2026-01-01T00:00:00Z".to_owned(), 3),
        ("?to=2026-01-01T00:00:00Z".to_owned(), 0),
    ] {
        assert_eq!(listed(&world, &query).await["total"], count, "{query}");
    }
    let path = world.path("/logs?status=maybe&from=yesterday&limit=1000&end_user_id=x");
    let bad = world
        .send(&Request::new("GET", &path, &world.platform.key))
        .await;
    let error = bad.refused(400, "validation_failed");
    assert_eq!(error["details"]["errors"].as_array().unwrap().len(), 4);

    let whole = usage(&world, "").await;
    has(
        &whole,
        json!({"group_by": null, "interval": null, "timezone": "UTC", "groups": [], "series": []}),
    );
    let sums = json!({
        "requests": 3, "prompt_tokens": 200, "completion_tokens": 20, "total_tokens": 220,
        "tool_calls": 0, "errors": 1, "cost_usd": 0.000_042
    });
    assert_eq!(whole["totals"], sums);
    let by_model = usage(&world, "?group_by=model&interval=day&timezone=Asia/Kolkata").await;
    assert_eq!(by_model["totals"], sums);
    assert_eq!(by_model["groups"].as_array().unwrap().len(), 1);
    has(
        &by_model["groups"][0],
        with(sums.clone(), json!({"key": "gpt-4o-mini"})),
    );
    let series = by_model["series"].as_array().unwrap();
    assert!(
        series
            .iter()
            .all(|line| line["start"].as_str().unwrap().ends_with("T18:30:00Z"))
    );
    let by_user = usage(&world, "?group_by=end_user&interval=hour").await;
    let keys: Vec<_> = by_user["groups"]
        .as_array()
        .unwrap()
        .iter()
        .map(|group| (group["key"].clone(), group["requests"].clone()))
        .collect();
    assert_eq!(keys, [(Value::Null, json!(1)), (json!(user), json!(2))]);
    for (query, param) in [
        ("?from=2026-02-01T00:00:00Z&to=2026-01-01T00:00:00Z", "to"),
        ("?from=2025-01-01T00:00:00Z&to=2026-06-01T00:00:00Z", "to"),
        (
            "?interval=hour&from=2026-01-01T00:00:00Z&to=2026-02-02T00:00:00Z",
            "to",
        ),
        ("?group_by=colour", "group_by"),
        ("?interval=week", "interval"),
        ("?timezone=Mars/Olympus", "timezone"),
    ] {
        let path = world.path(&format!("/usage{query}"));
        let bad = world
            .send(&Request::new("GET", &path, &world.platform.key))
            .await;
        assert_eq!(
            bad.refused(400, "validation_failed")["param"],
            param,
            "{query}"
        );
    }
    let path = world.path("/usage");
    let hidden = world
        .send(&Request::new("GET", &path, &world.end_user.key))
        .await;
    hidden.refused(403, "wrong_key_type");
}

/// A thousand calls at once, half of them streams, then the doctor: beside the running server and after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_calls_add_up_for_the_doctor() {
    let mut world = World::with(Setup {
        wallet: 100_000_000_000,
        budget: json!({"max_usd": dollars(100_000_000_000)}),
        ..Setup::default()
    })
    .await;
    // Each call has four ends of connections in this process: two of its own, two of the provider's.
    let most = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: most.maximum,
        ..most
    };
    rustix::process::setrlimit(Resource::Nofile, raised).unwrap();
    let mut callers = Vec::new();
    for n in 0..1000_usize {
        let (address, keys) = (
            world.address,
            [world.end_user.key.clone(), world.platform.key.clone()],
        );
        callers.push(run(async move {
            let prompt = format!("mock:words={} mock:first_ms=500 hello", 1 + n % 30);
            let mut connection = Connection::open(address).await;
            let key = &keys[n / 2 % 2];
            if n.is_multiple_of(2) {
                connection.send(&Request::chat(key, body(&prompt))).await;
                assert_eq!(connection.answer().await.status, 200);
            } else {
                connection
                    .send(&Request::chat(key, streamed(&prompt)))
                    .await;
                connection.stream().await.rest().await.ended_well();
            }
        }));
    }
    for caller in callers {
        caller.await.unwrap();
    }
    world.no_hold_is_left().await;
    let wait = async {
        while listed(&world, "?billing_status=billed").await["total"] != 1000 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), wait)
        .await
        .expect("every call has its row");
    let beside = doctor(&world).await;
    assert_eq!(beside["in_use"], true);
    let charges = add_up(&beside);
    assert_eq!(usage(&world, "").await["totals"]["requests"], 1000);
    world.stop();
    world.closed().await;
    let after = doctor(&world).await;
    assert_eq!(add_up(&after), charges);
}

/// Checks the doctor's sums, and gives them.
fn add_up(report: &Value) -> String {
    assert_eq!(report["ok"], true, "{report:#}");
    let charges = check(report, "charges");
    assert_eq!(charges["charges"], 1000, "{charges:#}");
    for sum in ["recomputed_usd", "logs_usd"] {
        assert_eq!(charges[sum], charges["ledger_usd"], "{charges:#}");
    }
    charges["ledger_usd"].as_str().unwrap().to_owned()
}

fn check<'a>(report: &'a Value, name: &str) -> &'a Value {
    let checks = report["checks"].as_array().unwrap();
    checks.iter().find(|check| check["name"] == name).unwrap()
}

pub(crate) async fn doctor(world: &World) -> Value {
    let child = Command::new(env!("CARGO_BIN_EXE_assistiv-server"))
        .env_clear()
        .env("ASSISTIV_SERVER__DATA_DIR", world.data_dir())
        .args(["doctor", "--json"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let output = child.wait_with_output().await.unwrap();
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    assert_eq!(report["ok"], output.status.success(), "{report:#}");
    report
}

#[tokio::test]
async fn the_log_is_exported_as_it_is_listed() {
    let world = World::new().await;
    for _ in 0..3 {
        assert_eq!(world.whole("hello").await.status, 200);
    }
    let rows = rows(&world, 3).await;
    let export = async |path: &str, accept: &str| {
        let request = Request::new("GET", &world.path(path), &world.platform.key);
        let answer = world.send(&request.header("accept", accept)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer
    };
    let lines = export("/logs", "application/x-ndjson").await;
    assert_eq!(lines.header("x-total-count"), Some("3"));
    let read: Vec<Value> = lines
        .text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(read, rows);
    let csv = export("/logs?status=error", "text/csv").await;
    assert!(csv.text.starts_with("id,platform_id,"), "{}", csv.text);
    assert_eq!(csv.text.lines().count(), 1);

    let usage = usage(&world, "?group_by=model&interval=day").await;
    let lines = export("/usage?group_by=model&interval=day", "application/x-ndjson").await;
    let read: Value = serde_json::from_str(lines.text.trim()).unwrap();
    assert_eq!(json!([read]), usage["series"]);
    let csv = export("/usage?group_by=model", "text/csv").await;
    assert!(csv.text.starts_with("key,requests,"), "{}", csv.text);
    assert!(csv.text.contains("gpt-4o-mini,3,"), "{}", csv.text);
}
