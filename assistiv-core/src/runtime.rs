//! Background tasks: the one place that spawns, so that a shutdown can wait for all of them.

use std::future::Future;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Spawns tasks and waits for them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Runtime {
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Runtime {
    /// Runs a future to its end, whatever its caller does.
    #[expect(clippy::disallowed_methods, reason = "this is where tasks are spawned")]
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(self.tasks.track_future(future));
    }

    /// Resolves when the gateway shuts down.
    pub(crate) fn stopping(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Tells all tasks to stop and waits for them.
    pub(crate) async fn shut_down(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}
