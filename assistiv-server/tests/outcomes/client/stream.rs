//! Streamed answers, frame by frame.

use http::HeaderMap;
use serde_json::Value;

use super::{Connection, check_error};

/// A streamed answer that is being read. Dropping it closes the connection.
pub(crate) struct Stream {
    connection: Connection,
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    events: Vec<u8>,
    ended: bool,
}

/// What a stream brought from here to its end.
#[derive(Debug, Default)]
pub(crate) struct Rest {
    /// The frames that are JSON, without those that are errors.
    pub(crate) chunks: Vec<Value>,
    /// Error frames: the objects inside `error`.
    pub(crate) errors: Vec<Value>,
    pub(crate) is_done: bool,
}

impl Stream {
    pub(super) fn new(connection: Connection, status: u16, headers: HeaderMap) -> Self {
        Self {
            connection,
            status,
            headers,
            events: Vec::new(),
            ended: false,
        }
    }

    /// The next frame; `None` at the end.
    pub(crate) async fn frame(&mut self) -> Option<String> {
        loop {
            if let Some(at) = self.events.windows(2).position(|window| window == b"\n\n") {
                let event: Vec<u8> = self.events.drain(..at + 2).collect();
                let event = String::from_utf8(event).unwrap();
                // In some dialects events have names, which their data repeats.
                let named = event.starts_with("event: ");
                let data = match event.split_once('\n') {
                    Some((_, data)) if named => data,
                    _ => &*event,
                };
                match data.strip_prefix("data: ") {
                    Some(data) => return Some(data.trim_end().to_owned()),
                    // A comment, which keeps the connection alive.
                    None => continue,
                }
            }
            if self.ended {
                assert!(self.events.is_empty(), "half a frame at the end");
                return None;
            }
            match self.connection.chunk().await {
                Some(chunk) => self.events.extend(chunk),
                None => self.ended = true,
            }
        }
    }

    /// Reads so many frames with text.
    pub(crate) async fn texts(&mut self, count: usize) -> String {
        let mut text = String::new();
        let mut seen = 0;
        while seen < count {
            let frame = self.frame().await.expect("the stream has more text");
            let piece = text_of(&serde_json::from_str(&frame).unwrap());
            seen += usize::from(!piece.is_empty());
            text.push_str(&piece);
        }
        text
    }

    /// Reads to the end.
    pub(crate) async fn rest(&mut self) -> Rest {
        let mut rest = Rest::default();
        while let Some(frame) = self.frame().await {
            assert!(
                !rest.is_done && rest.errors.is_empty(),
                "a frame after the end: {frame}"
            );
            if frame == "[DONE]" {
                rest.is_done = true;
                continue;
            }
            let mut frame: Value = serde_json::from_str(&frame).unwrap();
            match frame.get_mut("error") {
                Some(error) => rest.errors.push(error.take()),
                None => rest.chunks.push(frame),
            }
        }
        rest
    }
}

impl Rest {
    /// The text of all chunks.
    pub(crate) fn text(&self) -> String {
        self.chunks.iter().map(text_of).collect()
    }

    pub(crate) fn finish_reason(&self) -> Option<&str> {
        let reasons = self
            .chunks
            .iter()
            .map(|chunk| &chunk["choices"][0]["finish_reason"]);
        reasons.filter_map(Value::as_str).next_back()
    }

    /// Checks for a whole answer.
    #[track_caller]
    pub(crate) fn ended_well(&self) {
        assert!(
            self.is_done && self.errors.is_empty() && self.finish_reason().is_some(),
            "{self:?}"
        );
    }

    /// Checks for an answer that was cut and says so: a cut never looks like an end.
    #[track_caller]
    pub(crate) fn failed(&self, status: u16, reason: &str) -> Value {
        assert!(!self.is_done && self.finish_reason().is_none(), "{self:?}");
        let [error] = &self.errors[..] else {
            panic!("one error frame: {self:?}")
        };
        check_error(error, status, reason);
        error.clone()
    }
}

fn text_of(chunk: &Value) -> String {
    chunk["choices"][0]["delta"]["content"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}
