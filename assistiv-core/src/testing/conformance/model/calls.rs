//! Steps of calls: they hold, grow, are recorded, and end.

use super::memory::{UnderWay, Unsent, by_side};
use super::play::{Charge, Dice, Play};
use crate::billing::testing::{Refusal, Share, Slice};
use crate::billing::{Amounts, Dimension, Legs, SettleBatch};
use crate::id::LogId;
use crate::money::{DisplayUnits, NanoUsd, Tokens};
use crate::testing::conformance::assert_lost;
use crate::testing::fixtures::{self, Payers};

/// Of how many parts a lowered hold is made.
const PARTS: i64 = 8;

impl Play<'_> {
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

    /// A call holds money: the whole of what it may cost, or less of it, or all that is left.
    pub(super) async fn authorise(&mut self, mut dice: Dice) {
        let (node, with_budget) = (dice.index(2), dice.below(3) > 0);
        let wanted = Self::cost(&mut dice);
        self.note((node, wanted, with_budget));
        if self.hold(node, with_budget, wanted, Slice::reserve_first) {
            return;
        }
        let how = match dice.below(4) {
            0 => return,
            1 => dice.below(2),
            _ => 2,
        };
        for (side, needs) in by_side(wanted).into_iter().enumerate() {
            if side == 0 || with_budget {
                self.ask(node, side, needs, how, &mut dice).await;
            }
        }
        if self.hold(node, with_budget, wanted, Slice::reserve) {
            return;
        }
        for parts in (1..PARTS).rev() {
            if self.hold(node, with_budget, part(wanted, parts), Slice::reserve) {
                return;
            }
        }
        self.hold(node, with_budget, wanted, Slice::reserve_rest);
    }

    /// Both sides, or none.
    fn hold(
        &mut self,
        node: usize,
        with_budget: bool,
        wanted: Legs,
        reserve: impl Fn(&Slice, Amounts) -> Result<Share, Refusal>,
    ) -> bool {
        let Some(shares) = self.reserve(node, with_budget, wanted, reserve) else {
            return false;
        };
        self.note(("holds", shares));
        self.members[node].calls.push(UnderWay {
            log_id: LogId::new(),
            with_budget,
            held: wanted,
            shares,
            is_recorded: false,
        });
        true
    }

    /// Nothing is set aside that is not there.
    fn reserve(
        &self,
        node: usize,
        with_budget: bool,
        wanted: Legs,
        reserve: impl Fn(&Slice, Amounts) -> Result<Share, Refusal>,
    ) -> Option<[Share; 2]> {
        let [on_wallet, on_budget] = by_side(wanted);
        let [wallet, budget] = &self.members[node].slices;
        let checked = |slice: &Slice, side: usize, wanted: Amounts| {
            let before = slice.parts().0;
            let share = reserve(slice, wanted).ok()?;
            for d in Dimension::ALL.into_iter().filter(|d| self.limits(side, *d)) {
                let taken = share.amounts.get(d);
                let is_there = taken == 0 || taken <= before.get(d);
                assert!(is_there, "{d:?} {taken} of {before:?}: {}", self.trail);
                let is_whole = share.is_last || taken == wanted.get(d);
                assert!(is_whole, "{d:?} {taken} for {wanted:?}: {}", self.trail);
            }
            Some(share)
        };
        let of_budget = match with_budget {
            true => checked(budget, 1, on_budget)?,
            false => Share::default(),
        };
        match checked(wallet, 0, on_wallet) {
            Some(of_wallet) => Some([of_wallet, of_budget]),
            None => {
                if with_budget {
                    budget.release(of_budget);
                }
                None
            }
        }
    }

    /// A stream outgrows its hold.
    pub(super) fn extend(&mut self, mut dice: Dice) {
        let (node, more) = (dice.index(2), part(Self::cost(&mut dice), 2));
        let Some(index) = self.some_call(node, &mut dice) else {
            return;
        };
        self.note(("extends", node, index, more));
        let with_budget = self.members[node].calls[index].with_budget;
        if let Some(shares) = self.reserve(node, with_budget, more, Slice::reserve) {
            let call = &mut self.members[node].calls[index];
            call.held = call.held.checked_add(more).unwrap();
            for (share, more) in call.shares.iter_mut().zip(shares) {
                share.grow(more.amounts);
            }
        }
    }

    /// Records a stream, or what it has cost by now.
    pub(super) async fn record(&mut self, mut dice: Dice) {
        let node = dice.index(2);
        let Some(index) = self.some_call(node, &mut dice) else {
            return;
        };
        let parts = 1 + dice.below(9);
        let call = &mut self.members[node].calls[index];
        call.is_recorded = true;
        let (log_id, accrued) = (call.log_id, part(call.held, parts));
        let payers = self.payers(self.members[node].calls[index].with_budget);
        let known = self.streams.iter_mut().find(|(_, s)| s.log_id == log_id);
        let stream = match known {
            Some((_, stream)) => {
                stream.accrued = stream.accrued.max(accrued);
                stream.clone()
            }
            None => {
                let mut stream = fixtures::stream(&payers, accrued);
                stream.log_id = log_id;
                self.streams.push((node, stream.clone()));
                stream
            }
        };
        self.note(("records", node, index, stream.accrued));
        let member = &mut self.members[node];
        let batch = SettleBatch {
            opened: vec![stream],
            ..member.driver.settle_batch()
        };
        member.driver.settle(self.world, &batch).await;
    }

    /// A call ends and costs something: mostly no more than was held for it.
    pub(super) fn settle(&mut self, mut dice: Dice) {
        let node = dice.index(2);
        let Some(index) = self.some_call(node, &mut dice) else {
            return;
        };
        let parts = dice.below(9);
        let beyond = match dice.below(6) {
            0 => Self::cost(&mut dice),
            _ => Legs::ZERO,
        };
        let call = self.members[node].calls.remove(index);
        // All that was left may be less than the call may cost.
        let cost = part(call.held, parts).checked_add(beyond).unwrap();
        self.note(("settles", node, index, cost));
        if cost.is_zero() {
            self.let_go(node, call);
            return;
        }
        let sides = if call.with_budget { 2 } else { 1 };
        for (side, cost) in by_side(cost).into_iter().enumerate().take(sides) {
            self.members[node].slices[side].settle(call.shares[side], cost);
            let beyond = cost.checked_sub(call.shares[side].amounts).unwrap();
            self.model.side_mut(side).loosen(beyond);
        }
        let payers = self.payers(call.with_budget);
        let mut entry = fixtures::charge(&payers, cost, self.world.now());
        entry.uid = call.log_id;
        self.members[node].unsent.push(Unsent {
            entry,
            cost,
            with_budget: call.with_budget,
            is_recorded: call.is_recorded,
        });
    }

    /// Lane A posts what waits. A batch that arrives again changes nothing.
    pub(super) async fn post(&mut self, mut dice: Dice) {
        let node = dice.index(2);
        self.note(("posts", node));
        let unsent = std::mem::take(&mut self.members[node].unsent);
        let member = &mut self.members[node];
        let batch = SettleBatch {
            closed: closed(&unsent),
            ..member
                .driver
                .charges(unsent.iter().map(|unsent| unsent.entry.clone()).collect())
        };
        member.driver.settle(self.world, &batch).await;
        if dice.below(3) == 0 {
            let again = member.driver.clone().try_settle(self.world, &batch).await;
            assert_lost(again);
        }
        for done in unsent {
            let sides = if done.with_budget { 2 } else { 1 };
            for (side, cost) in by_side(done.cost).into_iter().enumerate().take(sides) {
                self.members[node].slices[side].flushed(cost);
            }
            self.streams.retain(|(_, s)| s.log_id != done.entry.uid);
            self.model.charge(Some(node), done.cost, done.with_budget);
            let left = match done.with_budget {
                true => done.cost,
                false => Legs {
                    budget: Amounts::ZERO,
                    ..done.cost
                },
            };
            self.charges.push(Charge {
                uid: done.entry.uid,
                with_budget: done.with_budget,
                left,
            });
        }
    }

    /// A call ends and costs nothing.
    pub(super) async fn release(&mut self, mut dice: Dice) {
        let node = dice.index(2);
        let Some(index) = self.some_call(node, &mut dice) else {
            return;
        };
        self.note(("releases", node, index));
        let call = self.members[node].calls.remove(index);
        let (log_id, is_recorded) = (call.log_id, call.is_recorded);
        self.let_go(node, call);
        if is_recorded {
            let member = &mut self.members[node];
            let batch = SettleBatch {
                closed: vec![log_id],
                ..member.driver.settle_batch()
            };
            member.driver.settle(self.world, &batch).await;
            self.streams.retain(|(_, stream)| stream.log_id != log_id);
        }
    }

    fn let_go(&self, node: usize, call: UnderWay) {
        let [wallet, budget] = &self.members[node].slices;
        wallet.release(call.shares[0]);
        if call.with_budget {
            budget.release(call.shares[1]);
        }
    }

    fn some_call(&self, node: usize, dice: &mut Dice) -> Option<usize> {
        let calls = self.members[node].calls.len();
        (calls > 0).then(|| dice.index(calls))
    }

    /// A batch whose number was used, or skipped, changes nothing.
    pub(super) async fn resend(&self) {
        let driver = &self.members[0].driver;
        let next = driver.settle_batch();
        let charge = fixtures::charge(&self.payers, fixtures::cost(1, 1), self.world.now());
        let charges = driver.charges(vec![charge]);
        for seq in [next.seq - 1, next.seq + 1] {
            let wrong = SettleBatch {
                seq,
                ..charges.clone()
            };
            assert_lost(driver.clone().try_settle(self.world, &wrong).await);
        }
    }
}

fn closed(unsent: &[Unsent]) -> Vec<LogId> {
    let recorded = unsent.iter().filter(|unsent| unsent.is_recorded);
    recorded.map(|unsent| unsent.entry.uid).collect()
}

/// So many eighths.
fn part(legs: Legs, parts: i64) -> Legs {
    let part = |amount: i64| amount * parts / PARTS;
    Legs {
        wallet: NanoUsd::new(part(legs.wallet.get())),
        budget: Amounts::from_fn(|d| part(legs.budget.get(d))),
    }
}
