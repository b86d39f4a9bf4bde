//! The words and tool calls that answer a request.

use serde_json::Value;

use super::knobs::Knobs;
use super::request::ChatRequest;
use super::schema::{Properties, dummy, spaced};

/// Tokens of a tool call besides those of its arguments.
const CALL_NAME_TOKENS: u64 = 1;

/// The words of answers whose length is asked for.
const WORDS: [&str; 12] = [
    "mock", "answers", "repeat", "these", "simple", "words", "until", "the", "asked", "length",
    "is", "reached",
];

/// One choice; all choices of a response are alike.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) content: Content,
    pub(super) finish_reason: &'static str,
    pub(super) tokens: u64,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// Pieces of text, one a token.
    Text(Vec<String>),
    Calls(Vec<ToolCall>),
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct ToolCall {
    pub(super) name: String,
    /// Pieces of the JSON text, one a token.
    pub(super) arguments: Vec<String>,
}

// === impl ChatRequest ===

impl ChatRequest {
    /// The answer to a last user message of `words` words that are no knobs.
    pub(super) fn answer(&self, knobs: &Knobs, words: usize) -> Answer {
        let calls = self.calls();
        let mut answer = if !calls.is_empty() {
            Answer {
                content: Content::Calls(calls),
                finish_reason: "tool_calls",
                tokens: 0,
            }
        } else {
            let text = match (self.json_answer(), knobs.words) {
                (Some(json), _) => json,
                (None, Some(length)) => WORDS
                    .into_iter()
                    .cycle()
                    .take(length)
                    .collect::<Vec<_>>()
                    .join(" "),
                (None, None) => format!(
                    "Hello! I am the mock provider. Words that I counted in your message: {words}."
                ),
            };
            Answer {
                content: Content::Text(pieces(&text)),
                finish_reason: "stop",
                tokens: 0,
            }
        };
        let asked = self
            .max_completion_tokens
            .or(self.max_tokens)
            .unwrap_or(u64::MAX);
        answer.limit(asked);
        answer
    }

    fn calls(&self) -> Vec<ToolCall> {
        let choice = self.tool_choice.as_ref();
        let forbidden = choice.and_then(Value::as_str) == Some("none");
        if forbidden
            || self
                .messages
                .last()
                .is_some_and(|message| message.role == "tool")
        {
            return Vec::new();
        }
        let named = choice.and_then(|choice| choice.pointer("/function/name"));
        let functions = self
            .tools
            .iter()
            .flatten()
            .filter_map(|tool| tool.get("function"));
        let wanted =
            functions.filter(|function| named.is_none_or(|name| function["name"] == *name));
        let parallel = self.parallel_tool_calls.unwrap_or(true)
            && self.user_text().to_ascii_lowercase().contains("parallel");
        wanted
            .filter_map(ToolCall::of)
            .take(if parallel { usize::MAX } else { 1 })
            .collect()
    }

    fn json_answer(&self) -> Option<String> {
        let format = self.response_format.as_ref()?;
        let value = match format.get("type")?.as_str()? {
            "json_object" => serde_json::json!({ "text": "text" }),
            "json_schema" => dummy(format.pointer("/json_schema/schema")?, Properties::All),
            _ => return None,
        };
        Some(spaced(&value))
    }
}

// === impl Answer ===

impl Answer {
    /// Counts the tokens, and cuts the answer off where they would be more than `max`.
    fn limit(&mut self, max: u64) {
        let mut left = max;
        let whole = match &mut self.content {
            Content::Text(pieces) => keep(pieces, &mut left),
            Content::Calls(calls) => {
                let asked = calls.len();
                let mut whole = true;
                calls.retain_mut(|call| {
                    let Some(rest) = left.checked_sub(CALL_NAME_TOKENS) else {
                        return false;
                    };
                    left = rest;
                    whole &= keep(&mut call.arguments, &mut left);
                    true
                });
                whole && calls.len() == asked
            }
        };
        self.tokens = max - left;
        if !whole {
            self.finish_reason = "length";
        }
    }
}

/// Keeps as many pieces as there are tokens left, and says whether that is all of them.
fn keep(pieces: &mut Vec<String>, left: &mut u64) -> bool {
    let count = pieces.len() as u64;
    let kept = count.min(*left);
    *left -= kept;
    // Not more than the length, so it fits.
    pieces.truncate(kept as usize);
    kept == count
}

// === impl ToolCall ===

impl ToolCall {
    fn of(function: &Value) -> Option<Self> {
        let name = function.get("name")?.as_str()?.to_owned();
        let arguments = match function
            .get("parameters")
            .map(|p| dummy(p, Properties::Required))
        {
            Some(arguments) if arguments.is_object() => spaced(&arguments),
            _ => "{}".to_owned(),
        };
        let mut arguments = pieces(&arguments);
        if let [only] = arguments.as_mut_slice() {
            // Even `{}` comes in two pieces, so that clients have to put arguments together.
            let rest = only.split_off(1);
            arguments.push(rest);
        }
        Some(Self { name, arguments })
    }
}

/// The words of `text`, each with the space before it.
fn pieces(text: &str) -> Vec<String> {
    if text.is_empty() {
        return Vec::new();
    }
    let mut words = text.split(' ');
    let first = words.next().map(str::to_owned);
    first
        .into_iter()
        .chain(words.map(|word| format!(" {word}")))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer(extra: Value) -> Answer {
        let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "Hi you"}]});
        body.as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        let request = ChatRequest::parse(body.to_string().as_bytes()).unwrap();
        let (knobs, words) = Knobs::parse(&request.user_text()).unwrap();
        request.answer(&knobs, words)
    }

    fn text(answer: &Answer) -> String {
        match &answer.content {
            Content::Text(pieces) => pieces.concat(),
            Content::Calls(calls) => panic!("not a text: {calls:?}"),
        }
    }

    fn calls(answer: &Answer) -> Vec<(&str, String)> {
        match &answer.content {
            Content::Calls(calls) => calls
                .iter()
                .map(|call| (call.name.as_str(), call.arguments.concat()))
                .collect(),
            Content::Text(pieces) => panic!("not calls: {pieces:?}"),
        }
    }

    fn tools() -> Value {
        json!([
            {"type": "function", "function": {"name": "weather", "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
                "required": ["city"],
            }}},
            {"type": "function", "function": {"name": "time"}},
        ])
    }

    #[test]
    fn the_greeting_counts_words() {
        let answer = answer(json!({}));
        assert!(text(&answer).ends_with("message: 2."));
        assert_eq!((answer.finish_reason, answer.tokens), ("stop", 14));
    }

    #[test]
    fn max_tokens_cuts_with_length() {
        let short = answer(json!({"max_completion_tokens": 2}));
        assert_eq!(
            (text(&short).as_str(), short.finish_reason),
            ("Hello! I", "length")
        );
        let exact = answer(json!({"max_tokens": 14}));
        assert_eq!((exact.finish_reason, exact.tokens), ("stop", 14));
    }

    #[test]
    fn the_first_tool_is_called() {
        let answer = answer(json!({"tools": tools()}));
        assert_eq!(
            calls(&answer),
            [("weather", r#"{"city": "text"}"#.to_owned())]
        );
        assert_eq!((answer.finish_reason, answer.tokens), ("tool_calls", 3));
    }

    #[test]
    fn parallel_calls_every_tool_unless_it_may_not() {
        let messages = json!([{"role": "user", "content": "Do it in parallel"}]);
        let all = answer(json!({"tools": tools(), "messages": messages}));
        assert_eq!(calls(&all)[1], ("time", "{}".to_owned()));
        let one =
            answer(json!({"tools": tools(), "messages": messages, "parallel_tool_calls": false}));
        assert_eq!(calls(&one).len(), 1);
        let cut = answer(json!({"tools": tools(), "messages": messages, "max_tokens": 4}));
        assert_eq!(calls(&cut)[1], ("time", String::new()));
        assert_eq!((cut.finish_reason, cut.tokens), ("length", 4));
    }

    #[test]
    fn a_named_tool_is_called() {
        let choice = json!({"type": "function", "function": {"name": "time"}});
        let answer = answer(json!({"tools": tools(), "tool_choice": choice}));
        assert_eq!(calls(&answer), [("time", "{}".to_owned())]);
    }

    #[test]
    fn no_tool_is_called_after_its_result_or_with_choice_none() {
        text(&answer(json!({"tools": tools(), "tool_choice": "none"})));
        let messages = json!([
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": null},
            {"role": "tool", "content": "42", "tool_call_id": "c"},
        ]);
        text(&answer(json!({"tools": tools(), "messages": messages})));
    }

    #[test]
    fn json_formats_answer_objects() {
        let schema = json!({"type": "object", "properties": {"a": {"type": "boolean"}}});
        let format = json!({"type": "json_schema", "json_schema": {"schema": schema}});
        assert_eq!(
            text(&answer(json!({"response_format": format}))),
            r#"{"a": true}"#
        );
        let format = json!({"type": "json_object"});
        assert_eq!(
            text(&answer(json!({"response_format": format}))),
            r#"{"text": "text"}"#
        );
    }
}
