//! Thresholds of accounts, and the debits that crossed them.

use super::books::{Books, legs_on};
use crate::billing::{Amounts, BudgetRecord, Watch};
use crate::clock::Timestamp;
use crate::events::Owner;
use crate::id::AccountId;
use crate::store::StoreError;

impl Books {
    /// Tells of the debits that crossed thresholds of an account since its last act; gives the thresholds, or `None`
    /// when nobody owns the account.
    pub(super) fn check_thresholds(
        &mut self,
        id: AccountId,
        now: Timestamp,
    ) -> Result<Option<Watch>, StoreError> {
        let Some(mut watch) = self.watch(id)? else {
            return Ok(None);
        };
        let account = self.account(id)?;
        let mut search = watch.search();
        if watch.is_low() {
            for position in account.entries[account.seen..].iter().rev() {
                let entry = &self.ledger()[*position];
                let (change, limit) = legs_on(entry, id);
                if !search.step(entry.clone(), change, limit) {
                    break;
                }
            }
        }
        let events = watch.crossed(search, now);
        self.outbox.add(events);
        if let Some(account) = self.accounts.get_mut(&id) {
            account.armed = watch.armed();
        }
        Ok(Some(watch))
    }

    fn watch(&self, id: AccountId) -> Result<Option<Watch>, StoreError> {
        let (Some(account), Some(owner)) = (self.accounts.get(&id), self.owner(id)) else {
            return Ok(None);
        };
        let record = account
            .end_user
            .and_then(|end_user| self.budgets.get(&end_user));
        let limits = record.map_or(Amounts::ZERO, BudgetRecord::limits);
        let thresholds = account.policy.thresholds;
        let total = account.total()?;
        Ok(Some(Watch::new(
            owner,
            thresholds,
            account.armed,
            total,
            limits,
        )))
    }

    /// Whose an account is; `None` when its owner is gone.
    pub(super) fn owner(&self, id: AccountId) -> Option<Owner> {
        let account = self.accounts.get(&id)?;
        match account.end_user {
            Some(end_user) => Some(self.budgets.get(&end_user)?.owner()),
            None => Some(Owner::Wallet(
                self.wallets.get(&account.platform_id)?.wallet.id,
            )),
        }
    }
}
