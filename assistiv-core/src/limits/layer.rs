//! The layer that limits rates: `Planned → Planned`.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::future::Either;
use http::Response;
use tower::{Layer, Service};

use super::limiter::{Counted, RateLimiter};
use crate::Error;
use crate::call::{Operation, Planned};

/// Applies [`RateLimit`] to a service.
#[derive(Clone, Debug)]
pub struct RateLimitLayer {
    limiter: RateLimiter,
}

/// Counts calls, refuses those that a limit stands against, and says in headers what is left.
///
/// Tokens are counted by the size of the prompt; what the answer shows later is made up.
#[derive(Clone, Debug)]
pub struct RateLimit<S> {
    inner: S,
    limiter: RateLimiter,
}

impl RateLimitLayer {
    /// A layer that asks `limiter`.
    pub fn new(limiter: RateLimiter) -> Self {
        Self { limiter }
    }
}

impl<S> Layer<S> for RateLimitLayer {
    type Service = RateLimit<S>;

    fn layer(&self, inner: S) -> RateLimit<S> {
        RateLimit {
            inner,
            limiter: self.limiter.clone(),
        }
    }
}

// === impl RateLimit ===

impl<S, B> Service<Planned> for RateLimit<S>
where
    S: Service<Planned, Response = Response<B>, Error = Error> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = S::Response;
    type Error = Error;
    /// Whom nothing limits pays nothing for that others are limited.
    type Future =
        Either<S::Future, Pin<Box<dyn Future<Output = Result<S::Response, Error>> + Send>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut planned: Planned) -> Self::Future {
        if !planned.identity.is_rate_limited() {
            return Either::Left(self.inner.call(planned));
        }
        let ready = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, ready);
        let limiter = self.limiter.clone();
        Either::Right(Box::pin(async move {
            let counted = match planned.request.operation() {
                Operation::CountTokens => Counted::Question,
                _ => Counted::Call(planned.request.prompt_tokens()),
            };
            let admitted = limiter.admit(&planned.identity, counted).await?;
            planned.reserved = admitted.reserved;
            let mut response = inner.call(planned).await?;
            admitted.status.write(response.headers_mut());
            Ok(response)
        }))
    }
}
