//! A gateway behind the router, and what tests say to it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::described;
use assistiv_core::Gateway;
use assistiv_core::auth::{KeyKind, PresentedKey};
use assistiv_core::billing::TopUpBy;
use assistiv_core::clock::{Clock, ManualClock, SystemClock};
use assistiv_core::store::memory::MemoryStore;
use assistiv_core::store::sql::{SqlOptions, SqlStore};
use assistiv_providers::echo::Echo;
use assistiv_server::api::{ApiState, router};
use assistiv_server::http::body::BodyLimits;
use axum::Router;
use axum::body::Body;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

/// Where a gateway under test keeps its data.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Store {
    Memory,
    Sqlite,
}

pub(crate) const STORES: [Store; 2] = [Store::Memory, Store::Sqlite];

/// How a gateway under test differs from the usual one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Setup {
    /// The clock to go by; the machine's unless set.
    pub(crate) clock: Option<ManualClock>,
    pub(crate) topup_by: TopUpBy,
    pub(crate) require_idempotency_key: bool,
}

/// A gateway with its routes.
pub(crate) struct App {
    router: Router,
    /// The gateway behind it.
    pub(crate) gateway: Gateway,
    pub(crate) operator: String,
    /// Every body that was answered, to be searched for secrets.
    pub(crate) seen: Mutex<Vec<String>>,
    _directory: tempfile::TempDir,
}

/// A platform with its first key.
pub(crate) struct Tenant {
    pub(crate) id: String,
    pub(crate) key: String,
}

/// An end user with its first key.
pub(crate) struct User {
    pub(crate) id: String,
    pub(crate) key: String,
}

/// What came back.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl App {
    pub(crate) async fn new(store: Store) -> Self {
        Self::with(store, Setup::default()).await
    }

    pub(crate) async fn with(store: Store, setup: Setup) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let operator = PresentedKey::generate(KeyKind::Operator).unwrap();
        let mut builder = Gateway::builder()
            .provider("openai".parse().unwrap(), Echo::registered())
            .provider("xai".parse().unwrap(), Echo::registered())
            .operator_key(operator.clone())
            .topup_by(setup.topup_by);
        let clock: Arc<dyn Clock> = match setup.clock {
            Some(clock) => Arc::new(clock),
            None => Arc::new(SystemClock),
        };
        let stores = match store {
            Store::Memory => MemoryStore::stores(clock.clone()),
            Store::Sqlite => {
                let options =
                    SqlOptions::sqlite(directory.path().join("test.db")).clock(clock.clone());
                SqlStore::open(options).await.unwrap().stores()
            }
        };
        builder = builder.stores(stores).clock(clock);
        let gateway = builder.build().await.unwrap();
        let state = ApiState {
            gateway: gateway.clone(),
            docs_url: "https://gateway.test".into(),
            body: BodyLimits {
                bytes: 64 << 10,
                stall: Duration::from_secs(5),
            },
            require_idempotency_key: setup.require_idempotency_key,
        };
        Self {
            router: router(state),
            gateway,
            operator: operator.reveal().to_owned(),
            seen: Mutex::default(),
            _directory: directory,
        }
    }

    /// The routes, for what must be seen of an answer beside its text.
    pub(crate) fn router(&self) -> Router {
        self.router.clone()
    }

    /// Sends a request as it is.
    pub(crate) async fn raw(&self, request: Request<Body>) -> Answer {
        let (method, path) = (request.method().clone(), request.uri().to_string());
        let response = self.router.clone().oneshot(request).await.unwrap();
        let media = described::media(&response);
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        described::check(&method, &path, parts.status, &media, &text);
        self.seen.lock().unwrap().push(text.clone());
        Answer {
            status: parts.status,
            headers: parts.headers,
            text,
        }
    }

    /// Sends a request with a JSON body.
    pub(crate) async fn send(
        &self,
        key: &str,
        method: &str,
        path: &str,
        body: impl ToString,
    ) -> Answer {
        self.send_with(key, method, path, body, &[]).await
    }

    pub(crate) async fn send_with(
        &self,
        key: &str,
        method: &str,
        path: &str,
        body: impl ToString,
        headers: &[(&str, &str)],
    ) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {key}"))
            .header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.raw(request.body(Body::from(body.to_string())).unwrap())
            .await
    }

    pub(crate) async fn get(&self, key: &str, path: &str) -> Answer {
        let request = Request::builder()
            .uri(path)
            .header("authorization", format!("Bearer {key}"));
        self.raw(request.body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn delete(&self, key: &str, path: &str) -> Answer {
        let request = Request::builder()
            .method("DELETE")
            .uri(path)
            .header("authorization", format!("Bearer {key}"));
        self.raw(request.body(Body::empty()).unwrap()).await
    }

    /// Makes a platform.
    pub(crate) async fn tenant(&self, name: &str) -> Tenant {
        let body = json!({"name": name, "initial_balance_usd": 10});
        let made = self
            .send(&self.operator, "POST", "/v1/admin/platforms", body)
            .await;
        let data = made.data(201);
        Tenant {
            id: text(&data["id"]),
            key: text(&data["api_key"]["raw_key"]),
        }
    }

    /// Makes an end user.
    pub(crate) async fn user(&self, tenant: &Tenant, external_id: &str) -> User {
        let body = json!({"external_id": external_id});
        let made = self
            .send(&tenant.key, "POST", &tenant.path("/end-users"), body)
            .await;
        let data = made.data(201);
        User {
            id: text(&data["id"]),
            key: text(&data["api_key"]["raw_key"]),
        }
    }

    /// Makes a platform key with these scopes.
    pub(crate) async fn scoped_key(&self, tenant: &Tenant, scopes: Value) -> String {
        let body = json!({"name": "scoped", "scopes": scopes});
        let made = self
            .send(&tenant.key, "POST", &tenant.path("/api-keys"), body)
            .await;
        text(&made.data(201)["raw_key"])
    }
}

impl Tenant {
    /// A path below the platform.
    pub(crate) fn path(&self, rest: &str) -> String {
        format!("/v1/platforms/{}{rest}", self.id)
    }

    /// A path below one of its end users.
    pub(crate) fn user_path(&self, user: &User, rest: &str) -> String {
        format!("/v1/platforms/{}/end-users/{}{rest}", self.id, user.id)
    }
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// The object inside the envelope.
    #[track_caller]
    pub(crate) fn data(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        assert_eq!(self.headers["content-type"], "application/json");
        self.json()["data"].clone()
    }

    /// Checks for nothing.
    #[track_caller]
    pub(crate) fn no_content(&self) {
        assert_eq!((self.status.as_u16(), self.text.as_str()), (204, ""));
    }

    /// Checks for an error.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16, reason: &str) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        let error = self.json()["error"].clone();
        assert_eq!(error["reason"], reason, "{}", self.text);
        assert_eq!(
            error["doc_url"],
            format!("https://gateway.test/docs/errors#{reason}")
        );
        error
    }

    /// The names of all fields that were found bad, in their order.
    #[track_caller]
    pub(crate) fn bad_fields(&self) -> Vec<String> {
        let error = self.refused(400, "validation_failed");
        let errors = error["details"]["errors"].as_array().unwrap().clone();
        assert_eq!(error["param"], errors[0]["param"]);
        errors.iter().map(|error| text(&error["param"])).collect()
    }

    /// The body of an error without what differs from request to request.
    pub(crate) fn anonymous_error(&self) -> (StatusCode, Value) {
        let mut body = self.json();
        body["error"]["request_id"].take();
        (self.status, body)
    }
}

/// The text of a JSON string.
#[track_caller]
pub(crate) fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("no string: {value}"))
        .to_owned()
}

/// The names of an object's members.
pub(crate) fn names(value: &Value) -> Vec<&str> {
    value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

/// Checks that an object has exactly these members, written in any order.
#[track_caller]
pub(crate) fn has_exactly(value: &Value, wanted: &str) {
    let mut wanted: Vec<_> = wanted.split_whitespace().collect();
    wanted.sort_unstable();
    let mut found = names(value);
    found.sort_unstable();
    assert_eq!(found, wanted);
}

/// An id that nothing has.
pub(crate) const UNKNOWN: &str = "0190a7b0-0000-7000-8000-000000000000";
