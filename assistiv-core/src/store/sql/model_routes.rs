//! [`ModelRouteStore`] in SQL.

use async_trait::async_trait;
use sea_orm::sea_query::OnConflict;
use sea_orm::{EntityTrait, Set};

use super::changes::tell;
use super::entities::model_routes;
use super::error::{corrupt, failed};
use super::keys::lock_platform;
use super::{SqlStore, commit};
use crate::audit::{AuditEntry, OfModels};
use crate::auth::PlatformScope;
use crate::model_routes::{ModelOverride, ModelRouteStore};
use crate::store::sql::audit::record;
use crate::store::{Changed, StoreError};

#[async_trait]
impl ModelRouteStore for SqlStore {
    async fn overrides(&self, scope: &PlatformScope) -> Result<Vec<ModelOverride>, StoreError> {
        let row = model_routes::Entity::of(scope).one(self.reader()).await;
        row.map_err(failed)?
            .map_or_else(|| Ok(Vec::new()), |row| row.into_domain())
    }

    async fn replace_overrides(
        &self,
        scope: &PlatformScope,
        overrides: &[ModelOverride],
    ) -> Result<(), StoreError> {
        let written = serde_json::to_string(overrides);
        let written = written.map_err(|_| corrupt("overrides that cannot be written as JSON"))?;
        let txn = self.begin_write().await?;
        lock_platform(&txn, scope).await?;
        let platform = scope.platform_id();
        let before = model_routes::Entity::of(scope).one(&txn).await;
        let before = before.map_err(failed)?.map(|row| row.into_domain());
        let before = before.transpose()?.unwrap_or_default();
        let entry = AuditEntry::updated(
            scope,
            &OfModels(platform, &before),
            &OfModels(platform, overrides),
            self.now(),
        );
        record(&txn, entry).await?;
        let row = model_routes::ActiveModel {
            platform_id: Set(scope.platform_id().as_uuid()),
            overrides: Set(written),
            updated_at: Set(self.now().as_micros()),
        };
        let replace = OnConflict::column(model_routes::Column::PlatformId)
            .update_columns([
                model_routes::Column::Overrides,
                model_routes::Column::UpdatedAt,
            ])
            .to_owned();
        model_routes::Entity::insert(row)
            .on_conflict(replace)
            .exec_without_returning(&txn)
            .await
            .map_err(failed)?;
        tell(&txn, scope.platform_id(), Changed::Configs, self.now()).await?;
        commit(txn).await
    }
}
