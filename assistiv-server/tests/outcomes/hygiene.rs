//! What must not cross the gateway, in either direction.

use assistiv_server::mock::Mock;
use http::HeaderMap;
use serde_json::json;

use crate::charge::{Charge, body, streamed, with};
use crate::client::{Connection, Request};
use crate::world::{PROVIDER_KEY, Setup, World};

/// Nothing of the provider's account is among the headers.
#[track_caller]
fn are_clean(headers: &HeaderMap) {
    for (name, value) in headers {
        let name = name.as_str();
        let foreign = [
            "openai-",
            "x-ratelimit-",
            "x-secret",
            "set-cookie",
            "server",
        ];
        assert!(
            !foreign.iter().any(|prefix| name.starts_with(prefix)),
            "{headers:?}"
        );
        let value = value.to_str().unwrap();
        let secrets = [PROVIDER_KEY, "org-mock", "proj_mock", "req_mock", "leak"];
        assert!(
            !secrets.iter().any(|secret| value.contains(secret)),
            "{headers:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_the_providers_account_reaches_the_caller() {
    let world = World::new().await;
    for fault in [
        "",
        "mock:status=429",
        "mock:status=500",
        "mock:status=401",
        "mock:status=400",
    ] {
        let prompt =
            format!("{fault} mock:header_secret mock:prompt_tokens=1 mock:completion_tokens=1");
        let answer = world.whole(&prompt).await;
        are_clean(&answer.headers);
        assert!(
            !answer.text.contains(PROVIDER_KEY) && !answer.text.contains("org-mock"),
            "{answer:?}"
        );
    }
    let mut stream = world
        .stream("mock:header_secret mock:prompt_tokens=1 mock:words=1")
        .await;
    are_clean(&stream.headers);
    stream.rest().await.ended_well();
    world.charged(&[Charge::reported(1, 1); 2]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_repeats_its_key_is_not_quoted() {
    let world = World::with(Setup {
        provider_key: Mock::INVALID_KEY,
        ..Setup::default()
    })
    .await;
    for answer in [
        world.whole("hello").await,
        world.refused_stream("hello").await,
    ] {
        answer.refused(502, "provider_auth_error");
        assert_eq!(answer.header("x-should-retry"), Some("false"));
        assert!(!answer.text.contains(Mock::INVALID_KEY), "{}", answer.text);
        assert_eq!(
            answer.header("www-authenticate"),
            None,
            "the caller's own key is in order"
        );
    }
    world.provider_saw(2);
    world.charged(&[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_the_caller_but_the_request_reaches_the_provider() {
    let world = World::new().await;
    let key = &world.end_user.key;
    let prompt = "mock:prompt_tokens=1 mock:completion_tokens=1";
    let more = json!({"api_key": "k", "base_url": "http://127.0.0.1:1", "user": "ada", "seed": 7});
    let request = Request::chat(key, with(body(prompt), more))
        .header("cookie", "session=secret")
        .header("x-forwarded-for", "10.1.2.3")
        .header("x-request-id", "callers-own-id")
        .header("openai-organization", "org-callers")
        .header("user-agent", "callers-agent/1.0");
    let answer = world.send(&request).await;
    assert_eq!(
        (answer.status, answer.header("x-request-id")),
        (200, Some("callers-own-id"))
    );
    let seen = world.mock.last_request().unwrap();
    assert_eq!(seen.path, "/v1/chat/completions");
    assert_eq!(
        seen.headers["authorization"],
        format!("Bearer {PROVIDER_KEY}")
    );
    let callers = [
        key,
        "session=",
        "10.1.2.3",
        "callers",
        world.platform.id.as_str(),
    ];
    for (name, value) in &seen.headers {
        let value = value.to_str().unwrap();
        assert!(
            !callers.iter().any(|secret| value.contains(secret)),
            "{name}: {value}"
        );
    }
    let upstream = seen.json().unwrap();
    assert!(
        !seen
            .body
            .windows(key.len())
            .any(|window| window == key.as_bytes())
    );
    assert!(upstream.get("api_key").is_none() && upstream.get("base_url").is_none());
    assert_eq!(
        (&upstream["user"], &upstream["seed"]),
        (&json!("ada"), &json!(7))
    );
    world.charged(&[Charge::reported(1, 1)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_callers_on_one_connection_do_not_mix() {
    let world = World::new().await;
    let asked = body("mock:prompt_tokens=1 mock:completion_tokens=1");
    let mut connection = Connection::open(world.address).await;
    let mut costs = Vec::new();
    for key in [
        &world.platform.key,
        &world.end_user.key,
        &world.platform.key,
    ] {
        connection.send(&Request::chat(key, &asked)).await;
        let answer = connection.answer().await;
        assert_eq!(answer.status, 200);
        costs.push(answer.header("x-assistiv-cost-usd").is_some());
    }
    assert_eq!(costs, [true, false, true]);
    let charge = Charge::reported(1, 1);
    world
        .charged(&[charge.of_platform(), charge, charge.of_platform()])
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_key_makes_no_calls() {
    let world = World::new().await;
    for body in [body("hello"), streamed("hello")] {
        world
            .send(&Request::chat(&world.operator, body))
            .await
            .refused(403, "wrong_key_type");
    }
    world.provider_saw(0);
    world.charged(&[]).await;
}
