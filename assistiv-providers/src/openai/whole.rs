//! Answers that are not streamed.
//!
//! OpenAI API reference, "The chat completion object", read on 2026-11-23.

use assistiv_core::json::Members;
use assistiv_core::provider::{Decoder, Output, ProviderError, ProviderErrorKind as Kind};
use bytes::{Bytes, BytesMut};

use super::answer::{Answer, malformed, with_finish};
use super::choice::{Choice, Finish};
use super::classify;

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
        let source = self.body.split().freeze();
        let mut body = Members::parse(source.clone()).map_err(malformed)?;
        if body.find("error").is_some_and(classify::is_error) {
            return Err(classify::body(&source));
        }
        let choices: Vec<Choice> = body.read("choices").map_err(malformed)?.unwrap_or_default();
        self.answer.observe(&choices, out);
        self.answer.tier(&body, out);
        if let Some(usage) = body.find("usage").map(str::to_owned) {
            let shown = self.answer.report(&usage, out);
            if *shown != *usage {
                body.set("usage", shown);
            }
        }
        if self.answer.derives() && choices.iter().any(|c| c.finish_reason != Finish::Given) {
            let derived = self.answer.derive();
            let text = with_finish(body.find("choices").unwrap_or("[]"), |choice| {
                let (_, reason) = derived.iter().find(|(index, _)| *index == choice.index())?;
                Some(format!("\"{reason}\"").into())
            })?;
            body.set("choices", text);
        }
        if !self.answer.is_settled() || !choices.iter().all(Choice::has_message) {
            return Err(ProviderError::new(Kind::Malformed));
        }
        body.set("model", self.answer.model());
        out.complete();
        out.terminal(body.to_bytes());
        Ok(())
    }
}
