//! Every operation of the OpenAPI document with every kind of key.

use assistiv_server::reference::openapi;
use http::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Answer, App, STORES, Tenant, User, text};

/// An operation of the document.
struct Operation {
    method: Method,
    path: String,
    keys: Vec<String>,
    scope: Option<String>,
    body: Option<Value>,
}

/// Two platforms with the same objects.
struct World {
    app: App,
    ours: Side,
    theirs: Side,
}

struct Side {
    tenant: Tenant,
    user: User,
    /// Keys that lack a scope.
    without_management: String,
    without_inference: String,
    key: String,
    config: String,
    transaction: String,
    provider: String,
    model: String,
}

fn operations() -> Vec<Operation> {
    let mut document = openapi("http://localhost");
    let paths = document["paths"].as_object_mut().unwrap();
    let operations = paths.iter_mut().flat_map(|(path, verbs)| {
        let verbs = verbs.as_object_mut().unwrap().iter_mut();
        verbs.map(|(verb, operation)| Operation {
            method: verb.to_uppercase().parse().unwrap(),
            path: path.clone(),
            keys: keys(&operation["security"]),
            scope: operation["x-scope"].as_str().map(str::to_owned),
            body: match &operation["requestBody"] {
                Value::Null => None,
                body => Some(body["content"]["application/json"]["example"].clone()),
            },
        })
    });
    // What the edge serves is called through the edge, in tests of its own.
    let served = operations.filter(|operation| {
        let edge = [
            "/v1/chat",
            "/v1/responses",
            "/v1/messages",
            "/v1/embeddings",
            "/v1/models",
        ];
        let is_edge = edge.iter().any(|start| operation.path.starts_with(start));
        !is_edge && !["/healthz", "/readyz"].contains(&operation.path.as_str())
    });
    served.collect()
}

fn keys(security: &Value) -> Vec<String> {
    let schemes = security.as_array().unwrap().iter();
    schemes
        .flat_map(|scheme| scheme.as_object().unwrap().keys().cloned())
        .collect()
}

// === impl World ===

impl World {
    async fn new() -> Self {
        let app = App::new(STORES[0]).await;
        let ours = Side::new(&app, "Ours").await;
        let theirs = Side::new(&app, "Theirs").await;
        Self { app, ours, theirs }
    }

    async fn send(&self, operation: &Operation, key: Option<&str>, path: &str) -> Answer {
        let mut request = http::Request::builder().method(&operation.method).uri(path);
        if let Some(key) = key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        let body = match &operation.body {
            Some(body) => {
                request = request.header("content-type", "application/json");
                body.to_string()
            }
            None => String::new(),
        };
        self.app.raw(request.body(body.into()).unwrap()).await
    }
}

// === impl Side ===

impl Side {
    async fn new(app: &App, name: &str) -> Self {
        let tenant = app.tenant(name).await;
        let user = app.user(&tenant, "u").await;
        let body = json!({"provider": "openai", "api_key": "sk-upstream"});
        let config = app
            .send(&tenant.key, "POST", &tenant.path("/llm-configs"), body)
            .await
            .data(201);
        let budget = tenant.user_path(&user, "/budget");
        app.send(&tenant.key, "POST", &budget, json!({"max_usd": 5}))
            .await
            .data(201);
        let entries = app
            .get(&tenant.key, &format!("{budget}/transactions"))
            .await
            .json();
        let keys = app.get(&tenant.key, &tenant.path("/api-keys")).await.json();
        let first =
            async |path: &str| text(&app.get(&app.operator, path).await.json()["data"][0]["id"]);
        Self {
            provider: first("/v1/admin/providers").await,
            model: first("/v1/admin/models").await,
            without_management: app.scoped_key(&tenant, json!(["inference"])).await,
            without_inference: app.scoped_key(&tenant, json!(["management"])).await,
            key: text(&keys["data"][0]["id"]),
            config: text(&config["id"]),
            transaction: text(&entries["data"][0]["id"]),
            tenant,
            user,
        }
    }

    /// The path with what its parameters stand for; a parameter that nothing stands for is a mistake of this test.
    fn path(&self, template: &str, platform: &Self) -> String {
        let nobody = Uuid::now_v7().to_string();
        let segments = template.split('/').map(|segment| match segment {
            "{platform_id}" => platform.tenant.id.clone(),
            "{end_user_id}" => self.user.id.clone(),
            "{key_id}" => self.key.clone(),
            "{config_id}" => self.config.clone(),
            "{transaction_id}" => self.transaction.clone(),
            "{provider_id}" => self.provider.clone(),
            "{model_id}" => self.model.clone(),
            // None of these is made without a provider or a receiver; tests of their own make them.
            "{log_id}" | "{webhook_id}" | "{delivery_id}" => nobody.clone(),
            "{skill_id}" | "{slug}" => "none".to_owned(),
            other => {
                assert!(!other.contains('{'), "no object stands for {other}");
                other.to_owned()
            }
        });
        segments.collect::<Vec<_>>().join("/")
    }
}

#[tokio::test]
async fn every_operation_asks_for_its_key() {
    for operation in operations() {
        let world = World::new().await;
        let (ours, theirs) = (&world.ours, &world.theirs);
        let path = ours.path(&operation.path, ours);
        let name = format!("{} {}", operation.method, operation.path);
        if operation.keys.is_empty() {
            let answer = world.send(&operation, None, &path).await;
            assert!(answer.status.is_success(), "{name}: {answer:?}");
            continue;
        }
        let refused = async |key: Option<&str>, status: u16, reason: &str| {
            let answer = world.send(&operation, key, &path).await;
            let found = answer.json()["error"]["reason"].clone();
            assert_eq!(
                (answer.status.as_u16(), &found),
                (status, &json!(reason)),
                "{name}"
            );
        };
        refused(None, 401, "missing_api_key").await;
        refused(Some("sk-plat_wrong"), 401, "invalid_api_key").await;
        let takes = |kind: &str| operation.keys.iter().any(|key| key == kind);
        let scope = operation.scope.as_deref().unwrap_or_default();
        let is_of_platform = operation.path.contains("{platform_id}");
        if !takes("endUserKey") {
            refused(Some(&ours.user.key), 403, "wrong_key_type").await;
            refused(Some(&theirs.user.key), 403, "wrong_key_type").await;
        } else if is_of_platform {
            refused(Some(&theirs.user.key), 403, "forbidden").await;
        }
        if !takes("platformKey") {
            refused(Some(&ours.tenant.key), 403, "wrong_key_type").await;
        } else if is_of_platform {
            refused(Some(&theirs.tenant.key), 403, "forbidden").await;
        }
        if takes("platformKey") && scope == "management" {
            refused(Some(&ours.without_management), 403, "insufficient_scope").await;
        }
        if takes("platformKey") && scope == "inference" {
            refused(Some(&ours.without_inference), 403, "insufficient_scope").await;
        }
        if !takes("operatorKey") {
            refused(Some(&world.app.operator), 403, "wrong_key_type").await;
        }
        // Those that may are refused for nothing that a key decides.
        for kind in operation.keys.iter().map(String::as_str) {
            // What one call has removed the next one needs.
            let world = World::new().await;
            let ours = &world.ours;
            let key = match kind {
                "operatorKey" => &world.app.operator,
                "platformKey" => &ours.tenant.key,
                _ => &ours.user.key,
            };
            let path = ours.path(&operation.path, ours);
            let answer = world.send(&operation, Some(key), &path).await;
            let reason = match answer.status.is_success() {
                true => String::new(),
                false => text(&answer.json()["error"]["reason"]),
            };
            let of_keys = ["wrong_key_type", "forbidden", "insufficient_scope"];
            assert!(
                answer.status != 401 && !of_keys.contains(&reason.as_str()),
                "{name} with {kind}: {answer:?}"
            );
        }
    }
}

#[tokio::test]
async fn foreign_objects_are_unknown_ones() {
    let world = World::new().await;
    let (ours, theirs) = (&world.ours, &world.theirs);
    let of_objects = operations().into_iter().filter(|operation| {
        operation.path.starts_with("/v1/platforms/{platform_id}/")
            && operation.path.matches('{').count() > 1
            && !operation.path.contains("/skills")
    });
    for operation in of_objects {
        // Their platform and their key, with objects of ours: as with ids that nobody has.
        let foreign = ours.path(&operation.path, theirs);
        let strangers = Side {
            tenant: Tenant {
                id: String::new(),
                key: String::new(),
            },
            user: User {
                id: Uuid::now_v7().to_string(),
                key: String::new(),
            },
            without_management: String::new(),
            without_inference: String::new(),
            key: Uuid::now_v7().to_string(),
            config: Uuid::now_v7().to_string(),
            transaction: Uuid::now_v7().to_string(),
            provider: String::new(),
            model: String::new(),
        };
        let unknown = strangers.path(&operation.path, theirs);
        let key = Some(theirs.tenant.key.as_str());
        let foreign = world.send(&operation, key, &foreign).await;
        let unknown = world.send(&operation, key, &unknown).await;
        let name = format!("{} {}", operation.method, operation.path);
        assert_eq!(foreign.status, 404, "{name}: {foreign:?}");
        assert_eq!(
            foreign.anonymous_error(),
            unknown.anonymous_error(),
            "{name}"
        );
    }
}
