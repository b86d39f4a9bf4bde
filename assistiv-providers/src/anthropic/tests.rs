//! The codec against recorded exchanges (`tests/vectors` of the repository).

mod answers;
mod native;
mod requests;

use std::sync::Arc;

use assistiv_core::billing::Usage;
use assistiv_core::money::Markup;
use assistiv_core::provider::{
    ProviderErrorKind, Registered, Transport, TransportError, TransportErrorKind, UpstreamBody,
};
use assistiv_core::routing::Catalogue;
use serde_json::{Value, json};

use super::*;
use crate::vectors::{self, Codec};

/// The adapter as the vectors call it, with a target of the catalogue.
struct Adapter(Target);

/// A target wants a transport.
struct Nowhere;

#[async_trait]
impl Transport for Nowhere {
    async fn send(
        &self,
        _: http::Request<Bytes>,
    ) -> Result<http::Response<UpstreamBody>, TransportError> {
        Err(TransportError::new(TransportErrorKind::Connect))
    }
}

fn target(model: &str) -> Target {
    let registered = Registered {
        provider: Arc::new(Anthropic),
        transport: Arc::new(Nowhere),
        needs_credential: true,
    };
    let at = "2026-11-23T12:00:00Z".parse().unwrap();
    Target::for_testing(&Catalogue::built_in().unwrap(), model, registered, at).unwrap()
}

impl Codec for Adapter {
    fn model(&self) -> String {
        self.0.slug().to_string()
    }

    fn encode(&self, request: &InferenceRequest) -> Result<Encoded, ProviderError> {
        Anthropic.encode(request, &self.0)
    }

    fn classify(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> ProviderError {
        Anthropic.classify(status, headers, body)
    }

    fn decoder(&self, request: &InferenceRequest) -> Box<dyn Decoder> {
        Anthropic.decoder(request, &self.0)
    }

    fn cost(&self, usage: &Usage, tier: Option<&str>) -> Option<String> {
        let price = self.0.price(tier);
        let legs = price.cost(usage, Markup::default()).unwrap();
        Some(legs.wallet.to_string())
    }
}

fn adapter(vector: &Value) -> Box<dyn Codec> {
    let model = vector["request"]["model"].as_str().unwrap();
    Box::new(Adapter(target(model)))
}

#[test]
fn every_vector_comes_out_as_expected() {
    assert_eq!(vectors::run("anthropic", adapter), 29);
}

#[test]
fn damaged_answers_are_read_or_refused_however_they_are_cut() {
    assert!(vectors::mangle::run("anthropic", adapter) > 0);
}

#[tokio::test]
async fn a_key_never_writes_headers_of_its_own() {
    let request = || http::Request::new(Bytes::new());
    for key in ["", "sk-a\r\nx: y", "sk-a\0", "sk-a\t", "sk-\u{e4}"] {
        let refused = Anthropic
            .authorize(&mut request(), &Credential::new(key))
            .await;
        assert_eq!(
            refused.unwrap_err().kind(),
            ProviderErrorKind::Auth,
            "{key:?}"
        );
    }
    let mut signed = request();
    let key = Credential::new("sk-ant-1");
    Anthropic.authorize(&mut signed, &key).await.unwrap();
    let value = &signed.headers()["x-api-key"];
    assert!(value.is_sensitive());
    assert_eq!(value, "sk-ant-1");
    assert!(!signed.headers().contains_key("authorization"));
}
