//! Wallets and budgets that are made together with their owners.

use sea_orm::{ActiveModelTrait, DatabaseTransaction, Set};

use crate::auth::PlatformScope;
use crate::billing::{
    AccountKind, ActContext, Blocked, Dimensions, LedgerAct, NewBudget, NewWallet,
};
use crate::clock::Timestamp;
use crate::id::{EndUserId, EntryId};
use crate::json::RawObject;
use crate::store::StoreError;
use crate::store::sql::entities::wallet;
use crate::store::sql::error::{conflict, corrupt};
use crate::store::sql::ledger::acts;
use crate::store::sql::ledger::write::NewAccount;

/// The wallet of a new platform, with its account and the first top-up.
pub(super) async fn wallet(
    txn: &DatabaseTransaction,
    scope: &PlatformScope,
    new: &NewWallet,
    now: Timestamp,
) -> Result<(), StoreError> {
    let account = NewAccount {
        kind: AccountKind::Wallet,
        platform: scope.platform_id(),
        owner: new.id.as_uuid(),
        enforce: Dimensions::USD,
        blocked: Blocked::No,
        period_end: None,
    };
    let account = account.insert(txn, now).await?;
    let row = wallet::ActiveModel {
        id: Set(new.id.as_uuid()),
        platform_id: Set(scope.platform_id().as_uuid()),
        account_id: Set(account.id),
        low_balance_threshold: Set(None),
        is_active: Set(true),
        version: Set(0),
        created_at: Set(now.as_micros()),
        updated_at: Set(now.as_micros()),
    };
    row.insert(txn)
        .await
        .map_err(|error| conflict(error, "wallet"))?;
    let (uid, amount) = new.opening;
    if !amount.is_zero() {
        let act = LedgerAct::TopUpWallet { amount };
        perform(txn, scope, &act, uid, now).await?;
    }
    Ok(())
}

/// The budget of a new end user, with its account and the opening entry.
pub(super) async fn budget(
    txn: &DatabaseTransaction,
    scope: &PlatformScope,
    end_user: EndUserId,
    budget: NewBudget,
    now: Timestamp,
) -> Result<(), StoreError> {
    let uid = budget.opening;
    perform(
        txn,
        scope,
        &LedgerAct::CreateBudget { end_user, budget },
        uid,
        now,
    )
    .await
}

/// Performs an act that belongs to the making of something.
async fn perform(
    txn: &DatabaseTransaction,
    scope: &PlatformScope,
    act: &LedgerAct,
    uid: EntryId,
    now: Timestamp,
) -> Result<(), StoreError> {
    let context = ActContext {
        uid,
        idempotency_key: None,
        actor: Some(scope.actor()),
        reason: None,
        metadata: RawObject::new(),
    };
    match acts::perform(txn, scope, act, &context, now).await {
        Ok(_) => Ok(()),
        Err(acts::Failure::Store(error)) => Err(error),
        // Amounts and terms were checked when they were read or set; what is refused here is not
        // theirs.
        Err(acts::Failure::Refused(refusal)) => {
            Err(corrupt(&format!("an opening act was refused: {refusal}")))
        }
    }
}
