//! Requests: the caller's bytes with the members exchanged that must differ upstream.
//!
//! OpenAI API reference, "Create chat completion", read on 2026-11-23.

use assistiv_core::call::{InferenceRequest, LimitField};
use assistiv_core::conversation::{Dropped, Effort};
use assistiv_core::json::{self, Members};
use assistiv_core::provider::{Encoded, ProviderError, ProviderErrorKind};
use assistiv_core::routing::Target;
use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE};
use http::{HeaderValue, Method};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::dialect::{DeveloperRole, Dialect};
use super::model;

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
) -> Result<Encoded, ProviderError> {
    let mut members = request.members().clone();
    let mut dropped = Dropped::default();
    members.set("model", json::string(upstream.model));
    let conversation_id = dialect.cache_header.as_ref().and_then(|name| {
        let key: String = members.read("prompt_cache_key").ok()??;
        Some((name, HeaderValue::try_from(key).ok()?))
    });
    leave_out(dialect, upstream.model, &mut members, &mut dropped)?;
    set_limit(&mut members, upstream.limit_field, upstream.output_limit);
    if request.is_stream() {
        ask_for_usage(&mut members)?;
    }
    if dialect.developer_role == DeveloperRole::System || !dialect.names {
        edit_messages(dialect, &mut members)?;
    }
    if !dialect.names {
        relax_tools(&mut members)?;
    }
    let mut request = post(
        upstream.base_url,
        "chat/completions",
        request.is_stream(),
        members.to_bytes(),
    )?;
    if let Some((name, id)) = conversation_id {
        request.headers_mut().insert(name, id);
    }
    Ok(Encoded {
        further: Vec::new(),
        request,
        dropped,
    })
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
        .map_err(bad_url)
}

/// A base URL that makes no request.
fn bad_url(error: http::Error) -> ProviderError {
    ProviderError::new(ProviderErrorKind::Failed)
        .with_message("the provider's base URL is not valid")
        .with_source(error)
}

/// Takes out what the server or the model does not take.
fn leave_out(
    dialect: &Dialect,
    model: &str,
    members: &mut Members,
    dropped: &mut Dropped,
) -> Result<(), ProviderError> {
    let asks_for_audio = members
        .find("modalities")
        .is_some_and(|it| it.contains("\"audio\""));
    let refused = dialect.refused.iter().find(|name| {
        let audio = **name == "audio" && asks_for_audio;
        audio || members.find(name).is_some()
    });
    if let Some(name) = refused {
        return Err(ProviderError::new(ProviderErrorKind::UnsupportedParameter).with_param(*name));
    }
    for name in dialect.silent {
        members.remove(name);
    }
    for name in &*dialect.dropped {
        let given = members.find(name).is_some();
        members.remove(name);
        if given {
            dropped.hint(*name);
        }
    }
    let word: Option<String> = members.read("reasoning_effort").ok().flatten();
    let effort = word.as_deref().and_then(Effort::parse);
    let traits = (dialect.models)(model);
    for (name, default, taken) in [
        ("temperature", 1.0, traits.sampling),
        ("top_p", 1.0, traits.sampling),
        ("frequency_penalty", 0.0, traits.stop),
        ("presence_penalty", 0.0, traits.stop),
    ] {
        let given: Option<f64> = members.read(name).ok().flatten();
        // What the model does anyway, it takes, too.
        let differs = given.is_some_and(|given| (given - default).abs() > f64::EPSILON);
        if differs && !taken.holds(effort) {
            members.remove(name);
            dropped.hint(name);
        }
    }
    if members.find("stop").is_some() && !traits.stop.holds(effort) {
        members.remove("stop");
        dropped.hint("stop");
    }
    if let Some(asked) = effort {
        match traits.effort(asked) {
            Some(known) if known == asked => {}
            Some(known) => members.set("reasoning_effort", json::string(model::word(known))),
            None => {
                members.remove("reasoning_effort");
                dropped.hint("reasoning_effort");
            }
        }
    }
    let tier: Option<String> = members.read("service_tier").ok().flatten();
    if let (Some(known), Some(tier)) = (dialect.tiers, tier)
        && !known.contains(&&*tier)
    {
        members.remove("service_tier");
        if tier != "auto" {
            dropped.hint("service_tier");
        }
    }
    Ok(())
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

/// Exchanges the role of `developer` messages and takes names out, as the dialect wants it; every other message
/// keeps its bytes.
fn edit_messages(dialect: &Dialect, members: &mut Members) -> Result<(), ProviderError> {
    #[derive(Deserialize)]
    struct Head {
        role: String,
        name: Option<IgnoredAny>,
    }
    let becomes_system =
        |head: &Head| dialect.developer_role == DeveloperRole::System && head.role == "developer";
    edit_each(members, "messages", |raw| {
        let Ok(head) = serde_json::from_str::<Head>(raw) else {
            return Ok(None);
        };
        let loses_name = !dialect.names && head.name.is_some();
        if !becomes_system(&head) && !loses_name {
            return Ok(None);
        }
        let mut message = parse(raw)?;
        if becomes_system(&head) {
            message.set("role", "\"system\"");
        }
        if loses_name {
            message.remove("name");
        }
        text_of(&message).map(Some)
    })
}

/// Takes out whether functions are strict.
fn relax_tools(members: &mut Members) -> Result<(), ProviderError> {
    edit_each(members, "tools", |raw| {
        let mut tool = parse(raw)?;
        let Some(function) = tool.find("function") else {
            return Ok(None);
        };
        let mut function = parse(function)?;
        if !function.remove("strict") {
            return Ok(None);
        }
        tool.set("function", text_of(&function)?);
        text_of(&tool).map(Some)
    })
}

/// Exchanges those items of a list for which `edit` gives another text.
fn edit_each(
    members: &mut Members,
    name: &str,
    edit: impl Fn(&str) -> Result<Option<String>, ProviderError>,
) -> Result<(), ProviderError> {
    let items: Vec<&RawValue> = members.read(name).map_err(unreadable)?.unwrap_or_default();
    let edited: Result<Vec<_>, _> = items.iter().map(|item| edit(item.get())).collect();
    let edited = edited?;
    if edited.iter().all(Option::is_none) {
        return Ok(());
    }
    let mut text = String::with_capacity(members.find(name).map_or(0, str::len));
    for (item, edited) in items.iter().zip(&edited) {
        text.push(if text.is_empty() { '[' } else { ',' });
        text.push_str(edited.as_deref().unwrap_or(item.get()));
    }
    text.push(']');
    members.set(name, text);
    Ok(())
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
