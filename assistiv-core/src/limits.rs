//! Rate limits: requests and tokens in a minute, and requests in a day.
//!
//! A platform sets limits for each of its end users, with overrides for single ones, and limits for itself as a
//! whole. Windows are the minutes and days of UTC. What was used of a window is counted by [`RateCounters`],
//! which all nodes share where there is more than one. Counters that cannot be reached refuse nobody: limits
//! protect providers and fair use, and money is protected elsewhere.

mod commands;
mod counters;
mod layer;
mod limiter;
mod memory;
mod status;

pub use commands::{
    OwnRateLimits, RateLimitKeeper, ReadEndUserRateLimits, ReadRateLimits, RemoveEndUserRateLimits,
    SetEndUserRateLimits, UpdateRateLimits,
};
pub use counters::{LimitType, RateCounters, Subject, Take, Taken, Window};
pub use layer::{RateLimit, RateLimitLayer};
pub(crate) use limiter::Reserved;
pub use limiter::{RateLimited, RateLimiter};
pub use memory::MemoryCounters;
pub use status::{RateLimitStatus, Remaining};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::auth::PlatformScope;
use crate::id::EndUserId;
use crate::store::StoreError;

/// Limits of calls. `None` is no limit, and 0 lets nothing through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateLimits {
    /// Requests in a minute.
    pub rpm: Option<u64>,
    /// Tokens in a minute.
    pub tpm: Option<u64>,
    /// Requests in a day.
    pub rpd: Option<u64>,
}

/// What a platform has set. An aggregate that is `None` limits nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlatformRateLimits {
    /// For each end user without an override, by itself.
    pub default: Option<RateLimits>,
    /// For everything on the platform together, what its own keys do included.
    pub aggregate: Option<RateLimits>,
}

/// Changes of what a platform has set; what is `None` stays, and the inner `None` takes it away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlatformRateLimitChanges {
    /// For each end user.
    pub default: Option<Option<RateLimits>>,
    /// For everything together.
    pub aggregate: Option<Option<RateLimits>>,
}

/// The limits that apply to an end user, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EffectiveRateLimits {
    /// The limits.
    pub limits: RateLimits,
    /// Where they come from.
    pub resolution: Resolution,
}

/// Where an end user's limits come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Resolution {
    /// An override, which is taken whole.
    Explicit,
    /// The platform's default.
    Default,
    /// Nothing is set.
    None,
}

/// What is set, for platforms and end users.
#[async_trait]
pub trait RateLimitStore: Send + Sync + 'static {
    /// What the platform has set.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    async fn rate_limits(&self, scope: &PlatformScope) -> Result<PlatformRateLimits, StoreError>;

    /// Changes what the platform has set, gives what it became, and tells other nodes.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    async fn update_rate_limits(
        &self,
        scope: &PlatformScope,
        changes: &PlatformRateLimitChanges,
    ) -> Result<PlatformRateLimits, StoreError>;

    /// The override of an end user.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when there is no such end user.
    async fn end_user_rate_limits(
        &self,
        scope: &PlatformScope,
        id: EndUserId,
    ) -> Result<Option<RateLimits>, StoreError>;

    /// Sets or removes the override of an end user, and tells other nodes.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when there is no such end user.
    async fn set_end_user_rate_limits(
        &self,
        scope: &PlatformScope,
        id: EndUserId,
        limits: Option<RateLimits>,
    ) -> Result<(), StoreError>;
}

// === impl RateLimits ===

impl RateLimits {
    /// The limit of one kind.
    pub fn of(&self, limit_type: LimitType) -> Option<u64> {
        match limit_type {
            LimitType::Rpm => self.rpm,
            LimitType::Tpm => self.tpm,
            LimitType::Rpd => self.rpd,
        }
    }

    /// Whether nothing is limited.
    pub fn is_unlimited(&self) -> bool {
        *self == Self::default()
    }
}

// === impl PlatformRateLimits ===

impl PlatformRateLimits {
    /// What applies to an end user with this override.
    pub fn of_end_user(&self, own: Option<RateLimits>) -> EffectiveRateLimits {
        let (limits, resolution) = match (own, self.default) {
            (Some(own), _) => (own, Resolution::Explicit),
            (None, Some(default)) => (default, Resolution::Default),
            (None, None) => (RateLimits::default(), Resolution::None),
        };
        EffectiveRateLimits { limits, resolution }
    }
}

// === impl PlatformRateLimitChanges ===

impl PlatformRateLimitChanges {
    /// Lays the changes over what is set.
    pub fn apply_to(&self, set: &mut PlatformRateLimits) {
        if let Some(default) = self.default {
            set.default = default;
        }
        if let Some(aggregate) = self.aggregate {
            set.aggregate = aggregate;
        }
    }
}
