//! The choices of an answer, read only as far as the gateway needs them.
//!
//! OpenAI API reference, "The chat completion chunk object", read on 2026-11-23.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

/// Members that hold generated text, wherever they stand in a delta or message.
const TEXTS: [&str; 9] = [
    "content",
    "refusal",
    "reasoning_content",
    "reasoning",
    "arguments",
    "text",
    "thinking",
    "input",
    "transcript",
];

/// One choice of a chunk (`delta`) or of a whole answer (`message`).
#[derive(Debug, Deserialize)]
pub(super) struct Choice {
    index: Option<u32>,
    delta: Option<Generated>,
    message: Option<Generated>,
    #[serde(default)]
    pub(super) finish_reason: Finish,
}

/// What a choice says of its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Finish {
    /// Nothing: it goes on.
    #[default]
    Absent,
    /// An empty reason.
    Blank,
    /// A reason.
    Given,
}

/// What was generated: bytes of text, and whether tools are called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Generated {
    pub(super) bytes: usize,
    pub(super) calls: bool,
    /// The value is there and not empty.
    filled: bool,
}

// === impl Choice ===

impl Choice {
    /// Its number; a server that sends one choice may leave it out.
    pub(super) fn index(&self) -> u32 {
        self.index.unwrap_or(0)
    }

    /// Whether it holds a whole message.
    pub(super) fn has_message(&self) -> bool {
        self.message.is_some()
    }

    /// What was generated for it.
    pub(super) fn generated(&self) -> Generated {
        self.delta.or(self.message).unwrap_or_default()
    }
}

impl<'de> Deserialize<'de> for Finish {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Option::<Key<'de>>::deserialize(deserializer)? {
            None => Self::Absent,
            Some(reason) if reason.0.is_empty() => Self::Blank,
            Some(_) => Self::Given,
        })
    }
}

impl<'de> Deserialize<'de> for Generated {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Count { text: false }.deserialize(deserializer)
    }
}

/// A string, borrowed where it has no escapes.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

/// Walks through a value and counts its text.
struct Count {
    /// Strings here are generated text.
    text: bool,
}

impl<'de> DeserializeSeed<'de> for Count {
    type Value = Generated;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Generated, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Count {
    type Value = Generated;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_unit<E>(self) -> Result<Generated, E> {
        Ok(Generated::default())
    }
    fn visit_bool<E>(self, _: bool) -> Result<Generated, E> {
        Ok(Generated {
            filled: true,
            ..Generated::default()
        })
    }
    fn visit_i64<E>(self, _: i64) -> Result<Generated, E> {
        Ok(Generated {
            filled: true,
            ..Generated::default()
        })
    }
    fn visit_u64<E>(self, _: u64) -> Result<Generated, E> {
        Ok(Generated {
            filled: true,
            ..Generated::default()
        })
    }
    fn visit_f64<E>(self, _: f64) -> Result<Generated, E> {
        Ok(Generated {
            filled: true,
            ..Generated::default()
        })
    }
    fn visit_str<E>(self, text: &str) -> Result<Generated, E> {
        let bytes = if self.text { text.len() } else { 0 };
        Ok(Generated {
            bytes,
            calls: false,
            filled: !text.is_empty(),
        })
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Generated, A::Error> {
        let mut sum = Generated::default();
        while let Some(item) = seq.next_element_seed(Self { text: self.text })? {
            sum.bytes = sum.bytes.saturating_add(item.bytes);
            sum.calls |= item.calls;
            sum.filled = true;
        }
        Ok(sum)
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Generated, A::Error> {
        let mut sum = Generated {
            filled: true,
            ..Generated::default()
        };
        while let Some(Key(name)) = map.next_key()? {
            let value = map.next_value_seed(Self {
                text: TEXTS.contains(&&*name),
            })?;
            sum.bytes = sum.bytes.saturating_add(value.bytes);
            let calls = matches!(&*name, "tool_calls" | "function_call") && value.filled;
            sum.calls |= value.calls || calls;
        }
        Ok(sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_text_is_counted_wherever_it_stands() {
        for (delta, bytes, calls) in [
            ("{}", 0, false),
            ("null", 0, false),
            (
                r#"{"role":"assistant","content":"","refusal":null}"#,
                0,
                false,
            ),
            (r#"{"content":"gr\u00fc\u00df","refusal":"no"}"#, 8, false),
            (
                r#"{"reasoning_content":"abc","content":null,"tool_calls":[]}"#,
                3,
                false,
            ),
            (r#"{"content":[{"type":"text","text":"abc"}]}"#, 3, false),
            (
                r#"{"tool_calls":[{"id":"x","type":"function","function":{"name":"f","arguments":"{}"}}]}"#,
                2,
                true,
            ),
            (r#"{"function_call":null}"#, 0, false),
            (
                r#"{"function_call":{"name":"f","arguments":"{\"a\":1}"}}"#,
                7,
                true,
            ),
            (
                r#"{"audio":{"transcript":"Hello","data":"AAAA"}}"#,
                5,
                false,
            ),
            (r#"{"content":1.5,"x":[true,-1,{"y":"z"}]}"#, 0, false),
        ] {
            let choice: Choice = serde_json::from_str(&format!(r#"{{"delta":{delta}}}"#)).unwrap();
            let generated = choice.generated();
            assert_eq!(
                (generated.bytes, generated.calls),
                (bytes, calls),
                "{delta}"
            );
        }
    }

    #[test]
    fn an_end_is_a_reason_that_is_not_empty() {
        for (json, finish) in [
            ("{}", Finish::Absent),
            (r#"{"finish_reason":null}"#, Finish::Absent),
            (r#"{"finish_reason":""}"#, Finish::Blank),
            (r#"{"finish_reason":"stop"}"#, Finish::Given),
        ] {
            assert_eq!(
                serde_json::from_str::<Choice>(json).unwrap().finish_reason,
                finish
            );
        }
        assert!(serde_json::from_str::<Choice>(r#"{"finish_reason":1}"#).is_err());
    }
}
