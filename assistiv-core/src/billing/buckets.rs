//! The buckets of usage on a ledger entry: three have columns, the others are in its metadata.

use super::ledger::{LedgerEntry, Metered};
use super::price::Usage;
use crate::json::RawObject;

/// A bucket without a column: its name, and where it is.
type Bucket = (&'static str, fn(&mut Usage) -> &mut u64);

const OF_INPUT: [Bucket; 6] = [
    ("cache_write_5m", |usage| &mut usage.cache_write_5m),
    ("cache_write_30m", |usage| &mut usage.cache_write_30m),
    ("cache_write_1h", |usage| &mut usage.cache_write_1h),
    ("cache_write_12h", |usage| &mut usage.cache_write_12h),
    ("audio_input", |usage| &mut usage.audio_input),
    ("image_input", |usage| &mut usage.image_input),
];

const OF_OUTPUT: [Bucket; 3] = [
    ("reasoning", |usage| &mut usage.reasoning),
    ("audio_output", |usage| &mut usage.audio_output),
    ("image_output", |usage| &mut usage.image_output),
];

/// The buckets that have no column of their own, where tokens fell into them: with these every leg of a charge
/// can be recomputed.
pub(super) fn further_buckets(usage: &Usage) -> RawObject {
    let mut usage = *usage;
    let mut buckets = RawObject::new();
    for (name, of) in OF_INPUT.iter().chain(&OF_OUTPUT) {
        let tokens = *of(&mut usage);
        if tokens > 0
            && let Ok(number) = serde_json::from_str(&tokens.to_string())
        {
            buckets.insert((*name).to_owned(), number);
        }
    }
    buckets
}

impl LedgerEntry {
    /// The usage that was charged, bucket by bucket; `None` where nobody counted, or where the counts contradict
    /// each other.
    pub fn usage(&self) -> Option<Usage> {
        let metered = self.metered.as_ref()?;
        usage(metered, &self.metadata)
    }
}

fn usage(metered: &Metered, metadata: &RawObject) -> Option<Usage> {
    let mut usage = Usage {
        cached_input: metered.cached_tokens,
        ..Usage::default()
    };
    let mut further = |buckets: &[Bucket]| {
        buckets.iter().try_fold(0_u64, |sum, (name, of)| {
            let tokens = match metadata.get(*name) {
                Some(number) => number.read().ok()?,
                None => 0,
            };
            *of(&mut usage) = tokens;
            sum.checked_add(tokens)
        })
    };
    let (of_input, of_output) = (further(&OF_INPUT)?, further(&OF_OUTPUT)?);
    let not_plain = of_input.checked_add(metered.cached_tokens)?;
    usage.input = metered.input_tokens.checked_sub(not_plain)?;
    usage.output = metered.output_tokens.checked_sub(of_output)?;
    Some(usage)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{ModelId, PriceId};
    use crate::money::Markup;

    #[test]
    fn usage_is_read_back_from_an_entry() {
        let whole = Usage {
            input: 1,
            cached_input: 2,
            cache_write_5m: 3,
            cache_write_30m: 4,
            cache_write_1h: 5,
            cache_write_12h: 6,
            audio_input: 7,
            image_input: 8,
            output: 9,
            reasoning: 10,
            audio_output: 11,
            image_output: 12,
        };
        let plain = Usage {
            input: 5,
            output: 7,
            ..Usage::default()
        };
        for counted in [whole, plain, Usage::default()] {
            let metered = Metered {
                model_id: ModelId::new(),
                price_id: PriceId::new(),
                input_tokens: counted.input_total(),
                cached_tokens: counted.cached_input,
                output_tokens: counted.output_total(),
                markup: Markup::NONE,
            };
            let metadata = further_buckets(&counted);
            assert_eq!(usage(&metered, &metadata), Some(counted));
            let less = Metered {
                input_tokens: counted.input_total() - counted.input,
                cached_tokens: counted.cached_input + 1,
                ..metered
            };
            assert_eq!(usage(&less, &metadata), None);
        }
    }
}
