//! [`LlmConfigStore`] in SQL.

use async_trait::async_trait;
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait,
    IntoActiveModel, QueryFilter, QueryOrder, QuerySelect, Select, Set,
};

use super::changes::tell;
use super::entities::llm_config;
use super::error::{conflict, failed};
use super::keys::lock_platform;
use super::query::page_of;
use super::{SqlStore, commit};
use crate::audit::AuditEntry;
use crate::auth::{OperatorScope, PlatformScope};
use crate::id::LlmConfigId;
use crate::llm_configs::LlmConfig;
use crate::routing::ProviderSlug;
use crate::store::sql::audit::record;
use crate::store::{
    Changed, Listed, LlmConfigChanges, LlmConfigFilter, LlmConfigStore, Page, StoreError,
    StoredSecret,
};

#[async_trait]
impl LlmConfigStore for SqlStore {
    async fn create(
        &self,
        scope: &PlatformScope,
        config: LlmConfig,
        secret: StoredSecret,
    ) -> Result<LlmConfig, StoreError> {
        let txn = self.begin_write().await?;
        lock_platform(&txn, scope).await?;
        let row = llm_config::row(scope, &config, Some(secret))?;
        row.insert(&txn)
            .await
            .map_err(|error| conflict(error, "LLM config"))?;
        let stored = settled(&txn, scope, &config).await?;
        let entry = AuditEntry::created(scope, &config, self.now());
        record(&txn, entry).await?;
        tell(&txn, scope.platform_id(), Changed::Configs, self.now()).await?;
        commit(txn).await?;
        Ok(stored)
    }

    async fn list(
        &self,
        scope: &PlatformScope,
        filter: &LlmConfigFilter,
        page: Page,
    ) -> Result<Listed<LlmConfig>, StoreError> {
        let mut select = match &filter.provider {
            Some(provider) => llm_config::Entity::of_provider(scope, provider),
            None => llm_config::Entity::of(scope),
        };
        if let Some(is_active) = filter.is_active {
            select = select.filter(llm_config::Column::IsActive.eq(is_active));
        }
        let txn = self.begin_read().await?;
        page_of(&txn, newest_first(select), page, |row| {
            row.into_domain().map(|(config, _)| config)
        })
        .await
    }

    async fn active(
        &self,
        scope: &PlatformScope,
    ) -> Result<Vec<(LlmConfig, StoredSecret)>, StoreError> {
        let rows = llm_config::Entity::of(scope)
            .filter(llm_config::Column::IsActive.eq(true))
            .order_by_asc(llm_config::Column::CreatedAt)
            .order_by_asc(llm_config::Column::Id)
            .all(self.reader())
            .await
            .map_err(failed)?;
        rows.into_iter()
            .map(llm_config::Model::into_domain)
            .collect()
    }

    async fn secrets(
        &self,
        scope: &OperatorScope,
        after: Option<LlmConfigId>,
        most: u32,
    ) -> Result<Vec<(LlmConfigId, StoredSecret)>, StoreError> {
        let mut select = llm_config::Entity::all(scope);
        if let Some(after) = after {
            select = select.filter(llm_config::Column::Id.gt(after.as_uuid()));
        }
        let rows = select
            .order_by_asc(llm_config::Column::Id)
            .limit(u64::from(most))
            .all(self.reader())
            .await
            .map_err(failed)?;
        let sealed = |row: llm_config::Model| (LlmConfigId::from_uuid(row.id), row.secret);
        let sealed = rows.into_iter().map(sealed);
        Ok(sealed
            .map(|(id, secret)| (id, StoredSecret(secret)))
            .collect())
    }

    async fn config(
        &self,
        scope: &PlatformScope,
        id: LlmConfigId,
    ) -> Result<LlmConfig, StoreError> {
        let select = llm_config::Entity::one_of(scope, id);
        Ok(find(self.reader(), select).await?.into_domain()?.0)
    }

    async fn update(
        &self,
        scope: &PlatformScope,
        id: LlmConfigId,
        changes: &LlmConfigChanges,
        secret: Option<StoredSecret>,
    ) -> Result<LlmConfig, StoreError> {
        let txn = self.begin_write().await?;
        lock_platform(&txn, scope).await?;
        let select = llm_config::Entity::one_of(scope, id).lock_exclusive();
        let (mut config, _) = find(&txn, select).await?.into_domain()?;
        let before = config.clone();
        changes.apply_to(&mut config, self.now());
        let mut entry = AuditEntry::updated(scope, &before, &config, self.now());
        if secret.is_some() {
            entry = entry.with_secret("api_key");
        }
        record(&txn, entry).await?;
        let row = llm_config::row(scope, &config, secret)?;
        row.update(&txn).await.map_err(failed)?;
        let stored = settled(&txn, scope, &config).await?;
        tell(&txn, scope.platform_id(), Changed::Configs, self.now()).await?;
        commit(txn).await?;
        Ok(stored)
    }

    async fn delete(&self, scope: &PlatformScope, id: LlmConfigId) -> Result<(), StoreError> {
        let txn = self.begin_write().await?;
        lock_platform(&txn, scope).await?;
        let select = llm_config::Entity::one_of(scope, id).lock_exclusive();
        let (config, _) = find(&txn, select).await?.into_domain()?;
        llm_config::Entity::delete_by_id(id.as_uuid())
            .exec(&txn)
            .await
            .map_err(failed)?;
        settle_default(&txn, scope, &config.provider, None).await?;
        let entry = AuditEntry::deleted(scope, &config, self.now());
        record(&txn, entry).await?;
        tell(&txn, scope.platform_id(), Changed::Configs, self.now()).await?;
        commit(txn).await
    }
}

fn newest_first(select: Select<llm_config::Entity>) -> Select<llm_config::Entity> {
    select
        .order_by_desc(llm_config::Column::CreatedAt)
        .order_by_desc(llm_config::Column::Id)
}

async fn find(
    db: &impl ConnectionTrait,
    select: Select<llm_config::Entity>,
) -> Result<llm_config::Model, StoreError> {
    select
        .one(db)
        .await
        .map_err(failed)?
        .ok_or(StoreError::NotFound)
}

/// Lets the defaults follow a config that was just written, and reads it back.
async fn settled(
    txn: &DatabaseTransaction,
    scope: &PlatformScope,
    written: &LlmConfig,
) -> Result<LlmConfig, StoreError> {
    settle_default(txn, scope, &written.provider, Some(written.id)).await?;
    let stored = find(txn, llm_config::Entity::one_of(scope, written.id)).await?;
    Ok(stored.into_domain()?.0)
}

/// A provider's active configs have one default: the one just written if it claims to be it, else
/// the one that is it already, else the one just written, else the newest. While none is active, an
/// inactive one may hold the place.
async fn settle_default(
    txn: &DatabaseTransaction,
    scope: &PlatformScope,
    provider: &ProviderSlug,
    written: Option<LlmConfigId>,
) -> Result<(), StoreError> {
    let configs = newest_first(llm_config::Entity::of_provider(scope, provider)).lock_exclusive();
    let configs = configs.all(txn).await.map_err(failed)?;
    let is_written =
        |config: &llm_config::Model| written.is_some_and(|id| id.as_uuid() == config.id);
    let claim = |config: &&llm_config::Model| {
        let written = is_written(config);
        (config.is_default && written, config.is_default, written)
    };
    // Of several claims that are as good, the last one counts: the newest.
    let active = configs.iter().rev().filter(|config| config.is_active);
    let holder = || {
        configs
            .iter()
            .find(|config| is_written(config) && config.is_default)
    };
    let Some(default) = active
        .max_by_key(claim)
        .or_else(holder)
        .map(|config| config.id)
    else {
        return Ok(());
    };
    for config in configs {
        let is_default = config.id == default;
        if config.is_default != is_default {
            let mut row = config.into_active_model();
            row.is_default = Set(is_default);
            row.update(txn).await.map_err(failed)?;
        }
    }
    Ok(())
}
