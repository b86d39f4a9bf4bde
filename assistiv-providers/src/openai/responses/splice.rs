//! Requests of callers who speak the Responses API themselves: their own bytes, with the members exchanged that must
//! differ upstream.
//!
//! OpenAI API reference, "Create a model response", read on 2026-11-23. What the model itself has said earlier is
//! written anew, since the caller carries the gateway's ids and sealed thoughts; everything else stays as it came,
//! members that nobody here knows included.

use std::borrow::Cow;

use assistiv_core::call::{InferenceRequest, Operation};
use assistiv_core::conversation::{Conversation, Role, Weight};
use assistiv_core::json::{self, Members};
use assistiv_core::provider::{Encoded, ProviderError, ProviderErrorKind as Kind};
use assistiv_core::routing::Target;

use super::encode::{Writer, limit};
use super::input;
use crate::openai::dialect::{DeveloperRole, Dialect};
use crate::openai::encode::post;

/// Thoughts come back in this form when nothing is stored upstream.
const THOUGHTS: &str = "reasoning.encrypted_content";

/// Whether a request can go on in the caller's own words.
pub(super) fn fits(dialect: &Dialect, request: &InferenceRequest) -> bool {
    request.operation() == Operation::Responses && dialect.developer_role == DeveloperRole::Kept
}

pub(super) fn encode(
    dialect: &Dialect,
    request: &InferenceRequest,
    target: &Target,
) -> Result<Encoded, ProviderError> {
    let conversation = request.conversation()?;
    let mut essential = conversation.others.iter();
    if let Some(parameter) = essential.find(|it| it.weight == Weight::Essential) {
        return Err(ProviderError::new(Kind::UnsupportedParameter).with_param(parameter.name));
    }
    let mut writer = Writer::new(dialect, &conversation, target);
    let mut members = request.members().clone();
    members.set("model", json::string(target.upstream_model()));
    if let Some(limit) = limit(dialect, request, &conversation, target)? {
        members.set("max_output_tokens", limit.to_string());
    }
    for name in dialect.silent {
        members.remove(name);
    }
    for name in &*dialect.dropped {
        if members.remove(name) {
            writer.dropped.hint(*name);
        }
    }
    // What this model does not take of the rest; the writer notes it.
    let (temperature, top_p) = writer.sampling();
    let taken = [
        ("temperature", temperature.is_some()),
        ("top_p", top_p.is_some()),
        ("service_tier", writer.service_tier().is_some()),
    ];
    for (name, _) in taken.into_iter().filter(|(_, is_taken)| !is_taken) {
        members.remove(name);
    }
    set_effort(&mut writer, &mut members)?;
    include_thoughts(&mut members)?;
    if has_answers(&conversation) {
        let items = input::items(
            &conversation,
            &dialect.name,
            target.upstream_model(),
            "developer",
        )?;
        members.set("input", written(&items)?);
        // They are the first of the items.
        members.remove("instructions");
    }
    let request = post(
        target.base_url(),
        "responses",
        request.is_stream(),
        members.to_bytes(),
    )?;
    Ok(Encoded {
        further: Vec::new(),
        request,
        dropped: writer.dropped,
    })
}

/// Whether the conversation holds something that a model has said.
fn has_answers(conversation: &Conversation<'_>) -> bool {
    let mut messages = conversation.messages.iter();
    messages.any(|message| message.role == Role::Assistant)
}

/// The effort by the word that the model knows; the other members of `reasoning` stay.
fn set_effort(writer: &mut Writer<'_>, members: &mut Members) -> Result<(), ProviderError> {
    let Some(reasoning) = members.find("reasoning").map(str::to_owned) else {
        return Ok(());
    };
    let mut reasoning = Members::parse_trusted(reasoning.into()).map_err(unwritable)?;
    match writer.effort() {
        Some(word) => reasoning.set("effort", json::string(word)),
        None => {
            reasoning.remove("effort");
        }
    }
    let reasoning = String::from_utf8(reasoning.to_bytes().into()).map_err(unwritable)?;
    members.set("reasoning", reasoning);
    Ok(())
}

fn include_thoughts(members: &mut Members) -> Result<(), ProviderError> {
    let given: Option<Vec<Cow<'_, str>>> = members.read("include").map_err(unwritable)?;
    let mut include = given.unwrap_or_default();
    if !include.iter().any(|name| name == THOUGHTS) {
        include.push(THOUGHTS.into());
    }
    let include = written(&include)?;
    members.set("include", include);
    Ok(())
}

fn written(value: &impl serde::Serialize) -> Result<String, ProviderError> {
    serde_json::to_string(value).map_err(unwritable)
}

fn unwritable(error: impl std::error::Error + Send + Sync + 'static) -> ProviderError {
    ProviderError::new(Kind::Failed)
        .with_message("the request cannot be written")
        .with_source(error)
}
