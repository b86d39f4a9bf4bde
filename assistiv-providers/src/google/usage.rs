//! Token counts, sorted into disjoint buckets.
//!
//! Gemini API reference, "UsageMetadata", read on 2026-11-23. What was read from a cache is part of
//! `promptTokenCount`; thoughts stand beside the candidates, and what tools of Google's put into the prompt beside
//! the prompt. In a stream, counts are cumulative.

use assistiv_core::billing::Usage;
use assistiv_core::conversation::UsageReport;
use serde::Deserialize;

/// What is known of a call's usage so far. An absent count is not a zero.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    prompt_token_count: Option<u64>,
    cached_content_token_count: Option<u64>,
    tool_use_prompt_token_count: Option<u64>,
    candidates_token_count: Option<u64>,
    thoughts_token_count: Option<u64>,
    total_token_count: Option<u64>,
    prompt_tokens_details: Option<Vec<Share>>,
    cache_tokens_details: Option<Vec<Share>>,
    candidates_tokens_details: Option<Vec<Share>>,
    service_tier: Option<String>,
    traffic_type: Option<String>,
}

/// How many tokens were of one kind.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Share {
    #[serde(default)]
    modality: String,
    #[serde(default)]
    token_count: u64,
}

// === impl Report ===

impl Report {
    /// Lays a later report over this one, count by count.
    pub(super) fn update(&mut self, later: Self) {
        let mut all = later;
        std::mem::swap(self, &mut all);
        let earlier = all;
        macro_rules! keep {
            ($($count:ident),*) => { $( self.$count = self.$count.take().or(earlier.$count); )* };
        }
        keep!(
            prompt_token_count,
            cached_content_token_count,
            tool_use_prompt_token_count,
            candidates_token_count,
            thoughts_token_count,
            total_token_count,
            prompt_tokens_details,
            cache_tokens_details,
            candidates_tokens_details,
            service_tier,
            traffic_type
        );
    }

    /// The tier that sets the price.
    pub(super) fn tier(&self) -> Option<&'static str> {
        let said = self
            .service_tier
            .as_deref()
            .or(self.traffic_type.as_deref())?;
        let said = said.to_ascii_lowercase();
        [
            ("flex", "flex"),
            ("priority", "priority"),
            ("standard", "standard"),
        ]
        .into_iter()
        .find(|(word, _)| said.contains(word))
        .map(|(_, tier)| tier)
    }

    /// Whether anything is known of the output.
    pub(super) fn names_output(&self) -> bool {
        self.candidates_token_count.is_some() || self.thoughts_token_count.is_some()
    }

    /// All counts, once those of the input are known. An output that is not named is none.
    ///
    /// A detail that exceeds what is left of its total is cut to it, so that the buckets add up to the totals.
    pub(super) fn usage(&self) -> Option<UsageReport> {
        let mut left = self.prompt_token_count?;
        let cached_input = take(&mut left, self.cached_content_token_count.unwrap_or(0));
        let fresh = |modality| {
            let all = share(&self.prompt_tokens_details, modality);
            all.saturating_sub(share(&self.cache_tokens_details, modality))
        };
        let audio_input = take(&mut left, fresh("AUDIO"));
        let image_input = take(&mut left, fresh("IMAGE"));
        let of_tools = self.tool_use_prompt_token_count.unwrap_or(0);
        let thoughts = self.thoughts_token_count.unwrap_or(0);
        let mut candidates = self.candidates_token_count.unwrap_or(0);
        if self.counts_thoughts_twice() {
            candidates = candidates.saturating_sub(thoughts);
        }
        let of_candidates = |modality| share(&self.candidates_tokens_details, modality);
        let audio_output = take(&mut candidates, of_candidates("AUDIO"));
        let image_output = take(&mut candidates, of_candidates("IMAGE"));
        let usage = Usage {
            input: left.saturating_add(of_tools),
            cached_input,
            audio_input,
            image_input,
            output: candidates,
            reasoning: thoughts,
            audio_output,
            image_output,
            ..Usage::default()
        };
        Some(UsageReport {
            usage,
            names_cached: self.cached_content_token_count.is_some(),
            names_cache_writes: false,
            names_reasoning: self.thoughts_token_count.is_some(),
        })
    }

    /// Some versions count thoughts among the candidates, too; the total tells.
    fn counts_thoughts_twice(&self) -> bool {
        let thoughts = self.thoughts_token_count.unwrap_or(0);
        let candidates = self.candidates_token_count.unwrap_or(0);
        let others = [self.prompt_token_count, self.tool_use_prompt_token_count];
        let others = others.into_iter().flatten().fold(0, u64::saturating_add);
        thoughts > 0
            && thoughts <= candidates
            && self.total_token_count == others.checked_add(candidates)
    }
}

/// Takes at most `wanted` from what is left.
fn take(left: &mut u64, wanted: u64) -> u64 {
    let taken = wanted.min(*left);
    *left -= taken;
    taken
}

fn share(shares: &Option<Vec<Share>>, modality: &str) -> u64 {
    let shares = shares.iter().flatten();
    shares
        .filter(|share| share.modality == modality)
        .fold(0, |sum, share| sum.saturating_add(share.token_count))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn report(json: &str) -> Report {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn parts_of_the_prompt_are_taken_out_of_it() {
        let json = r#"{"promptTokenCount":1000,"cachedContentTokenCount":300,"toolUsePromptTokenCount":7,
            "promptTokensDetails":[{"modality":"TEXT","tokenCount":500},{"modality":"AUDIO","tokenCount":400},{"modality":"IMAGE","tokenCount":100}],
            "cacheTokensDetails":[{"modality":"AUDIO","tokenCount":100}],
            "candidatesTokenCount":20,"candidatesTokensDetails":[{"modality":"IMAGE","tokenCount":15}],"thoughtsTokenCount":5,"totalTokenCount":1032}"#;
        let usage = report(json).usage().unwrap().usage;
        assert_eq!(
            (
                usage.input,
                usage.cached_input,
                usage.audio_input,
                usage.image_input
            ),
            (307, 300, 300, 100)
        );
        assert_eq!(
            (usage.output, usage.image_output, usage.reasoning),
            (5, 15, 5)
        );
        assert_eq!(usage.total(), 1032);
    }

    #[test]
    fn thoughts_among_the_candidates_are_counted_once() {
        let json = r#"{"promptTokenCount":10,"candidatesTokenCount":50,"thoughtsTokenCount":40,"totalTokenCount":60}"#;
        let usage = report(json).usage().unwrap().usage;
        assert_eq!((usage.output, usage.reasoning, usage.total()), (10, 40, 60));
    }

    #[test]
    fn absent_is_not_zero_and_later_counts_replace_earlier_ones() {
        let mut all = report(r#"{"promptTokenCount":9,"thoughtsTokenCount":3}"#);
        all.update(report(
            r#"{"candidatesTokenCount":2,"thoughtsTokenCount":null}"#,
        ));
        all.update(report(r#"{"candidatesTokenCount":4}"#));
        let usage = all.usage().unwrap();
        assert_eq!((usage.usage.output, usage.usage.total()), (4, 16));
        assert!(usage.names_reasoning && !usage.names_cached);
        assert_eq!(report(r#"{"candidatesTokenCount":4}"#).usage(), None);
        assert!(!report(r#"{"promptTokenCount":4}"#).names_output());
    }

    #[test]
    fn the_tier_is_told_in_two_ways() {
        for (json, tier) in [
            (
                r#"{"serviceTier":"flex","trafficType":"ON_DEMAND"}"#,
                Some("flex"),
            ),
            (
                r#"{"serviceTier":"SERVICE_TIER_PRIORITY"}"#,
                Some("priority"),
            ),
            (r#"{"serviceTier":"standard"}"#, Some("standard")),
            (r#"{"trafficType":"ON_DEMAND_FLEX"}"#, Some("flex")),
            (r#"{"trafficType":"ON_DEMAND"}"#, None),
            (r#"{"serviceTier":"unspecified"}"#, None),
            ("{}", None),
        ] {
            assert_eq!(report(json).tier(), tier, "{json}");
        }
    }

    proptest! {
        #[test]
        fn buckets_always_add_up_to_the_totals(
            counts in prop::array::uniform8(prop::option::of(prop_oneof![0u64..1000, any::<u64>()])),
        ) {
            let [prompt, cached, candidates, thoughts, total, audio, cached_audio, image] = counts;
            let shares = |kind: &str, count: Option<u64>| count.map(|token_count| vec![Share { modality: kind.to_owned(), token_count }]);
            let report = Report {
                prompt_token_count: prompt, cached_content_token_count: cached, candidates_token_count: candidates,
                thoughts_token_count: thoughts, total_token_count: total, prompt_tokens_details: shares("AUDIO", audio),
                cache_tokens_details: shares("AUDIO", cached_audio), candidates_tokens_details: shares("IMAGE", image),
                ..Report::default()
            };
            let usage = report.usage().map(|report| report.usage);
            prop_assert_eq!(usage.map(|usage| usage.input_total()), prompt);
            if let Some(usage) = usage {
                let (c, t) = (candidates.unwrap_or(0), thoughts.unwrap_or(0));
                prop_assert!(usage.output_total() == c.saturating_add(t) || usage.output_total() == c);
            }
        }
    }
}
