//! A conversation as two take turns in it, which is how most providers but OpenAI want it.

use std::collections::HashSet;

use super::message::{Part, Role};
use super::{Conversation, invalid};
use crate::provider::ProviderError;

/// Who speaks in a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaker {
    /// The user, or tools on the user's side.
    User,
    /// The model.
    Assistant,
}

/// Everything that one side says before the other speaks.
#[derive(Clone, Debug)]
pub struct Turn<'c, 'a> {
    /// Who speaks.
    pub speaker: Speaker,
    /// What is said; the results of tools come before anything else.
    pub parts: Vec<&'c Part<'a>>,
}

/// A conversation with its instructions taken out.
#[derive(Clone, Debug, Default)]
pub struct Turns<'c, 'a> {
    /// What system messages say, wherever they stood; one entry for each message.
    pub instructions: Vec<Vec<&'c Part<'a>>>,
    /// Turns of alternating speakers, at least one.
    pub turns: Vec<Turn<'c, 'a>>,
}

// === impl Conversation ===

impl<'a> Conversation<'a> {
    /// The conversation in turns: neighbouring messages of one side are joined, results of tools count to the
    /// user's side, and system messages are taken out.
    ///
    /// # Errors
    /// [`Invalid`](crate::provider::ProviderErrorKind::Invalid) when there is nothing but system messages, when a
    /// call has no result in the turn after it, or a result no call before it.
    pub fn turns(&self) -> Result<Turns<'_, 'a>, ProviderError> {
        let mut all = Turns::default();
        for message in &self.messages {
            let speaker = match message.role {
                Role::System => {
                    all.instructions.push(message.parts.iter().collect());
                    continue;
                }
                Role::User | Role::Tool => Speaker::User,
                Role::Assistant => Speaker::Assistant,
            };
            match all.turns.last_mut() {
                Some(turn) if turn.speaker == speaker => turn.parts.extend(&message.parts),
                _ => all.turns.push(Turn {
                    speaker,
                    parts: message.parts.iter().collect(),
                }),
            }
        }
        if all.turns.is_empty() {
            return Err(invalid("messages", "must hold a message of the user"));
        }
        for turn in &mut all.turns {
            turn.parts
                .sort_by_key(|part| !matches!(part, Part::ToolResult(_)));
        }
        all.check_calls()?;
        Ok(all)
    }
}

// === impl Turns ===

impl Turns<'_, '_> {
    /// Providers refuse calls without results and results without calls, in words that do not help the caller.
    fn check_calls(&self) -> Result<(), ProviderError> {
        let mut open: HashSet<&str> = HashSet::new();
        for turn in &self.turns {
            for part in &turn.parts {
                if let Part::ToolResult(result) = part
                    && !open.remove(&*result.call_id)
                {
                    let id = &result.call_id;
                    let message =
                        format!("the tool message for `{id}` follows no message with that call");
                    return Err(invalid("messages", message));
                }
            }
            unanswered(&open)?;
            open.extend(turn.parts.iter().filter_map(|part| match part {
                Part::ToolCall(call) => Some(&*call.id),
                _ => None,
            }));
        }
        unanswered(&open)
    }
}

fn unanswered(open: &HashSet<&str>) -> Result<(), ProviderError> {
    match open.iter().min() {
        None => Ok(()),
        Some(id) => {
            let message = format!("the tool call `{id}` has no tool message after it");
            Err(invalid("messages", message))
        }
    }
}
