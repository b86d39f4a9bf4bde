//! Token counts of OpenAI's format, sorted into disjoint buckets.
//!
//! OpenAI API reference, "The chat completion object", and xAI API reference, "Chat completions" (both read on
//! 2026-11-23). Cached, cache-written, audio and image tokens are parts of `prompt_tokens`; audio and image
//! tokens and, at OpenAI, reasoning are parts of `completion_tokens`.

use assistiv_core::billing::Usage;
use assistiv_core::json::Members;
use bytes::Bytes;
use serde::Deserialize;

use super::dialect::ReasoningTokens;

/// Members with which a provider tells what the call cost the platform; no caller's business.
const COSTS: [&str; 4] = ["cost", "cost_details", "cost_in_usd_ticks", "is_byok"];

/// What is known of a call's usage so far. An absent count is not a zero.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(super) struct Report {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    total_tokens: Option<u64>,
    #[serde(default)]
    prompt_tokens_details: Option<PromptDetails>,
    #[serde(default)]
    completion_tokens_details: Option<CompletionDetails>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
struct PromptDetails {
    cached_tokens: Option<u64>,
    cache_write_tokens: Option<u64>,
    audio_tokens: Option<u64>,
    image_tokens: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
struct CompletionDetails {
    reasoning_tokens: Option<u64>,
    audio_tokens: Option<u64>,
    image_tokens: Option<u64>,
}

// === impl Report ===

impl Report {
    /// Reads a `usage` object. One that cannot be read counts as not sent: then usage is estimated, which
    /// serves the caller better than losing the answer.
    pub(super) fn read(json: &str) -> Option<Self> {
        serde_json::from_str(json).ok()
    }

    /// Lays a later report over this one, count by count.
    pub(super) fn update(&mut self, later: &Self) {
        let prompt = self.prompt_tokens_details.unwrap_or_default();
        let completion = self.completion_tokens_details.unwrap_or_default();
        let later_prompt = later.prompt_tokens_details.unwrap_or_default();
        let later_completion = later.completion_tokens_details.unwrap_or_default();
        *self = Self {
            prompt_tokens: later.prompt_tokens.or(self.prompt_tokens),
            completion_tokens: later.completion_tokens.or(self.completion_tokens),
            total_tokens: later.total_tokens.or(self.total_tokens),
            prompt_tokens_details: Some(PromptDetails {
                cached_tokens: later_prompt.cached_tokens.or(prompt.cached_tokens),
                cache_write_tokens: later_prompt
                    .cache_write_tokens
                    .or(prompt.cache_write_tokens),
                audio_tokens: later_prompt.audio_tokens.or(prompt.audio_tokens),
                image_tokens: later_prompt.image_tokens.or(prompt.image_tokens),
            }),
            completion_tokens_details: Some(CompletionDetails {
                reasoning_tokens: later_completion
                    .reasoning_tokens
                    .or(completion.reasoning_tokens),
                audio_tokens: later_completion.audio_tokens.or(completion.audio_tokens),
                image_tokens: later_completion.image_tokens.or(completion.image_tokens),
            }),
        };
    }

    /// The counts in disjoint buckets, once both sides of the call are known.
    ///
    /// A detail that exceeds what is left of its total is cut to it, so the buckets always add up to the totals.
    pub(super) fn usage(&self, reasoning: ReasoningTokens) -> Option<Usage> {
        let prompt = self.prompt_tokens?;
        let output_total = self.output_total(reasoning)?;
        let details = self.prompt_tokens_details.unwrap_or_default();
        let mut left = prompt;
        let cached_input = take(&mut left, details.cached_tokens);
        let cache_write_30m = take(&mut left, details.cache_write_tokens);
        let audio_input = take(&mut left, details.audio_tokens);
        let image_input = take(&mut left, details.image_tokens);
        let input = left;
        let details = self.completion_tokens_details.unwrap_or_default();
        let mut left = output_total;
        let reasoning = take(&mut left, details.reasoning_tokens);
        let audio_output = take(&mut left, details.audio_tokens);
        let image_output = take(&mut left, details.image_tokens);
        Some(Usage {
            input,
            cached_input,
            cache_write_30m,
            audio_input,
            image_input,
            output: left,
            reasoning,
            audio_output,
            image_output,
            ..Usage::default()
        })
    }

    /// All output tokens, reasoning included.
    fn output_total(&self, reasoning: ReasoningTokens) -> Option<u64> {
        let completion = self.completion_tokens?;
        let outside = self
            .completion_tokens_details
            .unwrap_or_default()
            .reasoning_tokens
            .unwrap_or(0);
        let adds_up = self.total_tokens.is_some_and(|total| {
            self.prompt_tokens
                .and_then(|prompt| prompt.checked_add(completion))
                == Some(total)
        });
        match reasoning {
            ReasoningTokens::Outside if !adds_up => Some(completion.saturating_add(outside)),
            ReasoningTokens::Outside | ReasoningTokens::Inside => Some(completion),
        }
    }

    /// The provider's `usage` object as the caller may see it: without costs, with `completion_tokens` that
    /// include reasoning as OpenAI's do. `None` when it can stay as it is.
    pub(super) fn for_caller(&self, json: &str, reasoning: ReasoningTokens) -> Option<String> {
        let mut members = Members::parse_trusted(Bytes::copy_from_slice(json.as_bytes())).ok()?;
        let costs = COSTS.iter().filter(|name| members.remove(name)).count();
        let total = self.output_total(reasoning);
        if total != self.completion_tokens
            && let Some(total) = total
        {
            members.set("completion_tokens", total.to_string());
        } else if costs == 0 {
            return None;
        }
        String::from_utf8(members.to_bytes().into()).ok()
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

    const INSIDE: ReasoningTokens = ReasoningTokens::Inside;
    const OUTSIDE: ReasoningTokens = ReasoningTokens::Outside;

    fn usage(json: &str, reasoning: ReasoningTokens) -> Option<Usage> {
        Report::read(json)?.usage(reasoning)
    }

    #[test]
    fn parts_are_taken_out_of_their_totals() {
        let json = r#"{"prompt_tokens":1000,"completion_tokens":500,"total_tokens":1500,
            "prompt_tokens_details":{"cached_tokens":100,"cache_write_tokens":200,"audio_tokens":30,"image_tokens":4},
            "completion_tokens_details":{"reasoning_tokens":400,"audio_tokens":50,"rejected_prediction_tokens":9}}"#;
        let expected = Usage {
            input: 666,
            cached_input: 100,
            cache_write_30m: 200,
            audio_input: 30,
            image_input: 4,
            output: 50,
            reasoning: 400,
            audio_output: 50,
            ..Usage::default()
        };
        assert_eq!(usage(json, INSIDE), Some(expected));
        // The guard: the total says that reasoning is inside already.
        assert_eq!(usage(json, OUTSIDE), Some(expected));
    }

    #[test]
    fn reasoning_outside_is_added() {
        let json = r#"{"prompt_tokens":32,"completion_tokens":9,"total_tokens":135,
            "completion_tokens_details":{"reasoning_tokens":94},"cost_in_usd_ticks":1}"#;
        let expected = Usage {
            input: 32,
            output: 9,
            reasoning: 94,
            ..Usage::default()
        };
        assert_eq!(usage(json, OUTSIDE), Some(expected));
        let report = Report::read(json).unwrap();
        let shown = report.for_caller(json, OUTSIDE).unwrap();
        assert!(
            shown.contains(r#""completion_tokens":103"#) && !shown.contains("ticks"),
            "{shown}"
        );
    }

    #[test]
    fn what_openai_reports_is_shown_as_it_is() {
        let json = r#"{"prompt_tokens":3, "completion_tokens":2,"total_tokens":5}"#;
        assert_eq!(Report::read(json).unwrap().for_caller(json, INSIDE), None);
    }

    #[test]
    fn more_cached_than_prompted_is_cut() {
        let json = r#"{"prompt_tokens":10,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":99}}"#;
        assert_eq!(
            usage(json, INSIDE),
            Some(Usage {
                cached_input: 10,
                output: 1,
                ..Usage::default()
            })
        );
    }

    #[test]
    fn absent_is_not_zero() {
        assert_eq!(usage(r#"{"prompt_tokens":10}"#, INSIDE), None);
        assert_eq!(usage("{}", INSIDE), None);
        assert_eq!(
            usage(r#"{"prompt_tokens":-1,"completion_tokens":1}"#, INSIDE),
            None
        );
        assert_eq!(
            usage(r#"{"prompt_tokens":0,"completion_tokens":0}"#, INSIDE),
            Some(Usage::default())
        );
        let mut report =
            Report::read(r#"{"prompt_tokens":10,"prompt_tokens_details":{"cached_tokens":4}}"#)
                .unwrap();
        report.update(
            &Report::read(r#"{"completion_tokens":2,"prompt_tokens_details":null}"#).unwrap(),
        );
        let expected = Usage {
            input: 6,
            cached_input: 4,
            output: 2,
            ..Usage::default()
        };
        assert_eq!(report.usage(INSIDE), Some(expected));
    }

    proptest! {
        #[test]
        fn buckets_always_add_up_to_the_totals(
            counts in prop::array::uniform10(prop::option::of(prop_oneof![0u64..1000, any::<u64>()])),
            outside in any::<bool>(),
        ) {
            let [p, c, t, cached, write, audio_in, image_in, reasoning, audio_out, image_out] = counts;
            let report = Report {
                prompt_tokens: p,
                completion_tokens: c,
                total_tokens: t,
                prompt_tokens_details: Some(PromptDetails {
                    cached_tokens: cached, cache_write_tokens: write, audio_tokens: audio_in, image_tokens: image_in,
                }),
                completion_tokens_details: Some(CompletionDetails {
                    reasoning_tokens: reasoning, audio_tokens: audio_out, image_tokens: image_out,
                }),
            };
            let dialect = if outside { OUTSIDE } else { INSIDE };
            match (report.usage(dialect), p, c) {
                (Some(usage), Some(p), Some(c)) => {
                    prop_assert_eq!(usage.input_total(), p);
                    prop_assert!(usage.output_total() >= c);
                    let most = if outside { c.saturating_add(reasoning.unwrap_or(0)) } else { c };
                    prop_assert!(usage.output_total() <= most);
                }
                (usage, p, c) => prop_assert!(usage.is_none() && (p.is_none() || c.is_none())),
            }
        }
    }
}
