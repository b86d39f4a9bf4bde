//! Steps that end nodes, in good order or not.

use std::time::Duration;

use super::play::{Dice, Play};
use crate::billing::{LateSettlement, LedgerEntry, Sweep, Swept, UnconfirmedDelivery};
use crate::testing::driver::{Driver, TTL};
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
                .close_node(&scopes::engine(), self.nodes[node].node)
                .await
                .unwrap();
            self.model.forget_node(node);
            self.nodes[node] = Driver::start(self.world).await;
        } else {
            self.note("sweep");
            self.sweep_all().await;
            self.nodes = [
                Driver::start(self.world).await,
                Driver::start(self.world).await,
            ];
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
            .heartbeat(&scopes::engine(), self.nodes[1 - lost].node, TTL, 0)
            .await
            .unwrap();
        let grace = Duration::ZERO;
        let swept = self.sweep_with(Sweep::Expired { grace }).await;
        let nodes: Vec<_> = swept.iter().filter_map(|swept| swept.node).collect();
        assert_eq!(nodes, [self.nodes[lost].node], "{}", self.trail);
        self.charge_streams(|owner| owner == lost);
        self.model.forget_node(lost);
        self.nodes[lost] = Driver::start(self.world).await;
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
        let mut difference = cost.checked_add(stream.accrued.negated()).unwrap();
        if stream.budget.is_none() {
            difference.budget = Default::default();
        }
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
        for (_, stream) in swept {
            self.model
                .charge(None, stream.accrued, stream.budget.is_some());
            self.swept.push(stream);
        }
    }
}
