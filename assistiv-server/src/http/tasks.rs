//! The tasks of the server: the one place that spawns, so that a stop can wait for all of them.

use std::future::Future;

use hyper::rt::Executor;
use tokio_util::task::TaskTracker;

/// Spawns tasks and waits for them. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Tasks(TaskTracker);

// === impl Tasks ===

impl Tasks {
    /// Runs a future to its end.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is where the server's tasks are spawned"
    )]
    pub(super) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(self.0.track_future(future));
    }

    /// Waits until no task is left. Tasks may still be added meanwhile.
    pub(super) async fn wait(&self) {
        self.0.close();
        self.0.wait().await;
    }
}

/// Runs the streams of HTTP/2 connections.
impl<F> Executor<F> for Tasks
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, future: F) {
        self.spawn(future);
    }
}
