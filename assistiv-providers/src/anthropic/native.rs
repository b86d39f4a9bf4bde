//! Requests in Anthropic's own dialect: the caller's bytes go on, and the provider's come back.
//!
//! Anthropic API reference, "Messages" and "Count tokens", read on 2026-11-23. Only what must differ is exchanged:
//! the model's name, the output limit where it was lowered, and thoughts that no model of Anthropic's has had.

mod stream;
mod whole;

use std::borrow::Cow;

use assistiv_core::call::{InferenceRequest, Operation};
use assistiv_core::conversation::UNSIGNED;
use assistiv_core::json::{self, Members};
use assistiv_core::provider::{Decoder, ProviderError, ProviderErrorKind as Kind};
use assistiv_core::routing::Target;
use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE};
use http::{HeaderName, Method};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::encode::{BUDGET_MIN, VERSION, failed};

const API_VERSION: HeaderName = HeaderName::from_static("anthropic-version");
const BETA: HeaderName = HeaderName::from_static("anthropic-beta");

/// The request as it goes on.
pub(super) fn encode(
    request: &InferenceRequest,
    target: &Target,
) -> Result<http::Request<Bytes>, ProviderError> {
    let mut members = request.members().clone();
    members.set("model", json::string(target.upstream_model()));
    if let Some(limit) = target.output_limit() {
        set_limit(&mut members, limit);
    }
    forget_unsigned(&mut members)?;
    let path = match request.operation() {
        Operation::CountTokens => "messages/count_tokens",
        _ => "messages",
    };
    let accept = match request.is_stream() {
        true => "text/event-stream",
        false => "application/json",
    };
    let mut upstream = http::Request::builder()
        .method(Method::POST)
        .uri(format!("{}/{path}", target.base_url()))
        .header(CONTENT_TYPE, "application/json")
        .header(ACCEPT, accept)
        // A compressed stream would have to be unpacked before it could be split into events.
        .header(ACCEPT_ENCODING, "identity");
    let headers = request.headers();
    upstream = match headers.get(API_VERSION) {
        Some(version) => upstream.header(API_VERSION, version),
        None => upstream.header(API_VERSION, VERSION),
    };
    for beta in headers.get_all(BETA) {
        upstream = upstream.header(BETA, beta);
    }
    upstream
        .body(members.to_bytes())
        .map_err(|error| failed("the provider's base URL is not valid", error))
}

/// Makes a decoder for the answer, in which the model is called `model`.
pub(super) fn decoder(request: &InferenceRequest, model: &str) -> Box<dyn Decoder> {
    if request.is_stream() {
        Box::new(stream::Tap::new(model))
    } else {
        Box::new(whole::Tap::new(model))
    }
}

/// How many tokens the provider has counted in a prompt.
pub(super) fn counted(body: &[u8]) -> Result<u64, ProviderError> {
    #[derive(Deserialize)]
    struct Counted {
        input_tokens: u64,
    }
    serde_json::from_slice::<Counted>(body)
        .map(|counted| counted.input_tokens)
        .map_err(super::answer::malformed)
}

/// Lowers the output limit. Thoughts count against it, so that what they may take has to stay below.
fn set_limit(members: &mut Members, limit: u64) {
    members.set("max_tokens", limit.to_string());
    let Ok(Some(mut thinking)) = members.read::<Value>("thinking") else {
        return;
    };
    let budget = thinking.get("budget_tokens").and_then(Value::as_u64);
    if budget.is_none_or(|budget| budget < limit) {
        return;
    }
    match limit.saturating_sub(1) {
        left if left >= BUDGET_MIN => thinking["budget_tokens"] = left.into(),
        _ => thinking = json!({ "type": "disabled" }),
    }
    members.set("thinking", thinking.to_string());
}

/// Takes out thoughts that a model of another provider had earlier in the conversation: Anthropic knows its own by
/// their signatures and refuses the others.
fn forget_unsigned(members: &mut Members) -> Result<(), ProviderError> {
    let messages = members.find("messages").unwrap_or_default();
    if memchr::memmem::find(messages.as_bytes(), UNSIGNED.as_bytes()).is_none() {
        return Ok(());
    }
    let messages: Vec<&RawValue> = serde_json::from_str(messages).map_err(unreadable)?;
    let messages: Vec<Cow<'_, str>> = messages
        .into_iter()
        .map(|message| without_unsigned(message.get()))
        .collect::<Result<_, _>>()?;
    let messages: Vec<&str> = messages.iter().map(|message| &**message).collect();
    let json = format!("[{}]", messages.join(","));
    members.set("messages", json);
    Ok(())
}

fn without_unsigned(message: &str) -> Result<Cow<'_, str>, ProviderError> {
    #[derive(Deserialize)]
    struct Block<'a> {
        #[serde(borrow, rename = "type")]
        kind: Cow<'a, str>,
        #[serde(borrow, default)]
        signature: Cow<'a, str>,
    }
    let mut members =
        Members::parse_trusted(Bytes::copy_from_slice(message.as_bytes())).map_err(unreadable)?;
    let Ok(Some(blocks)) = members.read::<Vec<&RawValue>>("content") else {
        return Ok(message.into());
    };
    let is_unsigned = |raw: &&&RawValue| {
        serde_json::from_str::<Block<'_>>(raw.get())
            .is_ok_and(|block| block.kind == "thinking" && block.signature == UNSIGNED)
    };
    let kept: Vec<&str> = blocks
        .iter()
        .filter(|raw| !is_unsigned(raw))
        .map(|raw| raw.get())
        .collect();
    if kept.len() == blocks.len() {
        return Ok(message.into());
    }
    let content = format!("[{}]", kept.join(","));
    members.set("content", content);
    let text = String::from_utf8(members.to_bytes().into()).map_err(unreadable)?;
    Ok(text.into())
}

/// For what was validated before it came here.
fn unreadable(error: impl std::error::Error + Send + Sync + 'static) -> ProviderError {
    ProviderError::new(Kind::BadRequest)
        .with_message("the request cannot be read")
        .with_source(error)
}
