//! What a request for a response asks of the gateway itself.

use std::sync::Arc;

use super::seal::Seal;
use super::store::ResponseId;
use super::thread::ThreadTurn;
use crate::json::{self, Members};

/// A response that was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// The response's id, the same for every target that is tried.
    pub(crate) id: ResponseId,
    /// Whether it may be fetched and continued.
    pub(crate) store: bool,
    /// The response that it continues, as the caller wrote it.
    pub(crate) previous: Option<String>,
    /// The thread that it belongs to.
    pub(crate) thread: Option<String>,
    /// Members of the response that repeat the request.
    echo: Echo,
    /// Seals what providers want to see again; `None` outside of a gateway.
    pub(crate) seal: Option<Seal>,
    /// Where the response goes in its conversation, once that is known.
    pub(crate) place: Place,
}

/// Where a response stands.
#[derive(Clone, Debug, Default)]
pub(crate) struct Place {
    /// The first response of the conversation; `None` for the first itself.
    pub(crate) conversation: Option<ResponseId>,
    /// The response before.
    pub(crate) previous: Option<ResponseId>,
    /// The items of the request itself, where those of earlier responses were put in front of them.
    pub(crate) own_input: Option<Box<str>>,
    /// The turn on the thread, given back when the last copy of the request is gone.
    pub(crate) turn: Option<Arc<ThreadTurn>>,
}

/// Members of a response that repeat the request, as JSON text, each followed by a comma.
#[derive(Clone, Debug)]
pub(crate) struct Echo(Box<str>);

/// What is repeated, and what stands there when nothing was asked.
const ECHOED: [(&str, &str); 17] = [
    ("background", "false"),
    ("instructions", "null"),
    ("max_output_tokens", "null"),
    ("max_tool_calls", "null"),
    ("metadata", "{}"),
    ("parallel_tool_calls", "true"),
    ("prompt_cache_key", "null"),
    ("reasoning", r#"{"effort":null,"summary":null}"#),
    ("safety_identifier", "null"),
    ("temperature", "null"),
    ("text", r#"{"format":{"type":"text"}}"#),
    ("tool_choice", "\"auto\""),
    ("tools", "[]"),
    ("top_logprobs", "null"),
    ("top_p", "null"),
    ("truncation", "\"disabled\""),
    ("user", "null"),
];

// === impl Echo ===

impl Echo {
    /// Of a request's body.
    pub(crate) fn of(members: &Members) -> Self {
        let mut text = String::new();
        for (name, default) in ECHOED {
            let json = members.find(name).unwrap_or(default);
            text.extend(["\"", name, "\":", json, ","]);
        }
        Self(text.into())
    }
}

// === impl Asked ===

impl Asked {
    pub(crate) fn new(
        echo: Echo,
        store: bool,
        previous: Option<String>,
        thread: Option<String>,
    ) -> Self {
        Self {
            id: ResponseId::new(),
            store,
            previous,
            thread,
            echo,
            seal: None,
            place: Place::default(),
        }
    }

    /// Members of the response that repeat the request, each followed by a comma. Line ends become blanks: in JSON
    /// they stand between tokens only.
    pub(crate) fn echo(&self) -> String {
        let place = self.place.previous.map(|id| id.to_string());
        let previous = place.or_else(|| self.previous.clone());
        let text = |text: Option<&str>| text.map_or_else(|| "null".into(), json::string);
        let echo = format!(
            r#"{}"previous_response_id":{},"store":{},"thread_id":{},"#,
            self.echo.0,
            text(previous.as_deref()),
            self.store,
            text(self.thread.as_deref()),
        );
        echo.replace(['\n', '\r'], " ")
    }
}
