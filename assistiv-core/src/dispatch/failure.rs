//! How each dialect says in a stream that the answer has failed.

use bytes::{Bytes, BytesMut};
use serde_json::json;

use crate::call::Operation;
use crate::error::{Problem, Reason};
use crate::provider::{Output, Piece};

/// The last frame of a stream that failed. `out` is what the decoder has made of the answer up to there.
pub(super) fn frame(
    operation: Operation,
    problem: &Problem,
    request_id: &str,
    docs_url: &str,
    out: &mut Output,
) -> Bytes {
    match operation {
        Operation::Responses => response(problem, out),
        Operation::Messages => {
            let body = problem.to_json_for(operation, request_id, docs_url);
            format!("event: error\ndata: {body}\n\n").into()
        }
        _ => {
            let body = problem.to_json_for(operation, request_id, docs_url);
            format!("data: {body}\n\n").into()
        }
    }
}

/// What was said of the response, and that it has failed.
fn response(problem: &Problem, out: &mut Output) -> Bytes {
    let Some(mut draft) = out.take_draft() else {
        let error = json!({
            "type": "error",
            "sequence_number": 0,
            "code": problem.reason.code(),
            "reason": problem.reason.as_str(),
            "message": problem.message,
            "param": problem.param,
        });
        return format!("event: error\ndata: {error}\n\n").into();
    };
    let mut end = Output::new();
    if problem.reason == Reason::PROVIDER_OVERLOADED {
        // One that had begun to answer was not too busy to take the request: it has failed at it.
        let failed = Problem::new(Reason::PROVIDER_ERROR, problem.message.clone());
        draft.failed(&failed, &mut end);
    } else {
        draft.failed(problem, &mut end);
    }
    let mut bytes = BytesMut::new();
    while let Some(Piece::Content(piece) | Piece::Terminal(piece)) = end.pop() {
        bytes.extend_from_slice(&piece);
    }
    bytes.freeze()
}

/// What keeps the connection of a silent stream alive.
pub(super) fn ping(operation: Operation) -> Bytes {
    Bytes::from_static(match operation {
        Operation::Messages => b"event: ping\ndata: {\"type\":\"ping\"}\n\n",
        _ => b": ping\n\n",
    })
}
