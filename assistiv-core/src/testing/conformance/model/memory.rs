//! What a node has in memory: its slices, the calls that hold money, and the charges that wait for lane A.

use super::play::Play;
use crate::billing::testing::{PolicyVersion, Share, Slice};
use crate::billing::{Amounts, Dimension, LeaseGrant, LedgerEntry, Legs};
use crate::id::{AccountId, LogId};
use crate::testing::driver::Driver;
use crate::testing::scopes;

/// The two accounts of a sequence, as indices.
pub(super) const WALLET: usize = 0;
pub(super) const BUDGET: usize = 1;

/// A node: its lanes, and its memory.
pub(super) struct Member {
    pub(super) driver: Driver,
    pub(super) slices: [Slice; 2],
    pub(super) calls: Vec<UnderWay>,
    /// In the order in which the calls ended.
    pub(super) unsent: Vec<Unsent>,
    /// A lease that is half done.
    pub(super) leasing: Option<Leasing>,
    /// The last message it has heard.
    pub(super) heard: i64,
}

/// A call that holds money.
pub(super) struct UnderWay {
    pub(super) log_id: LogId,
    pub(super) with_budget: bool,
    pub(super) held: Legs,
    pub(super) shares: [Share; 2],
    pub(super) is_recorded: bool,
}

/// A charge that no batch has posted yet.
pub(super) struct Unsent {
    pub(super) entry: LedgerEntry,
    pub(super) cost: Legs,
    pub(super) with_budget: bool,
    pub(super) is_recorded: bool,
}

/// Where lane B stands.
pub(super) enum Leasing {
    /// Taken out of memory, and not sent yet.
    Taken { side: usize, amounts: Amounts },
    /// Committed, and not known yet.
    Granted {
        side: usize,
        grant: LeaseGrant,
        asked: PolicyVersion,
    },
}

/// What legs take from each account.
pub(super) fn by_side(legs: Legs) -> [Amounts; 2] {
    [Amounts::usd(legs.wallet), legs.budget]
}

// === impl Member ===

impl Member {
    pub(super) fn new(driver: Driver, accounts: [AccountId; 2], heard: i64) -> Self {
        Self {
            driver,
            slices: accounts.map(Slice::new),
            calls: Vec::new(),
            unsent: Vec::new(),
            leasing: None,
            heard,
        }
    }

    /// What is set aside for a call, or waits to be posted of it.
    pub(super) fn covers(&self, log_id: LogId) -> [Amounts; 2] {
        let call = self.calls.iter().find(|call| call.log_id == log_id);
        let unsent = self.unsent.iter().find(|unsent| unsent.entry.uid == log_id);
        match (call, unsent) {
            (Some(call), _) => call.shares.map(|share| share.amounts),
            (None, Some(unsent)) => by_side(unsent.cost),
            (None, None) => [Amounts::ZERO; 2],
        }
    }

    /// What lane B has moved on one side only: taken out of memory and still in the slot, or the other way about.
    fn half_done(&self, side: usize) -> Amounts {
        match &self.leasing {
            Some(Leasing::Taken { side: of, amounts }) if *of == side => *amounts,
            Some(Leasing::Granted {
                side: of, grant, ..
            }) if *of == side => grant.granted,
            _ => Amounts::ZERO,
        }
    }
}

// === impl Play ===

impl Play<'_> {
    /// Invariants 2 and 4 of the ledger, and that nothing is overspent: what all nodes hold and owe is covered by what
    /// the account is worth, but for what calls cost beyond their holds.
    pub(super) async fn compare_memory(&self) {
        let mut owed = [Amounts::ZERO; 2];
        let mut last = [0; 2];
        for (index, member) in self.members.iter().enumerate() {
            for (side, slice) in member.slices.iter().enumerate() {
                let account = slice.account();
                let ledger = &self.world.stores.ledger;
                let (scope, node) = (scopes::engine(), member.driver.node);
                let slot = ledger.slot(&scope, node, account).await.unwrap();
                assert_eq!(slot, self.model.side(side).slots[index], "{}", self.trail);
                let (available, bound) = slice.parts();
                let memory = available.checked_add(bound).unwrap();
                let memory = memory.checked_add(member.half_done(side)).unwrap();
                if slice.is_dirty() {
                    let known = Dimension::ALL
                        .iter()
                        .all(|d| memory.get(*d) <= slot.get(*d));
                    assert!(known, "{memory:?} of {slot:?}: {}", self.trail);
                } else {
                    assert_eq!(memory, slot, "memory and slot of {index}: {}", self.trail);
                }
                owed[side] = owed[side].checked_add(bound).unwrap();
                let of_last = |call: &&UnderWay| call.shares[side].is_last;
                last[side] += member.calls.iter().filter(of_last).count();
            }
        }
        for side in [WALLET, BUDGET] {
            let sums = self.model.side(side);
            for d in Dimension::ALL.into_iter().filter(|d| self.limits(side, *d)) {
                let worth = sums.total.get(d) + sums.slack.get(d);
                let held = owed[side].get(d);
                assert!(
                    held.max(0) <= worth,
                    "{d:?} {held} of {worth}: {}",
                    self.trail
                );
            }
            let exact = sums.slack.usd.get() == 0 && sums.slack.tokens.get() == 0;
            assert!(!exact || last[side] <= 1, "two last calls: {}", self.trail);
        }
        for charge in &self.charges {
            let left = charge.left.min(Legs::ZERO);
            assert!(left == Legs::ZERO, "given back too much: {}", self.trail);
        }
    }

    pub(super) fn limits(&self, side: usize, dimension: Dimension) -> bool {
        match (side, dimension) {
            (_, Dimension::Usd) => true,
            (BUDGET, Dimension::Tokens) => self.terms.limits_tokens,
            _ => false,
        }
    }
}
