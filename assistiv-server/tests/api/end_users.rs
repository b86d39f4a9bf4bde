//! End users.

use serde_json::json;

use crate::support::{App, STORES, has_exactly, text};

const MEMBERS: &str =
    "id platform_id external_id display_name metadata is_active created_at updated_at";

#[tokio::test]
async fn created_once_and_given_a_fresh_key_on_a_repeat() {
    for store in STORES {
        let app = App::new(store).await;
        let tenant = app.tenant("Mine").await;
        let path = tenant.path("/end-users");
        let body =
            json!({"external_id": "user-1", "display_name": "Jane", "metadata": {"plan": "pro"}});
        let first = app.send(&tenant.key, "POST", &path, body).await;
        assert_eq!(first.headers["cache-control"], "no-store");
        let first = first.data(201);
        has_exactly(&first, &format!("{MEMBERS} api_key budget"));
        has_exactly(
            &first["api_key"],
            "id key_prefix name scopes is_active expires_at created_at raw_key",
        );
        assert_eq!(first["budget"], json!(null));
        let body = json!({"external_id": "user-1", "display_name": "Other"});
        let second = app.send(&tenant.key, "POST", &path, body).await;
        assert_eq!(second.headers["cache-control"], "no-store");
        let second = second.data(200);
        assert_eq!(first["id"], second["id"]);
        assert_eq!(second["display_name"], "Jane");
        for made in [first, second] {
            let me = app
                .get(&text(&made["api_key"]["raw_key"]), "/v1/me")
                .await
                .data(200);
            assert_eq!(me["id"], made["id"]);
        }
    }
}

#[tokio::test]
async fn new_users_get_the_default_budget() {
    for store in STORES {
        let app = App::new(store).await;
        let tenant = app.tenant("Mine").await;
        let settings =
            json!({"settings": {"default_budget_usd": "2.5", "default_budget_tokens": 1000}});
        app.send(&tenant.key, "PATCH", &tenant.path(""), settings)
            .await
            .data(200);
        let body = json!({"external_id": "u"});
        let made = app
            .send(&tenant.key, "POST", &tenant.path("/end-users"), body)
            .await;
        let budget = &made.data(201)["budget"];
        assert_eq!(
            (&budget["period"], &budget["max_tokens"]),
            (&json!("monthly"), &json!(1000))
        );
        assert!(made.text.contains("\"max_usd\":2.500000,"), "{}", made.text);
    }
}

#[tokio::test]
async fn found_by_id_and_by_the_name_that_the_platform_gave() {
    for store in STORES {
        let app = App::new(store).await;
        let tenant = app.tenant("Mine").await;
        for external in ["a/b c%", "ü:x", "plain"] {
            let user = app.user(&tenant, external).await;
            let encoded: String = external.bytes().map(|b| format!("%{b:02X}")).collect();
            let path = tenant.path(&format!("/end-users/external:{encoded}"));
            let by_id = app
                .get(&tenant.key, &tenant.user_path(&user, ""))
                .await
                .data(200);
            has_exactly(&by_id, MEMBERS);
            assert_eq!(by_id["external_id"], external);
            assert_eq!(by_id["metadata"], json!({}));
            assert_eq!(by_id["display_name"], json!(null));
            assert_eq!(app.get(&tenant.key, &path).await.data(200), by_id);
            app.get(&tenant.key, &format!("{path}/api-keys"))
                .await
                .json()["data"][0]["id"]
                .to_string();
        }
        for name in ["external:nobody", "external:", "x", "%FF", "external:%00"] {
            let path = tenant.path(&format!("/end-users/{name}"));
            let status = if name == "%FF" {
                "not_found"
            } else {
                "end_user_not_found"
            };
            app.get(&tenant.key, &path).await.refused(404, status);
        }
    }
}

#[tokio::test]
async fn listed_with_filters() {
    for store in STORES {
        let app = App::new(store).await;
        let tenant = app.tenant("Mine").await;
        for external in ["ab", "abc", "x"] {
            app.user(&tenant, external).await;
        }
        let path = tenant.path("/end-users");
        let off = tenant.path("/end-users/external:x");
        app.send(&tenant.key, "PATCH", &off, json!({"is_active": false}))
            .await
            .data(200);
        for (query, wanted) in [
            ("q=AB", vec!["ab", "abc"]),
            ("q=%25", vec![]),
            ("external_id=abc", vec!["abc"]),
            ("external_id=nobody", vec![]),
            ("is_active=false", vec!["x"]),
            ("is_active=true", vec!["abc", "ab"]),
        ] {
            let list = app
                .get(&tenant.key, &format!("{path}?{query}"))
                .await
                .json();
            let mut found: Vec<_> = list["data"]
                .as_array()
                .unwrap()
                .iter()
                .map(|u| text(&u["external_id"]))
                .collect();
            if query == "q=AB" {
                found.sort();
            }
            assert_eq!(found, wanted, "{query}");
            assert_eq!(list["total"], wanted.len());
        }
    }
}

#[tokio::test]
async fn changed_and_switched_off() {
    for store in STORES {
        let app = App::new(store).await;
        let tenant = app.tenant("Mine").await;
        let user = app.user(&tenant, "u").await;
        let path = tenant.user_path(&user, "");
        let patch = async |body| app.send(&tenant.key, "PATCH", &path, body).await;
        let data = patch(json!({"display_name": "J", "metadata": {"a": 1.0}}))
            .await
            .data(200);
        assert_eq!(
            (&data["display_name"], &data["metadata"]),
            (&json!("J"), &json!({"a": 1.0}))
        );
        let data = patch(json!({"metadata": null})).await.data(200);
        assert_eq!(
            (&data["display_name"], &data["metadata"]),
            (&json!("J"), &json!({}))
        );
        let data = patch(json!({"display_name": null, "is_active": false}))
            .await
            .data(200);
        assert_eq!(
            (&data["display_name"], &data["is_active"]),
            (&json!(null), &json!(false))
        );
        app.get(&user.key, "/v1/me")
            .await
            .refused(403, "end_user_disabled");
        let again = json!({"external_id": "u"});
        app.send(&tenant.key, "POST", &tenant.path("/end-users"), again)
            .await
            .refused(403, "end_user_disabled");
        app.send(&tenant.key, "POST", &format!("{path}/api-keys"), "{}")
            .await
            .refused(403, "end_user_disabled");
        patch(json!({"is_active": true})).await.data(200);
        app.get(&user.key, "/v1/me").await.data(200);
        let bad =
            json!({"external_id": "v", "display_name": "", "metadata": [], "is_active": null});
        assert_eq!(
            patch(bad).await.bad_fields(),
            ["external_id", "display_name", "metadata", "is_active"]
        );
        let large = json!({"metadata": {"x": "y".repeat(16 << 10)}});
        assert_eq!(patch(large).await.bad_fields(), ["metadata"]);
    }
}

#[tokio::test]
async fn bad_fields_are_told_all_at_once() {
    let app = App::new(STORES[0]).await;
    let tenant = app.tenant("Mine").await;
    let body = json!({"external_id": "a\u{0}", "display_name": 5, "metadata": "x"});
    let made = app
        .send(&tenant.key, "POST", &tenant.path("/end-users"), body)
        .await;
    assert_eq!(
        made.bad_fields(),
        ["external_id", "display_name", "metadata"]
    );
    let body = json!({"external_id": "x".repeat(256)});
    let made = app
        .send(&tenant.key, "POST", &tenant.path("/end-users"), body)
        .await;
    assert_eq!(made.bad_fields(), ["external_id"]);
}

#[tokio::test]
async fn deleted_and_the_name_is_free_again() {
    for store in STORES {
        let app = App::new(store).await;
        let tenant = app.tenant("Mine").await;
        let user = app.user(&tenant, "u").await;
        let path = tenant.user_path(&user, "");
        app.delete(&tenant.key, &path).await.no_content();
        app.get(&user.key, "/v1/me")
            .await
            .refused(401, "invalid_api_key");
        app.get(&tenant.key, &path)
            .await
            .refused(404, "end_user_not_found");
        app.delete(&tenant.key, &path)
            .await
            .refused(404, "end_user_not_found");
        assert_ne!(app.user(&tenant, "u").await.id, user.id);
    }
}
