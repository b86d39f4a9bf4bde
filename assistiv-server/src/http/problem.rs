//! Errors as HTTP responses (`docs/api-design.md`).

use std::sync::Arc;

use assistiv_core::error::Reason;
use assistiv_core::{Operation, Problem};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response};
use http_body_util::Full;

/// The id under which caller and log know a request; set on every request by the edge.
#[derive(Clone, Debug)]
pub struct RequestId(pub Arc<str>);

/// A problem as a response. `docs_url` is the base URL of this server's documentation.
pub fn response(
    problem: &Problem,
    request_id: &RequestId,
    docs_url: &str,
) -> Response<Full<Bytes>> {
    with_body(problem, problem.to_json(&request_id.0, docs_url))
}

/// A problem as a response in the form that clients of a path read: Anthropic's have one of their own.
pub(super) fn response_at(
    path: &str,
    problem: &Problem,
    request_id: &RequestId,
    docs_url: &str,
) -> Response<Full<Bytes>> {
    if is_messages(path) {
        return with_body(problem, problem.to_messages_json(&request_id.0, docs_url));
    }
    response(problem, request_id, docs_url)
}

/// Whether Anthropic's clients call the path.
pub(super) fn is_messages(path: &str) -> bool {
    path.strip_prefix(Operation::Messages.path())
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn with_body(problem: &Problem, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = problem.status();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if problem.reason.code() == Reason::INVALID_API_KEY.code() {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if let Some(status) = &problem.rate_limits {
        status.write(headers);
    }
    if let Some(after) = problem.retry_after {
        // Whole seconds, rounded up: a client that waits shorter comes too early.
        let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if let Some(should_retry) = problem.should_retry {
        let value = if should_retry { "true" } else { "false" };
        headers.insert("x-should-retry", HeaderValue::from_static(value));
    }
    response
}
