//! Whether a request went out on a connection from the pool.
//!
//! The client does not say. But a request that finds no idle connection begins to open one, in the task that
//! sends it; so a request during which no connection was begun had one from the pool.

use std::cell::Cell;
use std::task::{Context, Poll};

use tower::{Layer, Service};

tokio::task_local! {
    static CONNECTED: Cell<bool>;
}

/// A result, with what was seen of its connection.
pub(super) struct Watched<T> {
    pub(super) result: T,
    /// The connection came from the pool.
    pub(super) was_reused: bool,
}

/// Runs one request.
pub(super) async fn watch<F: Future>(request: F) -> Watched<F::Output> {
    let watched = async {
        let result = request.await;
        Watched {
            result,
            was_reused: !CONNECTED.with(Cell::get),
        }
    };
    CONNECTED.scope(Cell::new(false), watched).await
}

/// Takes note of every connection that is begun.
#[derive(Clone, Copy, Debug)]
pub(super) struct NoteConnects;

/// The connector inside [`NoteConnects`].
#[derive(Clone, Debug)]
pub(super) struct NotedConnects<S>(S);

impl<S> Layer<S> for NoteConnects {
    type Service = NotedConnects<S>;
    fn layer(&self, inner: S) -> NotedConnects<S> {
        NotedConnects(inner)
    }
}

impl<S: Service<R>, R> Service<R> for NotedConnects<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> S::Future {
        // Outside of a request there is nobody to tell.
        let _ = CONNECTED.try_with(|connected| connected.set(true));
        self.0.call(request)
    }
}
