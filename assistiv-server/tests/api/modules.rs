//! Modules that are switched off answer so, to whoever may ask.

use serde_json::{Value, json};

use crate::support::{App, STORES};

#[tokio::test]
async fn skills_are_switched_off() {
    for store in STORES {
        let app = App::new(store).await;
        let (tenant, other) = (app.tenant("Mine").await, app.tenant("Other").await);
        let user = app.user(&tenant, "u").await;
        let paths = [
            ("POST", "/skills/search"),
            ("POST", "/skills"),
            ("GET", "/skills/x"),
            ("DELETE", "/skills/x"),
            ("POST", "/skills/x/reviews"),
        ];
        for (method, path) in paths {
            let path = tenant.path(path);
            for key in [&tenant.key, &user.key, &app.operator] {
                app.send(key, method, &path, Value::Null)
                    .await
                    .refused(403, "feature_disabled");
            }
            app.send(&other.key, method, &path, Value::Null)
                .await
                .refused(403, "forbidden");
            app.send("sk-plat_none", method, &path, Value::Null)
                .await
                .refused(401, "invalid_api_key");
        }
    }
}

#[tokio::test]
async fn capabilities_are_switched_off() {
    for store in STORES {
        let app = App::new(store).await;
        let tenant = app.tenant("Mine").await;
        let user = app.user(&tenant, "u").await;
        for key in [&tenant.key, &user.key] {
            let listed = app.get(key, "/v1/capabilities").await.data(200);
            assert_eq!(listed, json!({"enabled": false, "capabilities": []}));
            app.get(key, "/v1/capabilities/images")
                .await
                .refused(404, "capability_not_found");
        }
        app.get(&app.operator, "/v1/capabilities")
            .await
            .refused(403, "wrong_key_type");
        for path in ["/v1/capabilities/search", "/v1/capabilities/run"] {
            app.send(&user.key, "POST", path, json!({}))
                .await
                .refused(403, "feature_disabled");
            app.send(&tenant.key, "POST", path, json!({}))
                .await
                .refused(403, "wrong_key_type");
        }
        let policy = format!("/v1/admin/platforms/{}/capability-policy", tenant.id);
        app.send(&app.operator, "PUT", &policy, json!({}))
            .await
            .refused(403, "feature_disabled");
        app.send(&tenant.key, "PUT", &policy, json!({}))
            .await
            .refused(403, "wrong_key_type");
    }
}
