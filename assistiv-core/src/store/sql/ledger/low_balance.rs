//! Thresholds of accounts, under the lock of the account's row.

use sea_orm::{ColumnTrait, DatabaseTransaction, QueryFilter, QuerySelect};

use super::statement::changes;
use super::total;
use crate::auth::SweeperScope;
use crate::billing::{AccountKind, Amounts, BudgetRecord, Decision, Dimensions, Limits, Watch};
use crate::clock::Timestamp;
use crate::id::AccountId;
use crate::store::StoreError;
use crate::store::sql::entities::{account, budget, ledger};
use crate::store::sql::error::{corrupt, failed};
use crate::store::sql::events;

/// Entries that a search for a crossed threshold reads at a time. A check that comes in time finds
/// it among the first.
const SEARCH_PAGE: u64 = 200;

/// Tells of the debits that crossed thresholds since the last act on the account, and what a
/// decision causes on top of them. Changes what the account says of its thresholds; the row is the
/// caller's to write.
pub(super) async fn apply(
    txn: &DatabaseTransaction,
    account: &mut account::Model,
    before: Amounts,
    decision: &Decision,
    now: Timestamp,
) -> Result<(), StoreError> {
    let limits = limits_before(decision).ok_or_else(|| corrupt("a limit left its range"))?;
    let mut watch = watch(account, before, limits)?;
    let mut told = tell_crossed(txn, account, &mut watch, now).await?;
    let owner = match &decision.budget {
        Some(record) => {
            account.set_thresholds(&record.thresholds());
            record.owner()
        }
        None => account.owner()?,
    };
    if let Some(threshold) = decision.wallet_threshold {
        account.set_thresholds(&Limits {
            usd: threshold,
            tokens: None,
        });
    }
    watch.now_at(owner, account.thresholds());
    for entry in &decision.entries {
        told.extend(watch.note(entry, now));
    }
    account.armed = watch.armed().bits();
    if !account.thresholds().is_none() {
        account.low_after = newest(txn, account).await?.unwrap_or(account.low_after);
    }
    events::insert(txn, told).await
}

/// Tells of the debits that crossed thresholds since the last act on the account; says whether that
/// changed its row.
pub(super) async fn check(
    txn: &DatabaseTransaction,
    scope: &SweeperScope,
    account: &mut account::Model,
    now: Timestamp,
) -> Result<bool, StoreError> {
    if account.thresholds().is_none() {
        return Ok(false);
    }
    let total = total(txn, account).await?;
    let mut watch = watch(account, total, Amounts::ZERO)?;
    if watch.is_low() && account.kind()? == AccountKind::Budget {
        // Terms change under the lock of the account only, so what is read here holds.
        let of_account = budget::Entity::in_account(scope, AccountId(account.id));
        let Some(row) = of_account.one(txn).await.map_err(failed)? else {
            return Ok(false);
        };
        watch = self::watch(account, total, row.limits())?;
    }
    let told = tell_crossed(txn, account, &mut watch, now).await?;
    events::insert(txn, told).await?;
    let armed = watch.armed().bits();
    let changed = armed != account.armed;
    account.armed = armed;
    Ok(changed)
}

async fn tell_crossed(
    txn: &DatabaseTransaction,
    account: &account::Model,
    watch: &mut Watch,
    now: Timestamp,
) -> Result<Vec<crate::events::Event>, StoreError> {
    let mut search = watch.search();
    let mut goes_on = watch.is_low();
    let mut older_than = i64::MAX;
    while goes_on {
        let rows = ledger::Entity::newest_of_account(account, account.low_after)
            .filter(ledger::Column::Id.lt(older_than))
            .limit(SEARCH_PAGE)
            .all(txn)
            .await
            .map_err(failed)?;
        goes_on = rows.len() as u64 == SEARCH_PAGE;
        for row in rows {
            older_than = row.id;
            let entry = row.into_domain()?;
            let (change, limit) = changes(account, &entry);
            if !search.step(entry, change, limit) {
                goes_on = false;
                break;
            }
        }
    }
    Ok(watch.crossed(search, now))
}

fn watch(account: &account::Model, total: Amounts, limits: Amounts) -> Result<Watch, StoreError> {
    let armed = Dimensions::from_bits(account.armed);
    Ok(Watch::new(
        account.owner()?,
        account.thresholds(),
        armed,
        total,
        limits,
    ))
}

/// The limits before a decision on a budget; zero for a wallet.
fn limits_before(decision: &Decision) -> Option<Amounts> {
    let after = decision
        .budget
        .as_ref()
        .map_or(Amounts::ZERO, BudgetRecord::limits);
    let legs = decision.entries.iter().filter_map(|entry| entry.budget);
    legs.map(|legs| legs.limit)
        .try_fold(after, Amounts::checked_sub)
        .ok()
}

/// The id of the account's newest entry.
async fn newest(
    txn: &DatabaseTransaction,
    account: &account::Model,
) -> Result<Option<i64>, StoreError> {
    ledger::Entity::newest_of_account(account, 0)
        .select_only()
        .column(ledger::Column::Id)
        .limit(1)
        .into_tuple()
        .one(txn)
        .await
        .map_err(failed)
}
