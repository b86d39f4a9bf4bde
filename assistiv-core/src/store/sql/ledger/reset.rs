//! Period resets: signed changes, once for each boundary.

use sea_orm::sea_query::{Expr, ExprTrait, Func, Order, Query, SelectStatement};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseTransaction, FromQueryResult, QueryFilter, QuerySelect,
    QueryTrait,
};

use super::{account_of, write};
use crate::auth::SweeperScope;
use crate::billing::{Amounts, Decision, DisplayReset, EntryKind, decide_reset};
use crate::clock::Timestamp;
use crate::id::AccountId;
use crate::store::StoreError;
use crate::store::sql::entities::{account, budget, ledger, platform, slot};
use crate::store::sql::error::{corrupt, failed};
use crate::store::sql::query::sum;
use crate::store::sql::{SqlStore, commit};

/// Applies a due reset of the budget that is counted in the account; says whether one was due.
pub(super) async fn reset_period(
    store: &SqlStore,
    scope: &SweeperScope,
    account: AccountId,
) -> Result<bool, StoreError> {
    let txn = store.begin_write().await?;
    let now = store.now();
    let row = budget::Entity::in_account(scope, account)
        .lock_exclusive()
        .one(&txn)
        .await
        .map_err(failed)?;
    let Some(row) = row else { return Ok(false) };
    let mut account = account_of(
        &txn,
        account::Entity::any(scope, [account]).lock_exclusive(),
    )
    .await?;
    let was_due = apply_due(&txn, &row, &mut account, now).await?.is_some();
    if was_due {
        commit(txn).await?;
    }
    Ok(was_due)
}

/// Budgets' accounts whose period is over.
pub(super) async fn due(
    store: &SqlStore,
    scope: &SweeperScope,
    most: u32,
) -> Result<Vec<AccountId>, StoreError> {
    let ids: Vec<i64> = budget::Entity::due(scope, store.now())
        .limit(u64::from(most))
        .select_only()
        .column(budget::Column::AccountId)
        .into_tuple()
        .all(store.reader())
        .await
        .map_err(failed)?;
    Ok(ids.into_iter().map(AccountId).collect())
}

/// Resets the budget if its period is over. Both rows are locked; the budget's row afterwards is
/// returned.
pub(super) async fn apply_due(
    txn: &DatabaseTransaction,
    row: &budget::Model,
    account: &mut account::Model,
    now: Timestamp,
) -> Result<Option<budget::Model>, StoreError> {
    let record = row.to_domain()?;
    // A budget that is out of force waits: it starts afresh when it is made again.
    if !record.is_active || record.period_end.is_none_or(|end| end > now) {
        return Ok(None);
    }
    let boundary = record
        .terms
        .period
        .bounds(now, &record.terms.timezone)
        .start;
    let standing = Standing::read(txn, account, boundary).await?;
    let remaining = account
        .free()
        .checked_add(standing.slots())
        .map_err(|_| corrupt("an account left its range"))?;
    let display = display_reset(txn, row).await?;
    let decided = decide_reset(&record, remaining, |_| standing.used(), display, now);
    let mut decision =
        decided.ok_or_else(|| corrupt("a period reset left the range of amounts"))?;
    if is_posted(txn, account, &decision).await? {
        // The clock went back behind a boundary that was passed before: only the period is due.
        let mut passed = record.clone();
        if let Some(next) = &decision.budget {
            (passed.period_start, passed.period_end) = (next.period_start, next.period_end);
        }
        let policy = Some((passed.enforced(), passed.blocked()));
        decision = Decision {
            budget: Some(passed),
            policy,
            ..Decision::default()
        };
    }
    write::decision(txn, account, remaining, &decision, now).await?;
    write::budget(txn, Some(row), &decision).await
}

/// Whether the display ledger of a budget is reset with its period, as the platform's settings say.
async fn display_reset(
    txn: &DatabaseTransaction,
    row: &budget::Model,
) -> Result<DisplayReset, StoreError> {
    if row.max_display.is_none() {
        return Ok(DisplayReset::default());
    }
    let platform = platform::Entity::owning(row).one(txn).await;
    let platform = platform.map_err(failed)?.ok_or(StoreError::NotFound)?;
    Ok(platform.into_domain()?.settings.display_reset())
}

async fn is_posted(
    txn: &DatabaseTransaction,
    account: &account::Model,
    decision: &Decision,
) -> Result<bool, StoreError> {
    let uids = decision.entries.iter().map(|entry| entry.uid.as_uuid());
    let found = ledger::Entity::of_account(account)
        .filter(ledger::Column::Uid.is_in(uids))
        .one(txn)
        .await;
    Ok(found.map_err(failed)?.is_some())
}

/// What nodes hold of an account, and what was used of it since a boundary.
///
/// Read in one statement: a settlement that commits between two would be missing in one of them
/// only.
#[derive(FromQueryResult)]
struct Standing {
    slots_usd: i64,
    slots_tokens: i64,
    slots_display: i64,
    used_usd: i64,
    used_tokens: i64,
    used_display: i64,
}

impl Standing {
    async fn read(
        txn: &DatabaseTransaction,
        account: &account::Model,
        boundary: Timestamp,
    ) -> Result<Self, StoreError> {
        let both = Query::select()
            .columns([
                "slots_usd",
                "slots_tokens",
                "slots_display",
                "used_usd",
                "used_tokens",
                "used_display",
            ])
            .from_subquery(slots(account), "slots")
            .from_subquery(used_since(account, boundary), "used")
            .take();
        let row = txn.query_one(&both).await.map_err(failed)?;
        let row = row.ok_or_else(|| corrupt("sums over no rows"))?;
        Self::from_query_result(&row, "").map_err(failed)
    }

    fn slots(&self) -> Amounts {
        Amounts::from_raw(self.slots_usd, self.slots_tokens, self.slots_display)
    }

    fn used(&self) -> Amounts {
        Amounts::from_raw(self.used_usd, self.used_tokens, self.used_display)
    }
}

fn slots(account: &account::Model) -> SelectStatement {
    slot::Entity::of_account(account)
        .select_only()
        .column_as(sum(slot::Column::Usd.into_expr()), "slots_usd")
        .column_as(sum(slot::Column::Tokens.into_expr()), "slots_tokens")
        .column_as(sum(slot::Column::Display.into_expr()), "slots_display")
        .into_query()
}

fn used_since(account: &account::Model, boundary: Timestamp) -> SelectStatement {
    // What is posted after a boundary is posted after the reset of the boundary before it, so the
    // search need not go back further.
    let last_reset = ledger::Entity::of_account(account)
        .filter(ledger::Column::Kind.eq(EntryKind::PeriodReset as i16))
        .select_only()
        .column(ledger::Column::Id)
        .limit(1)
        .into_query()
        .order_by(ledger::Column::Id, Order::Desc)
        .take();
    let used = |limit: ledger::Column, remaining: ledger::Column| {
        sum(limit
            .into_expr()
            .sub(Expr::col((ledger::Entity, remaining))))
    };
    ledger::Entity::of_account(account)
        .filter(
            ledger::Column::Id
                .into_expr()
                .gt(Expr::from(Func::coalesce([
                    last_reset.into(),
                    Expr::val(0),
                ]))),
        )
        .filter(ledger::Column::CreatedAt.gte(boundary.as_micros()))
        .filter(ledger::Column::Kind.is_not_in([
            EntryKind::PeriodReset as i16,
            EntryKind::OpeningBalance as i16,
        ]))
        .select_only()
        .column_as(
            used(ledger::Column::LimUsd, ledger::Column::RemUsd),
            "used_usd",
        )
        .column_as(
            used(ledger::Column::LimTokens, ledger::Column::RemTokens),
            "used_tokens",
        )
        .column_as(
            used(ledger::Column::LimDisplay, ledger::Column::RemDisplay),
            "used_display",
        )
        .into_query()
}
