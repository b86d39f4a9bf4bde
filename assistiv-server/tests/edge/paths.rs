//! Paths and methods.

use crate::harness::Edge;

fn ask(method: &str, path: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

#[tokio::test]
async fn paths_match_exactly() {
    let edge = Edge::start().await;
    let mut client = edge.connect().await;
    for path in [
        "/",
        "/v1",
        "/nothing",
        "/v1/nothing",
        "//healthz",
        "/healthz/",
        "/Healthz",
        "/./healthz",
        "/v1/../healthz",
        "/%68ealthz",
        "/v1%2fmodels",
        "/v1/%2e%2e/healthz",
        "/v1/models/",
        "/v1//models",
        "/V1/models",
        "/v1/platforms/",
        "/v1/platforms/a%2Fb",
        "/v1/chat/completions/",
        "/v1/me/",
    ] {
        client
            .ask(ask("GET", path))
            .await
            .assert_refused(404, "not_found");
    }
}

#[tokio::test]
async fn health_checks_need_no_key() {
    let edge = Edge::start().await;
    let mut client = edge.connect().await;
    for path in ["/healthz", "/readyz", "/healthz?x=y"] {
        let reply = client.ask(ask("GET", path)).await;
        assert_eq!(
            (reply.status, &*reply.body),
            (200, &br#"{"status":"ok"}"#[..])
        );
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
        assert!(reply.header("x-request-id").is_some());
    }
    client.send(ask("HEAD", "/healthz")).await;
    let reply = client.head_reply().await;
    assert_eq!(
        (reply.status, reply.header("content-length")),
        (200, Some("15"))
    );
    assert_eq!(client.ask(ask("GET", "/healthz")).await.status, 200);
}

#[tokio::test]
async fn wrong_methods_are_405_and_told_the_right_ones() {
    let edge = Edge::start().await;
    let mut client = edge.connect().await;
    for (method, path, allow) in [
        ("GET", "/v1/chat/completions", "POST, OPTIONS"),
        ("TRACE", "/v1/chat/completions", "POST, OPTIONS"),
        ("post", "/v1/chat/completions", "POST, OPTIONS"),
        ("POST", "/v1/models", "GET, HEAD, OPTIONS"),
        ("get", "/v1/models/a/b", "GET, HEAD, OPTIONS"),
        ("DELETE", "/healthz", "GET, HEAD"),
        ("OPTIONS", "/healthz", "GET, HEAD"),
    ] {
        let reply = client.ask(ask(method, path)).await;
        reply.assert_refused(405, "method_not_allowed");
        assert_eq!(reply.header("allow"), Some(allow), "{method} {path}");
    }
    for (method, path) in [
        ("DELETE", "/v1/platforms"),
        ("TRACE", "/v1/platforms"),
        ("get", "/v1/platforms"),
        ("OPTIONS", "/v1/platforms"),
        ("TRACE", "/nothing"),
        ("PROPFIND", "//"),
    ] {
        let reply = client.ask(ask(method, path)).await;
        reply.assert_refused(405, "method_not_allowed");
        assert!(
            reply.header("allow").unwrap().contains("GET"),
            "{method} {path}"
        );
    }
    client.send(ask("HEAD", "/v1/chat/completions")).await;
    assert_eq!(client.head_reply().await.status, 405);
}

#[tokio::test]
async fn tunnels_and_upgrades_are_not_for_hire() {
    let edge = Edge::start().await;
    let reply = edge.ask(ask("CONNECT", "a.example:443")).await;
    reply.assert_refused(405, "method_not_allowed");
    let reply = edge
        .ask("GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
        .await;
    assert_eq!(reply.status, 200);
}

#[tokio::test]
async fn headers_do_not_redirect_a_request() {
    let edge = Edge::start().await;
    let reply = edge
        .ask(
            "GET /v1/platforms HTTP/1.1\r\nHost: a\r\nX-Original-URL: /healthz\r\nX-Rewrite-URL: /healthz\r\n\
             X-HTTP-Method-Override: DELETE\r\n\r\n",
        )
        .await;
    reply.assert_refused(401, "missing_api_key");
}
