//! Embeddings: the caller's bytes go on, and the provider's come back.
//!
//! OpenAI API reference, "Create embeddings", read on 2026-11-23. Servers that know one encoding of vectors ignore
//! which one is asked for; then vectors are written anew.

use assistiv_core::billing::Usage;
use assistiv_core::call::InferenceRequest;
use assistiv_core::json::{self, Members};
use assistiv_core::provider::{Decoder, Output, ProviderError, ProviderErrorKind as Kind};
use assistiv_core::routing::Target;
use bytes::{Bytes, BytesMut};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::answer::malformed;
use super::classify;
use super::encode::post;
use crate::vector;

/// The longest body: 2,048 vectors of 3,072 numbers each, as text.
const BODY_BYTES_MAX: usize = 128 << 20;

/// Reads a body on its way to the caller.
#[derive(Debug)]
pub(super) struct EmbeddingsDecoder {
    /// The caller's name for the model, as JSON text.
    model: Box<str>,
    wants_base64: bool,
    body: BytesMut,
}

pub(super) fn encode(
    request: &InferenceRequest,
    target: &Target,
) -> Result<http::Request<Bytes>, ProviderError> {
    let mut members = request.members().clone();
    members.set("model", json::string(target.upstream_model()));
    post(target.base_url(), "embeddings", false, members.to_bytes())
}

// === impl EmbeddingsDecoder ===

impl EmbeddingsDecoder {
    /// For the answer to a request that calls the model `model`.
    pub(super) fn new(request: &InferenceRequest, model: &str) -> Self {
        let format = request.members().find("encoding_format");
        Self {
            model: json::string(model),
            wants_base64: format == Some("\"base64\""),
            body: BytesMut::new(),
        }
    }

    /// The entries with every vector as it was asked for; `None` when they are already.
    fn converted(&self, data: &str) -> Result<Option<String>, ProviderError> {
        let entries: Vec<&RawValue> = serde_json::from_str(data).map_err(malformed)?;
        let mut changed = false;
        let mut all = String::with_capacity(data.len());
        for raw in entries {
            all.push(if all.is_empty() { '[' } else { ',' });
            let entry = Bytes::copy_from_slice(raw.get().as_bytes());
            let mut entry = Members::parse_trusted(entry).map_err(malformed)?;
            let found = entry.find("embedding").unwrap_or_default();
            let json = match (found.as_bytes().first(), self.wants_base64) {
                (Some(b'"'), false) => vector::numbers(found)?,
                (Some(b'['), true) => vector::base64(found)?,
                (Some(b'"' | b'['), _) => {
                    all.push_str(raw.get());
                    continue;
                }
                _ => return Err(ProviderError::new(Kind::Malformed)),
            };
            changed = true;
            entry.set("embedding", json);
            all.push_str(&String::from_utf8(entry.to_bytes().into()).map_err(malformed)?);
        }
        all.push(']');
        Ok(changed.then_some(all))
    }
}

impl Decoder for EmbeddingsDecoder {
    fn push(&mut self, chunk: Bytes, _: &mut Output) -> Result<(), ProviderError> {
        if self.body.len() + chunk.len() > BODY_BYTES_MAX {
            return Err(ProviderError::new(Kind::Failed)
                .with_message("the provider's answer is larger than 128 MiB"));
        }
        self.body.extend_from_slice(&chunk);
        Ok(())
    }

    fn finish(&mut self, out: &mut Output) -> Result<(), ProviderError> {
        #[derive(Deserialize)]
        struct Report {
            prompt_tokens: u64,
        }
        let source = self.body.split().freeze();
        let mut body = Members::parse(source.clone()).map_err(malformed)?;
        if body.find("error").is_some_and(classify::is_error) {
            return Err(classify::body(&source));
        }
        let data = body
            .find("data")
            .ok_or_else(|| ProviderError::new(Kind::Malformed))?;
        if let Some(converted) = self.converted(data)? {
            body.set("data", converted);
        }
        // A report that cannot be read counts as not sent.
        if let Ok(Some(report)) = body.read::<Report>("usage") {
            out.report(Usage {
                input: report.prompt_tokens,
                ..Usage::default()
            });
        }
        body.set("model", self.model.clone());
        out.complete();
        out.terminal(body.to_bytes());
        Ok(())
    }
}
