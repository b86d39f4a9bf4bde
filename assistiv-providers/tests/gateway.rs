//! The adapters in a gateway: real targets, a real plan, and the charge at the end.

#![cfg(all(feature = "echo", feature = "openai"))]
#![expect(clippy::unwrap_used, reason = "a test may fail so")]

use std::sync::{Arc, Mutex};

use assistiv_core::auth::PresentedKey;
use assistiv_core::id::PlatformId;
use assistiv_core::llm_configs::CreateLlmConfig;
use assistiv_core::money::NanoUsd;
use assistiv_core::provider::{Registered, Transport, TransportError, UpstreamBody, full_body};
use assistiv_core::routing::Catalogue;
use assistiv_core::tenancy::CreatePlatform;
use assistiv_core::{Call, Gateway, GatewayBuilder, Operation};
use assistiv_providers::echo::Echo;
use assistiv_providers::openai::OpenAiCompatible;
use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::{Service, ServiceExt};

/// Keeps the last request, and answers each with the same bytes.
#[derive(Clone)]
struct Recorded {
    answer: Bytes,
    seen: Arc<Mutex<Option<http::Request<Bytes>>>>,
}

#[async_trait]
impl Transport for Recorded {
    async fn send(
        &self,
        request: http::Request<Bytes>,
    ) -> Result<http::Response<UpstreamBody>, TransportError> {
        *self.seen.lock().unwrap() = Some(request);
        Ok(http::Response::new(full_body(self.answer.clone())))
    }
}

/// A gateway with one platform, whose key for OpenAI is `sk-upstream`.
async fn gateway(answer: &'static str) -> (Gateway, PresentedKey, Recorded) {
    let recorded = Recorded {
        answer: answer.into(),
        seen: Arc::default(),
    };
    let openai = Registered {
        provider: Arc::new(OpenAiCompatible::openai()),
        transport: Arc::new(recorded.clone()),
        needs_credential: true,
    };
    let builder = Gateway::builder()
        .provider("echo".parse().unwrap(), Echo::registered())
        .provider("openai".parse().unwrap(), openai);
    let (gateway, key, _) = with_platform(builder, "openai").await;
    (gateway, key, recorded)
}

/// A gateway with one platform, whose key for a provider is `sk-upstream`.
async fn with_platform(
    builder: GatewayBuilder,
    provider: &str,
) -> (Gateway, PresentedKey, PlatformId) {
    let gateway = builder.build().await.unwrap();
    let create = CreatePlatform {
        name: "Test".into(),
        slug: None,
        settings: Default::default(),
        initial_balance: NanoUsd::new(10_000_000_000),
    };
    let created = gateway
        .tenancy()
        .run(&gateway.local_operator(), (), create)
        .await
        .unwrap();
    let config = CreateLlmConfig {
        provider: provider.parse().unwrap(),
        api_key: "sk-upstream".into(),
        name: None,
        priority: 100,
        models: None,
        is_default: true,
    };
    let principal = gateway.principal(&created.raw_key).await.unwrap();
    gateway
        .llm_configs()
        .run(&principal, created.platform.id, config)
        .await
        .unwrap();
    (gateway, created.raw_key, created.platform.id)
}

async fn call(gateway: &Gateway, key: &PresentedKey, body: Value) -> String {
    let call = Call::new(key.clone(), Operation::ChatCompletions, body.to_string());
    let mut service = gateway.inference();
    let answer = service.ready().await.unwrap().call(call).await.unwrap();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.into()).unwrap()
}

/// The chunks of a stream, and whether it was ended.
fn chunks(stream: &str) -> (Vec<Value>, bool) {
    let frames = stream
        .split_terminator("\n\n")
        .filter_map(|event| event.strip_prefix("data: "));
    let (done, chunks): (Vec<&str>, Vec<&str>) = frames.partition(|frame| *frame == "[DONE]");
    let read = chunks
        .iter()
        .map(|chunk| serde_json::from_str(chunk).unwrap());
    (read.collect(), done.len() == 1)
}

#[tokio::test]
async fn echo_answers_whole_and_streamed() {
    let (gateway, key, _) = gateway("").await;
    let mut body =
        json!({ "model": "echo", "messages": [{ "role": "user", "content": "one two three" }] });
    let answer: Value = serde_json::from_str(&call(&gateway, &key, body.clone()).await).unwrap();
    assert_eq!(answer["choices"][0]["message"]["content"], "one two three");
    assert_eq!(answer["choices"][0]["finish_reason"], "stop");
    assert_eq!(
        (
            &answer["usage"]["prompt_tokens"],
            &answer["usage"]["completion_tokens"]
        ),
        (&json!(3), &json!(3))
    );

    body["stream"] = true.into();
    body["max_tokens"] = 2.into();
    let (chunks, done) = chunks(&call(&gateway, &key, body).await);
    let text: String = chunks
        .iter()
        .filter_map(|c| c["choices"][0]["delta"]["content"].as_str())
        .collect();
    assert_eq!((text.as_str(), done), ("one two ", true));
    assert_eq!(
        chunks.last().unwrap()["choices"][0]["finish_reason"],
        "length"
    );
}

#[tokio::test]
async fn openai_is_called_with_the_platforms_key_and_answers_in_the_callers_name() {
    let (gateway, key, recorded) = gateway(concat!(
        "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m-2026\",",
        "\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"Hi\"}}]}\n\n",
        "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m-2026\",",
        "\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
        "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m-2026\",",
        "\"choices\":[],\"usage\":{\"prompt_tokens\":4,\"completion_tokens\":1,\"total_tokens\":5}}\n\n",
        "data: [DONE]\n\n",
    ))
    .await;
    let body = json!({
        "model": "gpt-4o-mini", "stream": true, "messages": [{ "role": "user", "content": "Hello" }],
    });
    let (chunks, done) = chunks(&call(&gateway, &key, body).await);
    assert!(done && chunks.len() == 2, "{chunks:?}");
    assert!(chunks.iter().all(|chunk| chunk["model"] == "gpt-4o-mini"));

    let sent = recorded.seen.lock().unwrap().take().unwrap();
    assert_eq!(sent.headers()["authorization"], "Bearer sk-upstream");
    assert!(sent.headers()["authorization"].is_sensitive());
    assert_eq!(sent.uri().path(), "/v1/chat/completions");
    assert!(!format!("{sent:?}").contains(key.reveal()));
    let sent: Value = serde_json::from_slice(sent.body()).unwrap();
    assert_eq!(sent["stream_options"]["include_usage"], true);
}

#[tokio::test]
async fn a_server_of_the_same_format_needs_a_catalogue_and_no_code() {
    let recorded = Recorded {
        answer: concat!(
            r#"{"id":"c","object":"chat.completion","created":1,"model":"acme-1-large","choices":[{"index":0,"#,
            r#""message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}],"#,
            r#""usage":{"prompt_tokens":1000,"completion_tokens":100,"total_tokens":1100}}"#
        )
        .into(),
        seen: Arc::default(),
    };
    let catalogue = Catalogue::built_in().unwrap().extended(
        r#"{
            "providers": [{ "slug": "acme", "name": "Acme", "base_url": "https://llm.acme.example/api/v1" }],
            "models": [{ "slug": "acme-1", "released": "2026-01-01T00:00:00Z", "max_output_tokens": 4096, "routes": [
                { "provider": "acme", "provider_model_id": "acme-1-large", "prices": [
                    { "effective_from": "2026-01-01T00:00:00Z", "rates": { "input": "0.50", "output": "1.50" } }] }] }]
        }"#,
    );
    let acme = Registered {
        provider: Arc::new(OpenAiCompatible::compatible("acme")),
        transport: Arc::new(recorded.clone()),
        needs_credential: true,
    };
    let builder = Gateway::builder()
        .catalogue(catalogue.unwrap())
        .provider("acme".parse().unwrap(), acme);
    let (gateway, key, platform) = with_platform(builder, "acme").await;
    let body = json!({ "model": "acme-1", "top_k": 5, "messages": [{ "role": "user", "content": "Hello" }] });
    let answer: Value = serde_json::from_str(&call(&gateway, &key, body).await).unwrap();
    assert_eq!(answer["model"], "acme-1");
    assert_eq!(answer["choices"][0]["message"]["content"], "Hi");

    let sent = recorded.seen.lock().unwrap().take().unwrap();
    assert_eq!(
        sent.uri(),
        "https://llm.acme.example/api/v1/chat/completions"
    );
    assert_eq!(sent.headers()["authorization"], "Bearer sk-upstream");
    let sent: Value = serde_json::from_slice(sent.body()).unwrap();
    assert_eq!(
        (&sent["model"], &sent["top_k"]),
        (&json!("acme-1-large"), &json!(5))
    );
    let scope = gateway.local_operator().manage(platform).unwrap();
    let wallet = gateway.stores().ledger.wallet(&scope).await.unwrap();
    assert_eq!(
        wallet.balance.get(),
        10_000_000_000 - 1000 * 500 - 100 * 1500
    );
}
