//! One line in the log for each request.

use std::borrow::Cow;
use std::sync::Arc;

use axum::extract::MatchedPath;
use http::{Method, StatusCode};
use tokio::time::Instant;

use super::head;
use super::metrics::Requests;
use super::problem::RequestId;

/// Writes its line when it is dropped: when the answer has been sent, or has no reader any more.
///
/// It knows the template of a route, never the path itself: identifiers and query values stay out of the log.
pub(super) struct RequestLog {
    method: Method,
    route: Cow<'static, str>,
    status: Option<StatusCode>,
    started: Instant,
    request_id: Arc<str>,
    requests: Arc<Requests>,
}

// === impl RequestLog ===

impl RequestLog {
    pub(super) fn begin(
        method: &Method,
        route: &'static str,
        request_id: &RequestId,
        requests: Arc<Requests>,
    ) -> Self {
        Self {
            method: method.clone(),
            route: Cow::Borrowed(route),
            status: None,
            started: Instant::now(),
            request_id: request_id.0.clone(),
            requests,
        }
    }

    /// Takes note of the route that the management router found.
    pub(super) fn matched(&mut self, path: &MatchedPath) {
        self.route = Cow::Owned(path.as_str().to_owned());
    }

    /// Takes note of the answer.
    pub(super) fn answered(&mut self, status: StatusCode) {
        self.status = Some(status);
    }
}

impl Drop for RequestLog {
    fn drop(&mut self) {
        // A method of the caller's own invention is a caller's text.
        let method = if head::is_common(&self.method) {
            self.method.as_str()
        } else {
            "-"
        };
        let duration_us = self.started.elapsed().as_micros() as u64;
        let request_id = &*self.request_id;
        let status = self.status.map_or(0, |status| status.as_u16());
        self.requests.count(self.route.clone(), status);
        let route = &*self.route;
        match self.status {
            Some(status) => {
                tracing::info!(
                    method,
                    route,
                    status = status.as_u16(),
                    duration_us,
                    request_id,
                    "request"
                );
            }
            None => tracing::info!(
                method,
                route,
                duration_us,
                request_id,
                "request left by its caller"
            ),
        }
    }
}
