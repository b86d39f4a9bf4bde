//! Reads OpenAI's chat completion requests (`docs/api-design.md`).

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::fields::Fields;
use crate::call::{InferenceRequest, LimitField, Operation, RequestError};
use crate::conversation::Recalled;
use crate::json::Members;

pub(super) const MESSAGES_MAX: usize = 10_000;
pub(super) const TOOLS_MAX: usize = 128;
const STOP_MAX: usize = 4;
const ROLES: [&str; 6] = [
    "system",
    "developer",
    "user",
    "assistant",
    "tool",
    "function",
];

/// What an image counts for in an estimate: a large picture cut into tiles.
pub(super) const IMAGE_TOKENS: u64 = 1_600;
/// Bytes of text that count for one token where no tokenizer is configured: the most tokens that common
/// tokenizers make of ordinary text.
const BYTES_PER_TOKEN: u64 = 3;
/// Bytes of base64 audio that count for one token.
pub(super) const AUDIO_BYTES_PER_TOKEN: u64 = 100;

/// Tokens that so many bytes of text count for.
pub(crate) fn tokens_of_bytes(bytes: u64) -> u64 {
    bytes.div_ceil(BYTES_PER_TOKEN)
}

pub(super) fn read(members: Members) -> Result<InferenceRequest, RequestError> {
    let mut reader = Fields::new(&members);
    let model = reader.required::<String>("model", "must be a model slug");
    let prompt_tokens = reader.messages();
    let stream = reader
        .field::<bool>("stream", "must be true or false")
        .unwrap_or(false);
    let include_usage = reader.include_usage(stream);
    let output_limit = reader.output_limit();
    let choices = reader.integer("n", 1, 128).unwrap_or(1);
    let service_tier = reader.field::<String>("service_tier", "must be a string");
    reader.sampling();
    reader.stop();
    let hosted = reader.tools();
    let errors = reader.errors;
    let tool_tokens = ["tools", "functions", "response_format"]
        .iter()
        .filter_map(|name| members.find(name))
        .map(|text| tokens_of_bytes(text.len() as u64))
        .sum::<u64>();
    if !errors.is_empty() {
        return Err(RequestError::Fields(errors));
    }
    if let Some(index) = hosted {
        return Err(RequestError::UnsupportedParameter {
            param: format!("tools[{index}].type"),
            hint: "hosted MCP tools are a feature of /v1/responses",
        });
    }
    Ok(InferenceRequest {
        operation: Operation::ChatCompletions,
        model: model.unwrap_or_default(),
        stream,
        include_usage,
        output_limit,
        choices: u32::try_from(choices).unwrap_or(1),
        service_tier,
        prompt_tokens: prompt_tokens.saturating_add(tool_tokens),
        recalled: Recalled::default(),
        response: None,
        headers: http::HeaderMap::new(),
        members,
    })
}

impl Fields<'_> {
    /// The prompt's size in tokens.
    fn messages(&mut self) -> u64 {
        let Some(messages) =
            self.required::<Vec<&RawValue>>("messages", "must be an array of messages")
        else {
            return 0;
        };
        if messages.is_empty() || messages.len() > MESSAGES_MAX {
            self.fail(
                "messages",
                format!("must hold 1 to {MESSAGES_MAX} messages"),
            );
        }
        let mut tokens = 0u64;
        for (index, raw) in messages.iter().enumerate() {
            match serde_json::from_str::<Message<'_>>(raw.get()) {
                Ok(message) if ROLES.contains(&&*message.role) => {
                    tokens = tokens.saturating_add(message.tokens(raw))
                }
                Ok(_) => self.fail(
                    format!("messages[{index}].role"),
                    format!("must be one of {}", ROLES.join(", ")),
                ),
                Err(_) => self.fail(
                    format!("messages[{index}]"),
                    "must be an object with a string `role`",
                ),
            }
            if self.errors.len() > 20 {
                break;
            }
        }
        tokens
    }

    fn include_usage(&mut self, stream: bool) -> bool {
        #[derive(Deserialize)]
        struct StreamOptions {
            include_usage: Option<bool>,
        }
        let rule = "must be an object with a boolean `include_usage`";
        let options = self.field::<StreamOptions>("stream_options", rule);
        if options.is_some() && !stream {
            self.fail("stream_options", "is only allowed when `stream` is true");
        }
        options.and_then(|o| o.include_usage).unwrap_or(false)
    }

    fn output_limit(&mut self) -> Option<(LimitField, u64)> {
        let old = self.integer("max_tokens", 1, u64::from(u32::MAX));
        let new = self.integer("max_completion_tokens", 1, u64::from(u32::MAX));
        match (old, new) {
            (Some(a), Some(b)) if a != b => {
                self.fail(
                    "max_completion_tokens",
                    "must equal `max_tokens` when both are given",
                );
                None
            }
            (_, Some(limit)) => Some((LimitField::MaxCompletionTokens, limit)),
            (Some(limit), None) => Some((LimitField::MaxTokens, limit)),
            (None, None) => None,
        }
    }

    fn sampling(&mut self) {
        self.numbers(&[
            ("temperature", 0.0, 2.0),
            ("top_p", 0.0, 1.0),
            ("frequency_penalty", -2.0, 2.0),
            ("presence_penalty", -2.0, 2.0),
        ]);
    }

    fn stop(&mut self) {
        let rule = format_args!("must be a string or an array of at most {STOP_MAX} strings");
        let is_string = self.members().read::<Cow<'_, str>>("stop").is_ok();
        if !is_string
            && self
                .field::<Vec<Cow<'_, str>>>("stop", rule)
                .is_some_and(|list| list.len() > STOP_MAX)
        {
            self.fail("stop", rule.to_string());
        }
    }

    /// The index of a hosted tool, which this endpoint does not run.
    fn tools(&mut self) -> Option<usize> {
        #[derive(Deserialize)]
        struct Tool<'t> {
            #[serde(borrow, rename = "type")]
            kind: Option<Cow<'t, str>>,
        }
        let tools = self.field::<Vec<Tool<'_>>>("tools", "must be an array of tools")?;
        if tools.len() > TOOLS_MAX {
            self.fail("tools", format!("must hold at most {TOOLS_MAX} tools"));
        }
        tools
            .iter()
            .position(|tool| tool.kind.as_deref() == Some("mcp"))
    }
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    role: Cow<'a, str>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Part<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Cow<'a, str>>,
}

impl Message<'_> {
    /// The message's text counts by its bytes; pictures and sound count by what they are, not by the length of
    /// their base64.
    fn tokens(&self, raw: &RawValue) -> u64 {
        let parts = self
            .content
            .and_then(|content| serde_json::from_str::<Vec<&RawValue>>(content.get()).ok());
        let mut bytes = raw.get().len() as u64;
        let mut tokens = 0u64;
        for part in parts.unwrap_or_default() {
            let size = part.get().len() as u64;
            let kind = serde_json::from_str::<Part<'_>>(part.get())
                .ok()
                .and_then(|p| p.kind);
            match kind.as_deref() {
                Some("image_url") => tokens = tokens.saturating_add(IMAGE_TOKENS),
                Some("input_audio") => {
                    tokens = tokens.saturating_add(size.div_ceil(AUDIO_BYTES_PER_TOKEN))
                }
                _ => continue,
            }
            bytes = bytes.saturating_sub(size);
        }
        tokens.saturating_add(tokens_of_bytes(bytes))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn parse(body: &str) -> Result<InferenceRequest, RequestError> {
        InferenceRequest::parse(
            Operation::ChatCompletions,
            Bytes::copy_from_slice(body.as_bytes()),
        )
    }

    #[test]
    fn names_every_bad_field_at_once() {
        let body = r#"{"model":1,"messages":[{"role":"robot"},3],"temperature":3,"max_tokens":0,"stop":["a","b","c","d","e"],"n":0,"stream":"yes"}"#;
        let Err(RequestError::Fields(errors)) = parse(body) else {
            panic!("must be refused")
        };
        let params: Vec<_> = errors.iter().map(|e| e.param.as_str()).collect();
        assert_eq!(
            params,
            [
                "model",
                "messages[0].role",
                "messages[1]",
                "stream",
                "max_tokens",
                "n",
                "temperature",
                "stop"
            ]
        );
    }

    #[test]
    fn null_counts_as_absent() {
        let request = parse(
            r#"{"model":"m","messages":[{"role":"user","content":"x"}],"stop":null,"n":null}"#,
        )
        .unwrap();
        assert_eq!((request.choices(), request.output_limit()), (1, None));
    }

    #[test]
    fn limits_must_agree() {
        let body = |a, b| {
            format!(
                r#"{{"model":"m","messages":[{{"role":"user","content":"x"}}],"max_tokens":{a},"max_completion_tokens":{b}}}"#
            )
        };
        assert!(parse(&body(5, 6)).is_err());
        assert_eq!(
            parse(&body(5, 5)).unwrap().output_limit(),
            Some((LimitField::MaxCompletionTokens, 5))
        );
    }

    #[test]
    fn hosted_tools_are_pointed_to_responses() {
        let body =
            r#"{"model":"m","messages":[{"role":"user","content":"x"}],"tools":[{"type":"mcp"}]}"#;
        assert!(matches!(
            parse(body),
            Err(RequestError::UnsupportedParameter { .. })
        ));
    }

    #[test]
    fn a_picture_does_not_count_by_its_base64() {
        let image = "A".repeat(300_000);
        let body = format!(
            r#"{{"model":"m","messages":[{{"role":"user","content":[{{"type":"text","text":"hi"}},{{"type":"image_url","image_url":{{"url":"data:image/png;base64,{image}"}}}}]}}]}}"#
        );
        let tokens = parse(&body).unwrap().prompt_tokens();
        assert!((1_600..2_000).contains(&tokens), "{tokens}");
    }

    #[test]
    fn members_that_would_change_the_route_are_dropped() {
        let request = parse(
            r#"{"model":"m","messages":[{"role":"user","content":"x"}],"api_key":"k","x":1}"#,
        )
        .unwrap();
        assert!(!request.members().contains("api_key") && request.members().contains("x"));
    }
}
