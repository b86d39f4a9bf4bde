//! Who may call now.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::counters::{LimitType, RateCounters, Subject, Take, Window};
use super::status::{RateLimitStatus, whole_seconds};
use super::{PlatformRateLimits, RateLimits};
use crate::auth::{Identity, PlatformScope};
use crate::clock::{Clock, Timestamp};
use crate::metrics;
use crate::runtime::Runtime;
use crate::store::StoreError;

/// Counters that answer later do not count.
const PATIENCE: Duration = Duration::from_millis(500);
/// Corrections of so long are written together.
const GATHER: Duration = Duration::from_millis(20);
const PRUNE_EVERY: Duration = Duration::from_mins(1);

/// Decides who may call now. Cheap to clone.
#[derive(Clone)]
pub struct RateLimiter(Arc<Inner>);

struct Inner {
    counters: Arc<dyn RateCounters>,
    clock: Arc<dyn Clock>,
    corrections: Arc<Corrections>,
}

/// What a request is counted as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counted {
    /// As a request of the minute alone: a question that no model answers.
    Question,
    /// As a call with a prompt of so many tokens.
    Call(u64),
}

/// A limit is used up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the {} limit of {limit} {} is reached; try again in {} s",
    .subject.described(), .limit_type.described(), self.retry_after_seconds()
)]
pub struct RateLimited {
    /// Which kind of limit.
    pub limit_type: LimitType,
    /// Whose limit.
    pub subject: Subject,
    /// How much it allows.
    pub limit: u64,
    /// When the next window begins.
    pub retry_after: Duration,
    /// What is left of all limits.
    pub status: RateLimitStatus,
}

/// A request that was let through.
#[derive(Debug, Default)]
pub(super) struct Admitted {
    pub(super) status: RateLimitStatus,
    pub(super) reserved: Option<Reserved>,
}

/// Tokens that were counted for a call before anybody knew how many it would use. The difference is made up when
/// this is dropped.
#[derive(Debug)]
pub(crate) struct Reserved {
    limiter: RateLimiter,
    windows: Vec<Window>,
    estimated: u64,
    used: u64,
}

// === impl RateLimiter ===

impl RateLimiter {
    /// A limiter that counts with `counters`.
    pub(crate) fn start(
        counters: Arc<dyn RateCounters>,
        clock: Arc<dyn Clock>,
        runtime: &Runtime,
    ) -> Self {
        let corrections = Arc::new(Corrections::default());
        let keeper = Keeper {
            counters: counters.clone(),
            clock: clock.clone(),
            corrections: corrections.clone(),
        };
        runtime.spawn(keeper.run(runtime.stopping()));
        Self(Arc::new(Inner {
            counters,
            clock,
            corrections,
        }))
    }

    /// Counts a request, unless a limit stands against it.
    pub(super) async fn admit(
        &self,
        identity: &Identity,
        counted: Counted,
    ) -> Result<Admitted, Box<RateLimited>> {
        let now = self.0.clock.now();
        let amount = |limit_type| match (limit_type, counted) {
            (LimitType::Rpm, _) | (LimitType::Rpd, Counted::Call(_)) => Some(1),
            (LimitType::Tpm, Counted::Call(tokens)) => Some(tokens),
            (_, Counted::Question) => None,
        };
        let wanted = wanted(limits_of(identity), now, amount);
        let Some(status) = self.take(&wanted, now).await? else {
            return Ok(Admitted::default());
        };
        let reserved = match counted {
            Counted::Question => None,
            Counted::Call(estimated) => Some(Reserved {
                limiter: self.clone(),
                windows: wanted
                    .iter()
                    .map(|take| take.window)
                    .filter(|window| window.limit_type == LimitType::Tpm)
                    .collect(),
                estimated,
                used: 0,
            }),
        };
        Ok(Admitted { status, reserved })
    }

    /// Counts a question of `identity`.
    ///
    /// # Errors
    /// [`RateLimited`].
    pub(crate) async fn ask(
        &self,
        identity: &Identity,
    ) -> Result<RateLimitStatus, Box<RateLimited>> {
        let admitted = self.admit(identity, Counted::Question).await?;
        Ok(admitted.status)
    }

    /// Whether a call with a prompt of so many tokens would be let through now. Nothing is counted.
    ///
    /// # Errors
    /// [`RateLimited`].
    pub(crate) async fn would_admit(
        &self,
        identity: &Identity,
        tokens: u64,
    ) -> Result<(), Box<RateLimited>> {
        let now = self.0.clock.now();
        let wanted = wanted(limits_of(identity), now, |limit_type| {
            Some(match limit_type {
                LimitType::Tpm => tokens,
                LimitType::Rpm | LimitType::Rpd => 1,
            })
        });
        let question = |take: &Take| Take { amount: 0, ..*take };
        let questions: Vec<_> = wanted.iter().map(question).collect();
        let counters = self.0.counters.take(&questions);
        let Ok(Ok(found)) = tokio::time::timeout(PATIENCE, counters).await else {
            metrics::rate_counters_failed();
            return Ok(());
        };
        let status = RateLimitStatus::of(&wanted, &found, now);
        let mut used = wanted.iter().zip(&found.used);
        let short = used.find(|(take, used)| take.amount.saturating_add(**used) > take.limit);
        short.map_or(Ok(()), |(take, _)| Err(refusal(take, status, now)))
    }

    /// `None` when nothing is limited, or nobody can tell.
    async fn take(
        &self,
        wanted: &[Take],
        now: Timestamp,
    ) -> Result<Option<RateLimitStatus>, Box<RateLimited>> {
        if wanted.is_empty() {
            return Ok(None);
        }
        let taken = match tokio::time::timeout(PATIENCE, self.0.counters.take(wanted)).await {
            Ok(Ok(taken)) => taken,
            Ok(Err(error)) => {
                failed(&error);
                return Ok(None);
            }
            Err(_) => {
                metrics::rate_counters_failed();
                return Ok(None);
            }
        };
        let status = RateLimitStatus::of(wanted, &taken, now);
        match taken.refused.and_then(|index| wanted.get(index)) {
            Some(take) => Err(refusal(take, status, now)),
            None => Ok(Some(status)),
        }
    }
}

impl std::fmt::Debug for RateLimiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RateLimiter").finish_non_exhaustive()
    }
}

/// The limits that stand against a caller's requests, in the order of their subjects.
fn limits_of(identity: &Identity) -> impl Iterator<Item = (Subject, RateLimits)> {
    let set = identity
        .profile()
        .map_or_else(PlatformRateLimits::default, |profile| profile.rate_limits);
    let own = identity.end_user_id().map(|id| {
        let effective = set.of_end_user(identity.own_rate_limits());
        (Subject::EndUser(id), effective.limits)
    });
    let whole = identity
        .platform()
        .map(PlatformScope::platform_id)
        .zip(set.aggregate)
        .map(|(id, limits)| (Subject::Platform(id), limits));
    own.into_iter().chain(whole)
}

fn wanted(
    limits: impl Iterator<Item = (Subject, RateLimits)>,
    now: Timestamp,
    amount: impl Fn(LimitType) -> Option<u64>,
) -> Vec<Take> {
    let amount = &amount;
    limits
        .flat_map(|(subject, limits)| {
            LimitType::ALL.into_iter().filter_map(move |limit_type| {
                Some(Take {
                    window: Window::at(subject, limit_type, now),
                    amount: amount(limit_type)?,
                    limit: limits.of(limit_type)?,
                })
            })
        })
        .collect()
}

fn refusal(take: &Take, status: RateLimitStatus, now: Timestamp) -> Box<RateLimited> {
    Box::new(RateLimited {
        limit_type: take.window.limit_type,
        subject: take.window.subject,
        limit: take.limit,
        retry_after: take.window.left(now),
        status,
    })
}

fn failed(error: &StoreError) {
    metrics::rate_counters_failed();
    tracing::warn!(
        error = error as &dyn std::error::Error,
        "the counters of rate limits cannot be reached, so that nobody is limited"
    );
}

// === impl RateLimited ===

impl RateLimited {
    /// How long to wait, in whole seconds.
    pub fn retry_after_seconds(&self) -> u64 {
        whole_seconds(self.retry_after)
    }
}

// === impl Reserved ===

impl Reserved {
    /// How many tokens the call has used.
    pub(crate) fn used(&mut self, tokens: u64) {
        self.used = tokens;
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        let now = self.limiter.0.clock.now();
        let signed = |tokens| i64::try_from(tokens).unwrap_or(i64::MAX);
        let beyond = signed(self.used).saturating_sub(signed(self.estimated));
        for window in &self.windows {
            let window = match (window.is_over(now), beyond) {
                (_, 0) => continue,
                (false, _) => *window,
                // What outlasts its window counts in the one in which it is known.
                (true, 1..) => Window::at(window.subject, window.limit_type, now),
                (true, _) => continue,
            };
            self.limiter.0.corrections.add(window, beyond);
        }
    }
}

/// What has to be made up. As large as there are windows in use, however many calls end.
#[derive(Debug, Default)]
struct Corrections {
    sums: Mutex<BTreeMap<Window, i64>>,
    changed: Notify,
}

// === impl Corrections ===

impl Corrections {
    fn add(&self, window: Window, amount: i64) {
        let mut sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        let sum = sums.entry(window).or_default();
        *sum = sum.saturating_add(amount);
        drop(sums);
        self.changed.notify_one();
    }

    fn take(&self) -> Vec<(Window, i64)> {
        let mut sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        let sums = std::mem::take(&mut *sums).into_iter();
        sums.filter(|(_, amount)| *amount != 0).collect()
    }
}

/// Writes corrections down, and forgets windows that are over.
struct Keeper {
    counters: Arc<dyn RateCounters>,
    clock: Arc<dyn Clock>,
    corrections: Arc<Corrections>,
}

// === impl Keeper ===

impl Keeper {
    async fn run(self, stopping: CancellationToken) {
        let mut prune = tokio::time::interval(PRUNE_EVERY);
        loop {
            tokio::select! {
                () = self.corrections.changed.notified() => {
                    self.write().await;
                    tokio::time::sleep(GATHER).await;
                }
                _ = prune.tick() => {
                    if let Err(error) = self.counters.prune(self.clock.now()).await {
                        failed(&error);
                    }
                }
                () = stopping.cancelled() => break,
            }
        }
        self.write().await;
    }

    async fn write(&self) {
        let amounts = self.corrections.take();
        if amounts.is_empty() {
            return;
        }
        if let Err(error) = self.counters.add(&amounts).await {
            failed(&error);
        }
    }
}
