//! Rate limits that are set.

use async_trait::async_trait;

use super::{MemoryStore, State};
use crate::audit::{AuditEntry, OfEndUser, OfPlatform};
use crate::auth::PlatformScope;
use crate::id::{EndUserId, PlatformId};
use crate::limits::{PlatformRateLimitChanges, PlatformRateLimits, RateLimitStore, RateLimits};
use crate::store::{Changed, StoreError};

#[async_trait]
impl RateLimitStore for MemoryStore {
    async fn rate_limits(&self, scope: &PlatformScope) -> Result<PlatformRateLimits, StoreError> {
        let state = self.lock();
        state.platform(scope.platform_id())?;
        Ok(state.rate_limits_of(scope.platform_id()))
    }

    async fn update_rate_limits(
        &self,
        scope: &PlatformScope,
        changes: &PlatformRateLimitChanges,
    ) -> Result<PlatformRateLimits, StoreError> {
        let platform = scope.platform_id();
        let mut state = self.lock();
        state.platform(platform)?;
        let before = state.rate_limits_of(platform);
        let mut set = before;
        changes.apply_to(&mut set);
        let entry = AuditEntry::updated(
            scope,
            &OfPlatform(platform, before),
            &OfPlatform(platform, set),
            self.now(),
        );
        state.audit.push(entry);
        state.platform_rate_limits.insert(platform, set);
        self.tell(&mut state, platform, Changed::Holders);
        Ok(set)
    }

    async fn end_user_rate_limits(
        &self,
        scope: &PlatformScope,
        id: EndUserId,
    ) -> Result<Option<RateLimits>, StoreError> {
        let state = self.lock();
        state.end_user(scope.platform_id(), id)?;
        Ok(state.end_user_rate_limits.get(&id).copied())
    }

    async fn set_end_user_rate_limits(
        &self,
        scope: &PlatformScope,
        id: EndUserId,
        limits: Option<RateLimits>,
    ) -> Result<(), StoreError> {
        let mut state = self.lock();
        state.end_user(scope.platform_id(), id)?;
        let before = match limits {
            Some(limits) => state.end_user_rate_limits.insert(id, limits),
            None => state.end_user_rate_limits.remove(&id),
        };
        let entry = AuditEntry::updated(
            scope,
            &OfEndUser(id, before),
            &OfEndUser(id, limits),
            self.now(),
        );
        state.audit.push(entry);
        self.tell(&mut state, scope.platform_id(), Changed::Holders);
        Ok(())
    }
}

// === impl State ===

impl State {
    /// What the platform has set.
    pub(super) fn rate_limits_of(&self, platform: PlatformId) -> PlatformRateLimits {
        let set = self.platform_rate_limits.get(&platform);
        set.copied().unwrap_or_default()
    }
}
