//! [`ReconStore`] in SQL: one runner by the lock of a row, sums up to a checkpoint kept by account.

use async_trait::async_trait;
use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveModelTrait, ColumnTrait, Condition, DatabaseTransaction, EntityTrait, NotSet,
    PaginatorTrait, QueryFilter, QueryOrder, QuerySelect, Set,
};

use super::entities::{account, event, ledger, recon, recon_mark, recon_runner, slot, stream};
use super::error::failed;
use super::ledger::{audit, before, histories};
use super::{SqlStore, commit, events};
use crate::auth::OperatorScope;
use crate::billing::{AccountAudit, Amounts, ChargeFlags, Dimension, Dimensions, EntryKind};
use crate::clock::Timestamp;
use crate::events::OperatorEvent;
use crate::id::{AccountId, EntryId, NodeId};
use crate::recon::{
    LooseEnds, ReconOutcome, ReconRun, ReconSchedule, ReconStore, RefundedEntries, SETTLED_FOR,
    STREAM_STALE_AFTER,
};
use crate::store::StoreError;

#[async_trait]
impl ReconStore for SqlStore {
    async fn begin_recon(
        &self,
        scope: &OperatorScope,
        schedule: &ReconSchedule,
    ) -> Result<Option<ReconRun>, StoreError> {
        self.retrying(|| begin(self, scope, schedule)).await
    }

    async fn audit_since_checkpoint(
        &self,
        scope: &OperatorScope,
    ) -> Result<Vec<AccountAudit>, StoreError> {
        let txn = self.begin_read().await?;
        let runner = recon_runner::Entity::only(scope).one(&txn).await;
        let checkpoint = runner.map_err(failed)?.map_or(0, |row| row.ledger_id);
        let marks = recon_mark::Entity::all(scope)
            .all(&txn)
            .await
            .map_err(failed)?;
        let marks = audit::Marks::new(marks, checkpoint);
        audit::audit_in(&txn, scope, &marks).await
    }

    async fn loose_ends(&self, scope: &OperatorScope) -> Result<LooseEnds, StoreError> {
        let txn = self.begin_read().await?;
        let opened_before = before(self.now(), STREAM_STALE_AFTER).as_micros();
        let stale = stream::Entity::all(scope)
            .filter(stream::Column::OpenedAt.lt(opened_before))
            .all(&txn)
            .await
            .map_err(failed)?;
        let stale = stale
            .into_iter()
            .map(|row| (EntryId::from_uuid(row.log_id), NodeId(row.node_id)));
        Ok(LooseEnds {
            negative_slots: negative_slots(&txn, scope).await?,
            stale_streams: stale.collect(),
            events: event::Entity::find().count(&txn).await.map_err(failed)?,
        })
    }

    async fn refunded(
        &self,
        scope: &OperatorScope,
        after: i64,
        most: u32,
    ) -> Result<Option<RefundedEntries>, StoreError> {
        let txn = self.begin_read().await?;
        let refunds = ledger::Entity::all(scope)
            .filter(ledger::Column::Id.gt(after))
            .filter(ledger::Column::Kind.eq(EntryKind::Refund as i16))
            .order_by_asc(ledger::Column::Id)
            .limit(u64::from(most))
            .all(&txn)
            .await
            .map_err(failed)?;
        let Some(last) = refunds.last().map(|row| row.id) else {
            return Ok(None);
        };
        let uids = refunds.iter().filter_map(|row| row.ref_uid);
        let rows = ledger::Entity::all(scope)
            .filter(ledger::Column::Uid.is_in(uids))
            .all(&txn)
            .await
            .map_err(failed)?;
        let entries = histories(&txn, scope, rows, None).await?;
        Ok(Some(RefundedEntries { last, entries }))
    }

    async fn finish_recon(
        &self,
        scope: &OperatorScope,
        run: ReconRun,
        outcome: &ReconOutcome,
    ) -> Result<(), StoreError> {
        self.retrying(|| finish(self, scope, run, outcome)).await
    }
}

async fn begin(
    store: &SqlStore,
    scope: &OperatorScope,
    schedule: &ReconSchedule,
) -> Result<Option<ReconRun>, StoreError> {
    let txn = store.begin_write().await?;
    let now = store.now();
    let runner = locked_runner(&txn, scope).await?;
    if runner.busy_until > now.as_micros() {
        return Ok(None);
    }
    let full_at = began_last(&txn, scope, true).await?;
    let any_at = began_last(&txn, scope, false).await?;
    let Some(is_full) = schedule.due(full_at, any_at, now) else {
        return Ok(None);
    };
    let row = recon::ActiveModel {
        id: NotSet,
        kind: Set(if is_full {
            recon::FULL
        } else {
            recon::INCREMENTAL
        }),
        started_at: Set(now.as_micros()),
        finished_at: Set(None),
        accounts: Set(0),
        mismatches: Set(0),
        details: Set(None),
    };
    let row = row.insert(&txn).await.map_err(failed)?;
    let lease = i64::try_from(schedule.lease.as_micros()).unwrap_or(i64::MAX);
    let busy_until = now.as_micros().saturating_add(lease);
    change_runner(&txn, recon_runner::Column::BusyUntil, busy_until).await?;
    commit(txn).await?;
    Ok(Some(ReconRun {
        id: row.id,
        is_full,
        checkpoint: runner.ledger_id,
    }))
}

async fn finish(
    store: &SqlStore,
    scope: &OperatorScope,
    run: ReconRun,
    outcome: &ReconOutcome,
) -> Result<(), StoreError> {
    let txn = store.begin_write().await?;
    let now = store.now();
    let runner = locked_runner(&txn, scope).await?;
    let finished = recon::Entity::update_many()
        .col_expr(recon::Column::FinishedAt, Expr::val(Some(now.as_micros())))
        .col_expr(recon::Column::Accounts, Expr::val(count(outcome.accounts)))
        .col_expr(
            recon::Column::Mismatches,
            Expr::val(count(outcome.mismatches)),
        )
        .col_expr(recon::Column::Details, Expr::val(outcome.details.clone()))
        .filter(recon::Column::Id.eq(run.id))
        .filter(recon::Column::FinishedAt.is_null())
        .exec(&txn)
        .await
        .map_err(failed)?;
    if finished.rows_affected == 0 {
        return Err(StoreError::NotFound);
    }
    advance(&txn, scope, runner.ledger_id, now).await?;
    let newest = recon::Entity::newest(scope).one(&txn).await;
    if newest.map_err(failed)? == Some(run.id) {
        change_runner(&txn, recon_runner::Column::BusyUntil, 0).await?;
    }
    if outcome.mismatches > 0 {
        let details = outcome.details.clone();
        let event = OperatorEvent::differences(run.id, outcome.mismatches, details);
        events::insert(&txn, [event.at(now)]).await?;
    }
    commit(txn).await
}

/// Moves the checkpoint over what is settled, with the sums of it. The runner's row is locked.
async fn advance(
    txn: &DatabaseTransaction,
    scope: &OperatorScope,
    from: i64,
    now: Timestamp,
) -> Result<(), StoreError> {
    let settled = before(now, SETTLED_FOR).as_micros();
    let to: Option<i64> = ledger::Entity::all(scope)
        .filter(ledger::Column::CreatedAt.lt(settled))
        .filter(ledger::Column::Id.gt(from))
        .order_by_desc(ledger::Column::Id)
        .limit(1)
        .select_only()
        .column(ledger::Column::Id)
        .into_tuple()
        .one(txn)
        .await
        .map_err(failed)?;
    let Some(to) = to else {
        return Ok(());
    };
    let sums = audit::entry_sums(txn, scope, from, Some(to)).await?;
    let rows = sums
        .into_iter()
        .map(|(account_id, (remaining, limit))| recon_mark::ActiveModel {
            account_id: Set(account_id),
            rem_usd: Set(remaining.usd.get()),
            rem_tokens: Set(remaining.tokens.get()),
            rem_display: Set(remaining.display.get()),
            lim_usd: Set(limit.usd.get()),
            lim_tokens: Set(limit.tokens.get()),
            lim_display: Set(limit.display.get()),
        });
    let rows = rows.collect();
    recon_mark::ADD.run(txn, rows).await.map_err(failed)?;
    change_runner(txn, recon_runner::Column::LedgerId, to).await
}

async fn locked_runner(
    txn: &DatabaseTransaction,
    scope: &OperatorScope,
) -> Result<recon_runner::Model, StoreError> {
    let found = recon_runner::Entity::only(scope).lock_exclusive().one(txn);
    found.await.map_err(failed)?.ok_or(StoreError::NotFound)
}

async fn change_runner(
    txn: &DatabaseTransaction,
    column: recon_runner::Column,
    value: i64,
) -> Result<(), StoreError> {
    recon_runner::Entity::update_many()
        .col_expr(column, Expr::val(value))
        .exec(txn)
        .await
        .map_err(failed)?;
    Ok(())
}

/// When the last run began that came to its end.
async fn began_last(
    txn: &DatabaseTransaction,
    scope: &OperatorScope,
    is_full: bool,
) -> Result<Option<Timestamp>, StoreError> {
    let mut runs = recon::Entity::finished(scope);
    if is_full {
        runs = runs.filter(recon::Column::Kind.eq(recon::FULL));
    }
    let row = runs.one(txn).await.map_err(failed)?;
    Ok(row.map(|row| Timestamp::from_micros(row.started_at)))
}

/// Slots below zero where no overrun explains it. There are few slots below zero at any time.
async fn negative_slots(
    txn: &DatabaseTransaction,
    scope: &OperatorScope,
) -> Result<Vec<(NodeId, AccountId, Amounts)>, StoreError> {
    let below = Condition::any()
        .add(slot::Column::Usd.lt(0))
        .add(slot::Column::Tokens.lt(0))
        .add(slot::Column::Display.lt(0));
    let slots = slot::Entity::all(scope)
        .filter(below)
        .all(txn)
        .await
        .map_err(failed)?;
    let overran: Vec<i16> = (0..16)
        .filter(|bits| ChargeFlags::from_bits(*bits).contains(ChargeFlags::OVERRAN))
        .collect();
    let mut found = Vec::new();
    for row in slots {
        let account = account::Entity::all(scope)
            .filter(account::Column::Id.eq(row.account_id))
            .one(txn)
            .await
            .map_err(failed)?;
        let enforce = account.map_or(Dimensions::NONE, |a| Dimensions::from_bits(a.enforce));
        let amounts = row.amounts();
        let is_below = |d: Dimension| enforce.contains(d) && amounts.get(d) < 0;
        if !Dimension::ALL.into_iter().any(is_below) {
            continue;
        }
        let on_account = Condition::any()
            .add(ledger::Column::WalletAccountId.eq(row.account_id))
            .add(ledger::Column::BudgetAccountId.eq(row.account_id));
        let explained = ledger::Entity::all(scope)
            .filter(on_account)
            .filter(ledger::Column::NodeId.eq(row.node_id))
            .filter(ledger::Column::Flags.is_in(overran.clone()))
            .limit(1)
            .one(txn)
            .await
            .map_err(failed)?;
        if explained.is_none() {
            found.push((NodeId(row.node_id), AccountId(row.account_id), amounts));
        }
    }
    Ok(found)
}

fn count(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
