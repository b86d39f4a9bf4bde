//! [`AuditStore`] in SQL.

use async_trait::async_trait;
use sea_orm::{ColumnTrait, DatabaseTransaction, EntityTrait, QueryFilter, QueryOrder};

use super::SqlStore;
use super::entities::audit;
use super::error::failed;
use super::query::page_of;
use crate::audit::{AuditEntry, AuditFilter, AuditStore};
use crate::auth::PlatformScope;
use crate::store::{Listed, Page, StoreError};

#[async_trait]
impl AuditStore for SqlStore {
    async fn audit_entries(
        &self,
        scope: &PlatformScope,
        filter: &AuditFilter,
        page: Page,
    ) -> Result<Listed<AuditEntry>, StoreError> {
        use audit::Column;
        let mut select = audit::Entity::of(scope)
            .order_by_desc(Column::CreatedAt)
            .order_by_desc(Column::Id);
        if let Some(action) = &filter.action {
            select = select.filter(Column::Action.eq(action));
        }
        if let Some(kind) = &filter.resource_type {
            select = select.filter(Column::ResourceType.eq(kind));
        }
        if let Some(id) = filter.resource_id {
            select = select.filter(Column::ResourceId.eq(id));
        }
        if let Some(key) = filter.actor_key {
            select = select.filter(Column::ActorKey.eq(key.as_uuid()));
        }
        if let Some(from) = filter.from {
            select = select.filter(Column::CreatedAt.gte(from.as_micros()));
        }
        if let Some(to) = filter.to {
            select = select.filter(Column::CreatedAt.lt(to.as_micros()));
        }
        let txn = self.begin_read().await?;
        page_of(&txn, select, page, audit::Model::into_domain).await
    }
}

/// Writes an entry with the transaction that makes the change.
pub(super) async fn record(txn: &DatabaseTransaction, entry: AuditEntry) -> Result<(), StoreError> {
    let row = audit::row(&entry)?;
    let written = audit::Entity::insert(row).exec_without_returning(txn).await;
    written.map(drop).map_err(failed)
}
