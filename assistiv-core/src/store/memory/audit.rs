//! The audit log.

use async_trait::async_trait;

use super::{MemoryStore, newest_first};
use crate::audit::{AuditEntry, AuditFilter, AuditStore};
use crate::auth::PlatformScope;
use crate::store::{Listed, Page, StoreError};

#[async_trait]
impl AuditStore for MemoryStore {
    async fn audit_entries(
        &self,
        scope: &PlatformScope,
        filter: &AuditFilter,
        page: Page,
    ) -> Result<Listed<AuditEntry>, StoreError> {
        let wanted =
            |entry: &&AuditEntry| entry.platform_id == scope.platform_id() && filter.matches(entry);
        let rows = self.lock().audit.iter().filter(wanted).cloned().collect();
        Ok(newest_first(
            rows,
            |entry: &AuditEntry| (entry.created_at, entry.id),
            page,
        ))
    }
}
