//! The OpenAPI document.

use std::collections::BTreeMap;

use assistiv_core::error::Reason;
use serde_json::{Map, Value, json};

use super::fields::{Field, example_of, fields, object};
use super::operations::GROUPS;
use super::{Answer, END_USER, OPERATOR, Op, PLATFORM, schemas};

const MESSAGES: &str = "/v1/messages";

/// The API of this version as OpenAPI 3.1. `base` is the URL under which the server is reached.
pub fn openapi(base: &str) -> Value {
    let tags: Vec<_> = GROUPS
        .iter()
        .map(|group| json!({"name": group.name, "description": group.text}))
        .collect();
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for group in GROUPS {
        for op in group.operations {
            let verb = op.verb.as_str().to_lowercase();
            let path = paths.entry(op.path).or_default();
            path.insert(verb, operation(op, group.name));
        }
    }
    let schemas: Map<_, _> = schemas::all()
        .map(|schema| (schema.name.to_owned(), described(schema)))
        .collect();
    let key = |what: &str| json!({"type": "http", "scheme": "bearer", "description": what});
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "assistiv",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "A multi-tenant gateway to language models: keys and budgets for end users, exact billing, and one \
                API over several providers.",
            "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"},
        },
        "servers": [{"url": base}],
        "tags": tags,
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "platformKey": key("A key of a platform: `sk-plat_…`."),
                "endUserKey": key("A key of an end user: `sk-eu_…`."),
                "operatorKey": key("A key of whoever runs the server: `sk-admin_…`."),
            },
        },
    })
}

fn described(schema: &schemas::Schema) -> Value {
    let mut described = object(schema.fields);
    if let Some(members) = described.as_object_mut() {
        if !schema.text.is_empty() {
            members.insert("description".into(), schema.text.into());
        }
        members.insert("examples".into(), json!([example_of(schema.fields)]));
    }
    described
}

fn operation(op: &Op, group: &str) -> Value {
    let mut operation = json!({
        "operationId": op.id,
        "tags": [group],
        "summary": op.summary,
        "responses": responses(op),
    });
    let Some(members) = operation.as_object_mut() else {
        return operation;
    };
    let keys = [
        (PLATFORM, "platformKey"),
        (END_USER, "endUserKey"),
        (OPERATOR, "operatorKey"),
    ];
    let security: Vec<_> = keys
        .iter()
        .filter(|(bit, _)| op.keys & bit != 0)
        .map(|(_, scheme)| json!({*scheme: []}))
        .collect();
    members.insert("security".into(), security.into());
    if let Some(scope) = op.scope {
        members.insert("x-scope".into(), scope.into());
    }
    let parameters = parameters(op);
    if !parameters.is_empty() {
        members.insert("parameters".into(), parameters.into());
    }
    if let Some(body) = op.body {
        let example = schemas::find(body.schema).map(|schema| example_of(schema.fields));
        let content = json!({"schema": reference(body.schema), "example": example});
        let body = json!({"required": body.is_required, "content": {"application/json": content}});
        members.insert("requestBody".into(), body);
    }
    operation
}

fn parameters(op: &Op) -> Vec<Value> {
    let in_path = op.params().map(
        |name| json!({"name": name, "in": "path", "required": true, "schema": path_schema(name)}),
    );
    let in_query = fields(op.query).into_iter().map(|field: Field| {
        let mut parameter = json!({"name": field.name, "in": "query", "schema": field.schema()});
        if let (Some(text), Some(members)) = (field.text, parameter.as_object_mut()) {
            members.insert("description".into(), text.into());
        }
        parameter
    });
    let idempotency = op.is_idempotent.then(|| {
        json!({
            "name": "Idempotency-Key", "in": "header", "schema": {"type": "string", "minLength": 1, "maxLength": 255},
            "description": "A repeat with the same key has no further effect and gives the first answer.",
        })
    });
    in_path.chain(in_query).chain(idempotency).collect()
}

fn path_schema(name: &str) -> Value {
    match name {
        "end_user_id" => json!({
            "type": "string", "description": "The id, or `external:` and the `external_id`.",
        }),
        "model" | "slug" | "skill_id" | "response_id" => json!({"type": "string"}),
        _ => json!({"type": "string", "format": "uuid"}),
    }
}

fn responses(op: &Op) -> Value {
    let mut responses = Map::new();
    for (status, response) in successes(op) {
        responses.insert(status.to_string(), response);
    }
    let mut refusals: BTreeMap<u16, Vec<Reason>> = BTreeMap::new();
    for reason in op.all_refusals() {
        let reasons = refusals.entry(reason.status().as_u16()).or_default();
        if !reasons.contains(&reason) {
            reasons.push(reason);
        }
    }
    for (status, reasons) in refusals {
        responses.insert(status.to_string(), refusal(op, status, &reasons));
    }
    Value::Object(responses)
}

fn successes(op: &Op) -> Vec<(u16, Value)> {
    let links = op.link.map(|(operation, param)| {
        let id = match op.answer {
            Answer::Bare(..) => "$response.body#/id",
            _ => "$response.body#/data/id",
        };
        let mut parameters: Map<String, Value> = op
            .params()
            .map(|name| (name.to_owned(), format!("$request.path.{name}").into()))
            .collect();
        parameters.insert(param.to_owned(), id.into());
        json!({"read": {"operationId": operation, "parameters": parameters}})
    });
    let json_body = |schema: Value, example: Value| json!({"schema": schema, "example": example});
    let example = |name: &str| schemas::find(name).map(|schema| example_of(schema.fields));
    let one = |name: &str| {
        let schema = json!({
            "type": "object", "properties": {"data": reference(name)}, "required": ["data"],
        });
        json_body(schema, json!({"data": example(name)}))
    };
    let response = |status: u16, content: Value| {
        let mut response = json!({"description": phrase(status), "content": content});
        if let (Some(links), Some(members)) = (&links, response.as_object_mut()) {
            members.insert("links".into(), links.clone());
        }
        (status, response)
    };
    let files = || json!({"schema": {"type": "string"}});
    match op.answer {
        Answer::One(status, name) => vec![response(status, json!({"application/json": one(name)}))],
        Answer::OneOf(first, second, name) => [first, second]
            .map(|status| response(status, json!({"application/json": one(name)})))
            .to_vec(),
        Answer::OneOrFile(name) => vec![response(
            200,
            json!({"application/json": one(name), "text/csv": files(), "application/x-ndjson": files()}),
        )],
        Answer::Page(name, is_file) => {
            let schema = json!({
                "type": "object",
                "properties": {
                    "data": {"type": "array", "items": reference(name)},
                    "total": {"type": "integer"}, "page": {"type": "integer"}, "limit": {"type": "integer"},
                },
                "required": ["data", "total", "page", "limit"],
            });
            let rows = json!({"data": [example(name)], "total": 1, "page": 1, "limit": 20});
            let mut content = json!({"application/json": json_body(schema, rows)});
            if let (true, Some(members)) = (is_file, content.as_object_mut()) {
                members.insert("text/csv".into(), files());
                members.insert("application/x-ndjson".into(), files());
            }
            vec![response(200, content)]
        }
        Answer::Bare(name, is_streamed) => {
            let body = json_body(reference(name), example(name).unwrap_or_default());
            let mut content = json!({"application/json": body});
            if let (true, Some(members)) = (is_streamed, content.as_object_mut()) {
                // Its events are the dialect's own.
                members.insert("text/event-stream".into(), json!({}));
            }
            vec![response(200, content)]
        }
        Answer::Nothing if op.refusals.contains(&Reason::FEATURE_DISABLED) => Vec::new(),
        Answer::Nothing if op.refusals.contains(&Reason::CAPABILITY_NOT_FOUND) => Vec::new(),
        Answer::Nothing => vec![(204, json!({"description": phrase(204)}))],
        Answer::Text("application/json") => {
            let content = json!({"application/json": {"schema": {"type": "object"}}});
            vec![response(200, content)]
        }
        Answer::Text(media) => vec![response(200, json!({media: files()}))],
    }
}

/// Why, by status.
fn refusal(op: &Op, status: u16, reasons: &[Reason]) -> Value {
    let named: Vec<_> = reasons
        .iter()
        .map(|reason| format!("`{}`", reason.as_str()))
        .collect();
    let schema = match op.path.starts_with(MESSAGES) {
        true => "MessagesError",
        false => "Refusal",
    };
    json!({
        "description": format!("{}: {}", phrase(status), named.join(", ")),
        "content": {"application/json": {"schema": reference(schema)}},
    })
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

fn phrase(status: u16) -> &'static str {
    http::StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason())
        .unwrap_or("Answer")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::operations::{all, find};

    /// Every name that something refers to is there, and ids are unique.
    #[test]
    fn nothing_is_missing() {
        let text = openapi("http://localhost").to_string();
        for piece in text.split("#/components/schemas/").skip(1) {
            let name = piece.split('"').next().unwrap();
            assert!(schemas::find(name).is_some(), "{name}");
        }
        let ids: Vec<_> = all().map(|op| op.id).collect();
        for op in all() {
            assert_eq!(
                ids.iter().filter(|id| **id == op.id).count(),
                1,
                "{}",
                op.id
            );
            assert!(
                op.link.is_none_or(|(id, _)| find(id).is_some()),
                "{}",
                op.id
            );
        }
    }
}
