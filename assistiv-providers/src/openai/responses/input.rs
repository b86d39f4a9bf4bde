//! Input items: what was said so far, as the Responses API takes it.
//!
//! OpenAI API reference, "Create a model response", read on 2026-11-23.

use std::borrow::Cow;

use assistiv_core::conversation::{
    Conversation, Media, Part as Said, ProviderState, Role, ToolResult,
};
use assistiv_core::provider::{ProviderError, ProviderErrorKind as Kind};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

/// An item.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Item<'a> {
    /// One of the model's own, as it came.
    Kept(&'a RawValue),
    Written(Written<'a>),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Written<'a> {
    Message {
        role: &'static str,
        content: Vec<Part<'a>>,
    },
    FunctionCall {
        call_id: &'a str,
        name: &'a str,
        arguments: &'a str,
    },
    FunctionCallOutput {
        call_id: &'a str,
        output: Output<'a>,
    },
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Part<'a> {
    InputText {
        text: &'a str,
    },
    OutputText {
        text: &'a str,
    },
    Refusal {
        refusal: &'a str,
    },
    InputImage {
        image_url: Cow<'a, str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        detail: Option<&'a str>,
    },
    InputFile {
        file_data: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        filename: Option<&'a str>,
    },
    InputAudio {
        input_audio: Audio<'a>,
    },
}

#[derive(Serialize)]
pub(super) struct Audio<'a> {
    data: &'a str,
    format: &'a str,
}

/// What a tool has given back.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Output<'a> {
    Text(String),
    Parts(Vec<Part<'a>>),
}

/// State of the adapter: an item of a model's thoughts, which that model alone may see again.
#[derive(Serialize, Deserialize)]
struct Thought<'a> {
    #[serde(borrow)]
    model: Cow<'a, str>,
    #[serde(borrow)]
    item: &'a RawValue,
}

/// Keeps an item of thoughts for the next turn.
pub(super) fn keep(name: &str, model: &str, item: &RawValue) -> Option<ProviderState> {
    let model = model.into();
    let json = to_raw_value(&Thought { model, item }).ok()?;
    Some(ProviderState::new(name, json))
}

/// Writes the messages of a conversation for a model of the adapter `name`.
pub(super) fn items<'a>(
    conversation: &'a Conversation<'a>,
    name: &str,
    model: &str,
    system: &'static str,
) -> Result<Vec<Item<'a>>, ProviderError> {
    let mut items = Vec::new();
    for message in &conversation.messages {
        let role = match message.role {
            Role::System => system,
            Role::User | Role::Tool => "user",
            Role::Assistant => "assistant",
        };
        for part in &message.parts {
            let item = match part {
                Said::CacheBreakpoint(_) => continue,
                Said::Text(text) | Said::Refusal(text) if text.is_empty() => continue,
                Said::ToolCall(call) => Written::FunctionCall {
                    call_id: &call.id,
                    name: &call.name,
                    arguments: call.arguments.get(),
                },
                Said::ToolResult(result) => Written::FunctionCallOutput {
                    call_id: &result.call_id,
                    output: output(result)?,
                },
                Said::Reasoning(thought) => {
                    let state = thought.state.as_ref();
                    let kept = state.and_then(|state| recall(state, name, model));
                    items.extend(kept.map(Item::Kept));
                    continue;
                }
                said => {
                    let part = write(said, message.role)?;
                    // Parts that follow each other are of one message.
                    match items.last_mut() {
                        Some(Item::Written(Written::Message {
                            role: last,
                            content,
                        })) if *last == role => {
                            content.push(part);
                            continue;
                        }
                        _ => Written::Message {
                            role,
                            content: vec![part],
                        },
                    }
                }
            };
            items.push(Item::Written(item));
        }
    }
    Ok(items)
}

fn write<'a>(part: &'a Said<'a>, role: Role) -> Result<Part<'a>, ProviderError> {
    Ok(match part {
        Said::Text(text) if role == Role::Assistant => Part::OutputText { text },
        Said::Text(text) => Part::InputText { text },
        Said::Refusal(refusal) => Part::Refusal { refusal },
        Said::Image(image) => Part::InputImage {
            image_url: match &image.media {
                Media::Url(url) => Cow::Borrowed(url),
                Media::Data(data) => {
                    Cow::Owned(format!("data:{};base64,{}", data.media_type, data.base64))
                }
            },
            detail: image.detail.as_deref(),
        },
        Said::File { data, name } => Part::InputFile {
            file_data: format!("data:{};base64,{}", data.media_type, data.base64),
            filename: name.as_deref(),
        },
        Said::Audio { base64, format } => Part::InputAudio {
            input_audio: Audio {
                data: base64,
                format,
            },
        },
        _ => {
            return Err(ProviderError::new(Kind::UnsupportedParameter)
                .with_param("messages")
                .with_message("this model does not take parts of this type"));
        }
    })
}

fn output<'a>(result: &'a ToolResult<'a>) -> Result<Output<'a>, ProviderError> {
    let mut text = String::new();
    for part in &result.content {
        match part {
            Said::Text(piece) => text.push_str(piece),
            Said::CacheBreakpoint(_) => {}
            _ => {
                let parts = result.content.iter();
                let parts = parts.filter(|part| !matches!(part, Said::CacheBreakpoint(_)));
                let parts: Result<Vec<_>, _> = parts.map(|part| write(part, Role::Tool)).collect();
                return parts.map(Output::Parts);
            }
        }
    }
    Ok(Output::Text(text))
}

/// A thought, when this model had it.
fn recall<'a>(state: &'a ProviderState, name: &str, model: &str) -> Option<&'a RawValue> {
    let thought: Thought<'a> = serde_json::from_str(state.of(name)?.get()).ok()?;
    (thought.model == model).then_some(thought.item)
}
