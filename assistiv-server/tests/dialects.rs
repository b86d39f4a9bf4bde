//! The table of `docs/dialects.md`: what becomes of each feature of each dialect at each provider. It is made of what
//! the adapters do, so that it cannot say anything else. `ASSISTIV_WRITE_DOCS=1` writes it.

#![expect(clippy::unwrap_used, reason = "a test and its helpers")]

use std::fmt::Write;
use std::path::Path;

use assistiv_core::call::InferenceRequest;
use assistiv_core::provider::{ProviderError, Registered, Support};
use assistiv_core::routing::{Catalogue, ModelMode, ProviderSlug, Target};
use assistiv_core::{Error, Operation, Problem};
use assistiv_server::config::Config;
use assistiv_server::node::Node;
use serde_json::{Value, json};

const BEGIN: &str = "<!-- table: begin -->\n";
const END: &str = "<!-- table: end -->\n";

/// The models that stand for their providers; others are taken by name.
const MODELS: [&str; 7] = [
    "gpt-4o-mini",
    "claude-haiku-4-5",
    "gemini-2.5-flash",
    "grok-4.3",
    "text-embedding-3-small",
    "gemini-embedding-001",
    "echo",
];

/// A feature, and what it adds to the plainest request.
type Feature = (&'static str, Value);

const PICTURE: &str = "data:image/png;base64,AAAA";

fn schema() -> Value {
    json!({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": false})
}

fn user(content: &Value) -> Value {
    json!({"messages": [{"role": "user", "content": content}]})
}

/// The plainest request of a dialect.
fn plain(operation: Operation) -> Value {
    let message = user(&json!("x"));
    match operation {
        Operation::ChatCompletions | Operation::CountTokens => message,
        Operation::Messages => with(message, &json!({"max_tokens": 4000})),
        Operation::Responses | Operation::Embeddings => json!({"input": "x"}),
        other => panic!("say what the plainest request of {other:?} is"),
    }
}

fn features(operation: Operation) -> Vec<Feature> {
    match operation {
        Operation::ChatCompletions => chat(),
        Operation::Messages => messages(),
        Operation::CountTokens => vec![("tokens of a prompt", json!({}))],
        Operation::Embeddings => vec![
            ("texts", json!({"input": ["a", "b"]})),
            ("token ids", json!({"input": [1, 2]})),
            (
                "`encoding_format` base64",
                json!({"encoding_format": "base64"}),
            ),
            ("`dimensions`", json!({"dimensions": 4})),
        ],
        Operation::Responses => responses(),
        other => panic!("say what the features of {other:?} are"),
    }
}

fn chat() -> Vec<Feature> {
    let function = json!({"name": "f", "parameters": schema()});
    let tools = json!([{"type": "function", "function": function}]);
    let call = json!({"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}});
    let looped = json!([
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": null, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "a", "content": "1"},
    ]);
    let schema = json!({"name": "s", "schema": schema(), "strict": true});
    let file = json!({"filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA"});
    vec![
        ("text", json!({})),
        ("stream", json!({"stream": true})),
        ("tools", json!({"tools": tools})),
        (
            "`tool_choice` required",
            json!({"tools": tools, "tool_choice": "required"}),
        ),
        (
            "results of tools",
            json!({"tools": tools, "messages": looped}),
        ),
        (
            "picture, inline",
            user(&json!([{"type": "image_url", "image_url": {"url": PICTURE}}])),
        ),
        (
            "picture, by URL",
            user(
                &json!([{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]),
            ),
        ),
        (
            "sound",
            user(
                &json!([{"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}]),
            ),
        ),
        (
            "document, inline",
            user(&json!([{"type": "file", "file": file}])),
        ),
        (
            "`response_format` json_object",
            json!({"response_format": {"type": "json_object"}}),
        ),
        (
            "`response_format` json_schema",
            json!({"response_format": {"type": "json_schema", "json_schema": schema}}),
        ),
        ("`reasoning_effort`", json!({"reasoning_effort": "low"})),
        ("`temperature`", json!({"temperature": 0.5})),
        ("`top_k`", json!({"top_k": 5})),
        ("`stop`", json!({"stop": ["END"]})),
        ("`seed`", json!({"seed": 1})),
        ("`frequency_penalty`", json!({"frequency_penalty": 0.5})),
        ("`logit_bias`", json!({"logit_bias": {"1": 1}})),
        ("`logprobs`", json!({"logprobs": true})),
        ("`n` above 1", json!({"n": 2})),
        ("unknown members", json!({"new_thing": 1})),
    ]
}

fn messages() -> Vec<Feature> {
    let tools = json!([{"name": "f", "input_schema": schema()}]);
    let base64 =
        |media_type: &str| json!({"type": "base64", "media_type": media_type, "data": "AAAA"});
    let url = json!({"type": "url", "url": "https://example.com/a.png"});
    let block = |kind: &str, source: &Value| user(&json!([{"type": kind, "source": source}]));
    let looped = |result: Value| {
        json!({"tools": tools, "messages": [
            {"role": "user", "content": "x"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "f", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": result, "is_error": true}]},
        ]})
    };
    let thought = json!({"messages": [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "t", "signature": "s"}, {"type": "text", "text": "y"}]},
        {"role": "user", "content": "z"},
    ]});
    vec![
        ("text", json!({})),
        ("stream", json!({"stream": true})),
        (
            "`system` in blocks, `cache_control`",
            json!({"system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}]}),
        ),
        ("tools", json!({"tools": tools})),
        (
            "`tool_choice` any",
            json!({"tools": tools, "tool_choice": {"type": "any"}}),
        ),
        (
            "`disable_parallel_tool_use`",
            json!({"tools": tools, "tool_choice": {"type": "auto", "disable_parallel_tool_use": true}}),
        ),
        ("results of tools", looped(json!("1"))),
        (
            "results of tools with pictures",
            looped(json!([{"type": "image", "source": base64("image/png")}])),
        ),
        (
            "tools that Anthropic runs",
            json!({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}),
        ),
        ("picture, inline", block("image", &base64("image/png"))),
        ("picture, by URL", block("image", &url)),
        (
            "document, inline",
            block("document", &base64("application/pdf")),
        ),
        (
            "document of text",
            block(
                "document",
                &json!({"type": "text", "media_type": "text/plain", "data": "x"}),
            ),
        ),
        ("document, by URL", block("document", &url)),
        (
            "files by reference",
            block("image", &json!({"type": "file", "file_id": "f"})),
        ),
        ("thoughts of earlier turns", thought),
        (
            "`thinking`",
            json!({"thinking": {"type": "enabled", "budget_tokens": 2000}}),
        ),
        (
            "`output_config.format`",
            json!({"output_config": {"format": {"type": "json_schema", "schema": schema()}}}),
        ),
        ("`temperature`", json!({"temperature": 0.5})),
        ("`top_k`", json!({"top_k": 5})),
        ("`stop_sequences`", json!({"stop_sequences": ["END"]})),
        ("`service_tier`", json!({"service_tier": "standard_only"})),
        ("`metadata`", json!({"metadata": {"user_id": "u"}})),
        ("`container`", json!({"container": "c"})),
        ("unknown members", json!({"new_thing": 1})),
    ]
}

fn responses() -> Vec<Feature> {
    let tools = json!([{"type": "function", "name": "f", "parameters": schema()}]);
    let format = json!({"type": "json_schema", "name": "s", "schema": schema(), "strict": true});
    let part = |part: Value| json!({"input": [{"role": "user", "content": [part]}]});
    let looped = json!([
        {"role": "user", "content": "x"},
        {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "a", "output": "1"},
    ]);
    vec![
        ("text", json!({})),
        ("stream", json!({"stream": true})),
        ("`instructions`", json!({"instructions": "s"})),
        ("tools", json!({"tools": tools})),
        (
            "`tool_choice` required",
            json!({"tools": tools, "tool_choice": "required"}),
        ),
        ("results of tools", json!({"tools": tools, "input": looped})),
        (
            "picture, inline",
            part(json!({"type": "input_image", "image_url": PICTURE})),
        ),
        (
            "`text.format` json_schema",
            json!({"text": {"format": format}}),
        ),
        (
            "`reasoning.effort`",
            json!({"reasoning": {"effort": "low"}}),
        ),
        ("`temperature`", json!({"temperature": 0.5})),
        ("`top_p`", json!({"top_p": 0.5})),
        ("`max_output_tokens`", json!({"max_output_tokens": 64})),
        (
            "tools in the form of chat",
            json!({"tools": [{"type": "function", "function": {"name": "f", "parameters": schema()}}]}),
        ),
        (
            "`tool_choice` of one function",
            json!({"tools": tools, "tool_choice": {"type": "function", "name": "f"}}),
        ),
        (
            "`parallel_tool_calls` off",
            json!({"tools": tools, "parallel_tool_calls": false}),
        ),
        (
            "tools that OpenAI runs",
            json!({"tools": [{"type": "web_search"}]}),
        ),
        (
            "picture, by URL",
            part(json!({"type": "input_image", "image_url": "https://example.com/a.png"})),
        ),
        (
            "document, inline",
            part(
                json!({"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}),
            ),
        ),
        (
            "`text.format` json_object",
            json!({"text": {"format": {"type": "json_object"}}, "input": "json"}),
        ),
        ("`service_tier`", json!({"service_tier": "flex"})),
        ("`metadata`", json!({"metadata": {"a": "b"}})),
        ("`truncation`", json!({"truncation": "auto"})),
        ("unknown members", json!({"new_thing": 1})),
    ]
}

fn with(mut body: Value, more: &Value) -> Value {
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

/// A provider with the models that stand for it.
struct Column {
    slug: ProviderSlug,
    registered: Registered,
    targets: Vec<(ModelMode, Target)>,
}

fn columns(
    catalogue: &Catalogue,
    find: impl Fn(&ProviderSlug) -> Option<Registered>,
) -> Vec<Column> {
    let mut models: Vec<_> = catalogue.models().collect();
    // Those that are named come first.
    models.sort_by_key(|model| {
        let at = MODELS.iter().position(|name| *name == model.slug.as_str());
        (at.unwrap_or(MODELS.len()), model.slug.to_string())
    });
    let mut columns: Vec<Column> = Vec::new();
    let at = "2026-11-23T12:00:00Z".parse().unwrap();
    for model in models {
        let slug = &model.routes[0].provider;
        let Some(registered) = find(slug) else {
            continue;
        };
        let slug_of_model = model.slug.as_str();
        let Some(target) = Target::for_testing(catalogue, slug_of_model, registered.clone(), at)
        else {
            continue;
        };
        let known = columns.iter().position(|column| column.slug == *slug);
        let column = known.unwrap_or_else(|| {
            columns.push(Column {
                slug: slug.clone(),
                registered,
                targets: Vec::new(),
            });
            columns.len() - 1
        });
        let targets = &mut columns[column].targets;
        if targets.iter().all(|(mode, _)| *mode != model.mode) {
            targets.push((model.mode, target));
        }
    }
    columns
}

fn cell(operation: Operation, feature: &Value, column: &Column) -> String {
    let provider = &column.registered.provider;
    let mode = match operation {
        Operation::Embeddings => ModelMode::Embedding,
        _ => ModelMode::Chat,
    };
    let target = column.targets.iter().find(|(it, _)| *it == mode);
    match (operation, provider.support(operation)) {
        (Operation::CountTokens, Support::Unsupported) => return "estimated".into(),
        (_, Support::Unsupported) => return "`model_not_found`".into(),
        _ => {}
    }
    let Some((_, target)) = target else {
        return "`unsupported_endpoint`".into();
    };
    let body = with(plain(operation), feature);
    let body = with(body, &json!({"model": target.slug().as_str()}));
    let request = match InferenceRequest::parse(operation, body.to_string().into()) {
        Ok(request) => request,
        Err(error) => return reason(&error.into()),
    };
    match provider.encode(&request, target) {
        Err(error) => refusal(error),
        Ok(encoded) if !encoded.dropped.is_empty() => "dropped".into(),
        Ok(_) if provider.is_rewritten(&request, target) => "translated".into(),
        Ok(_) => "native".into(),
    }
}

fn refusal(error: ProviderError) -> String {
    reason(&error.into())
}

fn reason(error: &Error) -> String {
    format!("`{}`", Problem::from(error).reason.as_str())
}

fn table(columns: &[Column]) -> String {
    let mut text = String::new();
    for operation in Operation::SERVED {
        let operation = *operation;
        write!(text, "\n## `POST {}`\n\n| Feature |", operation.path()).unwrap();
        for column in columns {
            write!(text, " {} |", column.slug).unwrap();
        }
        text.push_str("\n|---|");
        text.push_str(&"---|".repeat(columns.len()));
        text.push('\n');
        for (name, feature) in features(operation) {
            write!(text, "| {name} |").unwrap();
            for column in columns {
                write!(text, " {} |", cell(operation, &feature, column)).unwrap();
            }
            text.push('\n');
        }
    }
    text.push('\n');
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_table_in_the_documentation_says_what_the_adapters_do() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = Config::default();
    config.server.data_dir = dir.path().join("data");
    let node = Node::open(&config).await.unwrap();
    let gateway = node.gateway().clone();
    let catalogue = gateway.router().catalogue();
    let columns = columns(&catalogue, |slug| gateway.providers().find(slug).cloned());
    assert!(
        columns.len() >= 4,
        "every adapter of the server has a column"
    );
    let made = table(&columns);

    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/dialects.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (head, rest) = page.split_once(BEGIN).expect("the page has a table");
    let (written, tail) = rest.split_once(END).expect("the table has an end");
    if std::env::var_os("ASSISTIV_WRITE_DOCS").is_some() {
        std::fs::write(&path, format!("{head}{BEGIN}{made}{END}{tail}")).unwrap();
        return;
    }
    for (line, expected) in written.lines().zip(made.lines()) {
        assert_eq!(
            line, expected,
            "docs/dialects.md is out of date: ASSISTIV_WRITE_DOCS=1 writes it anew"
        );
    }
    assert_eq!(
        written, made,
        "docs/dialects.md is out of date: ASSISTIV_WRITE_DOCS=1 writes it anew"
    );
}
