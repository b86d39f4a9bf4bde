//! The API as text, for agents and for people who would rather read one file.

use std::fmt::Write;

use super::fields::{example_of, fields};
use super::operations::GROUPS;
use super::{Answer, Group, LANGUAGES, Op, schemas};

/// The short index.
pub fn llms(base: &str) -> String {
    let mut text = format!(
        "# assistiv\n\n> A multi-tenant gateway to language models: keys and budgets for end users, exact billing, and one API \
         over OpenAI, Anthropic, Google and xAI.\n\nAPI base: {base}\nOpenAI's clients: base URL {base}/v1. Anthropic's: base URL \
         {base}.\n\n- [{base}/llms-full.txt]({base}/llms-full.txt): every endpoint with its schema, and examples\n- \
         [{base}/v1/openapi.json]({base}/v1/openapi.json): OpenAPI 3.1\n- [{base}/docs]({base}/docs): the reference as a page\n- \
         [{base}/docs/errors]({base}/docs/errors): every reason of an error\n\n## Endpoints\n\n"
    );
    for group in GROUPS {
        let _ = writeln!(
            text,
            "- {}: {} endpoints",
            group.name,
            group.operations.len()
        );
    }
    text
}

/// Everything that is needed to write a client, in one file.
pub fn llms_full(base: &str) -> String {
    let mut text = INTRODUCTION.replace("{API_BASE}", base);
    for group in GROUPS {
        describe(group, base, &mut text);
    }
    text.push_str("\n# Objects\n\nA field with `?` may be absent; a type with `?` may be null.\n");
    for schema in schemas::all() {
        let _ = writeln!(text, "\n## {}\n", schema.name);
        if !schema.text.is_empty() {
            let _ = writeln!(text, "{}\n", schema.text);
        }
        for field in fields(schema.fields) {
            let absent = if field.is_optional { "?" } else { "" };
            let null = if field.is_nullable { "?" } else { "" };
            let note = field
                .text
                .map(|text| format!(" - {text}"))
                .unwrap_or_default();
            let _ = writeln!(
                text,
                "- `{}{absent}`: {}{null}{note}",
                field.name, field.kind
            );
        }
    }
    text.push_str("\n# Errors\n\n");
    for reason in assistiv_core::error::Reason::ALL {
        let _ = writeln!(
            text,
            "- `{}` ({} `{}`): {}",
            reason.as_str(),
            reason.status().as_u16(),
            reason.code(),
            reason.meaning()
        );
    }
    text
}

fn describe(group: &Group, base: &str, text: &mut String) {
    let _ = writeln!(
        text,
        "\n# {}\n\n{}",
        group.name,
        group.text.replace("{API_BASE}", base)
    );
    for op in group.operations {
        describe_operation(op, text);
    }
    let examples = LANGUAGES.iter().zip(group.examples);
    for ((language, fence), program) in examples.filter(|(_, program)| !program.is_empty()) {
        let program = program.replace("{API_BASE}", base);
        let _ = write!(
            text,
            "\n## Example: {}, {language}\n\n```{fence}\n{program}```\n",
            group.name
        );
    }
}

fn describe_operation(op: &Op, text: &mut String) {
    let _ = writeln!(
        text,
        "\n## {} {}\n\n{}.\n",
        op.verb.as_str(),
        op.path,
        op.summary
    );
    let keys = op.keys();
    match (keys.is_empty(), op.scope) {
        (true, _) => text.push_str("- Key: none\n"),
        (false, Some(scope)) if scope != "any" => {
            let _ = writeln!(text, "- Key: {}; scope `{scope}`", keys.join(" or "));
        }
        _ => {
            let _ = writeln!(text, "- Key: {}", keys.join(" or "));
        }
    }
    for field in fields(op.query) {
        let note = field
            .text
            .map(|text| format!(" - {text}"))
            .unwrap_or_default();
        let _ = writeln!(text, "- Query `{}`: {}{note}", field.name, field.kind);
    }
    if op.is_idempotent {
        text.push_str("- Header `Idempotency-Key`: a repeat has no further effect\n");
    }
    if let Some(body) = op.body {
        let optional = if body.is_required {
            ""
        } else {
            ", may be left out"
        };
        let example = schemas::find(body.schema).map(|schema| example_of(schema.fields));
        let example = example.unwrap_or_default();
        let _ = writeln!(text, "- Body: {}{optional}, e.g. `{example}`", body.schema);
    }
    let _ = match op.answer {
        Answer::One(status, name) => writeln!(text, "- {status}: `{{\"data\": {name}}}`"),
        Answer::OneOf(first, second, name) => {
            writeln!(text, "- {first} or {second}: `{{\"data\": {name}}}`")
        }
        Answer::OneOrFile(name) => {
            writeln!(
                text,
                "- 200: `{{\"data\": {name}}}`, CSV or NDJSON by `Accept`"
            )
        }
        Answer::Page(name, is_file) => {
            let file = if is_file {
                "; CSV or NDJSON by `Accept`"
            } else {
                ""
            };
            writeln!(
                text,
                "- 200: `{{\"data\": [{name}], \"total\", \"page\", \"limit\"}}`{file}"
            )
        }
        Answer::Bare(name, is_streamed) => {
            let stream = if is_streamed {
                ", or server-sent events with `\"stream\": true`"
            } else {
                ""
            };
            writeln!(text, "- 200: {name}{stream}")
        }
        Answer::Nothing if op.refusals.is_empty() || op.verb == super::Verb::Delete => {
            writeln!(text, "- 204: nothing")
        }
        Answer::Nothing => Ok(()),
        Answer::Text(media) => writeln!(text, "- 200: {media}"),
    };
    let refusals: Vec<_> = op
        .refusals
        .iter()
        .map(|reason| format!("{} `{}`", reason.status().as_u16(), reason.as_str()))
        .collect();
    if !refusals.is_empty() {
        let _ = writeln!(text, "- Refused with: {}", refusals.join(", "));
    }
}

const INTRODUCTION: &str = "\
# assistiv: the whole API

A multi-tenant gateway to language models. A platform gives its end users keys and budgets; calls are paid from the
platform's wallet, exactly; one API reaches OpenAI, Anthropic, Google and xAI. This file is written by the server that
you read it from and needs no other.

- API base: {API_BASE}
- Send the key as `Authorization: Bearer sk-…`. Platform keys (`sk-plat_`) manage a platform and make calls; end-user keys
  (`sk-eu_`) make calls and read what is their own; operator keys (`sk-admin_`) manage the server.
- Request bodies are JSON. Answers of management are `{\"data\": …}`; lists are `{\"data\": […], \"total\", \"page\",
  \"limit\"}`. Answers of models have the shape of OpenAI's or Anthropic's API.
- Errors are `{\"error\": {\"code\", \"reason\", \"message\", \"type\", \"param\", \"details\", \"request_id\", \"doc_url\"}}`.
  Branch on `reason`. 401: the key is missing or wrong. 402: wallet or budget cannot pay. 403: another kind of key or
  scope is needed. 429 and 503 come with `Retry-After`. Anthropic's paths answer errors in Anthropic's shape.
- Amounts of money are decimals with up to nine digits after the point, as JSON numbers or strings; never compute with them
  as floats.
- The examples read PLATFORM_ID, PLATFORM_KEY, END_USER_ID, END_USER_KEY and OPERATOR_KEY from the environment.
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::operations::all;

    #[test]
    fn every_endpoint_is_named_and_the_index_is_short() {
        let text = llms_full("https://gateway.example");
        for op in all() {
            let title = format!("\n## {} {}\n", op.verb.as_str(), op.path);
            assert!(text.contains(&title), "{}", op.id);
        }
        assert!(!text.contains("{API_BASE}"));
        assert!(llms("https://gateway.example").len() <= 10 << 10);
    }
}
