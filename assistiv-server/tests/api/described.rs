//! Holds every answer that the tests of this folder see against the OpenAPI document of the same program.

use std::collections::HashMap;
use std::sync::{LazyLock, OnceLock};

use assistiv_server::reference::openapi;
use http::{Method, Response, StatusCode};
use jsonschema::Validator;
use serde_json::{Value, json};

use crate::support::{App, STORES};

struct Described {
    paths: Vec<Path>,
    components: Value,
}

struct Path {
    /// `None` stands for a parameter.
    segments: Vec<Option<String>>,
    verbs: HashMap<String, Answers>,
}

/// By status; none where the body is not JSON.
type Answers = HashMap<String, Option<Answer>>;

/// A schema, and the validator that is made of it when it is needed.
struct Answer {
    schema: Value,
    validator: OnceLock<Validator>,
}

static DESCRIBED: LazyLock<Described> =
    LazyLock::new(|| Described::of(openapi("http://localhost")));

/// Fails unless the answer of an operation is one that the document promises.
#[track_caller]
pub(crate) fn check(method: &Method, path: &str, status: StatusCode, media: &str, body: &str) {
    let Some(operation) = DESCRIBED.operation(method, path) else {
        assert!(status.is_client_error(), "{method} {path} is not described");
        return;
    };
    let Some(answer) = operation.get(status.as_str()) else {
        panic!("{method} {path} is not described to answer {status}: {body}");
    };
    let (Some(answer), "application/json") = (answer, media) else {
        return;
    };
    let validator = answer
        .validator
        .get_or_init(|| DESCRIBED.validator(&answer.schema));
    let body: Value = serde_json::from_str(body).unwrap();
    let errors: Vec<_> = validator
        .iter_errors(&body)
        .map(|error| format!("{} at {}", error, error.instance_path()))
        .collect();
    assert!(
        errors.is_empty(),
        "{method} {path} {status}: {errors:#?} in {body:#}"
    );
}

/// The media type without its parameters.
pub(crate) fn media<B>(response: &Response<B>) -> String {
    let value = response.headers().get("content-type");
    let value = value
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    value
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_owned()
}

// === impl Described ===

impl Described {
    fn of(mut document: Value) -> Self {
        let mut components = document["components"].take();
        // What is not promised is not given either.
        for schema in components["schemas"].as_object_mut().unwrap().values_mut() {
            schema["additionalProperties"] = json!(false);
        }
        let paths = document["paths"].as_object().unwrap();
        let paths = paths.iter().map(|(path, verbs)| {
            let segments = path.split('/').map(|segment| {
                let is_parameter = segment.starts_with('{');
                (!is_parameter).then(|| segment.to_owned())
            });
            let verbs = verbs.as_object().unwrap().iter().map(|(verb, operation)| {
                let answers = operation["responses"].as_object().unwrap().iter();
                let answers = answers.map(|(status, answer)| (status.clone(), Answer::of(answer)));
                (verb.to_uppercase(), answers.collect())
            });
            Path {
                segments: segments.collect(),
                verbs: verbs.collect(),
            }
        });
        Self {
            paths: paths.collect(),
            components,
        }
    }

    fn validator(&self, schema: &Value) -> Validator {
        let mut schema = schema.clone();
        schema["components"] = self.components.clone();
        jsonschema::draft202012::new(&schema).unwrap()
    }

    /// The operation of a path; words go before parameters.
    fn operation(&self, method: &Method, path: &str) -> Option<&Answers> {
        let path = path.split('?').next().unwrap_or_default();
        let names: Vec<_> = path.split('/').collect();
        let fitting = self.paths.iter().filter(|path| path.fits(&names));
        let path =
            fitting.min_by_key(|path| path.segments.iter().filter(|it| it.is_none()).count())?;
        let verb = if method == Method::HEAD {
            "GET"
        } else {
            method.as_str()
        };
        path.verbs.get(verb)
    }
}

// === impl Path ===

impl Path {
    fn fits(&self, names: &[&str]) -> bool {
        let mut pairs = self.segments.iter().zip(names);
        self.segments.len() == names.len()
            && pairs
                .all(|(segment, name)| segment.as_deref().is_none_or(|segment| segment == *name))
    }
}

// === impl Answer ===

impl Answer {
    fn of(answer: &Value) -> Option<Self> {
        let schema = answer["content"].get("application/json")?["schema"].clone();
        Some(Self {
            schema,
            validator: OnceLock::new(),
        })
    }
}

#[tokio::test]
async fn the_documents_are_served() {
    let app = App::new(STORES[0]).await;
    let document = app.get("", "/v1/openapi.json").await.json();
    assert_eq!(document["openapi"], "3.1.0");
    let text = app.get("", "/llms-full.txt").await;
    assert_eq!(text.headers["content-type"], "text/plain; charset=utf-8");
    let paths = document["paths"].as_object().unwrap();
    for (path, verbs) in paths {
        for verb in verbs.as_object().unwrap().keys() {
            let title = format!("\n## {} {path}\n", verb.to_uppercase());
            assert!(text.text.contains(&title), "{title}");
        }
    }
    let index = app.get("", "/llms.txt").await;
    assert!(index.text.len() <= 10 << 10 && index.text.contains("/llms-full.txt"));
    let page = app.get("", "/docs").await;
    assert_eq!(page.headers["content-type"], "text/html; charset=utf-8");
    assert!(page.text.contains("id=\"read_wallet\""));
}

/// Whoever changes the API changes the committed document with it.
#[test]
fn the_committed_document_is_this_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi.json");
    let document = openapi("http://127.0.0.1:8080");
    let mut text = serde_json::to_string_pretty(&document).unwrap();
    text.push('\n');
    if std::env::var_os("ASSISTIV_WRITE_DOCS").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        committed == text,
        "docs/openapi.json is out of date: run the test with ASSISTIV_WRITE_DOCS=1"
    );
}
