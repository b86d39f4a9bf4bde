//! What platforms change of the catalogue.

use async_trait::async_trait;

use super::MemoryStore;
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
        state.model_routes.insert(platform, overrides.to_vec());
        self.tell(&mut state, platform, Changed::Configs);
        Ok(())
    }
}
