//! LLM configs.

use serde_json::json;

use crate::support::{App, STORES, UNKNOWN, has_exactly, text};

const MEMBERS: &str = "id platform_id provider_id provider name priority models base_url is_default is_active \
                       created_at updated_at";

#[tokio::test]
async fn from_creation_to_removal() {
    for store in STORES {
        let app = App::new(store).await;
        let tenant = app.tenant("Mine").await;
        let path = tenant.path("/llm-configs");
        let first = json!({"provider": "openai", "api_key": "sk-one", "base_url": null});
        let first = app.send(&tenant.key, "POST", &path, first).await.data(201);
        has_exactly(&first, MEMBERS);
        assert_eq!(
            (&first["priority"], &first["is_default"]),
            (&json!(100), &json!(true))
        );
        assert_eq!(
            (&first["models"], &first["base_url"]),
            (&json!(null), &json!(null))
        );
        let second = json!({
            "provider_id": first["provider_id"], "api_key": "sk-two", "name": "Main", "priority": 0,
            "models": ["gpt-4o-mini"], "is_default": true,
        });
        let second = app.send(&tenant.key, "POST", &path, second).await.data(201);
        assert_eq!(
            (&second["provider"], &second["models"]),
            (&json!("openai"), &json!(["gpt-4o-mini"]))
        );
        let one = format!("{path}/{}", text(&first["id"]));
        assert_eq!(
            app.get(&tenant.key, &one).await.data(200)["is_default"],
            false
        );
        let changes = json!({"name": "X", "priority": 10000, "models": ["a/b"], "api_key": "sk-3", "is_active": false});
        let changed = app
            .send(&tenant.key, "PATCH", &one, changes)
            .await
            .data(200);
        assert_eq!(
            (&changed["name"], &changed["is_active"]),
            (&json!("X"), &json!(false))
        );
        let changes = json!({"name": null, "models": null});
        let changed = app
            .send(&tenant.key, "PATCH", &one, changes)
            .await
            .data(200);
        assert_eq!(
            (&changed["name"], &changed["models"]),
            (&json!(null), &json!(null))
        );
        assert_eq!(changed["priority"], 10000);
        let listed = app.get(&tenant.key, &path).await.json();
        assert_eq!((&listed["total"], &listed["data"][0]), (&json!(2), &second));
        app.delete(&tenant.key, &one).await.no_content();
        app.get(&tenant.key, &one)
            .await
            .refused(404, "llm_config_not_found");
        app.delete(&tenant.key, &one)
            .await
            .refused(404, "llm_config_not_found");
    }
}

#[tokio::test]
async fn bad_fields_are_told_all_at_once() {
    let app = App::new(STORES[0]).await;
    let tenant = app.tenant("Mine").await;
    let path = tenant.path("/llm-configs");
    let post = async |body| app.send(&tenant.key, "POST", &path, body).await;
    assert_eq!(post(json!({})).await.bad_fields(), ["provider", "api_key"]);
    let bad = json!({
        "provider": "none", "provider_id": UNKNOWN, "api_key": "a\nb", "name": "", "priority": 10001,
        "models": ["a b"], "is_default": "yes",
    });
    let wanted = [
        "provider",
        "provider_id",
        "api_key",
        "name",
        "priority",
        "models",
        "is_default",
    ];
    assert_eq!(post(bad).await.bad_fields(), wanted);
    let openai = post(json!({"provider": "openai", "api_key": "x"}))
        .await
        .data(201);
    let bad =
        json!({"provider": "anthropic", "provider_id": openai["provider_id"], "api_key": "x"});
    assert!(!post(bad).await.bad_fields().is_empty());
    for priority in [json!(1.5), json!("1"), json!(-1)] {
        let body = json!({"provider": "openai", "api_key": "x", "priority": priority});
        assert_eq!(post(body).await.bad_fields(), ["priority"]);
    }
    let long = json!({"provider": "openai", "api_key": "x".repeat(4097)});
    assert_eq!(post(long).await.bad_fields(), ["api_key"]);
    let one = format!("{path}/{}", text(&openai["id"]));
    let bad = json!({"api_key": null, "priority": null, "is_default": null, "is_active": 0});
    let bad = app.send(&tenant.key, "PATCH", &one, bad).await;
    assert_eq!(
        bad.bad_fields(),
        ["api_key", "priority", "is_default", "is_active"]
    );
    let url = json!({"base_url": "https://example.test"});
    app.send(&tenant.key, "PATCH", &one, &url)
        .await
        .refused(403, "base_url_not_allowed");
    let url = json!({"provider": "openai", "api_key": "x", "base_url": "https://example.test"});
    post(url).await.refused(403, "base_url_not_allowed");
}

#[tokio::test]
async fn listed_by_provider_and_activity() {
    for store in STORES {
        let app = App::new(store).await;
        let tenant = app.tenant("Mine").await;
        let path = tenant.path("/llm-configs");
        let mut made = Vec::new();
        for provider in ["openai", "xai", "openai"] {
            let body = json!({"provider": provider, "api_key": "sk-one"});
            made.push(app.send(&tenant.key, "POST", &path, body).await.data(201));
        }
        let off = format!("{path}/{}", text(&made[0]["id"]));
        app.send(&tenant.key, "PATCH", &off, json!({"is_active": false}))
            .await
            .data(200);
        let (openai, xai) = (text(&made[0]["provider_id"]), text(&made[1]["provider_id"]));
        let cases: [(String, &[usize]); 6] = [
            (format!("provider_id={openai}"), &[2, 0]),
            (format!("provider_id={xai}"), &[1]),
            ("is_active=true".to_owned(), &[2, 1]),
            ("is_active=false".to_owned(), &[0]),
            (format!("provider_id={openai}&is_active=true"), &[2]),
            (format!("provider_id={UNKNOWN}"), &[]),
        ];
        for (query, expected) in cases {
            let listed = app.get(&tenant.key, &format!("{path}?{query}")).await;
            let listed = listed.json();
            let ids: Vec<_> = listed["data"]
                .as_array()
                .unwrap()
                .iter()
                .map(|config| text(&config["id"]))
                .collect();
            let expected: Vec<_> = expected.iter().map(|at| text(&made[*at]["id"])).collect();
            assert_eq!(ids, expected, "{query}");
            assert_eq!(listed["total"], expected.len(), "{query}");
        }
        let bad = format!("{path}?provider_id=openai&is_active=1&page=0");
        let bad = app.get(&tenant.key, &bad).await;
        assert_eq!(bad.bad_fields(), ["page", "provider_id", "is_active"]);
    }
}

#[tokio::test]
async fn a_provider_without_an_adapter_is_refused() {
    let app = App::new(STORES[0]).await;
    let tenant = app.tenant("Mine").await;
    let body = json!({"provider": "echo", "api_key": "x"});
    let made = app
        .send(&tenant.key, "POST", &tenant.path("/llm-configs"), body)
        .await;
    assert_eq!(made.bad_fields(), ["provider"]);
    let error = made.refused(400, "validation_failed");
    assert_eq!(
        error["details"]["errors"][0]["message"],
        "this gateway has no adapter for `echo`"
    );
}
