//! Callers that leave or send too much, and a server that stops while they are served.

use std::time::Duration;

use crate::charge::{Charge, body, counted, streamed, words};
use crate::client::{Connection, Request};
use crate::world::{Setup, World};

const SOON: Duration = Duration::from_secs(10);

/// Long enough for a head to cross two connections on this machine.
const MOMENT: Duration = Duration::from_millis(300);

const HALF_AND_SILENCE: &str = "mock:words=20 mock:hang_mid";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaving_midstream_costs_what_was_produced() {
    let world = World::new().await;
    let mut stream = world.stream(HALF_AND_SILENCE).await;
    assert_eq!(stream.texts(10).await, words(10));
    drop(stream);
    assert!(
        world.mock.wait_dropped(1, SOON).await,
        "the call upstream is cancelled"
    );
    world
        .charged(&[Charge::cut(HALF_AND_SILENCE, &words(10))])
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaving_before_the_provider_accepted_costs_nothing() {
    let world = World::new().await;
    for (left, body) in [body("mock:first_ms=60000"), streamed("mock:first_ms=60000")]
        .iter()
        .enumerate()
    {
        let left = left as u64 + 1;
        let mut connection = Connection::open(world.address).await;
        connection
            .send(&Request::chat(&world.end_user.key, body))
            .await;
        world.wait_for_requests(left).await;
        drop(connection);
        assert!(
            world.mock.wait_dropped(left, SOON).await,
            "the call upstream is cancelled"
        );
    }
    world.charged(&[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaving_after_acceptance_costs_the_prompt() {
    let world = World::new().await;
    let mut connection = Connection::open(world.address).await;
    connection
        .send(&Request::chat(&world.end_user.key, body(HALF_AND_SILENCE)))
        .await;
    world.wait_for_requests(1).await;
    // The head has left the provider; nothing outside the gateway tells when it has arrived.
    tokio::time::sleep(MOMENT).await;
    drop(connection);
    assert!(world.mock.wait_dropped(1, SOON).await);
    let prompt = Charge {
        output: 0,
        ..Charge::cut(HALF_AND_SILENCE, "")
    };
    assert_eq!(prompt.input, counted(HALF_AND_SILENCE));
    world.charged(&[prompt]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaving_with_a_refusal_on_the_way_is_harmless() {
    let world = World::new().await;
    for _ in 0..20 {
        let mut connection = Connection::open(world.address).await;
        connection
            .send(&Request::chat("sk-eu_0", body("hello")))
            .await;
    }
    assert_eq!(
        world
            .whole("mock:prompt_tokens=1 mock:completion_tokens=1")
            .await
            .status,
        200
    );
    world.charged(&[Charge::reported(1, 1)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_of_twenty_mebibytes_is_refused() {
    let world = World::new().await;
    let text = body(&"x".repeat(20 << 20)).to_string();
    let chat = Request::new("POST", "/v1/chat/completions", &world.end_user.key)
        .header("content-type", "application/json");

    // The length is known beforehand, so nothing of the body is waited for.
    let mut connection = Connection::open(world.address).await;
    connection
        .send(
            &chat
                .clone()
                .header("content-length", &text.len().to_string()),
        )
        .await;
    let answer = connection.answer().await;
    answer.refused(413, "payload_too_large");
    assert_eq!(answer.header("connection"), Some("close"));

    // A caller that writes everything before it reads gets the answer, too, and no reset.
    for is_chunked in [false, true] {
        let mut connection = Connection::open(world.address).await;
        if is_chunked {
            connection
                .send(&chat.clone().header("transfer-encoding", "chunked"))
                .await;
            let chunks = text.as_bytes().chunks(1 << 16);
            for chunk in chunks {
                let framed = [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat();
                if connection.write(&framed).await.is_err() {
                    break;
                }
            }
        } else {
            connection
                .send(
                    &chat
                        .clone()
                        .header("content-length", &text.len().to_string()),
                )
                .await;
            // The server may stop taking it at any time.
            let _ = connection.write(text.as_bytes()).await;
        }
        let answer = connection.answer().await;
        answer.refused(413, "payload_too_large");
        assert_eq!(answer.header("connection"), Some("close"));
        assert!(connection.is_closed().await);
    }
    world.provider_saw(0);
    world.charged(&[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_does_not_cost_the_connection() {
    let world = World::new().await;
    let mut connection = Connection::open(world.address).await;
    let good = body("mock:prompt_tokens=1 mock:completion_tokens=1");
    connection.send(&Request::chat("sk-eu_0", &good)).await;
    connection.answer().await.refused(401, "invalid_api_key");
    connection
        .send(&Request::chat(&world.end_user.key, "{"))
        .await;
    connection.answer().await.refused(400, "invalid_json");
    connection
        .send(&Request::chat(&world.end_user.key, body("mock:status=500")))
        .await;
    connection.answer().await.refused(502, "provider_error");
    connection
        .send(&Request::chat(&world.end_user.key, &good))
        .await;
    assert_eq!(connection.answer().await.status, 200);
    world.charged(&[Charge::reported(1, 1)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_stream_ends_well_although_the_server_stops() {
    let mut world = World::new().await;
    let mut stream = world
        .stream("mock:words=40 mock:delay_ms=20 mock:prompt_tokens=10")
        .await;
    let first = stream.texts(3).await;
    world.stop();
    let rest = stream.rest().await;
    rest.ended_well();
    assert_eq!(first + &rest.text(), words(40));
    world.closed().await;
    assert!(tokio::net::TcpStream::connect(world.address).await.is_err());
    world.charged(&[Charge::reported(10, 40)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_outlasts_the_stop_is_told_and_charged() {
    let mut world = World::with(Setup {
        config: |config| config.limits.stream_drain = Duration::from_millis(300),
        ..Setup::default()
    })
    .await;
    let mut stream = world.stream(HALF_AND_SILENCE).await;
    assert_eq!(stream.texts(10).await, words(10));
    world.stop();
    let rest = stream.rest().await;
    rest.failed(503, "service_unavailable");
    world.closed().await;
    assert!(world.mock.wait_dropped(1, SOON).await);
    world
        .charged(&[Charge::cut(HALF_AND_SILENCE, &words(10))])
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_under_way_is_answered_although_the_server_stops() {
    let mut world = World::new().await;
    let mut connection = Connection::open(world.address).await;
    let asked = body("mock:first_ms=500 mock:prompt_tokens=10 mock:completion_tokens=20");
    connection
        .send(&Request::chat(&world.end_user.key, asked))
        .await;
    world.wait_for_requests(1).await;
    world.stop();
    assert_eq!(connection.answer().await.status, 200);
    world.closed().await;
    world.charged(&[Charge::reported(10, 20)]).await;
}
