//! OpenAI's response objects, with their fields in OpenAI's order:
//! <https://platform.openai.com/docs/api-reference/chat/object>.

use serde::Serialize;
use serde_json::Value;

use super::answer::{Answer, Content};

/// A completion or a chunk of one.
#[derive(Debug, Serialize)]
pub(super) struct Completion<'a> {
    pub(super) id: &'a str,
    pub(super) object: &'static str,
    pub(super) created: u64,
    pub(super) model: &'a str,
    pub(super) choices: Vec<Choice<'a>>,
    /// `Some(None)` is a `null`, which chunks carry while the usage is to come.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) usage: Option<Option<Usage>>,
    pub(super) service_tier: &'static str,
    pub(super) system_fingerprint: &'static str,
}

#[derive(Debug, Serialize)]
pub(super) struct Choice<'a> {
    pub(super) index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) message: Option<Message<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) delta: Option<Value>,
    pub(super) logprobs: Option<()>,
    pub(super) finish_reason: Option<&'static str>,
}

#[derive(Debug, Serialize)]
pub(super) struct Message<'a> {
    role: &'static str,
    content: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<ToolCall<'a>>,
    refusal: Option<()>,
    annotations: [(); 0],
}

/// A tool call; in a stream its first piece, with the arguments still empty.
#[derive(Debug, Serialize)]
pub(super) struct ToolCall<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) index: Option<usize>,
    pub(super) id: String,
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) function: Function<'a>,
}

#[derive(Debug, Serialize)]
pub(super) struct Function<'a> {
    pub(super) name: &'a str,
    pub(super) arguments: String,
}

#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Usage {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
    prompt_tokens_details: PromptDetails,
    completion_tokens_details: CompletionDetails,
}

#[derive(Debug, Clone, Copy, Serialize)]
struct PromptDetails {
    cached_tokens: u64,
    audio_tokens: u64,
}

#[derive(Debug, Clone, Copy, Serialize)]
struct CompletionDetails {
    reasoning_tokens: u64,
    audio_tokens: u64,
    accepted_prediction_tokens: u64,
    rejected_prediction_tokens: u64,
}

// === impl Message ===

impl<'a> Message<'a> {
    /// The whole answer. `call_id` makes a call's id from its index.
    pub(super) fn new(answer: &'a Answer, call_id: impl Fn(usize) -> String) -> Self {
        let (content, tool_calls) = match &answer.content {
            Content::Text(pieces) => (Some(pieces.concat()), Vec::new()),
            Content::Calls(calls) => {
                let calls = calls.iter().enumerate().map(|(index, call)| ToolCall {
                    index: None,
                    id: call_id(index),
                    kind: "function",
                    function: Function {
                        name: &call.name,
                        arguments: call.arguments.concat(),
                    },
                });
                (None, calls.collect())
            }
        };
        Self {
            role: "assistant",
            content,
            tool_calls,
            refusal: None,
            annotations: [],
        }
    }
}

// === impl Usage ===

impl Usage {
    pub(super) fn new(prompt: u64, completion: u64, cached: u64, reasoning: u64) -> Self {
        Self {
            prompt_tokens: prompt,
            completion_tokens: completion,
            total_tokens: prompt.saturating_add(completion),
            prompt_tokens_details: PromptDetails {
                cached_tokens: cached,
                audio_tokens: 0,
            },
            completion_tokens_details: CompletionDetails {
                reasoning_tokens: reasoning,
                audio_tokens: 0,
                accepted_prediction_tokens: 0,
                rejected_prediction_tokens: 0,
            },
        }
    }
}

/// `value` as JSON text. The values of this module cannot fail to serialize; should one ever do,
/// the empty text is no JSON and the test that reads it says so.
pub(super) fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
