//! What Google's models take.
//!
//! Gemini API reference, "Thinking", "Thought signatures" and "Models", read on 2026-11-23. A model that is not
//! listed is taken for a new one: each generation so far took less than the one before.

use assistiv_core::conversation::Effort;

/// What a model takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Traits {
    /// `temperature`, `topP` and `topK`. Others pass over them.
    pub(super) sampling: bool,
    /// `presencePenalty` and `frequencyPenalty`. Others refuse them.
    pub(super) penalties: bool,
    pub(super) thinking: Thinking,
    /// Whether the model signs its thoughts, names its calls, and wants both back. The same generation takes a form
    /// of the answer together with tools, and pictures as results of tools.
    pub(super) signs: bool,
}

/// How a model is told to think.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Thinking {
    /// It is not.
    Unknown,
    /// By a number of tokens.
    Budget { least: u64, most: u64 },
    /// By a level.
    Level {
        /// Whether it knows the lowest one.
        minimal: bool,
    },
}

const NEWEST: Traits = Traits {
    sampling: false,
    penalties: false,
    thinking: Thinking::Level { minimal: false },
    signs: true,
};

const QUICK: Traits = Traits {
    thinking: Thinking::Level { minimal: true },
    ..NEWEST
};

const THREE_PRO: Traits = Traits {
    sampling: true,
    ..NEWEST
};

const THREE_FLASH: Traits = Traits {
    sampling: true,
    ..QUICK
};

const TWO_FIVE: Traits = Traits {
    sampling: true,
    penalties: true,
    thinking: Thinking::Budget {
        least: 0,
        most: 24_576,
    },
    signs: false,
};

const TWO_FIVE_PRO: Traits = Traits {
    thinking: Thinking::Budget {
        least: 128,
        most: 32_768,
    },
    ..TWO_FIVE
};

const OLD: Traits = Traits {
    thinking: Thinking::Unknown,
    ..TWO_FIVE
};

const GEMMA: Traits = Traits {
    penalties: false,
    ..OLD
};

/// By the beginning of the name; the first that fits counts.
const MODELS: [(&str, Traits); 12] = [
    ("gemini-1", OLD),
    ("gemini-2.0", OLD),
    ("gemini-2.5-pro", TWO_FIVE_PRO),
    ("gemini-2.5", TWO_FIVE),
    ("gemini-3-flash", THREE_FLASH),
    ("gemini-3.1-flash", THREE_FLASH),
    ("gemini-3-pro", THREE_PRO),
    ("gemini-3.1-pro", THREE_PRO),
    ("gemini-3.5-flash-lite", QUICK),
    ("gemini-3.5", THREE_FLASH),
    ("gemini-3.6", QUICK),
    ("gemini-3.7", QUICK),
];

// === impl Traits ===

impl Traits {
    /// What a model takes, by Google's name for it.
    pub(super) fn of(model: &str) -> Self {
        if model.starts_with("gemma") {
            return GEMMA;
        }
        MODELS
            .iter()
            .find(|(start, _)| model.starts_with(start))
            .map_or(NEWEST, |(_, traits)| *traits)
    }
}

/// Google's word for an effort.
pub(super) const fn level(effort: Effort, minimal: bool) -> &'static str {
    match effort {
        Effort::None | Effort::Minimal if minimal => "minimal",
        Effort::None | Effort::Minimal | Effort::Low => "low",
        Effort::Medium => "medium",
        Effort::High | Effort::Xhigh | Effort::Max => "high",
    }
}

/// The tokens to think with, in the steps of Google's own translation, within what the model and the output limit
/// allow for.
pub(super) fn budget(effort: Effort, least: u64, most: u64, limit: Option<u64>) -> u64 {
    let budget = match effort {
        Effort::None => 0,
        Effort::Minimal | Effort::Low => 1024,
        Effort::Medium => 8192,
        Effort::High => 24_576,
        Effort::Xhigh | Effort::Max => most,
    };
    // Thoughts count to the output: they must leave something of it.
    let limit = limit.map_or(u64::MAX, |limit| limit.saturating_sub(1));
    budget.min(most).min(limit).max(least)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_what_its_model_takes() {
        for (model, traits) in [
            ("gemini-2.0-flash", OLD),
            ("gemini-2.5-flash", TWO_FIVE),
            ("gemini-2.5-flash-lite", TWO_FIVE),
            ("gemini-2.5-pro", TWO_FIVE_PRO),
            ("gemini-3-flash-preview", THREE_FLASH),
            ("gemini-3.1-flash-lite", THREE_FLASH),
            ("gemini-3.1-pro-preview", THREE_PRO),
            ("gemini-3.5-flash", THREE_FLASH),
            ("gemini-3.5-flash-lite", QUICK),
            ("gemini-3.6-flash", QUICK),
            ("gemini-3.8-flash", NEWEST),
            ("gemini-4-argon", NEWEST),
            ("gemma-4-31b-it", GEMMA),
            ("something-else", NEWEST),
        ] {
            assert_eq!(Traits::of(model), traits, "{model}");
        }
    }

    #[test]
    fn a_budget_stays_within_its_bounds() {
        for (effort, least, limit, expected) in [
            (Effort::None, 0, None, 0),
            (Effort::None, 128, None, 128),
            (Effort::Low, 0, None, 1024),
            (Effort::High, 0, Some(4000), 3999),
            (Effort::Max, 0, None, 30_000),
            (Effort::Max, 128, Some(1), 128),
        ] {
            assert_eq!(budget(effort, least, 30_000, limit), expected, "{effort:?}");
        }
    }
}
