//! Which targets are well: a circuit breaker for each, and a budget for retries of each platform.
//!
//! A target that failed [`FAILURES`] times in a row within [`WITHIN`] is sick for [`PAUSE`]; one that asked to be left
//! alone (`Retry-After`) is sick for as long as it said, up to [`WAIT_MAX`]. After that one call goes ahead as a probe,
//! while others still go elsewhere; how it ends decides. A sick target is asked all the same where a call has no other.
//!
//! Nothing here waits, and while every target is well a call costs one atomic read.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use tokio::time::Instant;
use tower::retry::budget::{Budget, TpsBudget};

use super::plan::Target;
use super::slug::ProviderSlug;
use crate::id::{LlmConfigId, PlatformId};
use crate::provider::{Fault, ProviderError};

/// Failures in a row that make a target sick.
const FAILURES: u32 = 5;
/// The time within which they must have happened.
const WITHIN: Duration = Duration::from_secs(30);
/// How long a sick target is left alone.
const PAUSE: Duration = Duration::from_secs(30);
/// The longest that a provider's wish to be left alone is heeded.
const WAIT_MAX: Duration = Duration::from_secs(120);
/// A probe that has not ended after this long makes room for another.
const PROBE_MAX: Duration = Duration::from_secs(120);
/// Targets that are remembered; past this, what is over is forgotten.
const REMEMBERED_MAX: usize = 10_000;
/// The time over which calls earn retries.
const EARNED_FOR: Duration = Duration::from_secs(10);
/// Retries that each platform always has, in a second.
const RETRIES_MIN: u32 = 1;
/// Retries for each call.
const RETRIES_SHARE: f32 = 0.2;
/// Platforms whose retries are counted; past this, counting begins anew.
const PLATFORMS_MAX: usize = 10_000;

/// The health of all targets, and what may be retried. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Health(Arc<Shared>);

#[derive(Default)]
struct Shared {
    targets: Mutex<HashMap<Key, Condition>>,
    /// How many targets are remembered: none, and nothing has to be looked up.
    troubled: AtomicUsize,
    retries: RwLock<HashMap<PlatformId, Retries>>,
}

/// What the calls of one platform may retry: a share of their number, and a few at any time. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Retries(Arc<TpsBudget>);

/// Something whose health is watched.
pub(crate) trait Patient {
    /// What it is known by.
    fn key(&self) -> Key;
}

/// A target: one provider key, or a provider that needs none, and one model.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    provider: ProviderSlug,
    config: Option<LlmConfigId>,
    model: Arc<str>,
}

/// What is remembered of a target since it last answered well.
struct Condition {
    /// Failures in a row.
    failures: u32,
    /// When the first of them was.
    since: Instant,
    /// Until when it is left alone.
    sick_until: Option<Instant>,
    /// When a probe began that has not ended.
    probed_at: Option<Instant>,
}

// === impl Health ===

impl Health {
    /// Whether calls go elsewhere, if they can.
    pub(crate) fn is_sick(&self, target: &impl Patient) -> bool {
        self.look(target, |condition, now| condition.is_sick(now))
    }

    /// Whether a call may go ahead as if the target were well. Of those that find it due for a probe, one may.
    pub(crate) fn admits(&self, target: &impl Patient) -> bool {
        !self.look(target, |condition, now| {
            let is_sick = condition.is_sick(now);
            if !is_sick && condition.sick_until.is_some() {
                condition.probed_at = Some(now);
            }
            is_sick
        })
    }

    /// The target has answered, if only to refuse a request as wrong.
    pub(crate) fn succeeded(&self, target: &impl Patient) {
        if self.0.troubled.load(Ordering::Acquire) == 0 {
            return;
        }
        let mut targets = self.lock();
        targets.remove(&target.key());
        self.0.troubled.store(targets.len(), Ordering::Release);
    }

    /// An attempt ended without an answer that says anything of the target: its client left.
    pub(crate) fn abandoned(&self, target: &impl Patient) {
        self.look(target, |condition, _| {
            condition.probed_at = None;
            false
        });
    }

    /// The target has failed.
    pub(crate) fn failed(&self, target: &impl Patient, error: &ProviderError) {
        if error.kind().fault() == Fault::Caller {
            return self.succeeded(target);
        }
        let now = Instant::now();
        let mut targets = self.lock();
        if targets.len() >= REMEMBERED_MAX {
            targets.retain(|_, condition| !condition.is_over(now));
        }
        let condition = targets
            .entry(target.key())
            .or_insert_with(|| Condition::new(now));
        condition.failed(now, error.retry_after());
        self.0.troubled.store(targets.len(), Ordering::Release);
    }

    /// What a platform may retry.
    pub(crate) fn retries(&self, platform: PlatformId) -> Retries {
        let known = self
            .0
            .retries
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(budget) = known.get(&platform) {
            return budget.clone();
        }
        drop(known);
        let mut known = self
            .0
            .retries
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if known.len() >= PLATFORMS_MAX {
            known.clear();
        }
        known.entry(platform).or_insert_with(Retries::new).clone()
    }

    fn look(
        &self,
        target: &impl Patient,
        of: impl FnOnce(&mut Condition, Instant) -> bool,
    ) -> bool {
        if self.0.troubled.load(Ordering::Acquire) == 0 {
            return false;
        }
        let mut targets = self.lock();
        let condition = targets.get_mut(&target.key());
        condition.is_some_and(|condition| of(condition, Instant::now()))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Condition>> {
        // No method panics while it holds the lock, and each leaves the map whole.
        self.0
            .targets
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Health {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Health")
            .field("troubled", &self.0.troubled)
            .finish_non_exhaustive()
    }
}

// === impl Retries ===

impl Retries {
    fn new() -> Self {
        let budget = TpsBudget::new(EARNED_FOR, RETRIES_MIN, RETRIES_SHARE);
        Self(Arc::new(budget))
    }

    /// A call earns a share of a retry.
    pub(crate) fn earn(&self) {
        self.0.deposit();
    }

    /// Whether one more retry is left; then it is used.
    pub(crate) fn use_up(&self) -> bool {
        self.0.withdraw()
    }
}

// === impl Patient ===

impl Patient for Target {
    fn key(&self) -> Key {
        Key {
            provider: self.provider.clone(),
            config: self.config,
            model: self.upstream_model.clone(),
        }
    }
}

// === impl Condition ===

impl Condition {
    fn new(now: Instant) -> Self {
        Self {
            failures: 0,
            since: now,
            sick_until: None,
            probed_at: None,
        }
    }

    fn is_sick(&self, now: Instant) -> bool {
        let is_probed = self
            .probed_at
            .is_some_and(|at| now.saturating_duration_since(at) < PROBE_MAX);
        self.sick_until
            .is_some_and(|until| now < until || is_probed)
    }

    fn failed(&mut self, now: Instant, retry_after: Option<Duration>) {
        let was_probe = self.probed_at.take().is_some();
        if now.saturating_duration_since(self.since) > WITHIN {
            (self.failures, self.since) = (0, now);
        }
        self.failures = self.failures.saturating_add(1);
        let pause = (was_probe || self.failures >= FAILURES).then_some(PAUSE);
        let pause = pause.max(retry_after.map(|wait| wait.min(WAIT_MAX)));
        self.sick_until = self.sick_until.max(pause.map(|pause| now + pause));
    }

    /// Nothing of it would be missed.
    fn is_over(&self, now: Instant) -> bool {
        let is_old = now.saturating_duration_since(self.since) > WITHIN;
        is_old && self.sick_until.is_none_or(|until| until + PROBE_MAX < now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::ProviderErrorKind;

    const SECOND: Duration = Duration::from_secs(1);

    impl Patient for Key {
        fn key(&self) -> Key {
            self.clone()
        }
    }

    fn patient() -> Key {
        Key {
            provider: "acme".parse().unwrap(),
            config: Some(LlmConfigId::new()),
            model: "acme-1".into(),
        }
    }

    fn condition() -> (Condition, Instant) {
        let now = Instant::now();
        (Condition::new(now), now)
    }

    #[test]
    fn five_failures_in_a_row_make_it_sick_for_thirty_seconds() {
        let (mut condition, now) = condition();
        for n in 0..4 {
            condition.failed(now + SECOND * n, None);
            assert!(!condition.is_sick(now + SECOND * n));
        }
        let fifth = now + SECOND * 5;
        condition.failed(fifth, None);
        assert!(condition.is_sick(fifth));
        assert!(condition.is_sick(fifth + PAUSE - SECOND));
        assert!(!condition.is_sick(fifth + PAUSE));
    }

    #[test]
    fn failures_that_are_far_apart_do_not_add_up() {
        let (mut condition, mut now) = condition();
        for _ in 0..20 {
            condition.failed(now, None);
            assert!(!condition.is_sick(now));
            now += SECOND * 9;
        }
    }

    #[test]
    fn a_wish_to_be_left_alone_is_heeded_up_to_a_bound() {
        let (mut condition, now) = condition();
        condition.failed(now, Some(SECOND * 7));
        assert!(condition.is_sick(now + SECOND * 6));
        assert!(!condition.is_sick(now + SECOND * 7));
        condition.failed(now, Some(SECOND * 86_400));
        assert!(condition.is_sick(now + WAIT_MAX - SECOND));
        assert!(!condition.is_sick(now + WAIT_MAX));
    }

    #[test]
    fn a_probe_that_fails_begins_the_pause_anew() {
        let (mut condition, now) = condition();
        condition.failed(now, Some(SECOND));
        let later = now + SECOND * 100;
        condition.probed_at = Some(later);
        assert!(condition.is_sick(later), "others go elsewhere meanwhile");
        condition.failed(later, None);
        assert!(condition.is_sick(later + PAUSE - SECOND));
        assert!(!condition.is_sick(later + PAUSE));
        condition.probed_at = Some(later + PAUSE);
        let never_ended = later + PAUSE + PROBE_MAX;
        assert!(!condition.is_sick(never_ended), "another may probe");
    }

    #[tokio::test(start_paused = true)]
    async fn of_many_calls_one_probes() {
        let health = Health::default();
        let target = patient();
        let slow_down =
            || ProviderError::new(ProviderErrorKind::RateLimited).with_retry_after(Some(SECOND));
        health.failed(&target, &slow_down());
        assert!(health.is_sick(&target) && !health.admits(&target));
        tokio::time::advance(SECOND).await;
        assert!(!health.is_sick(&target));
        assert!(health.admits(&target), "the probe");
        assert!(!health.admits(&target) && health.is_sick(&target));
        health.abandoned(&target);
        assert!(health.admits(&target), "the next one");
        health.succeeded(&target);
        assert!(health.admits(&target) && health.admits(&target));
    }

    #[tokio::test(start_paused = true)]
    async fn a_wrong_request_says_nothing_of_the_target() {
        let health = Health::default();
        let target = patient();
        for _ in 0..10 {
            health.failed(&target, &ProviderError::new(ProviderErrorKind::BadRequest));
        }
        assert!(!health.is_sick(&target));
        for _ in 0..5 {
            health.failed(&target, &ProviderError::new(ProviderErrorKind::Failed));
        }
        assert!(health.is_sick(&target));
    }

    #[tokio::test(start_paused = true)]
    async fn retries_are_a_share_of_the_calls_of_one_platform() {
        let health = Health::default();
        let (one, other) = (PlatformId::new(), PlatformId::new());
        let budget = health.retries(one);
        let used = (0..1000).filter(|_| budget.use_up()).count();
        assert_eq!(used, 10, "what every platform has");
        for _ in 0..100 {
            budget.earn();
        }
        let used = (0..1000).filter(|_| health.retries(one).use_up()).count();
        assert_eq!(used, 20, "a fifth of the calls");
        assert!(health.retries(other).use_up(), "others have their own");
    }
}
