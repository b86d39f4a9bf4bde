//! How much is left, and the headers that say so.

use std::fmt::Display;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::counters::{LimitType, Take, Taken};
use crate::clock::Timestamp;

/// What a caller may still do. Of several limits of one kind, the one of which the least is left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RateLimitStatus {
    /// Requests of this minute.
    pub rpm: Option<Remaining>,
    /// Tokens of this minute.
    pub tpm: Option<Remaining>,
    /// Requests of this day.
    pub rpd: Option<Remaining>,
}

/// What is left of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remaining {
    /// The most that may be used.
    pub limit: u64,
    /// What is left of it.
    pub left: u64,
    /// How long until the next window begins.
    pub resets_in: Duration,
}

// === impl RateLimitStatus ===

impl RateLimitStatus {
    pub(super) fn of(wanted: &[Take], taken: &Taken, now: Timestamp) -> Self {
        let mut status = Self::default();
        for (take, used) in wanted.iter().zip(&taken.used) {
            let remaining = Remaining {
                limit: take.limit,
                left: take.limit.saturating_sub(*used),
                resets_in: take.window.left(now),
            };
            let shown = match take.window.limit_type {
                LimitType::Rpm => &mut status.rpm,
                LimitType::Tpm => &mut status.tpm,
                LimitType::Rpd => &mut status.rpd,
            };
            if shown.is_none_or(|shown| remaining.left < shown.left) {
                *shown = Some(remaining);
            }
        }
        status
    }

    /// Says it with the names that OpenAI's API uses, and two of the same form for the day.
    pub fn write(&self, headers: &mut HeaderMap) {
        let mut put = |name: &'static str, value: &dyn Display| {
            if let Ok(value) = HeaderValue::from_str(&value.to_string()) {
                headers.insert(HeaderName::from_static(name), value);
            }
        };
        if let Some(rpm) = self.rpm {
            put("x-ratelimit-limit-requests", &rpm.limit);
            put("x-ratelimit-remaining-requests", &rpm.left);
            put("x-ratelimit-reset-requests", &rpm.resets());
        }
        if let Some(tpm) = self.tpm {
            put("x-ratelimit-limit-tokens", &tpm.limit);
            put("x-ratelimit-remaining-tokens", &tpm.left);
            put("x-ratelimit-reset-tokens", &tpm.resets());
        }
        if let Some(rpd) = self.rpd {
            put("x-ratelimit-limit-requests-day", &rpd.limit);
            put("x-ratelimit-remaining-requests-day", &rpd.left);
        }
    }
}

// === impl Remaining ===

impl Remaining {
    /// A duration as OpenAI writes it, in whole seconds.
    fn resets(&self) -> String {
        format!("{}s", whole_seconds(self.resets_in))
    }
}

/// Rounded up: a caller that waits shorter comes too early.
pub(super) fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}
