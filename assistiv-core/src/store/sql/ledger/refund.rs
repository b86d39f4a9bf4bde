//! Refunds: one entry on two accounts, both locked.

use sea_orm::{ColumnTrait, DatabaseTransaction, QueryFilter, QueryOrder, QuerySelect};

use super::acts::{self, Done, Failure};
use super::{rerate, reset, total, write};
use crate::auth::PlatformScope;
use crate::billing::{
    ActContext, ActRefusal, Amounts, LedgerEntry, Refund, RefundState, decide_refund,
};
use crate::clock::Timestamp;
use crate::id::{AccountId, EndUserId, EntryId};
use crate::money::NanoUsd;
use crate::store::StoreError;
use crate::store::sql::entities::{account, budget, ledger};
use crate::store::sql::error::{corrupt, failed};
use crate::store::sql::tenancy::lock_end_user;

/// Gives back a debit or charge of an end user's budget.
pub(super) async fn of_debit(
    txn: &DatabaseTransaction,
    scope: &PlatformScope,
    end_user: EndUserId,
    debit: EntryId,
    refund: Refund,
    context: &ActContext,
    now: Timestamp,
) -> Result<Done, Failure> {
    lock_end_user(txn, scope, end_user).await?;
    let row = ledger::Entity::of(scope)
        .filter(ledger::Column::Uid.eq(debit.as_uuid()))
        .filter(ledger::Column::EndUserId.eq(end_user.as_uuid()))
        .filter(ledger::Column::BudgetAccountId.is_not_null())
        .one(txn)
        .await
        .map_err(failed)?;
    let debit = row.ok_or(ActRefusal::TransactionNotFound)?.into_domain()?;
    let given = give_back(txn, scope, &debit, refund, context, now).await?;
    given.done.ok_or(ActRefusal::TransactionNotFound.into())
}

/// What a refund did.
pub(super) struct Given {
    /// The accounts that it moved.
    pub(super) accounts: Vec<AccountId>,
    /// The outcome for the holder of the budget, where there is one.
    pub(super) done: Option<Done>,
}

/// Gives back a charge, after a reset that is due, under the locks of budget, wallet account and budget account.
pub(super) async fn give_back(
    txn: &DatabaseTransaction,
    scope: &PlatformScope,
    debit: &LedgerEntry,
    refund: Refund,
    context: &ActContext,
    now: Timestamp,
) -> Result<Given, Failure> {
    let mut row = lock_budget(txn, scope, debit).await?;
    let (mut wallet, mut budget) = lock_accounts(txn, scope, debit).await?;
    if let (Some(old), Some(budget)) = (&row, &mut budget)
        && let Some(reset) = reset::apply_due(txn, old, budget, now).await?
    {
        row = Some(reset);
    }
    let record = row.as_ref().map(budget::Model::to_domain).transpose()?;
    let before = match &budget {
        Some(budget) => total(txn, budget).await?,
        None => Amounts::ZERO,
    };
    let linked = ledger::Entity::linked_to(scope, debit.uid)
        .all(txn)
        .await
        .map_err(failed)?;
    let linked = linked
        .into_iter()
        .map(ledger::Model::into_domain)
        .collect::<Result<Vec<_>, _>>()?;
    let state = RefundState {
        debit,
        linked: &linked,
        compensated: rerate::compensated(txn, debit).await?,
        budget: record.as_ref().map(|record| (record, before)),
    };
    let decision = decide_refund(&state, refund, context, now)?;

    let mut accounts = Vec::new();
    let mut wallet_account = None;
    if let Some((id, change)) = decision.wallet_change {
        let row = wallet.as_mut().filter(|row| row.id == id.0);
        let row = row.ok_or_else(|| corrupt("a charge without its account"))?;
        row.add_free(Amounts::usd(change))?;
        write::accounts(txn, [row.clone()], now).await?;
        wallet_account = Some(id);
        accounts.push(id);
    }
    let done = match (&row, &mut budget) {
        (Some(row), Some(budget)) => {
            let done = acts::write_budget(txn, Some(row), budget, before, &decision, now).await?;
            Some(Done {
                wallet_account,
                ..done
            })
        }
        _ => {
            let account = budget.as_mut().or(wallet.as_mut());
            let account = account.ok_or_else(|| corrupt("a charge without its account"))?;
            let before = total(txn, account).await?;
            write::decision(txn, account, before, &decision, now).await?;
            accounts.push(AccountId(account.id));
            None
        }
    };
    accounts.extend(done.iter().map(|done| done.account));
    Ok(Given { accounts, done })
}

/// The budget that was charged, if it is still there.
async fn lock_budget(
    txn: &DatabaseTransaction,
    scope: &PlatformScope,
    debit: &LedgerEntry,
) -> Result<Option<budget::Model>, StoreError> {
    let Some((end_user, legs)) = debit.end_user_id.zip(debit.budget) else {
        return Ok(None);
    };
    budget::Entity::of_end_user(scope, end_user)
        .filter(budget::Column::AccountId.eq(legs.account.0))
        .lock_exclusive()
        .one(txn)
        .await
        .map_err(failed)
}

type Pair = (Option<account::Model>, Option<account::Model>);

/// The accounts of the legs: the wallet's first.
async fn lock_accounts(
    txn: &DatabaseTransaction,
    scope: &PlatformScope,
    debit: &LedgerEntry,
) -> Result<Pair, StoreError> {
    let wallet = debit
        .wallet
        .map(|(account, _): (AccountId, NanoUsd)| account.0);
    let budget = debit.budget.map(|legs| legs.account.0);
    let rows = account::Entity::of(scope)
        .filter(account::Column::Id.is_in(wallet.into_iter().chain(budget)))
        .order_by_asc(account::Column::Kind)
        .order_by_asc(account::Column::Id)
        .lock_exclusive()
        .all(txn)
        .await
        .map_err(failed)?;
    let mut pair = (None, None);
    for row in rows {
        if Some(row.id) == wallet {
            pair.0 = Some(row);
        } else {
            pair.1 = Some(row);
        }
    }
    Ok(pair)
}
