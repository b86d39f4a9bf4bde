//! Commands on the audit log.

use std::sync::Arc;

use super::{AuditEntry, AuditFilter, AuditStore};
use crate::auth::PlatformScope;
use crate::command::{Command, CommandError};
use crate::store::{Listed, Page};

/// The domain of the audit log.
pub struct Audits {
    pub(crate) store: Arc<dyn AuditStore>,
}

/// Lists entries, newest first.
#[derive(Clone, Debug, Default)]
pub struct ListAudit {
    /// Which ones.
    pub filter: AuditFilter,
    /// Which page.
    pub page: Page,
}

impl Command<Audits> for ListAudit {
    const NAME: &'static str = "list_audit";
    type Authority = PlatformScope;
    type Output = Listed<AuditEntry>;

    async fn run(
        self,
        domain: &Audits,
        scope: PlatformScope,
    ) -> Result<Listed<AuditEntry>, CommandError> {
        Ok(domain
            .store
            .audit_entries(&scope, &self.filter, self.page)
            .await?)
    }
}

impl std::fmt::Debug for Audits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Audits").finish_non_exhaustive()
    }
}
