//! The steps: each is done to the store and to the model.

use std::fmt::Write as _;

use super::sums::Model;
use crate::billing::{
    Amounts, BudgetChanges, BudgetTerms, LeaseRequest, LedgerAct, Legs, OpenStream, SettleBatch,
    Sweep,
};
use crate::clock::Timestamp;
use crate::id::{AccountId, PlatformId};
use crate::money::{DisplayUnits, NanoUsd, Tokens};
use crate::tenancy::EndUser;
use crate::testing::conformance::assert_lost;
use crate::testing::driver::Driver;
use crate::testing::fixtures::Payers;
use crate::testing::world::{Tenant, World};
use crate::testing::{fixtures, scopes};

const HOUR_MICROS: i64 = 3_600_000_000;
const DAY_MICROS: i64 = 24 * HOUR_MICROS;
/// What the daily budget is replenished to, in nano-dollars.
const REPLENISHED: i64 = 9_000;

/// A sequence in play.
pub(super) struct Play<'w> {
    world: &'w World,
    tenant: Tenant,
    end_user: EndUser,
    payers: Payers,
    budget: AccountId,
    nodes: [Driver; 2],
    streams: Vec<(usize, OpenStream)>,
    model: Model,
    /// What was done, for the message of a failure.
    trail: String,
}

/// A number that is used up piece by piece.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> i64 {
        let taken = self.0 % bound;
        self.0 /= bound;
        taken as i64
    }

    fn index(&mut self, bound: usize) -> usize {
        self.below(bound as u64) as usize
    }
}

fn nano(usd: i64) -> Amounts {
    Amounts::usd(NanoUsd::new(usd))
}

fn terms(limit: i64) -> BudgetTerms {
    let limits = crate::billing::Limits {
        usd: Some(NanoUsd::new(limit)),
        tokens: None,
    };
    let replenish = crate::billing::Limits {
        usd: Some(NanoUsd::new(REPLENISHED)),
        tokens: None,
    };
    BudgetTerms {
        auto_replenish: true,
        replenish,
        ..fixtures::daily(limits)
    }
}

fn day(at: Timestamp) -> i64 {
    at.as_micros().div_euclid(DAY_MICROS)
}

// === impl Play ===

impl<'w> Play<'w> {
    pub(super) async fn begin(world: &'w World) -> Self {
        let slug = format!("p-{}", PlatformId::new());
        let tenant = world.tenant_with(&slug, NanoUsd::new(10_000)).await;
        let end_user = world
            .end_user_with_budget(&tenant, "ann", terms(5_000))
            .await;
        let payers = world.payers(&tenant, Some(&end_user)).await;
        let budget = world.budget_account(&tenant, &end_user).await;
        let nodes = [Driver::start(world).await, Driver::start(world).await];
        let mut model = Model {
            limit: nano(5_000),
            ..Model::default()
        };
        model.wallet.total = nano(10_000);
        model.budget.total = nano(5_000);
        let (streams, trail) = (Vec::new(), String::new());
        Self {
            world,
            tenant,
            end_user,
            payers,
            budget,
            nodes,
            streams,
            model,
            trail,
        }
    }

    pub(super) async fn step(&mut self, number: u64) {
        let _ = write!(self.trail, "\nstep {number}: ");
        let mut dice = Dice(number);
        match dice.below(16) {
            0 => self.top_up_wallet(dice).await,
            1 => self.top_up_budget(dice).await,
            2 => self.debit(dice).await,
            3 => self.set_limit(dice).await,
            4 => self.suspend().await,
            5 => self.make_again(dice).await,
            6 | 7 => self.lease(dice).await,
            8 => self.give_back(dice).await,
            9 | 10 => self.charge(dice).await,
            11 => self.open_stream(dice).await,
            12 => self.close_stream(dice).await,
            13 => self.resend().await,
            14 => self.sweep(dice).await,
            _ => self.wait(dice),
        }
    }

    /// Compares everything that can be compared without resetting a period.
    pub(super) async fn compare(&self) {
        let audits = self.world.audit().await;
        let audit_of = |id| audits.iter().find(|audit| audit.account == id).unwrap();
        self.model
            .wallet
            .assert_is(audit_of(self.tenant.wallet), &self.trail);
        self.model
            .budget
            .assert_is(audit_of(self.budget), &self.trail);
        assert_eq!(
            audit_of(self.budget).limits,
            self.model.limit,
            "{}",
            self.trail
        );
        let streams = audit_of(self.tenant.wallet).open_streams;
        assert_eq!(streams, self.streams.len() as u64, "{}", self.trail);
        let balance = self.world.balance(&self.tenant).await;
        assert_eq!(balance, self.model.wallet.total.usd, "{}", self.trail);
    }

    /// Looks at the budget, closes the nodes, and compares a last time.
    pub(super) async fn end(mut self) {
        self.look_at_budget().await;
        self.sweep_all().await;
        self.compare().await;
    }

    fn note(&mut self, what: impl std::fmt::Debug) {
        let _ = write!(self.trail, "{what:?}");
    }

    async fn act(&mut self, act: LedgerAct) {
        self.note(&act);
        self.model.look(nano(REPLENISHED));
        self.world.apply(&self.tenant, act).await;
    }

    async fn look_at_budget(&mut self) {
        self.model.look(nano(REPLENISHED));
        let budget = self.world.budget(&self.tenant, &self.end_user).await;
        let used = Amounts {
            usd: budget.used_usd,
            tokens: budget.used_tokens,
            ..Amounts::ZERO
        };
        assert_eq!(used, self.model.used(), "{}", self.trail);
        assert_eq!(
            budget.terms.limits.amounts(),
            self.model.limit,
            "{}",
            self.trail
        );
        assert_eq!(
            budget.is_suspended, self.model.is_suspended,
            "{}",
            self.trail
        );
    }

    /// A wallet act does not look at the budget. Half of them are sent twice.
    async fn top_up_wallet(&mut self, mut dice: Dice) {
        let amount = NanoUsd::new(1 + dice.below(3_000));
        let act = LedgerAct::TopUpWallet { amount };
        self.note(&act);
        let key = crate::billing::Idempotency {
            scope_hash: hash(&self.trail, &self.tenant),
            request_hash: [7; 32],
        };
        let ledger = &self.world.stores.ledger;
        for repeat in 0..=dice.below(2) {
            let context = fixtures::context();
            let applied = ledger
                .apply(&self.tenant.scope, &act, &context, Some(key))
                .await
                .unwrap();
            assert_eq!(applied.unwrap().replayed, repeat > 0, "{}", self.trail);
        }
        self.model.wallet.add(Amounts::usd(amount));
    }

    async fn top_up_budget(&mut self, mut dice: Dice) {
        let by = 1 + dice.below(3_000);
        let amounts = crate::billing::Limits {
            usd: Some(NanoUsd::new(by)),
            tokens: None,
        };
        self.act(LedgerAct::TopUpBudget {
            end_user: self.end_user.id,
            amounts,
        })
        .await;
        self.model.change_limit(nano(by));
    }

    async fn debit(&mut self, mut dice: Dice) {
        let amounts = crate::billing::Limits {
            usd: Some(NanoUsd::new(1 + dice.below(3_000))),
            tokens: Some(Tokens::new(dice.below(100))),
        };
        self.act(LedgerAct::DebitBudget {
            end_user: self.end_user.id,
            amounts,
        })
        .await;
        self.model.budget.add(amounts.amounts().negated());
        let used_since = self.model.used_since.checked_add(amounts.amounts());
        self.model.used_since = used_since.unwrap();
    }

    async fn set_limit(&mut self, mut dice: Dice) {
        let limit = NanoUsd::new(1 + dice.below(9_000));
        let changes = Box::new(BudgetChanges {
            max_usd: Some(Some(limit)),
            ..BudgetChanges::default()
        });
        self.act(LedgerAct::UpdateBudget {
            end_user: self.end_user.id,
            changes,
        })
        .await;
        let change = Amounts::usd(limit).checked_sub(self.model.limit).unwrap();
        self.model.change_limit(change);
    }

    async fn suspend(&mut self) {
        self.model.is_suspended = !self.model.is_suspended;
        let is_suspended = Some(self.model.is_suspended);
        let changes = Box::new(BudgetChanges {
            is_suspended,
            ..BudgetChanges::default()
        });
        self.act(LedgerAct::UpdateBudget {
            end_user: self.end_user.id,
            changes,
        })
        .await;
    }

    async fn make_again(&mut self, mut dice: Dice) {
        let (end_user, limit) = (self.end_user.id, 1 + dice.below(9_000));
        self.act(LedgerAct::RemoveBudget { end_user }).await;
        let budget = fixtures::new_budget(terms(limit));
        self.act(LedgerAct::CreateBudget { end_user, budget }).await;
        self.model.begin_anew(nano(limit), Amounts::ZERO);
        self.model.is_suspended = false;
    }

    async fn lease(&mut self, mut dice: Dice) {
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

    async fn give_back(&mut self, mut dice: Dice) {
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

    fn cost(dice: &mut Dice) -> Legs {
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

    async fn charge(&mut self, mut dice: Dice) {
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
    async fn open_stream(&mut self, mut dice: Dice) {
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

    async fn close_stream(&mut self, mut dice: Dice) {
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
    async fn resend(&mut self) {
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

    /// Both nodes die, or one leaves in good order; new ones take their place.
    async fn sweep(&mut self, mut dice: Dice) {
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

    async fn sweep_all(&mut self) {
        let ledger = &self.world.stores.ledger;
        let swept = ledger.sweep(&scopes::engine(), Sweep::All).await.unwrap();
        let streams: u64 = swept.iter().map(|swept| swept.streams).sum();
        assert_eq!(streams, self.streams.len() as u64, "{}", self.trail);
        for (_, stream) in std::mem::take(&mut self.streams) {
            self.model
                .charge(None, stream.accrued, stream.budget.is_some());
        }
        self.model.forget_node(0);
        self.model.forget_node(1);
    }

    /// Time passes, sometimes past midnight; half of the time nobody looks at the budget then.
    fn wait(&mut self, mut dice: Dice) {
        let before = self.world.now();
        let hours = 1 + dice.below(40);
        self.note(("hours", hours));
        let after = Timestamp::from_micros(before.as_micros() + hours * HOUR_MICROS);
        self.world.clock.set(after);
        if day(after) > day(before) {
            self.model.reset_due = true;
            self.model.used_since = Amounts::ZERO;
        }
    }
}

/// A scope that no other step of no other sequence has.
fn hash(trail: &str, tenant: &Tenant) -> [u8; 32] {
    use sha2::{Digest as _, Sha256};
    Sha256::digest(format!("{} {trail}", tenant.platform.id)).into()
}
