//! Low balances: told once for each time that a debit crosses a threshold.
//!
//! A threshold is armed until a debit leaves the account at or below it, and armed again when what remains is above
//! it. Debits of calls never touch the account: they are found afterwards, under its lock, going back through the
//! entries that nobody has looked at yet.

use crate::billing::account::Limits;
use crate::billing::amounts::{Amounts, Dimension, Dimensions};
use crate::billing::ledger::{EntryKind, EntryWithBalance, LedgerEntry};
use crate::billing::statement::LedgerPart;
use crate::clock::Timestamp;
use crate::events::{Event, EventType, Owner, about_entry};

/// The thresholds of one account, whose row is locked.
#[derive(Clone, Copy, Debug)]
pub struct Watch {
    owner: Owner,
    thresholds: Limits,
    armed: Dimensions,
    total: Amounts,
    limits: Amounts,
}

/// Looks for the debits that crossed thresholds, from the newest entry of an account backwards.
#[derive(Clone, Debug)]
pub struct CrossingSearch {
    thresholds: Limits,
    open: Dimensions,
    remaining: Amounts,
    limits: Amounts,
    found: Vec<(EntryWithBalance, Dimensions)>,
}

// === impl Watch ===

impl Watch {
    /// The thresholds of an account of `owner`, on which `total` remains of `limits`; the limits of a wallet are zero.
    pub fn new(
        owner: Owner,
        thresholds: Limits,
        armed: Dimensions,
        total: Amounts,
        limits: Amounts,
    ) -> Self {
        Self {
            owner,
            thresholds,
            armed,
            total,
            limits,
        }
    }

    /// Whether entries must be searched: an armed threshold stands at or above what remains.
    pub fn is_low(&self) -> bool {
        self.low() != Dimensions::NONE
    }

    /// A search for the debits that did it. Entries that an earlier act has seen are not its business.
    pub fn search(&self) -> CrossingSearch {
        CrossingSearch {
            thresholds: self.thresholds,
            open: self.low(),
            remaining: self.total,
            limits: self.limits,
            found: Vec::new(),
        }
    }

    /// Takes over what a search has found: one event for each debit that crossed anything. A threshold that no debit
    /// crossed stays armed, for the next one.
    pub fn crossed(&mut self, search: CrossingSearch, now: Timestamp) -> Vec<Event> {
        let mut found = search.found;
        found.reverse();
        let tell = |(row, crossed): (EntryWithBalance, Dimensions)| {
            self.armed = self.armed.without(crossed);
            self.event(&row, crossed, now)
        };
        found.into_iter().map(tell).collect()
    }

    /// Terms have changed: the thresholds that hold from here on.
    pub fn now_at(&mut self, owner: Owner, thresholds: Limits) {
        (self.owner, self.thresholds) = (owner, thresholds);
    }

    /// Counts an entry of an act, and says what it causes.
    pub fn note(&mut self, entry: &LedgerEntry, now: Timestamp) -> Vec<Event> {
        let (change, limit) = self.legs(entry);
        self.total = self.total.checked_add(change).unwrap_or(self.total);
        self.limits = self.limits.checked_add(limit).unwrap_or(self.limits);
        let row = EntryWithBalance {
            part: LedgerPart::Main,
            entry: entry.clone(),
            remaining_after: self.total,
            limit_after: self.limits,
        };
        let told = match (self.owner, entry.kind) {
            (Owner::Wallet(_), EntryKind::TopUp) => Some(EventType::WalletToppedUp),
            (Owner::Budget(..), EntryKind::BudgetTopUp) => Some(EventType::BudgetToppedUp),
            (Owner::Budget(..), EntryKind::Suspend) => Some(EventType::BudgetSuspended),
            (Owner::Budget(..), EntryKind::Unsuspend) => Some(EventType::BudgetUnsuspended),
            _ => None,
        };
        let told = told.map(|told| about_entry(told, self.owner, &row, Dimensions::NONE, now));
        let crossed = self.low().and(debited(entry.kind, change));
        self.armed = self.armed.without(crossed);
        let low = (crossed != Dimensions::NONE).then(|| self.event(&row, crossed, now));
        told.into_iter().chain(low).collect()
    }

    /// What is armed from here on: what was, and all thresholds that what remains is above.
    pub fn armed(&self) -> Dimensions {
        Dimension::ALL
            .into_iter()
            .filter(|d| threshold(&self.thresholds, *d).is_some_and(|low| self.total.get(*d) > low))
            .fold(self.armed, Dimensions::with)
    }

    /// The armed thresholds at or below which the account is.
    fn low(&self) -> Dimensions {
        Dimension::ALL
            .into_iter()
            .filter(|d| self.armed.contains(*d))
            .filter(|d| {
                threshold(&self.thresholds, *d).is_some_and(|low| self.total.get(*d) <= low)
            })
            .fold(Dimensions::NONE, Dimensions::with)
    }

    fn legs(&self, entry: &LedgerEntry) -> (Amounts, Amounts) {
        match (self.owner, entry.wallet, &entry.budget) {
            (Owner::Wallet(_), Some((_, amount)), _) => (Amounts::usd(amount), Amounts::ZERO),
            (Owner::Budget(..), _, Some(legs)) => (legs.remaining, legs.limit),
            _ => (Amounts::ZERO, Amounts::ZERO),
        }
    }

    fn event(&self, row: &EntryWithBalance, crossed: Dimensions, now: Timestamp) -> Event {
        let event_type = match self.owner {
            Owner::Wallet(_) => EventType::WalletLowBalance,
            Owner::Budget(..) => EventType::BudgetLowBalance,
        };
        about_entry(event_type, self.owner, row, crossed, now)
    }
}

// === impl CrossingSearch ===

impl CrossingSearch {
    /// Looks at an entry and what it changed on the account; says whether to go on to the one before it.
    ///
    /// The debit that crossed a threshold is the first one of those that left the account at or below it, back to
    /// where it was last above.
    pub fn step(&mut self, entry: LedgerEntry, change: Amounts, limit: Amounts) -> bool {
        let above = |d: &Dimension| {
            threshold(&self.thresholds, *d).is_none_or(|low| self.remaining.get(*d) > low)
        };
        let above = Dimension::ALL.into_iter().filter(above);
        self.open = above.fold(self.open, |open, d| open.without(Dimensions::NONE.with(d)));
        let crossed = self.open.and(debited(entry.kind, change));
        let row = EntryWithBalance {
            part: LedgerPart::Main,
            entry,
            remaining_after: self.remaining,
            limit_after: self.limits,
        };
        if crossed != Dimensions::NONE {
            // An older one takes the place of what was found before.
            self.found
                .iter_mut()
                .for_each(|(_, later)| *later = later.without(crossed));
            self.found
                .retain(|(_, crossed)| *crossed != Dimensions::NONE);
            self.found.push((row, crossed));
        }
        self.remaining = self.remaining.checked_sub(change).unwrap_or(self.remaining);
        self.limits = self.limits.checked_sub(limit).unwrap_or(self.limits);
        self.open != Dimensions::NONE
    }
}

/// The dimensions in which an entry is a debit. What lowers a limit is none.
fn debited(kind: EntryKind, change: Amounts) -> Dimensions {
    let is_debit = matches!(
        kind,
        EntryKind::Charge | EntryKind::Correction | EntryKind::Debit | EntryKind::WalletAdjustment
    );
    Dimension::ALL
        .into_iter()
        .filter(|d| is_debit && change.get(*d) < 0)
        .fold(Dimensions::NONE, Dimensions::with)
}

fn threshold(thresholds: &Limits, dimension: Dimension) -> Option<i64> {
    match dimension {
        Dimension::Usd => thresholds.usd.map(|low| low.get()),
        Dimension::Tokens => thresholds.tokens.map(|low| low.get()),
        Dimension::Display => None,
    }
}
