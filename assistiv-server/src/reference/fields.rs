//! The little language in which objects are described, and JSON Schema made of it.
//!
//! A line is a field: `name type`, and if wanted `= example` and `-- text`. A name with `?` may be absent, a type with `?`
//! may be null. Types are those of [`simple`], `[T]`, `a|b|c` for one of several words, `map<T>`, and the name of another
//! object. `...Name` takes over another object's fields.

use serde_json::{Map, Value, json};

use super::schemas;

/// A field of an object, or a parameter.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) is_optional: bool,
    pub(super) kind: &'static str,
    pub(super) is_nullable: bool,
    pub(super) example: Option<&'static str>,
    pub(super) text: Option<&'static str>,
}

/// The fields of an object or of a query.
pub(super) fn fields(source: &'static str) -> Vec<Field> {
    let lines = source
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty());
    lines
        .flat_map(|line| match line.strip_prefix("...") {
            Some(name) => fields(schemas::find(name).map_or("", |schema| schema.fields)),
            None => vec![field(line)],
        })
        .collect()
}

fn field(line: &'static str) -> Field {
    let (line, text) = match line.split_once(" -- ") {
        Some((line, text)) => (line, Some(text.trim())),
        None => (line, None),
    };
    let (line, example) = match line.split_once(" = ") {
        Some((line, example)) => (line, Some(example.trim())),
        None => (line, None),
    };
    let (name, kind) = line.split_once(' ').unwrap_or((line, "any"));
    let (kind, is_nullable) = match kind.trim().strip_suffix('?') {
        Some(kind) => (kind, true),
        None => (kind.trim(), false),
    };
    Field {
        name: name.trim_end_matches('?'),
        is_optional: name.ends_with('?'),
        kind,
        is_nullable,
        example,
        text,
    }
}

// === impl Field ===

impl Field {
    /// Its JSON Schema.
    pub(super) fn schema(&self) -> Value {
        let mut schema = of_kind(self.kind);
        if self.is_nullable {
            schema = nullable(schema);
        }
        if let (Some(text), Some(members)) = (self.text, schema.as_object_mut()) {
            members.insert("description".into(), text.into());
        }
        schema
    }

    /// An example of it.
    pub(super) fn example(&self) -> Value {
        match self.example {
            Some(text) => serde_json::from_str(text).unwrap_or_else(|_| text.into()),
            None if self.is_nullable => Value::Null,
            None => example(self.kind),
        }
    }
}

/// The JSON Schema of an object.
pub(super) fn object(source: &'static str) -> Value {
    let fields = fields(source);
    let properties: Map<_, _> = fields
        .iter()
        .map(|field| (field.name.to_owned(), field.schema()))
        .collect();
    let required: Vec<_> = fields
        .iter()
        .filter(|field| !field.is_optional)
        .map(|field| field.name)
        .collect();
    json!({"type": "object", "properties": properties, "required": required})
}

/// An example of an object.
pub(super) fn example_of(source: &'static str) -> Value {
    let members = fields(source)
        .into_iter()
        // What may be absent is shown where an example is given.
        .filter(|field| !field.is_optional || field.example.is_some());
    let members = members.map(|field| (field.name.to_owned(), field.example()));
    Value::Object(members.collect())
}

/// The JSON Schema of a type.
pub(super) fn of_kind(kind: &str) -> Value {
    if let Some((schema, _)) = simple(kind) {
        return schema;
    }
    if let Some(item) = kind
        .strip_prefix('[')
        .and_then(|kind| kind.strip_suffix(']'))
    {
        return json!({"type": "array", "items": of_kind(item)});
    }
    if let Some(value) = kind
        .strip_prefix("map<")
        .and_then(|kind| kind.strip_suffix('>'))
    {
        return json!({"type": "object", "additionalProperties": of_kind(value)});
    }
    if kind.starts_with(char::is_uppercase) {
        return json!({"$ref": format!("#/components/schemas/{kind}")});
    }
    let words: Vec<_> = kind.split('|').collect();
    json!({"type": "string", "enum": words})
}

fn example(kind: &str) -> Value {
    if let Some((_, example)) = simple(kind) {
        return example;
    }
    if let Some(item) = kind
        .strip_prefix('[')
        .and_then(|kind| kind.strip_suffix(']'))
    {
        return json!([example(item)]);
    }
    if kind.starts_with("map<") {
        return json!({});
    }
    match schemas::find(kind) {
        Some(schema) => example_of(schema.fields),
        None => kind.split('|').next().into(),
    }
}

/// Types that are no objects, with an example.
fn simple(kind: &str) -> Option<(Value, Value)> {
    let id = "0197a3c5-1c7e-7d20-9c41-3f5b8a6e2d10";
    Some(match kind {
        "any" => (json!({}), json!({})),
        "string" => (json!({"type": "string"}), json!("text")),
        "flag" => (json!({"type": "boolean"}), json!(true)),
        "int" => (json!({"type": "integer"}), json!(1)),
        "count" => (json!({"type": "integer", "minimum": 0}), json!(1)),
        "number" => (json!({"type": "number"}), json!(1.5)),
        "uuid" => (json!({"type": "string", "format": "uuid"}), json!(id)),
        "time" => (
            json!({"type": "string", "format": "date-time"}),
            json!("2026-05-03T08:15:30Z"),
        ),
        // Amounts come as JSON numbers with six to nine decimals, and may be sent as numbers or as strings.
        "usd" | "display" => (json!({"type": "number"}), json!(12.5)),
        "amount" => (
            json!({"type": ["number", "string"], "description": "A decimal with at most nine digits after the point."}),
            json!("12.50"),
        ),
        "object" => (json!({"type": "object"}), json!({})),
        _ => return None,
    })
}

fn nullable(schema: Value) -> Value {
    match schema {
        Value::Object(mut members) => match members.get("type").cloned() {
            Some(Value::String(kind)) => {
                members.insert("type".into(), json!([kind, "null"]));
                if let Some(Value::Array(words)) = members.get_mut("enum") {
                    words.push(Value::Null);
                }
                Value::Object(members)
            }
            Some(Value::Array(mut kinds)) => {
                kinds.push("null".into());
                members.insert("type".into(), kinds.into());
                Value::Object(members)
            }
            _ if members.is_empty() => Value::Object(members),
            _ => json!({"anyOf": [members, {"type": "null"}]}),
        },
        other => other,
    }
}
