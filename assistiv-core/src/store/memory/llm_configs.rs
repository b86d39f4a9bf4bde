//! LLM configs and which of them is a provider's default.

use async_trait::async_trait;

use super::{MemoryStore, State, newest_first};
use crate::audit::AuditEntry;
use crate::auth::{OperatorScope, PlatformScope};
use crate::id::{LlmConfigId, PlatformId};
use crate::llm_configs::LlmConfig;
use crate::routing::ProviderSlug;
use crate::store::{
    Changed, Listed, LlmConfigChanges, LlmConfigFilter, LlmConfigStore, Page, StoreError,
    StoredSecret,
};

#[async_trait]
impl LlmConfigStore for MemoryStore {
    async fn create(
        &self,
        scope: &PlatformScope,
        mut config: LlmConfig,
        secret: StoredSecret,
    ) -> Result<LlmConfig, StoreError> {
        let mut state = self.lock();
        state.platform(scope.platform_id())?;
        config.platform_id = scope.platform_id();
        let id = config.id;
        let entry = AuditEntry::created(scope, &config, self.now());
        state.audit.push(entry);
        state.llm_configs.insert(id, (config, secret));
        self.tell(&mut state, scope.platform_id(), Changed::Configs);
        state.written(id)
    }

    async fn list(
        &self,
        scope: &PlatformScope,
        filter: &LlmConfigFilter,
        page: Page,
    ) -> Result<Listed<LlmConfig>, StoreError> {
        let matches = |config: &&LlmConfig| {
            let of_provider = filter
                .provider
                .as_ref()
                .is_none_or(|provider| *provider == config.provider);
            of_provider
                && filter
                    .is_active
                    .is_none_or(|active| active == config.is_active)
        };
        let state = self.lock();
        let rows = state
            .configs_of(scope.platform_id())
            .map(|(config, _)| config)
            .filter(matches)
            .cloned();
        Ok(newest_first(rows.collect(), age, page))
    }

    async fn active(
        &self,
        scope: &PlatformScope,
    ) -> Result<Vec<(LlmConfig, StoredSecret)>, StoreError> {
        let state = self.lock();
        let configs = state.configs_of(scope.platform_id());
        let mut active: Vec<_> = configs
            .filter(|(config, _)| config.is_active)
            .cloned()
            .collect();
        active.sort_by_key(|(config, _)| age(config));
        Ok(active)
    }

    async fn secrets(
        &self,
        _scope: &OperatorScope,
        after: Option<LlmConfigId>,
        most: u32,
    ) -> Result<Vec<(LlmConfigId, StoredSecret)>, StoreError> {
        let state = self.lock();
        let mut secrets: Vec<_> = state
            .llm_configs
            .iter()
            .filter(|(id, _)| after.is_none_or(|after| **id > after))
            .map(|(id, (_, secret))| (*id, secret.clone()))
            .collect();
        secrets.sort_unstable_by_key(|(id, _)| *id);
        secrets.truncate(most as usize);
        Ok(secrets)
    }

    async fn config(
        &self,
        scope: &PlatformScope,
        id: LlmConfigId,
    ) -> Result<LlmConfig, StoreError> {
        self.lock().config(scope.platform_id(), id).cloned()
    }

    async fn update(
        &self,
        scope: &PlatformScope,
        id: LlmConfigId,
        changes: &LlmConfigChanges,
        secret: Option<StoredSecret>,
    ) -> Result<LlmConfig, StoreError> {
        let mut state = self.lock();
        state.config(scope.platform_id(), id)?;
        let (stored, stored_secret) = state.llm_configs.get_mut(&id).ok_or(StoreError::NotFound)?;
        let before = stored.clone();
        changes.apply_to(stored, self.now());
        let mut entry = AuditEntry::updated(scope, &before, stored, self.now());
        if let Some(secret) = secret {
            *stored_secret = secret;
            entry = entry.with_secret("api_key");
        }
        state.audit.push(entry);
        self.tell(&mut state, scope.platform_id(), Changed::Configs);
        state.written(id)
    }

    async fn delete(&self, scope: &PlatformScope, id: LlmConfigId) -> Result<(), StoreError> {
        let mut state = self.lock();
        let gone = state.config(scope.platform_id(), id)?;
        let provider = gone.provider.clone();
        let entry = AuditEntry::deleted(scope, gone, self.now());
        state.audit.push(entry);
        state.llm_configs.remove(&id);
        state.choose_default(scope.platform_id(), &provider, None);
        self.tell(&mut state, scope.platform_id(), Changed::Configs);
        Ok(())
    }
}

// === impl State ===

impl State {
    fn configs_of(
        &self,
        platform_id: PlatformId,
    ) -> impl Iterator<Item = &(LlmConfig, StoredSecret)> {
        self.llm_configs
            .values()
            .filter(move |(config, _)| config.platform_id == platform_id)
    }

    fn config(&self, platform_id: PlatformId, id: LlmConfigId) -> Result<&LlmConfig, StoreError> {
        let found = self.llm_configs.get(&id).map(|(config, _)| config);
        found
            .filter(|config| config.platform_id == platform_id)
            .ok_or(StoreError::NotFound)
    }

    /// Lets the defaults follow a config that was just written, and reads it back.
    fn written(&mut self, id: LlmConfigId) -> Result<LlmConfig, StoreError> {
        let (config, _) = self.llm_configs.get(&id).ok_or(StoreError::NotFound)?;
        let (platform_id, provider) = (config.platform_id, config.provider.clone());
        self.choose_default(platform_id, &provider, Some(id));
        self.config(platform_id, id).cloned()
    }

    /// A provider's active configs have one default: the one just written if it claims it, else the
    /// one that is it already, else the one just written, else the newest.
    fn choose_default(
        &mut self,
        platform_id: PlatformId,
        provider: &ProviderSlug,
        written: Option<LlmConfigId>,
    ) {
        let siblings = || {
            let of_provider = |config: &&LlmConfig| config.provider == *provider;
            self.configs_of(platform_id)
                .map(|(config, _)| config)
                .filter(of_provider)
        };
        let chosen = siblings()
            .filter(|config| config.is_active)
            .max_by_key(|config| {
                let is_written = Some(config.id) == written;
                (
                    config.is_default && is_written,
                    config.is_default,
                    is_written,
                    age(config),
                )
            })
            .map(|config| config.id);
        // While none is active, an inactive one may hold the place.
        let claims = |id: &LlmConfigId| siblings().any(|c| c.id == *id && c.is_default);
        let Some(chosen) = chosen.or(written.filter(claims)) else {
            return;
        };
        let all: Vec<LlmConfigId> = siblings().map(|config| config.id).collect();
        for id in all {
            if let Some((config, _)) = self.llm_configs.get_mut(&id) {
                config.is_default = id == chosen;
            }
        }
    }
}

fn age(config: &LlmConfig) -> (crate::clock::Timestamp, LlmConfigId) {
    (config.created_at, config.id)
}
