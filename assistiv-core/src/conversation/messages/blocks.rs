//! Messages and their blocks.

use std::borrow::Cow;
use std::collections::HashMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Text, field};
use crate::call::InferenceRequest;
use crate::conversation::message::is_base64;
use crate::conversation::{
    CacheLifetime, Image, Media, MediaData, Message, Part, Reasoning, Recalled, Role, ToolCall,
    ToolResult, invalid, unsupported,
};
use crate::json::Members;
use crate::provider::ProviderError;

/// A message as it stands in the body.
#[derive(Deserialize)]
struct RawMessage<'a> {
    #[serde(borrow)]
    role: Cow<'a, str>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
}

/// A block of content.
#[derive(Deserialize)]
struct RawBlock<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    text: Option<Text<'a>>,
    #[serde(borrow)]
    source: Option<RawSource<'a>>,
    #[serde(borrow)]
    title: Option<Text<'a>>,
    #[serde(borrow)]
    id: Option<Text<'a>>,
    #[serde(borrow)]
    name: Option<Text<'a>>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    #[serde(borrow)]
    tool_use_id: Option<Text<'a>>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(default)]
    is_error: Option<bool>,
    #[serde(borrow)]
    thinking: Option<Text<'a>>,
    #[serde(borrow)]
    cache_control: Option<RawCache<'a>>,
}

#[derive(Deserialize)]
struct RawSource<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    media_type: Option<Text<'a>>,
    #[serde(borrow)]
    data: Option<Text<'a>>,
    #[serde(borrow)]
    url: Option<Text<'a>>,
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
    messages: Vec<Message<'a>>,
}

/// The ids of the tool calls in the messages.
pub(crate) fn call_ids(request: &InferenceRequest) -> Vec<String> {
    #[derive(Deserialize)]
    struct Message<'a> {
        #[serde(borrow)]
        content: Option<&'a RawValue>,
    }
    #[derive(Deserialize)]
    struct Block {
        #[serde(rename = "type")]
        kind: String,
        id: Option<String>,
    }
    let messages = request.members().find("messages").unwrap_or_default();
    if memchr::memmem::find(messages.as_bytes(), b"tool_use").is_none() {
        return Vec::new();
    }
    let messages: Vec<Message<'_>> = serde_json::from_str(messages).unwrap_or_default();
    let blocks = messages.iter().filter_map(|message| message.content);
    blocks
        .flat_map(|raw| serde_json::from_str::<Vec<Block>>(raw.get()).unwrap_or_default())
        .filter(|block| block.kind == "tool_use")
        .filter_map(|block| block.id)
        .collect()
}

pub(super) fn read<'a>(
    members: &'a Members,
    recalled: &Recalled,
) -> Result<Vec<Message<'a>>, ProviderError> {
    let mut reader = Reader {
        recalled,
        called: HashMap::new(),
        messages: Vec::new(),
    };
    if let Some(system) = field::<&RawValue>(members, "system", "must be text")? {
        reader.system("system", Some(system))?;
    }
    let raw: Vec<&RawValue> =
        field(members, "messages", "must be an array of messages")?.unwrap_or_default();
    for (index, raw) in raw.into_iter().enumerate() {
        reader.message(&format!("messages[{index}]"), raw)?;
    }
    Ok(reader.messages)
}

// === impl Reader ===

impl<'a> Reader<'a, '_> {
    fn message(&mut self, param: &str, raw: &'a RawValue) -> Result<(), ProviderError> {
        let raw: RawMessage<'a> =
            serde_json::from_str(raw.get()).map_err(|error| unreadable(param, &error))?;
        let param = format!("{param}.content");
        match &*raw.role {
            "system" => self.system(&param, raw.content),
            "user" => self.user(&param, raw.content),
            _ => self.assistant(&param, raw.content),
        }
    }

    fn system(&mut self, param: &str, raw: Option<&'a RawValue>) -> Result<(), ProviderError> {
        let mut parts = Vec::new();
        for (param, block) in blocks(param, raw)? {
            if block.kind != "text" {
                return Err(invalid(param, "must be text"));
            }
            push(&mut parts, &param, block)?;
        }
        if !parts.is_empty() {
            let role = Role::System;
            self.messages.push(Message { role, parts });
        }
        Ok(())
    }

    /// The results of tools become messages of their own, as most dialects have them; they come before the rest.
    fn user(&mut self, param: &str, raw: Option<&'a RawValue>) -> Result<(), ProviderError> {
        let mut parts = Vec::new();
        for (param, block) in blocks(param, raw)? {
            if block.kind == "tool_result" {
                let result = self.result(&param, block)?;
                self.messages.push(Message {
                    role: Role::Tool,
                    parts: result,
                });
            } else {
                push(&mut parts, &param, block)?;
            }
        }
        if !parts.is_empty() {
            let role = Role::User;
            self.messages.push(Message { role, parts });
        }
        Ok(())
    }

    fn assistant(&mut self, param: &str, raw: Option<&'a RawValue>) -> Result<(), ProviderError> {
        let mut parts = Vec::new();
        for (param, block) in blocks(param, raw)? {
            match &*block.kind {
                "tool_use" => self.call(&param, block, &mut parts)?,
                // Signatures are Anthropic's own, and its own models get them by another way.
                "thinking" => parts.push(Part::Reasoning(Reasoning {
                    text: block.thinking.map_or_else(Cow::default, |text| text.0),
                    state: None,
                })),
                "redacted_thinking" => {}
                "text" => push(&mut parts, &param, block)?,
                _ => return Err(unknown(&param)),
            }
        }
        if !parts.is_empty() {
            let role = Role::Assistant;
            self.messages.push(Message { role, parts });
        }
        Ok(())
    }

    fn call(
        &mut self,
        param: &str,
        block: RawBlock<'a>,
        parts: &mut Vec<Part<'a>>,
    ) -> Result<(), ProviderError> {
        let cache = breakpoint(&block);
        let id = required(param, "id", block.id)?;
        let name = required(param, "name", block.name)?;
        let arguments = match block.input {
            Some(input) if input.get().starts_with('{') => Cow::Borrowed(input),
            _ => return Err(invalid(format!("{param}.input"), "must be an object")),
        };
        let memory = self.recalled.of(&id);
        let thoughts = memory.into_iter().flat_map(|memory| &memory.reasoning);
        parts.extend(thoughts.map(|state| {
            Part::Reasoning(Reasoning {
                text: Cow::default(),
                state: Some(state.clone()),
            })
        }));
        let state = memory.and_then(|memory| memory.call.clone());
        self.called.insert(id.clone(), name.clone());
        parts.push(Part::ToolCall(ToolCall {
            id,
            name,
            arguments,
            state,
        }));
        parts.extend(cache);
        Ok(())
    }

    fn result(&self, param: &str, block: RawBlock<'a>) -> Result<Vec<Part<'a>>, ProviderError> {
        let cache = breakpoint(&block);
        let call_id = required(param, "tool_use_id", block.tool_use_id)?;
        let mut content = Vec::new();
        for (param, block) in blocks(&format!("{param}.content"), block.content)? {
            push(&mut content, &param, block)?;
        }
        let mut parts = vec![Part::ToolResult(ToolResult {
            name: self.called.get(&call_id).cloned(),
            call_id,
            content,
            is_error: block.is_error == Some(true),
        })];
        parts.extend(cache);
        Ok(parts)
    }
}

/// Content as blocks, each with its place: a string is one of text.
fn blocks<'a>(
    param: &str,
    raw: Option<&'a RawValue>,
) -> Result<Vec<(String, RawBlock<'a>)>, ProviderError> {
    let Some(raw) = raw.filter(|raw| raw.get() != "null") else {
        return Ok(Vec::new());
    };
    if raw.get().starts_with('"') {
        let text: Text<'a> =
            serde_json::from_str(raw.get()).map_err(|error| unreadable(param, &error))?;
        return Ok(vec![(param.to_owned(), RawBlock::text(text))]);
    }
    let raw: Vec<&'a RawValue> =
        serde_json::from_str(raw.get()).map_err(|error| unreadable(param, &error))?;
    let block = |(index, raw): (usize, &'a RawValue)| {
        let param = format!("{param}[{index}]");
        let block = serde_json::from_str(raw.get()).map_err(|error| unreadable(&param, &error))?;
        Ok((param, block))
    };
    raw.into_iter().enumerate().map(block).collect()
}

/// Adds a block that anybody may send.
fn push<'a>(
    parts: &mut Vec<Part<'a>>,
    param: &str,
    block: RawBlock<'a>,
) -> Result<(), ProviderError> {
    let cache = breakpoint(&block);
    match &*block.kind {
        "text" => {
            let text = required(param, "text", block.text)?;
            // Agents write empty ones, which no provider takes.
            if !text.is_empty() {
                parts.push(Part::Text(text));
            }
        }
        "image" => parts.push(Part::Image(Image {
            media: image(param, block.source)?,
            detail: None,
        })),
        "document" => parts.push(Part::File {
            data: document(param, block.source)?,
            name: block.title.map(|title| title.0),
        }),
        _ => return Err(unknown(param)),
    }
    parts.extend(cache);
    Ok(())
}

fn image<'a>(param: &str, source: Option<RawSource<'a>>) -> Result<Media<'a>, ProviderError> {
    let param = format!("{param}.source");
    let source = source.ok_or_else(|| invalid(&*param, "is required"))?;
    match &*source.kind {
        "base64" => data(&param, source).map(Media::Data),
        "url" => required(&param, "url", source.url).map(Media::Url),
        _ => Err(file_reference(&param)),
    }
}

fn document<'a>(
    param: &str,
    source: Option<RawSource<'a>>,
) -> Result<MediaData<'a>, ProviderError> {
    let param = format!("{param}.source");
    let source = source.ok_or_else(|| invalid(&*param, "is required"))?;
    match &*source.kind {
        "base64" => data(&param, source),
        "text" => {
            let text = required(&param, "data", source.data)?;
            Ok(MediaData {
                media_type: "text/plain".into(),
                base64: BASE64_STANDARD.encode(&*text).into(),
            })
        }
        "url" => Err(unsupported(format!("{param}.type"))
            .with_message("this model takes documents in the request alone, not by URL")),
        _ => Err(file_reference(&param)),
    }
}

fn data<'a>(param: &str, source: RawSource<'a>) -> Result<MediaData<'a>, ProviderError> {
    let media_type = required(param, "media_type", source.media_type)?;
    let base64 = required(param, "data", source.data)?;
    if !is_base64(&base64) {
        return Err(invalid(format!("{param}.data"), "must be base64"));
    }
    Ok(MediaData {
        media_type: media_type.to_ascii_lowercase().into(),
        base64,
    })
}

fn breakpoint<'a>(block: &RawBlock<'_>) -> Option<Part<'a>> {
    let cache = block.cache_control.as_ref()?;
    let hour = cache.ttl.as_ref().is_some_and(|ttl| ttl.0 == "1h");
    Some(Part::CacheBreakpoint(match hour {
        true => CacheLifetime::OneHour,
        false => CacheLifetime::FiveMinutes,
    }))
}

fn required<'a>(
    param: &str,
    name: &str,
    text: Option<Text<'a>>,
) -> Result<Cow<'a, str>, ProviderError> {
    text.map(|text| text.0)
        .ok_or_else(|| invalid(format!("{param}.{name}"), "is required"))
}

/// What was uploaded lies with the provider.
fn file_reference(param: &str) -> ProviderError {
    unsupported(format!("{param}.type"))
        .with_message("files by reference are to be had on Anthropic's own models alone")
}

fn unknown(param: &str) -> ProviderError {
    unsupported(format!("{param}.type"))
        .with_message("this model does not take blocks of this type")
}

// === impl RawBlock ===

impl<'a> RawBlock<'a> {
    fn text(text: Text<'a>) -> Self {
        Self {
            kind: "text".into(),
            text: Some(text),
            source: None,
            title: None,
            id: None,
            name: None,
            input: None,
            tool_use_id: None,
            content: None,
            is_error: None,
            thinking: None,
            cache_control: None,
        }
    }
}

fn unreadable(param: &str, error: &serde_json::Error) -> ProviderError {
    // Where it is does not help: the line and column are those of a piece of the body.
    let what = error.to_string();
    let what = what.split(" at line ").next().unwrap_or_default();
    invalid(param, what)
}
