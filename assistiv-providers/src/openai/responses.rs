//! OpenAI's Responses API as the way upstream, for callers of another dialect.
//!
//! OpenAI API reference, "Responses" and "Streaming events", read on 2026-11-23. Newer models call functions here
//! alone, and some are not served elsewhere. A request of another dialect is read as a neutral conversation and written
//! anew; one of this dialect stays as it came where that is possible. Nothing of it is stored upstream unless a caller
//! of chat completions asked for that.

mod answer;
mod calls;
mod encode;
mod input;
mod splice;
mod stream;
mod usage;
mod whole;

use std::sync::Arc;

use assistiv_core::call::{InferenceRequest, Operation};
use assistiv_core::provider::{AnswerWriter, Decoder};
use assistiv_core::routing::{Target, UpstreamApi};

use self::answer::Answer;
pub(super) use self::encode::encode;
use self::stream::StreamDecoder;
use self::whole::WholeDecoder;
use super::dialect::Dialect;

/// Whether a request has to take this way.
pub(super) fn bridges(dialect: &Dialect, request: &InferenceRequest, target: &Target) -> bool {
    if dialect.responses.is_none() {
        return false;
    }
    if request.operation() != Operation::ChatCompletions
        || target.upstream_api() == UpstreamApi::Responses
    {
        return true;
    }
    let traits = (dialect.models)(target.upstream_model());
    let members = request.members();
    let calls = || members.find("tools").is_some_and(|tools| tools != "[]");
    let thinks_hardest = || members.find("reasoning_effort") == Some("\"max\"");
    !traits.functions && (calls() || thinks_hardest())
}

/// Makes a decoder for one answer that came this way.
pub(super) fn decoder(
    dialect: &Arc<Dialect>,
    request: &InferenceRequest,
    target: &Target,
) -> Box<dyn Decoder> {
    let writer = AnswerWriter::new(request, target);
    let answer = Answer::new(writer, dialect.name.clone(), target.upstream_model());
    if request.is_stream() {
        Box::new(StreamDecoder::new(answer))
    } else {
        Box::new(WholeDecoder::new(answer))
    }
}
