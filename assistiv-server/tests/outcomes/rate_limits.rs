//! Rate limits: who is let through, and what is said of it.

use assistiv_core::clock::{Clock, ManualClock, Timestamp};
use assistiv_core::id::EndUserId;
use assistiv_core::limits::{LimitType, Subject, Take, Window};
use serde_json::{Value, json};

use crate::charge::{body, counted, streamed, with};
use crate::client::{Answer, Connection, Request};
use crate::world::{Setup, World};

/// Forty seconds before the next minute.
const BEGIN: &str = "2026-11-24T10:00:20Z";

async fn world() -> (World, ManualClock) {
    let clock = ManualClock::new(BEGIN.parse().unwrap());
    let setup = Setup {
        clock: Some(clock.clone()),
        ..Setup::default()
    };
    (World::with(setup).await, clock)
}

fn pass(clock: &ManualClock, seconds: i64) {
    let micros = clock.now().as_micros() + seconds * 1_000_000;
    clock.set(Timestamp::from_micros(micros));
}

async fn set(world: &World, limits: Value) -> Value {
    let path = world.user_path("/rate-limits");
    world.manage("PUT", &path, limits, 200).await
}

async fn call(world: &World, key: &str) -> Answer {
    world.send(&Request::chat(key, body("hello"))).await
}

/// What is counted of the world's end user.
async fn used(world: &World, clock: &ManualClock, limit_type: LimitType) -> u64 {
    let id: EndUserId = world.end_user.id.parse().unwrap();
    let question = Take {
        window: Window::at(Subject::EndUser(id), limit_type, clock.now()),
        amount: 0,
        limit: u64::MAX,
    };
    let counters = &world.gateway.stores().rate_counters;
    counters.take(&[question]).await.unwrap().used[0]
}

/// Counts are corrected in the background.
async fn corrected(world: &World, clock: &ManualClock, tokens: u64) {
    while used(world, clock, LimitType::Tpm).await != tokens {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_limit_refuses_until_the_next_minute() {
    let (world, clock) = world().await;
    let limits = json!({"rpm_limit": 2, "tpm_limit": 100_000, "rpd_limit": 9});
    let limits = set(&world, limits).await;
    assert_eq!(limits["resolution"], "explicit");

    let first = call(&world, &world.end_user.key).await;
    assert_eq!(first.status, 200, "{first:?}");
    let header = |name: &str| first.header(&format!("x-ratelimit-{name}")).unwrap();
    assert_eq!(
        (header("limit-requests"), header("remaining-requests")),
        ("2", "1")
    );
    assert_eq!(
        (header("reset-requests"), header("reset-tokens")),
        ("40s", "40s")
    );
    let left = 100_000 - counted("hello");
    assert_eq!(header("limit-tokens"), "100000");
    assert_eq!(header("remaining-tokens"), left.to_string());
    assert_eq!(
        (
            header("limit-requests-day"),
            header("remaining-requests-day")
        ),
        ("9", "8")
    );

    // A stream counts and tells like an answer in one piece.
    let mut connection = Connection::open(world.address).await;
    let request = Request::chat(&world.end_user.key, streamed("hello"));
    connection.send(&request).await;
    let stream = connection.answer().await;
    assert_eq!(stream.status, 200);
    assert_eq!(stream.header("x-ratelimit-remaining-requests"), Some("0"));

    let refused = call(&world, &world.end_user.key).await;
    let error = refused.refused(429, "rate_limit_exceeded");
    assert_eq!(error["type"], "rate_limit_error");
    assert_eq!(
        error["details"],
        json!({"limit_type": "rpm", "scope": "end_user", "limit": 2, "retry_after_seconds": 40})
    );
    assert_eq!(refused.header("retry-after"), Some("40"));
    assert_eq!(refused.header("x-ratelimit-remaining-requests"), Some("0"));
    world.provider_saw(2);

    // Others have limits of their own, or none.
    assert_eq!(call(&world, &world.platform.key).await.status, 200);
    pass(&clock, 40);
    let again = call(&world, &world.end_user.key).await;
    assert_eq!(again.status, 200, "{again:?}");
    assert_eq!(
        again.header("x-ratelimit-remaining-requests-day"),
        Some("6")
    );
}

#[tokio::test]
async fn a_refused_request_is_not_counted() {
    let (world, clock) = world().await;
    set(&world, json!({"rpm_limit": 10, "rpd_limit": 1})).await;
    assert_eq!(call(&world, &world.end_user.key).await.status, 200);
    for _ in 0..3 {
        let refused = call(&world, &world.end_user.key).await;
        let error = refused.refused(429, "rate_limit_exceeded");
        assert_eq!(error["details"]["limit_type"], "rpd");
        // Until midnight.
        assert_eq!(error["details"]["retry_after_seconds"], 50_380);
    }
    assert_eq!(used(&world, &clock, LimitType::Rpm).await, 1);
    assert_eq!(used(&world, &clock, LimitType::Rpd).await, 1);
    // Nor one that is refused for another reason before.
    let unknown = with(body("hello"), json!({"model": "no-such-model"}));
    world
        .send(&Request::chat(&world.end_user.key, unknown))
        .await
        .refused(404, "model_not_found");
    assert_eq!(used(&world, &clock, LimitType::Rpm).await, 1);
}

#[tokio::test]
async fn tokens_are_counted_by_the_prompt_and_then_as_they_were() {
    let (world, clock) = world().await;
    let limit = counted("hello") + 30;
    set(&world, json!({"tpm_limit": limit})).await;
    let call = async |prompt: &str| {
        let request = Request::chat(&world.end_user.key, body(prompt));
        world.send(&request).await
    };
    let used = "mock:prompt_tokens=9 mock:completion_tokens=7";
    let enough = json!({"tpm_limit": 1000});
    set(&world, enough).await;
    assert_eq!(call(used).await.status, 200);
    corrected(&world, &clock, 16).await;
    // A failed call has used nothing.
    assert!(call("mock:status=500").await.status >= 500);
    corrected(&world, &clock, 16).await;

    set(&world, json!({"tpm_limit": 16 + counted("hello")})).await;
    assert_eq!(call("hello").await.status, 200);
    let refused = call("hello").await;
    let error = refused.refused(429, "rate_limit_exceeded");
    assert_eq!(error["details"]["limit_type"], "tpm");
    // More than a minute has can never be let through, and says so.
    pass(&clock, 60);
    set(&world, json!({"tpm_limit": 1})).await;
    call("hello").await.refused(429, "rate_limit_exceeded");
}

#[tokio::test]
async fn defaults_are_for_each_and_the_aggregate_for_all() {
    let (world, _) = world().await;
    let other = world.make_end_user("bob").await;
    let path = world
        .user_path("/budget")
        .replace(&world.end_user.id, &other.id);
    let budget = json!({"max_usd": 1});
    world.manage("POST", &path, budget, 201).await;
    let limits = json!({
        "default": {"rpm_limit": 1},
        "aggregate": {"rpm_limit": 3, "tpm_limit": null, "rpd_limit": null},
    });
    let path = world.path("/rate-limits");
    let set = world.manage("PUT", &path, limits, 200).await;
    assert_eq!(
        set["default"],
        json!({"rpm_limit": 1, "tpm_limit": null, "rpd_limit": null})
    );
    for user in [&world.end_user, &other] {
        assert_eq!(call(&world, &user.key).await.status, 200);
        let refused = call(&world, &user.key).await;
        let error = refused.refused(429, "rate_limit_exceeded");
        assert_eq!(error["details"]["scope"], "end_user");
    }
    assert_eq!(call(&world, &world.platform.key).await.status, 200);
    let refused = call(&world, &world.platform.key).await;
    let error = refused.refused(429, "rate_limit_exceeded");
    assert_eq!(
        (&error["details"]["scope"], &error["details"]["limit"]),
        (&json!("platform"), &json!(3))
    );
    // What the platform takes back holds from the next request on.
    let none = json!({"default": null, "aggregate": null});
    world.manage("PUT", &path, none, 200).await;
    for key in [&world.end_user.key, &other.key, &world.platform.key] {
        let answer = call(&world, key).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("x-ratelimit-limit-requests"), None);
    }
}

#[tokio::test]
async fn questions_count_as_requests_of_the_minute_alone() {
    let (world, clock) = world().await;
    set(
        &world,
        json!({"rpm_limit": 3, "tpm_limit": 100_000, "rpd_limit": 2}),
    )
    .await;
    let key = &world.end_user.key;
    let quote = json!({"endpoint": "/v1/chat/completions", "request": body("hello")});
    let quote = Request::new("POST", "/v1/quotes", key).json(quote);
    let quoted = world.send(&quote).await;
    assert_eq!(
        quoted.json()["data"]["checks"]["rate_limits"],
        true,
        "{quoted:?}"
    );
    let count = with(body("hello"), json!({"max_tokens": 5}));
    let count = Request::new("POST", "/v1/messages/count_tokens", key).json(count);
    assert_eq!(world.send(&count).await.status, 200);
    assert_eq!(used(&world, &clock, LimitType::Rpm).await, 2);
    assert_eq!(used(&world, &clock, LimitType::Rpd).await, 0);
    assert_eq!(used(&world, &clock, LimitType::Tpm).await, 0);

    // The third request is the last: a quote for a call that would be one too many.
    let quoted = world.send(&quote).await.json();
    let quoted = &quoted["data"];
    assert_eq!(
        (&quoted["admitted"], &quoted["checks"]["rate_limits"]),
        (&json!(false), &json!(false))
    );
    assert_eq!(quoted["refusal"]["reason"], "rate_limit_exceeded");
    world.send(&quote).await.refused(429, "rate_limit_exceeded");
    world.send(&count).await;
    world.provider_saw(0);

    // A platform's quote for an end user looks at the end user's limits, and counts as its own.
    let body = json!({
        "endpoint": "/v1/chat/completions", "request": body("hello"), "end_user_id": world.end_user.id,
    });
    let quote = Request::new("POST", "/v1/quotes", &world.platform.key).json(body);
    let quoted = world.send(&quote).await.json();
    assert_eq!(quoted["data"]["checks"]["rate_limits"], false);
    assert_eq!(used(&world, &clock, LimitType::Rpm).await, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_at_once_never_exceed_a_limit() {
    let (world, _) = world().await;
    set(&world, json!({"rpm_limit": 7})).await;
    let calls = (0..25).map(|_| call(&world, &world.end_user.key));
    let answers = futures_util::future::join_all(calls).await;
    let served = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(served, 7);
    world.provider_saw(7);
}
