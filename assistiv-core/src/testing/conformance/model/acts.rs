//! Steps that act on the wallet and on the budget.

use super::play::{Charge, Dice, Play};
use super::terms::nano;
use crate::billing::Legs;
use crate::billing::{ActRefusal, Amounts, BudgetChanges, Idempotency, LedgerAct, Limits, Refund};
use crate::id::AccountId;
use crate::money::{NanoUsd, Tokens};
use crate::testing::fixtures;
use crate::testing::world::{Tenant, World};

impl Play<'_> {
    async fn act(&mut self, act: LedgerAct) {
        self.note(&act);
        self.model.look(self.terms.replenished());
        self.world.apply(&self.tenant, act).await;
    }

    /// A wallet act does not look at the budget. Half of them are sent twice.
    pub(super) async fn top_up_wallet(&mut self, mut dice: Dice) {
        let amount = NanoUsd::new(1 + dice.below(3_000));
        let act = LedgerAct::TopUpWallet { amount };
        self.note(&act);
        let key = Idempotency {
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

    pub(super) async fn top_up_budget(&mut self, mut dice: Dice) {
        let by = 1 + dice.below(3_000);
        let amounts = Limits {
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

    pub(super) async fn debit(&mut self, mut dice: Dice) {
        let amounts = Limits {
            usd: Some(NanoUsd::new(1 + dice.below(3_000))),
            tokens: Some(Tokens::new(dice.below(100))),
        };
        self.act(LedgerAct::DebitBudget {
            end_user: self.end_user.id,
            amounts,
        })
        .await;
        self.model.budget.act(amounts.amounts().negated());
        let used_since = self.model.used_since.checked_add(amounts.amounts());
        self.model.used_since = used_since.unwrap();
    }

    pub(super) async fn set_limit(&mut self, mut dice: Dice) {
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
        let change = limit.get() - self.model.limit.usd.get();
        self.model.change_limit(nano(change));
    }

    pub(super) async fn suspend(&mut self) {
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

    pub(super) async fn make_again(&mut self, mut dice: Dice) {
        let (end_user, limit) = (self.end_user.id, 1 + dice.below(9_000));
        self.act(LedgerAct::RemoveBudget { end_user }).await;
        let budget = fixtures::new_budget(self.terms.of(limit));
        self.act(LedgerAct::CreateBudget { end_user, budget }).await;
        let limits = self.terms.of(limit).limits.amounts();
        self.model.begin_anew(limits, Amounts::ZERO);
        self.model.is_suspended = false;
    }

    /// Gives back a charge of the budget, or a part of it. What it gave back is read from the books, and never more
    /// than was charged.
    pub(super) async fn refund(&mut self, mut dice: Dice) {
        let of_budget = |charge: &&mut Charge| charge.with_budget;
        let count = self.charges.iter().filter(|c| c.with_budget).count();
        if count == 0 {
            return;
        }
        let chosen = dice.index(count);
        let amounts = (dice.below(2) == 0).then(|| Limits {
            usd: Some(NanoUsd::new(1 + dice.below(500))),
            tokens: Some(Tokens::new(dice.below(20))),
        });
        let to_wallet = dice.below(3) > 0;
        self.note(("refund", chosen, amounts, to_wallet));
        self.model.look(self.terms.replenished());
        let charge = self.charges.iter_mut().filter(of_budget).nth(chosen);
        let charge = charge.unwrap();
        let act = LedgerAct::RefundDebit {
            end_user: self.end_user.id,
            debit: charge.uid,
            refund: Refund::Of { amounts, to_wallet },
        };
        // A read applies a reset that is due, so that only the refund lies between the two looks.
        self.world.budget(&self.tenant, &self.end_user).await;
        let before = Self::totals(self.world, &self.tenant, self.budget).await;
        match self.world.try_apply(&self.tenant, &act).await {
            Ok(_) => {}
            Err(ActRefusal::AlreadyRefunded) => return,
            Err(refusal) => panic!("{refusal}: {}", self.trail),
        }
        let after = Self::totals(self.world, &self.tenant, self.budget).await;
        let [wallet, budget] = [0, 1].map(|side| after[side].checked_sub(before[side]).unwrap());
        let back = Legs {
            wallet: wallet.usd,
            budget,
        };
        assert!(
            back.min(Legs::ZERO) == Legs::ZERO,
            "{back:?}: {}",
            self.trail
        );
        charge.left = charge.left.checked_add(back.negated()).unwrap();
        self.model.wallet.add(wallet);
        self.model.budget.add(budget);
        self.model.used_since = self.model.used_since.checked_sub(budget).unwrap();
    }

    /// What wallet and budget are worth by the ledger.
    async fn totals(world: &World, tenant: &Tenant, budget: AccountId) -> [Amounts; 2] {
        let audits = world.audit().await;
        let of = |id| {
            audits
                .iter()
                .find(|audit| audit.account == id)
                .unwrap()
                .ledger
        };
        [of(tenant.wallet), of(budget)]
    }
}

/// A scope that no other step of no other sequence has.
fn hash(trail: &str, tenant: &Tenant) -> [u8; 32] {
    use sha2::{Digest as _, Sha256};
    Sha256::digest(format!("{} {trail}", tenant.platform.id)).into()
}
