//! What servers of OpenAI's format do differently.

use std::borrow::Cow;

/// How a server of OpenAI's format differs from OpenAI.
#[derive(Clone, Debug)]
pub struct Dialect {
    pub(super) name: Cow<'static, str>,
    pub(super) developer_role: DeveloperRole,
    pub(super) dropped: Cow<'static, [&'static str]>,
    pub(super) reasoning_tokens: ReasoningTokens,
    pub(super) finish_reason: FinishReason,
    /// Members that are not written for callers of other dialects, who cannot know that models refuse them.
    pub(super) untaken: &'static [&'static str],
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
        Self::compatible("openai")
    }

    /// xAI's (xAI API reference, "Chat completions", read on 2026-11-23): no `developer` role, no `logit_bias`,
    /// reasoning counted next to the completion, finish reasons that may be empty.
    pub fn xai() -> Self {
        Self {
            developer_role: DeveloperRole::System,
            dropped: Cow::Borrowed(&["logit_bias"]),
            reasoning_tokens: ReasoningTokens::Outside,
            finish_reason: FinishReason::Derived,
            untaken: &[
                "stop",
                "reasoning_effort",
                "strict",
                "frequency_penalty",
                "presence_penalty",
            ],
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
            untaken: &[],
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
