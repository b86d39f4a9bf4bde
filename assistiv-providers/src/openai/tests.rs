//! The codec against recorded exchanges (`tests/vectors` of the repository).

mod bridge;
mod embeddings;
mod frames;
mod requests;
mod spliced;
mod translated;

use assistiv_core::billing::Usage;
use assistiv_core::call::LimitField;
use assistiv_core::money::Markup;
use assistiv_core::provider::{
    ProviderErrorKind, Registered, Transport, TransportError, TransportErrorKind, UpstreamBody,
};
use assistiv_core::routing::Catalogue;
use serde_json::{Value, json};

use super::encode::{Upstream, encode};
use super::*;
use crate::vectors::{self, Codec, End, Outcome, replay_every_split};

fn request(body: &Value) -> InferenceRequest {
    InferenceRequest::parse(Operation::ChatCompletions, body.to_string().into()).unwrap()
}

fn upstream(model: &str) -> Upstream<'_> {
    Upstream {
        base_url: "https://api.example.com/v1",
        model,
        limit_field: LimitField::MaxTokens,
        output_limit: None,
    }
}

fn decoder(dialect: &Dialect, request: &InferenceRequest) -> Box<dyn Decoder> {
    let answer = Answer::new(&Arc::new(dialect.clone()), request, "public-name");
    if request.is_stream() {
        Box::new(StreamDecoder::new(answer))
    } else {
        Box::new(WholeDecoder::new(answer))
    }
}

/// The adapter as the vectors call it, with a target of the catalogue.
struct Adapter {
    provider: OpenAiCompatible,
    target: Target,
}

fn target(provider: &OpenAiCompatible, model: &str) -> Target {
    let registered = Registered {
        provider: Arc::new(provider.clone()),
        transport: Arc::new(Nowhere),
        needs_credential: true,
    };
    let at = "2026-11-23T12:00:00Z".parse().unwrap();
    Target::for_testing(&Catalogue::built_in().unwrap(), model, registered, at).unwrap()
}

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

impl Codec for Adapter {
    fn model(&self) -> String {
        self.target.slug().to_string()
    }

    fn encode(&self, request: &InferenceRequest) -> Result<Encoded, ProviderError> {
        self.provider.encode(request, &self.target)
    }

    fn classify(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> ProviderError {
        self.provider.classify(status, headers, body)
    }

    fn decoder(&self, request: &InferenceRequest) -> Box<dyn Decoder> {
        self.provider.decoder(request, &self.target)
    }

    fn cost(&self, usage: &Usage, tier: Option<&str>) -> Option<String> {
        let price = self.target.price(tier);
        let legs = price.cost(usage, Markup::default()).unwrap();
        Some(legs.wallet.to_string())
    }
}

fn adapter(provider: &OpenAiCompatible, vector: &Value) -> Box<dyn Codec> {
    let model = vector["request"]["model"].as_str().unwrap();
    Box::new(Adapter {
        target: target(provider, model),
        provider: provider.clone(),
    })
}

#[test]
fn every_vector_comes_out_as_expected() {
    for (provider, of, count) in [
        ("openai", OpenAiCompatible::openai(), 23),
        ("xai", OpenAiCompatible::xai(), 8),
    ] {
        let ran = vectors::run(provider, |vector| adapter(&of, vector));
        assert_eq!(ran, count, "{provider}");
    }
}

#[test]
fn damaged_answers_are_read_or_refused_however_they_are_cut() {
    let openai = OpenAiCompatible::openai();
    assert!(vectors::mangle::run("openai", |vector| adapter(&openai, vector)) > 0);
}

#[test]
fn xais_damaged_answers_are_read_or_refused_however_they_are_cut() {
    let xai = OpenAiCompatible::xai();
    assert!(vectors::mangle::run("xai", |vector| adapter(&xai, vector)) > 0);
}
