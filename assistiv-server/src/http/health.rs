//! `GET /healthz` and `GET /readyz`.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

/// Whether the server can serve: started, not draining, database reachable.
///
/// Starts as *not ready*: whoever starts the server calls [`Readiness::ready`] when everything is there.
pub struct Readiness {
    phase: AtomicU8,
    probe: Probe,
    /// The last outcome. Health checks come often and need no key, so they must not reach the database each time.
    probed: Mutex<Option<(Instant, bool)>>,
}

type Probe = Box<dyn Fn() -> Pin<Box<dyn Future<Output = bool> + Send>> + Send + Sync>;

const STARTING: u8 = 0;
const SERVING: u8 = 1;
const DRAINING: u8 = 2;

const PROBE_EVERY: Duration = Duration::from_secs(1);
const PROBE_WAIT: Duration = Duration::from_secs(2);

// === impl Readiness ===

impl Readiness {
    /// Not ready yet. `probe` says whether the database answers; it is asked at most once a second and has two
    /// seconds to answer.
    pub fn new<P, F>(probe: P) -> Self
    where
        P: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = bool> + Send + 'static,
    {
        Self {
            phase: AtomicU8::new(STARTING),
            probe: Box::new(move || Box::pin(probe())),
            probed: Mutex::new(None),
        }
    }

    /// For gateways without a database.
    pub fn without_database() -> Self {
        Self::new(|| std::future::ready(true))
    }

    /// The server has started. Has no effect once it drains.
    pub fn ready(&self) {
        let _ = self
            .phase
            .compare_exchange(STARTING, SERVING, Ordering::AcqRel, Ordering::Acquire);
    }

    /// The server is about to stop: not ready from now on.
    pub fn drain(&self) {
        self.phase.store(DRAINING, Ordering::Release);
    }

    /// Whether the server can serve at this moment.
    pub async fn is_ready(&self) -> bool {
        self.phase.load(Ordering::Acquire) == SERVING && self.database_answers().await
    }

    async fn database_answers(&self) -> bool {
        let mut probed = self.probed.lock().await;
        if let Some((at, outcome)) = *probed
            && at.elapsed() < PROBE_EVERY
        {
            return outcome;
        }
        let outcome = tokio::time::timeout(PROBE_WAIT, (self.probe)())
            .await
            .unwrap_or(false);
        *probed = Some((Instant::now(), outcome));
        outcome
    }
}

impl std::fmt::Debug for Readiness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Readiness")
            .field("phase", &self.phase)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn is_ready_only_between_start_and_drain() {
        let readiness = Readiness::without_database();
        assert!(!readiness.is_ready().await);
        readiness.ready();
        assert!(readiness.is_ready().await);
        readiness.drain();
        readiness.ready();
        assert!(!readiness.is_ready().await);
    }

    #[tokio::test(start_paused = true)]
    async fn the_database_is_asked_once_a_second() {
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = asked.clone();
        let readiness = Readiness::new(move || {
            let nth = counter.fetch_add(1, Ordering::Relaxed);
            async move { nth == 0 }
        });
        readiness.ready();
        for _ in 0..10 {
            assert!(readiness.is_ready().await);
        }
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        tokio::time::advance(PROBE_EVERY).await;
        assert!(!readiness.is_ready().await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_database_that_hangs_is_not_there() {
        let readiness = Readiness::new(std::future::pending);
        readiness.ready();
        assert!(!readiness.is_ready().await);
    }
}
