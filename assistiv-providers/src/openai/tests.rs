//! The codec against recorded exchanges (`tests/vectors` of the repository).

mod frames;
mod requests;

use assistiv_core::call::LimitField;
use assistiv_core::provider::ProviderErrorKind;
use serde_json::{Value, json};

use super::encode::{Upstream, encode};
use super::*;
use crate::vectors::{self, Codec, End, Outcome, replay_every_split};

/// Parameters that a planner takes out by what a model accepts; the codec passes them on.
const PLANNED: [&str; 4] = [
    "/temperature",
    "/stop",
    "/frequency_penalty",
    "/presence_penalty",
];

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

/// The codec as the vectors call it.
struct OpenAi {
    dialect: Dialect,
    limit_field: LimitField,
}

impl Codec for OpenAi {
    fn model(&self) -> String {
        "public-name".to_owned()
    }

    fn encode(&self, request: &InferenceRequest) -> Result<Encoded, ProviderError> {
        let upstream = Upstream {
            limit_field: self.limit_field,
            ..upstream(request.model())
        };
        encode(&self.dialect, request, upstream).map(Encoded::from)
    }

    fn classify(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> ProviderError {
        OpenAiCompatible::new(self.dialect.clone()).classify(status, headers, body)
    }

    fn decoder(&self, request: &InferenceRequest) -> Box<dyn Decoder> {
        decoder(&self.dialect, request)
    }

    fn is_planned(&self, pointer: &str) -> bool {
        PLANNED.contains(&pointer)
    }
}

#[test]
fn every_vector_comes_out_as_expected() {
    for (provider, dialect, count) in [
        ("openai", Dialect::openai(), 21),
        ("xai", Dialect::xai(), 8),
    ] {
        let ran = vectors::run(provider, |vector| {
            let renames = vector["name"] == "openai-016-max-tokens-rename";
            let bridged = vector["expected_upstream_request"]["path"] == "/v1/responses";
            let codec = OpenAi {
                dialect: dialect.clone(),
                limit_field: match renames {
                    true => LimitField::MaxCompletionTokens,
                    false => LimitField::MaxTokens,
                },
            };
            (!bridged).then(|| Box::new(codec) as Box<dyn Codec>)
        });
        assert_eq!(ran, count, "{provider}");
    }
}
