//! What servers of OpenAI's format do differently.

use std::borrow::Cow;

use http::HeaderName;

use super::model::{self, Traits};

/// How a server of OpenAI's format differs from OpenAI.
#[derive(Clone, Debug)]
pub struct Dialect {
    pub(super) name: Cow<'static, str>,
    pub(super) developer_role: DeveloperRole,
    pub(super) dropped: Cow<'static, [&'static str]>,
    pub(super) reasoning_tokens: ReasoningTokens,
    pub(super) finish_reason: FinishReason,
    /// What each model takes.
    pub(super) models: fn(&str) -> Traits,
    /// Members that mean nothing to the server and change nothing about the answer.
    pub(super) silent: &'static [&'static str],
    /// Members without which the answer would be another one, and which the server does not know.
    pub(super) refused: &'static [&'static str],
    /// Service tiers, when the server knows only some.
    pub(super) tiers: Option<&'static [&'static str]>,
    /// Whether messages may have names, and tools may be strict.
    pub(super) names: bool,
    /// The header for what tells conversations apart in a cache, where it is no member.
    pub(super) cache_header: Option<HeaderName>,
    /// Whether there is a Responses API, too, and the smallest output limit that it takes.
    pub(super) responses: Option<u64>,
}

/// What becomes of messages of the role `developer`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeveloperRole {
    /// They are sent as they are.
    Kept,
    /// They are sent as `system` messages.
    System,
}

/// Where a server counts the tokens of a model's reasoning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReasoningTokens {
    /// Inside `completion_tokens`.
    Inside,
    /// Next to `completion_tokens`, unless the total says that they are inside.
    Outside,
}

/// Whether a finished answer always says why it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FinishReason {
    /// It does; an answer without one was cut off.
    Required,
    /// It may be empty. It is derived, once the server has said by other means that the answer is complete.
    Derived,
}

// === impl Dialect ===

impl Dialect {
    /// OpenAI's own (OpenAI API reference, "Chat", read on 2026-11-23).
    pub fn openai() -> Self {
        Self {
            dropped: Cow::Borrowed(&["top_k"]),
            models: model::openai,
            responses: Some(16),
            ..Self::compatible("openai")
        }
    }

    /// xAI's (xAI API reference, "Chat completions", read on 2026-11-23): no `developer` role, no `logit_bias`,
    /// reasoning counted next to the completion, finish reasons that may be empty.
    pub fn xai() -> Self {
        Self {
            developer_role: DeveloperRole::System,
            dropped: Cow::Borrowed(&[
                "logit_bias",
                "top_k",
                "verbosity",
                "prediction",
                "moderation",
            ]),
            reasoning_tokens: ReasoningTokens::Outside,
            finish_reason: FinishReason::Derived,
            models: model::xai,
            silent: &[
                "store",
                "metadata",
                "safety_identifier",
                "prompt_cache_key",
                "prompt_cache_options",
                "prompt_cache_retention",
            ],
            refused: &["audio", "web_search_options"],
            tiers: Some(&["default", "priority"]),
            names: false,
            cache_header: Some(HeaderName::from_static("x-grok-conv-id")),
            responses: Some(1),
            ..Self::compatible("xai")
        }
    }

    /// That of a server without differences, under a name for logs.
    pub fn compatible(name: impl Into<Cow<'static, str>>) -> Self {
        Self {
            name: name.into(),
            developer_role: DeveloperRole::Kept,
            dropped: Cow::Borrowed(&[]),
            reasoning_tokens: ReasoningTokens::Inside,
            finish_reason: FinishReason::Required,
            models: model::any,
            silent: &[],
            refused: &[],
            tiers: None,
            names: true,
            cache_header: None,
            responses: None,
        }
    }

    /// Sets what becomes of `developer` messages.
    #[must_use]
    pub fn with_developer_role(mut self, role: DeveloperRole) -> Self {
        self.developer_role = role;
        self
    }

    /// Sets the request members that the server refuses and that are therefore left out.
    #[must_use]
    pub fn with_dropped(mut self, members: impl Into<Cow<'static, [&'static str]>>) -> Self {
        self.dropped = members.into();
        self
    }

    /// Sets where reasoning is counted.
    #[must_use]
    pub fn with_reasoning_tokens(mut self, reasoning: ReasoningTokens) -> Self {
        self.reasoning_tokens = reasoning;
        self
    }

    /// Sets whether finish reasons can be relied on.
    #[must_use]
    pub fn with_finish_reason(mut self, finish: FinishReason) -> Self {
        self.finish_reason = finish;
        self
    }
}
