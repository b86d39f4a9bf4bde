//! Storage: small traits of whole domain acts.
//!
//! Each method is one atomic act, never a transaction object, so that a backend can be SQL, a key-value store
//! or a ledger database. What must commit together travels in one command. Every backend runs the exported
//! conformance suite ([`crate::testing`]); the in-memory one is the model that the others are tested against.

mod changes;
mod feed;
pub mod memory;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub mod sql;
mod tenancy;

pub use changes::{EndUserChanges, KeyChanges, LlmConfigChanges, PlatformChanges};
pub use feed::{Change, ChangeFeed, Changed, News};
pub use tenancy::{
    EndUserFilter, KeyFilter, KeyRecord, KeyStore, LlmConfigFilter, LlmConfigStore, NewEndUser,
    NewPlatform, PlatformFilter, StoredSecret, TenancyStore, Upsert,
};

use std::sync::Arc;

pub use crate::audit::AuditStore;
pub use crate::billing::LedgerStore;
pub use crate::events::EventStore;
pub use crate::limits::{RateCounters, RateLimitStore};
pub use crate::logs::LogStore;
pub use crate::model_routes::ModelRouteStore;
pub use crate::prices::PriceStore;
pub use crate::recon::ReconStore;
pub use crate::responses::ResponseStore;
pub use crate::webhooks::WebhookStore;

/// The stores that a gateway works on. Replace one field, keep the rest.
#[derive(Clone)]
pub struct Stores {
    /// Platforms and end users.
    pub tenancy: Arc<dyn TenancyStore>,
    /// API keys.
    pub keys: Arc<dyn KeyStore>,
    /// Platforms' provider keys.
    pub llm_configs: Arc<dyn LlmConfigStore>,
    /// What platforms change of the catalogue.
    pub model_routes: Arc<dyn ModelRouteStore>,
    /// Rate limits that are set.
    pub rate_limits: Arc<dyn RateLimitStore>,
    /// What was used of rate limits.
    pub rate_counters: Arc<dyn RateCounters>,
    /// Accounts, slots, ledger.
    pub ledger: Arc<dyn LedgerStore>,
    /// Versions of prices that operators have added.
    pub prices: Arc<dyn PriceStore>,
    /// Runs of the reconciliation, and what they compare.
    pub recon: Arc<dyn ReconStore>,
    /// The request log.
    pub logs: Arc<dyn LogStore>,
    /// Who changed what.
    pub audit: Arc<dyn AuditStore>,
    /// What other nodes have changed.
    pub changes: Arc<dyn ChangeFeed>,
    /// Responses.
    pub responses: Arc<dyn ResponseStore>,
    /// What happened, for those who want to be told.
    pub events: Arc<dyn EventStore>,
    /// Who wants to be told, and what is on its way there.
    pub webhooks: Arc<dyn WebhookStore>,
}

/// A page of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// Counted from 1.
    pub page: u32,
    /// Rows on a page, 1 to 100.
    pub limit: u32,
}

/// One page of rows and the number of all of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed<T> {
    /// The rows of the page, newest first.
    pub rows: Vec<T>,
    /// How many there are on all pages.
    pub total: u64,
}

/// Why a storage act failed. Nothing was changed, except after [`StoreError::Unavailable`] and
/// [`StoreError::Lost`], where the outcome is unknown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// No such object in this scope.
    #[error("no such object")]
    NotFound,
    /// A uniqueness rule stands against it.
    #[error("conflicts with an existing {0}")]
    Conflict(&'static str),
    /// The database cannot be reached, or failed.
    #[error("the database is unavailable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The store no longer knows this node: it was fenced.
    #[error("the node was fenced")]
    Lost {
        /// Which node.
        node: crate::id::NodeId,
    },
    /// A stored value cannot be read.
    #[error("stored data cannot be read: {0}")]
    Corrupt(String),
}

// === impl Page ===

impl Page {
    /// Rows before the page.
    pub fn offset(&self) -> u64 {
        u64::from(self.page.saturating_sub(1)) * u64::from(self.limit)
    }
}

impl Default for Page {
    fn default() -> Self {
        Self { page: 1, limit: 20 }
    }
}

// === impl StoreError ===

impl StoreError {
    /// Wraps a driver's error.
    pub fn unavailable(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Unavailable(error.into())
    }
}
