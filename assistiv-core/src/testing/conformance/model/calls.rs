//! Steps that lease, charge and deliver.

use super::play::{Dice, Play, nano};
use crate::billing::{Amounts, LeaseRequest, Legs, SettleBatch};
use crate::money::{DisplayUnits, NanoUsd, Tokens};
use crate::testing::conformance::assert_lost;
use crate::testing::fixtures::{self, Payers};

impl Play<'_> {
    pub(super) async fn lease(&mut self, mut dice: Dice) {
        let (node, of_budget) = (dice.index(2), dice.below(2) == 1);
        let demand = nano(dice.below(4_000));
        let target = nano(dice.below(4_000));
        let account = if of_budget {
            self.budget
        } else {
            self.tenant.wallet
        };
        let none = LeaseRequest::giving_back(account, Amounts::ZERO);
        let request = LeaseRequest {
            demand,
            target,
            ..none
        };
        self.note((node, request));
        let grant = self.nodes[node].lease(self.world, vec![request]).await[0];
        let is_due = of_budget && self.model.reset_due;
        let is_shut = is_due || of_budget && self.model.is_suspended;
        let sums = if of_budget {
            &mut self.model.budget
        } else {
            &mut self.model.wallet
        };
        let free = sums.free().usd.get().max(0);
        let granted = grant.granted.usd.get();
        assert_eq!(grant.reset_due, is_due, "{}", self.trail);
        assert_eq!(
            grant.granted,
            nano(granted),
            "not enforced, yet granted: {}",
            self.trail
        );
        let least = if is_shut {
            0
        } else {
            demand.usd.get().min(free)
        };
        let most = if is_shut { 0 } else { free };
        assert!(
            (least..=most).contains(&granted),
            "granted {granted} of {free}: {}",
            self.trail
        );
        sums.move_to_slot(node, grant.granted);
        assert_eq!(grant.free, sums.free(), "{}", self.trail);
    }

    pub(super) async fn give_back(&mut self, mut dice: Dice) {
        let (node, of_budget) = (dice.index(2), dice.below(2) == 1);
        let account = if of_budget {
            self.budget
        } else {
            self.tenant.wallet
        };
        let sums = if of_budget {
            &mut self.model.budget
        } else {
            &mut self.model.wallet
        };
        let slot = sums.slots[node].usd.get().max(0);
        // What is not enforced is below zero in the slot, and is swept back with the rest.
        let tokens = sums.slots[node].tokens.get();
        let amounts = Amounts::from_raw(dice.below(slot as u64 + 1), tokens, 0);
        sums.move_to_slot(node, amounts.negated());
        self.note((node, account, amounts));
        self.nodes[node]
            .give_back(self.world, account, amounts)
            .await;
    }

    pub(super) fn cost(dice: &mut Dice) -> Legs {
        let wallet = dice.below(1_500);
        Legs {
            wallet: NanoUsd::new(wallet),
            budget: Amounts {
                usd: NanoUsd::new(wallet + dice.below(200)),
                tokens: Tokens::new(dice.below(100)),
                display: DisplayUnits::ZERO,
            },
        }
    }

    fn payers(&self, with_budget: bool) -> Payers {
        Payers {
            budget: self.payers.budget.filter(|_| with_budget),
            ..self.payers
        }
    }

    pub(super) async fn charge(&mut self, mut dice: Dice) {
        let node = dice.index(2);
        let mut charges = Vec::new();
        for _ in 0..=dice.below(3) {
            let (with_budget, cost) = (dice.below(3) > 0, Self::cost(&mut dice));
            let payers = self.payers(with_budget);
            charges.push(fixtures::charge(&payers, cost, self.world.now()));
            self.model.charge(Some(node), cost, with_budget);
            self.note((node, cost, with_budget));
        }
        let batch = self.nodes[node].charges(charges);
        self.nodes[node].settle(self.world, &batch).await;
    }

    /// Opens a stream, or brings the last one of the node up to date.
    pub(super) async fn open_stream(&mut self, mut dice: Dice) {
        let (node, cost, with_budget) = (dice.index(2), Self::cost(&mut dice), dice.below(3) > 0);
        let last = self.streams.iter_mut().rfind(|(owner, _)| *owner == node);
        let opened = match last {
            Some((_, stream)) if dice.below(2) == 0 => {
                stream.accrued = stream.accrued.max(cost);
                stream.clone()
            }
            _ => {
                let stream = fixtures::stream(&self.payers(with_budget), cost);
                self.streams.push((node, stream.clone()));
                stream
            }
        };
        self.note((node, opened.accrued, opened.budget));
        let batch = SettleBatch {
            opened: vec![opened],
            ..self.nodes[node].settle_batch()
        };
        self.nodes[node].settle(self.world, &batch).await;
    }

    pub(super) async fn close_stream(&mut self, mut dice: Dice) {
        if self.streams.is_empty() {
            return;
        }
        let (node, stream) = self.streams.remove(dice.index(self.streams.len()));
        let cost = Self::cost(&mut dice);
        self.note((node, cost));
        let with_budget = stream.budget.is_some();
        let mut charge = fixtures::charge(&self.payers(with_budget), cost, self.world.now());
        charge.uid = stream.log_id;
        let batch = self.nodes[node].charges(vec![charge]);
        let batch = SettleBatch {
            closed: vec![stream.log_id],
            ..batch
        };
        self.nodes[node].settle(self.world, &batch).await;
        self.model.charge(Some(node), cost, with_budget);
    }

    /// A batch whose number was used, or skipped, changes nothing.
    pub(super) async fn resend(&self) {
        let next = self.nodes[0].settle_batch();
        let charge = fixtures::charge(&self.payers, fixtures::cost(1, 1), self.world.now());
        let charges = self.nodes[0].charges(vec![charge]);
        for seq in [next.seq - 1, next.seq + 1] {
            let wrong = SettleBatch {
                seq,
                ..charges.clone()
            };
            assert_lost(self.nodes[0].clone().try_settle(self.world, &wrong).await);
        }
    }
}
