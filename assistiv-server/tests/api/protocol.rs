//! Paths, methods, bodies and pages: what is the same on every route.

use std::sync::Arc;

use assistiv_server::http::problem::RequestId;
use axum::body::Body;
use http::Request;
use serde_json::json;

use crate::support::{App, STORES};

#[tokio::test]
async fn unknown_paths_and_wrong_methods() {
    let app = App::new(STORES[0]).await;
    for path in [
        "/",
        "/v1",
        "/v1/platforms/",
        "//v1/platforms",
        "/v1/Platforms",
        "/v1/me/",
    ] {
        app.raw(Request::get(path).body(Body::empty()).unwrap())
            .await
            .refused(404, "not_found");
    }
    let wrong = app
        .raw(Request::put("/v1/platforms").body(Body::empty()).unwrap())
        .await;
    wrong.refused(405, "method_not_allowed");
    assert_eq!(wrong.headers["allow"], "GET,HEAD");
    let path = "/v1/platforms/x/api-keys/y";
    let wrong = app
        .raw(Request::get(path).body(Body::empty()).unwrap())
        .await;
    wrong.refused(405, "method_not_allowed");
    assert_eq!(wrong.headers["allow"], "PATCH,DELETE");
}

#[tokio::test]
async fn errors_carry_the_id_of_the_request() {
    let app = App::new(STORES[0]).await;
    let id = RequestId(Arc::from("req_test"));
    let request = Request::get("/v1/me")
        .extension(id)
        .body(Body::empty())
        .unwrap();
    assert_eq!(
        app.raw(request).await.json()["error"]["request_id"],
        "req_test"
    );
    let request = Request::get("/v1/me").body(Body::empty()).unwrap();
    let generated = app.raw(request).await.json()["error"]["request_id"].clone();
    assert!(
        generated.as_str().unwrap().starts_with("req_"),
        "{generated}"
    );
}

#[tokio::test]
async fn bodies_must_be_strict_json_objects() {
    let app = App::new(STORES[0]).await;
    let tenant = app.tenant("Mine").await;
    let path = tenant.path("/end-users");
    let deep = format!("{{\"a\":{}1{}}}", "[".repeat(65), "]".repeat(65));
    for body in [
        "",
        "{",
        "nonsense",
        r#"{"a":1,"a":2}"#,
        r#"{"a":1} {}"#,
        deep.as_str(),
    ] {
        app.send(&tenant.key, "POST", &path, body)
            .await
            .refused(400, "invalid_json");
    }
    for body in ["[]", "null", "5", "\"x\""] {
        assert_eq!(
            app.send(&tenant.key, "POST", &path, body)
                .await
                .bad_fields(),
            ["body"],
            "{body}"
        );
    }
    let large = format!("{{\"external_id\":\"{}\"}}", "x".repeat(64 << 10));
    app.send(&tenant.key, "POST", &path, large)
        .await
        .refused(413, "payload_too_large");
    let request = |name: &str, value: &str| {
        let request =
            Request::post(&path).header("authorization", format!("Bearer {}", tenant.key));
        app.raw(request.header(name, value).body(Body::from("{}")).unwrap())
    };
    request("content-type", "text/plain")
        .await
        .refused(415, "unsupported_media_type");
    request("x-none", "")
        .await
        .refused(415, "unsupported_media_type");
    let encoded = [("content-encoding", "gzip")];
    let answer = app
        .send_with(&tenant.key, "POST", &path, "{}", &encoded)
        .await;
    answer.refused(415, "unsupported_media_type");
    let charset = request("content-type", "application/json; charset=utf-8").await;
    assert_eq!(charset.bad_fields(), ["external_id"]);
}

#[tokio::test]
async fn unknown_fields_are_ignored() {
    let app = App::new(STORES[0]).await;
    let tenant = app.tenant("Mine").await;
    let body = json!({"external_id": "u", "colour": {"deep": [1e300]}});
    app.send(&tenant.key, "POST", &tenant.path("/end-users"), body)
        .await
        .data(201);
}

#[tokio::test]
async fn pages_have_bounds() {
    for store in STORES {
        let app = App::new(store).await;
        let tenant = app.tenant("Mine").await;
        for i in 0..3 {
            app.user(&tenant, &format!("user-{i}")).await;
        }
        let path = tenant.path("/end-users");
        let list = async |query: &str| app.get(&tenant.key, &format!("{path}?{query}")).await;
        let all = list("").await;
        assert!(all.text.starts_with("{\"data\":["), "{}", all.text);
        assert!(
            all.text.ends_with("],\"total\":3,\"page\":1,\"limit\":20}"),
            "{}",
            all.text
        );
        let order: Vec<_> = all.json()["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|u| u["external_id"].clone())
            .collect();
        assert_eq!(order, ["user-2", "user-1", "user-0"], "newest first");
        let second = list("page=2&limit=2").await.json();
        assert_eq!(second["data"].as_array().unwrap().len(), 1);
        assert_eq!(second["data"][0]["external_id"], "user-0");
        assert_eq!(
            (&second["total"], &second["page"], &second["limit"]),
            (&json!(3), &json!(2), &json!(2))
        );
        let past = list("page=4294967295&limit=100").await.json();
        assert_eq!((&past["data"], &past["total"]), (&json!([]), &json!(3)));
        for (query, bad) in [
            ("page=0", vec!["page"]),
            ("page=-1&limit=0", vec!["page", "limit"]),
            ("limit=101", vec!["limit"]),
            ("page=x&limit=1.5", vec!["page", "limit"]),
            ("page=%2B1", vec!["page"]),
            ("page=", vec!["page"]),
            ("page=99999999999999999999", vec!["page"]),
            ("page=1&page=2", vec!["page"]),
            ("is_active=yes&limit=0", vec!["limit", "is_active"]),
        ] {
            assert_eq!(list(query).await.bad_fields(), bad, "{query}");
        }
    }
}
