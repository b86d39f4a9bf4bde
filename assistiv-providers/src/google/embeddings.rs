//! Embeddings: OpenAI's request as batches of Gemini's, and the vectors back in their order.
//!
//! Gemini API reference, "Embeddings", `batchEmbedContents`, read on 2026-11-23. It knows texts alone, and vectors as
//! numbers alone. Where it does not say how many tokens a batch had, the gateway's own count is charged.

use assistiv_core::billing::Usage;
use assistiv_core::call::InferenceRequest;
use assistiv_core::json;
use assistiv_core::provider::{Decoder, Encoded, Output, ProviderError, ProviderErrorKind as Kind};
use assistiv_core::routing::Target;
use bytes::{Bytes, BytesMut};
use http::Method;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::answer::malformed;
use super::classify;
use super::encode::failed;
use crate::vector;

/// The most texts that one batch takes.
const BATCH_MAX: usize = 100;
/// The longest body: a batch of vectors of 3,072 numbers each, as text.
const BODY_BYTES_MAX: usize = 16 << 20;

#[derive(Serialize)]
struct Batch<'a> {
    requests: Vec<Embed<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Embed<'a> {
    model: &'a str,
    content: Content<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_dimensionality: Option<u64>,
}

#[derive(Serialize)]
struct Content<'a> {
    parts: [Part<'a>; 1],
}

#[derive(Serialize)]
struct Part<'a> {
    text: &'a str,
}

/// One text, or several.
#[derive(Deserialize)]
#[serde(untagged)]
enum Input {
    Text(String),
    Texts(Vec<String>),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
    #[serde(borrow, default)]
    embeddings: Vec<Vector<'a>>,
    #[serde(default)]
    usage_metadata: Option<Report>,
}

#[derive(Deserialize)]
struct Vector<'a> {
    #[serde(borrow)]
    values: &'a RawValue,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    #[serde(default)]
    prompt_token_count: Option<u64>,
}

/// Reads a body on its way to the caller.
#[derive(Debug)]
pub(super) struct EmbeddingsDecoder {
    /// The caller's name for the model, as JSON text.
    model: Box<str>,
    wants_base64: bool,
    /// How many vectors must come.
    count: usize,
    /// The gateway's count of the input.
    counted: u64,
    body: BytesMut,
}

pub(super) fn encode(
    request: &InferenceRequest,
    target: &Target,
) -> Result<Encoded, ProviderError> {
    let texts = texts(request)?;
    let name = format!("models/{}", target.upstream_model());
    let dimensions = request.members().read::<u64>("dimensions");
    let dimensions = dimensions.map_err(|error| failed("`dimensions` cannot be read", error))?;
    let embed = |text| Embed {
        model: &name,
        content: Content {
            parts: [Part { text }],
        },
        output_dimensionality: dimensions,
    };
    let uri = format!("{}/{name}:batchEmbedContents", target.base_url());
    let mut requests = Vec::new();
    for texts in texts.chunks(BATCH_MAX) {
        let batch = Batch {
            requests: texts.iter().map(|text| embed(text)).collect(),
        };
        let body =
            serde_json::to_vec(&batch).map_err(|error| failed("cannot be written", error))?;
        let request = http::Request::builder()
            .method(Method::POST)
            .uri(&uri)
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "application/json")
            .header(ACCEPT_ENCODING, "identity")
            .body(body.into())
            .map_err(|error| failed("the provider's base URL is not valid", error))?;
        requests.push(request);
    }
    let further = requests.split_off(1.min(requests.len()));
    let first = requests.pop();
    let request = first.ok_or_else(|| ProviderError::new(Kind::BadRequest))?;
    Ok(Encoded {
        further,
        ..Encoded::from(request)
    })
}

/// What is to be embedded. Token ids mean nothing to this provider.
fn texts(request: &InferenceRequest) -> Result<Vec<String>, ProviderError> {
    match request.members().read::<Input>("input") {
        Ok(Some(Input::Text(text))) => Ok(vec![text]),
        Ok(Some(Input::Texts(texts))) => Ok(texts),
        _ => Err(ProviderError::new(Kind::UnsupportedParameter)
            .with_message("this model embeds texts alone, not token ids")
            .with_param("input")),
    }
}

// === impl EmbeddingsDecoder ===

impl EmbeddingsDecoder {
    /// For the answer to a request that calls the model `model`.
    pub(super) fn new(request: &InferenceRequest, model: &str) -> Self {
        Self {
            model: json::string(model),
            wants_base64: request.members().find("encoding_format") == Some("\"base64\""),
            count: texts(request).map_or(0, |texts| texts.len()),
            counted: request.prompt_tokens(),
            body: BytesMut::new(),
        }
    }

    fn write(&self, vectors: &[Vector<'_>], tokens: u64) -> Result<String, ProviderError> {
        let mut body = String::from(r#"{"object":"list","data":["#);
        for (index, vector) in vectors.iter().enumerate() {
            // Read as numbers in either case: what is none must not reach the caller.
            let as_base64 = vector::base64(vector.values.get())?;
            let values = match self.wants_base64 {
                true => &as_base64,
                false => vector.values.get(),
            };
            let comma = if index == 0 { "" } else { "," };
            body.push_str(&format!(
                r#"{comma}{{"object":"embedding","index":{index},"embedding":{values}}}"#
            ));
        }
        body.push_str(&format!(
            r#"],"model":{},"usage":{{"prompt_tokens":{tokens},"total_tokens":{tokens}}}}}"#,
            self.model
        ));
        Ok(body)
    }
}

impl Decoder for EmbeddingsDecoder {
    fn push(&mut self, chunk: Bytes, _: &mut Output) -> Result<(), ProviderError> {
        let most = BODY_BYTES_MAX * self.count.div_ceil(BATCH_MAX).max(1);
        if self.body.len() + chunk.len() > most {
            return Err(ProviderError::new(Kind::Failed)
                .with_message("the provider's answer is larger than 16 MiB for a batch"));
        }
        self.body.extend_from_slice(&chunk);
        Ok(())
    }

    fn finish(&mut self, out: &mut Output) -> Result<(), ProviderError> {
        let body = self.body.split();
        let mut vectors = Vec::new();
        // Known only if every batch says it.
        let mut reported = Some(0_u64);
        // One answer for each batch, one after the other.
        for answer in serde_json::Deserializer::from_slice(&body).into_iter::<&RawValue>() {
            let raw = answer.map_err(malformed)?.get();
            json::check(raw.as_bytes()).map_err(malformed)?;
            let answer: Answer<'_> = serde_json::from_str(raw).map_err(malformed)?;
            if answer.error.is_some() {
                return Err(classify::body(raw.as_bytes()));
            }
            let tokens = answer.usage_metadata.and_then(|it| it.prompt_token_count);
            reported = reported
                .zip(tokens)
                .map(|(all, more)| all.saturating_add(more));
            vectors.extend(answer.embeddings);
        }
        if vectors.len() != self.count || vectors.is_empty() {
            return Err(ProviderError::new(Kind::Malformed));
        }
        if let Some(input) = reported {
            out.report(Usage {
                input,
                ..Usage::default()
            });
        }
        let body = self.write(&vectors, reported.unwrap_or(self.counted))?;
        out.complete();
        out.terminal(body);
        Ok(())
    }
}
