//! Rows and their rollups, in one transaction.

use std::collections::{BTreeMap, HashSet};

use sea_orm::{
    ColumnTrait, DatabaseTransaction, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
};
use uuid::Uuid;

use crate::auth::SweeperScope;
use crate::logs::{LogRow, Outcome};
use crate::store::StoreError;
use crate::store::sql::entities::log_rollup::{Change, Key};
use crate::store::sql::entities::{log, log_rollup};
use crate::store::sql::error::{corrupt, failed};
use crate::store::sql::query::IN_VALUES_MAX;
use crate::store::sql::{SqlStore, commit};

/// What rollups change by, in the order in which they are locked.
#[derive(Default)]
struct Changes(BTreeMap<Key, Change>);

/// Writes the rows that are not there yet.
pub(super) async fn append(
    store: &SqlStore,
    scope: &SweeperScope,
    rows: &[LogRow],
) -> Result<u64, StoreError> {
    if rows.is_empty() {
        return Ok(0);
    }
    let txn = store.begin_log_write().await?;
    let mut new = match store.is_shared() {
        true => insert(&txn, rows).await?,
        false => insert_alone(&txn, scope, rows).await?,
    };
    let mut changes = Changes::default();
    for row in rows {
        // Taken out, so that a row which stands twice in the batch counts once.
        if new.take(&row.id.as_uuid()).is_some() {
            changes.add(row, Change::of(&row.sums()))?;
        }
    }
    let count: i64 = changes.rows();
    changes.write(&txn).await?;
    commit(txn).await?;
    Ok(u64::try_from(count).unwrap_or(0))
}

/// Inserts rows and says which of them are new: only the database knows, when two nodes write the
/// same row.
async fn insert(txn: &DatabaseTransaction, rows: &[LogRow]) -> Result<HashSet<Uuid>, StoreError> {
    let rows: Vec<_> = rows.iter().map(log::row).collect::<Result<_, _>>()?;
    let inserted = log::NEW.rows(txn, rows).await.map_err(failed)?;
    inserted
        .iter()
        .map(|row| row.try_get_by_index(0).map_err(failed))
        .collect()
}

/// The same where nobody else writes, so that a question tells, too. The driver of SQLite wakes its reader for every
/// row that is returned, and here hardly any is.
async fn insert_alone(
    txn: &DatabaseTransaction,
    scope: &SweeperScope,
    rows: &[LogRow],
) -> Result<HashSet<Uuid>, StoreError> {
    let mut new: HashSet<Uuid> = rows.iter().map(|row| row.id.as_uuid()).collect();
    let ids: Vec<Uuid> = new.iter().copied().collect();
    for ids in ids.chunks(IN_VALUES_MAX) {
        let known = log::Entity::any(scope)
            .select_only()
            .column(log::Column::Id)
            .filter(log::Column::Id.is_in(ids.iter().copied()))
            .into_tuple::<Uuid>()
            .all(txn)
            .await
            .map_err(failed)?;
        for id in known {
            new.remove(&id);
        }
    }
    let rows = rows.iter().filter(|row| new.contains(&row.id.as_uuid()));
    let rows: Vec<_> = rows.map(log::row).collect::<Result<_, _>>()?;
    log::UNKNOWN.run(txn, rows).await.map_err(failed)?;
    Ok(new)
}

/// Lets rows follow the ledger.
pub(super) async fn resolve(
    store: &SqlStore,
    scope: &SweeperScope,
    outcomes: &[Outcome],
) -> Result<(), StoreError> {
    let mut outcomes: BTreeMap<Uuid, &Outcome> = outcomes
        .iter()
        .map(|outcome| (outcome.id.as_uuid(), outcome))
        .collect();
    let txn = store.begin_log_write().await?;
    let mut changes = Changes::default();
    let ids: Vec<Uuid> = outcomes.keys().copied().collect();
    for ids in ids.chunks(IN_VALUES_MAX) {
        let rows = log::Entity::any(scope)
            .filter(log::Column::Id.is_in(ids.iter().copied()))
            .order_by_asc(log::Column::Id)
            .lock_exclusive()
            .all(&txn)
            .await
            .map_err(failed)?;
        for row in rows {
            let Some(outcome) = outcomes.remove(&row.id) else {
                continue;
            };
            let mut row = row.into_domain()?;
            if !row.follows(outcome) {
                continue;
            }
            let before = Change::of(&row.sums());
            row.apply(outcome);
            let after = Change::of(&row.sums());
            changes.add(&row, after.minus(before).ok_or_else(out_of_range)?)?;
            let changed = log::ActiveModel {
                billing_status: sea_orm::Set(row.billing_status as i16),
                cost_usd: sea_orm::Set(row.cost.get()),
                ..Default::default()
            };
            log::Entity::update_many()
                .set(changed)
                .filter(log::Column::Id.eq(row.id.as_uuid()))
                .exec(&txn)
                .await
                .map_err(failed)?;
        }
    }
    changes.write(&txn).await?;
    commit(txn).await
}

// === impl Changes ===

impl Changes {
    fn add(&mut self, row: &LogRow, change: Change) -> Result<(), StoreError> {
        for key in Key::both_of(row) {
            let sum = self.0.entry(key).or_default();
            *sum = sum.plus(change).ok_or_else(out_of_range)?;
        }
        Ok(())
    }

    /// How many rows of the log were added.
    fn rows(&self) -> i64 {
        // Each row is in two rollups.
        self.0.values().map(Change::rows).sum::<i64>() / 2
    }

    async fn write(self, txn: &DatabaseTransaction) -> Result<(), StoreError> {
        let rows = self
            .0
            .into_iter()
            .map(|(key, change)| key.row(change))
            .collect();
        log_rollup::ADD.run(txn, rows).await.map_err(failed)
    }
}

fn out_of_range() -> StoreError {
    corrupt("a rollup left its range")
}
