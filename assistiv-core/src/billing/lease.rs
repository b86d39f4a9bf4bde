//! How much an account gives to a node: pure arithmetic, shared by all backends.

use super::account::{AccountPolicy, Blocked};
use super::amounts::{Amounts, Dimension};
use crate::id::AccountId;

/// What a node asks of one account, or gives back to it, in one lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseRequest {
    /// The account.
    pub account: AccountId,
    /// What waiting calls lack.
    pub demand: Amounts,
    /// How much the node would like to have at hand.
    pub target: Amounts,
    /// What it has at hand.
    pub available: Amounts,
    /// What it gives back; already taken out of its memory.
    pub give_back: Amounts,
    /// Checks the account's thresholds even where nothing moves: the node has spent from it, or sees it low.
    pub check: bool,
}

/// What a lease did to one account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseGrant {
    /// The account.
    pub account: AccountId,
    /// What was moved into the node's slot; usable now.
    pub granted: Amounts,
    /// What is left unleased.
    pub free: Amounts,
    /// What other nodes hold of it, reserved or idle. Zero where only one process can hold slots.
    pub elsewhere: Amounts,
    /// The account's policy at that moment.
    pub policy: AccountPolicy,
    /// A period reset is due: nothing was granted, apply it and ask again.
    pub reset_due: bool,
}

/// The amount to move from `free` to the asking node's slot (`docs/ledger.md`).
///
/// `divisor` is 1 where only one process can hold slots, else twice the number of live nodes.
pub fn grant(
    free: Amounts,
    policy: &AccountPolicy,
    request: &LeaseRequest,
    divisor: i64,
) -> Amounts {
    if policy.blocked != Blocked::No {
        return Amounts::ZERO;
    }
    Amounts::from_fn(|dimension| {
        if !policy.enforce.contains(dimension) {
            return 0;
        }
        let (free, demand) = (free.get(dimension), request.demand.get(dimension).max(0));
        let wanted = request.target.get(dimension) - request.available.get(dimension) - demand;
        grant_one(free, demand, wanted, divisor)
    })
}

fn grant_one(free: i64, demand: i64, wanted: i64, divisor: i64) -> i64 {
    if free <= demand {
        // Less than the waiting calls lack: all of it, and the calls settle who gets what.
        return free.max(0);
    }
    let share = (free - demand) / divisor.max(1);
    demand + wanted.clamp(0, share)
}

/// Whether a request moves nothing.
impl LeaseRequest {
    /// A request that only gives back.
    pub fn giving_back(account: AccountId, give_back: Amounts) -> Self {
        Self {
            account,
            demand: Amounts::ZERO,
            target: Amounts::ZERO,
            available: Amounts::ZERO,
            give_back,
            check: false,
        }
    }

    /// A request that moves nothing and has the account's thresholds checked.
    pub fn checking(account: AccountId) -> Self {
        Self {
            check: true,
            ..Self::giving_back(account, Amounts::ZERO)
        }
    }

    /// Whether it may move anything.
    pub fn moves(&self) -> bool {
        self.asks() || !self.give_back.is_zero()
    }

    /// Whether any dimension is asked for.
    pub fn asks(&self) -> bool {
        Dimension::ALL
            .into_iter()
            .any(|d| self.demand.get(d) > 0 || self.target.get(d) > self.available.get(d))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Worked example E4: two nodes, so the divisor is 4.
    #[test]
    fn example_e4() {
        let mut free = 1_000_000_000;
        for (demand, available, granted) in [
            (100_000_000, 0, 325_000_000),
            (100_000_000, 0, 243_750_000),
            (56_250_000, 43_750_000, 150_000_000),
            (75_000_000, 25_000_000, 126_562_500),
            (6_250_000, 93_750_000, 43_359_375),
            (48_437_500, 51_562_500, 64_160_156),
        ] {
            assert_eq!(
                grant_one(free, demand, 800_000_000 - available - demand, 4),
                granted
            );
            free -= granted;
        }
        assert_eq!(free, 47_167_969);
    }

    proptest! {
        #[test]
        fn never_more_than_is_free(free in -1000i64..1_000_000, demand in 0i64..1_000_000, wanted in -1000i64..1_000_000, divisor in 1i64..10) {
            let granted = grant_one(free, demand, wanted, divisor);
            prop_assert!(granted >= 0 && granted <= free.max(0));
            prop_assert!(granted >= demand.min(free));
        }
    }
}
