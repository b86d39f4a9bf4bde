//! The steps: each is done to the store and to the model.

use std::fmt::Write as _;
use std::time::Duration;

use super::sums::Model;
use crate::billing::{Amounts, BudgetTerms, Limits, OpenStream};
use crate::clock::Timestamp;
use crate::id::{AccountId, PlatformId};
use crate::money::NanoUsd;
use crate::tenancy::EndUser;
use crate::testing::driver::Driver;
use crate::testing::fixtures;
use crate::testing::fixtures::Payers;
use crate::testing::world::{Tenant, World};

const DAY_MICROS: i64 = 24 * 3_600_000_000;
/// What the daily budget is replenished to, in nano-dollars.
pub(super) const REPLENISHED: i64 = 9_000;

/// A sequence in play.
pub(super) struct Play<'w> {
    pub(super) world: &'w World,
    pub(super) tenant: Tenant,
    pub(super) end_user: EndUser,
    pub(super) payers: Payers,
    pub(super) budget: AccountId,
    pub(super) nodes: [Driver; 2],
    pub(super) streams: Vec<(usize, OpenStream)>,
    /// Streams that a sweep has charged and whose exact cost nobody has said yet.
    pub(super) swept: Vec<OpenStream>,
    pub(super) model: Model,
    /// What was done, for the message of a failure.
    pub(super) trail: String,
}

/// A number that is used up piece by piece.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn below(&mut self, bound: u64) -> i64 {
        let taken = self.0 % bound;
        self.0 /= bound;
        taken as i64
    }

    pub(super) fn index(&mut self, bound: usize) -> usize {
        self.below(bound as u64) as usize
    }
}

pub(super) fn nano(usd: i64) -> Amounts {
    Amounts::usd(NanoUsd::new(usd))
}

pub(super) fn terms(limit: i64) -> BudgetTerms {
    let limits = Limits {
        usd: Some(NanoUsd::new(limit)),
        tokens: None,
    };
    let replenish = Limits {
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
        let (streams, swept, trail) = (Vec::new(), Vec::new(), String::new());
        Self {
            world,
            tenant,
            end_user,
            payers,
            budget,
            nodes,
            streams,
            swept,
            model,
            trail,
        }
    }

    pub(super) async fn step(&mut self, number: u64) {
        let _ = write!(self.trail, "\nstep {number}: ");
        let mut dice = Dice(number);
        match dice.below(18) {
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
            15 => self.lose_node(dice).await,
            16 => self.settle_late(dice).await,
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

    pub(super) fn note(&mut self, what: impl std::fmt::Debug) {
        let _ = write!(self.trail, "{what:?}");
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

    /// Hours pass, sometimes past midnight; half of the time nobody looks at the budget then.
    fn wait(&mut self, mut dice: Dice) {
        let hours = 1 + dice.below(40);
        self.note(("hours", hours));
        self.pass(Duration::from_secs(3_600) * u32::try_from(hours).unwrap());
    }

    pub(super) fn pass(&mut self, time: Duration) {
        let before = self.world.now();
        self.world.pass(time);
        if day(self.world.now()) > day(before) {
            self.model.reset_due = true;
            self.model.used_since = Amounts::ZERO;
        }
    }
}
