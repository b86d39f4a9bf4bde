//! Settlements of nodes that were fenced and are still alive.

use sea_orm::{ColumnTrait, DatabaseTransaction, EntityTrait, PaginatorTrait, QueryFilter};

use super::{locks, write};
use crate::auth::SweeperScope;
use crate::billing::{EntryKind, LateSettlement, LedgerEntry, Legs, NotSwept};
use crate::id::EntryId;
use crate::store::StoreError;
use crate::store::sql::entities::{ledger, stream};
use crate::store::sql::error::{corrupt, failed};
use crate::store::sql::{SqlStore, commit};

/// Corrects the charge of a sweep to what the call really cost, once.
pub(super) async fn settle(
    store: &SqlStore,
    scope: &SweeperScope,
    exact: &LedgerEntry,
) -> Result<LateSettlement, StoreError> {
    let txn = store.begin_write().await?;
    let now = store.now();
    // A sweep of the stream holds these accounts until it commits, and so does another late
    // settlement of it.
    let accounts = exact.changes().map(|(account, _)| account);
    let mut accounts = locks::accounts(&txn, scope, accounts).await?;
    let is_open = stream::Entity::one(scope, exact.uid)
        .count(&txn)
        .await
        .map_err(failed)?;
    if is_open > 0 {
        return Err(StoreError::unavailable(NotSwept));
    }
    let Some(charge) = charge(&txn, scope, exact.uid).await? else {
        return Ok(LateSettlement::Uncharged);
    };
    let since = Since::read(&txn, scope, exact.uid).await?;
    if since.is_corrected {
        return Ok(LateSettlement::Exact);
    }
    let Some(correction) = charge.late_correction(exact, since.change, now)? else {
        return Ok(LateSettlement::Exact);
    };
    let inserted = ledger::Entity::insert(ledger::row(&correction, None, now)?)
        .on_conflict(ledger::posted_before())
        .exec_without_returning(&txn)
        .await
        .map_err(failed)?;
    if inserted == 0 {
        return Ok(LateSettlement::Exact);
    }
    for (account, change) in correction.changes() {
        let row = accounts.get_mut(&account.0);
        row.ok_or_else(|| corrupt("an entry without its account"))?
            .add_free(change)?;
    }
    write::accounts(&txn, accounts.into_values(), now).await?;
    commit(txn).await?;
    Ok(LateSettlement::Corrected)
}

async fn charge(
    txn: &DatabaseTransaction,
    scope: &SweeperScope,
    call: EntryId,
) -> Result<Option<LedgerEntry>, StoreError> {
    let found = ledger::Entity::charges_of(scope, [call.as_uuid()])
        .filter(ledger::Column::Kind.eq(EntryKind::Charge as i16))
        .one(txn)
        .await
        .map_err(failed)?;
    found.map(ledger::Model::into_domain).transpose()
}

/// What entries that refer to a charge have done to it.
#[derive(Default)]
pub(super) struct Since {
    /// What they have changed together.
    pub(super) change: Legs,
    is_corrected: bool,
}

impl Since {
    /// Reads what refers to one charge. The charge's accounts are locked.
    pub(super) async fn read(
        txn: &DatabaseTransaction,
        scope: &SweeperScope,
        charge: EntryId,
    ) -> Result<Self, StoreError> {
        let rows = ledger::Entity::referring_to(scope, [charge.as_uuid()])
            .all(txn)
            .await
            .map_err(failed)?;
        let mut since = Self::default();
        for row in rows {
            since.add(&row.into_domain()?)?;
        }
        Ok(since)
    }

    /// Adds one more entry.
    pub(super) fn add(&mut self, entry: &LedgerEntry) -> Result<(), StoreError> {
        self.is_corrected |= entry.kind == EntryKind::Correction;
        self.change = self
            .change
            .checked_add(entry.change())
            .map_err(|_| corrupt("an entry left its range"))?;
        Ok(())
    }
}
