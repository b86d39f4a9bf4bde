//! Dummy values for JSON Schemas.

use serde::Serialize;
use serde_json::ser::Formatter;
use serde_json::{Map, Value};

/// Values made for one schema, which may refer to itself.
const VALUES_MAX: usize = 1000;
const DEPTH_MAX: usize = 24;

/// Which properties of an object get a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Properties {
    All,
    Required,
}

/// A value for a simple schema: strings are `"text"`, numbers 1, booleans true, arrays hold one
/// item. Constants, the first of an enumeration, the first alternative and local references are
/// followed; limits such as `pattern` or `minimum` are not.
pub(super) fn dummy(schema: &Value, properties: Properties) -> Value {
    Dummy {
        root: schema,
        properties,
        left: VALUES_MAX,
    }
    .value(schema, DEPTH_MAX)
}

/// The value in one line with a space after each comma and colon, so that it splits into words.
pub(super) fn spaced(value: &Value) -> String {
    let mut out = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, Spaced);
    match value.serialize(&mut serializer) {
        Ok(()) => String::from_utf8_lossy(&out).into_owned(),
        // Not reached with a value in memory; its compact form is as good.
        Err(_) => value.to_string(),
    }
}

struct Dummy<'a> {
    root: &'a Value,
    properties: Properties,
    left: usize,
}

struct Spaced;

// === impl Dummy ===

impl<'a> Dummy<'a> {
    fn value(&mut self, schema: &'a Value, depth: usize) -> Value {
        if depth == 0 || self.left == 0 {
            return Value::Null;
        }
        self.left -= 1;
        if let Some(value) = schema.get("const") {
            return value.clone();
        }
        if let Some(value) = schema.pointer("/enum/0") {
            return value.clone();
        }
        let other = ["/anyOf/0", "/oneOf/0", "/allOf/0"]
            .iter()
            .find_map(|at| schema.pointer(at));
        if let Some(other) = other.or_else(|| self.referred(schema)) {
            return self.value(other, depth - 1);
        }
        match type_name(schema) {
            "object" => self.object(schema, depth),
            "array" => {
                let item = schema.get("items").unwrap_or(&Value::Null);
                Value::Array(vec![self.value(item, depth - 1)])
            }
            "integer" | "number" => 1.into(),
            "boolean" => true.into(),
            "null" => Value::Null,
            _ => "text".into(),
        }
    }

    fn object(&mut self, schema: &'a Value, depth: usize) -> Value {
        let mut object = Map::new();
        let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
            return object.into();
        };
        let required = schema.get("required").and_then(Value::as_array);
        for (name, property) in properties {
            let is_required =
                required.is_some_and(|names| names.iter().any(|n| n.as_str() == Some(name)));
            if is_required || self.properties == Properties::All {
                object.insert(name.clone(), self.value(property, depth - 1));
            }
        }
        object.into()
    }

    fn referred(&self, schema: &Value) -> Option<&'a Value> {
        let at = schema.get("$ref")?.as_str()?.strip_prefix('#')?;
        self.root.pointer(at)
    }
}

fn type_name(schema: &Value) -> &str {
    match schema.get("type") {
        Some(Value::String(name)) => name,
        Some(Value::Array(names)) => names
            .iter()
            .filter_map(Value::as_str)
            .find(|name| *name != "null")
            .unwrap_or("null"),
        _ if schema.get("properties").is_some() => "object",
        _ => "string",
    }
}

// === impl Spaced ===

impl Formatter for Spaced {
    fn begin_array_value<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        if first {
            Ok(())
        } else {
            writer.write_all(b", ")
        }
    }

    fn begin_object_key<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        if first {
            Ok(())
        } else {
            writer.write_all(b", ")
        }
    }

    fn begin_object_value<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
    ) -> std::io::Result<()> {
        writer.write_all(b": ")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_type_has_a_value() {
        let schema = json!({
            "type": "object",
            "properties": {
                "a": {"type": "string"},
                "b": {"type": ["null", "integer"]},
                "c": {"type": "array", "items": {"$ref": "#/$defs/leaf"}},
                "d": {"enum": ["x", "y"]},
                "e": {"anyOf": [{"type": "number"}, {"type": "null"}]},
            },
            "required": ["a"],
            "$defs": {"leaf": {"type": "object", "properties": {"f": {"type": "boolean"}}}},
        });
        assert_eq!(
            dummy(&schema, Properties::All),
            json!({"a": "text", "b": 1, "c": [{"f": true}], "d": "x", "e": 1})
        );
        assert_eq!(dummy(&schema, Properties::Required), json!({"a": "text"}));
    }

    #[test]
    fn a_schema_of_itself_ends() {
        let schema = json!({
            "type": "object",
            "properties": {"l": {"$ref": "#"}, "r": {"$ref": "#"}},
        });
        assert!(dummy(&schema, Properties::All).is_object());
    }

    #[test]
    fn json_splits_into_words() {
        let value = json!({"a": [1, "x"], "b": {}});
        assert_eq!(spaced(&value), r#"{"a": [1, "x"], "b": {}}"#);
    }
}
