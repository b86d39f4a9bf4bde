//! What was used of a window: the seam for counters that nodes share.

use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::id::{EndUserId, PlatformId};
use crate::store::StoreError;

const MINUTE: i64 = 60_000_000;
const DAY: i64 = 1_440 * MINUTE;

/// A kind of limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitType {
    /// Requests in a minute.
    Rpm = 1,
    /// Tokens in a minute.
    Tpm = 2,
    /// Requests in a day.
    Rpd = 3,
}

/// Whose use is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// What one end user does.
    EndUser(EndUserId),
    /// Everything that happens on a platform.
    Platform(PlatformId),
}

/// A minute or a day of a subject, of one kind of limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Window {
    /// Whose.
    pub subject: Subject,
    /// Of what.
    pub limit_type: LimitType,
    /// When it began.
    pub start: Timestamp,
}

/// An amount that is to be taken from a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Take {
    /// From which.
    pub window: Window,
    /// Requests or tokens. 0 takes nothing and asks what was used.
    pub amount: u64,
    /// The most that may be used of the window.
    pub limit: u64,
}

/// What taking has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// What is used of each window now, in the order in which they were named.
    pub used: Vec<u64>,
    /// The first window of which too little was left. Then nothing was taken from any of them.
    pub refused: Option<usize>,
}

/// Counts what was used of windows. Where several nodes serve the same platforms, they share one.
///
/// The conformance suite in [`crate::testing`] says what an implementation has to keep.
#[async_trait]
pub trait RateCounters: Send + Sync + 'static {
    /// Takes amounts from windows, from all of them or from none, in one act. What others take at the same time
    /// never adds up to more than a limit.
    ///
    /// The windows are different ones, in ascending order.
    async fn take(&self, wanted: &[Take]) -> Result<Taken, StoreError>;

    /// Adds to what was used of windows, whatever their limits are. A negative amount gives back; nothing goes
    /// below 0.
    ///
    /// The windows are different ones, in ascending order.
    async fn add(&self, amounts: &[(Window, i64)]) -> Result<(), StoreError>;

    /// Forgets windows that ended before `now`; those that ended lately may stay.
    async fn prune(&self, now: Timestamp) -> Result<(), StoreError>;
}

// === impl LimitType ===

impl LimitType {
    /// All kinds, in ascending order.
    pub const ALL: [Self; 3] = [Self::Rpm, Self::Tpm, Self::Rpd];

    /// As in errors.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rpm => "rpm",
            Self::Tpm => "tpm",
            Self::Rpd => "rpd",
        }
    }

    /// What is limited, for people.
    pub(super) const fn described(self) -> &'static str {
        match self {
            Self::Rpm => "requests per minute",
            Self::Tpm => "tokens per minute",
            Self::Rpd => "requests per day",
        }
    }

    /// When the window began that a time is in.
    pub(crate) fn window_start(self, now: Timestamp) -> Timestamp {
        let micros = now.as_micros();
        Timestamp::from_micros(micros - micros.rem_euclid(self.length()))
    }

    const fn length(self) -> i64 {
        match self {
            Self::Rpm | Self::Tpm => MINUTE,
            Self::Rpd => DAY,
        }
    }
}

// === impl Subject ===

impl Subject {
    /// The id of the end user or platform.
    pub const fn as_uuid(self) -> Uuid {
        match self {
            Self::EndUser(id) => id.as_uuid(),
            Self::Platform(id) => id.as_uuid(),
        }
    }

    /// As in errors.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EndUser(_) => "end_user",
            Self::Platform(_) => "platform",
        }
    }

    /// Whose limit it is, for people.
    pub(super) const fn described(self) -> &'static str {
        match self {
            Self::EndUser(_) => "end user's",
            Self::Platform(_) => "platform's",
        }
    }
}

// === impl Window ===

impl Window {
    /// The window at a time.
    pub fn at(subject: Subject, limit_type: LimitType, now: Timestamp) -> Self {
        Self {
            subject,
            limit_type,
            start: limit_type.window_start(now),
        }
    }

    /// Whether the window is over.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.ends_at() <= now.as_micros()
    }

    /// How long the window still is.
    pub(super) fn left(&self, now: Timestamp) -> Duration {
        let micros = self.ends_at() - now.as_micros();
        Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    }

    fn ends_at(&self) -> i64 {
        self.start.as_micros() + self.limit_type.length()
    }
}
