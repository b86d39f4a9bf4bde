//! The outbound HTTP client, behind one address guard.
//!
//! This is the one place that makes an HTTP client. Redirects are not followed, as a redirected request would
//! carry its credential to another host; the proxy settings of the environment are ignored; answers are not
//! decompressed; and an address is connected to only after [`OutboundGuard`] has judged it.

mod failure;
mod guard;
mod ranges;
mod resolve;
mod reuse;
mod tls;

pub use guard::{AllowedHost, AllowedHostError, GuardError, OutboundGuard};
pub use resolve::{Resolver, SystemResolver};
pub use tls::TlsError;

use std::sync::Arc;
use std::time::Duration;

use assistiv_core::provider::{Transport, TransportError, TransportErrorKind, UpstreamBody};
use assistiv_core::webhooks::WebhookTransport;
use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::BodyExt;
use tokio::time::Instant;
use url::Url;

use self::resolve::GuardedResolver;
use self::reuse::{NoteConnects, Watched};

/// A failure this soon after sending on a pooled connection is taken for one of a connection that the server
/// had closed already. Later, the server may have worked on the request, and would do so, and bill, twice.
const STALE_WITHIN: Duration = Duration::from_secs(1);

/// Sends requests with one HTTP client, over HTTP/1.1 and HTTP/2.
///
/// Clones share the client and its pool of connections.
///
/// A request is sent a second time, once, when it went out on a connection from the pool that turned out to be
/// closed, before any byte of an answer. There is no time limit on answers here: the caller knows how long a
/// first byte and the silence in a stream may take.
///
/// All requests to a host share one HTTP/2 connection, and those beyond the server's limit of streams wait for
/// it; [`HttpTransportBuilder::http1_only`] opens as many connections as there are requests.
#[derive(Clone, Debug)]
pub struct HttpTransport {
    client: reqwest::Client,
    guard: OutboundGuard,
}

/// Sets up an [`HttpTransport`].
#[derive(Clone)]
pub struct HttpTransportBuilder {
    guard: OutboundGuard,
    resolver: Arc<dyn Resolver>,
    connect_timeout: Duration,
    pool_idle_timeout: Duration,
    http1_only: bool,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// TLS could not be set up.
    #[error("TLS cannot be set up")]
    Tls(#[from] TlsError),
    /// The client could not be made.
    #[error("the HTTP client cannot be made")]
    Client(#[source] Box<dyn std::error::Error + Send + Sync>),
}

// === impl HttpTransport ===

impl HttpTransport {
    /// Begins with a guard that allows nothing special, a connect timeout of 10 s and the system's resolver.
    pub fn builder() -> HttpTransportBuilder {
        HttpTransportBuilder {
            guard: OutboundGuard::new(),
            resolver: Arc::new(SystemResolver),
            connect_timeout: Duration::from_secs(10),
            // Below what servers keep idle connections for, so that the pool holds few closed ones.
            pool_idle_timeout: Duration::from_secs(20),
            http1_only: false,
        }
    }

    /// The guard, to check a URL when it is registered.
    pub fn guard(&self) -> &OutboundGuard {
        &self.guard
    }

    async fn send_once(
        &self,
        request: &http::Request<Bytes>,
        url: Url,
    ) -> Watched<Result<reqwest::Response, reqwest::Error>> {
        let mut outbound = reqwest::Request::new(request.method().clone(), url);
        *outbound.headers_mut() = request.headers().clone();
        *outbound.body_mut() = Some(request.body().clone().into());
        reuse::watch(self.client.execute(outbound)).await
    }
}

#[async_trait]
impl Transport for HttpTransport {
    async fn send(
        &self,
        request: http::Request<Bytes>,
    ) -> Result<http::Response<UpstreamBody>, TransportError> {
        let refused =
            |error: GuardError| TransportError::new(TransportErrorKind::Refused).with_source(error);
        // The client connects to what this parser made of the text, so there is no second opinion on it.
        let url = Url::parse(&request.uri().to_string()).map_err(|_| refused(GuardError::Url))?;
        self.guard.check_url(&url).map_err(refused)?;
        let sent_at = Instant::now();
        let mut attempt = self.send_once(&request, url.clone()).await;
        if let Err(error) = &attempt.result
            && attempt.was_reused
            && sent_at.elapsed() < STALE_WITHIN
            && failure::is_closed_connection(error)
        {
            attempt = self.send_once(&request, url).await;
        }
        let response: http::Response<reqwest::Body> =
            attempt.result.map_err(failure::transport_error)?.into();
        Ok(response.map(|body| body.map_err(failure::transport_error).boxed_unsync()))
    }
}

impl WebhookTransport for HttpTransport {
    fn check_url(&self, url: &str) -> Result<(), String> {
        let url = Url::parse(url).map_err(|_| GuardError::Url.to_string())?;
        self.guard
            .check_url(&url)
            .map_err(|error| error.to_string())
    }
}

// === impl HttpTransportBuilder ===

impl HttpTransportBuilder {
    /// Sets which addresses may be called.
    #[must_use]
    pub fn guard(mut self, guard: OutboundGuard) -> Self {
        self.guard = guard;
        self
    }

    /// Sets how names are resolved. What it answers is judged by the guard all the same.
    #[must_use]
    pub fn resolver(mut self, resolver: impl Resolver) -> Self {
        self.resolver = Arc::new(resolver);
        self
    }

    /// Sets how long a connection may take to come about, TLS included.
    #[must_use]
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit;
        self
    }

    /// Sets how long a connection without a request is kept.
    #[must_use]
    pub fn pool_idle_timeout(mut self, limit: Duration) -> Self {
        self.pool_idle_timeout = limit;
        self
    }

    /// Speaks HTTP/1.1 alone.
    #[must_use]
    pub fn http1_only(mut self) -> Self {
        self.http1_only = true;
        self
    }

    /// Makes the client.
    ///
    /// # Errors
    /// [`BuildError`] when TLS cannot be set up, as when the system's certificates cannot be read.
    pub fn build(self) -> Result<HttpTransport, BuildError> {
        let resolver = GuardedResolver::new(self.resolver, self.guard.clone());
        #[expect(clippy::disallowed_methods, reason = "this is the guarded transport")]
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls::client_config(self.http1_only)?)
            .user_agent(concat!("assistiv/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .no_proxy()
            .dns_resolver(resolver)
            .connector_layer(NoteConnects)
            .connect_timeout(self.connect_timeout)
            .pool_idle_timeout(self.pool_idle_timeout)
            .http2_max_header_list_size(64 * 1024)
            .tcp_nodelay(true);
        if self.http1_only {
            builder = builder.http1_only();
        }
        let client = builder
            .build()
            .map_err(|error| BuildError::Client(error.into()))?;
        Ok(HttpTransport {
            client,
            guard: self.guard,
        })
    }
}

impl std::fmt::Debug for HttpTransportBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpTransportBuilder")
            .field("guard", &self.guard)
            .field("connect_timeout", &self.connect_timeout)
            .finish_non_exhaustive()
    }
}
