//! [`RateLimitStore`] in SQL: documents beside what they limit, read with every key.

use async_trait::async_trait;
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use serde::Serialize;

use super::changes::tell;
use super::entities::{end_user, platform};
use super::error::{corrupt, failed};
use super::keys::lock_platform;
use super::tenancy::lock_end_user;
use super::{SqlStore, commit};
use crate::audit::{AuditEntry, OfEndUser, OfPlatform};
use crate::auth::PlatformScope;
use crate::id::EndUserId;
use crate::limits::{PlatformRateLimitChanges, PlatformRateLimits, RateLimitStore, RateLimits};
use crate::store::sql::audit::record;
use crate::store::{Changed, StoreError};
use crate::tenancy::EndUserRef;

#[async_trait]
impl RateLimitStore for SqlStore {
    async fn rate_limits(&self, scope: &PlatformScope) -> Result<PlatformRateLimits, StoreError> {
        let row = platform::Entity::of(scope).one(self.reader()).await;
        let row = row.map_err(failed)?.ok_or(StoreError::NotFound)?;
        row.rate_limits()
    }

    async fn update_rate_limits(
        &self,
        scope: &PlatformScope,
        changes: &PlatformRateLimitChanges,
    ) -> Result<PlatformRateLimits, StoreError> {
        let txn = self.begin_write().await?;
        lock_platform(&txn, scope).await?;
        let row = platform::Entity::of(scope).one(&txn).await;
        let row = row.map_err(failed)?.ok_or(StoreError::NotFound)?;
        let before = row.rate_limits()?;
        let mut set = before;
        changes.apply_to(&mut set);
        let platform = scope.platform_id();
        let entry = AuditEntry::updated(
            scope,
            &OfPlatform(platform, before),
            &OfPlatform(platform, set),
            self.now(),
        );
        record(&txn, entry).await?;
        platform::Entity::update_many()
            .col_expr(platform::Column::RateLimits, Expr::val(written(&set)?))
            .filter(platform::Column::Id.eq(scope.platform_id().as_uuid()))
            .exec(&txn)
            .await
            .map_err(failed)?;
        tell(&txn, scope.platform_id(), Changed::Holders, self.now()).await?;
        commit(txn).await?;
        Ok(set)
    }

    async fn end_user_rate_limits(
        &self,
        scope: &PlatformScope,
        id: EndUserId,
    ) -> Result<Option<RateLimits>, StoreError> {
        let row = end_user::Entity::one_of(scope, &EndUserRef::Id(id))
            .one(self.reader())
            .await
            .map_err(failed)?;
        row.ok_or(StoreError::NotFound)?.rate_limits()
    }

    async fn set_end_user_rate_limits(
        &self,
        scope: &PlatformScope,
        id: EndUserId,
        limits: Option<RateLimits>,
    ) -> Result<(), StoreError> {
        let text = limits.as_ref().map(written).transpose()?;
        let txn = self.begin_write().await?;
        let before = lock_end_user(&txn, scope, id).await?.rate_limits()?;
        end_user::Entity::update_many()
            .col_expr(end_user::Column::RateLimits, Expr::val(text))
            .filter(end_user::Column::PlatformId.eq(scope.platform_id().as_uuid()))
            .filter(end_user::Column::Id.eq(id.as_uuid()))
            .exec(&txn)
            .await
            .map_err(failed)?;
        let entry = AuditEntry::updated(
            scope,
            &OfEndUser(id, before),
            &OfEndUser(id, limits),
            self.now(),
        );
        record(&txn, entry).await?;
        tell(&txn, scope.platform_id(), Changed::Holders, self.now()).await?;
        commit(txn).await
    }
}

fn written(limits: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(limits).map_err(|_| corrupt("limits that cannot be written as JSON"))
}
