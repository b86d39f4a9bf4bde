//! How keys are presented.

use std::sync::atomic::Ordering;

use crate::harness::Edge;

fn models(headers: &str) -> String {
    format!("GET /v1/models HTTP/1.1\r\nHost: a\r\n{headers}\r\n")
}

#[tokio::test]
async fn a_key_travels_in_one_bearer_header() {
    let edge = Edge::start().await;
    let key = &edge.user_key;
    let mut client = edge.connect().await;
    for scheme in ["Bearer", "bearer", "BEARER"] {
        let reply = client
            .ask(models(&format!("Authorization: {scheme} {key}\r\n")))
            .await;
        assert_eq!(reply.status, 200, "{scheme}");
    }
    for headers in [
        String::new(),
        format!("Authorization: {key}\r\n"),
        format!("Authorization: Basic {key}\r\n"),
        "Authorization: Bearer\r\n".to_owned(),
        format!("x-api-key: {key}\r\n"),
        format!("Cookie: key={key}\r\n"),
    ] {
        let reply = client.ask(models(&headers)).await;
        reply.assert_refused(401, "missing_api_key");
        assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
    }
    let changed = format!(
        "{}{}",
        &key[..key.len() - 1],
        if key.ends_with('0') { '1' } else { '0' }
    );
    for headers in [
        format!("Authorization: Bearer {changed}\r\n"),
        format!("Authorization: Bearer {}\r\n", key.to_uppercase()),
        format!("Authorization: Bearer {key}x\r\n"),
        "Authorization: Bearer '; DROP TABLE api_keys;--\r\n".to_owned(),
        format!("Authorization: Bearer {}\r\n", "x".repeat(40_000)),
        format!("Authorization: Bearer {key}\r\nAuthorization: Bearer {key}\r\n"),
    ] {
        client
            .ask(models(&headers))
            .await
            .assert_refused(401, "invalid_api_key");
    }
}

#[tokio::test]
async fn a_key_in_the_query_is_none() {
    let edge = Edge::start().await;
    let request = format!(
        "GET /v1/models?api_key={0}&key={0} HTTP/1.1\r\nHost: a\r\n\r\n",
        edge.user_key
    );
    edge.ask(request)
        .await
        .assert_refused(401, "missing_api_key");
}

#[tokio::test]
async fn an_operator_key_makes_no_calls() {
    let edge = Edge::start().await;
    let with = |key: &str, request: String| request.replace(&edge.platform_key, key);
    let mut client = edge.connect().await;
    for (key, reason) in [
        (&edge.operator_key, "wrong_key_type"),
        (&edge.managing_key, "insufficient_scope"),
    ] {
        client
            .ask(with(key, edge.chat("hi")))
            .await
            .assert_refused(403, reason);
        client
            .ask(models(&format!("Authorization: Bearer {key}\r\n")))
            .await
            .assert_refused(403, reason);
    }
    assert_eq!(edge.stage.arrived.load(Ordering::SeqCst), 0);
}

/// The shape of a key is checked before the body is read: the body here never comes.
#[tokio::test]
async fn a_bad_key_is_refused_before_the_body() {
    let edge = Edge::start().await;
    for (key, reason) in [
        ("", "missing_api_key"),
        ("Authorization: Bearer x\r\n", "invalid_api_key"),
    ] {
        let mut client = edge.connect().await;
        let reply = client
            .ask(format!(
                "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\n{key}Content-Length: 1000000\r\n\r\n"
            ))
            .await;
        reply.assert_refused(401, reason);
        assert!(reply.closes());
    }
}

/// A small body is read and thrown away, so that the connection can be used again.
#[tokio::test]
async fn a_refusal_with_a_small_body_keeps_the_connection() {
    let edge = Edge::start().await;
    let mut client = edge.connect().await;
    for _ in 0..3 {
        let reply = client
            .ask("POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
            .await;
        reply.assert_refused(401, "missing_api_key");
        assert!(!reply.closes());
    }
}
