//! What platforms change of the catalogue.

use async_trait::async_trait;

use super::MemoryStore;
use crate::audit::{AuditEntry, OfModels};
use crate::auth::PlatformScope;
use crate::model_routes::{ModelOverride, ModelRouteStore};
use crate::store::{Changed, StoreError};

#[async_trait]
impl ModelRouteStore for MemoryStore {
    async fn overrides(&self, scope: &PlatformScope) -> Result<Vec<ModelOverride>, StoreError> {
        let state = self.lock();
        let overrides = state.model_routes.get(&scope.platform_id());
        Ok(overrides.cloned().unwrap_or_default())
    }

    async fn replace_overrides(
        &self,
        scope: &PlatformScope,
        overrides: &[ModelOverride],
    ) -> Result<(), StoreError> {
        let platform = scope.platform_id();
        let mut state = self.lock();
        state.platform(platform)?;
        let before = state.model_routes.insert(platform, overrides.to_vec());
        let before = before.unwrap_or_default();
        let entry = AuditEntry::updated(
            scope,
            &OfModels(platform, &before),
            &OfModels(platform, overrides),
            self.now(),
        );
        state.audit.push(entry);
        self.tell(&mut state, platform, Changed::Configs);
        Ok(())
    }
}
