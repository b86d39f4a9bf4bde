//! API keys.

use futures_util::future::join_all;
use serde_json::json;

use crate::support::{App, STORES, UNKNOWN, has_exactly, text};

const MEMBERS: &str = "id platform_id type end_user_id key_prefix name scopes is_active last_used_at expires_at created_at";

#[tokio::test]
async fn platform_keys_from_issue_to_revocation() {
    for store in STORES {
        let app = App::new(store).await;
        let tenant = app.tenant("Mine").await;
        let path = tenant.path("/api-keys");
        let body = json!({"name": "Build", "scopes": ["inference", "management"], "expires_at": "2199-01-01T00:00:00Z"});
        let made = app.send(&tenant.key, "POST", &path, body).await;
        assert_eq!(made.headers["cache-control"], "no-store");
        let made = made.data(201);
        has_exactly(&made, &format!("{MEMBERS} raw_key"));
        assert_eq!(
            (&made["type"], &made["end_user_id"]),
            (&json!("platform"), &json!(null))
        );
        assert_eq!(made["expires_at"], "2199-01-01T00:00:00Z");
        let (id, key) = (text(&made["id"]), text(&made["raw_key"]));
        app.get(&key, &tenant.path("")).await.data(200);

        let one = format!("{path}/{id}");
        let data = app
            .send(
                &tenant.key,
                "PATCH",
                &one,
                json!({"name": "B", "expires_at": null}),
            )
            .await
            .data(200);
        has_exactly(&data, MEMBERS);
        assert_eq!(
            (&data["name"], &data["expires_at"]),
            (&json!("B"), &json!(null))
        );
        app.send(&tenant.key, "PATCH", &one, json!({"is_active": false}))
            .await
            .data(200);
        app.get(&key, &tenant.path(""))
            .await
            .refused(401, "api_key_revoked");
        let listed = app
            .get(&tenant.key, &format!("{path}?is_active=false"))
            .await
            .json();
        assert_eq!(
            (&listed["total"], &listed["data"][0]["id"]),
            (&json!(1), &json!(id))
        );
        let bad = json!({"name": "", "is_active": 1, "expires_at": "tomorrow"});
        let bad = app.send(&tenant.key, "PATCH", &one, bad).await;
        assert_eq!(bad.bad_fields(), ["name", "is_active", "expires_at"]);
        app.delete(&tenant.key, &one).await.no_content();
        app.delete(&tenant.key, &one)
            .await
            .refused(404, "api_key_not_found");
        app.get(&key, &tenant.path(""))
            .await
            .refused(401, "invalid_api_key");
    }
}

#[tokio::test]
async fn an_absent_body_takes_the_defaults() {
    use axum::body::Body;
    use http::Request;
    let app = App::new(STORES[0]).await;
    let tenant = app.tenant("Mine").await;
    let request = Request::post(tenant.path("/api-keys"))
        .header("authorization", format!("Bearer {}", tenant.key));
    let data = app
        .raw(request.body(Body::empty()).unwrap())
        .await
        .data(201);
    assert_eq!(
        (&data["name"], &data["scopes"]),
        (&json!("API key"), &json!(["inference", "management"]))
    );
}

#[tokio::test]
async fn scopes_never_widen() {
    let app = App::new(STORES[0]).await;
    let tenant = app.tenant("Mine").await;
    let path = tenant.path("/api-keys");
    let manager = app.scoped_key(&tenant, json!(["management"])).await;
    for scopes in [json!(["inference"]), json!([])] {
        app.send(&manager, "POST", &path, json!({"scopes": scopes}))
            .await
            .refused(403, "insufficient_scope");
    }
    app.send(&manager, "POST", &path, json!({"scopes": ["management"]}))
        .await
        .data(201);
    app.send(&app.operator, "POST", &path, json!({"scopes": []}))
        .await
        .data(201);
    let bad = json!({"name": 1, "scopes": ["all"], "expires_at": 5});
    assert_eq!(
        app.send(&tenant.key, "POST", &path, bad).await.bad_fields(),
        ["name", "scopes", "expires_at"]
    );
    let past = json!({"expires_at": "2020-01-01T00:00:00Z"});
    assert_eq!(
        app.send(&tenant.key, "POST", &path, past)
            .await
            .bad_fields(),
        ["expires_at"]
    );
    let user = app.user(&tenant, "u").await;
    let path = tenant.user_path(&user, "/api-keys");
    let bad = json!({"scopes": ["management"]});
    assert_eq!(
        app.send(&tenant.key, "POST", &path, bad).await.bad_fields(),
        ["scopes"]
    );
}

#[tokio::test]
async fn the_last_managing_key_stays() {
    for store in STORES {
        let app = App::new(store).await;
        let tenant = app.tenant("Mine").await;
        app.scoped_key(&tenant, json!(["inference"])).await;
        let keys = app.get(&tenant.key, &tenant.path("/api-keys")).await.json();
        let managing = keys["data"]
            .as_array()
            .unwrap()
            .iter()
            .find(|key| key["scopes"] == json!([]))
            .unwrap();
        let path = tenant.path(&format!("/api-keys/{}", text(&managing["id"])));
        app.delete(&tenant.key, &path)
            .await
            .refused(409, "last_platform_key");
        let off = json!({"is_active": false});
        app.send(&tenant.key, "PATCH", &path, &off)
            .await
            .refused(409, "last_platform_key");
        app.get(&tenant.key, &tenant.path("")).await.data(200);
        let second = app.scoped_key(&tenant, json!([])).await;
        app.delete(&second, &path).await.no_content();
        app.get(&tenant.key, &tenant.path(""))
            .await
            .refused(401, "invalid_api_key");
    }
}

#[tokio::test]
async fn keys_of_end_users() {
    for store in STORES {
        let app = App::new(store).await;
        let tenant = app.tenant("Mine").await;
        let (user, other) = (app.user(&tenant, "u").await, app.user(&tenant, "v").await);
        let path = tenant.user_path(&user, "/api-keys");
        let made = app
            .send(&tenant.key, "POST", &path, json!({"name": "Phone"}))
            .await
            .data(201);
        has_exactly(&made, &format!("{MEMBERS} raw_key"));
        assert_eq!(
            (&made["type"], &made["end_user_id"]),
            (&json!("end_user"), &json!(user.id))
        );
        assert_eq!(made["scopes"], json!(["inference"]));
        let (id, key) = (text(&made["id"]), text(&made["raw_key"]));
        assert!(key.starts_with("sk-eu_"));
        app.get(&key, "/v1/me").await.data(200);

        let listed = app.get(&tenant.key, &path).await.json();
        assert_eq!(listed["total"], 2);
        has_exactly(&listed["data"][0], MEMBERS);
        let keys = tenant.path("/api-keys");
        for (query, total) in [
            ("", 1),
            ("?type=platform", 1),
            ("?type=end_user", 3),
            (&format!("?end_user_id={}", user.id), 2),
            (
                &format!("?type=end_user&end_user_id={}&is_active=false", user.id),
                0,
            ),
            // A filter that fits nobody finds nothing.
            (&format!("?end_user_id={UNKNOWN}"), 0),
        ] {
            let listed = app.get(&tenant.key, &format!("{keys}{query}")).await.json();
            assert_eq!(listed["total"], total, "{query}");
            assert_eq!(listed["data"].as_array().unwrap().len(), total);
        }
        // A path that leads to nobody is another matter.
        let astray = tenant.path(&format!("/end-users/{UNKNOWN}/api-keys"));
        app.get(&tenant.key, &astray)
            .await
            .refused(404, "end_user_not_found");
        let bad = app
            .get(
                &tenant.key,
                &format!("{keys}?type=x&end_user_id=y&is_active=1&limit=0"),
            )
            .await;
        assert_eq!(
            bad.bad_fields(),
            ["limit", "type", "end_user_id", "is_active"]
        );

        // Another user's path does not lead to the key.
        let astray = tenant.user_path(&other, &format!("/api-keys/{id}"));
        app.delete(&tenant.key, &astray)
            .await
            .refused(404, "api_key_not_found");
        app.delete(&tenant.key, &format!("{path}/{UNKNOWN}"))
            .await
            .refused(404, "api_key_not_found");
        app.delete(&tenant.key, &format!("{path}/{id}"))
            .await
            .no_content();
        app.get(&key, "/v1/me")
            .await
            .refused(401, "invalid_api_key");
    }
}

#[tokio::test]
async fn raw_keys_are_shown_once() {
    for store in STORES {
        let app = App::new(store).await;
        let tenant = app.tenant("Mine").await;
        let user = app.user(&tenant, "u").await;
        let extra = app.scoped_key(&tenant, json!(["inference"])).await;
        let provider_key = "sk-provider-0123456789";
        let config = json!({"provider": "openai", "api_key": provider_key});
        app.send(&tenant.key, "POST", &tenant.path("/llm-configs"), config)
            .await
            .data(201);
        app.seen.lock().unwrap().clear();
        for path in [
            tenant.path(""),
            tenant.path("/api-keys"),
            tenant.path("/api-keys?type=end_user"),
            tenant.path("/end-users"),
            tenant.user_path(&user, ""),
            tenant.user_path(&user, "/api-keys"),
            tenant.path("/llm-configs"),
            tenant.path("/wallet"),
            "/v1/platforms".to_owned(),
        ] {
            assert_eq!(app.get(&tenant.key, &path).await.status, 200);
        }
        app.get(&user.key, "/v1/me").await.data(200);
        app.send(
            &tenant.key,
            "POST",
            &tenant.path("/end-users"),
            json!({"external_id": "u"}),
        )
        .await
        .data(200);
        let bad = json!({"provider": "none", "api_key": provider_key, "priority": -1});
        app.send(&tenant.key, "POST", &tenant.path("/llm-configs"), bad)
            .await
            .bad_fields();
        for seen in app.seen.lock().unwrap().iter() {
            for secret in [&tenant.key, &user.key, &extra, provider_key] {
                assert!(!seen.contains(secret), "{seen}");
            }
        }
    }
}

#[tokio::test]
async fn a_revocation_beside_renames_stands() {
    for store in STORES {
        let app = App::new(store).await;
        let tenant = app.tenant("Mine").await;
        let made = app
            .send(&tenant.key, "POST", &tenant.path("/api-keys"), json!({}))
            .await
            .data(201);
        let path = tenant.path(&format!("/api-keys/{}", text(&made["id"])));
        let patches = (0..17).map(|index| {
            let body = match index {
                8 => json!({"is_active": false}),
                _ => json!({"name": format!("name {index}")}),
            };
            app.send(&tenant.key, "PATCH", &path, body)
        });
        for answer in join_all(patches).await {
            answer.data(200);
        }
        app.get(&text(&made["raw_key"]), &tenant.path(""))
            .await
            .refused(401, "api_key_revoked");
    }
}

#[tokio::test]
async fn a_new_key_takes_the_place_of_the_others() {
    for store in STORES {
        let app = App::new(store).await;
        let tenant = app.tenant("Mine").await;
        let user = app.user(&tenant, "u").await;
        let (keys, rotate) = (
            tenant.user_path(&user, "/api-keys"),
            tenant.user_path(&user, "/api-keys/rotate"),
        );
        let scopes = json!(["inference", "self"]);
        let body = json!({"grace_seconds": 3600, "name": "Second", "scopes": scopes});
        let second = app.send(&tenant.key, "POST", &rotate, body).await.data(201);
        let raw = text(&second["raw_key"]);
        assert_eq!(
            (&second["name"], &second["scopes"]),
            (&json!("Second"), &scopes)
        );
        for key in [&user.key, &raw] {
            app.get(key, "/v1/me").await.data(200);
        }
        let listed = app.get(&tenant.key, &keys).await.json();
        let expiring = |key: &&serde_json::Value| key["expires_at"].is_string();
        let rows = listed["data"].as_array().unwrap();
        assert_eq!((rows.len(), rows.iter().filter(expiring).count()), (2, 1));

        // Without a body nothing is left of the others.
        let third = app
            .send(&tenant.key, "POST", &rotate, json!({"scopes": scopes}))
            .await
            .data(201);
        for key in [&user.key, &raw] {
            app.get(key, "/v1/me").await.refused(401, "api_key_revoked");
        }
        app.get(&text(&third["raw_key"]), "/v1/me").await.data(200);

        for bad in [json!(-1), json!(86_401), json!("1"), json!(1.5)] {
            let answer = app
                .send(&tenant.key, "POST", &rotate, json!({"grace_seconds": bad}))
                .await;
            assert_eq!(answer.bad_fields(), ["grace_seconds"]);
        }
        let off = json!({"is_active": false});
        let path = tenant.user_path(&user, "");
        app.send(&tenant.key, "PATCH", &path, off).await.data(200);
        app.send(&tenant.key, "POST", &rotate, json!({}))
            .await
            .refused(403, "end_user_disabled");
        let nobody = format!(
            "/v1/platforms/{}/end-users/{}/api-keys/rotate",
            tenant.id, tenant.id
        );
        app.send(&tenant.key, "POST", &nobody, json!({}))
            .await
            .refused(404, "end_user_not_found");
    }
}
