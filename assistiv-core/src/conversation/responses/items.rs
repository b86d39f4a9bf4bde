//! Items of a response's input.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::call::InferenceRequest;
use crate::conversation::chat::messages::{arguments, unreadable};
use crate::conversation::chat::{Text, data_of, field};
use crate::conversation::message::is_base64;
use crate::conversation::{
    CacheLifetime, Image, Media, Message, Part, ProviderState, Reasoning, Role, ToolCall,
    ToolResult, invalid, unsupported,
};
use crate::provider::ProviderError;

/// An item as it stands in the body.
#[derive(Deserialize)]
struct Raw<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    role: Option<Cow<'a, str>>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(borrow)]
    call_id: Option<Text<'a>>,
    #[serde(borrow)]
    name: Option<Text<'a>>,
    #[serde(borrow)]
    arguments: Option<Text<'a>>,
    #[serde(borrow)]
    output: Option<&'a RawValue>,
    #[serde(borrow)]
    summary: Option<Vec<Summary<'a>>>,
    #[serde(borrow)]
    encrypted_content: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Summary<'a> {
    #[serde(borrow)]
    text: Option<Text<'a>>,
}

/// A part of a message's content, or of what a tool gave back.
#[derive(Deserialize)]
struct RawPart<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    text: Option<Text<'a>>,
    #[serde(borrow)]
    refusal: Option<Text<'a>>,
    #[serde(borrow)]
    image_url: Option<Text<'a>>,
    #[serde(borrow)]
    detail: Option<Text<'a>>,
    #[serde(borrow)]
    file_data: Option<Text<'a>>,
    #[serde(borrow)]
    filename: Option<Text<'a>>,
    #[serde(borrow)]
    input_audio: Option<RawAudio<'a>>,
    #[serde(borrow)]
    prompt_cache_breakpoint: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct RawAudio<'a> {
    #[serde(borrow)]
    data: Cow<'a, str>,
    #[serde(borrow)]
    format: Cow<'a, str>,
}

/// Reads items one after the other.
struct Reader<'a, 'r> {
    request: &'a InferenceRequest,
    messages: &'r mut Vec<Message<'a>>,
    /// The tools that were called so far, by the id of the call.
    called: HashMap<Cow<'a, str>, Cow<'a, str>>,
}

/// Adds the messages of the input.
pub(super) fn read<'a>(
    request: &'a InferenceRequest,
    messages: &mut Vec<Message<'a>>,
) -> Result<(), ProviderError> {
    let members = request.members();
    if members
        .find("input")
        .is_some_and(|json| json.starts_with('"'))
    {
        let text: Option<Text<'a>> = field(members, "input", "must be a string")?;
        messages.push(Message {
            role: Role::User,
            parts: text.into_iter().map(|text| Part::Text(text.0)).collect(),
        });
        return Ok(());
    }
    let items: Vec<&'a RawValue> =
        field(members, "input", "must be an array of items")?.unwrap_or_default();
    let mut reader = Reader {
        request,
        messages,
        called: HashMap::new(),
    };
    for (index, item) in items.into_iter().enumerate() {
        reader.item(&format!("input[{index}]"), item)?;
    }
    Ok(())
}

/// The ids of the tool calls in the input.
pub(crate) fn call_ids(request: &InferenceRequest) -> Vec<String> {
    #[derive(Deserialize)]
    struct Item {
        #[serde(rename = "type")]
        kind: Option<String>,
        call_id: Option<String>,
    }
    let input = request.members().find("input").unwrap_or_default();
    if memchr::memmem::find(input.as_bytes(), b"function_call").is_none() {
        return Vec::new();
    }
    let items: Vec<Item> = serde_json::from_str(input).unwrap_or_default();
    let calls = items
        .into_iter()
        .filter(|item| item.kind.as_deref() == Some("function_call"));
    calls.filter_map(|item| item.call_id).collect()
}

// === impl Reader ===

impl<'a> Reader<'a, '_> {
    fn item(&mut self, param: &str, raw: &'a RawValue) -> Result<(), ProviderError> {
        let item: Raw<'a> =
            serde_json::from_str(raw.get()).map_err(|error| unreadable(param, &error))?;
        match item.kind.as_deref().unwrap_or("message") {
            "message" => self.message(param, item),
            "function_call" => self.call(param, item),
            "function_call_output" => self.result(param, item),
            "reasoning" => {
                self.thought(item);
                Ok(())
            }
            kind => Err(unsupported(format!("{param}.type"))
                .with_message(format!("items of the type `{kind}` do not fit this model"))),
        }
    }

    fn message(&mut self, param: &str, item: Raw<'a>) -> Result<(), ProviderError> {
        let parts = content(param, "content", item.content)?;
        let role = match item.role.as_deref() {
            Some("system" | "developer") => Role::System,
            Some("user") => Role::User,
            Some("assistant") => Role::Assistant,
            _ => return Err(invalid(format!("{param}.role"), "is not a role")),
        };
        let media = |part: &Part<'_>| {
            matches!(
                part,
                Part::Image(_) | Part::Audio { .. } | Part::File { .. }
            )
        };
        if role != Role::User && parts.iter().any(media) {
            let message = "only users may send images, audio and files";
            return Err(invalid(format!("{param}.content"), message));
        }
        match self.messages.last_mut() {
            // What the model thought before it spoke belongs to what it said.
            Some(last) if role == Role::Assistant && is_thought(last) => last.parts.extend(parts),
            _ => self.messages.push(Message { role, parts }),
        }
        Ok(())
    }

    fn call(&mut self, param: &str, item: Raw<'a>) -> Result<(), ProviderError> {
        let lacks = |field: &str| invalid(format!("{param}.{field}"), "is required");
        let id = item.call_id.ok_or_else(|| lacks("call_id"))?.0;
        let name = item.name.ok_or_else(|| lacks("name"))?.0;
        let text = item.arguments.map_or_else(Cow::default, |text| text.0);
        let arguments = arguments(text).ok_or_else(|| {
            let message = "must be the text of a JSON object";
            invalid(format!("{param}.arguments"), message)
        })?;
        let sealed = self.opened(item.encrypted_content);
        let recalled = self.request.recalled().of(&id);
        let state = sealed.or_else(|| recalled.and_then(|memory| memory.call.clone()));
        let thoughts = recalled
            .map(|memory| memory.reasoning.clone())
            .unwrap_or_default();
        self.called.insert(id.clone(), name.clone());
        let parts = self.assistant();
        let has_thought = parts
            .iter()
            .any(|part| matches!(part, Part::Reasoning(Reasoning { state: Some(_), .. })));
        if !has_thought {
            // The caller has not brought them back. A model thinks before it says anything.
            let thoughts = thoughts.into_iter().map(|state| {
                Part::Reasoning(Reasoning {
                    text: "".into(),
                    state: Some(state),
                })
            });
            let at = match parts.iter().any(|part| matches!(part, Part::ToolCall(_))) {
                true => parts.len(),
                false => 0,
            };
            parts.splice(at..at, thoughts);
        }
        parts.push(Part::ToolCall(ToolCall {
            id,
            name,
            arguments,
            state,
        }));
        Ok(())
    }

    fn result(&mut self, param: &str, item: Raw<'a>) -> Result<(), ProviderError> {
        let Some(id) = item.call_id else {
            return Err(invalid(format!("{param}.call_id"), "is required"));
        };
        let content = content(param, "output", item.output)?;
        let name = self.called.get(&id.0).cloned();
        let part = Part::ToolResult(ToolResult {
            name,
            call_id: id.0,
            content,
            is_error: false,
        });
        self.messages.push(Message {
            role: Role::Tool,
            parts: vec![part],
        });
        Ok(())
    }

    fn thought(&mut self, item: Raw<'a>) {
        let state = self.opened(item.encrypted_content);
        let summary = item.summary.unwrap_or_default();
        let texts = summary.into_iter().filter_map(|part| part.text);
        let texts: Vec<_> = texts.map(|text| text.0).collect();
        let text = match <[_; 1]>::try_from(texts) {
            Ok([text]) => text,
            Err(texts) => texts.join("\n").into(),
        };
        let parts = match self.messages.last_mut() {
            // Thoughts after something was said, or between calls, stay where they are.
            Some(last) if last.role == Role::Assistant && !is_said(last) => &mut last.parts,
            _ => self.fresh(),
        };
        parts.push(Part::Reasoning(Reasoning { text, state }));
    }

    /// State that this owner was given; what others gave, or the providers themselves, is not for a translation.
    fn opened(&self, sealed: Option<Text<'a>>) -> Option<ProviderState> {
        let seal = self.request.response.as_ref()?.seal.as_ref()?;
        seal.open(&sealed?.0)
    }

    /// The parts of the message in which the model speaks.
    fn assistant(&mut self) -> &mut Vec<Part<'a>> {
        match self.messages.last() {
            Some(last) if last.role == Role::Assistant => {}
            _ => {
                self.fresh();
            }
        }
        let last = self.messages.len() - 1;
        &mut self.messages[last].parts
    }

    fn fresh(&mut self) -> &mut Vec<Part<'a>> {
        self.messages.push(Message {
            role: Role::Assistant,
            parts: Vec::new(),
        });
        let last = self.messages.len() - 1;
        &mut self.messages[last].parts
    }
}

/// Whether a message holds nothing but thoughts.
fn is_thought(message: &Message<'_>) -> bool {
    message.role == Role::Assistant
        && message
            .parts
            .iter()
            .all(|part| matches!(part, Part::Reasoning(_)))
}

/// Whether a message ends with text, after which a thought begins something new.
fn is_said(message: &Message<'_>) -> bool {
    matches!(message.parts.last(), Some(Part::Text(_) | Part::Refusal(_)))
}

fn content<'a>(
    param: &str,
    name: &str,
    content: Option<&'a RawValue>,
) -> Result<Vec<Part<'a>>, ProviderError> {
    let param = format!("{param}.{name}");
    let Some(raw) = content else {
        return Err(invalid(param, "is required"));
    };
    if raw.get().starts_with('"') {
        let text: Text<'a> =
            serde_json::from_str(raw.get()).map_err(|error| unreadable(&param, &error))?;
        return Ok(vec![Part::Text(text.0)]);
    }
    let raw: Vec<RawPart<'a>> =
        serde_json::from_str(raw.get()).map_err(|error| unreadable(&param, &error))?;
    let mut parts = Vec::with_capacity(raw.len());
    for (index, raw) in raw.into_iter().enumerate() {
        let marked = raw
            .prompt_cache_breakpoint
            .is_some_and(|mark| mark.get() != "false");
        parts.push(raw.part(&format!("{param}[{index}]"))?);
        parts.extend(marked.then_some(Part::CacheBreakpoint(CacheLifetime::FiveMinutes)));
    }
    Ok(parts)
}

// === impl RawPart ===

impl<'a> RawPart<'a> {
    fn part(self, param: &str) -> Result<Part<'a>, ProviderError> {
        let lacks = |field: &str| invalid(format!("{param}.{field}"), "is required");
        // What was uploaded lies with a provider, in an account that many callers share.
        let uploaded = |field: &str, instead: &str| {
            unsupported(format!("{param}.{field}")).with_message(instead.to_owned())
        };
        Ok(match &*self.kind {
            "input_text" | "output_text" | "text" => {
                Part::Text(self.text.ok_or_else(|| lacks("text"))?.0)
            }
            "refusal" => Part::Refusal(self.refusal.ok_or_else(|| lacks("refusal"))?.0),
            "input_image" => {
                let url = self
                    .image_url
                    .ok_or_else(|| uploaded("file_id", "images are taken as `image_url` alone"))?;
                Part::Image(Image {
                    media: media(url.0, param)?,
                    detail: self.detail.map(|detail| detail.0),
                })
            }
            "input_file" => {
                let data = self
                    .file_data
                    .ok_or_else(|| uploaded("file_id", "files are taken as `file_data` alone"))?;
                Part::File {
                    data: data_of(&data.0, &format!("{param}.file_data"))?,
                    name: self.filename.map(|name| name.0),
                }
            }
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
            _ => {
                return Err(unsupported(format!("{param}.type"))
                    .with_message("this model does not take parts of this type"));
            }
        })
    }
}

fn media<'a>(url: Cow<'a, str>, param: &str) -> Result<Media<'a>, ProviderError> {
    let scheme = url.split(':').next().unwrap_or_default();
    if scheme.eq_ignore_ascii_case("data") {
        return Ok(Media::Data(data_of(&url, &format!("{param}.image_url"))?));
    }
    if scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("http") {
        return Ok(Media::Url(url));
    }
    Err(invalid(
        format!("{param}.image_url"),
        "must be an http, https or data URL",
    ))
}
