//! Commands on rate limits.

use std::sync::Arc;

use super::{
    EffectiveRateLimits, PlatformRateLimitChanges, PlatformRateLimits, RateLimitStore, RateLimits,
};
use crate::auth::{Authenticator, EndUserScope, PlatformScope};
use crate::command::{Command, CommandError};
use crate::id::EndUserId;
use crate::store::TenancyStore;
use crate::tenancy::EndUserRef;
use crate::tenancy::commands::end_users::not_found;

/// The domain of rate limits.
pub struct RateLimitKeeper {
    pub(crate) store: Arc<dyn RateLimitStore>,
    pub(crate) tenancy: Arc<dyn TenancyStore>,
    pub(crate) authenticator: Authenticator,
}

/// Reads what the platform has set.
#[derive(Clone, Copy, Debug)]
pub struct ReadRateLimits;

/// Changes what the platform has set. It holds from the next request on, on all nodes.
#[derive(Clone, Copy, Debug, Default)]
pub struct UpdateRateLimits(pub PlatformRateLimitChanges);

/// Reads what applies to an end user.
#[derive(Clone, Debug)]
pub struct ReadEndUserRateLimits(pub EndUserRef);

/// Gives an end user limits of its own, which are taken whole.
#[derive(Clone, Debug)]
pub struct SetEndUserRateLimits {
    /// Whom.
    pub end_user: EndUserRef,
    /// Its limits.
    pub limits: RateLimits,
}

/// Takes an end user's own limits away, if it has any.
#[derive(Clone, Debug)]
pub struct RemoveEndUserRateLimits(pub EndUserRef);

/// Reads what applies to the end user that asks.
#[derive(Clone, Copy, Debug)]
pub struct OwnRateLimits;

impl Command<RateLimitKeeper> for ReadRateLimits {
    const NAME: &'static str = "read_rate_limits";
    type Authority = PlatformScope;
    type Output = PlatformRateLimits;

    async fn run(
        self,
        domain: &RateLimitKeeper,
        scope: PlatformScope,
    ) -> Result<PlatformRateLimits, CommandError> {
        Ok(domain.store.rate_limits(&scope).await?)
    }
}

impl Command<RateLimitKeeper> for UpdateRateLimits {
    const NAME: &'static str = "update_rate_limits";
    type Authority = PlatformScope;
    type Output = PlatformRateLimits;

    async fn run(
        self,
        domain: &RateLimitKeeper,
        scope: PlatformScope,
    ) -> Result<PlatformRateLimits, CommandError> {
        let set = domain.store.update_rate_limits(&scope, &self.0).await?;
        domain.authenticator.forget(scope.platform_id());
        Ok(set)
    }
}

impl Command<RateLimitKeeper> for ReadEndUserRateLimits {
    const NAME: &'static str = "read_end_user_rate_limits";
    type Authority = PlatformScope;
    type Output = EffectiveRateLimits;

    async fn run(
        self,
        domain: &RateLimitKeeper,
        scope: PlatformScope,
    ) -> Result<EffectiveRateLimits, CommandError> {
        let id = domain.find(&scope, &self.0).await?;
        domain.effective(&scope, id).await
    }
}

impl Command<RateLimitKeeper> for SetEndUserRateLimits {
    const NAME: &'static str = "set_end_user_rate_limits";
    type Authority = PlatformScope;
    type Output = EffectiveRateLimits;

    async fn run(
        self,
        domain: &RateLimitKeeper,
        scope: PlatformScope,
    ) -> Result<EffectiveRateLimits, CommandError> {
        let id = domain.find(&scope, &self.end_user).await?;
        domain.set(&scope, id, Some(self.limits)).await?;
        domain.effective(&scope, id).await
    }
}

impl Command<RateLimitKeeper> for RemoveEndUserRateLimits {
    const NAME: &'static str = "remove_end_user_rate_limits";
    type Authority = PlatformScope;
    type Output = ();

    async fn run(self, domain: &RateLimitKeeper, scope: PlatformScope) -> Result<(), CommandError> {
        let id = domain.find(&scope, &self.0).await?;
        domain.set(&scope, id, None).await
    }
}

impl Command<RateLimitKeeper> for OwnRateLimits {
    const NAME: &'static str = "own_rate_limits";
    type Authority = EndUserScope;
    type Output = EffectiveRateLimits;

    async fn run(
        self,
        domain: &RateLimitKeeper,
        scope: EndUserScope,
    ) -> Result<EffectiveRateLimits, CommandError> {
        let id = scope.end_user_id();
        domain.effective(scope.platform(), id).await
    }
}

// === impl RateLimitKeeper ===

impl RateLimitKeeper {
    async fn find(
        &self,
        scope: &PlatformScope,
        end_user: &EndUserRef,
    ) -> Result<EndUserId, CommandError> {
        let found = self.tenancy.end_user(scope, end_user).await;
        Ok(found.map_err(not_found)?.id)
    }

    async fn effective(
        &self,
        scope: &PlatformScope,
        id: EndUserId,
    ) -> Result<EffectiveRateLimits, CommandError> {
        let own = self.store.end_user_rate_limits(scope, id).await;
        let own = own.map_err(not_found)?;
        let set = self.store.rate_limits(scope).await?;
        Ok(set.of_end_user(own))
    }

    async fn set(
        &self,
        scope: &PlatformScope,
        id: EndUserId,
        limits: Option<RateLimits>,
    ) -> Result<(), CommandError> {
        let set = self.store.set_end_user_rate_limits(scope, id, limits).await;
        set.map_err(not_found)?;
        self.authenticator.forget(scope.platform_id());
        Ok(())
    }
}

impl std::fmt::Debug for RateLimitKeeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RateLimitKeeper").finish_non_exhaustive()
    }
}
