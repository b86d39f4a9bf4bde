//! Messages of chat completions.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Text, data_of, field};
use crate::conversation::message::is_base64;
use crate::conversation::{
    CacheLifetime, Image, Media, Message, Part, Reasoning, Recalled, Role, ToolCall, ToolResult,
    invalid, unsupported,
};
use crate::json::Members;
use crate::provider::ProviderError;

/// A message as it stands in the body.
#[derive(Deserialize)]
struct Raw<'a> {
    #[serde(borrow)]
    role: Cow<'a, str>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(borrow)]
    refusal: Option<Text<'a>>,
    #[serde(borrow)]
    tool_calls: Option<Vec<RawCall<'a>>>,
    #[serde(borrow)]
    tool_call_id: Option<Text<'a>>,
    /// The old form of `tool_calls`.
    #[serde(borrow)]
    function_call: Option<RawFunction<'a>>,
    #[serde(borrow)]
    name: Option<Text<'a>>,
    #[serde(borrow)]
    audio: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct RawCall<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    function: Option<RawFunction<'a>>,
}

#[derive(Deserialize)]
struct RawFunction<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    arguments: Option<Text<'a>>,
}

/// A part of a message's content.
#[derive(Deserialize)]
struct RawPart<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    text: Option<Text<'a>>,
    #[serde(borrow)]
    refusal: Option<Text<'a>>,
    #[serde(borrow)]
    image_url: Option<RawImage<'a>>,
    #[serde(borrow)]
    input_audio: Option<RawAudio<'a>>,
    #[serde(borrow)]
    file: Option<RawFile<'a>>,
    #[serde(borrow)]
    prompt_cache_breakpoint: Option<&'a RawValue>,
    #[serde(borrow)]
    cache_control: Option<RawCache<'a>>,
}

#[derive(Deserialize)]
struct RawImage<'a> {
    #[serde(borrow)]
    url: Cow<'a, str>,
    #[serde(borrow)]
    detail: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct RawAudio<'a> {
    #[serde(borrow)]
    data: Cow<'a, str>,
    #[serde(borrow)]
    format: Cow<'a, str>,
}

#[derive(Deserialize)]
struct RawFile<'a> {
    #[serde(borrow)]
    file_data: Option<Text<'a>>,
    #[serde(borrow)]
    filename: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct RawCache<'a> {
    #[serde(borrow)]
    ttl: Option<Text<'a>>,
}

/// Reads messages one after the other.
struct Reader<'a, 'r> {
    recalled: &'r Recalled,
    /// The tools that were called so far, by the id of the call.
    called: HashMap<Cow<'a, str>, Cow<'a, str>>,
    /// How many calls of the old form there were, which have no ids.
    unnamed: usize,
}

pub(super) fn read<'a>(
    members: &'a Members,
    recalled: &Recalled,
) -> Result<Vec<Message<'a>>, ProviderError> {
    let raw: Vec<&RawValue> =
        field(members, "messages", "must be an array of messages")?.unwrap_or_default();
    let mut reader = Reader {
        recalled,
        called: HashMap::new(),
        unnamed: 0,
    };
    raw.into_iter()
        .enumerate()
        .map(|(index, raw)| reader.message(&format!("messages[{index}]"), raw))
        .collect()
}

// === impl Reader ===

impl<'a> Reader<'a, '_> {
    fn message(&mut self, param: &str, raw: &'a RawValue) -> Result<Message<'a>, ProviderError> {
        let raw: Raw<'a> =
            serde_json::from_str(raw.get()).map_err(|error| unreadable(param, &error))?;
        let content = content(param, raw.content)?;
        let role = match &*raw.role {
            "system" | "developer" => Role::System,
            "user" => Role::User,
            "assistant" => Role::Assistant,
            "tool" | "function" => Role::Tool,
            _ => return Err(invalid(format!("{param}.role"), "is not a role")),
        };
        if role != Role::User
            && let Some(part) = content.iter().find(|part| is_media(part))
        {
            let message = format!("only users may send {}", media_name(part));
            return Err(invalid(format!("{param}.content"), message));
        }
        if raw.audio.is_some() {
            return Err(unsupported(format!("{param}.audio")));
        }
        let parts = match role {
            Role::System | Role::User => content,
            Role::Tool => {
                vec![self.result(param, &raw.role, raw.tool_call_id, raw.name, content)?]
            }
            Role::Assistant => {
                let mut parts = content;
                parts.extend(
                    raw.refusal
                        .filter(|text| !text.0.is_empty())
                        .map(|text| Part::Refusal(text.0)),
                );
                self.calls(param, raw.tool_calls.unwrap_or_default(), &mut parts)?;
                if let Some(function) = raw.function_call {
                    self.unnamed += 1;
                    let id = format!("call_{}", self.unnamed);
                    let param = format!("{param}.function_call");
                    parts.push(Part::ToolCall(self.call(&param, id.into(), function)?));
                }
                parts
            }
        };
        Ok(Message { role, parts })
    }

    fn calls(
        &mut self,
        param: &str,
        calls: Vec<RawCall<'a>>,
        parts: &mut Vec<Part<'a>>,
    ) -> Result<(), ProviderError> {
        for (index, call) in calls.into_iter().enumerate() {
            let param = format!("{param}.tool_calls[{index}]");
            let Some(function) = call.function else {
                return Err(unsupported(format!("{param}.type"))
                    .with_message("this model takes calls of functions alone"));
            };
            let recalled = self.recalled.of(&call.id);
            let thoughts = recalled.into_iter().flat_map(|memory| &memory.reasoning);
            let thoughts = thoughts.map(|state| {
                Part::Reasoning(Reasoning {
                    text: "".into(),
                    state: Some(state.clone()),
                })
            });
            // A model thinks before it says anything. What it thought between two calls stays there.
            let at = if index == 0 { 0 } else { parts.len() };
            parts.splice(at..at, thoughts);
            parts.push(Part::ToolCall(self.call(&param, call.id, function)?));
        }
        Ok(())
    }

    fn call(
        &mut self,
        param: &str,
        id: Cow<'a, str>,
        function: RawFunction<'a>,
    ) -> Result<ToolCall<'a>, ProviderError> {
        let text = function.arguments.map_or_else(Cow::default, |text| text.0);
        let arguments = arguments(text).ok_or_else(|| {
            invalid(
                format!("{param}.function.arguments"),
                "must be the text of a JSON object",
            )
        })?;
        let state = self.recalled.of(&id).and_then(|memory| memory.call.clone());
        self.called.insert(id.clone(), function.name.clone());
        Ok(ToolCall {
            id,
            name: function.name,
            arguments,
            state,
        })
    }

    fn result(
        &self,
        param: &str,
        role: &str,
        call_id: Option<Text<'a>>,
        name: Option<Text<'a>>,
        content: Vec<Part<'a>>,
    ) -> Result<Part<'a>, ProviderError> {
        let call_id = match call_id {
            Some(id) => id.0,
            // Results of the old form follow their call at once, and name the function.
            None if role == "function" => format!("call_{}", self.unnamed).into(),
            None => return Err(invalid(format!("{param}.tool_call_id"), "is required")),
        };
        let called = self.called.get(&call_id).cloned();
        Ok(Part::ToolResult(ToolResult {
            name: called.or(name.map(|name| name.0)),
            call_id,
            content,
            is_error: false,
        }))
    }
}

/// An empty text is an empty object: many clients write calls without arguments so.
pub(in crate::conversation) fn arguments(text: Cow<'_, str>) -> Option<Cow<'_, RawValue>> {
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return RawValue::from_string("{}".to_owned()).ok().map(Cow::Owned);
    }
    if !trimmed.starts_with('{') {
        return None;
    }
    match text {
        Cow::Borrowed(text) => serde_json::from_str(text).ok().map(Cow::Borrowed),
        Cow::Owned(text) => RawValue::from_string(text).ok().map(Cow::Owned),
    }
}

fn content<'a>(param: &str, content: Option<&'a RawValue>) -> Result<Vec<Part<'a>>, ProviderError> {
    let Some(raw) = content else {
        return Ok(Vec::new());
    };
    let param = format!("{param}.content");
    if raw.get().starts_with('"') {
        let text: Text<'a> =
            serde_json::from_str(raw.get()).map_err(|error| unreadable(&param, &error))?;
        return Ok(vec![Part::Text(text.0)]);
    }
    let raw: Vec<RawPart<'a>> =
        serde_json::from_str(raw.get()).map_err(|error| unreadable(&param, &error))?;
    let mut parts = Vec::with_capacity(raw.len());
    for (index, raw) in raw.into_iter().enumerate() {
        let breakpoint = raw.breakpoint();
        parts.push(raw.part(&format!("{param}[{index}]"))?);
        parts.extend(breakpoint.map(Part::CacheBreakpoint));
    }
    Ok(parts)
}

// === impl RawPart ===

impl<'a> RawPart<'a> {
    /// OpenAI's mark, or Anthropic's, which clients of several providers use in this dialect, too.
    fn breakpoint(&self) -> Option<CacheLifetime> {
        let hour = |cache: &RawCache<'_>| cache.ttl.as_ref().is_some_and(|ttl| ttl.0 == "1h");
        match (&self.cache_control, self.prompt_cache_breakpoint) {
            (Some(cache), _) if hour(cache) => Some(CacheLifetime::OneHour),
            (Some(_), _) => Some(CacheLifetime::FiveMinutes),
            (None, Some(mark)) => (mark.get() != "false").then_some(CacheLifetime::FiveMinutes),
            (None, None) => None,
        }
    }

    fn part(self, param: &str) -> Result<Part<'a>, ProviderError> {
        let lacks = |field: &str| invalid(format!("{param}.{field}"), "is required");
        Ok(match &*self.kind {
            "text" => Part::Text(self.text.ok_or_else(|| lacks("text"))?.0),
            "refusal" => Part::Refusal(self.refusal.ok_or_else(|| lacks("refusal"))?.0),
            "image_url" => image(self.image_url.ok_or_else(|| lacks("image_url"))?, param)?,
            "input_audio" => {
                let audio = self.input_audio.ok_or_else(|| lacks("input_audio"))?;
                if !is_base64(&audio.data) {
                    let param = format!("{param}.input_audio.data");
                    return Err(invalid(param, "must be base64"));
                }
                Part::Audio {
                    base64: audio.data,
                    format: audio.format,
                }
            }
            "file" => {
                let file = self.file.ok_or_else(|| lacks("file"))?;
                // A file that was uploaded lies with the provider, in an account that many callers share.
                let data = file.file_data.ok_or_else(|| {
                    unsupported(format!("{param}.file.file_id"))
                        .with_message("files are taken as `file_data` alone")
                })?;
                Part::File {
                    data: data_of(&data.0, &format!("{param}.file.file_data"))?,
                    name: file.filename.map(|name| name.0),
                }
            }
            _ => {
                return Err(unsupported(format!("{param}.type"))
                    .with_message("this model does not take parts of this type"));
            }
        })
    }
}

fn image<'a>(raw: RawImage<'a>, param: &str) -> Result<Part<'a>, ProviderError> {
    let scheme = raw.url.split(':').next().unwrap_or_default();
    let media = if scheme.eq_ignore_ascii_case("data") {
        Media::Data(data_of(&raw.url, &format!("{param}.image_url.url"))?)
    } else if scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("http") {
        Media::Url(raw.url)
    } else {
        let param = format!("{param}.image_url.url");
        return Err(invalid(param, "must be an http, https or data URL"));
    };
    Ok(Part::Image(Image {
        media,
        detail: raw.detail.map(|detail| detail.0),
    }))
}

fn is_media(part: &Part<'_>) -> bool {
    matches!(
        part,
        Part::Image(_) | Part::Audio { .. } | Part::File { .. }
    )
}

fn media_name(part: &Part<'_>) -> &'static str {
    match part {
        Part::Image(_) => "images",
        Part::Audio { .. } => "audio",
        _ => "files",
    }
}

pub(in crate::conversation) fn unreadable(param: &str, error: &serde_json::Error) -> ProviderError {
    // Where it is does not help: the line and column are those of a piece of the body.
    let what = error.to_string();
    let what = what.split(" at line ").next().unwrap_or_default();
    invalid(param, what)
}
