//! Model calls, and what callers saw of them.

use std::net::SocketAddr;

use assistiv_core::id::EntryId;
use serde_json::{Value, json};

use crate::http::{Raw, exchange, request};

pub(crate) const MODEL: &str = "gpt-4o-mini";

/// What a call asks for. The provider reports as many prompt tokens as the gateway counts.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) knobs: String,
    pub(crate) stream: bool,
    pub(crate) max_tokens: u64,
    /// Leave after so many pieces of text.
    pub(crate) leave_after: Option<usize>,
}

/// What a caller saw of a call.
#[derive(Debug)]
pub(crate) enum Seen {
    /// The whole answer, with the tokens that it says it cost.
    Whole {
        id: EntryId,
        tokens: (u64, u64),
    },
    /// A part of a stream, or its head alone.
    Part(Part),
    Refused(Refused),
    /// Nothing that could be called an answer.
    Nothing,
}

#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) id: EntryId,
    /// Whether there was text in it.
    pub(crate) has_text: bool,
    /// Whether the caller has left.
    pub(crate) left: bool,
}

#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) status: u16,
    pub(crate) error: Value,
    pub(crate) retry_after: bool,
}

impl Call {
    /// The text of a call whose prompt the provider and the gateway count alike.
    fn prompt(&self, input: u64) -> String {
        format!("{} mock:prompt_tokens={input}", self.knobs)
    }

    fn message(&self, input: u64) -> Value {
        json!({ "role": "user", "content": self.prompt(input) })
    }

    /// The tokens of its prompt as the gateway counts them: three bytes each.
    pub(crate) fn counted(&self) -> u64 {
        self.input(|counted| counted)
    }

    /// The input tokens that are held.
    pub(crate) fn held_input(&self) -> u64 {
        self.input(|counted| (counted * 11).div_ceil(10))
    }

    /// A number that follows from the length of the prompt that it is a part of.
    fn input(&self, of: impl Fn(u64) -> u64) -> u64 {
        let count = |input| (self.message(input).to_string().len() as u64).div_ceil(3);
        let guesses = [10, 100, 1_000].map(|width| of(count(width)));
        let fits = |input: &u64| of(count(*input)) == *input;
        guesses.into_iter().find(fits).unwrap()
    }

    pub(crate) fn body(&self, input: u64) -> Value {
        let mut body = json!({
            "model": MODEL,
            "messages": [self.message(input)],
            "max_tokens": self.max_tokens,
            "stream": self.stream,
        });
        if self.stream {
            body["stream_options"] = json!({ "include_usage": true });
        }
        body
    }

    /// Makes the call; the provider will report so many prompt tokens.
    pub(crate) async fn make(&self, server: SocketAddr, key: &str, input: u64) -> Seen {
        let body = self.body(input);
        let request = request("POST", "/v1/chat/completions", key, &[], &body);
        let pieces = |text: &str| text.matches("\"delta\":{\"content\":\"").count();
        let enough = |text: &str| self.leave_after.is_some_and(|n| pieces(text) > n);
        match exchange(server, &request, enough).await {
            Ok(raw) => Seen::of(&raw, self.stream),
            Err(_) => Seen::Nothing,
        }
    }
}

impl Seen {
    fn of(raw: &Raw, stream: bool) -> Self {
        if raw.status() != 200 {
            return Self::Refused(Refused {
                status: raw.status(),
                error: raw.json()["error"].clone(),
                retry_after: raw.header("retry-after").is_some(),
            });
        }
        let id = raw.header("x-assistiv-log-id").unwrap().parse().unwrap();
        let usage = match stream {
            true => {
                let usage = raw.frames().map(|frame| frame["usage"].clone());
                usage.filter(Value::is_object).last().unwrap_or(Value::Null)
            }
            false => raw.json()["usage"].clone(),
        };
        let tokens = (
            usage["prompt_tokens"].as_u64(),
            usage["completion_tokens"].as_u64(),
        );
        let ended = raw.came_to_its_end() && (!stream || raw.body.contains("data: [DONE]"));
        if let (true, (Some(input), Some(output))) = (ended, tokens) {
            let tokens = (input, output);
            return Self::Whole { id, tokens };
        }
        if stream {
            let text = |frame: &Value| {
                frame["choices"][0]["delta"]["content"]
                    .as_str()
                    .is_some_and(|t| !t.is_empty())
            };
            let has_text = raw.frames().any(|frame| text(&frame));
            let left = raw.left;
            return Self::Part(Part { id, has_text, left });
        }
        // An answer in one piece that is cut is no answer; its charge is as unproved as if nothing had come.
        Self::Nothing
    }
}

impl Refused {
    pub(crate) fn reason(&self) -> &str {
        self.error["reason"].as_str().unwrap_or_default()
    }

    /// Whether it is worth asking again.
    pub(crate) fn is_transient(&self) -> bool {
        match self.status {
            402 => self.error["details"]["transient"] == true,
            status => status == 503,
        }
    }
}

/// What so many tokens cost on the wallet, in nano-dollars.
pub(crate) fn cost(input: u64, output: u64) -> i64 {
    i64::try_from(input * 150 + output * 600).unwrap()
}
