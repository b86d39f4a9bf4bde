//! Streamed answers: frames are checked, edited in place and passed on, and sorted by what they wait for.
//!
//! OpenAI API reference, "The chat completion chunk object" and "Streaming"; xAI API reference, "Streaming
//! responses" (all read on 2026-11-23).

use assistiv_core::json::Members;
use assistiv_core::provider::sse::Splitter;
use assistiv_core::provider::{Decoder, Output, ProviderError, ProviderErrorKind as Kind};
use bytes::Bytes;

use super::answer::{Answer, malformed, with_finish};
use super::choice::{Choice, Finish};
use super::classify;
use crate::page::Page;

/// Decodes a stream of chunks.
#[derive(Debug)]
pub(super) struct StreamDecoder {
    answer: Answer,
    splitter: Splitter,
    page: Page,
    head: Option<Head>,
    /// The chunk that tells the caller the usage, kept until the end: it is the last one and comes once.
    usage: Option<Bytes>,
    stage: Stage,
}

/// How far the stream has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Choices are generated.
    Open,
    /// A frame of usage alone came, which some servers send at the end only.
    Tail,
    /// Every choice has ended.
    Complete,
    /// The end was put out; what follows is ignored.
    Done,
}

/// Members that all chunks of a stream share, as JSON text.
#[derive(Debug)]
struct Head {
    id: Box<str>,
    created: Box<str>,
}

// === impl StreamDecoder ===

impl StreamDecoder {
    pub(super) fn new(answer: Answer) -> Self {
        let splitter = Splitter::new();
        Self {
            answer,
            splitter,
            page: Page::default(),
            head: None,
            usage: None,
            stage: Stage::Open,
        }
    }

    fn event(&mut self, data: Bytes, out: &mut Output) -> Result<(), ProviderError> {
        match data.trim_ascii() {
            _ if self.stage == Stage::Done => return Ok(()),
            b"" => return Ok(()),
            b"[DONE]" => return self.close(out),
            _ => {}
        }
        let mut frame = Members::parse_trusted(data.clone()).map_err(malformed)?;
        if frame.find("error").is_some_and(classify::is_error) {
            return Err(classify::body(&data));
        }
        let choices = frame.read::<Vec<Choice>>("choices").map_err(malformed)?;
        let usage = frame.find("usage").map(str::to_owned);
        if choices.is_none() && usage.is_none() {
            // An event of a kind that this version does not know, or a keep-alive: nothing to pass on. A stream
            // of nothing else has no finish reason and does not look complete.
            return Ok(());
        }
        self.answer.tier(&frame, out);
        self.head.get_or_insert_with(|| Head::of(&frame));
        let usage = usage.map(|usage| self.answer.report(&usage, out));
        let choices = choices.unwrap_or_default();
        frame.set("model", self.answer.model());
        if choices.is_empty() {
            // A frame of neither choices nor usage tells the caller nothing.
            if let Some(usage) = usage {
                frame.set("usage", usage);
                self.usage = Some(sse(&frame));
                if self.stage == Stage::Open {
                    self.stage = Stage::Tail;
                }
            }
            return Ok(());
        }
        if let Some(usage) = usage {
            self.usage = Some(self.chunk("[]", Some(&usage)));
        }
        self.pass_on(frame, &choices, out)
    }

    /// Passes on a frame with choices.
    fn pass_on(
        &mut self,
        mut frame: Members,
        choices: &[Choice],
        out: &mut Output,
    ) -> Result<(), ProviderError> {
        if !self.answer.wants_usage() {
            frame.remove("usage");
        } else if frame.contains("usage") {
            frame.set("usage", "null");
        }
        if self.answer.derives() && choices.iter().any(|c| c.finish_reason == Finish::Blank) {
            let text = with_finish(frame.find("choices").unwrap_or("[]"), |choice| {
                (choice.finish_reason == Finish::Blank).then(|| "null".into())
            })?;
            frame.set("choices", text);
        }
        self.answer.observe(choices, out);
        if self.stage == Stage::Tail {
            self.stage = Stage::Open;
        }
        if self.answer.is_finished() {
            self.complete(out);
        }
        match self.stage {
            Stage::Complete => out.terminal(sse(&frame)),
            _ => out.content(sse(&frame)),
        }
        Ok(())
    }

    fn complete(&mut self, out: &mut Output) {
        self.stage = Stage::Complete;
        out.complete();
    }

    /// The server says that the answer is complete, by `[DONE]` or by a last frame of usage.
    ///
    /// Then choices without a finish reason get one, where the dialect allows for that. A stream that just ends
    /// was cut, and gets none.
    fn close(&mut self, out: &mut Output) -> Result<(), ProviderError> {
        if self.answer.derives() {
            for (index, reason) in self.answer.derive() {
                let choice =
                    format!(r#"[{{"index":{index},"delta":{{}},"finish_reason":"{reason}"}}]"#);
                out.terminal(self.chunk(&choice, None));
            }
        }
        if self.answer.is_settled() {
            self.complete(out);
        }
        self.end(out)
    }

    /// Puts out the end, when the answer is complete.
    fn end(&mut self, out: &mut Output) -> Result<(), ProviderError> {
        if self.stage != Stage::Complete {
            return Err(ProviderError::new(Kind::Interrupted));
        }
        self.stage = Stage::Done;
        if self.answer.wants_usage()
            && let Some(usage) = self.usage.take()
        {
            out.terminal(usage);
        }
        out.terminal(&b"data: [DONE]\n\n"[..]);
        Ok(())
    }

    /// A chunk of our own, with the members that all chunks of the stream share.
    fn chunk(&self, choices: &str, usage: Option<&str>) -> Bytes {
        let mut text = String::from("data: {");
        if let Some(head) = &self.head {
            text.extend(["\"id\":", &head.id, ",\"created\":", &head.created, ","]);
        }
        let model = self.answer.model();
        text.extend([
            "\"object\":\"chat.completion.chunk\",\"model\":",
            model,
            ",\"choices\":",
            choices,
        ]);
        if let Some(usage) = usage {
            text.extend([",\"usage\":", usage]);
        }
        text.push('}');
        let mut bytes = text.into_bytes();
        on_one_line(&mut bytes);
        bytes.extend_from_slice(b"\n\n");
        bytes.into()
    }
}

impl Decoder for StreamDecoder {
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
            Err(_) if self.stage == Stage::Complete => self.end(out),
            Err(_) if self.stage == Stage::Done => Ok(()),
            read => read,
        }
    }

    fn finish(&mut self, out: &mut Output) -> Result<(), ProviderError> {
        match self.page.content() {
            // xAI may answer a streaming request with 200 and an error as JSON.
            Some(page) => Err(classify::page(page)),
            _ if self.stage == Stage::Done => Ok(()),
            _ if self.stage == Stage::Tail && self.answer.derives() => self.close(out),
            _ => self.end(out),
        }
    }
}

// === impl Head ===

impl Head {
    fn of(frame: &Members) -> Self {
        let text = |name: &str, default: &str| frame.find(name).unwrap_or(default).into();
        Self {
            id: text("id", "\"\""),
            created: text("created", "0"),
        }
    }
}

/// An event with a frame.
fn sse(frame: &Members) -> Bytes {
    let json = frame.to_bytes();
    let mut event = Vec::with_capacity(json.len() + 8);
    event.extend_from_slice(b"data: ");
    event.extend_from_slice(&json);
    on_one_line(&mut event);
    event.extend_from_slice(b"\n\n");
    event.into()
}

/// An event whose data came in several lines is written in one. In JSON, a line end can only stand between
/// tokens.
fn on_one_line(event: &mut [u8]) {
    let mut from = 0;
    while let Some(at) = memchr::memchr2(b'\n', b'\r', &event[from..]) {
        event[from + at] = b' ';
        from += at + 1;
    }
}
