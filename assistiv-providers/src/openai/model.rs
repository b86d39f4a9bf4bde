//! What the models of OpenAI and xAI take on chat completions.
//!
//! OpenAI API reference, "Create chat completion" and "Models", and xAI API reference, "Models" (read on 2026-11-23).
//! A model that is not listed is taken for one of the newest where its name says so, else for one that takes
//! everything: the provider says what it does not.

use assistiv_core::conversation::Effort;

/// What a model takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Traits {
    /// `temperature` and `top_p` other than 1.
    pub(super) sampling: When,
    /// `stop` and penalties.
    pub(super) stop: When,
    /// Whether it calls functions on chat completions, and thinks there as hard as it can. Others do so on the
    /// Responses API alone.
    pub(super) functions: bool,
    /// How much it may be told to think; `None` for every word there is.
    pub(super) efforts: Option<&'static [Effort]>,
}

/// When a parameter is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    Always,
    /// When the model is told not to think.
    WithoutThinking,
    Never,
}

const ALL: Traits = Traits {
    sampling: When::Always,
    stop: When::Always,
    functions: true,
    efforts: None,
};

const REASONING: Traits = Traits {
    sampling: When::Never,
    stop: When::Never,
    ..ALL
};

const FIVE: Traits = Traits {
    sampling: When::WithoutThinking,
    stop: When::WithoutThinking,
    ..ALL
};

const FIVE_FOUR: Traits = Traits {
    functions: false,
    ..FIVE
};

const NEWEST: Traits = Traits {
    functions: false,
    ..REASONING
};

/// OpenAI's, by the beginning of the name; the first that fits counts.
const OPENAI: [(&str, Traits); 21] = [
    ("gpt-3", ALL),
    ("gpt-4", ALL),
    ("gpt-audio", ALL),
    ("gpt-5.1-codex", REASONING),
    ("gpt-5.2-codex", REASONING),
    ("gpt-5.3-codex", NEWEST),
    ("gpt-5.2-pro", REASONING),
    ("gpt-5.4-pro", NEWEST),
    ("gpt-5.5-pro", NEWEST),
    ("gpt-5.1", FIVE),
    ("gpt-5.2", FIVE),
    ("gpt-5.3", FIVE),
    ("gpt-5.", FIVE_FOUR),
    ("gpt-5", REASONING),
    ("gpt-oss", ALL),
    ("gpt-image", ALL),
    ("gpt-realtime", ALL),
    ("gpt-", NEWEST),
    ("o1", REASONING),
    ("o3", REASONING),
    ("o4", REASONING),
];

const UNTIL_XHIGH: &[Effort] = &[Effort::Low, Effort::Medium, Effort::High, Effort::Xhigh];

const GROK: Traits = Traits {
    stop: When::Never,
    efforts: Some(UNTIL_XHIGH),
    ..ALL
};

/// xAI's.
const XAI: [(&str, Traits); 7] = [
    (
        "grok-4.20-0309-non-reasoning",
        Traits {
            stop: When::Always,
            efforts: Some(&[]),
            ..GROK
        },
    ),
    ("grok-4.20-multi-agent", GROK),
    (
        "grok-4.20",
        Traits {
            efforts: Some(&[]),
            ..GROK
        },
    ),
    (
        "grok-4.3",
        Traits {
            efforts: Some(&[Effort::None, Effort::Low, Effort::Medium, Effort::High]),
            ..GROK
        },
    ),
    (
        "grok-4.5",
        Traits {
            efforts: Some(&[Effort::Low, Effort::Medium, Effort::High]),
            ..GROK
        },
    ),
    (
        "grok-4.6",
        Traits {
            efforts: Some(&[
                Effort::None,
                Effort::Low,
                Effort::Medium,
                Effort::High,
                Effort::Xhigh,
            ]),
            ..GROK
        },
    ),
    (
        "grok-build",
        Traits {
            efforts: Some(&[]),
            ..GROK
        },
    ),
];

/// What a model of OpenAI's takes.
pub(super) fn openai(model: &str) -> Traits {
    let mut models = OPENAI.iter();
    let known = models.find(|(start, _)| model.starts_with(start));
    known.map_or(ALL, |(_, traits)| *traits)
}

/// What a model of xAI's takes.
pub(super) fn xai(model: &str) -> Traits {
    let mut models = XAI.iter();
    let known = models.find(|(start, _)| model.starts_with(start));
    known.map_or(GROK, |(_, traits)| *traits)
}

/// What a model of a server takes of which nothing is known.
pub(super) fn any(_: &str) -> Traits {
    ALL
}

// === impl Traits ===

impl Traits {
    /// The word to send for an effort, as near to it as the model knows; `None` when it knows none.
    pub(super) fn effort(self, asked: Effort) -> Option<Effort> {
        let Some(known) = self.efforts else {
            return Some(asked);
        };
        let below = known.iter().copied().filter(|it| *it <= asked).max();
        below.or_else(|| known.iter().copied().min())
    }
}

// === impl When ===

impl When {
    /// Whether a request with this effort may carry the parameter.
    pub(super) fn holds(self, effort: Option<Effort>) -> bool {
        match self {
            Self::Always => true,
            Self::WithoutThinking => effort == Some(Effort::None),
            Self::Never => false,
        }
    }
}

/// OpenAI's word for an effort.
pub(super) const fn word(effort: Effort) -> &'static str {
    match effort {
        Effort::None => "none",
        Effort::Minimal => "minimal",
        Effort::Low => "low",
        Effort::Medium => "medium",
        Effort::High => "high",
        Effort::Xhigh => "xhigh",
        Effort::Max => "max",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_what_its_model_takes() {
        for (model, traits) in [
            ("gpt-4o-mini", ALL),
            ("chat-latest", ALL),
            ("gpt-5-mini", REASONING),
            ("gpt-5-pro", REASONING),
            ("gpt-5.1", FIVE),
            ("gpt-5.2-pro", REASONING),
            ("gpt-5.4-mini", FIVE_FOUR),
            ("gpt-5.5-pro", NEWEST),
            ("gpt-6.1-sol", NEWEST),
            ("gpt-7", NEWEST),
            ("o3", REASONING),
        ] {
            assert_eq!(openai(model), traits, "{model}");
        }
        assert_eq!(xai("grok-4.7"), GROK);
        assert_eq!(xai("grok-4.20-0309-non-reasoning").stop, When::Always);
    }

    #[test]
    fn the_nearest_effort_is_sent() {
        for (model, asked, sent) in [
            ("grok-4.7", Effort::None, Some(Effort::Low)),
            ("grok-4.7", Effort::Max, Some(Effort::Xhigh)),
            ("grok-4.5", Effort::Xhigh, Some(Effort::High)),
            ("grok-4.3", Effort::None, Some(Effort::None)),
            ("grok-4.3", Effort::Minimal, Some(Effort::None)),
            ("grok-4.20-0309-reasoning", Effort::High, None),
        ] {
            assert_eq!(xai(model).effort(asked), sent, "{model} {asked:?}");
        }
        assert_eq!(
            openai("gpt-6").effort(Effort::Minimal),
            Some(Effort::Minimal)
        );
    }
}
