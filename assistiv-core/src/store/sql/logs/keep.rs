//! The keeping of the log: marks, and what is removed.

use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, QueryFilter, QueryOrder,
    QuerySelect,
};
use uuid::Uuid;

use super::delete;
use crate::auth::SweeperScope;
use crate::clock::Timestamp;
use crate::id::{LogId, PlatformId};
use crate::logs::{BillingStatus, slot};
use crate::store::StoreError;
use crate::store::sql::entities::{log, log_mark, log_rollup};
use crate::store::sql::error::failed;
use crate::store::sql::{SqlStore, commit};

/// How far something has come; `None` before it began.
pub(super) async fn mark(db: &impl ConnectionTrait, name: &str) -> Result<Option<i64>, StoreError> {
    let row = log_mark::Entity::find_by_id(name)
        .one(db)
        .await
        .map_err(failed)?;
    Ok(row.map(|row| row.value))
}

/// Moves a mark forward.
pub(super) async fn set_mark(
    txn: &DatabaseTransaction,
    name: &str,
    value: i64,
) -> Result<(), StoreError> {
    log_mark::Entity::insert(log_mark::row(name, value))
        .on_conflict(log_mark::forward())
        .exec_without_returning(txn)
        .await
        .map(drop)
        .map_err(failed)
}

/// Rows whose charge has been on its way for long.
pub(super) async fn pending(
    store: &SqlStore,
    scope: &SweeperScope,
    before: Timestamp,
    most: u32,
) -> Result<Vec<(PlatformId, LogId)>, StoreError> {
    use log::Column;
    // As a constant, for the index over these rows alone.
    let is_pending = Expr::col((log::Entity, Column::BillingStatus))
        .eq(Expr::Constant((BillingStatus::Pending as i16).into()));
    let rows: Vec<(Uuid, Uuid)> = log::Entity::any(scope)
        .filter(is_pending)
        .filter(Column::CreatedAt.lt(before.as_micros()))
        .limit(u64::from(most))
        .select_only()
        .column(Column::PlatformId)
        .column(Column::Id)
        .into_tuple()
        .all(store.log_reader())
        .await
        .map_err(failed)?;
    Ok(rows
        .into_iter()
        .map(|(platform, id)| (PlatformId::from_uuid(platform), LogId::from_uuid(id)))
        .collect())
}

/// Platforms that have rollups.
pub(super) async fn platforms(
    store: &SqlStore,
    scope: &SweeperScope,
) -> Result<Vec<PlatformId>, StoreError> {
    let ids: Vec<Uuid> = log_rollup::Entity::any(scope)
        .select_only()
        .column(log_rollup::Column::PlatformId)
        .distinct()
        .order_by_asc(log_rollup::Column::PlatformId)
        .into_tuple()
        .all(store.log_reader())
        .await
        .map_err(failed)?;
    Ok(ids.into_iter().map(PlatformId::from_uuid).collect())
}

/// Removes old rows. The mark comes first, so that no list shows half of what is going.
pub(super) async fn prune(
    store: &SqlStore,
    scope: &SweeperScope,
    before: Timestamp,
    most: u32,
) -> Result<u64, StoreError> {
    let cut = slot(before).as_micros();
    let old = log::Entity::any(scope)
        .filter(log::Column::CreatedAt.lt(cut))
        .order_by_asc(log::Column::CreatedAt);
    // Nothing is written where nothing is old.
    let any = old
        .clone()
        .limit(1)
        .one(store.log_reader())
        .await
        .map_err(failed)?;
    if any.is_none() {
        return Ok(0);
    }
    let txn = store.begin_log_write().await?;
    set_mark(&txn, log_mark::PRUNED_BEFORE, cut).await?;
    let removed = delete(&txn, old, most).await?;
    commit(txn).await?;
    Ok(removed)
}

/// Removes rows of a platform, and its rollups with the last of them.
pub(super) async fn forget_platform(
    store: &SqlStore,
    scope: &SweeperScope,
    platform: PlatformId,
    most: u32,
) -> Result<u64, StoreError> {
    let id = platform.as_uuid();
    let rows = log::Entity::any(scope).filter(log::Column::PlatformId.eq(id));
    let txn = store.begin_log_write().await?;
    let removed = delete(&txn, rows, most).await?;
    if removed < u64::from(most) {
        log_rollup::Entity::delete_many()
            .filter(log_rollup::Column::PlatformId.eq(id))
            .exec(&txn)
            .await
            .map_err(failed)?;
    }
    commit(txn).await?;
    Ok(removed)
}
