//! [`KeyStore`] in SQL.

use std::time::Duration;

use async_trait::async_trait;
use sea_orm::sea_query::{Cond, Expr};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait,
    PaginatorTrait, QueryFilter, QueryOrder, QuerySelect, Select,
};

use super::entities::{api_key, end_user, platform, wallet};
use super::error::{conflict, corrupt, failed};
use super::query::page_of;
use super::{SqlStore, changes, commit};
use crate::audit::AuditEntry;
use crate::auth::{
    DigestScope, KeyDigest, KeyKind, KeyScope, KeyScopes, OperatorScope, PlatformScope,
};
use crate::clock::Timestamp;
use crate::id::{AccountId, KeyId};
use crate::keys::ApiKey;
use crate::limits::PlatformRateLimits;
use crate::store::sql::audit::record;
use crate::store::{Changed, KeyChanges, KeyFilter, KeyRecord, KeyStore, Listed, Page, StoreError};
use crate::tenancy::EndUserRef;

#[async_trait]
impl KeyStore for SqlStore {
    async fn find_by_digest(
        &self,
        scope: &DigestScope,
        digest: &KeyDigest,
    ) -> Result<Option<KeyRecord>, StoreError> {
        let found = api_key::Entity::by_digest(scope, digest)
            .find_also_related(platform::Entity)
            .find_also_related(wallet::Entity)
            .find_also(api_key::Entity, end_user::Entity)
            .one(self.reader())
            .await
            .map_err(failed)?;
        let Some((key, platform, wallet, end_user)) = found else {
            return Ok(None);
        };
        let platform_rate_limits = match &platform {
            Some(platform) => platform.rate_limits()?,
            None => PlatformRateLimits::default(),
        };
        let platform = match (platform, wallet) {
            (Some(platform), Some(wallet)) => {
                Some((platform.into_domain()?, AccountId(wallet.account_id)))
            }
            (None, None) => None,
            _ => return Err(corrupt("a platform without a wallet")),
        };
        let end_user_rate_limits = match &end_user {
            Some(end_user) => end_user.rate_limits()?,
            None => None,
        };
        Ok(Some(KeyRecord {
            key: key.into_domain()?,
            platform,
            end_user_is_active: end_user.map(|end_user| end_user.is_active),
            platform_rate_limits,
            end_user_rate_limits,
        }))
    }

    async fn touch(&self, _: &DigestScope, used: &[(KeyId, Timestamp)]) -> Result<(), StoreError> {
        if used.is_empty() {
            return Ok(());
        }
        let txn = self.begin_write().await?;
        for (id, at) in used {
            let earlier = Cond::any()
                .add(api_key::Column::LastUsedAt.is_null())
                .add(api_key::Column::LastUsedAt.lt(at.as_micros()));
            api_key::Entity::update_many()
                .col_expr(api_key::Column::LastUsedAt, Expr::val(at.as_micros()))
                .filter(api_key::Column::Id.eq(id.as_uuid()))
                .filter(earlier)
                .exec(&txn)
                .await
                .map_err(failed)?;
        }
        commit(txn).await
    }

    async fn create(
        &self,
        scope: &PlatformScope,
        key: ApiKey,
        active_max: u32,
    ) -> Result<(), StoreError> {
        let txn = self.begin_write().await?;
        // The holder's row is locked, so that two keys made at once are counted one after the
        // other.
        let mut siblings = match key.end_user_id {
            None => {
                lock_platform(&txn, scope).await?;
                api_key::Entity::of_platform(scope)
            }
            Some(id) => {
                let holder = end_user::Entity::one_of(scope, &EndUserRef::Id(id)).lock_exclusive();
                holder
                    .one(&txn)
                    .await
                    .map_err(failed)?
                    .ok_or(StoreError::NotFound)?;
                api_key::Entity::of_end_user(scope, id)
            }
        };
        siblings = siblings.filter(api_key::Column::IsActive.eq(true));
        if siblings.count(&txn).await.map_err(failed)? >= u64::from(active_max) {
            return Err(StoreError::Conflict("key limit"));
        }
        insert(&txn, scope, &key).await?;
        let entry = AuditEntry::created(scope, &key, self.now());
        record(&txn, entry).await?;
        commit(txn).await
    }

    async fn rotate(
        &self,
        scope: &PlatformScope,
        key: ApiKey,
        grace: Duration,
        active_max: u32,
    ) -> Result<(), StoreError> {
        let end_user = key.end_user_id.ok_or(StoreError::NotFound)?;
        let txn = self.begin_write().await?;
        let holder = end_user::Entity::one_of(scope, &EndUserRef::Id(end_user)).lock_exclusive();
        let holder = holder.one(&txn).await.map_err(failed)?;
        holder.ok_or(StoreError::NotFound)?;
        let others = api_key::Entity::of_end_user(scope, end_user)
            .filter(api_key::Column::IsActive.eq(true))
            .order_by_asc(api_key::Column::Id)
            .lock_exclusive();
        let others = others.all(&txn).await.map_err(failed)?;
        if !grace.is_zero() && others.len() >= active_max as usize {
            return Err(StoreError::Conflict("key limit"));
        }
        let now = self.now();
        for other in others {
            let mut other = other.into_domain()?;
            other.retire(now, grace);
            let row = api_key::row(Some(scope.platform_id()), &other);
            row.update(&txn).await.map_err(failed)?;
        }
        insert(&txn, scope, &key).await?;
        let entry = AuditEntry::about(scope, "rotate", None, &key, now);
        record(&txn, entry).await?;
        changes::tell(&txn, scope.platform_id(), Changed::Holders, now).await?;
        commit(txn).await
    }

    async fn create_operator(&self, _: &OperatorScope, key: ApiKey) -> Result<(), StoreError> {
        let txn = self.begin_write().await?;
        let row = api_key::row(
            None,
            &ApiKey {
                kind: KeyKind::Operator,
                end_user_id: None,
                ..key
            },
        );
        row.insert(&txn)
            .await
            .map_err(|error| conflict(error, "key"))?;
        commit(txn).await
    }

    async fn has_operator(&self, scope: &OperatorScope) -> Result<bool, StoreError> {
        let found = api_key::Entity::of_operator(scope)
            .limit(1)
            .one(self.reader())
            .await
            .map_err(failed)?;
        Ok(found.is_some())
    }

    async fn list(
        &self,
        scope: &PlatformScope,
        filter: &KeyFilter,
        page: Page,
    ) -> Result<Listed<ApiKey>, StoreError> {
        let mut select = match filter.end_user_id {
            Some(id) => api_key::Entity::of_end_user(scope, id),
            None if filter.of_end_users => {
                api_key::Entity::of(scope).filter(api_key::Column::EndUserId.is_not_null())
            }
            None => api_key::Entity::of_platform(scope),
        };
        if let Some(is_active) = filter.is_active {
            select = select.filter(api_key::Column::IsActive.eq(is_active));
        }
        let txn = self.begin_read().await?;
        page_of(
            &txn,
            api_key::newest_first(select),
            page,
            api_key::Model::into_domain,
        )
        .await
    }

    async fn key(&self, scope: &PlatformScope, id: KeyId) -> Result<ApiKey, StoreError> {
        let select = api_key::Entity::one_of(scope, id);
        find(self.reader(), select).await?.into_domain()
    }

    async fn update(
        &self,
        scope: &PlatformScope,
        id: KeyId,
        changes: &KeyChanges,
    ) -> Result<ApiKey, StoreError> {
        let txn = self.begin_write().await?;
        lock_platform(&txn, scope).await?;
        let stored = find(&txn, api_key::Entity::one_of(scope, id).lock_exclusive()).await?;
        let now = self.now();
        let managed = manages(&stored, now);
        let mut key = stored.into_domain()?;
        let before = key.clone();
        changes.apply_to(&mut key);
        let entry = AuditEntry::updated(scope, &before, &key, now);
        record(&txn, entry).await?;
        api_key::row(Some(scope.platform_id()), &key)
            .update(&txn)
            .await
            .map_err(failed)?;
        if managed {
            refuse_without_manager(&txn, scope, now).await?;
        }
        changes::tell(&txn, scope.platform_id(), Changed::Holders, now).await?;
        commit(txn).await?;
        Ok(key)
    }

    async fn delete(&self, scope: &PlatformScope, id: KeyId) -> Result<(), StoreError> {
        let txn = self.begin_write().await?;
        lock_platform(&txn, scope).await?;
        let stored = find(&txn, api_key::Entity::one_of(scope, id).lock_exclusive()).await?;
        let now = self.now();
        api_key::Entity::delete_by_id(stored.id)
            .exec(&txn)
            .await
            .map_err(failed)?;
        if manages(&stored, now) {
            refuse_without_manager(&txn, scope, now).await?;
        }
        let entry = AuditEntry::deleted(scope, &stored.into_domain()?, now);
        record(&txn, entry).await?;
        changes::tell(&txn, scope.platform_id(), Changed::Holders, now).await?;
        commit(txn).await
    }
}

/// Inserts a key of the platform or of one of its end users.
pub(super) async fn insert(
    txn: &DatabaseTransaction,
    scope: &PlatformScope,
    key: &ApiKey,
) -> Result<(), StoreError> {
    let row = api_key::row(Some(scope.platform_id()), key);
    row.insert(txn)
        .await
        .map(drop)
        .map_err(|error| conflict(error, "key"))
}

/// Locks the platform's row.
pub(super) async fn lock_platform(
    txn: &DatabaseTransaction,
    scope: &PlatformScope,
) -> Result<platform::Model, StoreError> {
    let row = platform::Entity::of(scope)
        .lock_exclusive()
        .one(txn)
        .await
        .map_err(failed)?;
    row.ok_or(StoreError::NotFound)
}

async fn find(
    db: &impl ConnectionTrait,
    select: Select<api_key::Entity>,
) -> Result<api_key::Model, StoreError> {
    select
        .one(db)
        .await
        .map_err(failed)?
        .ok_or(StoreError::NotFound)
}

/// Whether a key lets its holder manage the platform now.
fn manages(key: &api_key::Model, now: Timestamp) -> bool {
    let is_platform_key = key.kind == api_key::number(KeyKind::Platform);
    let works = key.is_active && key.expires_at.is_none_or(|at| at > now.as_micros());
    is_platform_key
        && works
        && KeyScopes::from_bits(key.scopes).allow(KeyKind::Platform, KeyScope::Management)
}

async fn refuse_without_manager(
    txn: &DatabaseTransaction,
    scope: &PlatformScope,
    now: Timestamp,
) -> Result<(), StoreError> {
    let active = api_key::Entity::of_platform(scope).filter(api_key::Column::IsActive.eq(true));
    let keys = active.all(txn).await.map_err(failed)?;
    if keys.iter().any(|key| manages(key, now)) {
        Ok(())
    } else {
        Err(StoreError::Conflict("last platform key"))
    }
}
