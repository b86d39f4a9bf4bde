//! Cross-origin calls.

use crate::client::Reply;
use crate::harness::Edge;

async fn preflight(edge: &Edge, path: &str, asked: &str) -> Reply {
    edge.ask(format!(
        "OPTIONS {path} HTTP/1.1\r\nHost: a\r\nOrigin: https://app.example\r\n\
         Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: {asked}\r\n\r\n"
    ))
    .await
}

#[tokio::test]
async fn a_preflight_needs_no_key_and_names_come_back() {
    let edge = Edge::start().await;
    // What OpenAI's client for browsers asks for.
    let asked = "authorization,content-type,x-stainless-arch,x-stainless-lang,x-stainless-os,\
                 x-stainless-package-version,x-stainless-retry-count,x-stainless-runtime,\
                 x-stainless-runtime-version";
    for path in [
        "/v1/chat/completions",
        "/v1/models",
        "/v1/models/a/b",
        "/v1/me",
        "/v1/me/budget",
    ] {
        let reply = preflight(&edge, path, asked).await;
        assert_eq!(reply.status, 204, "{path}");
        assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
        assert_eq!(reply.header("access-control-allow-headers"), Some(asked));
        assert_eq!(reply.header("access-control-max-age"), Some("600"));
        assert_eq!(reply.header("access-control-allow-credentials"), None);
        assert_eq!(
            reply.header("vary"),
            Some("Origin, Access-Control-Request-Headers")
        );
    }
    let reply = preflight(&edge, "/v1/chat/completions", asked).await;
    assert_eq!(
        reply.header("access-control-allow-methods"),
        Some("POST, OPTIONS")
    );
}

#[tokio::test]
async fn too_many_names_or_no_tokens_get_the_fixed_list() {
    let edge = Edge::start().await;
    let names = |count: usize| {
        (0..count)
            .map(|i| format!("x-{i}"))
            .collect::<Vec<_>>()
            .join(",")
    };
    let fixed = "Authorization, Content-Type, Idempotency-Key, X-Request-Id";
    for (asked, answer) in [
        (names(32), names(32)),
        (names(33), fixed.to_owned()),
        ("x-a,x b".to_owned(), fixed.to_owned()),
        (String::new(), fixed.to_owned()),
    ] {
        let reply = preflight(&edge, "/v1/chat/completions", &asked).await;
        assert_eq!(reply.header("access-control-allow-headers"), Some(&*answer));
    }
}

#[tokio::test]
async fn answers_can_be_read_by_pages_errors_too() {
    let edge = Edge::start().await;
    let reply = edge
        .ask(
            edge.chat("hi")
                .replace("Host: a", "Host: a\r\nOrigin: https://app.example"),
        )
        .await;
    assert_eq!(reply.status, 200);
    let exposed = reply.header("access-control-expose-headers").unwrap();
    for name in [
        "X-Request-Id",
        "request-id",
        "X-Assistiv-Log-Id",
        "Retry-After",
        "x-should-retry",
        "WWW-Authenticate",
    ] {
        assert!(exposed.split(", ").any(|exposed| exposed == name), "{name}");
    }
    for path in ["/v1/models", "/v1/me"] {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: a\r\nOrigin: https://app.example\r\n\r\n");
        let reply = edge.ask(request).await;
        reply.assert_refused(401, "missing_api_key");
        assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
        assert_eq!(reply.header("access-control-allow-credentials"), None);
    }
    let reply = edge.ask("GET /v1/models HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(reply.header("access-control-allow-origin"), None);
    assert_eq!(
        reply.header("vary"),
        Some("Origin, Access-Control-Request-Headers")
    );
}

#[tokio::test]
async fn management_is_not_for_pages() {
    let edge = Edge::start().await;
    for path in [
        "/v1/platforms",
        "/v1/admin/platforms",
        "/healthz",
        "/v1/meadow",
    ] {
        let asked = preflight(&edge, path, "authorization").await;
        assert!(matches!(asked.status, 404 | 405), "{path}");
        let got = edge
            .ask(format!(
                "GET {path} HTTP/1.1\r\nHost: a\r\nOrigin: https://app.example\r\n\r\n"
            ))
            .await;
        for reply in [asked, got] {
            for name in [
                "access-control-allow-origin",
                "access-control-allow-headers",
                "vary",
            ] {
                assert_eq!(reply.header(name), None, "{path}");
            }
        }
    }
}
