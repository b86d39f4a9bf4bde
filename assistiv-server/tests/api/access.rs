//! Who may call which route: decided before bodies and queries are looked at.

use axum::body::Body;
use http::Request;
use serde_json::json;

use crate::support::{App, STORES, UNKNOWN};

/// What a route asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Wants {
    Operator,
    Manager,
    EndUser,
}

/// Every route, with placeholders; no request on them may change anything.
const ROUTES: [(&str, &str, Wants); 38] = [
    ("POST", "/v1/admin/platforms", Wants::Operator),
    ("GET", "/v1/admin/platforms?page=0", Wants::Operator),
    ("GET", "/v1/admin/platforms/{P}", Wants::Operator),
    ("PATCH", "/v1/admin/platforms/{P}", Wants::Operator),
    ("DELETE", "/v1/admin/platforms/{P}", Wants::Operator),
    ("GET", "/v1/platforms/{P}", Wants::Manager),
    ("PATCH", "/v1/platforms/{P}", Wants::Manager),
    ("DELETE", "/v1/platforms/{P}", Wants::Manager),
    ("GET", "/v1/platforms/{P}/end-users?page=0", Wants::Manager),
    ("POST", "/v1/platforms/{P}/end-users", Wants::Manager),
    ("GET", "/v1/platforms/{P}/end-users/{U}", Wants::Manager),
    ("PATCH", "/v1/platforms/{P}/end-users/{U}", Wants::Manager),
    ("DELETE", "/v1/platforms/{P}/end-users/{U}", Wants::Manager),
    (
        "GET",
        "/v1/platforms/{P}/api-keys?limit=101",
        Wants::Manager,
    ),
    ("POST", "/v1/platforms/{P}/api-keys", Wants::Manager),
    ("PATCH", "/v1/platforms/{P}/api-keys/{X}", Wants::Manager),
    ("DELETE", "/v1/platforms/{P}/api-keys/{X}", Wants::Manager),
    (
        "GET",
        "/v1/platforms/{P}/end-users/{U}/api-keys?page=x",
        Wants::Manager,
    ),
    (
        "POST",
        "/v1/platforms/{P}/end-users/{U}/api-keys",
        Wants::Manager,
    ),
    (
        "DELETE",
        "/v1/platforms/{P}/end-users/{U}/api-keys/{X}",
        Wants::Manager,
    ),
    (
        "GET",
        "/v1/platforms/{P}/llm-configs?page=0",
        Wants::Manager,
    ),
    ("POST", "/v1/platforms/{P}/llm-configs", Wants::Manager),
    ("GET", "/v1/platforms/{P}/llm-configs/{X}", Wants::Manager),
    ("PATCH", "/v1/platforms/{P}/llm-configs/{X}", Wants::Manager),
    (
        "DELETE",
        "/v1/platforms/{P}/llm-configs/{X}",
        Wants::Manager,
    ),
    ("GET", "/v1/platforms/{P}/wallet", Wants::Manager),
    ("PATCH", "/v1/platforms/{P}/wallet", Wants::Manager),
    ("POST", "/v1/platforms/{P}/wallet/topup", Wants::Manager),
    (
        "POST",
        "/v1/platforms/{P}/end-users/{U}/budget",
        Wants::Manager,
    ),
    (
        "GET",
        "/v1/platforms/{P}/end-users/{U}/budget",
        Wants::Manager,
    ),
    (
        "PATCH",
        "/v1/platforms/{P}/end-users/{U}/budget",
        Wants::Manager,
    ),
    (
        "DELETE",
        "/v1/platforms/{P}/end-users/{U}/budget",
        Wants::Manager,
    ),
    (
        "POST",
        "/v1/platforms/{P}/end-users/{U}/budget/topup",
        Wants::Manager,
    ),
    (
        "POST",
        "/v1/platforms/{P}/end-users/{U}/budget/debit",
        Wants::Manager,
    ),
    // The path cannot be read: the key still comes first.
    ("GET", "/v1/platforms/{P}/end-users/%FF", Wants::Manager),
    ("GET", "/v1/platforms/{P}/api-keys?type=x", Wants::Manager),
    ("GET", "/v1/me", Wants::EndUser),
    ("GET", "/v1/me/budget", Wants::EndUser),
];

fn request(method: &str, path: &str, key: Option<&str>) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(key) = key {
        request = request.header("authorization", format!("Bearer {key}"));
    }
    request.body(Body::from("no JSON at all")).unwrap()
}

#[tokio::test]
async fn the_key_is_judged_before_anything_else() {
    for store in STORES {
        let app = App::new(store).await;
        let tenant = app.tenant("Mine").await;
        let other = app.tenant("Other").await;
        let user = app.user(&tenant, "user-1").await;
        let inference = app.scoped_key(&tenant, json!(["inference"])).await;
        for (method, path, wants) in ROUTES {
            let path = path
                .replace("{P}", &tenant.id)
                .replace("{U}", &user.id)
                .replace("{X}", UNKNOWN);
            let what = format!("{method} {path}");
            let ask = |key: Option<&str>| app.raw(request(method, &path, key));

            let anonymous = ask(None).await;
            anonymous.refused(401, "missing_api_key");
            assert_eq!(anonymous.headers["www-authenticate"], "Bearer", "{what}");
            ask(Some("sk-plat_00"))
                .await
                .refused(401, "invalid_api_key");
            let (from_user, from_platform, from_other, unscoped) = (
                ask(Some(&user.key)),
                ask(Some(&tenant.key)),
                ask(Some(&other.key)),
                ask(Some(&inference)),
            );
            match wants {
                Wants::Operator => {
                    from_user.await.refused(403, "wrong_key_type");
                    from_platform.await.refused(403, "wrong_key_type");
                    from_other.await.refused(403, "wrong_key_type");
                    unscoped.await.refused(403, "wrong_key_type");
                }
                Wants::Manager => {
                    from_user.await.refused(403, "wrong_key_type");
                    if !path.contains("%FF") {
                        from_other.await.refused(403, "forbidden");
                    }
                    let error = unscoped.await.refused(403, "insufficient_scope");
                    assert_eq!(error["details"]["required"], "management", "{what}");
                }
                Wants::EndUser => {
                    from_platform.await.refused(403, "wrong_key_type");
                    from_other.await.refused(403, "wrong_key_type");
                    ask(Some(&app.operator))
                        .await
                        .refused(403, "wrong_key_type");
                }
            }
            if wants != Wants::EndUser && method != "DELETE" {
                let operator = ask(Some(&app.operator)).await;
                assert!(
                    !matches!(operator.status.as_u16(), 401 | 403),
                    "{what}: {operator:?}"
                );
            }
        }
        // Nothing of this had an effect.
        let users = app
            .get(&tenant.key, &tenant.path("/end-users"))
            .await
            .json();
        assert_eq!(users["total"], 1);
    }
}

#[tokio::test]
async fn a_platform_that_is_no_uuid_is_answered_like_any_other_one() {
    let app = App::new(STORES[0]).await;
    let tenant = app.tenant("Mine").await;
    let user = app.user(&tenant, "user-1").await;
    for path in [
        "/v1/platforms/x",
        "/v1/platforms/x/wallet",
        "/v1/platforms/%FF/wallet",
    ] {
        app.get(&user.key, path)
            .await
            .refused(403, "wrong_key_type");
        app.get(&app.operator, path).await.refused(404, "not_found");
    }
    let upper = format!("/v1/platforms/{}", tenant.id.to_uppercase());
    app.get(&tenant.key, &upper).await.refused(403, "forbidden");
    let unknown = app
        .get(&app.operator, &format!("/v1/platforms/{UNKNOWN}"))
        .await;
    let malformed = app.get(&app.operator, "/v1/platforms/x").await;
    assert_eq!(unknown.anonymous_error(), malformed.anonymous_error());
    app.get(&app.operator, "/v1/admin/platforms/x")
        .await
        .refused(404, "not_found");
}

#[tokio::test]
async fn the_platform_header_must_not_contradict_key_and_path() {
    let app = App::new(STORES[0]).await;
    let tenant = app.tenant("Mine").await;
    let user = app.user(&tenant, "user-1").await;
    let path = tenant.path("/wallet");
    let header = "x-assistiv-platform-id";
    let ask = async |key: &str, path: &str, id: &str| {
        app.send_with(key, "GET", path, "", &[(header, id)]).await
    };
    ask(&tenant.key, &path, &tenant.id).await.data(200);
    ask(&app.operator, &path, &tenant.id).await.data(200);
    ask(&tenant.key, &path, UNKNOWN)
        .await
        .refused(403, "forbidden");
    ask(&app.operator, &path, UNKNOWN)
        .await
        .refused(400, "platform_mismatch");
    ask(&app.operator, &path, "x")
        .await
        .refused(400, "platform_mismatch");
    ask(&user.key, "/v1/me", UNKNOWN)
        .await
        .refused(403, "forbidden");
    ask(&user.key, "/v1/me", &tenant.id).await.data(200);
}

#[tokio::test]
async fn keys_are_taken_from_one_bearer_header_alone() {
    let app = App::new(STORES[0]).await;
    let tenant = app.tenant("Mine").await;
    let path = tenant.path("/wallet");
    let with = |headers: &[(&str, String)]| {
        let mut request = Request::builder().uri(&path);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        app.raw(request.body(Body::empty()).unwrap())
    };
    let key = &tenant.key;
    with(&[("authorization", format!("bEaReR {key}"))])
        .await
        .data(200);
    with(&[("authorization", format!("Basic {key}"))])
        .await
        .refused(401, "missing_api_key");
    with(&[("authorization", key.clone())])
        .await
        .refused(401, "missing_api_key");
    with(&[("x-api-key", key.clone())])
        .await
        .refused(401, "missing_api_key");
    with(&[("cookie", format!("key={key}"))])
        .await
        .refused(401, "missing_api_key");
    let twice = ("authorization", format!("Bearer {key}"));
    with(&[twice.clone(), twice])
        .await
        .refused(401, "invalid_api_key");
    let unknown = "sk-plat_4be19c0712d94a6f83c5e1b7a09f64d2e8351cb7a0f2d946aa12a19c";
    with(&[("authorization", format!("Bearer {unknown}"))])
        .await
        .refused(401, "invalid_api_key");
}
