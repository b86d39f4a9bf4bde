//! Rules on request heads: request id, host, framing, sizes.

use crate::harness::Edge;

fn get(headers: &str) -> String {
    format!("GET /healthz HTTP/1.1\r\n{headers}\r\n")
}

#[tokio::test]
async fn a_fit_request_id_is_echoed_and_any_other_replaced() {
    let edge = Edge::start().await;
    let mut client = edge.connect().await;
    let long = "x".repeat(128);
    for id in ["abc", "A.b_c-9", &*long] {
        let reply = client
            .ask(get(&format!("Host: a\r\nX-Request-Id: {id}\r\n")))
            .await;
        assert_eq!(reply.header("x-request-id"), Some(id));
    }
    let longer = "x".repeat(129);
    for id in ["a b", "a/b", "", &*longer] {
        let reply = client
            .ask(get(&format!("Host: a\r\nX-Request-Id: {id}\r\n")))
            .await;
        assert!(
            reply.header("x-request-id").unwrap().starts_with("req_"),
            "{id}"
        );
    }
    let twice = client
        .ask(get("Host: a\r\nX-Request-Id: a\r\nX-Request-Id: b\r\n"))
        .await;
    assert!(twice.header("x-request-id").unwrap().starts_with("req_"));
    let management = client
        .ask("GET /v1/platforms HTTP/1.1\r\nHost: a\r\nX-Request-Id: mine\r\n\r\n")
        .await;
    management.assert_refused(401, "missing_api_key");
    assert_eq!(management.header("x-request-id"), Some("mine"));
    assert_eq!(management.header("www-authenticate"), Some("Bearer"));
}

#[tokio::test]
async fn http_1_1_needs_one_well_formed_host() {
    let edge = Edge::start().await;
    for headers in [
        "",
        "Host:\r\n",
        "Host: a\r\nHost: a\r\n",
        "Host: a\r\nHost: b\r\n",
        "Host: a b\r\n",
        "Host: a/b\r\n",
        "Host: u@a\r\n",
        "Host: a:b\r\n",
        "Host: a:99999\r\n",
        "Host: [::1\r\n",
    ] {
        let mut client = edge.connect().await;
        let reply = client.ask(get(headers)).await;
        reply.assert_refused(400, "invalid_request");
        assert!(reply.closes() && client.is_closed().await, "{headers:?}");
    }
    for headers in [
        "Host: a\r\n",
        "host: a.example:443\r\n",
        "Host: [::1]:80\r\n",
    ] {
        assert_eq!(edge.ask(get(headers)).await.status, 200, "{headers:?}");
    }
    assert_eq!(
        edge.ask("GET /healthz HTTP/1.0\r\nContent-Length: 0\r\n\r\n")
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn the_only_transfer_coding_is_chunked() {
    let edge = Edge::start().await;
    for coding in [
        "gzip, chunked",
        "chunked, chunked",
        "Chunked",
        "identity, chunked",
    ] {
        let mut client = edge.connect().await;
        let reply = client
            .ask(format!(
                "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: {coding}\r\n\r\n0\r\n\r\n"
            ))
            .await;
        reply.assert_refused(400, "invalid_request");
        assert!(reply.closes() && client.is_closed().await, "{coding}");
    }
}

/// These never reach the service, so their answers have no body.
#[tokio::test]
async fn contradictory_framing_never_lets_a_second_request_be_answered() {
    let edge = Edge::start().await;
    let smuggled = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
    for headers in [
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: -1\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
    ] {
        let mut client = edge.connect().await;
        let head = format!("POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\n{headers}\r\n");
        let reply = client.ask(format!("{head}0\r\n\r\n{smuggled}")).await;
        assert!(matches!(reply.status, 400 | 401), "{headers:?}: {reply:?}");
        assert!(client.is_closed().await, "{headers:?}");
    }
}

#[tokio::test]
async fn long_targets_are_414() {
    let edge = Edge::start().await;
    let ask = |bytes: usize| {
        let query = "x".repeat(bytes - "/healthz?".len());
        format!("GET /healthz?{query} HTTP/1.1\r\nHost: a\r\n\r\n")
    };
    assert_eq!(edge.ask(ask(8192)).await.status, 200);
    edge.ask(ask(8193))
        .await
        .assert_refused(414, "uri_too_long");
    edge.ask(ask(60_000))
        .await
        .assert_refused(414, "uri_too_long");
}

#[tokio::test]
async fn too_many_or_too_large_headers_are_431() {
    let edge = Edge::start().await;
    let many = |count: usize| {
        let fields: String = (1..count).map(|i| format!("x-{i}: y\r\n")).collect();
        get(&format!("Host: a\r\n{fields}"))
    };
    assert_eq!(edge.ask(many(100)).await.status, 200);
    for request in [
        many(101),
        many(500),
        get(&format!("Host: a\r\nx: {}\r\n", "y".repeat(70 << 10))),
        get(&format!("Host: a\r\nx: {}\r\n", "y".repeat(1 << 20))),
    ] {
        let mut client = edge.connect().await;
        // The server may close before it has read everything.
        let _ = tokio::io::AsyncWriteExt::write_all(&mut client.stream, request.as_bytes()).await;
        assert_eq!(client.reply().await.status, 431);
        assert!(client.is_closed().await);
    }
}

/// A smaller limit than the server's own is kept by the service, with the envelope.
#[tokio::test]
async fn the_service_counts_header_fields_too() {
    let edge = Edge::with(|setup| setup.http.header_count = 3).await;
    let reply = edge.ask(get("Host: a\r\na: b\r\nc: d\r\ne: f\r\n")).await;
    reply.assert_refused(431, "headers_too_large");
}
