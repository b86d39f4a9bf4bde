//! The whole API as one tower service.

use std::convert::Infallible;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use assistiv_core::auth::PresentedKey;
use assistiv_core::error::Reason;
use assistiv_core::{Error, Gateway, Operation, Problem};
use axum::extract::MatchedPath;
use bytes::Bytes;
use futures_util::FutureExt;
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode, request};
use http_body::Body;
use http_body_util::Full;
use tower::{Service, ServiceExt};

use super::body::{self, BodyLimits};
use super::finish::Finish;
use super::head::{self, HeadLimits};
use super::health::Readiness;
use super::intake::{self, Intake};
use super::log::RequestLog;
use super::problem::{self, RequestId};
use super::response::ResponseBody;
use super::route::{self, Route};
use super::{cors, inference, key, management, metrics, models, responses};
use crate::config::Limits;

/// An error of a request body.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What [`HttpService`] needs to know beside the gateway.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HttpOptions {
    /// The base URL of this server's documentation, for errors.
    pub docs_url: Arc<str>,
    /// What a request body may be.
    pub body: BodyLimits,
    /// The longest request target.
    pub uri_bytes: usize,
    /// The most header fields of a request.
    pub header_count: usize,
    /// What `/readyz` says.
    pub readiness: Arc<Readiness>,
}

/// The whole API: inference, models, health checks, and the management router.
///
/// Takes requests from any HTTP server and never fails: what goes wrong is a response. Each response carries
/// `X-Request-Id`, each error the envelope of `docs/api-design.md`. A request whose future or
/// response body is dropped is cancelled, and its call is settled for what was delivered until then.
///
/// The server in front decides about framing, time limits of heads and idle connections, and the size of the
/// header block: see [`Server`](super::Server).
#[derive(Clone)]
pub struct HttpService(Arc<Shared>);

struct Shared {
    gateway: Gateway,
    management: axum::Router,
    options: HttpOptions,
    requests: Arc<metrics::Requests>,
}

/// A request whose head is accepted, and what is to be done with it.
enum Accepted {
    Health,
    Ready,
    Metrics(PresentedKey),
    Preflight(Option<&'static str>),
    Inference(Operation, PresentedKey),
    Models(PresentedKey),
    Model(PresentedKey, String),
    Response(PresentedKey, responses::Request),
    Management,
}

/// What has to be known of a request to answer it in its form.
struct Asked<'r> {
    uri: http::Uri,
    id: &'r RequestId,
}

/// A request whose head is refused.
struct Refused {
    problem: Box<Problem>,
    allow: Option<&'static str>,
}

/// `Allow` for methods that no route takes, on paths that no route has.
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE";

// === impl HttpOptions ===

impl HttpOptions {
    /// Options from the server's configuration.
    pub fn new(limits: &Limits, docs_url: impl Into<Arc<str>>, readiness: Arc<Readiness>) -> Self {
        Self {
            docs_url: docs_url.into(),
            body: BodyLimits {
                bytes: limits.body_bytes,
                stall: limits.body_timeout,
            },
            uri_bytes: limits.uri_bytes,
            header_count: limits.header_count,
            readiness,
        }
    }
}

/// The default limits, without links into a documentation, always ready.
impl Default for HttpOptions {
    fn default() -> Self {
        let readiness = Readiness::without_database();
        readiness.ready();
        Self::new(&Limits::default(), "", Arc::new(readiness))
    }
}

// === impl HttpService ===

impl HttpService {
    /// The API of a gateway. `management` gets every request that is neither inference nor a health check, with
    /// a [`RequestId`] among its extensions, and answers in full also where it has no route, as
    /// [`api::router`](crate::api::router) does.
    pub fn new(gateway: Gateway, management: axum::Router, options: HttpOptions) -> Self {
        let management = management::prepare(management);
        Self(Arc::new(Shared {
            gateway,
            management,
            options,
            requests: Arc::default(),
        }))
    }

    /// What `/readyz` says.
    pub fn readiness(&self) -> &Arc<Readiness> {
        &self.0.options.readiness
    }

    /// A refusal in the same form as every other, for what is decided before a request is read.
    pub(super) fn refusal(&self, problem: &Problem) -> (RequestId, String) {
        let request_id = head::fresh_request_id();
        let json = problem.to_json(&request_id.0, &self.0.options.docs_url);
        (request_id, json)
    }
}

impl<B> Service<Request<B>> for HttpService
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<ResponseBody>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let shared = self.0.clone();
        Box::pin(async move { Ok(shared.handle(request).await) })
    }
}

impl std::fmt::Debug for HttpService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpService")
            .field("options", &self.0.options)
            .finish_non_exhaustive()
    }
}

// === impl Shared ===

impl Shared {
    async fn handle<B>(&self, request: Request<B>) -> Response<ResponseBody>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let (head, body) = request.into_parts();
        let (body, unread) = Intake::new(body);
        let request_id = head::request_id(&head.headers);
        let asked = Asked {
            uri: head.uri.clone(),
            id: &request_id,
        };
        let mut log = RequestLog::begin(
            &head.method,
            Route::of(head.uri.path()).template(),
            &request_id,
            self.requests.clone(),
        );
        let finish = Finish::new(&head, unread);
        let answer = AssertUnwindSafe(self.answer(head, body, &asked)).catch_unwind();
        let mut response = answer.await.unwrap_or_else(|_| {
            tracing::error!(request_id = &*request_id.0, "a request panicked");
            let problem = Problem::new(
                Reason::INTERNAL_ERROR,
                "something went wrong inside the gateway",
            );
            self.problem(&problem, &asked)
        });
        if let Some(path) = response.extensions_mut().remove::<MatchedPath>() {
            log.matched(&path);
        }
        log.answered(response.status());
        finish
            .apply(response, &request_id)
            .map(|body| body.with_log(log))
    }

    async fn answer<B>(
        &self,
        head: request::Parts,
        body: Intake<B>,
        asked: &Asked<'_>,
    ) -> Response<ResponseBody>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let accepted = match self.accept(&head) {
            Ok(accepted) => accepted,
            Err(Refused { problem, allow }) => {
                let mut response = self.problem(&problem, asked);
                if problem.reason == Reason::INVALID_REQUEST {
                    // Where this request ends is in doubt, so no other may follow it.
                    response
                        .headers_mut()
                        .insert(CONNECTION, HeaderValue::from_static("close"));
                } else if !head::expects_continue(&head.headers) {
                    intake::discard(body).await;
                }
                if let Some(allow) = allow {
                    response
                        .headers_mut()
                        .insert(ALLOW, HeaderValue::from_static(allow));
                }
                return response;
            }
        };
        let gateway = &self.gateway;
        let outcome = match accepted {
            Accepted::Health => return status_page(StatusCode::OK),
            Accepted::Ready if self.options.readiness.is_ready().await => {
                return status_page(StatusCode::OK);
            }
            Accepted::Ready => return status_page(StatusCode::SERVICE_UNAVAILABLE),
            Accepted::Preflight(methods) => return cors::preflight(&head.headers, methods),
            Accepted::Management => return self.manage(head, body, asked).await,
            Accepted::Metrics(key) => metrics::answer(gateway, &key).await,
            Accepted::Models(key) => models::list(gateway, &key).await,
            Accepted::Response(key, request) => responses::answer(gateway, &key, request).await,
            Accepted::Model(key, name) => models::one(gateway, &key, &name).await,
            Accepted::Inference(operation, key) => {
                match body::read(body, self.options.body).await {
                    Ok(bytes) => {
                        inference::call(gateway, operation, key, bytes, head.headers, asked.id)
                            .await
                    }
                    Err(problem) => return self.problem(&problem, asked),
                }
            }
        };
        outcome.unwrap_or_else(|error| self.failure(&error, asked))
    }

    /// Decides about a request by its head alone.
    fn accept(&self, head: &request::Parts) -> Result<Accepted, Refused> {
        let limits = HeadLimits {
            uri_bytes: self.options.uri_bytes,
            header_count: self.options.header_count,
        };
        head::check(head, limits)?;
        let path = head.uri.path();
        let route = Route::of(path);
        if head.method == Method::OPTIONS && route != Route::Nowhere && route::is_cross_origin(path)
        {
            return Ok(Accepted::Preflight(route.methods()));
        }
        if !route.takes(&head.method) {
            return Err(Refused::method(route.methods().unwrap_or(METHODS)));
        }
        let key = || key::presented(&head.headers).map_err(|error| Problem::from(&error));
        Ok(match route {
            Route::Health => Accepted::Health,
            Route::Ready => Accepted::Ready,
            Route::Metrics => Accepted::Metrics(key()?),
            Route::Inference(operation) => {
                let key = match operation {
                    Operation::Messages | Operation::CountTokens => {
                        key::or_x_api_key(&head.headers).map_err(|error| Problem::from(&error))?
                    }
                    _ => key()?,
                };
                body::check_json(&head.headers)?;
                Accepted::Inference(operation, key)
            }
            Route::Models => Accepted::Models(key()?),
            Route::Model(name) => {
                let key = key()?;
                Accepted::Model(key, models::decode(name).ok_or_else(management::not_found)?)
            }
            Route::Response(id) => {
                let request = responses::Request::one(&head.method, id);
                Accepted::Response(key()?, request)
            }
            Route::InputItems(id) => {
                let key = key()?;
                let request = responses::Request::items(id, head.uri.query())?;
                Accepted::Response(key, request)
            }
            Route::Management => Accepted::Management,
            Route::Nowhere if !head::is_common(&head.method) => {
                return Err(Refused::method(METHODS));
            }
            Route::Nowhere => return Err(management::not_found().into()),
        })
    }

    async fn manage<B>(
        &self,
        mut head: request::Parts,
        body: Intake<B>,
        asked: &Asked<'_>,
    ) -> Response<ResponseBody>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let is_common = head::is_common(&head.method);
        head.extensions.insert(asked.id.clone());
        let request = Request::from_parts(head, axum::body::Body::new(body));
        let response = match self.management.clone().oneshot(request).await {
            Ok(response) => response.map(ResponseBody::from),
            Err(never) => match never {},
        };
        if !is_common && response.status() == StatusCode::NOT_FOUND {
            let mut response = self.problem(&management::method_not_allowed(), asked);
            response
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static(METHODS));
            return response;
        }
        response
    }

    /// An error of the gateway as a response; causes go to the log only.
    fn failure(&self, error: &Error, asked: &Asked<'_>) -> Response<ResponseBody> {
        let problem = Problem::from(error);
        if problem.status().is_server_error() {
            let reason = problem.reason.as_str();
            tracing::warn!(
                error = error as &dyn std::error::Error,
                reason,
                request_id = &*asked.id.0,
                "call failed"
            );
        }
        self.problem(&problem, asked)
    }

    fn problem(&self, problem: &Problem, asked: &Asked<'_>) -> Response<ResponseBody> {
        let docs_url = &self.options.docs_url;
        problem::response_at(asked.uri.path(), problem, asked.id, docs_url).map(ResponseBody::from)
    }
}

// === impl Refused ===

impl Refused {
    fn method(allow: &'static str) -> Self {
        Self {
            problem: Box::new(management::method_not_allowed()),
            allow: Some(allow),
        }
    }
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self {
            problem: Box::new(problem),
            allow: None,
        }
    }
}

fn status_page(status: StatusCode) -> Response<ResponseBody> {
    let body: &[u8] = if status == StatusCode::OK {
        br#"{"status":"ok"}"#
    } else {
        br#"{"status":"unavailable"}"#
    };
    let mut response = Response::new(Full::new(Bytes::from_static(body)).into());
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
