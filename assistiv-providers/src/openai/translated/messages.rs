//! Messages of conversations as chat completions have them.

use assistiv_core::conversation::{Image, Media, MediaData, Message, Part, Role, ToolResult};
use assistiv_core::provider::{ProviderError, ProviderErrorKind as Kind};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

/// Writes messages one after the other.
#[derive(Default)]
struct Writer {
    written: Vec<Value>,
    /// What tools have given back beside text. Only users may show pictures, so that it follows the results.
    shown: Vec<Value>,
}

pub(super) fn write(messages: &[Message<'_>]) -> Result<Vec<Value>, ProviderError> {
    let mut writer = Writer::default();
    for message in messages {
        writer.message(message)?;
    }
    writer.show();
    Ok(writer.written)
}

// === impl Writer ===

impl Writer {
    fn message(&mut self, message: &Message<'_>) -> Result<(), ProviderError> {
        match message.role {
            Role::Tool => {
                for part in &message.parts {
                    if let Part::ToolResult(result) = part {
                        self.result(result)?;
                    }
                }
                return Ok(());
            }
            Role::User => {
                let mut content = std::mem::take(&mut self.shown);
                for part in &message.parts {
                    match part {
                        Part::ToolResult(result) => self.result(result)?,
                        part => content.extend(content_of(part)?),
                    }
                }
                content.splice(0..0, std::mem::take(&mut self.shown));
                if !content.is_empty() {
                    let content = plain(content);
                    self.written
                        .push(json!({ "role": "user", "content": content }));
                }
            }
            Role::System => {
                self.show();
                let text = text_of(&message.parts)?;
                self.written
                    .push(json!({ "role": "system", "content": text }));
            }
            Role::Assistant => {
                self.show();
                self.assistant(&message.parts)?;
            }
        }
        Ok(())
    }

    fn assistant(&mut self, parts: &[Part<'_>]) -> Result<(), ProviderError> {
        let calls: Vec<Value> = parts
            .iter()
            .filter_map(|part| match part {
                Part::ToolCall(call) => Some(json!({
                    "id": call.id,
                    "type": "function",
                    "function": { "name": call.name, "arguments": call.arguments.get() },
                })),
                _ => None,
            })
            .collect();
        let said = parts
            .iter()
            .filter(|part| !matches!(part, Part::ToolCall(_) | Part::Reasoning(_)));
        let text = text_of(said)?;
        let mut message = json!({ "role": "assistant" });
        if !calls.is_empty() {
            message["tool_calls"] = calls.into();
        } else if text.is_empty() {
            // Nothing but thoughts, which no server takes back.
            return Ok(());
        }
        message["content"] = match text.is_empty() {
            true => Value::Null,
            false => text.into(),
        };
        self.written.push(message);
        Ok(())
    }

    fn result(&mut self, result: &ToolResult<'_>) -> Result<(), ProviderError> {
        let is_text = |part: &&Part<'_>| matches!(part, Part::Text(_) | Part::Refusal(_));
        let mut text = text_of(result.content.iter().filter(is_text))?;
        let others = result.content.iter().filter(|part| !is_text(part));
        let mut shown = Vec::new();
        for part in others {
            shown.extend(content_of(part)?);
        }
        if !shown.is_empty() {
            if !text.is_empty() {
                text.push('\n');
            }
            text.push_str("(The rest of this result follows in the next message of the user.)");
            let note = format!("From the result of the tool call {}:", result.call_id);
            self.shown.push(json!({ "type": "text", "text": note }));
            self.shown.extend(shown);
        }
        if result.is_error {
            // There is no other way to say so.
            text.insert_str(0, "Error: ");
        }
        self.written.push(json!({
            "role": "tool",
            "tool_call_id": result.call_id,
            "content": text,
        }));
        Ok(())
    }

    fn show(&mut self) {
        let shown = std::mem::take(&mut self.shown);
        if !shown.is_empty() {
            self.written
                .push(json!({ "role": "user", "content": shown }));
        }
    }
}

/// Content that is one text is a string, which servers of every age take.
fn plain(mut content: Vec<Value>) -> Value {
    let is_text = content.len() == 1 && content[0]["type"] == "text";
    match is_text {
        true => content[0]["text"].take(),
        false => content.into(),
    }
}

/// All that is said, in paragraphs. Anything but text has no place here.
fn text_of<'p, 'a: 'p>(
    parts: impl IntoIterator<Item = &'p Part<'a>>,
) -> Result<String, ProviderError> {
    let mut all = String::new();
    for part in parts {
        match part {
            Part::Text(text) | Part::Refusal(text) => {
                if !all.is_empty() && !text.is_empty() {
                    all.push_str("\n\n");
                }
                all.push_str(text);
            }
            Part::CacheBreakpoint(_) | Part::Reasoning(_) => {}
            _ => return Err(refused("only users may send pictures, sound and files")),
        }
    }
    Ok(all)
}

fn content_of(part: &Part<'_>) -> Result<Option<Value>, ProviderError> {
    Ok(Some(match part {
        Part::Text(text) | Part::Refusal(text) if text.is_empty() => return Ok(None),
        Part::Text(text) | Part::Refusal(text) => json!({ "type": "text", "text": text }),
        Part::Image(image) => json!({ "type": "image_url", "image_url": image_url(image) }),
        Part::Audio { base64, format } => {
            json!({ "type": "input_audio", "input_audio": { "data": base64, "format": format } })
        }
        Part::File { data, name } if data.media_type.starts_with("text/") => {
            let text = file_text(data)?;
            let title = name.as_deref().unwrap_or("document");
            json!({ "type": "text", "text": format!("{title}:\n\n{text}") })
        }
        Part::File { data, name } => json!({
            "type": "file",
            "file": {
                "filename": name.as_deref().unwrap_or("document.pdf"),
                "file_data": data_url(data),
            },
        }),
        Part::CacheBreakpoint(_) | Part::Reasoning(_) => return Ok(None),
        _ => {
            return Err(refused(
                "calls and results of tools have places of their own",
            ));
        }
    }))
}

fn image_url(image: &Image<'_>) -> Value {
    let url = match &image.media {
        Media::Url(url) => url.to_string(),
        Media::Data(data) => data_url(data),
    };
    match &image.detail {
        Some(detail) => json!({ "url": url, "detail": detail }),
        None => json!({ "url": url }),
    }
}

fn data_url(data: &MediaData<'_>) -> String {
    format!("data:{};base64,{}", data.media_type, data.base64)
}

fn file_text(data: &MediaData<'_>) -> Result<String, ProviderError> {
    let bytes = BASE64_STANDARD.decode(&*data.base64).ok();
    bytes
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| refused("a text file must be base64 of UTF-8"))
}

fn refused(message: &str) -> ProviderError {
    ProviderError::new(Kind::UnsupportedValue)
        .with_param("messages")
        .with_message(message)
}
