//! What Anthropic's models take.
//!
//! Anthropic API reference, "Extended thinking", "Adaptive thinking" and "Models", read on 2026-11-23. A model that
//! is not listed is taken for a new one: each generation so far took less than the one before.

use assistiv_core::conversation::Effort;

/// What a model takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Traits {
    /// `temperature`, `top_p` and `top_k`.
    pub(super) sampling: bool,
    pub(super) thinking: Thinking,
    /// Whether the caller may say that a tool must be called.
    pub(super) forced_choice: bool,
    /// Whether answers can be held to a schema.
    pub(super) schema: bool,
}

/// How a model is told to think.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Thinking {
    /// By a number of tokens.
    Budget,
    /// By an effort; it thinks as it sees fit.
    Adaptive {
        /// Whether it may be told not to.
        can_be_off: bool,
        /// Whether it knows the step between `high` and `max`.
        knows_xhigh: bool,
    },
}

const NEWEST: Traits = Traits {
    sampling: false,
    thinking: Thinking::Adaptive {
        can_be_off: false,
        knows_xhigh: true,
    },
    forced_choice: false,
    schema: true,
};

const FORCED: Traits = Traits {
    forced_choice: true,
    ..NEWEST
};

const QUIET: Traits = Traits {
    thinking: Thinking::Adaptive {
        can_be_off: true,
        knows_xhigh: true,
    },
    ..FORCED
};

const FOUR_SIX: Traits = Traits {
    sampling: true,
    thinking: Thinking::Adaptive {
        can_be_off: true,
        knows_xhigh: false,
    },
    ..FORCED
};

const FOUR_FIVE: Traits = Traits {
    thinking: Thinking::Budget,
    ..FOUR_SIX
};

const OLD: Traits = Traits {
    schema: false,
    ..FOUR_FIVE
};

/// By the beginning of the name; the first that fits counts.
const MODELS: [(&str, Traits); 19] = [
    ("claude-2", OLD),
    ("claude-3", OLD),
    ("claude-opus-4-5", FOUR_FIVE),
    ("claude-sonnet-4-5", FOUR_FIVE),
    ("claude-haiku-4-5", FOUR_FIVE),
    ("claude-opus-4-6", FOUR_SIX),
    ("claude-sonnet-4-6", FOUR_SIX),
    ("claude-opus-4-7", QUIET),
    ("claude-opus-4-8", QUIET),
    ("claude-opus-4", OLD),
    ("claude-sonnet-4", OLD),
    ("claude-opus-5-5", NEWEST),
    ("claude-sonnet-5-5", NEWEST),
    ("claude-opus-5", QUIET),
    ("claude-sonnet-5", QUIET),
    ("claude-haiku-5", QUIET),
    ("claude-fable-5-", NEWEST),
    ("claude-mythos-5-", NEWEST),
    ("claude-", NEWEST),
];

// === impl Traits ===

impl Traits {
    /// What a model takes, by Anthropic's name for it.
    pub(super) fn of(model: &str) -> Self {
        if matches!(model, "claude-fable-5" | "claude-mythos-5") {
            return FORCED;
        }
        MODELS
            .iter()
            .find(|(start, _)| model.starts_with(start))
            .map_or(NEWEST, |(_, traits)| *traits)
    }
}

/// Anthropic's word for an effort.
pub(super) const fn effort(effort: Effort, knows_xhigh: bool) -> &'static str {
    match effort {
        Effort::None | Effort::Minimal | Effort::Low => "low",
        Effort::Medium => "medium",
        Effort::High => "high",
        Effort::Xhigh if knows_xhigh => "xhigh",
        Effort::Xhigh | Effort::Max => "max",
    }
}

/// The tokens to think with, in the steps that Google's own translation uses; `None` for no thinking.
pub(super) const fn budget(effort: Effort) -> Option<u64> {
    match effort {
        Effort::None => None,
        Effort::Minimal | Effort::Low => Some(1024),
        Effort::Medium => Some(8192),
        Effort::High | Effort::Xhigh | Effort::Max => Some(24_576),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_what_its_model_takes() {
        for (model, traits) in [
            ("claude-haiku-4-5-20251001", FOUR_FIVE),
            ("claude-opus-4-1-20250805", OLD),
            ("claude-3-7-sonnet-20250219", OLD),
            ("claude-opus-4-6", FOUR_SIX),
            ("claude-opus-4-8", QUIET),
            ("claude-haiku-5-5", QUIET),
            ("claude-opus-5", QUIET),
            ("claude-opus-5-5", NEWEST),
            ("claude-fable-5", FORCED),
            ("claude-fable-5-2", NEWEST),
            ("claude-saga-9", NEWEST),
            ("something-else", NEWEST),
        ] {
            assert_eq!(Traits::of(model), traits, "{model}");
        }
    }
}
