//! The layer that plans a call: `Authenticated → Planned`.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tower::{Layer, Service};

use super::platform::Router;
use crate::Error;
use crate::call::{Authenticated, InferenceRequest, Planned};
use crate::id::LogId;
use crate::responses::Responses;

/// Applies [`PlanCalls`] to a service.
#[derive(Clone, Debug)]
pub struct PlanLayer {
    router: Router,
    responses: Responses,
}

/// Reads the request, and finds where it may go and what it may cost.
#[derive(Clone, Debug)]
pub struct PlanCalls<S> {
    inner: S,
    router: Router,
    responses: Responses,
}

impl PlanLayer {
    /// A layer that asks `router`, and `responses` for what a request continues.
    pub fn new(router: Router, responses: Responses) -> Self {
        Self { router, responses }
    }
}

impl<S> Layer<S> for PlanLayer {
    type Service = PlanCalls<S>;

    fn layer(&self, inner: S) -> PlanCalls<S> {
        PlanCalls {
            inner,
            router: self.router.clone(),
            responses: self.responses.clone(),
        }
    }
}

// === impl PlanCalls ===

impl<S> Service<Authenticated> for PlanCalls<S>
where
    S: Service<Planned, Error = Error> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = S::Response;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, authenticated: Authenticated) -> Self::Future {
        let ready = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, ready);
        let router = self.router.clone();
        let responses = self.responses.clone();
        Box::pin(async move {
            let Authenticated { call, identity } = authenticated;
            let mut request =
                InferenceRequest::parse(call.operation, call.body)?.with_headers(&call.headers);
            responses.resume(&identity, &mut request).await?;
            let plan = router.plan(&identity, &request).await?;
            let planned = Planned {
                identity,
                request,
                plan,
                log_id: LogId::new(),
                request_id: call.request_id,
                received_at: call.received_at,
                reserved: None,
            };
            inner.call(planned).await
        })
    }
}
