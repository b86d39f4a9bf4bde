//! Accounts and the ledger.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::acts::StoredOutcome;
use super::controls::Controls;
use super::events::Outbox;
use super::prices::{Compensations, Reratings};
use crate::billing::{
    AccountAudit, AccountKind, AccountPolicy, Amounts, Blocked, BudgetRecord, ControlOp, Decision,
    Dimensions, DisplayReset, LedgerEntry, Limits, Overflow, Unconfirmed, Wallet, Watch,
    decide_reset,
};
use crate::clock::Timestamp;
use crate::id::{AccountId, EndUserId, EntryId, NodeId, PlatformId};
use crate::money::NanoUsd;
use crate::store::StoreError;

/// Every balance and what it came from.
#[derive(Default)]
pub(super) struct Books {
    pub(super) accounts: BTreeMap<AccountId, Account>,
    pub(super) wallets: HashMap<PlatformId, WalletRow>,
    pub(super) budgets: HashMap<EndUserId, BudgetRecord>,
    pub(super) outcomes: HashMap<[u8; 32], StoredOutcome>,
    pub(super) outbox: Outbox,
    pub(super) controls: Controls,
    /// Charges whose delivery cannot be proved.
    pub(super) unconfirmed: BTreeMap<EntryId, Unconfirmed>,
    pub(super) compensations: Compensations,
    pub(super) reratings: Reratings,
    ledger: Vec<LedgerEntry>,
    positions: HashMap<EntryId, usize>,
}

/// What a balance is counted in.
pub(super) struct Account {
    pub(super) platform_id: PlatformId,
    /// Whose budget it is; `None` for a wallet.
    pub(super) end_user: Option<EndUserId>,
    pub(super) policy: AccountPolicy,
    pub(super) free: Amounts,
    pub(super) slots: BTreeMap<NodeId, Amounts>,
    /// The thresholds that the next debit may cross.
    pub(super) armed: Dimensions,
    /// How many of its entries no search for a crossed threshold goes back to.
    pub(super) seen: usize,
    /// Positions of its entries in the ledger.
    pub(super) entries: Vec<usize>,
}

/// A wallet without its balance, which its account holds.
pub(super) struct WalletRow {
    pub(super) account: AccountId,
    pub(super) wallet: Wallet,
}

// === impl Books ===

impl Books {
    pub(super) fn wallet_account(&self, platform_id: PlatformId) -> Option<AccountId> {
        self.wallets.get(&platform_id).map(|row| row.account)
    }

    pub(super) fn budget_account(&self, end_user: EndUserId) -> Option<AccountId> {
        self.budgets.get(&end_user).map(|record| record.account)
    }

    pub(super) fn next_account(&self) -> AccountId {
        AccountId(self.accounts.last_key_value().map_or(1, |(id, _)| id.0 + 1))
    }

    pub(super) fn account(&self, id: AccountId) -> Result<&Account, StoreError> {
        self.accounts.get(&id).ok_or(StoreError::NotFound)
    }

    /// Free part and slots of an account; nothing for one that is not there.
    pub(super) fn total(&self, id: AccountId) -> Result<Amounts, StoreError> {
        self.accounts
            .get(&id)
            .map_or(Ok(Amounts::ZERO), Account::total)
    }

    pub(super) fn entry(&self, uid: EntryId) -> Option<&LedgerEntry> {
        self.positions
            .get(&uid)
            .map(|position| &self.ledger[*position])
    }

    /// All entries, in ledger order.
    pub(super) fn ledger(&self) -> &[LedgerEntry] {
        &self.ledger
    }

    /// Refuses entries of which one is in the ledger already, or stands twice among them.
    pub(super) fn check_unposted<'a>(
        &self,
        entries: impl IntoIterator<Item = &'a LedgerEntry>,
    ) -> Result<(), StoreError> {
        let mut seen = HashSet::new();
        let known = |entry: &LedgerEntry| {
            self.positions.contains_key(&entry.uid) || !seen.insert(entry.uid)
        };
        if entries.into_iter().any(known) {
            return Err(StoreError::Conflict("ledger entry"));
        }
        Ok(())
    }

    /// Appends an entry that was checked to be new.
    pub(super) fn post(&mut self, entry: LedgerEntry) {
        let position = self.ledger.len();
        let wallet = entry.wallet.map(|(account, _)| account);
        let budget = entry.budget.map(|legs| legs.account);
        for account in wallet.into_iter().chain(budget) {
            if let Some(account) = self.accounts.get_mut(&account) {
                account.entries.push(position);
            }
        }
        self.positions.insert(entry.uid, position);
        self.ledger.push(entry);
    }

    /// Makes an account without any balance.
    pub(super) fn open_account(
        &mut self,
        id: AccountId,
        platform_id: PlatformId,
        end_user: Option<EndUserId>,
        policy: AccountPolicy,
    ) {
        let account = Account {
            platform_id,
            end_user,
            policy,
            free: Amounts::ZERO,
            slots: BTreeMap::new(),
            armed: Dimensions::WATCHED,
            seen: 0,
            entries: Vec::new(),
        };
        self.accounts.insert(id, account);
    }

    /// Writes what was decided on an account, and tells other nodes; returns the number of the
    /// message, if there is something to tell.
    pub(super) fn commit_act(
        &mut self,
        id: AccountId,
        decision: Decision,
        now: Timestamp,
    ) -> Result<Option<i64>, StoreError> {
        let policy = |books: &Self| books.accounts.get(&id).map(|account| account.policy);
        let before = policy(self);
        self.commit(id, decision.clone(), now)?;
        let account = self.account(id)?;
        let changed = before != policy(self);
        let op = decision.announces(changed, account.policy.enforce, account.free);
        Ok(op.map(|op| self.controls.send(id, op, now)))
    }

    /// Writes what was decided on an account: rows, free part, policy and entries, or nothing.
    pub(super) fn commit(
        &mut self,
        id: AccountId,
        decision: Decision,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.check_unposted(&decision.entries)?;
        let before = self
            .accounts
            .get(&id)
            .map_or(Amounts::ZERO, |account| account.free);
        let free = before
            .checked_add(decision.free_change)
            .map_err(out_of_range)?;
        let wallet = match decision.wallet_change {
            Some((wallet, change)) => {
                let free = self.account(wallet)?.free;
                let free = free
                    .checked_add(Amounts::usd(change))
                    .map_err(out_of_range)?;
                Some((wallet, free))
            }
            None => None,
        };
        let mut watch = self.check_thresholds(id, now)?;

        if let Some(record) = decision.budget {
            let policy = policy_of(&record);
            match self.accounts.get_mut(&id) {
                Some(account) => account.policy = policy,
                None => {
                    self.open_account(id, record.platform_id, Some(record.end_user_id), policy);
                }
            }
            self.budgets.insert(record.end_user_id, record);
        }
        let Some(account) = self.accounts.get_mut(&id) else {
            return Err(StoreError::NotFound);
        };
        account.free = free;
        if let Some((wallet, free)) = wallet
            && let Some(account) = self.accounts.get_mut(&wallet)
        {
            account.free = free;
        }
        let Some(account) = self.accounts.get_mut(&id) else {
            return Err(StoreError::NotFound);
        };
        if let Some(threshold) = decision.wallet_threshold
            && let Some(row) = self.wallets.get_mut(&account.platform_id)
        {
            row.wallet.low_balance_threshold = threshold;
            row.wallet.updated_at = now;
            account.policy.thresholds.usd = threshold;
        }
        let thresholds = account.policy.thresholds;
        account.seen = account.entries.len();
        if let Some(owner) = self.owner(id) {
            let armed = Dimensions::WATCHED;
            let none = Amounts::ZERO;
            watch
                .get_or_insert_with(|| Watch::new(owner, thresholds, armed, none, none))
                .now_at(owner, thresholds);
        }
        for entry in decision.entries {
            if let Some(watch) = &mut watch {
                self.outbox.add(watch.note(&entry, now));
            }
            self.post(entry);
        }
        if let Some((watch, account)) = watch.zip(self.accounts.get_mut(&id)) {
            account.armed = watch.armed();
        }
        Ok(())
    }

    /// Applies a due reset of an end user's budget; says whether one was due.
    pub(super) fn reset(
        &mut self,
        end_user: EndUserId,
        display: DisplayReset,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        // A budget that is out of force waits: it starts afresh when it is made again.
        let Some(record) = self
            .budgets
            .get(&end_user)
            .filter(|record| record.is_active)
        else {
            return Ok(false);
        };
        let account = record.account;
        let used_since = |boundary| self.used_since(account, boundary);
        let decision = decide_reset(record, self.total(account)?, used_since, display, now);
        match decision {
            Some(decision) => self.commit(account, decision, now).map(|()| true),
            None => Ok(false),
        }
    }

    /// What entries since `boundary` used, less those that set limits and used figures anew.
    fn used_since(&self, account: AccountId, boundary: Timestamp) -> Amounts {
        use crate::billing::EntryKind::{OpeningBalance, PeriodReset};
        let counts = |entry: &&LedgerEntry| {
            entry.created_at >= boundary && !matches!(entry.kind, OpeningBalance | PeriodReset)
        };
        let used = |sum: Amounts, entry: &LedgerEntry| {
            let (remaining, limit) = legs_on(entry, account);
            sum.checked_add(limit)
                .and_then(|sum| sum.checked_sub(remaining))
                .unwrap_or(sum)
        };
        self.entries_of(account)
            .filter(counts)
            .fold(Amounts::ZERO, used)
    }

    /// An account's entries in ledger order.
    pub(super) fn entries_of(&self, account: AccountId) -> impl Iterator<Item = &LedgerEntry> {
        let positions = self
            .accounts
            .get(&account)
            .map(|account| account.entries.as_slice());
        positions
            .unwrap_or_default()
            .iter()
            .map(|position| &self.ledger[*position])
    }

    pub(super) fn wallet(&self, platform_id: PlatformId) -> Result<Wallet, StoreError> {
        let row = self.wallets.get(&platform_id).ok_or(StoreError::NotFound)?;
        Ok(Wallet {
            balance: self.total(row.account)?.usd,
            ..row.wallet.clone()
        })
    }

    /// The sums of every account; `open_streams` counts what is still delivered on it.
    pub(super) fn audit(
        &self,
        open_streams: impl Fn(AccountId) -> u64,
    ) -> Result<Vec<AccountAudit>, StoreError> {
        let audit = |(id, account): (&AccountId, &Account)| {
            let mut ledger = Amounts::ZERO;
            let mut ledger_limits = Amounts::ZERO;
            for entry in self.entries_of(*id) {
                let (remaining, limit) = legs_on(entry, *id);
                ledger = ledger.checked_add(remaining).map_err(out_of_range)?;
                ledger_limits = ledger_limits.checked_add(limit).map_err(out_of_range)?;
            }
            let record = account
                .end_user
                .and_then(|end_user| self.budgets.get(&end_user));
            Ok(AccountAudit {
                account: *id,
                kind: account.policy.kind,
                platform_id: account.platform_id,
                free: account.free,
                slots: account.slot_sum()?,
                ledger,
                ledger_limits,
                // A budget that was deleted has no row left to disagree with its entries.
                limits: record.map_or(ledger_limits, BudgetRecord::limits),
                open_streams: open_streams(*id),
            })
        };
        self.accounts.iter().map(audit).collect()
    }

    /// Removes a platform's wallet and budgets; their accounts stay with the ledger.
    pub(super) fn close_platform(&mut self, platform_id: PlatformId, now: Timestamp) {
        self.wallets.remove(&platform_id);
        self.budgets
            .retain(|_, record| record.platform_id != platform_id);
        let own = self.accounts.iter_mut();
        for (id, account) in own.filter(|(_, account)| account.platform_id == platform_id) {
            account.close();
            // Without the wallet nothing is paid: there is no need to tell of every budget.
            if account.policy.kind == AccountKind::Wallet {
                self.controls.send(*id, ControlOp::Policy, now);
            }
        }
    }

    /// Removes an end user's budget; its account stays with the ledger.
    pub(super) fn close_budget(&mut self, end_user: EndUserId, now: Timestamp) {
        let Some(record) = self.budgets.remove(&end_user) else {
            return;
        };
        if let Some(account) = self.accounts.get_mut(&record.account) {
            account.close();
            self.controls.send(record.account, ControlOp::Policy, now);
        }
    }

    /// Accounts of active budgets whose period is over, the oldest boundary first.
    pub(super) fn due(&self, now: Timestamp) -> Vec<AccountId> {
        let mut due: Vec<_> = self
            .budgets
            .values()
            .filter(|record| record.is_active)
            .filter_map(|record| Some((record.period_end?, record.account)))
            .filter(|(end, _)| *end <= now)
            .collect();
        due.sort_unstable();
        due.into_iter().map(|(_, account)| account).collect()
    }
}

// === impl Account ===

impl Account {
    pub(super) fn slot(&self, node: NodeId) -> Amounts {
        self.slots.get(&node).copied().unwrap_or_default()
    }

    /// Whether a period reset must come before anything else.
    pub(super) fn reset_due(&self, now: Timestamp) -> bool {
        self.policy.period_end.is_some_and(|end| end <= now)
    }

    fn slot_sum(&self) -> Result<Amounts, StoreError> {
        let mut slots = self.slots.values();
        slots
            .try_fold(Amounts::ZERO, |sum, slot| sum.checked_add(*slot))
            .map_err(out_of_range)
    }

    /// What other nodes than this one hold.
    pub(super) fn slots_except(&self, node: NodeId) -> Result<Amounts, Overflow> {
        let others = self.slots.iter().filter(|(id, _)| **id != node);
        others
            .map(|(_, slot)| *slot)
            .try_fold(Amounts::ZERO, Amounts::checked_add)
    }

    pub(super) fn total(&self) -> Result<Amounts, StoreError> {
        self.free
            .checked_add(self.slot_sum()?)
            .map_err(out_of_range)
    }

    fn close(&mut self) {
        self.policy.blocked = Blocked::Inactive;
        self.policy.period_end = None;
        self.policy.thresholds = Limits::default();
    }
}

// === impl WalletRow ===

impl WalletRow {
    pub(super) fn policy() -> AccountPolicy {
        AccountPolicy {
            kind: AccountKind::Wallet,
            enforce: Dimensions::USD,
            blocked: Blocked::No,
            period_end: None,
            thresholds: Limits::default(),
        }
    }
}

fn policy_of(record: &BudgetRecord) -> AccountPolicy {
    AccountPolicy {
        kind: AccountKind::Budget,
        enforce: record.enforced(),
        blocked: record.blocked(),
        period_end: record.period_end.filter(|_| record.is_active),
        thresholds: record.thresholds(),
    }
}

/// What an entry changes on one account: the balance, or what remains, and the limits.
pub(super) fn legs_on(entry: &LedgerEntry, account: AccountId) -> (Amounts, Amounts) {
    match (entry.wallet, &entry.budget) {
        (Some((wallet, usd)), _) if wallet == account => (Amounts::usd(usd), Amounts::ZERO),
        (_, Some(legs)) if legs.account == account => (legs.remaining, legs.limit),
        _ => (Amounts::usd(NanoUsd::ZERO), Amounts::ZERO),
    }
}

pub(super) fn out_of_range(overflow: Overflow) -> StoreError {
    StoreError::Corrupt(overflow.to_string())
}
