//! Acts on wallets and budgets: the shared rules decide, the books are written.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::books::{Books, WalletRow};
use crate::auth::Actor;
use crate::billing::{
    ActContext, ActOutcome, ActRefusal, Amounts, Applied, Budget, BudgetRecord, BudgetState,
    Idempotency, LedgerAct, NewBudget, NewWallet, Wallet, WalletState, decide_budget,
    decide_wallet,
};
use crate::clock::Timestamp;
use crate::id::{AccountId, EndUserId, EntryId, PlatformId};
use crate::json::RawObject;
use crate::money::NanoUsd;
use crate::store::StoreError;

/// What an act did, for repeats of its request.
pub(super) struct StoredOutcome {
    request_hash: [u8; 32],
    /// As text, which is how a database keeps it.
    body: String,
    account: Option<AccountId>,
}

pub(super) type Decided = Result<Result<Applied, ActRefusal>, StoreError>;

// === impl Books ===

impl Books {
    /// Performs an act once for each idempotency scope. Its end user was checked to be the
    /// platform's, and a reset that is due was applied before.
    pub(super) fn apply(
        &mut self,
        platform_id: PlatformId,
        act: &LedgerAct,
        context: &ActContext,
        idempotency: Option<Idempotency>,
        now: Timestamp,
    ) -> Decided {
        match self.stored(idempotency) {
            Ok(Some(stored)) => return stored.replay().map(Ok),
            Ok(None) => {}
            Err(refusal) => return Ok(Err(refusal)),
        }
        let result = match act {
            LedgerAct::RefundDebit {
                end_user,
                debit,
                refund,
            } => self.refund_debit(platform_id, *end_user, *debit, *refund, context, now),
            _ => match act.end_user() {
                None => self.act_on_wallet(platform_id, act, context, now),
                Some(end_user) => self.act_on_budget(platform_id, end_user, act, context, now),
            },
        };
        if let Ok(Ok(applied)) = &result {
            self.keep(idempotency, &applied.outcome, applied.account)?;
        }
        result
    }

    /// What an earlier request with this key did.
    pub(super) fn stored(
        &self,
        idempotency: Option<Idempotency>,
    ) -> Result<Option<&StoredOutcome>, ActRefusal> {
        let Some(key) = idempotency else {
            return Ok(None);
        };
        match self.outcomes.get(&key.scope_hash) {
            Some(stored) if stored.request_hash != key.request_hash => Err(ActRefusal::KeyReused),
            stored => Ok(stored),
        }
    }

    /// Keeps what a request did, for its repeats.
    pub(super) fn keep(
        &mut self,
        idempotency: Option<Idempotency>,
        outcome: &impl Serialize,
        account: Option<AccountId>,
    ) -> Result<(), StoreError> {
        if let Some(key) = idempotency {
            let body = serde_json::to_string(outcome)
                .map_err(|_| StoreError::Corrupt("an outcome that cannot be written".to_owned()))?;
            let stored = StoredOutcome {
                request_hash: key.request_hash,
                body,
                account,
            };
            self.outcomes.insert(key.scope_hash, stored);
        }
        Ok(())
    }

    /// Makes a platform's wallet with its account and first top-up.
    pub(super) fn open_wallet(
        &mut self,
        platform_id: PlatformId,
        new: &NewWallet,
        actor: Actor,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let account = self.next_account();
        let (uid, amount) = new.opening;
        let decision = if amount.is_zero() {
            None
        } else {
            let act = LedgerAct::TopUpWallet { amount };
            let context = plain_context(uid, actor);
            let empty = WalletState::default();
            let decision = decide_wallet(&act, &context, platform_id, account, empty, now);
            Some(decision.map_err(refused)?)
        };
        self.check_unposted(decision.iter().flat_map(|decision| &decision.entries))?;
        let wallet = Wallet {
            id: new.id,
            platform_id,
            balance: NanoUsd::ZERO,
            low_balance_threshold: None,
            is_active: true,
            created_at: now,
            updated_at: now,
        };
        self.open_account(account, platform_id, None, WalletRow::policy());
        self.wallets
            .insert(platform_id, WalletRow { account, wallet });
        decision.map_or(Ok(()), |decision| self.commit(account, decision, now))
    }

    /// Makes the first budget of an end user.
    pub(super) fn open_budget(
        &mut self,
        platform_id: PlatformId,
        end_user: EndUserId,
        new: &NewBudget,
        actor: Actor,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let act = LedgerAct::CreateBudget {
            end_user,
            budget: new.clone(),
        };
        let context = plain_context(new.opening, actor);
        let made = self.act_on_budget(platform_id, end_user, &act, &context, now)?;
        made.map(|_| ()).map_err(refused)
    }

    /// An end user's active budget. A reset that is due was applied before.
    pub(super) fn budget(&self, end_user: EndUserId) -> Result<Option<Budget>, StoreError> {
        let Some(record) = self
            .budgets
            .get(&end_user)
            .filter(|record| record.is_active)
        else {
            return Ok(None);
        };
        Ok(Some(record.with_remaining(self.total(record.account)?)))
    }

    /// What is stored of an end user's budget.
    pub(super) fn record_of(&self, end_user: EndUserId) -> Option<BudgetRecord> {
        self.budgets.get(&end_user).cloned()
    }

    fn act_on_wallet(
        &mut self,
        platform_id: PlatformId,
        act: &LedgerAct,
        context: &ActContext,
        now: Timestamp,
    ) -> Decided {
        let account = self
            .wallet_account(platform_id)
            .ok_or(StoreError::NotFound)?;
        let before = self.total(account)?;
        let state = WalletState {
            balance: before.usd,
            free: self.account(account)?.free.usd,
        };
        let decision = match decide_wallet(act, context, platform_id, account, state, now) {
            Ok(decision) => decision,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let entries = decision.posted(before);
        let control = self.commit_act(account, decision, now)?;
        let wallet = Some(self.wallet(platform_id)?);
        let outcome = ActOutcome {
            wallet,
            budget: None,
            entries,
        };
        Ok(Ok(Applied {
            outcome,
            replayed: false,
            account: Some(account),
            wallet_account: None,
            control,
        }))
    }

    fn act_on_budget(
        &mut self,
        platform_id: PlatformId,
        end_user: EndUserId,
        act: &LedgerAct,
        context: &ActContext,
        now: Timestamp,
    ) -> Decided {
        let record = self.budgets.get(&end_user);
        let remaining = match record {
            Some(record) => self.total(record.account)?,
            None => Amounts::ZERO,
        };
        let state = BudgetState { record, remaining };
        let new_account = || self.next_account();
        let decided = decide_budget(act, context, platform_id, &state, new_account, now);
        let decision = match decided {
            Ok(decision) => decision,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let entries = decision.posted(remaining);
        let record = decision.budget.clone().ok_or(StoreError::NotFound)?;
        let control = self.commit_act(record.account, decision, now)?;
        let budget = Some(record.with_remaining(self.total(record.account)?));
        let outcome = ActOutcome {
            wallet: None,
            budget,
            entries,
        };
        Ok(Ok(Applied {
            outcome,
            replayed: false,
            account: Some(record.account),
            wallet_account: None,
            control,
        }))
    }
}

// === impl StoredOutcome ===

impl StoredOutcome {
    /// The outcome that was kept.
    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, StoreError> {
        serde_json::from_str(&self.body)
            .map_err(|_| StoreError::Corrupt("a stored outcome".to_owned()))
    }

    fn replay(&self) -> Result<Applied, StoreError> {
        Ok(Applied {
            outcome: self.read()?,
            replayed: true,
            account: self.account,
            wallet_account: None,
            control: None,
        })
    }
}

/// What is made together with a platform or an end user has nothing of a request of its own.
fn plain_context(uid: EntryId, actor: Actor) -> ActContext {
    ActContext {
        uid,
        idempotency_key: None,
        actor: Some(actor),
        reason: None,
        metadata: RawObject::new(),
    }
}

/// Opening amounts are checked before they reach a store; one that the rules refuse cannot be kept.
fn refused(refusal: ActRefusal) -> StoreError {
    StoreError::Corrupt(refusal.to_string())
}
