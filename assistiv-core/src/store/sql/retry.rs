//! Acts that the database gave up for the sake of others.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::SqlStore;
use super::error::gave_way;
use crate::store::StoreError;

/// How often an act is tried.
const TRIES: u32 = 4;

/// How long an act that gave way waits before it is tried again, the first time.
const PAUSE: Duration = Duration::from_millis(10);

impl SqlStore {
    /// Performs an act; again when it was undone because it stood in the way of another one, or
    /// waited too long for its locks. Each time is a transaction of its own.
    pub(super) async fn retrying<T, F>(&self, act: impl Fn() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let mut pause = PAUSE;
        for _ in 1..TRIES {
            match act().await {
                Err(error) if gave_way(&error) => {
                    self.0.retries.fetch_add(1, Ordering::Relaxed);
                    crate::metrics::gave_way();
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "an act gave way to another one and is tried again"
                    );
                }
                done => return done,
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        act().await
    }

    /// How often acts were tried again because the database gave them up for the sake of others:
    /// deadlocks, conflicts, and locks that were not given in time. Nothing is lost by it, but it
    /// should stay at zero.
    pub fn retries(&self) -> u64 {
        self.0.retries.load(Ordering::Relaxed)
    }
}
