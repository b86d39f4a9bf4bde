//! The layer that funds a call: `Planned → Funded`.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::Instant;
use tower::{Layer, Service};

use super::FundError;
use super::engine::Billing;
use super::hold::{Hold, Payer};
use crate::Error;
use crate::call::{Funded, Planned};
use crate::metrics::Authorisations;

/// Applies [`Fund`] to a service.
#[derive(Clone, Debug)]
pub struct FundLayer {
    billing: Billing,
    counted: Authorisations,
}

/// Checks wallet and budget and holds money, before anything is sent.
///
/// A place in the settlement queue is taken first: a full queue delays new calls and never loses a settlement.
#[derive(Clone, Debug)]
pub struct Fund<S> {
    inner: S,
    billing: Billing,
    counted: Authorisations,
}

impl FundLayer {
    /// A layer that holds money with `billing`.
    pub fn new(billing: Billing) -> Self {
        Self {
            billing,
            counted: Authorisations::new(),
        }
    }
}

impl<S> Layer<S> for FundLayer {
    type Service = Fund<S>;

    fn layer(&self, inner: S) -> Fund<S> {
        Fund {
            inner,
            billing: self.billing.clone(),
            counted: self.counted.clone(),
        }
    }
}

// === impl Fund ===

impl<S> Service<Planned> for Fund<S>
where
    S: Service<Funded, Error = Error> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = S::Response;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, planned: Planned) -> Self::Future {
        let ready = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, ready);
        let (billing, counted) = (self.billing.clone(), self.counted.clone());
        Box::pin(async move {
            let started = Instant::now();
            let held = hold(&billing, &planned).await;
            counted.count(held.as_ref().map(|_| ()), started.elapsed());
            inner.call(planned.fund(held?)).await
        })
    }
}

async fn hold(billing: &Billing, planned: &Planned) -> Result<Hold, FundError> {
    let permit = billing.permit()?;
    let payer = Payer::of(billing, &planned.identity).await?;
    let estimate = planned.plan.estimate.clone();
    let prompt_tokens = planned.request.prompt_tokens();
    billing
        .hold(permit, payer, planned.log_id, estimate, prompt_tokens)
        .await
}
