//! Who changed what.

use serde_json::{Value, json};

use crate::support::{App, STORES, has_exactly, text};

async fn log(app: &App, key: &str, path: &str) -> Vec<Value> {
    let answer = app.get(key, path).await.json();
    answer["data"].as_array().unwrap().clone()
}

#[tokio::test]
async fn changes_are_told_with_who_made_them() {
    for store in STORES {
        let app = App::new(store).await;
        let tenant = app.tenant("Mine").await;
        let user = app.user(&tenant, "u").await;
        let path = tenant.path("/audit");
        let budget = tenant.user_path(&user, "/budget");
        app.send(&tenant.key, "POST", &budget, json!({"max_usd": "5.00"}))
            .await
            .data(201);
        app.send(&tenant.key, "PATCH", &budget, json!({"is_suspended": true}))
            .await
            .data(200);
        let listed = log(&app, &tenant.key, &path).await;
        let entry = &listed[0];
        has_exactly(
            entry,
            "id platform_id action actor resource changes request_id created_at",
        );
        assert_eq!(entry["action"], "budget.update");
        assert_eq!(entry["changes"], json!({"is_suspended": [false, true]}));
        assert_eq!(entry["resource"]["end_user_id"], json!(user.id));
        let actor = &entry["actor"];
        assert_eq!(actor["type"], "platform_key");
        assert!(
            tenant.key.starts_with(&text(&actor["key_prefix"])),
            "{actor}"
        );
        assert!(text(&entry["request_id"]).starts_with("req_"), "{entry}");
        let actions: Vec<_> = listed.iter().map(|entry| text(&entry["action"])).collect();
        assert_eq!(actions[1], "budget.create");
        assert_eq!(actions.last().unwrap(), "platform.create");
        let made = listed.last().unwrap();
        assert_eq!(made["actor"]["type"], "operator_key");

        // What is only read, refused or repeated without effect is no change.
        app.get(&tenant.key, &budget).await.data(200);
        app.send(&tenant.key, "PATCH", &budget, json!({"is_suspended": true}))
            .await
            .data(200);
        app.send(&tenant.key, "PATCH", &budget, json!({"is_suspended": 5}))
            .await
            .refused(400, "validation_failed");
        assert_eq!(log(&app, &tenant.key, &path).await.len(), listed.len());
    }
}

#[tokio::test]
async fn no_secret_is_in_the_log() {
    for store in STORES {
        let app = App::new(store).await;
        let tenant = app.tenant("Mine").await;
        let body = json!({"provider": "openai", "api_key": "sk-upstream-secret"});
        let configs = tenant.path("/llm-configs");
        let made = app
            .send(&tenant.key, "POST", &configs, body)
            .await
            .data(201);
        let one = format!("{configs}/{}", text(&made["id"]));
        let body = json!({"api_key": "sk-upstream-another"});
        app.send(&tenant.key, "PATCH", &one, body).await.data(200);
        let key = app
            .send(&tenant.key, "POST", &tenant.path("/api-keys"), json!({}))
            .await
            .data(201);
        let answer = app.get(&tenant.key, &tenant.path("/audit")).await;
        for secret in [
            "sk-upstream-secret",
            "sk-upstream-another",
            &text(&key["raw_key"]),
        ] {
            assert!(!answer.text.contains(secret), "{}", answer.text);
        }
        let listed = answer.json();
        let update = &listed["data"][1];
        assert_eq!(update["action"], "llm_config.update");
        assert_eq!(update["changes"]["api_key"], json!(["***", "***"]));
    }
}

#[tokio::test]
async fn the_log_is_filtered_and_the_platforms_own() {
    for store in STORES {
        let app = App::new(store).await;
        let (tenant, other) = (app.tenant("Mine").await, app.tenant("Other").await);
        let user = app.user(&tenant, "u").await;
        let path = tenant.path("/audit");
        for (filter, count) in [
            ("", 2),
            ("?action=end_user.create", 1),
            ("?resource_type=platform", 1),
            ("?action=nothing", 0),
            (&*format!("?resource_id={}", user.id), 1),
            ("?from=2199-01-01T00:00:00Z", 0),
            ("?to=2199-01-01T00:00:00Z", 2),
        ] {
            let found = log(&app, &tenant.key, &format!("{path}{filter}")).await;
            assert_eq!(found.len(), count, "{filter}");
        }
        let answer = app
            .get(&tenant.key, &format!("{path}?resource_id=x&from=y"))
            .await;
        assert_eq!(answer.bad_fields(), ["resource_id", "from"]);
        assert_eq!(log(&app, &other.key, &other.path("/audit")).await.len(), 1);
        app.get(&other.key, &path).await.refused(403, "forbidden");
        // The operator reads on when the platform is gone.
        app.delete(&tenant.key, &tenant.path("")).await.no_content();
        let left = log(&app, &app.operator, &path).await;
        assert_eq!(left[0]["action"], "platform.delete");
    }
}

#[tokio::test]
async fn the_log_is_exported_as_it_is_listed() {
    for store in STORES {
        let app = App::new(store).await;
        let tenant = app.tenant("Mine").await;
        for index in 0..30 {
            let name = format!("Key {index}");
            app.send(
                &tenant.key,
                "POST",
                &tenant.path("/api-keys"),
                json!({"name": name}),
            )
            .await
            .data(201);
        }
        let path = tenant.path("/audit?action=api_key.create");
        let listed = log(&app, &tenant.key, &format!("{path}&limit=100")).await;
        let export = async |accept: &str| {
            let headers = [("accept", accept)];
            app.send_with(&tenant.key, "GET", &path, "", &headers).await
        };
        let lines = export("application/x-ndjson").await;
        assert_eq!(lines.headers["x-total-count"], "30");
        let rows: Vec<Value> = lines
            .text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(rows, listed);
        let csv = export("text/csv").await;
        assert!(
            csv.text.starts_with("id,platform_id,action,actor,"),
            "{}",
            csv.text
        );
        assert_eq!(csv.text.lines().count(), 31);
    }
}
