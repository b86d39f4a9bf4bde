//! Usage in disjoint buckets, versions of prices, and cost (`docs/ledger.md`).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use super::amounts::{Amounts, Legs, Overflow};
use crate::clock::Timestamp;
use crate::id::PriceId;
use crate::money::{
    AmountError, DisplayUnits, Markup, NanoUsd, Tokens, decimal_text, parse_scaled, write_scaled,
};

/// Tokens of one call in disjoint buckets: each token is counted in exactly one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Input tokens that no other bucket holds.
    pub input: u64,
    /// Input tokens read from a cache.
    pub cached_input: u64,
    /// Input tokens written to a cache for five minutes.
    pub cache_write_5m: u64,
    /// Input tokens written to a cache for thirty minutes.
    pub cache_write_30m: u64,
    /// Input tokens written to a cache for an hour.
    pub cache_write_1h: u64,
    /// Input tokens written to a cache for twelve hours.
    pub cache_write_12h: u64,
    /// Audio input tokens.
    pub audio_input: u64,
    /// Image input tokens.
    pub image_input: u64,
    /// Output tokens that no other bucket holds.
    pub output: u64,
    /// Output tokens spent on reasoning.
    pub reasoning: u64,
    /// Audio output tokens.
    pub audio_output: u64,
    /// Image output tokens.
    pub image_output: u64,
}

/// A price in micro-dollars per million tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rate(i64);

/// Rates by bucket. A bucket without a rate is charged as its documentation here says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rates {
    /// Uncached input.
    pub input: Option<Rate>,
    /// Input read from a cache; else as `input`.
    pub cached_input: Option<Rate>,
    /// Input written to a cache for five minutes; else as `input`.
    pub cache_write_5m: Option<Rate>,
    /// Input written to a cache for thirty minutes; else as `cache_write_5m`.
    pub cache_write_30m: Option<Rate>,
    /// Input written to a cache for an hour; else as `cache_write_5m`.
    pub cache_write_1h: Option<Rate>,
    /// Input written to a cache for twelve hours; else as `cache_write_5m`.
    pub cache_write_12h: Option<Rate>,
    /// Audio input; else as `input`.
    pub audio_input: Option<Rate>,
    /// Image input; else as `input`.
    pub image_input: Option<Rate>,
    /// Output.
    pub output: Option<Rate>,
    /// Reasoning; else as `output`.
    pub reasoning: Option<Rate>,
    /// Audio output; else as `output`.
    pub audio_output: Option<Rate>,
    /// Image output; else as `output`.
    pub image_output: Option<Rate>,
}

/// Rates that replace the others when the whole prompt is long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LongContext {
    /// The rates hold when all input tokens together exceed this.
    pub above_input_tokens: u64,
    /// A rate that is absent here stays.
    pub rates: Rates,
}

/// One version of a price. Versions never change; a correction is a new version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Price {
    /// The version, kept with every charge.
    pub id: PriceId,
    /// The service tier it is for, `standard` by default.
    pub service_tier: String,
    /// From when on it is in force.
    pub effective_from: Timestamp,
    /// A fixed amount per call.
    pub per_call: NanoUsd,
    /// The rates.
    pub rates: Rates,
    /// Other rates for long prompts.
    pub long_context: Option<LongContext>,
}

// === impl Usage ===

impl Usage {
    /// All input tokens, cached ones included.
    pub fn input_total(&self) -> u64 {
        [
            self.input,
            self.cached_input,
            self.cache_write_5m,
            self.cache_write_30m,
            self.cache_write_1h,
            self.cache_write_12h,
            self.audio_input,
            self.image_input,
        ]
        .iter()
        .fold(0, |sum, n| sum.saturating_add(*n))
    }

    /// All output tokens, reasoning included.
    pub fn output_total(&self) -> u64 {
        [
            self.output,
            self.reasoning,
            self.audio_output,
            self.image_output,
        ]
        .iter()
        .fold(0, |sum, n| sum.saturating_add(*n))
    }

    /// Input and output together: what a token limit counts.
    pub fn total(&self) -> u64 {
        self.input_total().saturating_add(self.output_total())
    }
}

// === impl Rate ===

impl Rate {
    /// Wraps micro-dollars per million tokens.
    pub const fn new(micro_usd_per_million: i64) -> Self {
        Self(micro_usd_per_million)
    }
}

/// Reads US dollars per million tokens, 0 or more, with at most six fractional digits.
impl FromStr for Rate {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, AmountError> {
        let value = parse_scaled(text, 6, 1_000_000_000_000, "1000000")?;
        if value < 0 {
            Err(AmountError::Range { max: "1000000" })
        } else {
            Ok(Self(value))
        }
    }
}

/// US dollars per million tokens, exactly: six fractional digits.
impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_scaled(f, self.0, 6, 6)
    }
}

/// Writes an exact JSON number.
impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let number = RawValue::from_string(self.to_string()).map_err(serde::ser::Error::custom)?;
        number.serialize(serializer)
    }
}

/// Reads a JSON number or string from its source text, never through a float.
impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        decimal_text(&raw)
            .and_then(|text| text.parse())
            .map_err(serde::de::Error::custom)
    }
}

// === impl Rates ===

impl Rates {
    /// These rates where present, else `base`.
    #[must_use]
    fn over(&self, base: &Self) -> Self {
        Self {
            input: self.input.or(base.input),
            cached_input: self.cached_input.or(base.cached_input),
            cache_write_5m: self.cache_write_5m.or(base.cache_write_5m),
            cache_write_30m: self.cache_write_30m.or(base.cache_write_30m),
            cache_write_1h: self.cache_write_1h.or(base.cache_write_1h),
            cache_write_12h: self.cache_write_12h.or(base.cache_write_12h),
            audio_input: self.audio_input.or(base.audio_input),
            image_input: self.image_input.or(base.image_input),
            output: self.output.or(base.output),
            reasoning: self.reasoning.or(base.reasoning),
            audio_output: self.audio_output.or(base.audio_output),
            image_output: self.image_output.or(base.image_output),
        }
    }

    /// Each bucket's tokens with the rate they are charged at, fallbacks applied.
    fn of(&self, usage: &Usage) -> [(u64, Rate); 12] {
        let input = self.input.unwrap_or_default();
        let output = self.output.unwrap_or_default();
        let cache_write = self.cache_write_5m.unwrap_or(input);
        [
            (usage.input, input),
            (usage.cached_input, self.cached_input.unwrap_or(input)),
            (usage.cache_write_5m, cache_write),
            (
                usage.cache_write_30m,
                self.cache_write_30m.unwrap_or(cache_write),
            ),
            (
                usage.cache_write_1h,
                self.cache_write_1h.unwrap_or(cache_write),
            ),
            (
                usage.cache_write_12h,
                self.cache_write_12h.unwrap_or(cache_write),
            ),
            (usage.audio_input, self.audio_input.unwrap_or(input)),
            (usage.image_input, self.image_input.unwrap_or(input)),
            (usage.output, output),
            (usage.reasoning, self.reasoning.unwrap_or(output)),
            (usage.audio_output, self.audio_output.unwrap_or(output)),
            (usage.image_output, self.image_output.unwrap_or(output)),
        ]
    }

    fn dearest_input(&self) -> Rate {
        let all = [
            self.input,
            self.cache_write_5m,
            self.cache_write_30m,
            self.cache_write_1h,
            self.cache_write_12h,
            self.audio_input,
            self.image_input,
        ];
        all.into_iter().flatten().max().unwrap_or_default()
    }

    fn dearest_output(&self) -> Rate {
        let all = [
            self.output,
            self.reasoning,
            self.audio_output,
            self.image_output,
        ];
        all.into_iter().flatten().max().unwrap_or_default()
    }
}

// === impl Price ===

impl Price {
    /// What `usage` costs, with every leg rounded once.
    ///
    /// # Errors
    /// [`Overflow`] when a leg does not fit; then nothing is posted.
    pub fn cost(&self, usage: &Usage, markup: Markup) -> Result<Legs, Overflow> {
        let rates = self.rates_for(usage.input_total());
        let thousandths = rates
            .of(usage)
            .iter()
            .try_fold(0i128, |sum, (tokens, rate)| {
                i128::from(*tokens)
                    .checked_mul(i128::from(rate.0))?
                    .checked_add(sum)
            });
        self.legs(thousandths.ok_or(Overflow)?, usage.total(), markup)
    }

    /// The most that `input` and `output` tokens may cost under this price, whatever buckets they fall into.
    ///
    /// # Errors
    /// [`Overflow`] when a leg does not fit.
    pub fn ceiling(&self, input: u64, output: u64, markup: Markup) -> Result<Legs, Overflow> {
        // Both sides of the long-context bound: the estimate may be off by a few tokens.
        let rates = match &self.long_context {
            Some(long) if input.saturating_add(input / 4) > long.above_input_tokens => {
                long.rates.over(&self.rates)
            }
            _ => self.rates,
        };
        let input_cost = i128::from(input)
            .checked_mul(i128::from(rates.dearest_input().0))
            .ok_or(Overflow)?;
        let output_cost = i128::from(output)
            .checked_mul(i128::from(rates.dearest_output().0))
            .ok_or(Overflow)?;
        let thousandths = input_cost.checked_add(output_cost).ok_or(Overflow)?;
        self.legs(thousandths, input.saturating_add(output), markup)
    }

    /// The rates for a prompt of this size.
    pub(crate) fn rates_for(&self, input_total: u64) -> Rates {
        match &self.long_context {
            Some(long) if input_total > long.above_input_tokens => long.rates.over(&self.rates),
            _ => self.rates,
        }
    }

    /// Tokens times micro-dollars per million are thousandths of a nano-dollar.
    fn legs(&self, thousandths: i128, tokens: u64, markup: Markup) -> Result<Legs, Overflow> {
        let base = i128::from(self.per_call.get())
            .checked_mul(1000)
            .and_then(|f| f.checked_add(thousandths));
        let base = base.ok_or(Overflow)?;
        let marked_up = base
            .checked_mul(1_000_000 + i128::from(markup.get()))
            .ok_or(Overflow)?;
        Ok(Legs {
            wallet: round(base, 1000)?,
            budget: Amounts {
                usd: round(marked_up, 1_000_000_000)?,
                tokens: Tokens::new(i64::try_from(tokens).map_err(|_| Overflow)?),
                display: DisplayUnits::ZERO,
            },
        })
    }
}

/// Rounds half up to a nano-dollar, once per leg; what is above zero costs at least one.
pub(super) fn round(exact: i128, denominator: i128) -> Result<NanoUsd, Overflow> {
    let rounded = exact.checked_add(denominator / 2).ok_or(Overflow)? / denominator;
    let rounded = if exact > 0 { rounded.max(1) } else { rounded };
    i64::try_from(rounded)
        .map(NanoUsd::new)
        .map_err(|_| Overflow)
}

#[cfg(test)]
mod tests {
    use bigdecimal::num_bigint::BigInt;
    use bigdecimal::{BigDecimal, RoundingMode};
    use proptest::prelude::*;

    use super::*;

    fn price(input: i64, cached: Option<i64>, output: i64) -> Price {
        Price {
            id: PriceId::new(),
            service_tier: "standard".into(),
            effective_from: Timestamp::from_micros(0),
            per_call: NanoUsd::ZERO,
            rates: Rates {
                input: Some(Rate::new(input)),
                cached_input: cached.map(Rate::new),
                output: Some(Rate::new(output)),
                ..Rates::default()
            },
            long_context: None,
        }
    }

    /// Worked example E1 of `docs/ledger.md`.
    #[test]
    fn example_e1() {
        let usage = Usage {
            input: 234,
            cached_input: 1000,
            output: 567,
            ..Usage::default()
        };
        let legs = price(3_000_000, Some(300_000), 15_000_000)
            .cost(&usage, Markup::new(125_000))
            .unwrap();
        assert_eq!(legs.wallet, NanoUsd::new(9_507_000));
        assert_eq!(legs.budget.usd, NanoUsd::new(10_695_375));
        assert_eq!(legs.budget.tokens, Tokens::new(1801));
    }

    /// Worked example E2: each leg is rounded once, from the exact cost.
    #[test]
    fn example_e2() {
        let one = Usage {
            input: 1,
            ..Usage::default()
        };
        let legs = price(37_500, None, 0)
            .cost(&one, Markup::new(200_000))
            .unwrap();
        assert_eq!(
            (legs.wallet, legs.budget.usd),
            (NanoUsd::new(38), NanoUsd::new(45))
        );
        assert_eq!(
            price(200, None, 0).cost(&one, Markup::NONE).unwrap().wallet,
            NanoUsd::new(1)
        );
        let ten = Usage {
            input: 10,
            ..Usage::default()
        };
        assert_eq!(
            price(20_000, None, 0)
                .cost(&ten, Markup::NONE)
                .unwrap()
                .wallet,
            NanoUsd::new(200)
        );
    }

    #[test]
    fn a_long_prompt_reprices_the_whole_request() {
        let mut price = price(2_000_000, None, 10_000_000);
        price.long_context = Some(LongContext {
            above_input_tokens: 1000,
            rates: Rates {
                input: Some(Rate::new(4_000_000)),
                ..Rates::default()
            },
        });
        let at = |input| {
            price
                .cost(
                    &Usage {
                        input,
                        output: 1,
                        ..Usage::default()
                    },
                    Markup::NONE,
                )
                .unwrap()
                .wallet
        };
        assert_eq!(at(1000), NanoUsd::new(2_000_000 + 10_000));
        assert_eq!(at(1001), NanoUsd::new(4_004_000 + 10_000));
    }

    #[test]
    fn overflow_is_an_error() {
        let usage = Usage {
            input: u64::MAX,
            ..Usage::default()
        };
        assert_eq!(
            price(1_000_000_000_000, None, 0).cost(&usage, Markup::MAX),
            Err(Overflow)
        );
    }

    proptest! {
        #[test]
        fn agrees_with_rational_arithmetic(
            tokens in prop::array::uniform3(0u64..100_000_000), rates in prop::array::uniform3(0i64..1_000_000_000),
            markup in 0i64..=10_000_000,
        ) {
            let usage = Usage { input: tokens[0], cached_input: tokens[1], output: tokens[2], ..Usage::default() };
            let legs = price(rates[0], Some(rates[1]), rates[2]).cost(&usage, Markup::new(markup)).unwrap();
            // USD = Σ tokens × micro-dollars per million / 10^12, with markup × (1 + m / 10^6).
            let exact: BigInt = tokens.iter().zip(rates).map(|(t, r)| BigInt::from(*t) * BigInt::from(r)).sum();
            let wallet = BigDecimal::new(exact.clone(), 12);
            let budget = BigDecimal::new(exact * BigInt::from(1_000_000 + markup), 18);
            for (leg, exact) in [(legs.wallet, wallet), (legs.budget.usd, budget)] {
                let rounded = exact.with_scale_round(9, RoundingMode::HalfUp);
                let least = BigDecimal::new(BigInt::from(1), 9);
                let expected = if exact > 0 { rounded.max(least) } else { rounded };
                prop_assert_eq!(leg.to_decimal(), expected);
            }
        }

        #[test]
        fn the_ceiling_is_never_below_the_cost(input in 0u64..1_000_000, cached in 0u64..1000, output in 0u64..100_000) {
            let price = price(3_000_000, Some(300_000), 15_000_000);
            let cached = cached.min(input);
            let usage = Usage { input: input - cached, cached_input: cached, output, ..Usage::default() };
            let cost = price.cost(&usage, Markup::NONE).unwrap();
            let ceiling = price.ceiling(input, output, Markup::NONE).unwrap();
            prop_assert!(ceiling.wallet >= cost.wallet && ceiling.budget.usd >= cost.budget.usd);
        }
    }
}
