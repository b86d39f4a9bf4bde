//! [`LogStore`] in SQL.

mod keep;
mod list;
mod usage;
mod write;

use async_trait::async_trait;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QuerySelect};

use super::SqlStore;
use super::entities::{log, log_mark};
use super::error::failed;
use super::query::IN_VALUES_MAX;
use crate::auth::{OperatorScope, PlatformScope, SweeperScope};
use crate::clock::Timestamp;
use crate::id::{LogId, PlatformId};
use crate::logs::{
    BilledSum, LogFilter, LogRow, LogState, LogStore, Outcome, UsageQuery, UsageRow,
};
use crate::store::{Listed, Page, StoreError};

#[async_trait]
impl LogStore for SqlStore {
    async fn append(&self, scope: &SweeperScope, rows: &[LogRow]) -> Result<u64, StoreError> {
        write::append(self, scope, rows).await
    }

    async fn resolve(&self, scope: &SweeperScope, outcomes: &[Outcome]) -> Result<(), StoreError> {
        write::resolve(self, scope, outcomes).await
    }

    async fn states(
        &self,
        scope: &SweeperScope,
        ids: &[LogId],
    ) -> Result<Vec<LogState>, StoreError> {
        let mut states = Vec::with_capacity(ids.len());
        for ids in ids.chunks(IN_VALUES_MAX) {
            let ids = ids.iter().map(|id| id.as_uuid());
            let rows = log::Entity::any(scope)
                .filter(log::Column::Id.is_in(ids))
                .all(self.log_reader())
                .await
                .map_err(failed)?;
            for row in rows {
                states.push(row.into_domain()?.state());
            }
        }
        Ok(states)
    }

    async fn list(
        &self,
        scope: &PlatformScope,
        filter: &LogFilter,
        page: Page,
    ) -> Result<Listed<LogRow>, StoreError> {
        list::page(self, scope, filter, page).await
    }

    async fn list_after(
        &self,
        scope: &PlatformScope,
        filter: &LogFilter,
        after: Option<(Timestamp, LogId)>,
        most: u32,
    ) -> Result<Vec<LogRow>, StoreError> {
        list::after(self, scope, filter, after, most).await
    }

    async fn row(&self, scope: &PlatformScope, id: LogId) -> Result<LogRow, StoreError> {
        list::one(self, scope, id).await
    }

    async fn usage(
        &self,
        scope: &PlatformScope,
        query: &UsageQuery,
    ) -> Result<Vec<UsageRow>, StoreError> {
        usage::usage(self, scope, query).await
    }

    async fn billed(&self, scope: &OperatorScope) -> Result<Vec<BilledSum>, StoreError> {
        usage::billed(self, scope).await
    }

    async fn pending(
        &self,
        scope: &SweeperScope,
        before: Timestamp,
        most: u32,
    ) -> Result<Vec<(PlatformId, LogId)>, StoreError> {
        keep::pending(self, scope, before, most).await
    }

    async fn platforms(&self, scope: &SweeperScope) -> Result<Vec<PlatformId>, StoreError> {
        keep::platforms(self, scope).await
    }

    async fn repaired_to(&self, _scope: &SweeperScope) -> Result<i64, StoreError> {
        let mark = keep::mark(self.log_reader(), log_mark::REPAIRED_TO).await?;
        Ok(mark.unwrap_or(0))
    }

    async fn set_repaired_to(&self, _scope: &SweeperScope, charge: i64) -> Result<(), StoreError> {
        let txn = self.begin_log_write().await?;
        keep::set_mark(&txn, log_mark::REPAIRED_TO, charge).await?;
        super::commit(txn).await
    }

    async fn pruned_before(&self, _scope: &SweeperScope) -> Result<Option<Timestamp>, StoreError> {
        let mark = keep::mark(self.log_reader(), log_mark::PRUNED_BEFORE).await?;
        Ok(mark.map(Timestamp::from_micros))
    }

    async fn prune(
        &self,
        scope: &SweeperScope,
        before: Timestamp,
        most: u32,
    ) -> Result<u64, StoreError> {
        keep::prune(self, scope, before, most).await
    }

    async fn forget_platform(
        &self,
        scope: &SweeperScope,
        platform: PlatformId,
        most: u32,
    ) -> Result<u64, StoreError> {
        keep::forget_platform(self, scope, platform, most).await
    }
}

/// Removes rows of the log by their ids.
async fn delete(
    txn: &sea_orm::DatabaseTransaction,
    select: sea_orm::Select<log::Entity>,
    most: u32,
) -> Result<u64, StoreError> {
    let ids: Vec<uuid::Uuid> = select
        .limit(u64::from(most))
        .select_only()
        .column(log::Column::Id)
        .into_tuple()
        .all(txn)
        .await
        .map_err(failed)?;
    for ids in ids.chunks(IN_VALUES_MAX) {
        log::Entity::delete_many()
            .filter(log::Column::Id.is_in(ids.iter().copied()))
            .exec(txn)
            .await
            .map_err(failed)?;
    }
    Ok(ids.len() as u64)
}
