//! Platforms.

use futures_util::future::join_all;
use serde_json::json;

use crate::support::{App, STORES, UNKNOWN, has_exactly, text};

const MEMBERS: &str =
    "id name slug settings is_active skills_enabled capabilities_enabled created_at updated_at";

#[tokio::test]
async fn created_with_wallet_and_key() {
    for store in STORES {
        let app = App::new(store).await;
        let body = r#"{"name":"My App","settings":{"markup_percentage":12.5,"own":{"x":1.50}},
            "initial_balance_usd":"0.000000213"}"#;
        let made = app
            .send(&app.operator, "POST", "/v1/admin/platforms", body)
            .await;
        let data = made.data(201);
        assert_eq!(made.headers["cache-control"], "no-store");
        has_exactly(&data, &format!("{MEMBERS} api_key wallet"));
        has_exactly(
            &data["api_key"],
            "id key_prefix name scopes is_active expires_at created_at raw_key",
        );
        has_exactly(
            &data["wallet"],
            "id platform_id balance currency low_balance_threshold is_active created_at updated_at",
        );
        assert_eq!(data["slug"], "my-app");
        assert_eq!(data["wallet"]["platform_id"], data["id"]);
        assert!(
            made.text.contains("\"balance\":0.000000213,"),
            "{}",
            made.text
        );
        // Settings that the server does not know come back as they were written.
        assert!(made.text.contains("\"own\":{\"x\":1.50}"), "{}", made.text);
        let raw_key = text(&data["api_key"]["raw_key"]);
        assert!(raw_key.starts_with(&text(&data["api_key"]["key_prefix"])));
        assert_eq!(data["api_key"]["scopes"], json!([]));

        let path = format!("/v1/platforms/{}", text(&data["id"]));
        let own = app.get(&raw_key, &path).await.data(200);
        has_exactly(&own, MEMBERS);
        let wallet = app.get(&raw_key, &format!("{path}/wallet")).await;
        assert!(
            wallet.text.contains("\"amount\":0.000000213,"),
            "{}",
            wallet.text
        );
        let again = app
            .send(&app.operator, "POST", "/v1/admin/platforms", body)
            .await
            .data(201);
        assert_ne!(again["slug"], "my-app", "a derived slug gives way");
    }
}

#[tokio::test]
async fn bad_fields_are_told_all_at_once() {
    let app = App::new(STORES[0]).await;
    let body = json!({
        "slug": "-x", "settings": {"markup_percentage": -1, "log_content": 1}, "initial_balance_usd": -0.5,
    });
    let bad = app
        .send(&app.operator, "POST", "/v1/admin/platforms", body)
        .await
        .bad_fields();
    let wanted = [
        "name",
        "slug",
        "initial_balance_usd",
        "settings.log_content",
        "settings.markup_percentage",
    ];
    assert_eq!(bad, wanted);
    for name in ["", "a\u{0}b", &"x".repeat(101)] {
        let made = app
            .send(
                &app.operator,
                "POST",
                "/v1/admin/platforms",
                json!({"name": name}),
            )
            .await;
        assert_eq!(made.bad_fields(), ["name"]);
    }
    let taken = json!({"name": "a", "slug": "same"});
    app.send(&app.operator, "POST", "/v1/admin/platforms", &taken)
        .await
        .data(201);
    let again = app
        .send(&app.operator, "POST", "/v1/admin/platforms", &taken)
        .await;
    again.refused(409, "slug_taken");
    assert_eq!(again.headers["x-should-retry"], "false");
}

#[tokio::test]
async fn changed_field_by_field() {
    for store in STORES {
        let app = App::new(store).await;
        let tenant = app.tenant("First").await;
        let other = app.tenant("Second").await;
        let path = tenant.path("");
        let patch = async |body| app.send(&tenant.key, "PATCH", &path, body).await;
        let data = patch(json!({"settings": {"default_budget_usd": 10, "mine": [1]}}))
            .await
            .data(200);
        assert_eq!(data["name"], "First");
        let data = patch(json!({"name": "New", "settings": {"mine": null, "x": 1}}))
            .await
            .data(200);
        assert_eq!(
            (&data["name"], &data["slug"]),
            (&json!("New"), &json!("first"))
        );
        assert_eq!(data["settings"], json!({"default_budget_usd": 10, "x": 1}));
        assert_eq!(app.get(&tenant.key, &path).await.data(200), data);
        patch(json!({"slug": "second"}))
            .await
            .refused(409, "slug_taken");
        let bad =
            patch(json!({"name": null, "slug": "A", "settings": {"require_budget": 1}})).await;
        assert_eq!(
            bad.bad_fields(),
            ["name", "slug", "settings.require_budget"]
        );
        assert_eq!(
            patch(json!({"settings": []})).await.bad_fields(),
            ["settings"]
        );
        let admin = format!("/v1/admin/platforms/{}", other.id);
        let data = app
            .send(
                &app.operator,
                "PATCH",
                &admin,
                json!({"name": "By operator"}),
            )
            .await
            .data(200);
        assert_eq!(data["name"], "By operator");
    }
}

#[tokio::test]
async fn listed_by_operator_and_by_itself() {
    for store in STORES {
        let app = App::new(store).await;
        let first = app.tenant("First").await;
        app.tenant("Second").await;
        for path in ["/v1/platforms", "/v1/admin/platforms"] {
            assert_eq!(app.get(&app.operator, path).await.json()["total"], 2);
        }
        let found = app
            .get(&app.operator, "/v1/admin/platforms?q=FIR")
            .await
            .json();
        assert_eq!(
            (&found["total"], &found["data"][0]["name"]),
            (&json!(1), &json!("First"))
        );
        let own = app.get(&first.key, "/v1/platforms").await.json();
        assert_eq!(
            (&own["total"], &own["data"][0]["id"]),
            (&json!(1), &json!(first.id))
        );
        let past = app.get(&first.key, "/v1/platforms?page=2").await.json();
        assert_eq!((&past["total"], &past["data"]), (&json!(1), &json!([])));
        let user = app.user(&first, "u").await;
        app.get(&user.key, "/v1/platforms?page=0")
            .await
            .refused(403, "wrong_key_type");
        let narrow = app.scoped_key(&first, json!(["inference"])).await;
        app.get(&narrow, "/v1/platforms?page=0")
            .await
            .refused(403, "insufficient_scope");
    }
}

#[tokio::test]
async fn deleted_with_everything_under_it() {
    for store in STORES {
        let app = App::new(store).await;
        let tenant = app.tenant("Mine").await;
        let user = app.user(&tenant, "u").await;
        app.get(&user.key, "/v1/me").await.data(200);
        app.delete(&tenant.key, &tenant.path("")).await.no_content();
        app.get(&tenant.key, &tenant.path(""))
            .await
            .refused(401, "invalid_api_key");
        app.get(&user.key, "/v1/me")
            .await
            .refused(401, "invalid_api_key");
        app.get(&app.operator, &tenant.path(""))
            .await
            .refused(404, "not_found");
        let second = app.tenant("Second").await;
        let path = format!("/v1/admin/platforms/{}", second.id);
        app.delete(&app.operator, &path).await.no_content();
        app.delete(&app.operator, &path)
            .await
            .refused(404, "not_found");
        let unknown = format!("/v1/admin/platforms/{UNKNOWN}");
        app.send(&app.operator, "PATCH", &unknown, "{}")
            .await
            .refused(404, "not_found");
    }
}

#[tokio::test]
async fn switched_off_and_on_by_the_operator() {
    for store in STORES {
        let app = App::new(store).await;
        let tenant = app.tenant("Mine").await;
        let other = app.tenant("Other").await;
        let user = app.user(&tenant, "u").await;
        let (path, admin) = (
            tenant.path(""),
            format!("/v1/admin{}", &tenant.path("")[3..]),
        );
        app.get(&tenant.key, &path).await.data(200);
        app.get(&user.key, "/v1/me").await.data(200);

        // Only an operator switches, and only here.
        for (key, path) in [(&tenant.key, &path), (&app.operator, &path)] {
            let body = json!({"is_active": false});
            assert_eq!(
                app.send(key, "PATCH", path, body).await.data(200)["is_active"],
                true
            );
        }
        app.send(&tenant.key, "PATCH", &admin, json!({"is_active": false}))
            .await
            .refused(403, "wrong_key_type");
        let bad = app.send(&app.operator, "PATCH", &admin, json!({"is_active": null}));
        assert_eq!(bad.await.bad_fields(), ["is_active"]);
        let taken = json!({"slug": "other", "is_active": false});
        app.send(&app.operator, "PATCH", &admin, taken)
            .await
            .refused(409, "slug_taken");
        app.get(&tenant.key, &path).await.data(200);

        let off = json!({"is_active": false, "name": "Off"});
        let off = app
            .send(&app.operator, "PATCH", &admin, off)
            .await
            .data(200);
        assert_eq!(
            (&off["name"], &off["is_active"]),
            (&json!("Off"), &json!(false))
        );
        assert_eq!(app.get(&app.operator, &admin).await.data(200), off);
        app.get(&tenant.key, &path)
            .await
            .refused(403, "platform_disabled");
        app.get(&user.key, "/v1/me")
            .await
            .refused(403, "platform_disabled");
        app.get(&other.key, &other.path("")).await.data(200);

        // Other changes leave the switch alone.
        let renamed = app.send(&app.operator, "PATCH", &admin, json!({"name": "Still off"}));
        assert_eq!(renamed.await.data(200)["is_active"], false);
        let on = app.send(&app.operator, "PATCH", &admin, json!({"is_active": true}));
        assert_eq!(on.await.data(200)["name"], "Still off");
        app.get(&tenant.key, &path).await.data(200);
        app.get(&user.key, "/v1/me").await.data(200);
    }
    let app = App::new(STORES[0]).await;
    let unknown = format!("/v1/admin/platforms/{UNKNOWN}");
    app.send(
        &app.operator,
        "PATCH",
        &unknown,
        json!({"is_active": false}),
    )
    .await
    .refused(404, "not_found");
}

#[tokio::test]
async fn settings_that_are_set_at_once_all_stand() {
    for store in STORES {
        let app = App::new(store).await;
        let tenant = app.tenant("Mine").await;
        let path = tenant.path("");
        let patches = (0..16).map(|index| {
            let body = json!({"settings": {format!("key{index}"): index}});
            app.send(&tenant.key, "PATCH", &path, body)
        });
        for answer in join_all(patches).await {
            answer.data(200);
        }
        let data = app.get(&tenant.key, &path).await.data(200);
        let settings = data["settings"].as_object().unwrap();
        assert_eq!(settings.len(), 16, "{settings:?}");
    }
}
