//! The steps: each is done to the store and to the model.

use std::fmt::Write as _;
use std::time::Duration;

use super::memory::Member;
use super::sums::Model;
use super::terms::{Terms, nano};
use crate::billing::{Amounts, Legs, OpenStream};
use crate::clock::Timestamp;
use crate::id::{AccountId, EntryId, PlatformId};
use crate::money::NanoUsd;
use crate::tenancy::EndUser;
use crate::testing::driver::Driver;
use crate::testing::fixtures::Payers;
use crate::testing::scopes;
use crate::testing::world::{Tenant, World};

const DAY_MICROS: i64 = 24 * 3_600_000_000;
/// A sequence in play.
pub(super) struct Play<'w> {
    pub(super) world: &'w World,
    pub(super) tenant: Tenant,
    pub(super) end_user: EndUser,
    pub(super) payers: Payers,
    pub(super) budget: AccountId,
    pub(super) terms: Terms,
    pub(super) members: [Member; 2],
    pub(super) streams: Vec<(usize, OpenStream)>,
    /// Streams that a sweep has charged and whose exact cost nobody has said yet.
    pub(super) swept: Vec<OpenStream>,
    pub(super) charges: Vec<Charge>,
    pub(super) model: Model,
    /// What was done, for the message of a failure.
    pub(super) trail: String,
}

/// A call that was charged.
pub(super) struct Charge {
    pub(super) uid: EntryId,
    pub(super) with_budget: bool,
    /// What neither a refund nor a correction has given back.
    pub(super) left: Legs,
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

fn day(at: Timestamp) -> i64 {
    at.as_micros().div_euclid(DAY_MICROS)
}

// === impl Play ===

impl<'w> Play<'w> {
    pub(super) async fn begin(world: &'w World, terms: Terms) -> Self {
        let slug = format!("p-{}", PlatformId::new());
        let tenant = world.tenant_with(&slug, NanoUsd::new(10_000)).await;
        let end_user = world
            .end_user_with_budget(&tenant, "ann", terms.of(5_000))
            .await;
        let payers = world.payers(&tenant, Some(&end_user)).await;
        let budget = world.budget_account(&tenant, &end_user).await;
        let mut model = Model {
            limit: terms.of(5_000).limits.amounts(),
            ..Model::default()
        };
        model.wallet.total = nano(10_000);
        model.budget.total = model.limit;
        let accounts = [tenant.wallet, budget];
        let mut members = Vec::new();
        for _ in 0..2 {
            members.push(Member::new(Driver::start(world).await, accounts, 0));
        }
        let Ok(members) = <[Member; 2]>::try_from(members) else {
            panic!("two nodes")
        };
        Self {
            world,
            tenant,
            end_user,
            payers,
            budget,
            terms,
            members,
            streams: Vec::new(),
            swept: Vec::new(),
            charges: Vec::new(),
            model,
            trail: String::new(),
        }
    }

    /// A new node, which knows nothing.
    pub(super) async fn member(&self) -> Member {
        let accounts = [self.tenant.wallet, self.budget];
        Member::new(Driver::start(self.world).await, accounts, 0)
    }

    pub(super) async fn step(&mut self, number: u64) {
        let _ = write!(self.trail, "\nstep {number}: ");
        let mut dice = Dice(number);
        match dice.below(30) {
            0 => self.top_up_wallet(dice).await,
            1 => self.top_up_budget(dice).await,
            2 => self.debit(dice).await,
            3 => self.set_limit(dice).await,
            4 => self.suspend().await,
            5 => self.make_again(dice).await,
            6 | 7 => self.lease(dice).await,
            8 => self.give_back(dice).await,
            9 => self.recall(dice).await,
            10 | 11 => self.hear(dice).await,
            12..=15 => self.authorise(dice).await,
            16 => self.extend(dice),
            17 | 18 => self.record(dice).await,
            19 | 20 => self.settle(dice),
            21 | 22 => self.post(dice).await,
            23 => self.release(dice).await,
            24 => self.resend().await,
            25 => self.sweep(dice).await,
            26 => self.lose_node(dice).await,
            27 => self.settle_late(dice).await,
            28 => self.refund(dice).await,
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
        self.compare_memory().await;
        let streams = audit_of(self.tenant.wallet).open_streams;
        assert_eq!(streams, self.streams.len() as u64, "{}", self.trail);
        let balance = self.world.balance(&self.tenant).await;
        assert_eq!(balance, self.model.wallet.total.usd, "{}", self.trail);
    }

    /// Looks at the budget, closes the nodes, and compares a last time.
    pub(super) async fn end(mut self) {
        self.look_at_budget().await;
        self.sweep_all().await;
        self.members = [self.member().await, self.member().await];
        self.compare().await;
        // The next sequence in this world is to find no nodes but its own.
        for member in &self.members {
            let ledger = &self.world.stores.ledger;
            let closed = ledger
                .close_node(&scopes::engine(), member.driver.node)
                .await;
            closed.unwrap();
        }
    }

    pub(super) fn note(&mut self, what: impl std::fmt::Debug) {
        let _ = write!(self.trail, "{what:?}");
    }

    async fn look_at_budget(&mut self) {
        self.model.look(self.terms.replenished());
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
