//! What the edge adds to the management router.

use assistiv_core::Problem;
use assistiv_core::error::Reason;
use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::middleware::{self, Next};
use axum::response::Response;

/// Lets the log know which route the router found.
pub(super) fn prepare(router: Router) -> Router {
    router.layer(middleware::from_fn(remember_route))
}

/// No such path.
pub(super) fn not_found() -> Problem {
    let message = "there is nothing at this path; paths match exactly, without a trailing slash";
    Problem::new(Reason::NOT_FOUND, message)
}

/// The path takes other methods.
pub(super) fn method_not_allowed() -> Problem {
    let message = "this path takes other methods; see the header `Allow`";
    Problem::new(Reason::METHOD_NOT_ALLOWED, message)
}

async fn remember_route(request: Request, next: Next) -> Response {
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let mut response = next.run(request).await;
    if let Some(path) = matched {
        response.extensions_mut().insert(path);
    }
    response
}
