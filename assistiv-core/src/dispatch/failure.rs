//! How each dialect says in a stream that the answer has failed.

use bytes::Bytes;

use crate::call::Operation;
use crate::error::Problem;
use crate::provider::Output;

/// The last frame of a stream that failed. `out` is what the decoder has made of the answer up to there.
pub(super) fn frame(
    operation: Operation,
    problem: &Problem,
    request_id: &str,
    docs_url: &str,
    _out: &mut Output,
) -> Bytes {
    let body = problem.to_json_for(operation, request_id, docs_url);
    match operation {
        Operation::Messages => format!("event: error\ndata: {body}\n\n").into(),
        _ => format!("data: {body}\n\n").into(),
    }
}

/// What keeps the connection of a silent stream alive.
pub(super) fn ping(operation: Operation) -> Bytes {
    Bytes::from_static(match operation {
        Operation::Messages => b"event: ping\ndata: {\"type\":\"ping\"}\n\n",
        _ => b": ping\n\n",
    })
}
