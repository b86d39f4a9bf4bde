//! Token counts, sorted into disjoint buckets.
//!
//! Anthropic API reference, "Messages" and "Prompt caching", read on 2026-11-23. `input_tokens` leaves out what was
//! read from or written to a cache; thinking is part of `output_tokens`. In a stream, counts are cumulative, and the
//! output count of its first event is a placeholder.

use assistiv_core::billing::Usage;
use assistiv_core::conversation::UsageReport;
use assistiv_core::provider::Output;
use serde::Deserialize;

/// What is known of a call's usage so far. An absent count is not a zero.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Report {
    input_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    cache_creation: Option<Written>,
    output_tokens: Option<u64>,
    output_tokens_details: Option<OutputDetails>,
    service_tier: Option<String>,
    speed: Option<String>,
}

/// Tokens written to a cache, by how long it keeps them.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
struct Written {
    ephemeral_5m_input_tokens: Option<u64>,
    ephemeral_1h_input_tokens: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
struct OutputDetails {
    thinking_tokens: Option<u64>,
}

/// Tells the output what is known of the usage.
pub(super) fn tell(report: &Report, out: &mut Output) {
    if let Some(usage) = report.usage() {
        out.report(usage.usage);
    }
    if let Some(tier) = report.tier() {
        out.report_tier(tier);
    }
}

// === impl Report ===

impl Report {
    /// That nothing was used, for answers that are not billed.
    pub(super) fn nothing() -> Self {
        Self {
            input_tokens: Some(0),
            output_tokens: Some(0),
            ..Self::default()
        }
    }

    /// Lays a later report over this one, count by count.
    pub(super) fn update(&mut self, later: Self) {
        let Self {
            input_tokens,
            cache_creation_input_tokens,
            cache_read_input_tokens,
            cache_creation,
            output_tokens,
            output_tokens_details,
            service_tier,
            speed,
        } = later;
        self.input_tokens = input_tokens.or(self.input_tokens);
        self.cache_creation_input_tokens =
            cache_creation_input_tokens.or(self.cache_creation_input_tokens);
        self.cache_read_input_tokens = cache_read_input_tokens.or(self.cache_read_input_tokens);
        self.cache_creation = cache_creation.or(self.cache_creation);
        self.output_tokens = output_tokens.or(self.output_tokens);
        self.output_tokens_details = output_tokens_details.or(self.output_tokens_details);
        self.service_tier = service_tier.or(self.service_tier.take());
        self.speed = speed.or(self.speed.take());
    }

    /// The report at the beginning of a stream, whose output count says nothing.
    pub(super) fn without_output(self) -> Self {
        Self {
            output_tokens: None,
            output_tokens_details: None,
            ..self
        }
    }

    /// The tier that sets the price: `fast` answers have one of their own.
    pub(super) fn tier(&self) -> Option<&str> {
        match self.speed.as_deref() {
            Some("fast") => Some("fast"),
            _ => self.service_tier.as_deref(),
        }
    }

    /// The counts of the input alone, once they are known.
    pub(super) fn input(&self) -> Option<UsageReport> {
        let input = self.input_tokens?;
        let split = self.cache_creation.unwrap_or_default();
        let hour = split.ephemeral_1h_input_tokens.unwrap_or(0);
        let parts = split
            .ephemeral_5m_input_tokens
            .unwrap_or(0)
            .saturating_add(hour);
        // The total counts; what the split does not explain was kept for the shorter time.
        let written = self.cache_creation_input_tokens.unwrap_or(parts);
        let cache_write_1h = hour.min(written);
        let usage = Usage {
            input,
            cached_input: self.cache_read_input_tokens.unwrap_or(0),
            cache_write_5m: written - cache_write_1h,
            cache_write_1h,
            ..Usage::default()
        };
        Some(UsageReport {
            usage,
            names_cached: self.cache_read_input_tokens.is_some(),
            names_cache_writes: self.cache_creation_input_tokens.is_some(),
            names_reasoning: false,
        })
    }

    /// All counts, once both sides of the call are known.
    pub(super) fn usage(&self) -> Option<UsageReport> {
        let mut report = self.input()?;
        let output = self.output_tokens?;
        let thinking = self
            .output_tokens_details
            .and_then(|details| details.thinking_tokens);
        report.usage.reasoning = thinking.unwrap_or(0).min(output);
        report.usage.output = output - report.usage.reasoning;
        report.names_reasoning = thinking.is_some();
        Some(report)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(json: &str) -> Report {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn cache_tokens_are_added_to_the_input() {
        let json = r#"{"input_tokens":21,"cache_creation_input_tokens":3000,"cache_read_input_tokens":18000,
            "cache_creation":{"ephemeral_5m_input_tokens":1000,"ephemeral_1h_input_tokens":2000},
            "output_tokens":50,"output_tokens_details":{"thinking_tokens":49},"service_tier":"standard"}"#;
        let usage = report(json).usage().unwrap().usage;
        assert_eq!((usage.cache_write_5m, usage.cache_write_1h), (1000, 2000));
        assert_eq!((usage.output, usage.reasoning), (1, 49));
        assert_eq!((usage.input_total(), usage.total()), (21_021, 21_071));
    }

    #[test]
    fn a_split_that_does_not_add_up_is_cut_to_the_total() {
        for (creation, five, hour) in [
            (r#""cache_creation_input_tokens":10"#, 10, 0),
            (
                r#""cache_creation_input_tokens":10,"cache_creation":{"ephemeral_1h_input_tokens":4}"#,
                6,
                4,
            ),
            (
                r#""cache_creation_input_tokens":10,"cache_creation":{"ephemeral_1h_input_tokens":40}"#,
                0,
                10,
            ),
            (
                r#""cache_creation":{"ephemeral_5m_input_tokens":3,"ephemeral_1h_input_tokens":4}"#,
                3,
                4,
            ),
            (r#""cache_creation":null"#, 0, 0),
        ] {
            let json = format!(r#"{{"input_tokens":1,"output_tokens":1,{creation}}}"#);
            let usage = report(&json).usage().unwrap().usage;
            assert_eq!(
                (usage.cache_write_5m, usage.cache_write_1h),
                (five, hour),
                "{creation}"
            );
        }
    }

    #[test]
    fn absent_is_not_zero_and_later_counts_replace_earlier_ones() {
        let mut all = report(r#"{"input_tokens":9,"cache_read_input_tokens":4,"output_tokens":1}"#)
            .without_output();
        assert_eq!(all.usage(), None);
        assert_eq!(all.input().unwrap().usage.cached_input, 4);
        all.update(report(
            r#"{"output_tokens":14,"cache_read_input_tokens":null}"#,
        ));
        let usage = all.usage().unwrap();
        assert_eq!((usage.usage.cached_input, usage.usage.output), (4, 14));
        assert!(usage.names_cached && !usage.names_cache_writes && !usage.names_reasoning);
        all.update(report(r#"{"output_tokens":15,"input_tokens":10}"#));
        assert_eq!(all.usage().unwrap().usage.total(), 29);
        assert_eq!(report(r#"{"output_tokens":15}"#).usage(), None);
    }

    #[test]
    fn speed_has_a_price_of_its_own() {
        assert_eq!(
            report(r#"{"service_tier":"standard","speed":"fast"}"#).tier(),
            Some("fast")
        );
        assert_eq!(
            report(r#"{"service_tier":"priority","speed":"standard"}"#).tier(),
            Some("priority")
        );
    }
}
