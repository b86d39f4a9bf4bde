//! The smallest adapter: answers with the last user message, in the process itself.
//!
//! It shows how an adapter for a provider with a dialect of its own is put together. [`Echo`] is both sides: a
//! [`Provider`] that writes requests and reads answers, and a [`Transport`] that plays the server. What goes
//! between them is the server's wire format, one JSON object a line:
//!
//! ```text
//! → {"text":"hello world","limit":16,"input_tokens":2}
//! ← {"word":"hello "}
//! ← {"word":"world"}
//! ← {"end":"stop","input_tokens":2,"output_tokens":2}
//! ```
//!
//! A word is a token, so the usage of a call can be foretold.

use std::convert::Infallible;
use std::sync::Arc;

use assistiv_core::billing::Usage;
use assistiv_core::call::{InferenceRequest, Operation};
use assistiv_core::conversation::{AnswerEvent, FinishReason, Part, Role};
use assistiv_core::provider::{
    AnswerWriter, Credential, Decoder, Encoded, Output, Provider, ProviderError,
    ProviderErrorKind as Kind, Registered, Support, Transport, TransportError, TransportErrorKind,
    UpstreamBody,
};
use assistiv_core::routing::Target;
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http::{HeaderMap, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use serde::{Deserialize, Serialize};

/// Repeats what the user said.
#[derive(Clone, Copy, Debug, Default)]
pub struct Echo;

/// What the server is asked.
#[derive(Debug, Serialize, Deserialize)]
struct Ask {
    text: String,
    limit: Option<u64>,
    input_tokens: u64,
}

/// A line of the server's answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Line {
    Word {
        word: String,
    },
    End {
        end: String,
        input_tokens: u64,
        output_tokens: u64,
    },
}

/// Reads the server's lines.
#[derive(Debug)]
struct EchoDecoder {
    writer: AnswerWriter,
    line: BytesMut,
    ended: bool,
}

// === impl Echo ===

impl Echo {
    /// The adapter with itself for a transport, as a gateway takes it.
    pub fn registered() -> Registered {
        Registered {
            provider: Arc::new(Self),
            transport: Arc::new(Self),
            needs_credential: false,
        }
    }
}

impl Ask {
    /// What to ask for a request. `lowered` is the output limit that the caller can pay.
    fn of(request: &InferenceRequest, lowered: Option<u64>) -> Result<Self, ProviderError> {
        let conversation = request.conversation()?;
        conversation.only_one_choice()?;
        let messages = &conversation.messages;
        let last = messages.iter().rfind(|message| message.role == Role::User);
        Ok(Self {
            text: last.map(|last| text_of(&last.parts)).unwrap_or_default(),
            limit: lowered.or(conversation.max_output_tokens),
            input_tokens: messages
                .iter()
                .map(|message| words(&text_of(&message.parts)).count() as u64)
                .sum(),
        })
    }
}

#[async_trait]
impl Provider for Echo {
    fn name(&self) -> &str {
        "echo"
    }

    fn support(&self, operation: Operation) -> Support {
        match operation {
            Operation::ChatCompletions | Operation::Responses | Operation::Messages => {
                Support::Translated
            }
            _ => Support::Unsupported,
        }
    }

    fn encode(
        &self,
        request: &InferenceRequest,
        target: &Target,
    ) -> Result<Encoded, ProviderError> {
        let ask = Ask::of(request, target.output_limit())?;
        let body = serde_json::to_vec(&ask).map_err(failed)?;
        http::Request::post(target.base_url())
            .body(body.into())
            .map(Encoded::from)
            .map_err(failed)
    }

    async fn authorize(
        &self,
        _: &mut http::Request<Bytes>,
        _: &Credential,
    ) -> Result<(), ProviderError> {
        Ok(())
    }

    fn classify(&self, _: StatusCode, _: &HeaderMap, _: &[u8]) -> ProviderError {
        ProviderError::new(Kind::Failed)
    }

    fn decoder(&self, request: &InferenceRequest, target: &Target) -> Box<dyn Decoder> {
        let writer = AnswerWriter::new(request, target);
        Box::new(EchoDecoder {
            writer,
            line: BytesMut::new(),
            ended: false,
        })
    }
}

/// The server's side.
#[async_trait]
impl Transport for Echo {
    async fn send(
        &self,
        request: http::Request<Bytes>,
    ) -> Result<http::Response<UpstreamBody>, TransportError> {
        let broken = |error| TransportError::new(TransportErrorKind::Broken).with_source(error);
        let ask: Ask = serde_json::from_slice(request.body()).map_err(broken)?;
        let limit = ask.limit.map_or(usize::MAX, |limit| {
            usize::try_from(limit).unwrap_or(usize::MAX)
        });
        let all = words(&ask.text).count();
        let end = if all > limit { "length" } else { "stop" };
        let mut lines: Vec<Line> = words(&ask.text)
            .take(limit)
            .map(|word| Line::Word {
                word: word.to_owned(),
            })
            .collect();
        let output_tokens = lines.len() as u64;
        lines.push(Line::End {
            end: end.to_owned(),
            input_tokens: ask.input_tokens,
            output_tokens,
        });
        let mut frames = Vec::with_capacity(lines.len());
        for line in &lines {
            let mut bytes = serde_json::to_vec(line).map_err(broken)?;
            bytes.push(b'\n');
            frames.push(Ok::<_, Infallible>(Frame::data(Bytes::from(bytes))));
        }
        let body = StreamBody::new(stream::iter(frames)).map_err(|never| match never {});
        Ok(http::Response::new(body.boxed_unsync()))
    }
}

// === impl EchoDecoder ===

impl EchoDecoder {
    fn line(&mut self, line: &[u8], out: &mut Output) -> Result<(), ProviderError> {
        match serde_json::from_slice(line) {
            Ok(Line::Word { word }) => self.writer.write(AnswerEvent::Text(&word), out),
            Ok(Line::End {
                end,
                input_tokens,
                output_tokens,
            }) => {
                let reason = match &*end {
                    "length" => FinishReason::Length,
                    _ => FinishReason::Stop,
                };
                self.writer.write(AnswerEvent::finished(reason), out);
                let usage = Usage {
                    input: input_tokens,
                    output: output_tokens,
                    ..Usage::default()
                };
                self.writer.write(AnswerEvent::Usage(usage.into()), out);
                self.ended = true;
            }
            Err(error) => return Err(ProviderError::new(Kind::Malformed).with_source(error)),
        }
        Ok(())
    }
}

impl Decoder for EchoDecoder {
    fn push(&mut self, chunk: Bytes, out: &mut Output) -> Result<(), ProviderError> {
        let scanned = self.line.len();
        self.line.extend_from_slice(&chunk);
        let mut from = scanned;
        while let Some(at) = memchr::memchr(b'\n', &self.line[from..]) {
            let line = self.line.split_to(from + at + 1);
            from = 0;
            self.line(&line, out)?;
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut Output) -> Result<(), ProviderError> {
        if !self.ended {
            return Err(ProviderError::new(Kind::Interrupted));
        }
        self.writer.write(AnswerEvent::Ended, out);
        Ok(())
    }
}

/// What a message or the result of a tool says.
fn text_of(parts: &[Part<'_>]) -> String {
    let text = |part: &Part<'_>| match part {
        Part::Text(text) => Some(text.to_string()),
        Part::ToolResult(result) => Some(text_of(&result.content)),
        _ => None,
    };
    parts.iter().filter_map(text).collect::<Vec<_>>().join(" ")
}

/// Words with the space that follows them, so that together they are the text again.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive(char::is_whitespace)
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> ProviderError {
    ProviderError::new(Kind::Failed).with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(body: &str, lowered: Option<u64>) -> Result<Ask, ProviderError> {
        let body = Bytes::copy_from_slice(body.as_bytes());
        let request = InferenceRequest::parse(Operation::ChatCompletions, body).unwrap();
        Ask::of(&request, lowered)
    }

    async fn answer(ask: &Ask) -> String {
        let body = serde_json::to_vec(ask).unwrap();
        let request = http::Request::post("https://echo.invalid")
            .body(body.into())
            .unwrap();
        let answer = Echo
            .send(request)
            .await
            .unwrap()
            .into_body()
            .collect()
            .await
            .unwrap();
        String::from_utf8(answer.to_bytes().into()).unwrap()
    }

    const TALK: &str = r#"{"model":"echo","max_tokens":3,"messages":[{"role":"system","content":"be brief"},
        {"role":"user","content":"first"},{"role":"assistant","content":null},
        {"role":"user","content":[{"type":"text","text":"one two"},{"type":"image_url","image_url":{"url":"https://example.com/a.png"}},{"type":"text","text":"three four"}]}]}"#;

    #[tokio::test]
    async fn the_last_user_message_comes_back_word_by_word() {
        let mut asked = ask(TALK, None).unwrap();
        let lines = "{\"word\":\"one \"}\n{\"word\":\"two \"}\n{\"word\":\"three \"}\n";
        let end = "{\"end\":\"length\",\"input_tokens\":7,\"output_tokens\":3}\n";
        assert_eq!(answer(&asked).await, format!("{lines}{end}"));
        asked.limit = Some(4);
        let end = "{\"end\":\"stop\",\"input_tokens\":7,\"output_tokens\":4}\n";
        assert_eq!(
            answer(&asked).await,
            format!("{lines}{{\"word\":\"four\"}}\n{end}")
        );
    }

    #[test]
    fn the_limit_is_the_one_that_can_be_paid() {
        assert_eq!(ask(TALK, Some(2)).unwrap().limit, Some(2));
    }

    #[tokio::test]
    async fn nothing_said_is_nothing_answered() {
        let asked = ask(
            r#"{"model":"echo","messages":[{"role":"system","content":"x"}]}"#,
            None,
        )
        .unwrap();
        assert_eq!(
            answer(&asked).await,
            "{\"end\":\"stop\",\"input_tokens\":1,\"output_tokens\":0}\n"
        );
    }

    #[test]
    fn there_is_one_choice() {
        let body = r#"{"model":"echo","n":2,"messages":[{"role":"user","content":"x"}]}"#;
        assert_eq!(ask(body, None).unwrap_err().param(), Some("n"));
    }
}
