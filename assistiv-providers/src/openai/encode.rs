//! Requests: the caller's bytes with the members exchanged that must differ upstream.
//!
//! OpenAI API reference, "Create chat completion", read on 2026-11-23.

use assistiv_core::call::{InferenceRequest, LimitField};
use assistiv_core::json::{self, Members};
use assistiv_core::provider::{ProviderError, ProviderErrorKind};
use assistiv_core::routing::Target;
use bytes::Bytes;
use http::Method;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::dialect::{DeveloperRole, Dialect};

/// What the target says of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Upstream<'a> {
    pub(super) base_url: &'a str,
    pub(super) model: &'a str,
    pub(super) limit_field: LimitField,
    /// The output limit, when it had to be lowered.
    pub(super) output_limit: Option<u64>,
}

impl<'a> From<&'a Target> for Upstream<'a> {
    fn from(target: &'a Target) -> Self {
        Self {
            base_url: target.base_url(),
            model: target.upstream_model(),
            limit_field: target.limit_field(),
            output_limit: target.output_limit(),
        }
    }
}

pub(super) fn encode(
    dialect: &Dialect,
    request: &InferenceRequest,
    upstream: Upstream<'_>,
) -> Result<http::Request<Bytes>, ProviderError> {
    let mut members = request.members().clone();
    members.set("model", json::string(upstream.model));
    for name in &*dialect.dropped {
        members.remove(name);
    }
    set_limit(&mut members, upstream.limit_field, upstream.output_limit);
    if request.is_stream() {
        ask_for_usage(&mut members)?;
    }
    if dialect.developer_role == DeveloperRole::System {
        rename_developers(&mut members)?;
    }
    post(
        upstream.base_url,
        "chat/completions",
        request.is_stream(),
        members.to_bytes(),
    )
}

/// A request with a body for one of the server's endpoints.
pub(super) fn post(
    base_url: &str,
    path: &str,
    is_stream: bool,
    body: Bytes,
) -> Result<http::Request<Bytes>, ProviderError> {
    let accept = if is_stream {
        "text/event-stream"
    } else {
        "application/json"
    };
    http::Request::builder()
        .method(Method::POST)
        .uri(format!("{base_url}/{path}"))
        .header(CONTENT_TYPE, "application/json")
        .header(ACCEPT, accept)
        // A compressed stream would have to be unpacked before it could be split into events.
        .header(ACCEPT_ENCODING, "identity")
        .body(body)
        .map_err(|error| {
            ProviderError::new(ProviderErrorKind::Failed)
                .with_message("the provider's base URL is not valid")
                .with_source(error)
        })
}

/// Writes the output limit into the one member that the target takes it in.
///
/// Models that take `max_completion_tokens` alone refuse a request that carries `max_tokens`, too.
fn set_limit(members: &mut Members, field: LimitField, lowered: Option<u64>) {
    let (field, other) = match field {
        LimitField::MaxTokens | LimitField::MaxOutputTokens => (
            LimitField::MaxTokens.as_str(),
            LimitField::MaxCompletionTokens.as_str(),
        ),
        LimitField::MaxCompletionTokens => (field.as_str(), LimitField::MaxTokens.as_str()),
    };
    if members.find(other).is_some() {
        if members.find(field).is_some() {
            members.remove(other);
        } else {
            // A `null` may stand there.
            members.remove(field);
            members.rename(other, field);
        }
    }
    if let Some(limit) = lowered {
        members.set(field, limit.to_string());
    }
}

/// Usage is needed for billing whether or not the caller wants to see it.
fn ask_for_usage(members: &mut Members) -> Result<(), ProviderError> {
    const NAME: &str = "stream_options";
    let options = match members.find(NAME) {
        None => r#"{"include_usage":true}"#.into(),
        Some(text) => {
            let mut options = parse(text)?;
            if options.find("include_usage") == Some("true") {
                return Ok(());
            }
            options.set("include_usage", "true");
            text_of(&options)?
        }
    };
    members.set(NAME, options);
    Ok(())
}

/// Exchanges the role of `developer` messages; every other message keeps its bytes.
fn rename_developers(members: &mut Members) -> Result<(), ProviderError> {
    let messages: Vec<&RawValue> = members
        .read("messages")
        .map_err(unreadable)?
        .unwrap_or_default();
    if !messages.iter().any(|message| is_developer(message)) {
        return Ok(());
    }
    let mut renamed = String::with_capacity(members.find("messages").map_or(0, str::len));
    for message in messages {
        renamed.push(if renamed.is_empty() { '[' } else { ',' });
        if is_developer(message) {
            let mut message = parse(message.get())?;
            message.set("role", "\"system\"");
            renamed.push_str(&text_of(&message)?);
        } else {
            renamed.push_str(message.get());
        }
    }
    renamed.push(']');
    members.set("messages", renamed);
    Ok(())
}

fn is_developer(message: &RawValue) -> bool {
    #[derive(Deserialize)]
    struct Role {
        role: String,
    }
    serde_json::from_str::<Role>(message.get()).is_ok_and(|message| message.role == "developer")
}

fn parse(object: &str) -> Result<Members, ProviderError> {
    Members::parse_trusted(Bytes::copy_from_slice(object.as_bytes())).map_err(unreadable)
}

fn text_of(object: &Members) -> Result<String, ProviderError> {
    String::from_utf8(object.to_bytes().into()).map_err(unreadable)
}

/// For what was validated before it came here.
fn unreadable(error: impl std::error::Error + Send + Sync + 'static) -> ProviderError {
    ProviderError::new(ProviderErrorKind::BadRequest)
        .with_message("the request cannot be read")
        .with_source(error)
}
