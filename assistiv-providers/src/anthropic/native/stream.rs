//! Streams of events, listened to on their way to the caller.

use std::borrow::Cow;

use assistiv_core::json::{self, Members};
use assistiv_core::provider::sse::Splitter;
use assistiv_core::provider::{Decoder, Output, ProviderError, ProviderErrorKind as Kind};
use bytes::{Bytes, BytesMut};
use serde::Deserialize;

use super::super::answer::malformed;
use super::super::usage::Report;
use super::super::{classify, usage};
use crate::page::Page;

/// Passes events on and notes what they cost.
#[derive(Debug)]
pub(super) struct Tap {
    /// The caller's name for the model, as JSON text.
    model: Box<str>,
    splitter: Splitter,
    page: Page,
    /// What waits for the first event that says something: until then the answer may still fail and be asked for
    /// elsewhere.
    held: BytesMut,
    report: Report,
    has_content: bool,
    stage: Stage,
}

/// How far the stream has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing was generated yet.
    Begun,
    /// Blocks are generated.
    Open,
    /// The reason of the end is there.
    Complete,
    /// The end was put out; what follows is ignored.
    Done,
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    message: Option<Message<'a>>,
    #[serde(borrow)]
    content_block: Option<Block<'a>>,
    #[serde(borrow)]
    delta: Option<Delta<'a>>,
    usage: Option<Report>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    model: Option<Cow<'a, str>>,
    usage: Option<Report>,
}

/// What a block begins with.
#[derive(Deserialize)]
struct Block<'a> {
    #[serde(borrow, default)]
    text: Cow<'a, str>,
    #[serde(borrow, default)]
    name: Cow<'a, str>,
}

/// What is added: to a block, or to the message.
#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(borrow, default)]
    text: Cow<'a, str>,
    #[serde(borrow, default)]
    thinking: Cow<'a, str>,
    #[serde(borrow, default)]
    partial_json: Cow<'a, str>,
    #[serde(borrow)]
    stop_reason: Option<Cow<'a, str>>,
}

// === impl Tap ===

impl Tap {
    pub(super) fn new(model: &str) -> Self {
        Self {
            model: json::string(model),
            splitter: Splitter::new(),
            page: Page::default(),
            held: BytesMut::new(),
            report: Report::default(),
            has_content: false,
            stage: Stage::Begun,
        }
    }

    fn event(&mut self, data: Bytes, out: &mut Output) -> Result<(), ProviderError> {
        if self.stage == Stage::Done || data.trim_ascii().is_empty() {
            return Ok(());
        }
        let event: Event<'_> = serde_json::from_slice(&data).map_err(malformed)?;
        let kind = event.kind.clone();
        match &*kind {
            // What has no type says nothing to anybody.
            "" => return Ok(()),
            "error" => return Err(classify::body(&data)),
            "message_start" => {
                self.start(event.message.as_ref(), out);
                let named = self.named(&data)?;
                self.held.extend_from_slice(&sse(&kind, &named));
                return Ok(());
            }
            // Not worth an answer that could still be had elsewhere.
            "ping" if self.stage == Stage::Begun => return Ok(()),
            "content_block_start" => {
                self.stage = self.stage.open();
                self.has_content = true;
                let bytes = |block: Block<'_>| block.text.len() + block.name.len();
                out.observe(event.content_block.map_or(0, bytes));
            }
            "content_block_delta" => {
                self.stage = self.stage.open();
                let bytes = |delta: Delta<'_>| {
                    delta.text.len() + delta.thinking.len() + delta.partial_json.len()
                };
                out.observe(event.delta.map_or(0, bytes));
            }
            "message_delta" => {
                if let Some(report) = event.usage {
                    self.report.update(report);
                }
                if let Some(reason) = event.delta.and_then(|delta| delta.stop_reason) {
                    self.stage = Stage::Complete;
                    out.complete();
                    if reason == "refusal" && !self.has_content {
                        // A request that was refused before the model began is not billed.
                        self.report = Report::nothing();
                    }
                }
                usage::tell(&self.report, out);
            }
            "message_stop" if self.stage == Stage::Complete => return self.end(out),
            "message_stop" => return Err(ProviderError::new(Kind::Interrupted)),
            // An event of a kind that is not known here is the caller's business.
            _ => {}
        }
        let mut bytes = std::mem::take(&mut self.held);
        bytes.extend_from_slice(&sse(&kind, &data));
        match self.stage {
            Stage::Complete => out.terminal(bytes.freeze()),
            _ => out.content(bytes.freeze()),
        }
        Ok(())
    }

    fn start(&mut self, message: Option<&Message<'_>>, out: &mut Output) {
        let Some(message) = message else { return };
        out.identify(message.id.as_deref(), message.model.as_deref());
        if let Some(report) = &message.usage {
            self.report.update(report.clone().without_output());
        }
        if let Some(input) = self.report.input() {
            out.report_input(input.usage);
        }
        if let Some(tier) = self.report.tier() {
            out.report_tier(tier);
        }
    }

    /// The beginning of a message, under the caller's name for the model.
    fn named(&self, data: &Bytes) -> Result<Bytes, ProviderError> {
        let mut event = Members::parse_trusted(data.clone()).map_err(malformed)?;
        let Some(message) = event.find("message") else {
            return Ok(data.clone());
        };
        let message = Bytes::copy_from_slice(message.as_bytes());
        let mut message = Members::parse_trusted(message).map_err(malformed)?;
        message.set("model", self.model.clone());
        let text = String::from_utf8(message.to_bytes().into()).map_err(malformed)?;
        event.set("message", text);
        Ok(event.to_bytes())
    }

    /// Puts out the end, when the answer is complete.
    fn end(&mut self, out: &mut Output) -> Result<(), ProviderError> {
        match self.stage {
            Stage::Begun | Stage::Open => Err(ProviderError::new(Kind::Interrupted)),
            Stage::Complete => {
                self.stage = Stage::Done;
                out.terminal(sse("message_stop", br#"{"type":"message_stop"}"#));
                Ok(())
            }
            Stage::Done => Ok(()),
        }
    }
}

impl Decoder for Tap {
    fn push(&mut self, mut chunk: Bytes, out: &mut Output) -> Result<(), ProviderError> {
        if self.page.takes(&mut chunk)? {
            return Ok(());
        }
        let pushed = self.splitter.push(chunk).map_err(malformed);
        let mut read = Ok(());
        while let Some(data) = self.splitter.next_event()
            && read.is_ok()
        {
            read = self.event(data, out);
        }
        match read.and(pushed) {
            // Nothing that follows can spoil an answer that was complete.
            Err(_) if matches!(self.stage, Stage::Complete | Stage::Done) => self.end(out),
            read => read,
        }
    }

    fn finish(&mut self, out: &mut Output) -> Result<(), ProviderError> {
        match self.page.content() {
            Some(page) => Err(classify::page(page)),
            None => self.end(out),
        }
    }
}

// === impl Stage ===

impl Stage {
    fn open(self) -> Self {
        match self {
            Self::Begun => Self::Open,
            later => later,
        }
    }
}

/// An event with its data in one line. In JSON, a line end can only stand between tokens.
fn sse(kind: &str, data: &[u8]) -> Bytes {
    let mut event = Vec::with_capacity(kind.len() + data.len() + 18);
    event.extend_from_slice(b"event: ");
    event.extend(kind.bytes().filter(|b| !matches!(b, b'\r' | b'\n')));
    event.extend_from_slice(b"\ndata: ");
    event.extend(data.iter().map(|b| match b {
        b'\r' | b'\n' => b' ',
        other => *other,
    }));
    event.extend_from_slice(b"\n\n");
    event.into()
}
