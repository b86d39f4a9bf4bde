//! What the balances must be: sums, kept by hand.

use crate::billing::{AccountAudit, Amounts, Legs};

/// One account: what it is worth, and what each node holds of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Sums {
    pub(super) total: Amounts,
    pub(super) slots: [Amounts; 2],
    /// By how much calls have cost more than was held for them, and acts have taken away what calls may have held.
    pub(super) slack: Amounts,
}

/// The sums of one wallet and one daily budget.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    pub(super) wallet: Sums,
    pub(super) budget: Sums,
    pub(super) limit: Amounts,
    /// Used since the latest boundary: all that is left of `used` after a reset.
    pub(super) used_since: Amounts,
    /// A boundary was passed and nobody has looked since.
    pub(super) reset_due: bool,
    pub(super) is_suspended: bool,
}

// === impl Sums ===

impl Sums {
    pub(super) fn add(&mut self, change: Amounts) {
        self.total = self.total.checked_add(change).unwrap();
    }

    /// What an act does: it may take away what calls hold.
    pub(super) fn act(&mut self, change: Amounts) {
        self.add(change);
        self.loosen(change.negated());
    }

    /// More was spent than was set aside for it; below zero counts for nothing.
    pub(super) fn loosen(&mut self, by: Amounts) {
        let by = Amounts::from_fn(|d| by.get(d).max(0));
        self.slack = self.slack.checked_add(by).unwrap();
    }

    pub(super) fn move_to_slot(&mut self, node: usize, change: Amounts) {
        self.slots[node] = self.slots[node].checked_add(change).unwrap();
    }

    pub(super) fn held(&self) -> Amounts {
        self.slots[0].checked_add(self.slots[1]).unwrap()
    }

    pub(super) fn free(&self) -> Amounts {
        self.total.checked_sub(self.held()).unwrap()
    }

    pub(super) fn assert_is(&self, audit: &AccountAudit, trail: &str) {
        let stored = (audit.free, audit.slots, audit.ledger);
        assert_eq!(stored, (self.free(), self.held(), self.total), "{trail}");
    }
}

// === impl Model ===

impl Model {
    /// The wallet is 0, the budget 1.
    pub(super) fn side(&self, side: usize) -> &Sums {
        [&self.wallet, &self.budget][side]
    }

    pub(super) fn side_mut(&mut self, side: usize) -> &mut Sums {
        match side {
            0 => &mut self.wallet,
            _ => &mut self.budget,
        }
    }

    /// A charge, out of a node's slots or (after its death) out of what its slots returned.
    pub(super) fn charge(&mut self, node: Option<usize>, legs: Legs, with_budget: bool) {
        let wallet = Amounts::usd(legs.wallet).negated();
        self.wallet.add(wallet);
        if with_budget {
            self.budget.add(legs.budget.negated());
            self.used_since = self.used_since.checked_add(legs.budget).unwrap();
        }
        if let Some(node) = node {
            self.wallet.move_to_slot(node, wallet);
            if with_budget {
                self.budget.move_to_slot(node, legs.budget.negated());
            }
        }
    }

    pub(super) fn used(&self) -> Amounts {
        self.limit.checked_sub(self.budget.total).unwrap()
    }

    /// Changes the limit and what remains by the same amount.
    pub(super) fn change_limit(&mut self, change: Amounts) {
        self.limit = self.limit.checked_add(change).unwrap();
        self.budget.act(change);
    }

    /// What happens when somebody looks at the budget or acts on it.
    pub(super) fn look(&mut self, replenished: Amounts) {
        if self.reset_due {
            self.begin_anew(replenished, self.used_since);
        }
    }

    pub(super) fn begin_anew(&mut self, limit: Amounts, used: Amounts) {
        self.limit = limit;
        let total = limit.checked_sub(used).unwrap();
        let change = total.checked_sub(self.budget.total).unwrap();
        self.budget.act(change);
        self.reset_due = false;
    }

    pub(super) fn forget_node(&mut self, node: usize) {
        self.wallet.slots[node] = Amounts::ZERO;
        self.budget.slots[node] = Amounts::ZERO;
    }
}
