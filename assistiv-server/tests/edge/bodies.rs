//! Request bodies.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::time::Instant;

use crate::client::Client;
use crate::harness::Edge;

fn head(edge: &Edge, headers: &str) -> String {
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n{headers}\r\n",
        edge.platform_key
    )
}

#[tokio::test]
async fn a_call_is_answered_and_its_body_may_come_in_chunks() {
    let edge = Edge::start().await;
    let mut client = edge.connect().await;
    let reply = client.ask(edge.chat("hello there")).await;
    assert_eq!(reply.status, 200);
    assert_eq!(
        reply.json()["choices"][0]["message"]["content"],
        "hello there"
    );
    for header in [
        "x-assistiv-log-id",
        "x-assistiv-provider",
        "x-assistiv-cost-usd",
        "x-request-id",
    ] {
        assert!(reply.header(header).is_some(), "{header}");
    }
    let request = edge.chat("in pieces");
    let body = request.split("\r\n\r\n").nth(1).unwrap();
    let (a, b) = body.split_at(10);
    client
        .send(head(
            &edge,
            "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n",
        ))
        .await;
    client.send(format!("{:x}\r\n{a}\r\n", a.len())).await;
    let reply = client
        .ask(format!("{:x}\r\n{b}\r\n0\r\n\r\n", b.len()))
        .await;
    assert_eq!(
        reply.json()["choices"][0]["message"]["content"],
        "in pieces"
    );
    let reply = client.ask(edge.stream("one two")).await;
    assert_eq!(reply.header("content-type"), Some("text/event-stream"));
    assert!(
        String::from_utf8(reply.body)
            .unwrap()
            .ends_with("data: [DONE]\n\n")
    );
}

#[tokio::test]
async fn only_plain_json_is_read() {
    let edge = Edge::start().await;
    let mut client = edge.connect().await;
    for headers in [
        "",
        "Content-Type: text/plain\r\n",
        "Content-Type: application/json2\r\n",
        "Content-Type: multipart/form-data\r\n",
        "Content-Type: application/json\r\nContent-Encoding: gzip\r\n",
        "Content-Type: application/json\r\nContent-Encoding: identity\r\n",
    ] {
        let reply = client
            .ask(head(&edge, &format!("{headers}Content-Length: 2\r\n")) + "{}")
            .await;
        reply.assert_refused(415, "unsupported_media_type");
    }
    let charset = "Content-Type: Application/JSON; charset=utf-8\r\nContent-Length: 2\r\n";
    let reply = client.ask(head(&edge, charset) + "{}").await;
    reply.assert_refused(400, "validation_failed");
    let nonsense = "Content-Type: application/json\r\nContent-Length: 2\r\n";
    client
        .ask(head(&edge, nonsense) + "{]")
        .await
        .assert_refused(400, "invalid_json");
}

#[tokio::test]
async fn a_large_body_is_refused_from_its_length() {
    let edge = Edge::start().await;
    let mut client = edge.connect().await;
    let headers = "Content-Type: application/json\r\nContent-Length: 20971520\r\n";
    let reply = client.ask(head(&edge, headers)).await;
    reply.assert_refused(413, "payload_too_large");
    assert!(reply.closes());
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn a_caller_who_waits_for_leave_never_sends_what_is_too_large() {
    let edge = Edge::start().await;
    let mut client = edge.connect().await;
    let headers =
        "Content-Type: application/json\r\nContent-Length: 20971520\r\nExpect: 100-continue\r\n";
    client
        .ask(head(&edge, headers))
        .await
        .assert_refused(413, "payload_too_large");
    let mut client = edge.connect().await;
    let small = "Content-Length: 5\r\nExpect: 100-continue\r\n";
    let reply = client.ask(head(&edge, small)).await;
    reply.assert_refused(415, "unsupported_media_type");
    assert!(reply.closes());
}

/// Whoever writes 20 MiB whatever the server says can still read the refusal.
#[tokio::test]
async fn a_large_body_is_refused_while_it_is_sent() {
    let edge = Edge::start().await;
    for headers in [
        "Content-Type: application/json\r\nContent-Length: 20971520\r\n",
        "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n",
    ] {
        let mut client = edge.connect().await;
        client.send(head(&edge, headers)).await;
        let sent = flood(&mut client, 20 << 20).await;
        client
            .reply()
            .await
            .assert_refused(413, "payload_too_large");
        // Kernel buffers hold some, but the server did not take it all.
        assert!(sent < 20 << 20, "{sent}");
    }
}

/// Writes chunks until everything is sent or the server does not take more; says how much went out.
async fn flood(client: &mut Client, bytes: usize) -> usize {
    let chunk = format!("{:x}\r\n{}\r\n", 64 << 10, "x".repeat(64 << 10));
    let mut sent = 0;
    while sent < bytes {
        let write = tokio::time::timeout(
            Duration::from_millis(500),
            client.stream.write_all(chunk.as_bytes()),
        );
        if !matches!(write.await, Ok(Ok(()))) {
            break;
        }
        sent += 64 << 10;
    }
    sent
}

#[tokio::test]
async fn a_body_that_stops_arriving_is_408() {
    let edge = Edge::with(|setup| setup.http.body.stall = Duration::from_millis(100)).await;
    let started = Instant::now();
    let mut client = edge.connect().await;
    let headers = "Content-Type: application/json\r\nContent-Length: 1000\r\n";
    let reply = client.ask(head(&edge, headers) + "{").await;
    reply.assert_refused(408, "request_timeout");
    assert!(reply.closes() && client.is_closed().await);
    assert!(started.elapsed() >= Duration::from_millis(100));
}

#[tokio::test]
async fn a_body_that_trickles_is_408() {
    let edge = Edge::with(|setup| setup.http.body.stall = Duration::from_millis(150)).await;
    let mut client = edge.connect().await;
    client
        .send(head(
            &edge,
            "Content-Type: application/json\r\nContent-Length: 100000\r\n",
        ))
        .await;
    let (mut reading, mut writing) = client.stream.split();
    let trickle = async {
        while writing.write_all(b" ").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let mut answer = [0; 12];
    tokio::select! {
        () = trickle => {}
        read = tokio::io::AsyncReadExt::read_exact(&mut reading, &mut answer) => { read.unwrap(); }
    }
    assert_eq!(&answer, b"HTTP/1.1 408");
}

#[tokio::test]
async fn a_broken_chunk_is_400() {
    let edge = Edge::start().await;
    let mut client = edge.connect().await;
    let headers = "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n";
    let reply = client.ask(head(&edge, headers) + "zz\r\n{}\r\n").await;
    reply.assert_refused(400, "invalid_request");
    assert!(client.is_closed().await);
}
