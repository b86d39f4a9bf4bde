//! Steps of lane B: what a node asks of an account, and what it gives back.

use super::memory::{BUDGET, Leasing};
use super::play::{Dice, Play};
use super::terms::nano;
use crate::billing::{Amounts, ControlOp, Dimension};
use crate::testing::scopes;

impl Play<'_> {
    /// Asks for something on behalf of nobody; the answer may take its time, or be lost.
    pub(super) async fn lease(&mut self, mut dice: Dice) {
        let (node, side) = (dice.index(2), dice.index(2));
        let needs = Amounts::from_raw(dice.below(4_000), dice.below(100), 0);
        let how = dice.below(4);
        self.ask(node, side, needs, how, &mut dice).await;
    }

    /// Asks an account for what calls need. With `how` 0 the answer comes later, with 1 never.
    pub(super) async fn ask(
        &mut self,
        node: usize,
        side: usize,
        needs: Amounts,
        how: i64,
        dice: &mut Dice,
    ) {
        self.finish_lease(node).await;
        let slice = &self.members[node].slices[side];
        let mut request = slice.request(needs);
        if dice.below(2) == 0 {
            request.target = nano(dice.below(4_000));
        }
        let asked = slice.policy_version();
        self.note((node, how, request));
        let grant = self.members[node]
            .driver
            .lease(self.world, vec![request])
            .await[0];
        let of_budget = side == BUDGET;
        let is_due = of_budget && self.model.reset_due;
        let is_shut = is_due || of_budget && self.model.is_suspended;
        assert_eq!(grant.reset_due, is_due, "{}", self.trail);
        for d in Dimension::ALL {
            let free = self.model.side(side).free().get(d).max(0);
            let least = request.demand.get(d).min(free);
            let granted = grant.granted.get(d);
            let bounds = match is_shut || !self.limits(side, d) {
                true => 0..=0,
                false => least..=free,
            };
            assert!(
                bounds.contains(&granted),
                "granted {granted} of {free}: {}",
                self.trail
            );
        }
        let sums = self.model.side_mut(side);
        sums.move_to_slot(node, grant.granted);
        assert_eq!(grant.free, sums.free(), "{}", self.trail);
        let member = &mut self.members[node];
        match how {
            0 => member.leasing = Some(Leasing::Granted { side, grant, asked }),
            1 => member.slices[side].reply_lost(Amounts::ZERO),
            _ => member.slices[side].leased(&grant, asked),
        }
    }

    /// Takes something out of memory, to be returned now or later.
    pub(super) async fn give_back(&mut self, mut dice: Dice) {
        let (node, side) = (dice.index(2), dice.index(2));
        self.finish_lease(node).await;
        let slice = &self.members[node].slices[side];
        let amounts = match dice.below(3) {
            0 => slice.take_excess().unwrap_or_default(),
            _ => slice.take_all(),
        };
        self.note((node, "returns", side, amounts));
        self.members[node].leasing = Some(Leasing::Taken { side, amounts });
        if dice.below(2) == 0 {
            self.finish_lease(node).await;
        }
    }

    /// Lane B takes its next step.
    pub(super) async fn finish_lease(&mut self, node: usize) {
        let member = &mut self.members[node];
        match member.leasing.take() {
            None => {}
            Some(Leasing::Granted { side, grant, asked }) => {
                member.slices[side].leased(&grant, asked);
            }
            Some(Leasing::Taken { side, amounts }) => {
                let slice = &member.slices[side];
                let (asked, account) = (slice.policy_version(), slice.account());
                let grant = member.driver.give_back(self.world, account, amounts).await;
                member.slices[side].returned(amounts, &grant, asked);
                let sums = self.model.side_mut(side);
                sums.move_to_slot(node, amounts.negated());
            }
        }
    }

    /// A node reads what others have told, and looks after slices of which it has lost a reply.
    pub(super) async fn hear(&mut self, mut dice: Dice) {
        let node = dice.index(2);
        self.note(("hears", node));
        let ledger = self.world.stores.ledger.clone();
        let heard = self.members[node].heard;
        for control in ledger.controls(&scopes::engine()).await.unwrap() {
            let slices = &self.members[node].slices;
            let side = slices.iter().position(|s| s.account() == control.account);
            let Some(side) = side.filter(|_| control.seq > heard) else {
                continue;
            };
            self.members[node].heard = control.seq;
            match control.op {
                ControlOp::Policy => self.members[node].slices[side].forget_policy(),
                ControlOp::Recall => {
                    self.finish_lease(node).await;
                    let amounts = self.members[node].slices[side].take_all();
                    self.members[node].leasing = Some(Leasing::Taken { side, amounts });
                }
            }
        }
        self.recover(node).await;
    }

    /// Reads slots anew of which a reply was lost, where no call has anything of them.
    async fn recover(&mut self, node: usize) {
        // What was granted and is not known is on its way; the lane itself looks, and only when it has none.
        if let Some(Leasing::Granted { .. }) = self.members[node].leasing {
            self.finish_lease(node).await;
        }
        let member = &self.members[node];
        for slice in &member.slices {
            if let Some(quiet) = slice.quiet_and_dirty() {
                let ledger = &self.world.stores.ledger;
                let (scope, node) = (scopes::engine(), member.driver.node);
                let slot = ledger.slot(&scope, node, slice.account()).await;
                slice.recovered(quiet, slot.unwrap());
            }
        }
    }

    /// A node needs what others have at hand.
    pub(super) async fn recall(&mut self, mut dice: Dice) {
        let account = [self.tenant.wallet, self.budget][dice.index(2)];
        self.note(("recalls", account));
        let ledger = &self.world.stores.ledger;
        ledger.recall(&scopes::engine(), account).await.unwrap();
    }
}
