//! Reads Anthropic's Messages requests (`docs/api-design.md`).
//!
//! Only what the gateway itself needs to know is checked: a request for Anthropic is passed on as it is, and what a
//! translation cannot understand is refused where it is translated.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::chat::{IMAGE_TOKENS, MESSAGES_MAX, tokens_of_bytes};
use super::fields::Fields;
use crate::call::{InferenceRequest, LimitField, Operation, RequestError};
use crate::conversation::Recalled;
use crate::json::Members;

const ROLES: [&str; 3] = ["user", "assistant", "system"];

/// Bytes of a base64 document that count for one token: pages are mostly pictures and fonts.
const DOCUMENT_BYTES_PER_TOKEN: u64 = 50;

/// How deep blocks may hold blocks: a result of a tool holds a document that holds text.
const BLOCKS_DEPTH_MAX: usize = 4;

/// Reads a request for a message, or for the size of its prompt, which has no limit and is never streamed.
pub(super) fn read(
    operation: Operation,
    members: Members,
) -> Result<InferenceRequest, RequestError> {
    let mut fields = Fields::new(&members);
    let model = fields.required::<String>("model", "must be a model slug");
    let mut prompt_tokens = messages(&mut fields);
    check_system(&mut fields);
    let is_call = operation == Operation::Messages;
    if is_call && members.find("max_tokens").is_none() {
        fields.fail("max_tokens", "is required");
    }
    let limit = fields.integer("max_tokens", 1, u64::from(u32::MAX));
    let stream = fields
        .field::<bool>("stream", "must be true or false")
        .unwrap_or(false);
    fields.numbers(&[("temperature", 0.0, 1.0), ("top_p", 0.0, 1.0)]);
    fields.integer("top_k", 0, u64::from(u32::MAX));
    fields.field::<Vec<Cow<'_, str>>>("stop_sequences", "must be an array of strings");
    fields.field::<Vec<&RawValue>>("tools", "must be an array of tools");
    for name in ["tool_choice", "thinking", "output_config", "metadata"] {
        if members
            .find(name)
            .is_some_and(|json| !json.starts_with('{'))
        {
            fields.fail(name, "must be an object");
        }
    }
    // Fast answers have a price of their own, as service tiers have elsewhere.
    let speed = fields.field::<String>("speed", "must be a string");
    let tier = fields.field::<String>("service_tier", "must be a string");
    let service_tier = speed.filter(|speed| speed == "fast").or(tier);
    let errors = fields.errors;
    if !errors.is_empty() {
        return Err(RequestError::Fields(errors));
    }
    if let Some(system) = members.find("system") {
        prompt_tokens = prompt_tokens.saturating_add(tokens_of_bytes(system.len() as u64));
    }
    for name in ["tools", "output_config"] {
        let bytes = members.find(name).map_or(0, str::len);
        prompt_tokens = prompt_tokens.saturating_add(tokens_of_bytes(bytes as u64));
    }
    Ok(InferenceRequest {
        operation,
        model: model.unwrap_or_default(),
        stream: stream && is_call,
        include_usage: true,
        output_limit: limit
            .filter(|_| is_call)
            .map(|limit| (LimitField::MaxTokens, limit)),
        choices: 1,
        service_tier,
        prompt_tokens,
        recalled: Recalled::default(),
        response: None,
        headers: http::HeaderMap::new(),
        members,
    })
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    role: Cow<'a, str>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
}

/// The size of the messages in tokens.
fn messages(fields: &mut Fields<'_>) -> u64 {
    let Some(messages) =
        fields.required::<Vec<&RawValue>>("messages", "must be an array of messages")
    else {
        return 0;
    };
    if messages.is_empty() || messages.len() > MESSAGES_MAX {
        fields.fail(
            "messages",
            format!("must hold 1 to {MESSAGES_MAX} messages"),
        );
    }
    let mut tokens = 0u64;
    for (index, raw) in messages.iter().enumerate() {
        match serde_json::from_str::<Message<'_>>(raw.get()) {
            Ok(message) if !ROLES.contains(&&*message.role) => fields.fail(
                format!("messages[{index}].role"),
                format!("must be one of {}", ROLES.join(", ")),
            ),
            Ok(Message {
                content: Some(content),
                ..
            }) if content.get().starts_with(['"', '[']) => {
                tokens = tokens.saturating_add(content_tokens(content, 0));
            }
            Ok(_) => fields.fail(
                format!("messages[{index}].content"),
                "must be a string or an array of blocks",
            ),
            Err(_) => fields.fail(
                format!("messages[{index}]"),
                "must be an object with a string `role` and `content`",
            ),
        }
        if fields.errors.len() > 20 {
            break;
        }
    }
    tokens
}

fn check_system(fields: &mut Fields<'_>) {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum System<'a> {
        #[expect(dead_code, reason = "read to be checked")]
        Text(#[serde(borrow)] Cow<'a, str>),
        #[expect(dead_code, reason = "read to be checked")]
        Blocks(Vec<Block>),
    }
    #[derive(Deserialize)]
    struct Block {
        #[expect(dead_code, reason = "read to be checked")]
        text: String,
    }
    fields.field::<System<'_>>("system", "must be a string or an array of text blocks");
}

/// Text counts by its bytes; pictures and documents count by what they are, not by the length of their base64.
fn content_tokens(content: &RawValue, depth: usize) -> u64 {
    #[derive(Deserialize)]
    struct Block<'a> {
        #[serde(borrow, rename = "type")]
        kind: Option<Cow<'a, str>>,
        #[serde(borrow)]
        content: Option<&'a RawValue>,
        #[serde(borrow)]
        source: Option<Source<'a>>,
    }
    #[derive(Deserialize)]
    struct Source<'a> {
        #[serde(borrow, rename = "type")]
        kind: Option<Cow<'a, str>>,
    }
    let by_bytes = |text: &RawValue| tokens_of_bytes(text.get().len() as u64);
    let blocks = match serde_json::from_str::<Vec<&RawValue>>(content.get()) {
        Ok(blocks) if depth < BLOCKS_DEPTH_MAX => blocks,
        _ => return by_bytes(content),
    };
    let tokens = |raw: &&RawValue| {
        let Ok(block) = serde_json::from_str::<Block<'_>>(raw.get()) else {
            return by_bytes(raw);
        };
        let source = block.source.and_then(|source| source.kind);
        match (block.kind.as_deref(), source.as_deref(), block.content) {
            (Some("image"), ..) => IMAGE_TOKENS,
            (Some("document"), Some("base64"), _) => {
                (raw.get().len() as u64).div_ceil(DOCUMENT_BYTES_PER_TOKEN)
            }
            (_, _, Some(content)) => {
                let around = raw.get().len().saturating_sub(content.get().len());
                tokens_of_bytes(around as u64).saturating_add(content_tokens(content, depth + 1))
            }
            _ => by_bytes(raw),
        }
    };
    blocks.iter().map(tokens).fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn parse(operation: Operation, body: &str) -> Result<InferenceRequest, RequestError> {
        InferenceRequest::parse(operation, Bytes::copy_from_slice(body.as_bytes()))
    }

    #[test]
    fn names_every_bad_field_at_once() {
        let body = r#"{"model":1,"messages":[{"role":"tool","content":"x"},3,{"role":"user","content":1}],"system":3,
            "stream":"yes","temperature":1.5,"top_k":-1,"stop_sequences":"a","thinking":"on","tools":{}}"#;
        let Err(RequestError::Fields(errors)) = parse(Operation::Messages, body) else {
            panic!("must be refused")
        };
        let params: Vec<_> = errors.iter().map(|e| e.param.as_str()).collect();
        assert_eq!(
            params,
            [
                "model",
                "messages[0].role",
                "messages[1]",
                "messages[2].content",
                "system",
                "max_tokens",
                "stream",
                "temperature",
                "top_k",
                "stop_sequences",
                "tools",
                "thinking",
            ]
        );
    }

    #[test]
    fn only_a_call_needs_a_limit() {
        let body = r#"{"model":"m","messages":[{"role":"user","content":"x"}]}"#;
        assert!(parse(Operation::Messages, body).is_err());
        let request = parse(Operation::CountTokens, body).unwrap();
        assert_eq!((request.output_limit(), request.is_stream()), (None, false));
        let body = r#"{"model":"m","max_tokens":7,"stream":true,"speed":"fast","service_tier":"auto",
            "messages":[{"role":"user","content":"x"}]}"#;
        let request = parse(Operation::Messages, body).unwrap();
        assert_eq!(request.output_limit(), Some((LimitField::MaxTokens, 7)));
        assert!(request.is_stream());
        assert_eq!(request.service_tier.as_deref(), Some("fast"));
        assert!(!parse(Operation::CountTokens, body).unwrap().is_stream());
    }

    #[test]
    fn pictures_and_documents_do_not_count_by_their_base64() {
        let data = "A".repeat(300_000);
        let picture = format!(
            r#"{{"type":"image","source":{{"type":"base64","media_type":"image/png","data":"{data}"}}}}"#
        );
        let document = picture.replace("image", "document");
        let tokens = |blocks: &str| {
            let body =
                format!(r#"{{"model":"m","messages":[{{"role":"user","content":[{blocks}]}}]}}"#);
            parse(Operation::CountTokens, &body)
                .unwrap()
                .prompt_tokens()
        };
        assert_eq!(tokens(&picture), 1_600);
        assert!((6_000..6_010).contains(&tokens(&document)));
        let result = format!(r#"{{"type":"tool_result","tool_use_id":"a","content":[{picture}]}}"#);
        assert!(
            (1_600..1_640).contains(&tokens(&result)),
            "{}",
            tokens(&result)
        );
        let text = format!(r#"{{"type":"text","text":"{data}"}}"#);
        assert!(tokens(&text) > 100_000);
    }
}
