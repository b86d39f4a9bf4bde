//! The layer that authenticates a call: `Call → Authenticated`.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tower::{Layer, Service};

use super::{AuthError, Authenticator, KeyKind, KeyScope};
use crate::Error;
use crate::call::{Authenticated, Call};

/// Applies [`Authenticate`] to a service.
#[derive(Clone, Debug)]
pub struct AuthenticateLayer {
    authenticator: Authenticator,
}

/// Finds out who calls, and whether that key may make model calls.
#[derive(Clone, Debug)]
pub struct Authenticate<S> {
    inner: S,
    authenticator: Authenticator,
}

impl AuthenticateLayer {
    /// A layer that asks `authenticator`.
    pub fn new(authenticator: Authenticator) -> Self {
        Self { authenticator }
    }
}

impl<S> Layer<S> for AuthenticateLayer {
    type Service = Authenticate<S>;

    fn layer(&self, inner: S) -> Authenticate<S> {
        Authenticate {
            inner,
            authenticator: self.authenticator.clone(),
        }
    }
}

// === impl Authenticate ===

impl<S> Service<Call> for Authenticate<S>
where
    S: Service<Authenticated, Error = Error> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = S::Response;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, call: Call) -> Self::Future {
        let ready = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, ready);
        let authenticator = self.authenticator.clone();
        Box::pin(async move {
            let identity = authenticator.authenticate(&call.key).await?;
            if identity.kind() == KeyKind::Operator {
                let wanted = "an end-user or platform key";
                return Err(AuthError::WrongKeyType {
                    wanted,
                    presented: KeyKind::Operator.described(),
                }
                .into());
            }
            identity.require(KeyScope::Inference)?;
            inner.call(Authenticated { call, identity }).await
        })
    }
}
