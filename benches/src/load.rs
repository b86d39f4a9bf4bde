//! Load on something that takes requests, and what came of it.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

use crate::samples::{Quantiles, Samples};

/// How requests come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrivals {
    /// So many a second, whether earlier ones are answered or not.
    Offered(u32),
    /// So many at a time: each that is answered is followed by another.
    Concurrent(usize),
}

/// How long load lasts.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// Before anything counts.
    pub warm_up: Duration,
    /// What counts.
    pub measured: Duration,
}

/// What came of load.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Outcome {
    /// Requests answered in the measured time.
    pub answered: u64,
    /// The same, a second.
    pub per_second: f64,
    /// Requests that failed.
    pub failed: u64,
    /// What requests reported as their waiting time.
    pub waited: Quantiles,
}

struct Recorder {
    from: Instant,
    until: Instant,
    waited: Mutex<Samples>,
    failed: AtomicU64,
}

/// Puts load on `request`, which is given a running number and says how long it waited for what is measured.
/// `probe` is asked at the begin and at the end of the measured time.
///
/// # Errors
/// The probe's.
pub async fn put<R, F, P, Q, E>(
    arrivals: Arrivals,
    span: Span,
    request: R,
    probe: P,
) -> Result<(Outcome, Q, Q), E>
where
    R: Fn(usize) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Option<Duration>> + Send + 'static,
    P: AsyncFn() -> Result<Q, E>,
{
    let begun = Instant::now();
    let from = begun + span.warm_up;
    let until = from + span.measured;
    let recorder = Arc::new(Recorder {
        from,
        until,
        waited: Mutex::default(),
        failed: AtomicU64::new(0),
    });
    let mut generator = JoinSet::new();
    match arrivals {
        Arrivals::Offered(rate) => {
            generator.spawn(offer(rate, begun, recorder.clone(), request));
        }
        Arrivals::Concurrent(tasks) => {
            for first in 0..tasks {
                let (recorder, request) = (recorder.clone(), request.clone());
                generator.spawn(async move {
                    let mut number = first;
                    while Instant::now() < recorder.until {
                        recorder.record(request(number).await);
                        number += tasks;
                    }
                });
            }
        }
    }
    tokio::time::sleep_until(from).await;
    let before = probe().await?;
    tokio::time::sleep_until(until).await;
    let after = probe().await?;
    generator.join_all().await;
    let waited = std::mem::take(&mut *lock(&recorder.waited)).quantiles();
    let outcome = Outcome {
        answered: waited.count as u64,
        per_second: waited.count as f64 / span.measured.as_secs_f64(),
        failed: recorder.failed.load(Ordering::Relaxed),
        waited,
    };
    Ok((outcome, before, after))
}

/// Starts what is due at each tick, and waits for the last ones.
async fn offer<R, F>(rate: u32, begun: Instant, recorder: Arc<Recorder>, request: R)
where
    R: Fn(usize) -> F,
    F: Future<Output = Option<Duration>> + Send + 'static,
{
    let mut requests = JoinSet::new();
    let mut ticks = tokio::time::interval(Duration::from_millis(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut started = 0;
    while Instant::now() < recorder.until {
        ticks.tick().await;
        let due = begun.elapsed().as_micros() * u128::from(rate) / 1_000_000;
        while (started as u128) < due {
            let (recorder, request) = (recorder.clone(), request(started));
            requests.spawn(async move { recorder.record(request.await) });
            started += 1;
        }
        while requests.try_join_next().is_some() {}
    }
    requests.join_all().await;
}

// === impl Recorder ===

impl Recorder {
    fn record(&self, waited: Option<Duration>) {
        let now = Instant::now();
        if now < self.from || now >= self.until {
            return;
        }
        match waited {
            Some(waited) => lock(&self.waited).push(waited),
            None => {
                self.failed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: Span = Span {
        warm_up: Duration::from_secs(1),
        measured: Duration::from_secs(2),
    };

    async fn outcome(arrivals: Arrivals) -> Outcome {
        let request = |number: usize| async move {
            tokio::time::sleep(Duration::from_millis(10)).await;
            (!number.is_multiple_of(10)).then_some(Duration::from_millis(10))
        };
        let probe = async || Ok::<(), ()>(());
        put(arrivals, SPAN, request, probe).await.unwrap().0
    }

    #[tokio::test(start_paused = true)]
    async fn offers_what_was_asked_for() {
        let outcome = outcome(Arrivals::Offered(1_000)).await;
        assert!((1_790..=1_810).contains(&outcome.answered), "{outcome:?}");
        assert!((195..=205).contains(&outcome.failed), "{outcome:?}");
        assert_eq!(outcome.waited.p50, 10_000_000);
    }

    #[tokio::test(start_paused = true)]
    async fn keeps_so_many_under_way() {
        let outcome = outcome(Arrivals::Concurrent(8)).await;
        let all = outcome.answered + outcome.failed;
        assert!((1_400..=1_600).contains(&all), "{outcome:?}");
    }
}
