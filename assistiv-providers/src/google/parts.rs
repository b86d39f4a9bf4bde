//! Contents and their parts, in requests.
//!
//! Gemini API reference, "Content", "Function calling" and "Thought signatures", read on 2026-11-23: a result names
//! the function that was called, all results of a turn come together, and a signature comes back on the part that it
//! came with.

use std::borrow::Cow;
use std::collections::HashSet;

use assistiv_core::conversation::{
    Media, MediaData, Part as Said, ProviderState, Speaker, ToolCall, ToolResult, Turn, Turns,
};
use assistiv_core::provider::{ProviderError, ProviderErrorKind as Kind};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use super::{NAME, schema};

/// The signature of a call that another model has made, as base64: Google's own word for "do not check".
const UNCHECKED: &str = "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I=";

/// What one side says.
#[derive(Serialize)]
pub(super) struct Content<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    parts: Vec<Part<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Part<'a> {
    #[serde(flatten)]
    data: Data<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thought_signature: Option<Cow<'a, str>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Data<'a> {
    Text(&'a str),
    InlineData(Blob<'a>),
    FunctionCall(Call<'a>),
    FunctionResponse(Response<'a>),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Blob<'a> {
    mime_type: Cow<'a, str>,
    data: &'a str,
}

#[derive(Serialize)]
struct Call<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    name: &'a str,
    args: &'a RawValue,
}

#[derive(Serialize)]
struct Response<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    name: &'a str,
    response: Box<RawValue>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    parts: Vec<Part<'a>>,
}

/// State of the adapter: what a model has put on a part, which that model alone may see again.
#[derive(Default, Serialize, Deserialize)]
struct Kept<'a> {
    #[serde(borrow)]
    model: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    signature: Option<Cow<'a, str>>,
    /// Whether the id of a call is Google's own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    named: bool,
}

/// Keeps what came with a part for the next turn; `None` when there is nothing to keep.
pub(super) fn keep(model: &str, signature: Option<&str>, named: bool) -> Option<ProviderState> {
    if signature.is_none() && !named {
        return None;
    }
    let kept = Kept {
        model: model.into(),
        signature: signature.map(Cow::Borrowed),
        named,
    };
    Some(ProviderState::new(NAME, to_raw_value(&kept).ok()?))
}

/// Writes the turns of a conversation for a model; `signs` says whether it wants signatures.
pub(super) fn contents<'a>(
    turns: &'a Turns<'a, 'a>,
    model: &'a str,
    signs: bool,
) -> Result<Vec<Content<'a>>, ProviderError> {
    let mut writer = Writer {
        model,
        signs,
        named: HashSet::new(),
    };
    let mut contents: Vec<Content<'a>> = Vec::with_capacity(turns.turns.len());
    for turn in &turns.turns {
        let role = match turn.speaker {
            Speaker::User => "user",
            Speaker::Assistant => "model",
        };
        let parts = writer.turn(turn)?;
        if parts.is_empty() {
            continue;
        }
        match contents.last_mut() {
            // Nothing was said in between.
            Some(last) if last.role == Some(role) => last.parts.extend(parts),
            _ => contents.push(Content {
                role: Some(role),
                parts,
            }),
        }
    }
    if contents.is_empty() {
        return Err(ProviderError::new(Kind::Invalid)
            .with_param("messages")
            .with_message("must say something"));
    }
    Ok(contents)
}

/// Instructions, when there are any.
pub(super) fn instruction<'a>(turns: &'a Turns<'a, 'a>) -> Option<Content<'a>> {
    let texts = turns.instructions.iter().flatten();
    let parts: Vec<_> = texts
        .filter_map(|part| match part {
            Said::Text(text) if !text.is_empty() => Some(Data::Text(text).into()),
            _ => None,
        })
        .collect();
    (!parts.is_empty()).then_some(Content { role: None, parts })
}

impl<'a> From<Data<'a>> for Part<'a> {
    fn from(data: Data<'a>) -> Self {
        Self {
            data,
            thought_signature: None,
        }
    }
}

struct Writer<'a> {
    model: &'a str,
    signs: bool,
    /// Calls that carry Google's own ids.
    named: HashSet<&'a str>,
}

// === impl Writer ===

impl<'a> Writer<'a> {
    fn turn(&mut self, turn: &Turn<'a, 'a>) -> Result<Vec<Part<'a>>, ProviderError> {
        let mut parts = Vec::with_capacity(turn.parts.len());
        let mut called = false;
        for part in &turn.parts {
            match part {
                Said::Text(text) | Said::Refusal(text) if text.is_empty() => {}
                Said::Text(text) | Said::Refusal(text) => parts.push(Data::Text(text).into()),
                Said::ToolCall(call) => {
                    let mut part = self.call(call);
                    // The first of parallel calls carries the signature of all of them.
                    if !called && self.signs && part.thought_signature.is_none() {
                        part.thought_signature = Some(UNCHECKED.into());
                    }
                    called = true;
                    parts.push(part);
                }
                Said::ToolResult(result) => parts.push(self.result(result)?),
                Said::Reasoning(thought) => {
                    let kept = thought.state.as_ref().and_then(|state| self.kept(state));
                    if let Some(signature) = kept.and_then(|kept| kept.signature) {
                        parts.push(Part {
                            data: Data::Text(""),
                            thought_signature: Some(signature),
                        });
                    }
                }
                // Google caches by itself.
                Said::CacheBreakpoint(_) => {}
                media => parts.push(inline(media)?),
            }
        }
        Ok(parts)
    }

    fn call(&mut self, call: &'a ToolCall<'a>) -> Part<'a> {
        let kept = call.state.as_ref().and_then(|state| self.kept(state));
        let Kept {
            signature, named, ..
        } = kept.unwrap_or_default();
        if named {
            self.named.insert(&call.id);
        }
        Part {
            data: Data::FunctionCall(Call {
                id: named.then_some(&*call.id),
                name: &call.name,
                args: &call.arguments,
            }),
            thought_signature: signature,
        }
    }

    fn result(&self, result: &'a ToolResult<'a>) -> Result<Part<'a>, ProviderError> {
        let name = result.name.as_deref().ok_or_else(|| {
            let id = &result.call_id;
            ProviderError::new(Kind::Invalid)
                .with_param("messages")
                .with_message(format!("no message before has the tool call `{id}`"))
        })?;
        let mut texts: Vec<&str> = Vec::new();
        let mut parts = Vec::new();
        for part in &result.content {
            match part {
                Said::Text(text) => texts.push(text),
                Said::CacheBreakpoint(_) => {}
                media if self.signs => parts.push(inline(media)?),
                _ => return Err(refused("this model takes results of tools as text alone")),
            }
        }
        let text = texts.join("\n");
        let wrapped = |member: &str| to_raw_value(&serde_json::json!({ member: text })).ok();
        let response = match schema::object(&text) {
            _ if result.is_error => wrapped("error"),
            Some(object) => Some(object),
            None => wrapped("output"),
        };
        let id = self.named.get(&*result.call_id).copied();
        Ok(Data::FunctionResponse(Response {
            id,
            name,
            response: response.ok_or_else(|| ProviderError::new(Kind::Invalid))?,
            parts,
        })
        .into())
    }

    /// What this model has put on a part.
    fn kept(&self, state: &'a ProviderState) -> Option<Kept<'a>> {
        let kept: Kept<'a> = serde_json::from_str(state.of(NAME)?.get()).ok()?;
        (self.signs && kept.model == self.model).then_some(kept)
    }
}

/// Pictures, sound and documents in the request itself.
fn inline<'a>(part: &'a Said<'a>) -> Result<Part<'a>, ProviderError> {
    let (mime_type, data) = match part {
        Said::Image(image) => match &image.media {
            Media::Data(MediaData { media_type, base64 }) => (Cow::Borrowed(&**media_type), base64),
            Media::Url(_) => {
                return Err(ProviderError::new(Kind::UnsupportedParameter)
                    .with_param("messages")
                    .with_message(
                        "this model takes pictures as data URLs alone; the gateway fetches none",
                    ));
            }
        },
        Said::Audio { base64, format } => (Cow::Owned(format!("audio/{format}")), base64),
        Said::File { data, .. } => (Cow::Borrowed(&*data.media_type), &data.base64),
        _ => {
            return Err(refused(
                "this model takes texts, pictures, sound and documents alone",
            ));
        }
    };
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/-+._".contains(&b);
    if !mime_type.bytes().all(plain) {
        return Err(refused("a part names no media type"));
    }
    Ok(Data::InlineData(Blob { mime_type, data }).into())
}

fn refused(message: &str) -> ProviderError {
    ProviderError::new(Kind::UnsupportedValue)
        .with_param("messages")
        .with_message(message)
}
