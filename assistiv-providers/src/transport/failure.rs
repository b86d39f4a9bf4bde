//! What the client's errors mean.

use std::error::Error as StdError;
use std::io;

use assistiv_core::provider::{TransportError, TransportErrorKind};

use super::guard::GuardError;

/// Sorts an error of the client.
pub(super) fn transport_error(error: reqwest::Error) -> TransportError {
    let kind = if causes(&error).any(|cause| cause.is::<GuardError>()) {
        TransportErrorKind::Refused
    } else if error.is_connect() {
        // Before the question of time: a connection that took too long carried nothing of the request.
        TransportErrorKind::Connect
    } else if error.is_timeout() {
        TransportErrorKind::Timeout
    } else {
        TransportErrorKind::Broken
    };
    // URLs may hold what an operator would not want in a log.
    TransportError::new(kind).with_source(error.without_url())
}

/// Whether an HTTP/1.1 connection was closed instead of answering.
///
/// HTTP/2 needs no such guess: there a server says which requests it has not looked at, and the client sends
/// those again by itself.
pub(super) fn is_closed_connection(error: &reqwest::Error) -> bool {
    causes(error)
        .filter_map(|cause| cause.downcast_ref::<hyper::Error>())
        .any(|error| {
            let io = error
                .source()
                .and_then(|cause| cause.downcast_ref::<io::Error>());
            error.is_incomplete_message() || io.is_some_and(is_reset)
        })
}

fn is_reset(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    matches!(
        error.kind(),
        BrokenPipe | ConnectionAborted | ConnectionReset
    )
}

/// The error and everything below it.
fn causes<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn StdError + 'static)| {
        (*error).source()
    })
}
