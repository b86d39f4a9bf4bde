//! Too many connections, panics, the stop.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use assistiv_server::http::Readiness;
use tokio::net::TcpStream;

use crate::harness::{Edge, until};

const HEALTH: &str = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
const READY: &str = "GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n";

#[tokio::test]
async fn connections_beyond_the_cap_are_told_so_at_once() {
    let edge = Edge::with(|setup| setup.server.connections = 2).await;
    let mut first = edge.connect().await;
    let mut second = edge.connect().await;
    assert_eq!(first.ask(HEALTH).await.status, 200);
    assert_eq!(second.ask(HEALTH).await.status, 200);
    for _ in 0..3 {
        let mut third = edge.connect().await;
        // Without a request, and with one that is never read.
        third.send(edge.chat("hi")).await;
        let reply = third.reply().await;
        reply.assert_refused(503, "service_unavailable");
        assert_eq!(reply.header("retry-after"), Some("1"));
        assert!(reply.closes() && third.is_closed().await);
    }
    let mut silent = edge.connect().await;
    silent
        .reply()
        .await
        .assert_refused(503, "service_unavailable");
    assert_eq!(first.ask(HEALTH).await.status, 200);
    drop(second);
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(edge.ask(HEALTH).await.status, 200);
}

#[tokio::test]
async fn a_panic_costs_one_request() {
    let edge = Edge::start().await;
    let mut client = edge.connect().await;
    for request in [
        edge.chat("panic"),
        "GET /panic HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
    ] {
        let reply = client.ask(request).await;
        reply.assert_refused(500, "internal_error");
        let message = reply.json()["error"]["message"]
            .as_str()
            .unwrap()
            .to_owned();
        assert!(!message.contains("test"), "{message}");
        assert_eq!(client.ask(edge.chat("and on")).await.status, 200);
    }
}

#[tokio::test]
async fn readiness_follows_start_and_database() {
    let readiness = Arc::new(Readiness::new(|| std::future::ready(true)));
    let edge = Edge::with(|setup| setup.http.readiness = readiness.clone()).await;
    let reply = edge.ask(READY).await;
    assert_eq!(
        (reply.status, &*reply.body),
        (503, &br#"{"status":"unavailable"}"#[..])
    );
    assert_eq!(edge.ask(HEALTH).await.status, 200);
    readiness.ready();
    assert_eq!(edge.ask(READY).await.status, 200);

    let down = Readiness::new(|| std::future::ready(false));
    down.ready();
    let edge = Edge::with(|setup| setup.http.readiness = Arc::new(down)).await;
    assert_eq!(edge.ask(READY).await.status, 503);
}

#[tokio::test]
async fn a_stop_lets_running_requests_finish() {
    let edge = Edge::with(|setup| setup.drain.delay = Duration::from_millis(200)).await;
    let mut running = edge.connect().await;
    let mut idle = edge.connect().await;
    assert_eq!(idle.ask(HEALTH).await.status, 200);
    running.send(edge.chat("wait")).await;
    until(|| edge.stage.arrived.load(Ordering::SeqCst) == 1).await;

    edge.stop.cancel();
    // Not ready at once, but still accepting.
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(edge.ask(READY).await.status, 503);
    assert_eq!(edge.ask(HEALTH).await.status, 200);

    edge.closed.cancelled().await;
    assert!(idle.is_closed().await);
    let address = edge.address;
    assert!(TcpStream::connect(address).await.is_err());

    edge.stage.gate.add_permits(1);
    assert_eq!(running.reply().await.status, 200);
    assert!(running.is_closed().await);
    assert_eq!(edge.stopped().await.cut, 0);
}

#[tokio::test]
async fn a_stream_that_outlasts_the_stop_ends_with_an_error_frame() {
    let edge = Edge::start().await;
    let mut client = edge.connect().await;
    client.send(edge.stream("hang")).await;
    until(|| edge.stage.open.load(Ordering::SeqCst) == 1).await;
    edge.stop.cancel();
    edge.closed.cancelled().await;
    let gateway = edge.gateway.clone();
    let (reply, closed) =
        tokio::join!(client.reply(), gateway.shut_down(Duration::from_millis(50)));
    closed.unwrap();
    let body = String::from_utf8(reply.body).unwrap();
    let last = body.trim_end().rsplit("\n\n").next().unwrap();
    assert!(
        last.contains(r#""reason":"service_unavailable""#),
        "{last:.200}"
    );
    assert_eq!(edge.stopped().await.cut, 0);
}

#[tokio::test]
async fn what_does_not_end_in_time_is_cut() {
    let edge = Edge::with(|setup| setup.drain.requests = Duration::from_millis(100)).await;
    let mut client = edge.connect().await;
    client.send(edge.chat("wait")).await;
    until(|| edge.stage.arrived.load(Ordering::SeqCst) == 1).await;
    edge.stop.cancel();
    assert_eq!(edge.stopped().await.cut, 1);
    assert!(client.is_closed().await);
}
