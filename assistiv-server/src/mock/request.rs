//! What is asked of the mock.

use serde::Deserialize;
use serde_json::Value;

use super::errors::{self, ApiError};

/// Tokens of a prompt besides those of its text, as a chat template adds them.
const PROMPT_TOKENS_BASE: u64 = 3;
const PROMPT_BYTES_PER_TOKEN: u64 = 4;

const CHOICES_MAX: usize = 8;

/// The fields of a chat completion request that change the mock's answer.
#[derive(Debug, Deserialize)]
pub(super) struct ChatRequest {
    pub(super) model: String,
    pub(super) messages: Vec<Message>,
    #[serde(default)]
    stream: Option<bool>,
    #[serde(default)]
    stream_options: Option<StreamOptions>,
    #[serde(default)]
    pub(super) max_tokens: Option<u64>,
    #[serde(default)]
    pub(super) max_completion_tokens: Option<u64>,
    #[serde(default)]
    n: Option<usize>,
    #[serde(default)]
    pub(super) tools: Option<Vec<Value>>,
    #[serde(default)]
    pub(super) tool_choice: Option<Value>,
    #[serde(default)]
    pub(super) parallel_tool_calls: Option<bool>,
    #[serde(default)]
    pub(super) response_format: Option<Value>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Message {
    pub(super) role: String,
    #[serde(default)]
    content: Value,
}

#[derive(Debug, Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: Option<bool>,
}

// === impl ChatRequest ===

impl ChatRequest {
    pub(super) fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let body: Value = serde_json::from_slice(body).map_err(|_| errors::not_json())?;
        Self::read(body)
    }

    /// Reads a body of OpenAI's format.
    pub(super) fn read(body: Value) -> Result<Self, ApiError> {
        for param in ["model", "messages"] {
            if body.get(param).is_none_or(Value::is_null) {
                return Err(errors::missing(param));
            }
        }
        let request: Self =
            serde_json::from_value(body).map_err(|error| errors::wrong_type(&error))?;
        request.check()?;
        Ok(request)
    }

    fn check(&self) -> Result<(), ApiError> {
        if self.messages.is_empty() {
            let reason = "Invalid 'messages': empty array. Expected an array with minimum length \
                1, but got an empty array instead.";
            return Err(errors::invalid("messages", reason));
        }
        if self.stream_options.is_some() && !self.streams() {
            let reason = "The 'stream_options' parameter is only allowed when 'stream' is enabled.";
            return Err(errors::invalid("stream_options", reason));
        }
        if self.tool_choice.is_some() && self.tools.is_none() {
            let reason = "Invalid value for 'tool_choice': 'tool_choice' is only allowed when \
                'tools' are specified.";
            return Err(errors::invalid("tool_choice", reason));
        }
        if self.n.is_some_and(|n| !(1..=CHOICES_MAX).contains(&n)) {
            let reason = format!("Invalid 'n': the mock makes 1 to {CHOICES_MAX} choices.");
            return Err(errors::invalid("n", reason));
        }
        Ok(())
    }

    pub(super) fn streams(&self) -> bool {
        self.stream.unwrap_or(false)
    }

    pub(super) fn includes_usage(&self) -> bool {
        self.stream_options
            .as_ref()
            .and_then(|options| options.include_usage)
            .unwrap_or(false)
    }

    pub(super) fn choices(&self) -> usize {
        self.n.unwrap_or(1)
    }

    pub(super) fn prompt_tokens(&self) -> u64 {
        let bytes: usize = self
            .messages
            .iter()
            .map(|message| message.text().len())
            .sum();
        (bytes as u64).div_ceil(PROMPT_BYTES_PER_TOKEN) + PROMPT_TOKENS_BASE
    }

    /// The text of the last user message, which is where knobs are.
    pub(super) fn user_text(&self) -> String {
        let last = self
            .messages
            .iter()
            .rev()
            .find(|message| message.role == "user");
        last.map(Message::text).unwrap_or_default()
    }
}

// === impl Message ===

impl Message {
    /// The text, or that of all text parts with a space between them.
    pub(super) fn text(&self) -> String {
        match &self.content {
            Value::String(text) => text.clone(),
            Value::Array(parts) => {
                let texts = parts.iter().filter_map(|part| part.get("text")?.as_str());
                texts.collect::<Vec<_>>().join(" ")
            }
            _ => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn prompt_tokens_are_rounded_up() {
        let body = json!({"model": "m", "messages": [
            {"role": "system", "content": "1234"},
            {"role": "user", "content": [{"type": "text", "text": "5"}]},
        ]});
        let request = ChatRequest::parse(body.to_string().as_bytes()).unwrap();
        assert_eq!(request.prompt_tokens(), 5);
    }

    #[test]
    fn what_openai_refuses_is_refused() {
        let message = json!([{"role": "user", "content": "Hi"}]);
        for (body, param) in [
            (json!({"messages": message}), "model"),
            (json!({"model": "m"}), "messages"),
            (json!({"model": "m", "messages": []}), "messages"),
            (
                json!({"model": "m", "messages": message, "stream_options": {}}),
                "stream_options",
            ),
            (
                json!({"model": "m", "messages": message, "tool_choice": "auto"}),
                "tool_choice",
            ),
            (json!({"model": "m", "messages": message, "n": 0}), "n"),
        ] {
            let error = ChatRequest::parse(body.to_string().as_bytes()).unwrap_err();
            let error: Value = serde_json::from_str(&error.json()).unwrap();
            assert_eq!(error["error"]["param"], param, "{body}");
        }
    }
}
