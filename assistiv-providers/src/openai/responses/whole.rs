//! Answers in one piece.
//!
//! OpenAI API reference, "The response object", read on 2026-11-23.

use assistiv_core::json;
use assistiv_core::provider::{Decoder, Output, ProviderError, ProviderErrorKind as Kind};
use bytes::{Bytes, BytesMut};

use super::answer::{Answer, Response};
use crate::openai::answer::malformed;
use crate::openai::classify;

/// The longest body.
const BODY_BYTES_MAX: usize = 32 << 20;

/// Decodes a body that is one JSON object.
#[derive(Debug)]
pub(super) struct WholeDecoder {
    answer: Answer,
    body: BytesMut,
}

// === impl WholeDecoder ===

impl WholeDecoder {
    pub(super) fn new(answer: Answer) -> Self {
        Self {
            answer,
            body: BytesMut::new(),
        }
    }
}

impl Decoder for WholeDecoder {
    fn push(&mut self, chunk: Bytes, _: &mut Output) -> Result<(), ProviderError> {
        if self.body.len() + chunk.len() > BODY_BYTES_MAX {
            return Err(ProviderError::new(Kind::Failed)
                .with_message("the provider's answer is larger than 32 MiB"));
        }
        self.body.extend_from_slice(&chunk);
        Ok(())
    }

    fn finish(&mut self, out: &mut Output) -> Result<(), ProviderError> {
        let body = self.body.split();
        json::check(&body).map_err(malformed)?;
        let response: Response<'_> = serde_json::from_slice(&body).map_err(malformed)?;
        if !response.is_response() {
            return Err(classify::page(&body));
        }
        self.answer.begin(&response, out);
        self.answer.output(&response, out);
        self.answer.end(&response, out)
    }
}
