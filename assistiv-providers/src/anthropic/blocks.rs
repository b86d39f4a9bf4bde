//! Content blocks of requests.
//!
//! Anthropic API reference, "Messages", read on 2026-11-23: texts are not empty, and results of tools come first in
//! the turn after their calls.

use std::borrow::Cow;
use std::collections::HashMap;

use assistiv_core::conversation::{
    CacheLifetime, Media, MediaData, Part, ProviderState, Speaker, ToolResult, Turns,
};
use assistiv_core::provider::{ProviderError, ProviderErrorKind as Kind};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use super::NAME;

/// A block, with the mark that asks to cache everything up to it.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Block<'a> {
    /// One of Anthropic's own, as it came.
    Kept(&'a RawValue),
    Written {
        #[serde(flatten)]
        content: Content<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<CacheControl>,
    },
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Content<'a> {
    Text {
        text: Cow<'a, str>,
    },
    Image {
        source: Source<'a>,
    },
    Document {
        source: Source<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        title: Option<&'a str>,
    },
    ToolUse {
        id: Cow<'a, str>,
        name: &'a str,
        input: &'a RawValue,
    },
    ToolResult {
        tool_use_id: Cow<'a, str>,
        content: Vec<Block<'a>>,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        is_error: bool,
    },
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Source<'a> {
    Url {
        url: &'a str,
    },
    Base64 {
        media_type: &'a str,
        data: &'a str,
    },
    Text {
        media_type: &'static str,
        data: String,
    },
}

#[derive(Clone, Copy, Serialize)]
#[serde(tag = "type", rename = "ephemeral")]
pub(super) struct CacheControl {
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<&'static str>,
}

/// A message of a request.
#[derive(Serialize)]
pub(super) struct Message<'a> {
    role: &'static str,
    content: Vec<Block<'a>>,
}

/// State of the adapter: a block of a model's thoughts, which that model alone may see again.
#[derive(Serialize, Deserialize)]
struct Thought<'a> {
    #[serde(borrow)]
    model: Cow<'a, str>,
    #[serde(borrow)]
    block: &'a RawValue,
}

/// Keeps a block of thoughts for the next turn.
pub(super) fn keep(model: &str, block: &RawValue) -> Option<ProviderState> {
    let model = model.into();
    let json = to_raw_value(&Thought { model, block }).ok()?;
    Some(ProviderState::new(NAME, json))
}

/// Writes the turns of a conversation for a model.
pub(super) fn messages<'a>(
    turns: &'a Turns<'a, 'a>,
    model: &str,
) -> Result<Vec<Message<'a>>, ProviderError> {
    let mut writer = Writer {
        model,
        ids: HashMap::new(),
    };
    let mut messages: Vec<Message<'a>> = Vec::with_capacity(turns.turns.len());
    for turn in &turns.turns {
        let role = match turn.speaker {
            Speaker::User => "user",
            Speaker::Assistant => "assistant",
        };
        let content = writer.blocks(turn.parts.iter().copied())?;
        if content.is_empty() {
            continue;
        }
        match messages.last_mut() {
            // Nothing was said in between.
            Some(last) if last.role == role => last.content.extend(content),
            _ => messages.push(Message { role, content }),
        }
    }
    if let Some(last) = messages.last_mut().filter(|last| last.role == "assistant") {
        trim_end(&mut last.content);
    }
    messages.retain(|message| !message.content.is_empty());
    if messages.is_empty() {
        return Err(ProviderError::new(Kind::Invalid)
            .with_param("messages")
            .with_message("must say something"));
    }
    Ok(messages)
}

/// Instructions as text blocks.
pub(super) fn system<'a>(turns: &'a Turns<'a, 'a>) -> Result<Vec<Block<'a>>, ProviderError> {
    let mut writer = Writer {
        model: "",
        ids: HashMap::new(),
    };
    let parts = turns.instructions.iter().flatten().copied();
    writer.blocks(parts)
}

/// An instruction of the gateway's own.
pub(super) fn instruction(text: &'static str) -> Block<'static> {
    written(Content::Text { text: text.into() })
}

/// The beginning of an answer must not end in blanks.
fn trim_end(blocks: &mut Vec<Block<'_>>) {
    if let Some(Block::Written {
        content: Content::Text { text },
        ..
    }) = blocks.last_mut()
    {
        let end = text.trim_end().len();
        match text {
            Cow::Borrowed(text) => *text = &text[..end],
            Cow::Owned(text) => text.truncate(end),
        }
        if end == 0 {
            blocks.pop();
        }
    }
}

fn written(content: Content<'_>) -> Block<'_> {
    Block::Written {
        content,
        cache_control: None,
    }
}

struct Writer<'a, 'm> {
    model: &'m str,
    /// Ids that Anthropic would refuse, with what they are called there.
    ids: HashMap<&'a str, String>,
}

// === impl Writer ===

impl<'a> Writer<'a, '_> {
    fn blocks(
        &mut self,
        parts: impl Iterator<Item = &'a Part<'a>>,
    ) -> Result<Vec<Block<'a>>, ProviderError> {
        let mut blocks = Vec::new();
        for part in parts {
            match part {
                Part::Text(text) | Part::Refusal(text) if text.is_empty() => {}
                Part::Text(text) | Part::Refusal(text) => blocks.push(written(Content::Text {
                    text: Cow::Borrowed(text),
                })),
                Part::Image(image) => blocks.push(written(Content::Image {
                    source: match &image.media {
                        Media::Url(url) => Source::Url { url },
                        Media::Data(data) => base64_source(data),
                    },
                })),
                Part::File { data, name } => blocks.push(written(Content::Document {
                    source: document(data)?,
                    title: name.as_deref().filter(|name| !name.is_empty()),
                })),
                Part::ToolCall(call) => {
                    let id = self.id(&call.id);
                    blocks.push(written(Content::ToolUse {
                        id,
                        name: &call.name,
                        input: &call.arguments,
                    }));
                }
                Part::ToolResult(result) => blocks.push(self.result(result)?),
                Part::Reasoning(thought) => {
                    let state = thought.state.as_ref();
                    let kept = state.and_then(|state| self.thought(state));
                    blocks.extend(kept.map(Block::Kept));
                }
                Part::CacheBreakpoint(lifetime) => {
                    if let Some(Block::Written { cache_control, .. }) = blocks.last_mut() {
                        let ttl = match lifetime {
                            CacheLifetime::FiveMinutes => None,
                            CacheLifetime::OneHour => Some("1h"),
                        };
                        *cache_control = Some(CacheControl { ttl });
                    }
                }
                _ => {
                    return Err(ProviderError::new(Kind::UnsupportedParameter)
                        .with_param("messages")
                        .with_message("this model takes texts, pictures and documents alone"));
                }
            }
        }
        Ok(blocks)
    }

    fn result(&mut self, result: &'a ToolResult<'a>) -> Result<Block<'a>, ProviderError> {
        let tool_use_id = self.id(&result.call_id);
        let mut content = self.blocks(result.content.iter())?;
        // A mark on what a tool gave back belongs to the result as a whole.
        let marks = content.iter_mut().filter_map(|block| match block {
            Block::Written { cache_control, .. } => cache_control.take(),
            Block::Kept(_) => None,
        });
        let cache_control = marks.last();
        Ok(Block::Written {
            content: Content::ToolResult {
                tool_use_id,
                content,
                is_error: result.is_error,
            },
            cache_control,
        })
    }

    /// A thought, when this model had it.
    fn thought(&self, state: &'a ProviderState) -> Option<&'a RawValue> {
        let thought: Thought<'a> = serde_json::from_str(state.of(NAME)?.get()).ok()?;
        (thought.model == self.model).then_some(thought.block)
    }

    /// The id under which Anthropic knows a call. Callers that come from elsewhere may have ids it would refuse.
    fn id(&mut self, id: &'a str) -> Cow<'a, str> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        if !id.is_empty() && id.bytes().all(plain) {
            return Cow::Borrowed(id);
        }
        let next = self.ids.len();
        let known = self.ids.entry(id);
        Cow::Owned(
            known
                .or_insert_with(|| format!("call-{next}-renamed"))
                .clone(),
        )
    }
}

fn base64_source<'a>(data: &'a MediaData<'a>) -> Source<'a> {
    Source::Base64 {
        media_type: &data.media_type,
        data: &data.base64,
    }
}

fn document<'a>(data: &'a MediaData<'a>) -> Result<Source<'a>, ProviderError> {
    if data.media_type == "application/pdf" {
        return Ok(base64_source(data));
    }
    let refused = |message: &str| {
        ProviderError::new(Kind::UnsupportedValue)
            .with_param("messages")
            .with_message(message)
    };
    if !data.media_type.starts_with("text/") {
        return Err(refused("this model takes files of PDF and text alone"));
    }
    let text = BASE64_STANDARD
        .decode(&*data.base64)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok());
    Ok(Source::Text {
        media_type: "text/plain",
        data: text.ok_or_else(|| refused("a text file must be base64 of UTF-8"))?,
    })
}
