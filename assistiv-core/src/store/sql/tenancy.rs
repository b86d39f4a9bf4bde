//! [`TenancyStore`] in SQL.

mod opening;
mod removal;

use async_trait::async_trait;
use sea_orm::sea_query::{CaseStatement, Cond, Expr, OnConflict, Order};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, DatabaseTransaction, EntityTrait, QueryFilter, QueryOrder,
    QuerySelect, Select, Set,
};

use super::changes::tell;
use super::entities::{api_key, end_user, platform};
use super::error::{conflict, failed};
use super::query::{contains, page_of};
use super::{SqlStore, commit, events, keys};
use crate::audit::AuditEntry;
use crate::auth::{OperatorScope, PlatformScope};
use crate::events::{EventType, about_end_user};
use crate::id::EndUserId;
use crate::keys::ApiKey;
use crate::store::sql::audit::record;
use crate::store::{
    Changed, EndUserChanges, EndUserFilter, Listed, NewEndUser, NewPlatform, Page, PlatformChanges,
    PlatformFilter, StoreError, TenancyStore, Upsert,
};
use crate::tenancy::{EndUser, EndUserRef, Platform};

#[async_trait]
impl TenancyStore for SqlStore {
    async fn create_platform(
        &self,
        scope: &OperatorScope,
        new: NewPlatform,
    ) -> Result<Platform, StoreError> {
        let scope = scope.over(new.platform.id);
        let txn = self.begin_write().await?;
        let row = platform::row(&new.platform)?;
        row.insert(&txn)
            .await
            .map_err(|error| conflict(error, "slug"))?;
        keys::insert(
            &txn,
            &scope,
            &ApiKey {
                end_user_id: None,
                ..new.key
            },
        )
        .await?;
        opening::wallet(&txn, &scope, &new.wallet, self.now()).await?;
        let entry = AuditEntry::created(&scope, &new.platform, self.now());
        record(&txn, entry).await?;
        commit(txn).await?;
        Ok(new.platform)
    }

    async fn platforms(
        &self,
        scope: &OperatorScope,
        filter: &PlatformFilter,
        page: Page,
    ) -> Result<Listed<Platform>, StoreError> {
        let mut select = platform::Entity::all(scope);
        if let Some(query) = &filter.query {
            let name = contains(platform::Column::Name, query);
            select = select.filter(
                Cond::any()
                    .add(name)
                    .add(contains(platform::Column::Slug, query)),
            );
        }
        let txn = self.begin_read().await?;
        page_of(&txn, select, page, platform::Model::into_domain).await
    }

    async fn platform(&self, scope: &PlatformScope) -> Result<Platform, StoreError> {
        let row = platform::Entity::of(scope)
            .one(self.reader())
            .await
            .map_err(failed)?;
        row.ok_or(StoreError::NotFound)?.into_domain()
    }

    async fn update_platform(
        &self,
        scope: &PlatformScope,
        changes: &PlatformChanges,
    ) -> Result<Platform, StoreError> {
        let txn = self.begin_write().await?;
        let mut platform = keys::lock_platform(&txn, scope).await?.into_domain()?;
        let before = platform.clone();
        changes.apply_to(&mut platform, self.now());
        let entry = AuditEntry::updated(scope, &before, &platform, self.now());
        record(&txn, entry).await?;
        platform::row(&platform)?
            .update(&txn)
            .await
            .map_err(|error| conflict(error, "slug"))?;
        tell(&txn, scope.platform_id(), Changed::Holders, self.now()).await?;
        commit(txn).await?;
        Ok(platform)
    }

    async fn delete_platform(&self, scope: &PlatformScope) -> Result<(), StoreError> {
        self.retrying(|| removal::platform(self, scope)).await
    }

    async fn create_end_user(
        &self,
        scope: &PlatformScope,
        new: NewEndUser,
    ) -> Result<Upsert<EndUser>, StoreError> {
        self.retrying(|| create_end_user(self, scope, new.clone()))
            .await
    }

    async fn end_users(
        &self,
        scope: &PlatformScope,
        filter: &EndUserFilter,
        page: Page,
    ) -> Result<Listed<EndUser>, StoreError> {
        let txn = self.begin_read().await?;
        page_of(
            &txn,
            selection(scope, filter),
            page,
            end_user::Model::into_domain,
        )
        .await
    }

    async fn end_user(
        &self,
        scope: &PlatformScope,
        end_user: &EndUserRef,
    ) -> Result<EndUser, StoreError> {
        let row = end_user::Entity::one_of(scope, end_user)
            .one(self.reader())
            .await
            .map_err(failed)?;
        row.ok_or(StoreError::NotFound)?.into_domain()
    }

    async fn update_end_user(
        &self,
        scope: &PlatformScope,
        end_user: &EndUserRef,
        changes: &EndUserChanges,
    ) -> Result<EndUser, StoreError> {
        let txn = self.begin_write().await?;
        let stored = lock_named(&txn, scope, end_user).await?;
        let mut end_user = stored.into_domain()?;
        let before = end_user.clone();
        changes.apply_to(&mut end_user, self.now());
        let entry = AuditEntry::updated(scope, &before, &end_user, self.now());
        record(&txn, entry).await?;
        let row = end_user::row(scope, &end_user)?;
        row.update(&txn).await.map_err(failed)?;
        tell(&txn, scope.platform_id(), Changed::Holders, self.now()).await?;
        commit(txn).await?;
        Ok(end_user)
    }

    async fn delete_end_user(
        &self,
        scope: &PlatformScope,
        id: EndUserId,
    ) -> Result<(), StoreError> {
        self.retrying(|| removal::end_user(self, scope, id)).await
    }
}

/// Makes an end user, or adds a key to the one that has the name.
async fn create_end_user(
    store: &SqlStore,
    scope: &PlatformScope,
    new: NewEndUser,
) -> Result<Upsert<EndUser>, StoreError> {
    let txn = store.begin_write().await?;
    // Shared: end users are made side by side, and the platform stays while they are.
    let platform = platform::Entity::of(scope)
        .lock_shared()
        .one(&txn)
        .await
        .map_err(failed)?;
    platform.ok_or(StoreError::NotFound)?;
    let row = end_user::row(scope, &new.end_user)?;
    let unless_taken =
        OnConflict::columns([end_user::Column::PlatformId, end_user::Column::ExternalId])
            .do_nothing()
            .to_owned();
    let inserted = end_user::Entity::insert(row)
        .on_conflict(unless_taken)
        .exec_without_returning(&txn)
        .await;
    let made = if inserted.map_err(failed)? == 1 {
        keys::insert(
            &txn,
            scope,
            &ApiKey {
                end_user_id: Some(new.end_user.id),
                ..new.key
            },
        )
        .await?;
        if let Some(budget) = new.budget {
            opening::budget(&txn, scope, new.end_user.id, budget, store.now()).await?;
        }
        let made = about_end_user(EventType::EndUserCreated, &new.end_user, store.now());
        events::insert(&txn, [made]).await?;
        let entry = AuditEntry::created(scope, &new.end_user, store.now());
        record(&txn, entry).await?;
        Upsert::Created(new.end_user)
    } else {
        let mut key = new.key.clone();
        let existing = add_key(&txn, scope, new).await?;
        key.end_user_id = Some(existing.id);
        let entry = AuditEntry::created(scope, &key, store.now());
        record(&txn, entry).await?;
        // Another key may have given way.
        tell(&txn, scope.platform_id(), Changed::Holders, store.now()).await?;
        Upsert::Existing(existing)
    };
    commit(txn).await?;
    Ok(made)
}

/// Locks the row of an end user of the platform.
pub(super) async fn lock_end_user(
    txn: &DatabaseTransaction,
    scope: &PlatformScope,
    id: EndUserId,
) -> Result<end_user::Model, StoreError> {
    lock_named(txn, scope, &EndUserRef::Id(id)).await
}

async fn lock_named(
    txn: &DatabaseTransaction,
    scope: &PlatformScope,
    end_user: &EndUserRef,
) -> Result<end_user::Model, StoreError> {
    let row = end_user::Entity::one_of(scope, end_user)
        .lock_exclusive()
        .one(txn)
        .await;
    row.map_err(failed)?.ok_or(StoreError::NotFound)
}

fn selection(scope: &PlatformScope, filter: &EndUserFilter) -> Select<end_user::Entity> {
    let mut select = end_user::Entity::of(scope);
    if let Some(external_id) = &filter.external_id {
        select = select.filter(end_user::Column::ExternalId.eq(external_id));
    }
    if let Some(is_active) = filter.is_active {
        select = select.filter(end_user::Column::IsActive.eq(is_active));
    }
    if let Some(query) = &filter.query {
        let external_id = contains(end_user::Column::ExternalId, query);
        let display_name = contains(end_user::Column::DisplayName, query);
        let exact_first = CaseStatement::new()
            .case(end_user::Column::ExternalId.eq(query), Expr::val(0))
            .finally(Expr::val(1));
        select = select
            .filter(Cond::any().add(external_id).add(display_name))
            .order_by(Into::<Expr>::into(exact_first), Order::Asc);
    }
    end_user::newest_first(select)
}

/// Adds a key to the end user that has this `external_id` already.
async fn add_key(
    txn: &DatabaseTransaction,
    scope: &PlatformScope,
    new: NewEndUser,
) -> Result<EndUser, StoreError> {
    let named = EndUserRef::External(new.end_user.external_id);
    let existing = lock_named(txn, scope, &named).await?.into_domain()?;
    if !existing.is_active {
        return Err(StoreError::Conflict("inactive end user"));
    }
    let mut active = api_key::Entity::of_end_user(scope, existing.id)
        .filter(api_key::Column::IsActive.eq(true))
        .all(txn)
        .await
        .map_err(failed)?;
    // A key that was never used counts from its making.
    active.sort_by_key(|key| {
        (
            key.last_used_at.unwrap_or(key.created_at),
            key.created_at,
            key.id,
        )
    });
    let keep = usize::try_from(new.active_keys_max.saturating_sub(1)).unwrap_or(usize::MAX);
    for unused in &active[..active.len().saturating_sub(keep)] {
        let row = api_key::ActiveModel {
            id: Set(unused.id),
            is_active: Set(false),
            ..Default::default()
        };
        row.update(txn).await.map_err(failed)?;
    }
    keys::insert(
        txn,
        scope,
        &ApiKey {
            end_user_id: Some(existing.id),
            ..new.key
        },
    )
    .await?;
    Ok(existing)
}
