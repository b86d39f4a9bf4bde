//! Names are resolved once, and judged before they are connected to.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::guard::OutboundGuard;

/// Finds the addresses of a name.
#[async_trait]
pub trait Resolver: Send + Sync + 'static {
    /// The addresses of `host`, best first.
    ///
    /// # Errors
    /// When the name cannot be resolved.
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>>;
}

/// The operating system's resolver.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

#[async_trait]
impl Resolver for SystemResolver {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        Ok(tokio::net::lookup_host((host, 0))
            .await?
            .map(|address| address.ip())
            .collect())
    }
}

/// Gives the client the addresses that the guard allows, and no others. The client connects to these and asks
/// no second time, so a name whose answer changes gains nothing.
pub(super) struct GuardedResolver {
    inner: Arc<dyn Resolver>,
    guard: OutboundGuard,
}

impl GuardedResolver {
    pub(super) fn new(inner: Arc<dyn Resolver>, guard: OutboundGuard) -> Self {
        Self { inner, guard }
    }
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (inner, guard) = (self.inner.clone(), self.guard.clone());
        Box::pin(async move {
            let found = inner.resolve(name.as_str()).await?;
            let allowed = guard.filter(name.as_str(), found)?;
            // The client puts the URL's port in place of a zero.
            let addresses = allowed
                .into_iter()
                .map(|address| SocketAddr::new(address, 0));
            Ok(Box::new(addresses) as Addrs)
        })
    }
}
