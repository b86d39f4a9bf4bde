//! JSON Schemas and JSON objects as Google takes them.
//!
//! Gemini API reference, "Function calling" and "Structured outputs", read on 2026-11-23: `parametersJsonSchema` and
//! `responseJsonSchema` take plain JSON Schema, but for what says nothing to the model.

use assistiv_core::json::Members;
use bytes::Bytes;
use serde_json::value::RawValue;

/// Keywords that are refused, or say nothing.
const NOISE: [&str; 3] = ["$schema", "$id", "strict"];

/// The schema of an answer. `None` when it is no JSON object.
pub(super) fn answer(schema: &RawValue) -> Option<Box<RawValue>> {
    let mut members = parse(schema.get())?;
    for name in NOISE {
        members.remove(name);
    }
    text_of(&members)
}

/// The schema of the arguments of a tool. `None` when it is no JSON object, `Some(None)` when the tool takes none:
/// an object without properties is refused.
pub(super) fn arguments(schema: Option<&RawValue>) -> Option<Option<Box<RawValue>>> {
    let Some(schema) = schema.filter(|schema| schema.get() != "null") else {
        return Some(None);
    };
    let members = parse(schema.get())?;
    let empty = |name: &str| members.find(name).is_none_or(|map| compact(map) == "{}");
    let composed = ["anyOf", "oneOf", "allOf", "$ref"];
    if empty("properties")
        && empty("patternProperties")
        && !composed.iter().any(|name| members.contains(name))
    {
        return Some(None);
    }
    answer(schema).map(Some)
}

/// A text as a JSON object, when it is one.
pub(super) fn object(text: &str) -> Option<Box<RawValue>> {
    parse(text)?;
    RawValue::from_string(text.trim().to_owned()).ok()
}

fn parse(object: &str) -> Option<Members> {
    Members::parse_trusted(Bytes::copy_from_slice(object.as_bytes())).ok()
}

fn text_of(members: &Members) -> Option<Box<RawValue>> {
    let text = String::from_utf8(members.to_bytes().into()).ok()?;
    RawValue::from_string(text).ok()
}

/// JSON text without the space between its tokens: Google indents what it sends in one piece.
pub(super) fn compact(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let (mut in_string, mut escaped) = (false, false);
    for c in json.chars() {
        if in_string || !c.is_ascii_whitespace() {
            out.push(c);
        }
        if in_string {
            in_string = escaped || c != '"';
            escaped = !escaped && c == '\\';
        } else {
            in_string = c == '"';
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: &str) -> Box<RawValue> {
        RawValue::from_string(json.to_owned()).unwrap()
    }

    #[test]
    fn plain_schemas_pass() {
        let schema = raw(
            r#"{"$schema":"x","type":"object","properties":{"b":{"type":"integer","maximum":9},"strict":{}},"strict":true}"#,
        );
        let expected =
            r#"{"type":"object","properties":{"b":{"type":"integer","maximum":9},"strict":{}}}"#;
        assert_eq!(answer(&schema).unwrap().get(), expected);
        assert_eq!(arguments(Some(&schema)).unwrap().unwrap().get(), expected);
        assert!(answer(&raw("true")).is_none());
    }

    #[test]
    fn a_tool_without_arguments_has_no_schema() {
        for schema in [
            "{}",
            r#"{"type":"object","properties":{ },"required":[]}"#,
            r#"{"type":"object"}"#,
            "null",
        ] {
            assert!(arguments(Some(&raw(schema))).unwrap().is_none(), "{schema}");
        }
        assert!(arguments(None).unwrap().is_none());
        assert!(
            arguments(Some(&raw(r##"{"$ref":"#/$defs/a","$defs":{"a":{}}}"##)))
                .unwrap()
                .is_some()
        );
        assert!(arguments(Some(&raw("[]"))).is_none());
    }

    #[test]
    fn only_space_between_tokens_goes() {
        let text = "{\n  \"a b\" : [ 1.50 ,\t\"x \\\" y\\\\\" , \"\\\\\" ] }\r\n";
        assert_eq!(compact(text), r#"{"a b":[1.50,"x \" y\\","\\"]}"#);
        assert_eq!(object(" {\"a\": 1}\n").unwrap().get(), "{\"a\": 1}");
        for text in ["", "18", "[1]", "{", "{} x"] {
            assert!(object(text).is_none(), "{text}");
        }
    }
}
