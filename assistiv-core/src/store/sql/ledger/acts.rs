//! Administrative acts: effect, entries and the stored outcome in one transaction.

use sea_orm::{ActiveModelTrait, DatabaseTransaction, PaginatorTrait, QuerySelect, Set};

use super::write::{self, NewAccount};
use super::{account_of, refund, repeat, reset, total};
use crate::audit::Before;
use crate::auth::PlatformScope;
use crate::billing::{
    AccountKind, ActContext, ActOutcome, ActRefusal, Amounts, Applied, Blocked, BudgetState,
    Decision, Idempotency, LedgerAct, WalletState, decide_budget, decide_wallet,
};
use crate::clock::Timestamp;
use crate::id::{AccountId, EndUserId};
use crate::money::NanoUsd;
use crate::store::StoreError;
use crate::store::sql::audit::record;
use crate::store::sql::entities::{account, budget, end_user, idempotency, wallet};
use crate::store::sql::error::{corrupt, failed};
use crate::store::sql::tenancy::lock_end_user;
use crate::store::sql::{SqlStore, commit};
use crate::tenancy::EndUserRef;

/// Why an act has no effect. The transaction must be dropped.
pub(in crate::store::sql) enum Failure {
    /// The rules are against it.
    Refused(ActRefusal),
    /// The store cannot do it.
    Store(StoreError),
}

impl From<ActRefusal> for Failure {
    fn from(refusal: ActRefusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// What was done, and on which accounts.
pub(in crate::store::sql) struct Done {
    /// What the act did.
    pub(in crate::store::sql) outcome: ActOutcome,
    /// The account it is about.
    pub(in crate::store::sql) account: AccountId,
    /// The wallet's account, when an act on a budget moved it, too.
    pub(in crate::store::sql) wallet_account: Option<AccountId>,
    /// The message to other nodes.
    pub(in crate::store::sql) control: Option<i64>,
    /// What stood before, for the audit log.
    pub(in crate::store::sql) before: Before,
}

/// Performs an act, or finds what it did when it was performed before.
pub(super) async fn apply(
    store: &SqlStore,
    scope: &PlatformScope,
    act: &LedgerAct,
    context: &ActContext,
    request: Option<Idempotency>,
) -> Result<Result<Applied, ActRefusal>, StoreError> {
    let txn = store.begin_write().await?;
    match apply_in(&txn, scope, act, context, request.as_ref(), store.now()).await {
        Ok(applied) => {
            commit(txn).await?;
            Ok(Ok(applied))
        }
        Err(Failure::Refused(refusal)) => Ok(Err(refusal)),
        Err(Failure::Store(error)) => Err(error),
    }
}

async fn apply_in(
    txn: &DatabaseTransaction,
    scope: &PlatformScope,
    act: &LedgerAct,
    context: &ActContext,
    request: Option<&Idempotency>,
    now: Timestamp,
) -> Result<Applied, Failure> {
    require_holder(txn, scope, act).await?;
    if let Some(request) = request {
        let of_request = idempotency::Entity::of(scope, request);
        if let Some(stored) = repeat::claim(txn, of_request, request, context.uid, now).await? {
            return replay(&stored).map_err(Failure::Store);
        }
    }
    let done = perform(txn, scope, act, context, now).await?;
    if let Some(entry) = done.before.entry(scope, act, &done.outcome, now) {
        record(txn, entry).await?;
    }
    if let Some(request) = request {
        let body = serde_json::to_string(&done.outcome)
            .map_err(|_| corrupt("an outcome that cannot be written"))?;
        repeat::keep(txn, request, body, Some(done.account)).await?;
    }
    Ok(Applied {
        outcome: done.outcome,
        replayed: false,
        account: Some(done.account),
        wallet_account: done.wallet_account,
        control: done.control,
    })
}

fn replay(stored: &idempotency::Model) -> Result<Applied, StoreError> {
    let outcome =
        serde_json::from_str(&stored.body).map_err(|_| corrupt("billing_idempotency.body"))?;
    Ok(Applied {
        outcome,
        replayed: true,
        account: stored.account_id.map(AccountId),
        wallet_account: None,
        control: None,
    })
}

/// A repeat of an act has no outcome either when the platform or the end user is gone.
async fn require_holder(
    txn: &DatabaseTransaction,
    scope: &PlatformScope,
    act: &LedgerAct,
) -> Result<(), StoreError> {
    let exists = match act.end_user() {
        None => wallet::Entity::of(scope).count(txn).await,
        Some(id) => {
            let of_platform = end_user::Entity::one_of(scope, &EndUserRef::Id(id));
            of_platform.count(txn).await
        }
    };
    if exists.map_err(failed)? == 0 {
        return Err(StoreError::NotFound);
    }
    Ok(())
}

/// Performs an act in the caller's transaction.
pub(in crate::store::sql) async fn perform(
    txn: &DatabaseTransaction,
    scope: &PlatformScope,
    act: &LedgerAct,
    context: &ActContext,
    now: Timestamp,
) -> Result<Done, Failure> {
    match act {
        LedgerAct::RefundDebit {
            end_user,
            debit,
            refund,
        } => refund::of_debit(txn, scope, *end_user, *debit, *refund, context, now).await,
        _ => match act.end_user() {
            None => on_wallet(txn, scope, act, context, now).await,
            Some(end_user) => on_budget(txn, scope, end_user, act, context, now).await,
        },
    }
}

async fn on_wallet(
    txn: &DatabaseTransaction,
    scope: &PlatformScope,
    act: &LedgerAct,
    context: &ActContext,
    now: Timestamp,
) -> Result<Done, Failure> {
    let row = wallet::Entity::of(scope)
        .lock_exclusive()
        .one(txn)
        .await
        .map_err(failed)?;
    let mut row = row.ok_or(StoreError::NotFound)?;
    let id = AccountId(row.account_id);
    let mut account = account_of(txn, account::Entity::one_of(scope, id).lock_exclusive()).await?;
    let before = total(txn, &account).await?;
    let state = WalletState {
        balance: before.usd,
        free: account.free().usd,
    };
    let decision = decide_wallet(act, context, scope.platform_id(), id, state, now)?;
    let was = row.clone().with_balance(before.usd);
    if let Some(threshold) = decision.wallet_threshold {
        let changed = wallet::ActiveModel {
            id: Set(row.id),
            low_balance_threshold: Set(threshold.map(NanoUsd::get)),
            version: Set(row.version + 1),
            updated_at: Set(now.as_micros()),
            ..Default::default()
        };
        row = changed.update(txn).await.map_err(failed)?;
    }
    let control = write::decision(txn, &mut account, before, &decision, now).await?;
    let after = plus(before, &decision)?;
    let entries = decision.posted(before);
    Ok(Done {
        outcome: ActOutcome {
            wallet: Some(row.with_balance(after.usd)),
            budget: None,
            entries,
        },
        account: id,
        wallet_account: None,
        control,
        before: Before {
            budget: None,
            wallet: Some(was),
        },
    })
}

async fn on_budget(
    txn: &DatabaseTransaction,
    scope: &PlatformScope,
    end_user: EndUserId,
    act: &LedgerAct,
    context: &ActContext,
    now: Timestamp,
) -> Result<Done, Failure> {
    lock_end_user(txn, scope, end_user).await?;
    let of_user = budget::Entity::of_end_user(scope, end_user).lock_exclusive();
    let Some(mut row) = of_user.one(txn).await.map_err(failed)? else {
        return on_missing_budget(txn, scope, act, context, now).await;
    };
    let id = AccountId(row.account_id);
    let mut account = account_of(txn, account::Entity::one_of(scope, id).lock_exclusive()).await?;
    if let Some(reset) = reset::apply_due(txn, &row, &mut account, now).await? {
        row = reset;
    }
    let record = row.to_domain()?;
    let state = BudgetState {
        record: Some(&record),
        remaining: total(txn, &account).await?,
    };
    let decision = decide_budget(act, context, scope.platform_id(), &state, || id, now)?;
    write_budget(
        txn,
        Some(&row),
        &mut account,
        state.remaining,
        &decision,
        now,
    )
    .await
}

/// An act on a budget that never was: only one that makes it has an effect.
async fn on_missing_budget(
    txn: &DatabaseTransaction,
    scope: &PlatformScope,
    act: &LedgerAct,
    context: &ActContext,
    now: Timestamp,
) -> Result<Done, Failure> {
    let LedgerAct::CreateBudget { budget, .. } = act else {
        return Err(ActRefusal::BudgetNotFound.into());
    };
    // The account is needed before the act is decided; a refusal undoes it with everything else.
    let new = NewAccount {
        kind: AccountKind::Budget,
        platform: scope.platform_id(),
        owner: budget.id.as_uuid(),
        enforce: budget.terms.limits.enforced(),
        blocked: Blocked::No,
        period_end: None,
    };
    let mut account = new.insert(txn, now).await?;
    let id = AccountId(account.id);
    let state = BudgetState {
        record: None,
        remaining: account.free(),
    };
    let decision = decide_budget(act, context, scope.platform_id(), &state, || id, now)?;
    write_budget(txn, None, &mut account, Amounts::ZERO, &decision, now).await
}

pub(super) async fn write_budget(
    txn: &DatabaseTransaction,
    old: Option<&budget::Model>,
    account: &mut account::Model,
    before: Amounts,
    decision: &Decision,
    now: Timestamp,
) -> Result<Done, Failure> {
    let control = write::decision(txn, account, before, decision, now).await?;
    write::budget(txn, old, decision).await?;
    let after = plus(before, decision)?;
    let budget = decision
        .budget
        .as_ref()
        .map(|record| record.with_remaining(after));
    Ok(Done {
        outcome: ActOutcome {
            wallet: None,
            budget,
            entries: decision.posted(before),
        },
        account: AccountId(account.id),
        wallet_account: None,
        control,
        before: Before {
            budget: old.map(budget::Model::to_domain).transpose()?,
            wallet: None,
        },
    })
}

/// What stands on the account after the decision. Not read again: a settlement may have committed
/// meanwhile, and the outcome is to agree with its own entries.
fn plus(before: Amounts, decision: &Decision) -> Result<Amounts, StoreError> {
    before
        .checked_add(decision.free_change)
        .map_err(|_| corrupt("an account left its range"))
}
