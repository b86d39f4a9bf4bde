//! What the sequence's budget is made of.

use crate::billing::{Amounts, BudgetTerms, Limits};
use crate::money::{NanoUsd, Tokens};
use crate::testing::fixtures;

/// What the daily budget is replenished to, in nano-dollars.
const REPLENISHED: i64 = 9_000;
/// The limit of tokens, where there is one.
const TOKENS: i64 = 400;

/// Whether the budget of a sequence limits tokens, or only counts them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub(super) limits_tokens: bool,
}

pub(super) fn nano(usd: i64) -> Amounts {
    Amounts::usd(NanoUsd::new(usd))
}

// === impl Terms ===

impl Terms {
    /// A daily budget with a limit in nano-dollars.
    pub(super) fn of(self, limit: i64) -> BudgetTerms {
        let limits = |usd| Limits {
            usd: Some(NanoUsd::new(usd)),
            tokens: self.limits_tokens.then(|| Tokens::new(TOKENS)),
        };
        BudgetTerms {
            auto_replenish: true,
            replenish: limits(REPLENISHED),
            ..fixtures::daily(limits(limit))
        }
    }

    /// The limits of a new period.
    pub(super) fn replenished(self) -> Amounts {
        self.of(REPLENISHED).limits.amounts()
    }
}
