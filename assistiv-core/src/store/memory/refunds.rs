//! Refunds: two accounts and one entry.

use super::acts::Decided;
use super::books::Books;
use crate::billing::{
    ActContext, ActOutcome, ActRefusal, Amounts, Applied, Decision, EntryKind, LedgerEntry, Refund,
    RefundState, decide_refund,
};
use crate::clock::Timestamp;
use crate::id::{AccountId, EndUserId, EntryId, PlatformId};
use crate::store::StoreError;

// === impl Books ===

impl Books {
    /// Gives back a debit or charge of an end user's budget.
    pub(super) fn refund_debit(
        &mut self,
        platform_id: PlatformId,
        end_user: EndUserId,
        debit: EntryId,
        refund: Refund,
        context: &ActContext,
        now: Timestamp,
    ) -> Decided {
        let account = self.budget_account(end_user);
        let own = |entry: &&LedgerEntry| {
            entry.platform_id == platform_id
                && entry.end_user_id == Some(end_user)
                && account.is_some_and(|id| entry.budget.is_some_and(|legs| legs.account == id))
        };
        let Some(debit) = self.entry(debit).filter(own).cloned() else {
            return Ok(Err(ActRefusal::TransactionNotFound));
        };
        let (decision, account, before) = match self.decide_refund(&debit, refund, context, now)? {
            Ok(decided) => decided,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let entries = decision.posted(before);
        let wallet_account = decision.wallet_change.map(|(account, _)| account);
        let record = decision.budget.clone().ok_or(StoreError::NotFound)?;
        let control = self.commit_act(account, decision, now)?;
        let outcome = ActOutcome {
            wallet: None,
            budget: Some(record.with_remaining(self.total(account)?)),
            entries,
        };
        Ok(Ok(Applied {
            outcome,
            replayed: false,
            account: Some(account),
            wallet_account,
            control,
        }))
    }

    /// Decides the refund of a charge, whose budget has no reset due; gives the account it is committed on and what
    /// that held before.
    pub(super) fn decide_refund(
        &self,
        debit: &LedgerEntry,
        refund: Refund,
        context: &ActContext,
        now: Timestamp,
    ) -> Result<Result<(Decision, AccountId, Amounts), ActRefusal>, StoreError> {
        let budget = debit.budget.map(|legs| legs.account);
        let account = budget.or(debit.wallet.map(|(account, _)| account));
        let account = account.ok_or(StoreError::NotFound)?;
        let before = self.total(account)?;
        let record = debit
            .end_user_id
            .and_then(|end_user| self.budgets.get(&end_user))
            .filter(|record| Some(record.account) == budget);
        let linked: Vec<LedgerEntry> = self
            .ledger()
            .iter()
            .filter(|entry| entry.refers_to == Some(debit.uid))
            .filter(|entry| matches!(entry.kind, EntryKind::Correction | EntryKind::Refund))
            .cloned()
            .collect();
        let state = RefundState {
            debit,
            linked: &linked,
            compensated: self.compensated(debit, None)?,
            budget: record.map(|record| (record, before)),
        };
        let decided = decide_refund(&state, refund, context, now);
        Ok(decided.map(|decision| (decision, account, before)))
    }
}
