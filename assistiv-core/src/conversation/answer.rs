//! Answers, event by event.

use super::memory::ProviderState;
use crate::billing::Usage;

/// Something that an adapter has read in an answer.
///
/// A decoder hands events to [`AnswerWriter`](crate::provider::AnswerWriter) in the order in which they happen.
/// Empty pieces of text are passed over, so that an adapter need not look.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum AnswerEvent<'a> {
    /// The answer has begun, under the provider's own names for it and for the model that answers.
    Started {
        /// The answer's id.
        id: Option<&'a str>,
        /// The model that answers, which may differ from the one that was asked.
        model: Option<&'a str>,
    },
    /// A piece of text.
    Text(&'a str),
    /// A piece of what the model thinks.
    Reasoning(&'a str),
    /// State to give back with the next turn, for the thoughts since the last one. Comes without text, too.
    ReasoningState(ProviderState),
    /// A piece of a refusal, from providers that keep refusals apart from text.
    Refusal(&'a str),
    /// The model begins to call a tool. Parallel calls come one after the other.
    ToolCall {
        /// The provider's id for the call; one is made up where it gives none.
        id: Option<&'a str>,
        /// The tool.
        name: &'a str,
        /// State to give back with the call.
        state: Option<ProviderState>,
    },
    /// A piece of the JSON text of the arguments of the call that began last. A call without any gets `{}`.
    Arguments(&'a str),
    /// What the provider says was used up to now. Later reports replace earlier ones.
    Usage(UsageReport),
    /// What the provider says the input was, before it generates anything. No report of the output, which only
    /// [`Usage`](Self::Usage) is.
    Input(UsageReport),
    /// The service tier that the provider says it has used.
    Tier(&'a str),
    /// The answer is complete: nothing that follows can spoil it. Usage may still come.
    Finished {
        /// Why it ended.
        reason: FinishReason,
        /// The text that ended it, when it was one of the caller's.
        stop_sequence: Option<&'a str>,
    },
    /// The end, after everything else.
    Ended,
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinishReason {
    /// It is complete.
    Stop,
    /// A limit was reached.
    Length,
    /// Tools are to be called.
    ToolCalls,
    /// It was withheld or cut for its content.
    ContentFilter,
}

/// What a provider says was used, and which details it has named. A detail that is zero and was not named is not
/// shown to the caller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UsageReport {
    /// The counts.
    pub usage: Usage,
    /// Whether it named tokens read from a cache.
    pub names_cached: bool,
    /// Whether it named tokens written to a cache.
    pub names_cache_writes: bool,
    /// Whether it named tokens of reasoning.
    pub names_reasoning: bool,
}

// === impl FinishReason ===

impl FinishReason {
    /// OpenAI's word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::ToolCalls => "tool_calls",
            Self::ContentFilter => "content_filter",
        }
    }
}

impl AnswerEvent<'_> {
    /// An end for this reason, by no text of the caller's.
    pub const fn finished(reason: FinishReason) -> Self {
        Self::Finished {
            reason,
            stop_sequence: None,
        }
    }
}

// === impl UsageReport ===

impl From<Usage> for UsageReport {
    /// A report without details.
    fn from(usage: Usage) -> Self {
        Self {
            usage,
            ..Self::default()
        }
    }
}
