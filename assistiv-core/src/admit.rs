//! The layer that admits a call to the node: `Planned → Planned`.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Response;
use tokio::sync::Semaphore;
use tower::{Layer, Service};

use crate::Error;
use crate::call::Planned;
use crate::dispatch::CallBody;

/// Applies [`Admit`] to a service.
#[derive(Clone, Debug)]
pub struct AdmitLayer {
    places: Arc<Semaphore>,
}

/// Limits how many calls run on a node at a time. Refuses instead of queueing.
///
/// A place is given back when the body of the answer is dropped, so a stream occupies one until its end.
#[derive(Clone, Debug)]
pub struct Admit<S> {
    inner: S,
    places: Arc<Semaphore>,
}

impl AdmitLayer {
    /// A layer that lets so many calls run at a time.
    pub fn new(concurrent_calls: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(concurrent_calls)),
        }
    }
}

impl<S> Layer<S> for AdmitLayer {
    type Service = Admit<S>;

    fn layer(&self, inner: S) -> Admit<S> {
        Admit {
            inner,
            places: self.places.clone(),
        }
    }
}

// === impl Admit ===

impl<S> Service<Planned> for Admit<S>
where
    S: Service<Planned, Response = Response<CallBody>, Error = Error> + Clone + Send + 'static,
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
        let place = self.places.clone().try_acquire_owned();
        Box::pin(async move {
            let place = place.map_err(|_| Error::Overloaded)?;
            let mut response = inner.call(planned).await?;
            response.body_mut().keep(place);
            Ok(response)
        })
    }
}
