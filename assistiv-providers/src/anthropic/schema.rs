//! JSON Schemas, cut down to what Anthropic takes where an answer is held to one.
//!
//! Anthropic API reference, "Structured outputs", read on 2026-11-23: every object is closed, and there are no
//! limits on numbers, lengths or patterns. What is taken out is told to the model in the description, where it can
//! still act on it. The order of properties is kept: it is the order in which they are written.

use assistiv_core::json::{self, Members};
use bytes::Bytes;
use serde_json::value::RawValue;

/// Keywords that are refused.
const LIMITS: [&str; 14] = [
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "pattern",
    "maxItems",
    "uniqueItems",
    "minProperties",
    "maxProperties",
    "minContains",
    "maxContains",
];
/// Keywords that say nothing to the model.
const NOISE: [&str; 3] = ["$schema", "$id", "default"];
/// Keywords whose value is a map from names to schemas.
const MAPS: [&str; 4] = ["properties", "$defs", "definitions", "patternProperties"];
/// Keywords whose value is a list of schemas.
const LISTS: [&str; 4] = ["anyOf", "allOf", "oneOf", "prefixItems"];
/// String formats that are taken.
const FORMATS: [&str; 9] = [
    "date-time",
    "time",
    "date",
    "duration",
    "email",
    "hostname",
    "uri",
    "ipv4",
    "ipv6",
];
const UUID: &str = "uuid";

/// A schema to which an answer can be held. `None` when it is no JSON object.
pub(super) fn strict(schema: &str) -> Option<String> {
    let mut members = parse(schema)?;
    let mut notes = Vec::new();
    for name in NOISE {
        members.remove(name);
    }
    for name in LIMITS {
        take(&mut members, name, &mut notes);
    }
    // An array may be asked to hold something, but not how much.
    if members
        .find("minItems")
        .is_some_and(|n| n != "0" && n != "1")
    {
        take(&mut members, "minItems", &mut notes);
    }
    if let Ok(Some(format)) = members.read::<String>("format")
        && format != UUID
        && !FORMATS.contains(&&*format)
    {
        take(&mut members, "format", &mut notes);
    }
    for name in MAPS {
        if let Some(map) = members.find(name).and_then(parse) {
            members.set(name, each(map)?);
        }
    }
    for name in LISTS {
        if let Ok(Some(list)) = members.read::<Vec<&RawValue>>(name) {
            let list: Vec<_> = list.iter().map(|raw| strict_or_same(raw.get())).collect();
            members.set(name, format!("[{}]", list.join(",")));
        }
    }
    if let Some(items) = members.find("items").filter(|items| items.starts_with('{')) {
        let items = strict(items)?;
        members.set("items", items);
    }
    if is_object(&members) {
        members.set("additionalProperties", "false");
    }
    if !notes.is_empty() {
        let said: Option<String> = members.read("description").ok().flatten();
        let notes = notes.join(", ");
        let text = said.map_or_else(|| notes.clone(), |said| format!("{said} ({notes})"));
        members.set("description", json::string(&text));
    }
    text_of(&members)
}

/// A schema of the arguments of a tool: an object, if it does not say so.
pub(super) fn arguments(schema: Option<&str>) -> Option<String> {
    let Some(schema) = schema else {
        return Some(r#"{"type":"object","properties":{}}"#.to_owned());
    };
    let mut members = parse(schema)?;
    if members.find("type").is_none() {
        members.set("type", "\"object\"");
        return text_of(&members);
    }
    Some(schema.to_owned())
}

fn take(members: &mut Members, name: &str, notes: &mut Vec<String>) {
    if let Some(value) = members.find(name) {
        notes.push(format!("{name}: {value}"));
        members.remove(name);
    }
}

fn each(mut map: Members) -> Option<String> {
    let names: Vec<String> = map.names().map(str::to_owned).collect();
    for name in names {
        if let Some(schema) = map.find(&name) {
            let schema = strict_or_same(schema);
            map.set(&name, schema);
        }
    }
    text_of(&map)
}

/// A schema may also be `true` or `false`.
fn strict_or_same(schema: &str) -> String {
    strict(schema).unwrap_or_else(|| schema.to_owned())
}

fn is_object(members: &Members) -> bool {
    members.contains("properties")
        || members
            .find("type")
            .is_some_and(|kind| kind.contains("\"object\""))
}

fn parse(object: &str) -> Option<Members> {
    Members::parse_trusted(Bytes::copy_from_slice(object.as_bytes())).ok()
}

fn text_of(members: &Members) -> Option<String> {
    String::from_utf8(members.to_bytes().into()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_closed_and_limits_become_words() {
        let schema = r#"{"$schema":"x","type":"object","properties":{"b":{"type":"integer","minimum":0,"maximum":9,"description":"how many"},
            "a":{"type":["object","null"],"properties":{"c":{"type":"string","format":"regex"}}},"l":{"type":"array","minItems":2,"items":{"type":"object","additionalProperties":true}},
            "u":{"anyOf":[{"type":"string","pattern":"^x$"},true]}},"required":["b"],"$defs":{"d":{"type":"string","format":"uuid","maxLength":3}}}"#;
        let expected = r#"{"type":"object","properties":{"b":{"type":"integer","description":"how many (minimum: 0, maximum: 9)"},"a":{"type":["object","null"],"properties":{"c":{"type":"string","description":"format: \"regex\""}},"additionalProperties":false},"l":{"type":"array","items":{"type":"object","additionalProperties":false},"description":"minItems: 2"},"u":{"anyOf":[{"type":"string","description":"pattern: \"^x$\""},true]}},"required":["b"],"$defs":{"d":{"type":"string","format":"uuid","description":"maxLength: 3"}},"additionalProperties":false}"#;
        assert_eq!(strict(schema).unwrap(), expected);
        assert_eq!(strict("true"), None);
    }

    #[test]
    fn a_property_may_be_called_like_a_keyword() {
        let schema = r#"{"type":"object","properties":{"minimum":{"type":"string"},"format":{"type":"string"}},"additionalProperties":false}"#;
        assert_eq!(strict(schema).unwrap(), schema);
    }

    #[test]
    fn arguments_are_an_object() {
        assert_eq!(
            arguments(None).unwrap(),
            r#"{"type":"object","properties":{}}"#
        );
        assert_eq!(arguments(Some("{}")).unwrap(), r#"{"type":"object"}"#);
        let given = r#"{ "type":"object", "minProperties": 1 }"#;
        assert_eq!(arguments(Some(given)).unwrap(), given);
        assert_eq!(arguments(Some("[]")), None);
    }
}
