//! Token counts of the Responses API, sorted into disjoint buckets.
//!
//! OpenAI API reference, "The response object", read on 2026-11-23: what was read from or written to a cache is part
//! of `input_tokens`, and reasoning is part of `output_tokens`.

use assistiv_core::billing::Usage;
use assistiv_core::conversation::UsageReport;
use serde::Deserialize;

/// A `usage` object.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(super) struct Report {
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    input_tokens_details: Option<InputDetails>,
    output_tokens_details: Option<OutputDetails>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
struct InputDetails {
    cached_tokens: Option<u64>,
    cache_write_tokens: Option<u64>,
    cache_write_tokens_details: Option<Written>,
}

/// Tokens written to a cache, by how long it keeps them.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
struct Written {
    ttl_12h_tokens: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
struct OutputDetails {
    reasoning_tokens: Option<u64>,
}

// === impl Report ===

impl Report {
    /// All counts, once both sides of the call are known.
    ///
    /// A detail that exceeds what is left of its total is cut to it, so that the buckets add up to the totals.
    pub(super) fn usage(&self) -> Option<UsageReport> {
        let mut left = self.input_tokens?;
        let output = self.output_tokens?;
        let input = self.input_tokens_details.unwrap_or_default();
        let cached_input = take(&mut left, input.cached_tokens);
        let mut written = take(&mut left, input.cache_write_tokens);
        // The total counts; what the split does not explain was kept for the shorter time.
        let split = input.cache_write_tokens_details.unwrap_or_default();
        let cache_write_12h = take(&mut written, split.ttl_12h_tokens);
        let thought = self.output_tokens_details.unwrap_or_default();
        let mut rest = output;
        let reasoning = take(&mut rest, thought.reasoning_tokens);
        let usage = Usage {
            input: left,
            cached_input,
            cache_write_30m: written,
            cache_write_12h,
            output: rest,
            reasoning,
            ..Usage::default()
        };
        Some(UsageReport {
            usage,
            names_cached: input.cached_tokens.is_some(),
            names_cache_writes: input.cache_write_tokens.is_some(),
            names_reasoning: thought.reasoning_tokens.is_some(),
        })
    }
}

fn take(left: &mut u64, part: Option<u64>) -> u64 {
    let part = part.unwrap_or(0).min(*left);
    *left -= part;
    part
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn writes_are_told_apart_by_how_long_they_last() {
        let json = r#"{"input_tokens":2048,"input_tokens_details":{"cached_tokens":24,"cache_write_tokens":1000,
            "cache_write_tokens_details":{"ttl_30m_tokens":600,"ttl_12h_tokens":400}},"output_tokens":70,
            "output_tokens_details":{"reasoning_tokens":31},"total_tokens":2118}"#;
        let report: Report = serde_json::from_str(json).unwrap();
        let usage = report.usage().unwrap().usage;
        assert_eq!((usage.input, usage.cached_input), (1024, 24));
        assert_eq!((usage.cache_write_30m, usage.cache_write_12h), (600, 400));
        assert_eq!(
            (usage.output, usage.reasoning, usage.total()),
            (39, 31, 2118)
        );
    }

    #[test]
    fn absent_is_not_zero() {
        for json in ["{}", r#"{"input_tokens":1}"#, r#"{"output_tokens":1}"#] {
            let report: Report = serde_json::from_str(json).unwrap();
            assert_eq!(report.usage(), None, "{json}");
        }
    }

    proptest! {
        #[test]
        fn buckets_always_add_up_to_the_totals(counts in prop::array::uniform6(prop::option::of(prop_oneof![0u64..1000, any::<u64>()]))) {
            let [input_tokens, output_tokens, cached_tokens, cache_write_tokens, ttl_12h_tokens, reasoning_tokens] = counts;
            let report = Report {
                input_tokens, output_tokens,
                input_tokens_details: Some(InputDetails { cached_tokens, cache_write_tokens, cache_write_tokens_details: Some(Written { ttl_12h_tokens }) }),
                output_tokens_details: Some(OutputDetails { reasoning_tokens }),
            };
            match report.usage() {
                Some(report) => {
                    prop_assert_eq!(Some(report.usage.input_total()), input_tokens);
                    prop_assert_eq!(Some(report.usage.output_total()), output_tokens);
                }
                None => prop_assert!(input_tokens.is_none() || output_tokens.is_none()),
            }
        }
    }
}
