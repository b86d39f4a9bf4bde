//! The calls of an answer, one after the other.
//!
//! The API numbers its items and might mix the pieces of several; the neutral events know the call that began last.

use std::collections::VecDeque;

use assistiv_core::conversation::AnswerEvent;
use assistiv_core::provider::{AnswerWriter, Output};

/// Calls that have begun and are not written to their end.
#[derive(Debug, Default)]
pub(super) struct Calls(VecDeque<Call>);

#[derive(Debug)]
struct Call {
    index: u64,
    id: String,
    name: String,
    arguments: String,
    /// How much of the arguments is written; `None` before the call itself is.
    written: Option<usize>,
    done: bool,
}

// === impl Calls ===

impl Calls {
    /// The call at an index begins, unless it has.
    pub(super) fn begin(&mut self, index: u64, id: &str, name: &str) {
        if self.find(index).is_none() {
            self.0.push_back(Call {
                index,
                id: id.to_owned(),
                name: name.to_owned(),
                arguments: String::new(),
                written: None,
                done: false,
            });
        }
    }

    /// A piece of the arguments of the call at an index.
    pub(super) fn add(&mut self, index: u64, piece: &str) {
        if let Some(call) = self.find(index) {
            call.arguments.push_str(piece);
        }
    }

    /// The call at an index has ended, with these arguments; they count where no piece came.
    pub(super) fn end(&mut self, index: u64, arguments: &str) {
        if let Some(call) = self.find(index) {
            if call.arguments.is_empty() {
                call.arguments.push_str(arguments);
            }
            call.done = true;
        }
    }

    /// Writes what can be written in order.
    pub(super) fn write(&mut self, writer: &mut AnswerWriter, out: &mut Output) {
        while let Some(call) = self.0.front_mut() {
            let from = match call.written {
                Some(from) => from,
                None => {
                    let event = AnswerEvent::ToolCall {
                        id: Some(&call.id),
                        name: &call.name,
                        state: None,
                    };
                    writer.write(event, out);
                    0
                }
            };
            let piece = call.arguments.get(from..).unwrap_or_default();
            writer.write(AnswerEvent::Arguments(piece), out);
            call.written = Some(call.arguments.len());
            if !call.done {
                return;
            }
            self.0.pop_front();
        }
    }

    /// Everything has ended.
    pub(super) fn end_all(&mut self) {
        self.0.iter_mut().for_each(|call| call.done = true);
    }

    fn find(&mut self, index: u64) -> Option<&mut Call> {
        self.0.iter_mut().find(|call| call.index == index)
    }
}
