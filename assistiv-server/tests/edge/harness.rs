//! A server on a free port, with a provider whose behaviour the message decides.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use assistiv_core::Gateway;
use assistiv_core::auth::{KeyKind, KeyScope, KeyScopes, PresentedKey};
use assistiv_core::keys::{CreateKey, KeyOwner};
use assistiv_core::provider::{Registered, Transport, TransportError, UpstreamBody};
use assistiv_core::tenancy::{CreateEndUser, CreatePlatform};
use assistiv_providers::echo::Echo;
use assistiv_server::api::{self, ApiState};
use assistiv_server::http::{
    DrainOptions, HttpOptions, HttpService, Server, ServerOptions, Stopped,
};
use async_trait::async_trait;
use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::client::{Client, PATIENCE, Reply};

/// What a test may change before the server starts.
pub(crate) struct Setup {
    pub(crate) server: ServerOptions,
    pub(crate) http: HttpOptions,
    pub(crate) drain: DrainOptions,
}

/// A running server.
pub(crate) struct Edge {
    pub(crate) address: SocketAddr,
    pub(crate) platform_key: String,
    pub(crate) user_key: String,
    pub(crate) operator_key: String,
    /// A platform key that may manage, but not call models.
    pub(crate) managing_key: String,
    pub(crate) gateway: Gateway,
    pub(crate) stage: Arc<Stage>,
    pub(crate) stop: CancellationToken,
    pub(crate) closed: CancellationToken,
    running: JoinSet<Stopped>,
}

/// A transport that does what the message says, and echoes otherwise.
pub(crate) struct Stage {
    /// Calls with the text `wait` wait for a permit.
    pub(crate) gate: Semaphore,
    /// Calls that have reached the provider.
    pub(crate) arrived: AtomicUsize,
    /// Bodies of calls with the texts `endless` and `hang` that are being read.
    pub(crate) open: Arc<AtomicUsize>,
}

struct Open(Arc<AtomicUsize>);

impl Edge {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Setup)) -> Self {
        let mut setup = Setup {
            server: ServerOptions::default(),
            http: HttpOptions::default(),
            drain: DrainOptions {
                delay: Duration::ZERO,
                requests: Duration::from_secs(5),
            },
        };
        setup.http.docs_url = "https://docs.example".into();
        change(&mut setup);
        let stage = Arc::new(Stage {
            gate: Semaphore::new(0),
            arrived: AtomicUsize::new(0),
            open: Arc::default(),
        });
        let operator = PresentedKey::generate(KeyKind::Operator).unwrap();
        let registered = Registered {
            transport: stage.clone(),
            ..Echo::registered()
        };
        let gateway = Gateway::builder()
            .provider("echo".parse().unwrap(), registered)
            .operator_key(operator.clone())
            .build()
            .await
            .unwrap();
        let keys = Keys::make(&gateway).await;
        let state = ApiState {
            gateway: gateway.clone(),
            docs_url: setup.http.docs_url.clone(),
            body: setup.http.body,
            require_idempotency_key: false,
        };
        let panics = Router::new().route("/panic", get(|| async { boom() }));
        let management = api::router(state).merge(panics);
        let service = HttpService::new(gateway.clone(), management, setup.http);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Server::new(setup.server);
        let (stop, closed) = (CancellationToken::new(), server.closed());
        let mut running = JoinSet::new();
        running.spawn(server.run(listener, service, stop.clone(), setup.drain));
        Self {
            address,
            platform_key: keys.platform,
            user_key: keys.user,
            operator_key: operator.reveal().to_owned(),
            managing_key: keys.managing,
            gateway,
            stage,
            stop,
            closed,
            running,
        }
    }

    pub(crate) async fn connect(&self) -> Client {
        Client::connect(self.address).await
    }

    /// One request on a connection of its own.
    pub(crate) async fn ask(&self, request: impl AsRef<[u8]>) -> Reply {
        self.connect().await.ask(request).await
    }

    /// A request for a completion that echoes `text`, with the platform's key.
    pub(crate) fn chat(&self, text: &str) -> String {
        self.post(&format!(
            r#"{{"model":"echo","messages":[{{"role":"user","content":"{text}"}}]}}"#
        ))
    }

    /// The same as a stream.
    pub(crate) fn stream(&self, text: &str) -> String {
        self.post(&format!(
            r#"{{"model":"echo","stream":true,"messages":[{{"role":"user","content":"{text}"}}]}}"#
        ))
    }

    fn post(&self, body: &str) -> String {
        format!(
            "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.platform_key,
            body.len()
        )
    }

    /// Waits until the server has stopped.
    pub(crate) async fn stopped(mut self) -> Stopped {
        let stopped = tokio::time::timeout(PATIENCE, self.running.join_next()).await;
        stopped.unwrap().unwrap().unwrap()
    }
}

/// Waits until something holds.
pub(crate) async fn until(mut holds: impl FnMut() -> bool) {
    let reached = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, reached).await.unwrap();
}

fn boom() -> &'static str {
    panic!("as the test wants it")
}

struct Keys {
    platform: String,
    user: String,
    managing: String,
}

impl Keys {
    async fn make(gateway: &Gateway) -> Self {
        let local = gateway.local_operator();
        let command = CreatePlatform {
            name: "Acme".to_owned(),
            initial_balance: "1000000".parse().unwrap(),
            ..CreatePlatform::default()
        };
        let platform = gateway.tenancy().run(&local, (), command).await.unwrap();
        let id = platform.platform.id;
        let command = CreateEndUser {
            external_id: "ada".to_owned(),
            ..CreateEndUser::default()
        };
        let user = gateway.tenancy().run(&local, id, command).await.unwrap();
        let command = CreateKey {
            owner: KeyOwner::Platform,
            name: None,
            scopes: Some(KeyScopes::new([KeyScope::Management])),
            expires_at: None,
        };
        let managing = gateway.keys().run(&local, id, command).await.unwrap();
        Self {
            platform: platform.raw_key.reveal().to_owned(),
            user: user.raw_key.reveal().to_owned(),
            managing: managing.raw_key.reveal().to_owned(),
        }
    }
}

#[async_trait]
impl Transport for Stage {
    async fn send(
        &self,
        request: http::Request<Bytes>,
    ) -> Result<http::Response<UpstreamBody>, TransportError> {
        self.arrived.fetch_add(1, Ordering::SeqCst);
        let text = String::from_utf8_lossy(request.body()).into_owned();
        if text.contains(r#""panic""#) {
            boom();
        }
        if text.contains(r#""wait""#) {
            self.gate.acquire().await.unwrap().forget();
        }
        if text.contains(r#""endless""#) {
            return Ok(self.words(usize::MAX));
        }
        if text.contains(r#""hang""#) {
            return Ok(self.words(1));
        }
        Echo.send(request).await
    }
}

impl Stage {
    /// An answer that says so many words and never ends. Short words make much wire of little usage.
    fn words(&self, count: usize) -> http::Response<UpstreamBody> {
        self.open.fetch_add(1, Ordering::SeqCst);
        let open = Open(self.open.clone());
        let line = Bytes::from_static(b"{\"word\":\"x\"}\n");
        let lines = stream::repeat(line).take(count).chain(stream::pending());
        let body = StreamBody::new(lines.map(move |line| {
            let _ = &open;
            Ok(Frame::data(line))
        }));
        http::Response::new(body.boxed_unsync())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
