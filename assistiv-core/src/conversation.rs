//! Conversations in no provider's dialect: what stands between the caller's API and the provider's.
//!
//! A request that is not spliced is read into a [`Conversation`] from the dialect of its operation, and an adapter
//! writes it for its provider. An answer comes back as [`AnswerEvent`]s, which
//! [`AnswerWriter`](crate::provider::AnswerWriter) writes in the dialect of the operation. So a new client dialect
//! is one reader and one writer, and a new provider is one adapter.
//!
//! ```text
//! chat completions ─┐                    ┌─ Anthropic Messages
//!                   ├─→ Conversation ──→ ┤
//! messages ─────────┘                    └─ chat completions, (other providers)
//!                   ←── AnswerEvents ←──
//! ```
//!
//! Nothing here does I/O. Texts are borrowed from the request's body where they have no escapes, and JSON that the
//! gateway does not interpret (schemas, tool arguments) stays the text that was written.

mod answer;
mod chat;
mod memory;
mod message;
mod messages;
mod responses;
mod tool;
mod turns;

pub use answer::{AnswerEvent, FinishReason, UsageReport};
pub use memory::{Memory, ProviderState, Recalled};
pub use message::{
    CacheLifetime, Image, Media, MediaData, Message, Part, Reasoning, Role, ToolCall, ToolResult,
};
pub use tool::{Format, JsonSchema, Tool, ToolChoice};
pub use turns::{Speaker, Turn, Turns};

pub(crate) use chat::{call_ids as chat_call_ids, read as read_chat};
pub(crate) use messages::{call_ids as messages_call_ids, read as read_messages};
pub(crate) use responses::{call_ids as response_call_ids, read as read_response};

use std::borrow::Cow;

use crate::provider::{ProviderError, ProviderErrorKind};

/// The signature of thoughts that no provider has signed, in dialects that want one. Nobody may be asked to check it.
pub const UNSIGNED: &str = "assistiv-unsigned";

/// A request for the next message of a conversation.
#[derive(Clone, Debug, Default)]
pub struct Conversation<'a> {
    /// What was said so far, system messages included.
    pub messages: Vec<Message<'a>>,
    /// What the model may call.
    pub tools: Vec<Tool<'a>>,
    /// Whether it must.
    pub tool_choice: Option<ToolChoice<'a>>,
    /// Whether it may call several at once.
    pub parallel_tool_calls: Option<bool>,
    /// The form of the answer.
    pub format: Format<'a>,
    /// The most output tokens, reasoning included.
    pub max_output_tokens: Option<u64>,
    /// How many answers are wanted.
    pub choices: u32,
    /// How the next token is chosen.
    pub sampling: Sampling,
    /// Texts that end the answer.
    pub stop: Vec<Cow<'a, str>>,
    /// How much the model is to think.
    pub effort: Option<Effort>,
    /// The service tier that is asked for, in the caller's words.
    pub service_tier: Option<Cow<'a, str>>,
    /// Every other parameter, in the order in which it was written.
    pub others: Vec<Parameter<'a>>,
}

/// How the next token is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sampling {
    /// From 0, in OpenAI's range up to 2.
    pub temperature: Option<f64>,
    /// From 0 to 1.
    pub top_p: Option<f64>,
    /// At least 1.
    pub top_k: Option<u64>,
    /// From -2 to 2.
    pub frequency_penalty: Option<f64>,
    /// From -2 to 2.
    pub presence_penalty: Option<f64>,
    /// Asks for the same answer again.
    pub seed: Option<i64>,
}

/// How much a model is to think, in OpenAI's steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(
    missing_docs,
    reason = "the steps have no other meaning than their order"
)]
pub enum Effort {
    None,
    Minimal,
    Low,
    Medium,
    High,
    Xhigh,
    Max,
}

/// A parameter without a neutral form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter<'a> {
    /// Its name in the caller's dialect.
    pub name: &'a str,
    /// Its value, as JSON text.
    pub json: &'a str,
    /// What becomes of the answer without it.
    pub weight: Weight,
}

/// What becomes of the answer when a parameter is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// Nothing: it is about storage, caching or attribution.
    None,
    /// It may be another one: the parameter is a hint.
    Hint,
    /// It has another shape or meaning, so that the parameter must not be left out.
    Essential,
    /// Nobody knows: the parameter is not known here.
    Unknown,
}

/// Parameters that an adapter leaves out, since its provider or the model does not take them.
///
/// The caller finds their names in `X-Assistiv-Dropped-Params`; where a platform wants to know better, a known one
/// is an error instead.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dropped(Vec<(Cow<'static, str>, bool)>);

// === impl Conversation ===

impl Conversation<'_> {
    /// Leaves out the [`others`](Self::others), once the adapter has taken those that its provider knows.
    ///
    /// # Errors
    /// [`ProviderErrorKind::UnsupportedParameter`] for the first one that is essential.
    pub fn leave_out_others(&self, dropped: &mut Dropped) -> Result<(), ProviderError> {
        for parameter in &self.others {
            match parameter.weight {
                Weight::None => {}
                Weight::Hint => dropped.hint(parameter.name.to_owned()),
                Weight::Unknown => dropped.unknown(parameter.name),
                Weight::Essential => return Err(unsupported(parameter.name)),
            }
        }
        Ok(())
    }

    /// Refuses more than one choice, for providers that give one.
    ///
    /// # Errors
    /// [`ProviderErrorKind::UnsupportedParameter`].
    pub fn only_one_choice(&self) -> Result<(), ProviderError> {
        if self.choices > 1 {
            return Err(unsupported("n").with_message("this model gives one choice at a time"));
        }
        Ok(())
    }
}

// === impl Effort ===

impl Effort {
    /// Reads a word; `None` when it is no step.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "none" => Self::None,
            "minimal" => Self::Minimal,
            "low" => Self::Low,
            "medium" => Self::Medium,
            "high" => Self::High,
            "xhigh" => Self::Xhigh,
            "max" => Self::Max,
            _ => return None,
        })
    }
}

// === impl Dropped ===

impl Dropped {
    /// Notes a known parameter that is left out.
    pub fn hint(&mut self, name: impl Into<Cow<'static, str>>) {
        self.note(name.into(), true);
    }

    /// Notes a parameter that nobody knows.
    pub fn unknown(&mut self, name: &str) {
        self.note(name.to_owned().into(), false);
    }

    fn note(&mut self, name: Cow<'static, str>, known: bool) {
        if !self.names().any(|noted| noted == name) {
            self.0.push((name, known));
        }
    }

    /// All names, in the order in which they were noted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| &**name)
    }

    /// The first known parameter that was left out.
    pub fn first_hint(&self) -> Option<&str> {
        self.0
            .iter()
            .find(|(_, known)| *known)
            .map(|(name, _)| &**name)
    }

    /// Whether nothing was left out.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A field that is wrong, found before the provider was asked.
pub(crate) fn invalid(param: impl Into<String>, message: impl Into<String>) -> ProviderError {
    ProviderError::new(ProviderErrorKind::Invalid)
        .with_param(param)
        .with_message(message)
}

/// A parameter that cannot be honoured on this route.
pub(crate) fn unsupported(param: impl Into<String>) -> ProviderError {
    ProviderError::new(ProviderErrorKind::UnsupportedParameter).with_param(param)
}

#[cfg(test)]
mod tests;
