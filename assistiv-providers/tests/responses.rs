//! Recorded exchanges of `/v1/responses` (`tests/vectors`), through whole gateways: what providers are sent, and
//! what callers get.

#![cfg(all(feature = "anthropic", feature = "google", feature = "openai"))]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may fail so")]

#[path = "../src/vectors/expect.rs"]
mod expect;

use std::path::Path;
use std::sync::{Arc, Mutex};

use assistiv_core::auth::PresentedKey;
use assistiv_core::llm_configs::CreateLlmConfig;
use assistiv_core::money::NanoUsd;
use assistiv_core::provider::{Provider, Registered, Transport, TransportError, UpstreamBody};
use assistiv_core::tenancy::CreatePlatform;
use assistiv_core::{Call, Gateway, Operation, Problem};
use assistiv_providers::anthropic::Anthropic;
use assistiv_providers::google::Google;
use assistiv_providers::openai::OpenAiCompatible;
use async_trait::async_trait;
use bytes::Bytes;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use serde_json::{Map, Value, json};
use tower::ServiceExt;

use self::expect::matches;

/// Answers as the vector says, and keeps what it was sent.
#[derive(Clone)]
struct Recorded {
    upstream: Value,
    seen: Arc<Mutex<Vec<http::Request<Bytes>>>>,
}

#[async_trait]
impl Transport for Recorded {
    async fn send(
        &self,
        request: http::Request<Bytes>,
    ) -> Result<http::Response<UpstreamBody>, TransportError> {
        self.seen.lock().unwrap().push(request);
        let answer = &self.upstream;
        let chunks: Vec<String> = match answer.get("body") {
            Some(body) => vec![body.to_string()],
            None => serde_json::from_value(answer["sse_chunks"].clone()).unwrap(),
        };
        let frames = chunks
            .into_iter()
            .map(|chunk| Ok(Frame::data(chunk.into())));
        let body = StreamBody::new(futures_util::stream::iter(frames));
        let mut response = http::Response::new(body.boxed_unsync());
        let status = u16::try_from(answer["status"].as_u64().unwrap()).unwrap();
        *response.status_mut() = status.try_into().unwrap();
        for (name, value) in answer["headers"].as_object().unwrap() {
            let name: http::HeaderName = name.parse().unwrap();
            let value = value.as_str().unwrap().parse().unwrap();
            response.headers_mut().insert(name, value);
        }
        Ok(response)
    }
}

async fn gateway(provider: &str, recorded: &Recorded) -> (Gateway, PresentedKey) {
    let adapter: Arc<dyn Provider> = match provider {
        "anthropic" => Arc::new(Anthropic),
        "google" => Arc::new(Google),
        _ => Arc::new(OpenAiCompatible::openai()),
    };
    let registered = Registered {
        provider: adapter,
        transport: Arc::new(recorded.clone()),
        needs_credential: true,
    };
    let builder = Gateway::builder().provider(provider.parse().unwrap(), registered);
    let gateway = builder.build().await.unwrap();
    let create = CreatePlatform {
        name: "Test".into(),
        initial_balance: NanoUsd::new(10_000_000_000),
        ..CreatePlatform::default()
    };
    let local = gateway.local_operator();
    let created = gateway.tenancy().run(&local, (), create).await.unwrap();
    let config = CreateLlmConfig {
        provider: provider.parse().unwrap(),
        api_key: "sk-upstream".into(),
        name: None,
        priority: 100,
        models: None,
        is_default: true,
    };
    let configs = gateway.llm_configs();
    configs
        .run(&local, created.platform.id, config)
        .await
        .unwrap();
    (gateway, created.raw_key)
}

fn check_sent(name: &str, expected: &Value, sent: &http::Request<Bytes>) {
    let path = json!(sent.uri().path());
    assert!(matches(&expected["path"], Some(&path)), "{name}: {path}");
    let mut body: Value = serde_json::from_slice(sent.body()).unwrap();
    if expected["body"]["input"].is_string() {
        // A text alone is the same as a message of the user that holds nothing else.
        let [message] = &body["input"].as_array().unwrap()[..] else {
            panic!("{name}: one message: {body}")
        };
        assert_eq!(message["role"], "user", "{name}");
        body["input"] = message["content"][0]["text"].clone();
    }
    assert!(matches(&expected["body"], Some(&body)), "{name}: {body}");
    for pointer in expected["body_absent"].as_array().into_iter().flatten() {
        assert!(
            body.pointer(pointer.as_str().unwrap()).is_none(),
            "{name}: {body}"
        );
    }
    let any = expected["body_any"].as_array().cloned().unwrap_or_default();
    let holds = |pair: &Value| matches(&pair[1], body.pointer(pair[0].as_str().unwrap()));
    assert!(any.is_empty() || any.iter().any(holds), "{name}: {body}");
}

/// Reads a stream as clients do, checking what they rely on.
fn assemble(name: &str, stream: &str) -> Value {
    let mut last = Value::Null;
    let mut deltas: Map<String, Value> = Map::new();
    let mut added = Vec::new();
    for (number, event) in stream.split_terminator("\n\n").enumerate() {
        let (kind, data) = event.split_once('\n').unwrap();
        let data: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(
            kind,
            format!("event: {}", data["type"].as_str().unwrap()),
            "{name}"
        );
        assert_eq!(data["sequence_number"], number, "{name}");
        let kind = data["type"].as_str().unwrap();
        assert_eq!(number == 0, kind == "response.created", "{name}");
        assert!(
            !last["type"].as_str().is_some_and(is_end),
            "{name}: after the end"
        );
        let place = format!("{}/{}", data["output_index"], data["content_index"]);
        if let Some(delta) = data["delta"].as_str() {
            let text = deltas.entry(place).or_insert_with(|| json!(""));
            *text = json!(format!("{}{delta}", text.as_str().unwrap()));
        } else if let Some(done) = data.get("text").or(data.get("arguments")) {
            assert_eq!(deltas[&place], *done, "{name}");
        }
        match kind {
            "response.output_item.added" => added.push(data["item"]["id"].clone()),
            "response.output_item.done" => assert_eq!(added.last(), Some(&data["item"]["id"])),
            _ => {}
        }
        last = data;
    }
    assert!(is_end(last["type"].as_str().unwrap()), "{name}: {last}");
    let mut assembled = last["response"].clone();
    assembled["final_event"] = last["type"].clone();
    assembled
}

fn is_end(kind: &str) -> bool {
    [
        "response.completed",
        "response.incomplete",
        "response.failed",
    ]
    .contains(&kind)
}

async fn check(vector: &Value) {
    let name = vector["name"].as_str().unwrap();
    let recorded = Recorded {
        upstream: vector["upstream"].clone(),
        seen: Arc::default(),
    };
    let (gateway, key) = gateway(vector["provider"].as_str().unwrap(), &recorded).await;
    let call = Call::new(key, Operation::Responses, vector["request"].to_string());
    let answer = gateway.inference().oneshot(call).await;
    let expected = &vector["expected_client"];
    match answer {
        Err(error) => {
            let problem = Problem::from(&error);
            assert_eq!(
                expected["status"],
                problem.status().as_u16(),
                "{name}: {error:?}"
            );
            let body: Value =
                serde_json::from_str(&problem.to_json("req_1", "https://example.com")).unwrap();
            assert!(matches(&expected["body"], Some(&body)), "{name}: {body}");
        }
        Ok(answer) => {
            let body = answer.into_body().collect().await.unwrap().to_bytes();
            let text = std::str::from_utf8(&body).unwrap();
            if let Some(assembled) = expected.get("assembled") {
                let shown = assemble(name, text);
                assert!(matches(assembled, Some(&shown)), "{name}: {shown}");
            } else {
                let shown: Value = serde_json::from_str(text).unwrap();
                assert!(matches(&expected["body"], Some(&shown)), "{name}: {shown}");
                assert_eq!(shown["model"], vector["request"]["model"], "{name}");
            }
        }
    }
    let seen = recorded.seen.lock().unwrap();
    match &vector["expected_upstream_request"] {
        Value::Null => assert!(seen.is_empty(), "{name}"),
        expected => check_sent(name, expected, &seen[0]),
    }
}

#[tokio::test]
async fn every_vector_comes_out_as_expected() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors");
    let mut count = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let file = path.file_name().unwrap().to_str().unwrap();
        if file.starts_with("responses-") {
            check(&serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap()).await;
            count += 1;
        }
    }
    assert_eq!(count, 13);
}
