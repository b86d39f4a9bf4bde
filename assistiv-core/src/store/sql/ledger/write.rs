//! What acts, leases, resets and sweeps write in common.

use sea_orm::{
    ActiveModelTrait, DatabaseTransaction, IntoActiveModel, NotSet, QueryOrder, QuerySelect,
    Select, Set,
};
use uuid::Uuid;

use super::{controls, low_balance};
use crate::billing::{AccountKind, Amounts, Blocked, ControlOp, Decision, Dimensions, Limits};
use crate::clock::Timestamp;
use crate::id::{AccountId, PlatformId};
use crate::store::StoreError;
use crate::store::sql::entities::{account, budget, ledger};
use crate::store::sql::error::{conflict, failed};

/// An account to be made, with nothing in it.
pub(in crate::store::sql) struct NewAccount {
    /// Wallet or budget.
    pub(in crate::store::sql) kind: AccountKind,
    /// Its platform.
    pub(in crate::store::sql) platform: PlatformId,
    /// The wallet or budget.
    pub(in crate::store::sql) owner: Uuid,
    /// The dimensions that are enforced.
    pub(in crate::store::sql) enforce: Dimensions,
    /// Whether money may be taken.
    pub(in crate::store::sql) blocked: Blocked,
    /// When a period reset falls due.
    pub(in crate::store::sql) period_end: Option<Timestamp>,
}

impl NewAccount {
    /// Inserts the account; the database numbers it.
    pub(in crate::store::sql) async fn insert(
        self,
        txn: &DatabaseTransaction,
        now: Timestamp,
    ) -> Result<account::Model, StoreError> {
        let row = account::ActiveModel {
            id: NotSet,
            kind: Set(self.kind as i16),
            platform_id: Set(self.platform.as_uuid()),
            owner_id: Set(self.owner),
            free_usd: Set(0),
            free_tokens: Set(0),
            free_display: Set(0),
            enforce: Set(self.enforce.bits()),
            blocked: Set(self.blocked as i16),
            armed: Set(Dimensions::WATCHED.bits()),
            low_usd: Set(None),
            low_tokens: Set(None),
            low_after: Set(0),
            period_end: Set(self.period_end.map(Timestamp::as_micros)),
            version: Set(0),
            created_at: Set(now.as_micros()),
            updated_at: Set(now.as_micros()),
        };
        row.insert(txn).await.map_err(failed)
    }
}

/// Writes what changed of accounts whose rows are locked.
pub(super) async fn accounts(
    txn: &DatabaseTransaction,
    accounts: impl IntoIterator<Item = account::Model>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let rows = accounts.into_iter().map(|mut row| {
        row.updated_at = now.as_micros();
        row.into_active_model().reset_all()
    });
    account::CHANGE
        .run(txn, rows.collect())
        .await
        .map_err(failed)
}

/// Blocks accounts whose owners are gone. No reset falls due on them any more. The accounts are
/// returned: nodes that hold something of them are yet to be told.
pub(in crate::store::sql) async fn retire_accounts(
    txn: &DatabaseTransaction,
    select: Select<account::Entity>,
    now: Timestamp,
) -> Result<Vec<account::Model>, StoreError> {
    let in_order = select
        .order_by_asc(account::Column::Kind)
        .order_by_asc(account::Column::Id);
    let mut rows = in_order.lock_exclusive().all(txn).await.map_err(failed)?;
    for row in &mut rows {
        row.blocked = Blocked::Inactive as i16;
        row.period_end = None;
        row.set_thresholds(&Limits::default());
        row.version += 1;
    }
    accounts(txn, rows.clone(), now).await?;
    Ok(rows)
}

/// Tells nodes of accounts that were retired. Last in its transaction.
pub(in crate::store::sql) async fn tell_retired(
    txn: &DatabaseTransaction,
    retired: impl IntoIterator<Item = account::Model>,
    now: Timestamp,
) -> Result<(), StoreError> {
    for account in retired {
        controls::send(txn, AccountId(account.id), ControlOp::Policy, now).await?;
    }
    Ok(())
}

/// Writes a decision: the account, whose row is locked and on which `before` remained, the entries,
/// the events that they cause, and what other nodes must be told, of which the number is returned.
/// The wallet's or budget's row is the caller's.
pub(super) async fn decision(
    txn: &DatabaseTransaction,
    account: &mut account::Model,
    before: Amounts,
    decision: &Decision,
    now: Timestamp,
) -> Result<Option<i64>, StoreError> {
    let (version, thresholds) = (account.version, account.thresholds());
    low_balance::apply(txn, account, before, decision, now).await?;
    if account.thresholds() != thresholds {
        account.version += 1;
    }
    account.add_free(decision.free_change)?;
    if let Some((enforce, blocked)) = decision.policy {
        let period_end = decision
            .budget
            .as_ref()
            .filter(|record| record.is_active)
            .and_then(|record| record.period_end)
            .map(Timestamp::as_micros);
        let policy = (enforce.bits(), blocked as i16, period_end);
        if policy != (account.enforce, account.blocked, account.period_end) {
            (account.enforce, account.blocked, account.period_end) = policy;
            account.version += 1;
        }
    }
    accounts(txn, [account.clone()], now).await?;
    let entries = decision
        .entries
        .iter()
        .map(|entry| ledger::row(entry, None, now));
    let entries = entries.collect::<Result<Vec<_>, _>>()?;
    ledger::POST
        .run(txn, entries)
        .await
        .map_err(|error| conflict(error, "ledger entry"))?;
    let enforce = Dimensions::from_bits(account.enforce);
    match decision.announces(account.version != version, enforce, account.free()) {
        Some(op) => {
            let sent = controls::send(txn, AccountId(account.id), op, now).await?;
            Ok(Some(sent))
        }
        None => Ok(None),
    }
}

/// Writes the row of a budget that a decision made or changed.
pub(super) async fn budget(
    txn: &DatabaseTransaction,
    old: Option<&budget::Model>,
    decision: &Decision,
) -> Result<Option<budget::Model>, StoreError> {
    let Some(record) = &decision.budget else {
        return Ok(None);
    };
    let row = match old {
        None => budget::row(record, 0)
            .insert(txn)
            .await
            .map_err(|error| conflict(error, "budget"))?,
        Some(old) => budget::row(record, old.version + 1)
            .update(txn)
            .await
            .map_err(failed)?,
    };
    Ok(Some(row))
}
