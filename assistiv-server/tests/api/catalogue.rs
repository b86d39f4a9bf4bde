//! The catalogue as operators and platforms see it.

use serde_json::json;

use crate::support::{App, STORES, UNKNOWN, text};

#[tokio::test]
async fn providers_models_and_routes_are_listed() {
    for store in STORES {
        let app = App::new(store).await;
        let tenant = app.tenant("Mine").await;
        let listed = app
            .get(&app.operator, "/v1/admin/providers?limit=100")
            .await
            .json();
        let providers = listed["data"].as_array().unwrap();
        let slugs: Vec<_> = providers
            .iter()
            .map(|provider| text(&provider["slug"]))
            .collect();
        for slug in ["anthropic", "google", "openai", "xai"] {
            assert!(slugs.iter().any(|other| other == slug), "{slugs:?}");
        }
        assert!(
            providers
                .iter()
                .all(|provider| provider["base_url"].is_string())
        );
        let seen = app.get(&tenant.key, "/v1/admin/providers").await.json();
        assert_eq!(seen["total"], listed["total"]);
        assert!(
            seen["data"]
                .as_array()
                .unwrap()
                .iter()
                .all(|it| it["base_url"].is_null())
        );
        let one = format!("/v1/admin/providers/{}", text(&providers[0]["id"]));
        assert_eq!(app.get(&app.operator, &one).await.data(200), providers[0]);

        // An id that is listed is one that configs take.
        let openai = providers
            .iter()
            .find(|provider| provider["slug"] == "openai")
            .unwrap();
        let body = json!({"provider_id": openai["id"], "api_key": "sk-upstream"});
        let config = app
            .send(&tenant.key, "POST", &tenant.path("/llm-configs"), body)
            .await;
        assert_eq!(config.data(201)["provider"], "openai");

        let models = app
            .get(&tenant.key, "/v1/admin/models?limit=3")
            .await
            .json();
        let first = &models["data"][0];
        assert!(models["total"].as_u64().unwrap() > 3);
        let one = format!("/v1/admin/models/{}", text(&first["id"]));
        assert_eq!(&app.get(&app.operator, &one).await.data(200), first);
        let routes = "/v1/admin/model-provider-configs?limit=100";
        let routes = app.get(&app.operator, routes).await.json();
        let ids: Vec<_> = routes["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| &it["id"])
            .collect();
        assert!(
            ids.iter()
                .all(|id| ids.iter().filter(|other| other == &id).count() == 1)
        );

        for path in ["/v1/admin/providers", "/v1/admin/models"] {
            for id in [UNKNOWN, "x"] {
                app.get(&app.operator, &format!("{path}/{id}"))
                    .await
                    .refused(404, "not_found");
            }
        }
    }
}
