//! The size of a prompt: a call beside the inference stack, which costs nothing and leaves no row.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response};
use tokio::time::Instant;
use tower::Service;

use super::TOKEN_COUNT_METHOD;
use super::body::CallBody;
use super::service::{Shared, put, read_body};
use crate::Error;
use crate::billing::CountMethod;
use crate::call::{Operation, Planned, RequestError};
use crate::provider::{ProviderError, ProviderErrorKind, Support};
use crate::routing::Target;

/// Says how many tokens a prompt has: asks a provider that counts, and estimates where there is none.
#[derive(Clone)]
pub struct CountTokens {
    shared: Arc<Shared>,
}

// === impl CountTokens ===

impl CountTokens {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}

impl Service<Planned> for CountTokens {
    type Response = Response<CallBody>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<CallBody>, Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, planned: Planned) -> Self::Future {
        let shared = self.shared.clone();
        Box::pin(async move {
            let operation = planned.request.operation();
            if operation != Operation::CountTokens {
                return Err(RequestError::NotServed(operation).into());
            }
            let (tokens, method) = tokio::select! {
                biased;
                counted = shared.count(&planned) => counted?,
                () = shared.stopping.cancelled() => return Err(Error::Draining),
            };
            let body = format!(r#"{{"input_tokens":{tokens}}}"#);
            let mut response = Response::new(CallBody::free(body.into()));
            let headers = response.headers_mut();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            put(headers, TOKEN_COUNT_METHOD, method.as_str());
            Ok(response)
        })
    }
}

impl std::fmt::Debug for CountTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CountTokens").finish_non_exhaustive()
    }
}

// === impl Shared ===

impl Shared {
    /// A caller's mistake is told. Where a provider fails, an estimate serves the caller better than an error.
    async fn count(&self, planned: &Planned) -> Result<(u64, CountMethod), Error> {
        let counts = |target: &&Target| {
            let support = target.registered.provider.support(Operation::CountTokens);
            support == Support::Native
        };
        for target in planned.plan.targets.iter().filter(counts) {
            match self.ask(planned, target).await {
                Ok(tokens) => return Ok((tokens, CountMethod::Reported)),
                Err(error) if !error.kind().may_try_another() => return Err(error.into()),
                Err(error) => tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    provider = %target.provider,
                    request_id = &*planned.request_id,
                    "the provider has not counted"
                ),
            }
        }
        Ok((planned.request.prompt_tokens(), CountMethod::Estimated))
    }

    async fn ask(&self, planned: &Planned, target: &Target) -> Result<u64, ProviderError> {
        let provider = &target.registered.provider;
        let mut request = provider.encode(&planned.request, target)?.request;
        if let Some(credential) = &target.credential {
            provider.authorize(&mut request, credential).await?;
        }
        let until = Instant::now() + self.options.first_byte;
        let sent = tokio::time::timeout_at(until, target.registered.transport.send(request)).await;
        let response = sent.map_err(|_| ProviderError::new(ProviderErrorKind::Timeout))??;
        let (head, body) = response.into_parts();
        let body = read_body(body).await;
        if head.status.is_success() {
            provider.counted(&body)
        } else {
            Err(provider.classify(head.status, &head.headers, &body))
        }
    }
}
