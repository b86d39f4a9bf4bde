//! Request bodies: strict JSON, and an object whose members can be exchanged without touching the others.
//!
//! What is validated and billed must be what is sent on. So a body is refused when a member name occurs
//! twice, when it nests deeper than [`DEPTH_MAX`], when it holds a lone surrogate, or when anything follows
//! it; and [`Members`] rebuilds an object from raw slices, so that what nobody edited stays byte for byte.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// How deep arrays and objects may nest.
pub const DEPTH_MAX: usize = 64;

/// The bytes are not acceptable JSON.
#[derive(Debug, thiserror::Error)]
#[error("the body is not acceptable JSON: {0}")]
pub struct JsonError(#[source] serde_json::Error);

/// The members of a JSON object, as slices of the text they came from.
///
/// Reading a member and writing the object back costs no re-serialisation: values are copied as they stood.
#[derive(Clone, Debug)]
pub struct Members {
    source: Bytes,
    members: Vec<(Box<str>, Value)>,
}

#[derive(Clone, Debug)]
enum Value {
    /// A slice of the source.
    Kept(Range<usize>),
    /// JSON text that replaced it.
    Set(Box<str>),
}

/// A JSON value kept as the text that was written, for what is stored and returned untouched.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RawJson(Box<RawValue>);

/// A JSON object whose values are kept as text.
pub type RawObject = BTreeMap<String, RawJson>;

/// Checks that `body` is one JSON value under the rules of this module.
///
/// # Errors
/// [`JsonError`] says what is wrong and where.
pub fn check(body: &[u8]) -> Result<(), JsonError> {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    Strict { depth: 0 }
        .deserialize(&mut deserializer)
        .map_err(JsonError)?;
    deserializer.end().map_err(JsonError)
}

// === impl Members ===

impl Members {
    /// Splits a JSON object into its members, after [`check`].
    ///
    /// # Errors
    /// [`JsonError`] when the text is not one strict JSON object.
    pub fn parse(source: Bytes) -> Result<Self, JsonError> {
        check(&source)?;
        Self::parse_trusted(source)
    }

    /// Splits a JSON object into its members, checking the outermost object alone.
    ///
    /// For text whose inner values are passed on unread, such as frames of a provider's stream.
    ///
    /// # Errors
    /// [`JsonError`] when the text is not one JSON object, or repeats a member name.
    pub fn parse_trusted(source: Bytes) -> Result<Self, JsonError> {
        let raw: RawMembers<'_> = serde_json::from_slice(&source).map_err(JsonError)?;
        let base = source.as_ptr() as usize;
        let members = raw
            .0
            .into_iter()
            .map(|(name, value)| {
                let start = value.get().as_ptr() as usize - base;
                (name, Value::Kept(start..start + value.get().len()))
            })
            .collect();
        Ok(Self { source, members })
    }

    /// The JSON text of a member; `null` counts as absent.
    pub fn find(&self, name: &str) -> Option<&str> {
        let (_, value) = self.members.iter().find(|(n, _)| &**n == name)?;
        let text = match value {
            Value::Kept(range) => std::str::from_utf8(&self.source[range.clone()]).ok()?,
            Value::Set(text) => text,
        };
        (text != "null").then_some(text)
    }

    /// Whether a member of this name stands in the object, `null` included.
    pub fn contains(&self, name: &str) -> bool {
        self.members.iter().any(|(n, _)| &**n == name)
    }

    /// Reads a member as `T`; absent and `null` give `None`.
    ///
    /// # Errors
    /// The reason why the member is not a `T`.
    pub fn read<'a, T: Deserialize<'a>>(
        &'a self,
        name: &str,
    ) -> Result<Option<T>, serde_json::Error> {
        self.find(name).map(serde_json::from_str).transpose()
    }

    /// Replaces a member's value by other JSON text, or appends the member.
    pub fn set(&mut self, name: &str, json: impl Into<Box<str>>) {
        let value = Value::Set(json.into());
        match self.members.iter_mut().find(|(n, _)| &**n == name) {
            Some((_, old)) => *old = value,
            None => self.members.push((name.into(), value)),
        }
    }

    /// Takes a member out; says whether it was there.
    pub fn remove(&mut self, name: &str) -> bool {
        let before = self.members.len();
        self.members.retain(|(n, _)| &**n != name);
        self.members.len() != before
    }

    /// Gives a member another name, keeping its value and place.
    pub fn rename(&mut self, from: &str, to: &str) {
        if let Some((name, _)) = self.members.iter_mut().find(|(n, _)| &**n == from) {
            *name = to.into();
        }
    }

    /// The names of the members, in their order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(|(name, _)| &**name)
    }

    /// The object as JSON text.
    pub fn to_bytes(&self) -> Bytes {
        let mut out = Vec::with_capacity(self.source.len() + 64);
        out.push(b'{');
        for (i, (name, value)) in self.members.iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            write_string(&mut out, name);
            out.push(b':');
            match value {
                Value::Kept(range) => out.extend_from_slice(&self.source[range.clone()]),
                Value::Set(text) => out.extend_from_slice(text.as_bytes()),
            }
        }
        out.push(b'}');
        out.into()
    }
}

// === impl RawJson ===

impl RawJson {
    /// Writes a value whose maps have text for keys; what JSON cannot hold becomes `null`.
    pub(crate) fn of(value: &impl Serialize) -> Self {
        let text = serde_json::value::to_raw_value(value);
        Self(text.unwrap_or_else(|_| RawValue::NULL.to_owned()))
    }

    /// The text.
    pub fn get(&self) -> &str {
        self.0.get()
    }

    /// Reads the value as `T`.
    ///
    /// # Errors
    /// The reason why it is not a `T`.
    pub fn read<'a, T: Deserialize<'a>>(&'a self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.get())
    }

    /// Whether the value is `null`.
    pub fn is_null(&self) -> bool {
        self.get() == "null"
    }
}

impl PartialEq for RawJson {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

/// A string as JSON text.
pub fn string(text: &str) -> Box<str> {
    let mut out = Vec::with_capacity(text.len() + 2);
    write_string(&mut out, text);
    String::from_utf8(out).unwrap_or_default().into()
}

fn write_string(out: &mut Vec<u8>, text: &str) {
    // Writing a `str` to a `Vec` cannot fail: neither the serialiser nor the writer has an error to give.
    let written = serde_json::to_writer(&mut *out, text);
    debug_assert!(written.is_ok());
}

/// The members of an object as borrowed text. Refuses a repeated name.
struct RawMembers<'a>(Vec<(Box<str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for RawMembers<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;
        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = RawMembers<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawMembers<'de>, A::Error> {
                let mut members: Vec<(Box<str>, &'de RawValue)> = Vec::with_capacity(8);
                while let Some((name, value)) = map.next_entry::<Box<str>, &'de RawValue>()? {
                    if members.iter().any(|(n, _)| *n == name) {
                        return Err(A::Error::custom(format_args!(
                            "the member `{name}` is repeated"
                        )));
                    }
                    members.push((name, value));
                }
                Ok(RawMembers(members))
            }
        }
        deserializer.deserialize_map(MembersVisitor)
    }
}

/// Reads a value only to check it.
struct Strict {
    depth: usize,
}

/// A member name, borrowed from the text where it has no escapes.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Name<'a>(std::borrow::Cow<'a, str>);

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = ();
    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Strict {
    fn deeper<E: serde::de::Error>(&self) -> Result<Self, E> {
        if self.depth == DEPTH_MAX {
            return Err(E::custom(format_args!("nested deeper than {DEPTH_MAX}")));
        }
        Ok(Self {
            depth: self.depth + 1,
        })
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let inner = self.deeper::<A::Error>()?.depth;
        while seq.next_element_seed(Strict { depth: inner })?.is_some() {}
        Ok(())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let inner = self.deeper::<A::Error>()?.depth;
        let mut names: Vec<Name<'de>> = Vec::new();
        while let Some(name) = map.next_key::<Name<'de>>()? {
            map.next_value_seed(Strict { depth: inner })?;
            names.push(name);
        }
        repeated(&mut names).map_or(Ok(()), |name| {
            Err(A::Error::custom(format_args!(
                "the member `{name}` is repeated"
            )))
        })
    }
}

fn repeated<'n>(names: &'n mut [Name<'_>]) -> Option<&'n str> {
    // A handful of names is compared faster than it is sorted; many must not cost their square.
    if names.len() <= 8 {
        let at = (1..names.len()).find(|&i| names[..i].contains(&names[i]))?;
        return Some(&names[at].0);
    }
    names.sort_unstable();
    names
        .windows(2)
        .find(|pair| pair[0] == pair[1])
        .map(|pair| &*pair[0].0)
}

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;
        impl<'de> Visitor<'de> for NameVisitor {
            type Value = Name<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a member name")
            }
            fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Name<'de>, E> {
                Ok(Name(name.into()))
            }
            fn visit_str<E>(self, name: &str) -> Result<Name<'de>, E> {
                Ok(Name(name.to_owned().into()))
            }
        }
        deserializer.deserialize_str(NameVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_two_parsers_could_read_differently() {
        let deep = format!("{}1{}", "[".repeat(65), "]".repeat(65));
        for body in [
            r#"{"a":1,"a":2}"#,
            r#"{"x":{"a":1,"\u0061":2}}"#,
            r#"{"a":1} x"#,
            r#"{"a":NaN}"#,
            "\u{feff}{}",
            r#"{"a":"\ud800"}"#,
            "",
            deep.as_str(),
        ] {
            assert!(check(body.as_bytes()).is_err(), "{body}");
        }
        assert!(check(b"{\"a\":\"\xff\"}").is_err());
        let deep = format!("{}1{}", "[".repeat(64), "]".repeat(64));
        check(deep.as_bytes()).unwrap();
    }

    #[test]
    fn many_members_are_compared_too() {
        let body: Vec<String> = (0..2000).map(|i| format!("\"k{}\":1", i % 1999)).collect();
        assert!(check(format!("{{{}}}", body.join(",")).as_bytes()).is_err());
    }

    #[test]
    fn untouched_members_keep_their_bytes() {
        let source =
            Bytes::from_static(br#" { "model" : "a", "x": 1.0e+2 , "y":{"b" : [ ] }, "z":null} "#);
        let mut members = Members::parse(source).unwrap();
        assert_eq!(members.read::<&str>("model").unwrap(), Some("a"));
        assert_eq!(members.find("z"), None);
        members.set("model", string("b\"c"));
        members.remove("z");
        members.set("stream", "true");
        members.rename("x", "w");
        let text = members.to_bytes();
        assert_eq!(
            &text[..],
            br#"{"model":"b\"c","w":1.0e+2,"y":{"b" : [ ] },"stream":true}"#
        );
    }

    #[test]
    fn escaped_names_are_the_same_names() {
        let members = Members::parse(Bytes::from_static(br#"{"mod\u0065l":"a"}"#)).unwrap();
        assert_eq!(members.find("model"), Some("\"a\""));
    }
}
