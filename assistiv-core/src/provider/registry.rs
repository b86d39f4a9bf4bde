//! The adapters of a gateway, by provider.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Provider, Transport};
use crate::routing::ProviderSlug;

/// An adapter with the way to its provider.
#[derive(Clone)]
pub struct Registered {
    /// The adapter.
    pub provider: Arc<dyn Provider>,
    /// How its requests travel.
    pub transport: Arc<dyn Transport>,
    /// Whether calls need a platform's provider key. An adapter that answers by itself needs none.
    pub needs_credential: bool,
}

/// The adapters of a gateway, by the slug of the provider that each speaks for.
#[derive(Clone, Default)]
pub struct Providers(HashMap<ProviderSlug, Registered>);

impl Providers {
    /// Adds an adapter; an earlier one for the same provider is replaced.
    pub fn insert(&mut self, slug: ProviderSlug, registered: Registered) {
        self.0.insert(slug, registered);
    }

    /// The adapter for a provider.
    pub fn find(&self, slug: &ProviderSlug) -> Option<&Registered> {
        self.0.get(slug)
    }
}

impl std::fmt::Debug for Providers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
