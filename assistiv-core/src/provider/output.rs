//! What a decoder puts out.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::billing::Usage;
use crate::conversation::Memory;
use crate::responses::Draft;

/// Bytes for the caller, sorted by which delivery gate they wait at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Content: may go out once it is recorded that the answer began.
    Content(Bytes),
    /// The end of the answer, or the whole of one that is not streamed: goes out once the charge is durable.
    Terminal(Bytes),
}

/// Collects what a decoder makes of an answer.
#[derive(Debug, Default)]
pub struct Output {
    pieces: VecDeque<Piece>,
    /// Something of the end was put out.
    ending: bool,
    usage: Option<Usage>,
    input: Option<Usage>,
    service_tier: Option<String>,
    content_bytes: u64,
    complete: bool,
    origin: Origin,
    memories: Vec<(String, Memory)>,
    /// The response that is being written, in the dialect that has such objects.
    draft: Option<Box<Draft>>,
    /// The whole response, once it is complete.
    response: Option<String>,
}

/// The provider's own names for an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The answer's id.
    pub id: Option<Box<str>>,
    /// The model that answers.
    pub model: Option<Box<str>>,
}

// === impl Output ===

impl Output {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts out content. What comes after the end has begun belongs to the end.
    pub fn content(&mut self, bytes: impl Into<Bytes>) {
        if self.ending {
            return self.terminal(bytes);
        }
        self.pieces.push_back(Piece::Content(bytes.into()));
    }

    /// Puts out something that belongs to the end. Everything after it is held back with it.
    pub fn terminal(&mut self, bytes: impl Into<Bytes>) {
        self.ending = true;
        self.pieces.push_back(Piece::Terminal(bytes.into()));
    }

    /// Takes note of the provider's usage report. The last one counts; a zero is a report, too.
    pub fn report(&mut self, usage: Usage) {
        self.usage = Some(usage);
    }

    /// Takes note of the input that the provider reports before it has generated anything. It is no report of the
    /// call's usage, whose output nobody knows yet.
    pub fn report_input(&mut self, usage: Usage) {
        self.input = Some(usage);
    }

    /// Takes note of the service tier that the provider reports.
    pub fn report_tier(&mut self, tier: &str) {
        if self.service_tier.as_deref() != Some(tier) {
            self.service_tier = Some(tier.to_owned());
        }
    }

    /// Takes note of so many bytes of generated text, for usage that is never reported.
    pub fn observe(&mut self, bytes: usize) {
        self.content_bytes = self.content_bytes.saturating_add(bytes as u64);
    }

    /// Takes note that the answer is complete: its finish reason was seen.
    pub fn complete(&mut self) {
        self.complete = true;
    }

    /// Takes note of the provider's own names for the answer and for the model that answers, for the log.
    pub fn identify(&mut self, id: Option<&str>, model: Option<&str>) {
        if let Some(id) = id {
            self.origin.id = Some(id.into());
        }
        if let Some(model) = model {
            self.origin.model = Some(model.into());
        }
    }

    /// Puts aside what the provider wants to see again with the result of a tool call.
    pub fn remember(&mut self, call_id: &str, memory: Memory) {
        self.memories.push((call_id.to_owned(), memory));
    }

    /// Keeps the response that is being written, so that it can be said of it that it failed.
    pub(crate) fn put_draft(&mut self, draft: Box<Draft>) {
        self.draft = Some(draft);
    }

    /// The response that is being written.
    pub(crate) fn take_draft(&mut self) -> Option<Box<Draft>> {
        self.draft.take()
    }

    /// Puts the whole response aside, for those who store it: the JSON object that its caller gets.
    pub fn keep_response(&mut self, json: impl Into<String>) {
        self.response = Some(json.into());
    }

    /// The whole response. It is gone from here then.
    pub(crate) fn take_response(&mut self) -> Option<String> {
        self.response.take()
    }

    /// The next piece for the caller.
    pub fn pop(&mut self) -> Option<Piece> {
        self.pieces.pop_front()
    }

    /// The next piece, without taking it.
    pub fn peek(&self) -> Option<&Piece> {
        self.pieces.front()
    }

    /// The usage reported so far.
    pub fn usage(&self) -> Option<&Usage> {
        self.usage.as_ref()
    }

    /// The input reported before anything was generated; its output is 0.
    pub fn input(&self) -> Option<&Usage> {
        self.input.as_ref()
    }

    /// The service tier reported so far.
    pub fn service_tier(&self) -> Option<&str> {
        self.service_tier.as_deref()
    }

    /// Bytes of generated text seen so far.
    pub fn content_bytes(&self) -> u64 {
        self.content_bytes
    }

    /// The provider's own names for the answer.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// What was put aside so far, by the id of the tool call. It is gone from here then.
    pub fn take_memories(&mut self) -> Vec<(String, Memory)> {
        std::mem::take(&mut self.memories)
    }

    /// Whether the answer is complete.
    pub fn is_complete(&self) -> bool {
        self.complete
    }
}
