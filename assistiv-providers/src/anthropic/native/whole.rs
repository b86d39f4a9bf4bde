//! Answers in one piece, read on their way to the caller.

use assistiv_core::json::{self, Members};
use assistiv_core::provider::{Decoder, Output, ProviderError, ProviderErrorKind as Kind};
use bytes::{Bytes, BytesMut};
use serde_json::value::RawValue;

use super::super::answer::malformed;
use super::super::usage::Report;
use super::super::{classify, usage};

/// The longest body.
const BODY_BYTES_MAX: usize = 32 << 20;

/// Passes a body on and notes what it costs.
#[derive(Debug)]
pub(super) struct Tap {
    /// The caller's name for the model, as JSON text.
    model: Box<str>,
    body: BytesMut,
}

// === impl Tap ===

impl Tap {
    pub(super) fn new(model: &str) -> Self {
        Self {
            model: json::string(model),
            body: BytesMut::new(),
        }
    }
}

impl Decoder for Tap {
    fn push(&mut self, chunk: Bytes, _: &mut Output) -> Result<(), ProviderError> {
        if self.body.len() + chunk.len() > BODY_BYTES_MAX {
            return Err(ProviderError::new(Kind::Failed)
                .with_message("the provider's answer is larger than 32 MiB"));
        }
        self.body.extend_from_slice(&chunk);
        Ok(())
    }

    fn finish(&mut self, out: &mut Output) -> Result<(), ProviderError> {
        let source = self.body.split().freeze();
        let mut body = Members::parse(source.clone()).map_err(malformed)?;
        if body.find("type") == Some("\"error\"") {
            return Err(classify::body(&source));
        }
        let reason: Option<String> = body.read("stop_reason").map_err(malformed)?;
        let content: Vec<&RawValue> = body.read("content").map_err(malformed)?.unwrap_or_default();
        let Some(reason) = reason else {
            return Err(ProviderError::new(Kind::Malformed));
        };
        out.observe(content.iter().map(|block| block.get().len()).sum());
        let id: Option<String> = body.read("id").map_err(malformed)?;
        let model: Option<String> = body.read("model").map_err(malformed)?;
        out.identify(id.as_deref(), model.as_deref());
        let report = match &*reason {
            // A request that was refused before the model began is not billed.
            "refusal" if content.is_empty() => Some(Report::nothing()),
            _ => body.read::<Report>("usage").map_err(malformed)?,
        };
        if let Some(report) = report {
            usage::tell(&report, out);
        }
        body.set("model", self.model.clone());
        out.complete();
        out.terminal(body.to_bytes());
        Ok(())
    }
}
