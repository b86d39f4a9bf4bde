//! Streams of server-sent events: their frames, and where faults break them.

use bytes::Bytes;

use super::body::Step;
use super::knobs::{Fault, Knobs};
use super::reply::Reply;
use super::stats::Outcome;

const COMMENT: &str = ": keep-alive";
const UNKNOWN_EVENT: &str = "event: mock.unknown";

/// A stream's frame, before it is written as SSE.
pub(super) struct Frame {
    /// The name of the event, in formats that have one.
    event: Option<&'static str>,
    data: String,
    /// Holds text or arguments: it is paused for, and halves are counted by it.
    is_content: bool,
}

/// A sound stream, and what a faulty one says in its place.
pub(super) struct Script {
    pub(super) frames: Vec<Frame>,
    /// The last frame of a sound stream.
    pub(super) end: Frame,
    pub(super) error: Frame,
    pub(super) garbage: Frame,
    /// What a sound stream is charged.
    pub(super) charged: Outcome,
}

// === impl Frame ===

impl Frame {
    pub(super) fn content(data: String) -> Self {
        Self {
            is_content: true,
            ..Self::other(data)
        }
    }

    pub(super) fn other(data: String) -> Self {
        Self {
            event: None,
            data,
            is_content: false,
        }
    }

    pub(super) fn named(mut self, event: &'static str) -> Self {
        self.event = Some(event);
        self
    }
}

// === impl Script ===

impl Script {
    /// The stream as the knobs want it.
    pub(super) fn play(self, knobs: &Knobs) -> Reply {
        let mut frames = self.frames;
        let half = half_of(&frames);
        let mut done = !knobs.no_done;
        let mut last = None;
        let mut outcome = Outcome::Failed;
        match knobs.fault {
            Some(Fault::ErrorFirst) => {
                frames = vec![self.error];
                done = false;
            }
            Some(Fault::ErrorMid) => {
                frames.truncate(half);
                frames.push(self.error);
                done = false;
            }
            Some(Fault::EndEarly) => {
                frames.truncate(half);
                done = false;
            }
            Some(fault @ (Fault::HangMid | Fault::Cut)) => {
                frames.truncate(half);
                last = Some(if fault == Fault::Cut {
                    Step::Cut
                } else {
                    Step::Hang
                });
                done = false;
            }
            Some(Fault::Garbage) => frames.insert(half, self.garbage),
            _ => outcome = self.charged,
        }
        if done {
            frames.push(self.end);
        }
        let mut steps = steps(frames, knobs);
        steps.extend(last);
        Reply::stream(steps, outcome)
    }
}

fn steps(frames: Vec<Frame>, knobs: &Knobs) -> Vec<Step> {
    let eol = if knobs.crlf { "\r\n" } else { "\n" };
    let write = |text: String| Step::Write(Bytes::from(text));
    let mut steps = Vec::with_capacity(frames.len());
    for (at, frame) in frames.into_iter().enumerate() {
        if knobs.comments && at > 0 {
            steps.push(write(format!("{COMMENT}{eol}{eol}")));
        }
        if knobs.comments && at == 1 {
            steps.push(write(format!("{UNKNOWN_EVENT}{eol}data: {{}}{eol}{eol}")));
        }
        if let Some(pause) = knobs.delay.filter(|_| frame.is_content) {
            steps.push(Step::Pause(pause));
        }
        let name = frame
            .event
            .map_or_else(String::new, |event| format!("event: {event}{eol}"));
        steps.push(write(format!("{name}data: {}{eol}{eol}", frame.data)));
    }
    steps
}

/// How many frames make half of the stream: up to the middle content frame, at least one.
fn half_of(frames: &[Frame]) -> usize {
    let content = frames.iter().filter(|frame| frame.is_content).count();
    let middle = content.div_ceil(2).checked_sub(1);
    let at = |nth| {
        let mut indexes = frames
            .iter()
            .enumerate()
            .filter(|(_, frame)| frame.is_content);
        indexes.nth(nth).map(|(index, _)| index + 1)
    };
    middle.and_then(at).unwrap_or(1)
}
