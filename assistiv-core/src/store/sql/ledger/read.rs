//! Reads of wallets, budgets and charges.

use sea_orm::{ColumnTrait, QueryFilter, QuerySelect};

use super::{account_of, reset, total};
use crate::auth::{PlatformScope, SweeperScope};
use crate::billing::{Budget, EntryKind, LedgerEntry, PostedCharge, Wallet};
use crate::id::{AccountId, BudgetId, EndUserId, EntryId, ModelId, PriceId};
use crate::store::StoreError;
use crate::store::sql::SqlStore;
use crate::store::sql::entities::{account, budget, ledger, wallet};
use crate::store::sql::error::failed;

/// The platform's wallet.
pub(super) async fn wallet(store: &SqlStore, scope: &PlatformScope) -> Result<Wallet, StoreError> {
    let txn = store.begin_read().await?;
    let row = wallet::Entity::of(scope)
        .one(&txn)
        .await
        .map_err(failed)?
        .ok_or(StoreError::NotFound)?;
    let account = account_of(
        &txn,
        account::Entity::one_of(scope, AccountId(row.account_id)),
    )
    .await?;
    Ok(row.with_balance(total(&txn, &account).await?.usd))
}

/// The account of an end user's active budget.
pub(super) async fn budget_account(
    store: &SqlStore,
    scope: &PlatformScope,
    end_user: EndUserId,
) -> Result<Option<AccountId>, StoreError> {
    let active =
        budget::Entity::of_end_user(scope, end_user).filter(budget::Column::IsActive.eq(true));
    let row = active.one(store.reader()).await.map_err(failed)?;
    Ok(row.map(|row| AccountId(row.account_id)))
}

/// The id of an end user's budget, in force or not.
pub(super) async fn budget_id(
    store: &SqlStore,
    scope: &PlatformScope,
    end_user: EndUserId,
) -> Result<Option<BudgetId>, StoreError> {
    let row = budget::Entity::of_end_user(scope, end_user)
        .one(store.reader())
        .await;
    Ok(row.map_err(failed)?.map(|row| BudgetId::from_uuid(row.id)))
}

/// An end user's active budget, after a due reset.
pub(super) async fn budget(
    store: &SqlStore,
    scope: &PlatformScope,
    end_user: EndUserId,
) -> Result<Option<Budget>, StoreError> {
    loop {
        let txn = store.begin_read().await?;
        let active =
            budget::Entity::of_end_user(scope, end_user).filter(budget::Column::IsActive.eq(true));
        let Some(row) = active.one(&txn).await.map_err(failed)? else {
            return Ok(None);
        };
        let record = row.to_domain()?;
        if record.period_end.is_some_and(|end| end <= store.now()) {
            drop(txn);
            reset::reset_period(store, &SweeperScope::engine(), record.account).await?;
            continue;
        }
        let account = account_of(&txn, account::Entity::one_of(scope, record.account)).await?;
        return Ok(Some(record.with_remaining(total(&txn, &account).await?)));
    }
}

/// The entry of a call's charge.
pub(super) async fn charge(
    store: &SqlStore,
    scope: &PlatformScope,
    uid: EntryId,
) -> Result<Option<LedgerEntry>, StoreError> {
    let row = ledger::Entity::of(scope)
        .filter(ledger::Column::Uid.eq(uid.as_uuid()))
        .filter(ledger::Column::Kind.eq(EntryKind::Charge as i16))
        .one(store.reader())
        .await
        .map_err(failed)?;
    row.map(ledger::Model::into_domain).transpose()
}

/// Charges behind a number, in the order of their numbers.
pub(super) async fn charges(
    store: &SqlStore,
    scope: &SweeperScope,
    after: i64,
    most: u32,
) -> Result<Vec<PostedCharge>, StoreError> {
    let rows = ledger::Entity::charges_after(scope, after)
        .limit(u64::from(most))
        .all(store.reader())
        .await
        .map_err(failed)?;
    let posted = |row: ledger::Model| {
        let ids = row.model_id.zip(row.price_id);
        Ok(PostedCharge {
            number: row.id,
            priced: ids
                .map(|(model, price)| (ModelId::from_uuid(model), PriceId::from_uuid(price))),
            entry: row.into_domain()?,
        })
    };
    rows.into_iter().map(posted).collect()
}
