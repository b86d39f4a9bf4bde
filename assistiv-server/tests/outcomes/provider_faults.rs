//! Providers that fail before anything was delivered: the caller gets a plain error, and nothing is charged.

use std::time::Duration;

use assistiv_server::config::Config;

use crate::client::Answer;
use crate::world::{PROVIDER_KEY, Setup, World};

/// Nobody waits long for a provider that is silent.
fn impatient(config: &mut Config) {
    config.limits.first_byte_timeout = Duration::from_millis(300);
    config.limits.upstream_idle_timeout = Duration::from_millis(300);
}

async fn impatient_world() -> World {
    World::with(Setup {
        config: impatient,
        ..Setup::default()
    })
    .await
}

/// Checks an answer that tells of the provider's failure, and that the failure cost nothing.
async fn failed(world: &World, answer: &Answer, status: u16, reason: &str) {
    answer.refused(status, reason);
    for secret in [PROVIDER_KEY, "org-mock", "mock:", "<", "Traceback"] {
        assert!(!answer.text.contains(secret), "{}", answer.text);
    }
    world.charged(&[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_status_of_the_provider_has_its_own_answer() {
    let world = World::new().await;
    let mut asked = 0;
    for (knob, status, reason, retry_after, should_retry) in [
        ("status=400", 400, "provider_bad_request", None, None),
        (
            "status=401",
            502,
            "provider_auth_error",
            None,
            Some("false"),
        ),
        (
            "status=402",
            503,
            "provider_quota_exhausted",
            None,
            Some("false"),
        ),
        (
            "status=403",
            502,
            "provider_auth_error",
            None,
            Some("false"),
        ),
        ("status=404", 404, "model_not_found", None, None),
        ("status=408", 504, "provider_timeout", None, None),
        ("status=413", 413, "payload_too_large", None, None),
        ("status=422", 400, "provider_bad_request", None, None),
        ("status=429", 429, "provider_rate_limited", Some("2"), None),
        (
            "quota",
            503,
            "provider_quota_exhausted",
            None,
            Some("false"),
        ),
        ("status=500", 502, "provider_error", None, None),
        ("status=502", 502, "provider_error", None, None),
        ("status=503", 503, "provider_overloaded", Some("2"), None),
        ("status=504", 504, "provider_timeout", None, None),
        ("status=529", 503, "provider_overloaded", None, None),
        ("html", 502, "provider_error", None, None),
    ] {
        let prompt = format!("mock:{knob}");
        for is_stream in [false, true] {
            let answer = if is_stream {
                world.refused_stream(&prompt).await
            } else {
                world.whole(&prompt).await
            };
            failed(&world, &answer, status, reason).await;
            assert_eq!(answer.header("retry-after"), retry_after, "{knob}");
            assert_eq!(answer.header("x-should-retry"), should_retry, "{knob}");
            asked += 1;
            world.provider_saw(asked);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_never_answers_is_given_up() {
    let world = impatient_world().await;
    let whole = world.whole("mock:hang").await;
    failed(&world, &whole, 504, "provider_timeout").await;
    let streamed = world.refused_stream("mock:hang").await;
    failed(&world, &streamed, 504, "provider_timeout").await;
    assert!(world.mock.wait_dropped(2, Duration::from_secs(10)).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_stops_in_the_middle_is_given_up() {
    let world = impatient_world().await;
    let answer = world.whole("mock:hang_mid").await;
    failed(&world, &answer, 504, "provider_timeout").await;
    assert!(world.mock.wait_dropped(1, Duration::from_secs(10)).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_garbage_is_no_answer() {
    let world = World::new().await;
    let answer = world.whole("mock:garbage").await;
    failed(&world, &answer, 502, "provider_malformed_output").await;
    assert!(!answer.text.contains("upstream says hello"));
    // The provider may well have billed it.
    assert_eq!(answer.header("x-should-retry"), Some("false"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_in_place_of_the_first_frame_is_a_plain_error() {
    let world = World::new().await;
    let answer = world.refused_stream("mock:error_first").await;
    failed(&world, &answer, 502, "provider_error").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_is_not_there_is_told() {
    let world = World::with(Setup {
        config: |config| {
            // A port that was free a moment ago, which nothing listens on.
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let provider = config.providers.get_mut("openai").unwrap();
            provider.base_url = Some(format!("http://{}/v1", listener.local_addr().unwrap()));
        },
        ..Setup::default()
    })
    .await;
    let whole = world.whole("hello").await;
    failed(&world, &whole, 502, "provider_error").await;
    let streamed = world.refused_stream("hello").await;
    failed(&world, &streamed, 502, "provider_error").await;
    let message = whole.json()["error"]["message"].to_string();
    assert!(!message.contains("127.0.0.1"), "{message}");
    world.provider_saw(0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_cut_is_no_answer() {
    let world = World::new().await;
    let answer = world.whole("mock:cut").await;
    failed(&world, &answer, 502, "provider_malformed_output").await;
    // The provider may well have billed it.
    assert_eq!(answer.header("x-should-retry"), Some("false"));
    world.charged(&[]).await;
}
