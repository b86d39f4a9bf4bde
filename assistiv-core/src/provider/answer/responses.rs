//! OpenAI's responses: one JSON object, or the events of a stream.

use super::Dialect;
use crate::call::InferenceRequest;
use crate::conversation::AnswerEvent;
use crate::provider::Output;
use crate::responses::{Asked, Draft};

/// Writes responses. What was written lies in the output, where a failure finds it, too.
pub(super) struct ResponseWriter(Option<Box<Draft>>);

impl ResponseWriter {
    pub(super) fn new(asked: &Asked, request: &InferenceRequest, model: &str) -> Self {
        Self(Some(Box::new(Draft::new(
            asked,
            request.is_stream(),
            model,
        ))))
    }
}

impl Dialect for ResponseWriter {
    fn write(&mut self, event: &AnswerEvent<'_>, out: &mut Output) {
        if let Some(mut draft) = self.0.take().or_else(|| out.take_draft()) {
            draft.write(event, out);
            out.put_draft(draft);
        }
    }
}
