//! What a call may cost at most, and how far its output must be limited to be paid for.

use std::sync::Arc;

use super::amounts::{Amounts, Dimension, Dimensions, Legs, Overflow};
use super::display::DisplayRates;
use super::price::Price;
use crate::money::{DisplayUnits, Markup};

/// The least that is held of a display ledger, a millionth of its unit.
const DISPLAY_LEAST: DisplayUnits = DisplayUnits::new(1);

/// The most that a call may cost, as a function of its output limit.
#[derive(Clone, Debug)]
pub struct Estimate {
    /// The prices that may apply: of every target and service tier that may be used.
    pub prices: Vec<Arc<Price>>,
    /// Input tokens, with the safety factor.
    pub input_tokens: u64,
    /// The output tokens that are counted.
    pub output_tokens: u64,
    /// Whether the answer cannot be longer: the limit is sent to the provider, or is the model's own. Else the
    /// hold of a stream is extended as it grows.
    pub is_bounded: bool,
    /// What the budget's USD leg is raised by.
    pub markup: Markup,
    /// What the display ledger is charged.
    pub display: DisplayRates,
}

impl Estimate {
    /// The dearest legs for so many output tokens.
    ///
    /// # Errors
    /// [`Overflow`] when they do not fit.
    pub fn legs(&self, output_tokens: u64) -> Result<Legs, Overflow> {
        let mut legs = self.prices.iter().try_fold(Legs::ZERO, |dearest, price| {
            let ceiling = price.ceiling(self.input_tokens, output_tokens, self.markup)?;
            Ok::<_, Overflow>(dearest.max(self.display.on(ceiling, true)?))
        })?;
        // A display ledger that is used up pays for nothing more, not even for what costs it nothing.
        legs.budget.display = legs.budget.display.max(DISPLAY_LEAST);
        Ok(legs)
    }

    /// The dearest legs for the output that is counted.
    ///
    /// # Errors
    /// [`Overflow`] when they do not fit.
    pub fn full(&self) -> Result<Legs, Overflow> {
        self.legs(self.output_tokens)
    }

    /// The largest output limit whose legs fit into what is available, if even one output token does.
    pub(crate) fn affordable(&self, available: &Available) -> Option<(u64, Legs)> {
        let fits = |output| self.legs(output).ok().filter(|legs| available.covers(legs));
        let mut best = (1, fits(1)?);
        let mut too_many = self.output_tokens.saturating_add(1);
        // The legs grow with the output, so the bound is found by halving.
        while best.0 + 1 < too_many {
            let middle = best.0 + (too_many - best.0) / 2;
            match fits(middle) {
                Some(legs) => best = (middle, legs),
                None => too_many = middle,
            }
        }
        Some(best)
    }
}

/// What a payer has at hand. A dimension that is not enforced is never short.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Available {
    pub(crate) wallet: Amounts,
    pub(crate) budget: Option<(Amounts, Dimensions)>,
}

impl Available {
    pub(crate) fn covers(&self, legs: &Legs) -> bool {
        let budget = self.budget.is_none_or(|(available, enforced)| {
            Dimension::ALL
                .into_iter()
                .all(|d| !enforced.contains(d) || legs.budget.get(d) <= available.get(d))
        });
        budget && legs.wallet <= self.wallet.usd
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::billing::{Rate, Rates};
    use crate::clock::Timestamp;
    use crate::id::PriceId;
    use crate::money::{NanoUsd, Tokens};

    fn estimate() -> Estimate {
        let price = Price {
            id: PriceId::new(),
            service_tier: "standard".into(),
            effective_from: Timestamp::from_micros(0),
            per_call: NanoUsd::ZERO,
            rates: Rates {
                input: Some(Rate::new(3_000_000)),
                cached_input: Some(Rate::new(300_000)),
                output: Some(Rate::new(15_000_000)),
                ..Rates::default()
            },
            long_context: None,
        };
        let markup = Markup::new(125_000);
        Estimate {
            prices: vec![price.into()],
            input_tokens: 1400,
            output_tokens: 1000,
            is_bounded: true,
            markup,
            display: DisplayRates::default(),
        }
    }

    /// Worked example E3 of `docs/ledger.md`.
    #[test]
    fn example_e3() {
        let legs = estimate().full().unwrap();
        assert_eq!(legs.wallet, NanoUsd::new(19_200_000));
        assert_eq!(legs.budget, Amounts::from_raw(21_600_000, 2400, 1));
    }

    /// Worked example E5: the limit is lowered to what can be paid.
    #[test]
    fn example_e5() {
        let mut estimate = estimate();
        estimate.markup = Markup::NONE;
        let available = Available {
            wallet: Amounts::from_raw(i64::MAX, 0, 0),
            budget: Some((Amounts::from_raw(10_000_000, 0, 0), Dimensions::USD)),
        };
        let (limit, legs) = estimate.affordable(&available).unwrap();
        assert_eq!((limit, legs.budget.usd), (386, NanoUsd::new(9_990_000)));
    }

    #[test]
    fn a_token_limit_lowers_too() {
        let enforced = Dimensions::NONE.with(Dimension::Tokens);
        let available = Available {
            wallet: Amounts::from_raw(i64::MAX, 0, 0),
            budget: Some((Amounts::from_raw(0, 1500, 0), enforced)),
        };
        let (limit, legs) = estimate().affordable(&available).unwrap();
        assert_eq!((limit, legs.budget.tokens), (100, Tokens::new(1500)));
    }
}
