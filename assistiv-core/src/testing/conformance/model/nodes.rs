//! Steps that end nodes, in good order or not.

use std::time::Duration;

use super::memory::Member;
use super::play::{Charge, Dice, Play};
use crate::billing::{
    Amounts, LateSettlement, LedgerEntry, Legs, Sweep, Swept, UnconfirmedDelivery,
};
use crate::testing::conformance::assert_lost;
use crate::testing::driver::TTL;
use crate::testing::fixtures::Payers;
use crate::testing::{fixtures, scopes};

/// More than a node may be silent.
const SILENCE: Duration = Duration::from_secs(TTL.as_secs() + 1);

impl Play<'_> {
    /// Both nodes die, or one leaves in good order; new ones take their place.
    pub(super) async fn sweep(&mut self, mut dice: Dice) {
        let node = dice.index(2);
        let is_idle = self.streams.iter().all(|(owner, _)| *owner != node);
        if is_idle && dice.below(2) == 0 {
            self.note(("close", node));
            let ledger = &self.world.stores.ledger;
            ledger
                .close_node(&scopes::engine(), self.members[node].driver.node)
                .await
                .unwrap();
            self.model.forget_node(node);
            self.members[node] = self.member().await;
        } else {
            self.note("sweep");
            self.sweep_all().await;
            self.members = [self.member().await, self.member().await];
        }
    }

    pub(super) async fn sweep_all(&mut self) {
        self.pass(SILENCE);
        let swept = self.sweep_with(Sweep::All).await;
        let streams: u64 = swept.iter().map(|swept| swept.streams).sum();
        assert_eq!(streams, self.streams.len() as u64, "{}", self.trail);
        self.charge_streams(|_| true);
        self.model.forget_node(0);
        self.model.forget_node(1);
    }

    /// One node falls silent and is swept; the other one goes on.
    pub(super) async fn lose_node(&mut self, mut dice: Dice) {
        let lost = dice.index(2);
        self.note(("lose", lost));
        self.pass(SILENCE);
        let ledger = &self.world.stores.ledger;
        ledger
            .heartbeat(
                &scopes::engine(),
                self.members[1 - lost].driver.node,
                TTL,
                0,
            )
            .await
            .unwrap();
        let grace = Duration::ZERO;
        let swept = self.sweep_with(Sweep::Expired { grace }).await;
        let nodes: Vec<_> = swept.iter().filter_map(|swept| swept.node).collect();
        assert_eq!(nodes, [self.members[lost].driver.node], "{}", self.trail);
        self.charge_streams(|owner| owner == lost);
        self.model.forget_node(lost);
        let fresh = self.member().await;
        let old = std::mem::replace(&mut self.members[lost], fresh);
        self.is_fenced(old).await;
    }

    /// What a node that was swept while it lived still sends has no effect.
    async fn is_fenced(&self, mut node: Member) {
        let ledger = &self.world.stores.ledger;
        let beat = ledger
            .heartbeat(&scopes::engine(), node.driver.node, TTL, 0)
            .await;
        assert_lost(beat);
        let charges = node.unsent.iter().map(|unsent| unsent.entry.clone());
        let batch = node.driver.charges(charges.collect());
        assert_lost(node.driver.try_settle(self.world, &batch).await);
        let request = node.slices[0].request(super::terms::nano(1));
        assert_lost(node.driver.try_lease(self.world, vec![request]).await);
    }

    /// A node that was swept says what one of its streams has really cost. Half of the time twice.
    pub(super) async fn settle_late(&mut self, mut dice: Dice) {
        if self.swept.is_empty() {
            return;
        }
        let stream = self.swept.remove(dice.index(self.swept.len()));
        let cost = Self::cost(&mut dice);
        self.note(("late", stream.log_id, cost));
        let payers = Payers {
            budget: stream.budget,
            ..self.payers
        };
        let exact = LedgerEntry {
            uid: stream.log_id,
            ..fixtures::charge(&payers, cost, self.world.now())
        };
        let charge = self.charges.iter_mut();
        let charge = { charge }
            .find(|charge| charge.uid == stream.log_id)
            .unwrap();
        // What was refunded since is not given back again.
        let mut back = stream.accrued.checked_add(cost.negated()).unwrap();
        if stream.budget.is_none() {
            back.budget = Default::default();
        }
        let back = back.min(charge.left);
        let difference = back.negated();
        charge.left = charge.left.checked_add(difference).unwrap();
        let ledger = &self.world.stores.ledger;
        for repeat in 0..=dice.below(2) {
            let settled = ledger.settle_late(&scopes::engine(), &exact).await.unwrap();
            let expected = if difference.is_zero() || repeat > 0 {
                LateSettlement::Exact
            } else {
                LateSettlement::Corrected
            };
            assert_eq!(settled, expected, "{}", self.trail);
        }
        self.model.charge(None, difference, stream.budget.is_some());
        self.model.wallet.loosen(Amounts::usd(difference.wallet));
        self.model.budget.loosen(difference.budget);
    }

    async fn sweep_with(&self, which: Sweep) -> Vec<Swept> {
        let ledger = &self.world.stores.ledger;
        ledger
            .sweep(&scopes::engine(), which, UnconfirmedDelivery::Stands)
            .await
            .unwrap()
    }

    fn charge_streams(&mut self, is_swept: impl Fn(usize) -> bool) {
        let streams = std::mem::take(&mut self.streams).into_iter();
        let (swept, open): (Vec<_>, Vec<_>) = streams.partition(|(owner, _)| is_swept(*owner));
        self.streams = open;
        for (owner, stream) in swept {
            let with_budget = stream.budget.is_some();
            self.model.charge(None, stream.accrued, with_budget);
            // Whatever was set aside for it is set aside no more.
            let [wallet, budget] = self.members[owner].covers(stream.log_id);
            let beyond = |cost: Amounts, covered| cost.checked_sub(covered).unwrap();
            let on_wallet = beyond(Amounts::usd(stream.accrued.wallet), wallet);
            self.model.wallet.loosen(on_wallet);
            if with_budget {
                let on_budget = beyond(stream.accrued.budget, budget);
                self.model.budget.loosen(on_budget);
            }
            self.charges.push(Charge {
                uid: stream.log_id,
                with_budget,
                left: Legs {
                    budget: if with_budget {
                        stream.accrued.budget
                    } else {
                        Amounts::ZERO
                    },
                    ..stream.accrued
                },
            });
            self.swept.push(stream);
        }
    }
}
