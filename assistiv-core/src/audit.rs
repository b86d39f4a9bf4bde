//! The audit log: who changed what on a platform, and when.
//!
//! Every change that is made under a platform's or an operator's authority writes its entry in the transaction that
//! makes it, so that there is no change without an entry and no entry without its change. Entries are never changed,
//! and outlive what they tell of. Secrets show as `"***"`.

mod acts;
mod commands;
mod origin;
mod record;
mod shown;

pub(crate) use acts::Before;
pub use commands::{Audits, ListAudit};
pub use origin::Origin;
pub(crate) use origin::with_origin;
use record::Audited;
pub use record::{AuditEntry, Resource};
pub(crate) use shown::{OfEndUser, OfModels, OfPlatform};

use async_trait::async_trait;
use uuid::Uuid;

use crate::auth::PlatformScope;
use crate::clock::Timestamp;
use crate::id::KeyId;
use crate::store::{Listed, Page, StoreError};

/// Which entries are wanted. What is `None` does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// What was done: `api_key.create`.
    pub action: Option<String>,
    /// To what kind of thing: `api_key`.
    pub resource_type: Option<String>,
    /// To which one.
    pub resource_id: Option<Uuid>,
    /// With which key.
    pub actor_key: Option<KeyId>,
    /// Not before.
    pub from: Option<Timestamp>,
    /// Before.
    pub to: Option<Timestamp>,
}

/// The audit log. Whoever changes something writes to it; this trait reads.
#[async_trait]
pub trait AuditStore: Send + Sync + 'static {
    /// Entries of the platform, newest first, also when the platform is gone.
    async fn audit_entries(
        &self,
        scope: &PlatformScope,
        filter: &AuditFilter,
        page: Page,
    ) -> Result<Listed<AuditEntry>, StoreError>;
}

// === impl AuditFilter ===

impl AuditFilter {
    /// Whether an entry is wanted.
    pub fn matches(&self, entry: &AuditEntry) -> bool {
        let fits = |wanted: &Option<String>, found: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted == found)
        };
        fits(&self.action, &entry.action)
            && fits(&self.resource_type, &entry.resource.kind)
            && (self.resource_id.is_none() || self.resource_id == entry.resource.id)
            && (self.actor_key.is_none() || self.actor_key == entry.actor.key())
            && self.from.is_none_or(|from| entry.created_at >= from)
            && self.to.is_none_or(|to| entry.created_at < to)
    }
}
