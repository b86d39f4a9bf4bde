//! Steps that act on the wallet and on the budget.

use super::play::{Dice, Play, REPLENISHED, nano, terms};
use crate::billing::{Amounts, BudgetChanges, Idempotency, LedgerAct, Limits};
use crate::money::{NanoUsd, Tokens};
use crate::testing::fixtures;
use crate::testing::world::Tenant;

impl Play<'_> {
    async fn act(&mut self, act: LedgerAct) {
        self.note(&act);
        self.model.look(nano(REPLENISHED));
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
        self.model.budget.add(amounts.amounts().negated());
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
        let change = Amounts::usd(limit).checked_sub(self.model.limit).unwrap();
        self.model.change_limit(change);
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
        let budget = fixtures::new_budget(terms(limit));
        self.act(LedgerAct::CreateBudget { end_user, budget }).await;
        self.model.begin_anew(nano(limit), Amounts::ZERO);
        self.model.is_suspended = false;
    }
}

/// A scope that no other step of no other sequence has.
fn hash(trail: &str, tenant: &Tenant) -> [u8; 32] {
    use sha2::{Digest as _, Sha256};
    Sha256::digest(format!("{} {trail}", tenant.platform.id)).into()
}
