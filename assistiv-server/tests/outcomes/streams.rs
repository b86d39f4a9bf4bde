//! Streams that end well, and streams whose provider fails in the middle: what was delivered is charged, and the
//! caller is told.

use std::time::Duration;

use serde_json::json;

use crate::charge::{Charge, streamed, with, words};
use crate::client::{Connection, Request, Rest};
use crate::world::{Setup, World};

const HALF: &str = "mock:words=20";

/// The mock breaks off after ten of twenty words.
async fn fails_halfway(fault: &str, status: u16, reason: &str) -> World {
    let world = World::with(Setup {
        config: |config| config.limits.upstream_idle_timeout = Duration::from_millis(300),
        ..Setup::default()
    })
    .await;
    let prompt = format!("{HALF} mock:{fault}");
    let mut stream = world.stream(&prompt).await;
    assert_eq!(stream.status, 200);
    assert_eq!(stream.headers["content-type"], "text/event-stream");
    let rest = stream.rest().await;
    rest.failed(status, reason);
    assert_eq!(rest.text(), words(10), "all that came is delivered");
    world.charged(&[Charge::cut(&prompt, &words(10))]).await;
    world.provider_saw(1);
    world
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_falls_silent_is_cut() {
    let world = fails_halfway("hang_mid", 502, "provider_stream_interrupted").await;
    assert!(world.mock.wait_dropped(1, Duration::from_secs(10)).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_the_provider_cuts_says_so() {
    fails_halfway("cut", 502, "provider_stream_interrupted").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_ends_neatly_too_early_says_so() {
    fails_halfway("end_early", 502, "provider_stream_interrupted").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_of_garbage_ends_the_stream() {
    fails_halfway("garbage", 502, "provider_malformed_output").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_in_the_middle_ends_the_stream() {
    fails_halfway("error_mid", 502, "provider_error").await;
}

/// A stream with the end user's key, read to its end.
async fn stream(world: &World, body: serde_json::Value) -> Rest {
    let mut connection = Connection::open(world.address).await;
    connection
        .send(&Request::chat(&world.end_user.key, body))
        .await;
    connection.stream().await.rest().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_is_delivered_and_charged() {
    let world = World::new().await;
    let prompt =
        "mock:words=30 mock:prompt_tokens=100 mock:completion_tokens=40 mock:cached_tokens=60";
    let mut got = world.stream(prompt).await;
    for (name, value) in [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-cache"),
        ("x-accel-buffering", "no"),
        ("x-assistiv-provider", "openai"),
    ] {
        assert_eq!(got.headers[name], value);
    }
    assert!(got.headers.contains_key("x-assistiv-log-id"));
    let rest = got.rest().await;
    rest.ended_well();
    assert_eq!(
        (rest.text(), rest.finish_reason()),
        (words(30), Some("stop"))
    );
    world
        .charged(&[Charge {
            cached: 60,
            ..Charge::reported(100, 40)
        }])
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn usage_is_shown_only_to_those_who_ask() {
    let world = World::new().await;
    let prompt = "mock:words=5 mock:prompt_tokens=10";
    let rest = stream(&world, streamed(prompt)).await;
    rest.ended_well();
    assert!(
        rest.chunks.iter().all(|chunk| chunk.get("usage").is_none()),
        "{rest:?}"
    );
    // The gateway itself asks in any case, or it could not charge exactly.
    let upstream = world.mock.last_request().unwrap().json().unwrap();
    assert_eq!(upstream["stream_options"]["include_usage"], true);

    let asking = json!({"stream_options": {"include_usage": true}});
    let rest = stream(&world, with(streamed(prompt), asking)).await;
    rest.ended_well();
    let (last, others) = rest.chunks.split_last().unwrap();
    assert_eq!(
        (&last["choices"], &last["usage"]["total_tokens"]),
        (&json!([]), &json!(15))
    );
    assert!(others.iter().all(|chunk| chunk["usage"].is_null()));
    world.charged(&[Charge::reported(10, 5); 2]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_model_has_the_name_that_was_asked_for() {
    let world = World::new().await;
    let prompt = "mock:words=5 mock:prompt_tokens=10";
    for name in ["gpt-4o-mini", "gpt-4o-mini-2024-07-18"] {
        let asked = json!({"model": name});
        let rest = stream(&world, with(streamed(prompt), asked.clone())).await;
        assert!(
            rest.chunks.iter().all(|chunk| chunk["model"] == name),
            "{rest:?}"
        );
        let whole = Request::chat(
            &world.end_user.key,
            with(crate::charge::body(prompt), asked),
        );
        assert_eq!(world.send(&whole).await.json()["model"], name);
        assert_eq!(
            world.mock.last_request().unwrap().json().unwrap()["model"],
            "gpt-4o-mini"
        );
    }
    world.charged(&[Charge::reported(10, 5); 4]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_outgrows_its_hold_is_charged_exactly() {
    let world = World::new().await;
    // A stream without a limit holds money for 4096 tokens.
    let prompt = "mock:words=6000 mock:prompt_tokens=10";
    let rest = stream(&world, streamed(prompt)).await;
    rest.ended_well();
    assert_eq!(rest.text(), words(6000));
    world.charged(&[Charge::reported(10, 6000)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missing_usage_is_estimated() {
    let world = World::new().await;
    let prompt = "mock:no_usage mock:words=50";
    stream(&world, streamed(prompt)).await.ended_well();
    let whole = world.whole(prompt).await;
    assert_eq!(whole.json()["choices"][0]["message"]["content"], words(50));
    world
        .charged(&[Charge::estimated(prompt, &words(50)); 2])
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_explicit_zero_costs_nothing() {
    let world = World::new().await;
    let prompt = "mock:zero_usage mock:words=50";
    stream(&world, streamed(prompt)).await.ended_well();
    assert_eq!(world.whole(prompt).await.status, 200);
    world.charged(&[]).await;
    world.provider_saw(2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_done_is_no_failure() {
    let world = World::new().await;
    for knobs in [
        "mock:no_done",
        "mock:crlf mock:comments",
        "mock:crlf mock:comments mock:no_done",
    ] {
        let prompt = format!("{knobs} mock:words=5 mock:prompt_tokens=10");
        let rest = stream(&world, streamed(&prompt)).await;
        rest.ended_well();
        assert_eq!(rest.text(), words(5));
    }
    world.charged(&[Charge::reported(10, 5); 3]).await;
}
