//! The lists of models.

use crate::harness::Edge;

fn get(path: &str, key: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {key}\r\n\r\n")
}

#[tokio::test]
async fn models_are_listed_in_openai_shape() {
    let edge = Edge::start().await;
    for key in [&edge.platform_key, &edge.user_key] {
        let reply = edge.ask(get("/v1/models", key)).await;
        assert_eq!(
            (reply.status, reply.header("content-type")),
            (200, Some("application/json"))
        );
        let echo = serde_json::json!({
            "id": "echo", "object": "model", "created": 1_767_225_600, "owned_by": "echo",
        });
        assert_eq!(
            reply.json(),
            serde_json::json!({ "object": "list", "data": [echo] })
        );
        let reply = edge.ask(get("/v1/models/echo", key)).await;
        assert_eq!(reply.json(), echo);
    }
}

#[tokio::test]
async fn names_may_be_encoded_and_have_slashes() {
    let edge = Edge::start().await;
    let mut client = edge.connect().await;
    let key = &edge.user_key;
    assert_eq!(client.ask(get("/v1/models/%65cho", key)).await.status, 200);
    for name in [
        "none",
        "a/b",
        "a%2Fb",
        "%2e%2e",
        "x%00",
        "%F0%9F%98%80",
        &"x".repeat(2_000),
    ] {
        let reply = client.ask(get(&format!("/v1/models/{name}"), key)).await;
        reply.assert_refused(404, "model_not_found");
    }
    for name in ["%zz", "%", "%ff"] {
        client
            .ask(get(&format!("/v1/models/{name}"), key))
            .await
            .assert_refused(404, "not_found");
    }
    client
        .ask("GET /v1/models/echo HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .assert_refused(401, "missing_api_key");
}
