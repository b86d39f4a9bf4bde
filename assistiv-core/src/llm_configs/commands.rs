//! Commands on LLM configs.

use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};

use super::LlmConfig;
use crate::auth::PlatformScope;
use crate::clock::Clock;
use crate::command::{Command, CommandError, all_valid, check_text};
use crate::error::{FieldError, Reason};
use crate::id::LlmConfigId;
use crate::routing::{ModelSlug, ProviderSlug, Router};
use crate::secrets::{SecretCipher, SecretPlace};
use crate::store::{
    Listed, LlmConfigChanges, LlmConfigFilter, LlmConfigStore, Page, StoreError, StoredSecret,
};

const NAME_MAX: usize = 100;
const API_KEY_MAX: usize = 4_096;
const PRIORITY_MAX: u16 = 10_000;

/// The domain of LLM configs.
pub struct LlmConfigs {
    pub(crate) store: Arc<dyn LlmConfigStore>,
    pub(crate) cipher: Arc<dyn SecretCipher>,
    pub(crate) router: Router,
    pub(crate) clock: Arc<dyn Clock>,
}

/// Adds a provider key.
#[derive(Clone, Debug)]
pub struct CreateLlmConfig {
    /// For which provider.
    pub provider: ProviderSlug,
    /// The provider key: 1 to 4096 characters. Sealed before it is stored, never shown again.
    pub api_key: SecretString,
    /// For people.
    pub name: Option<String>,
    /// 0 to 10000; lower is tried first.
    pub priority: u16,
    /// The models it may serve; `None` is all.
    pub models: Option<Vec<ModelSlug>>,
    /// Whether it becomes the platform's default for the provider.
    pub is_default: bool,
}

/// Lists configs.
#[derive(Clone, Debug, Default)]
pub struct ListLlmConfigs {
    /// Which ones.
    pub filter: LlmConfigFilter,
    /// Which page.
    pub page: Page,
}

/// Reads a config.
#[derive(Clone, Copy, Debug)]
pub struct ReadLlmConfig(pub LlmConfigId);

/// Changes a config; fields that are `None` stay.
#[derive(Clone, Debug)]
pub struct UpdateLlmConfig {
    /// Which.
    pub id: LlmConfigId,
    /// A new provider key.
    pub api_key: Option<SecretString>,
    /// For people; the inner `None` clears it.
    pub name: Option<Option<String>>,
    /// Lower is tried first.
    pub priority: Option<u16>,
    /// The models it may serve; the inner `None` is all.
    pub models: Option<Option<Vec<ModelSlug>>>,
    /// Whether it is the default.
    pub is_default: Option<bool>,
    /// Whether it is used.
    pub is_active: Option<bool>,
}

/// Removes a config.
#[derive(Clone, Copy, Debug)]
pub struct DeleteLlmConfig(pub LlmConfigId);

/// Where the secret of a config is sealed for.
pub(crate) fn config_place(id: LlmConfigId) -> SecretPlace {
    SecretPlace {
        table: "llm_configs",
        column: "secret",
        row: id.as_uuid(),
    }
}

impl Command<LlmConfigs> for CreateLlmConfig {
    const NAME: &'static str = "create_llm_config";
    type Authority = PlatformScope;
    type Output = LlmConfig;

    async fn run(
        self,
        domain: &LlmConfigs,
        scope: PlatformScope,
    ) -> Result<LlmConfig, CommandError> {
        let errors = [
            domain.check_provider(&self.provider),
            check_api_key(&self.api_key),
            self.name
                .as_ref()
                .and_then(|name| check_text("name", name, NAME_MAX)),
            check_priority(self.priority),
        ];
        all_valid(errors.into_iter().flatten())?;
        let now = domain.clock.now();
        let config = LlmConfig {
            id: LlmConfigId::new(),
            platform_id: scope.platform_id(),
            provider: self.provider,
            name: self.name,
            priority: self.priority,
            models: self.models,
            is_default: self.is_default,
            is_active: true,
            created_at: now,
            updated_at: now,
        };
        let secret = domain.seal(config.id, &self.api_key)?;
        let created = domain.store.create(&scope, config, secret).await?;
        domain.router.forget(scope.platform_id());
        Ok(created)
    }
}

impl Command<LlmConfigs> for ListLlmConfigs {
    const NAME: &'static str = "list_llm_configs";
    type Authority = PlatformScope;
    type Output = Listed<LlmConfig>;

    async fn run(
        self,
        domain: &LlmConfigs,
        scope: PlatformScope,
    ) -> Result<Listed<LlmConfig>, CommandError> {
        Ok(domain.store.list(&scope, &self.filter, self.page).await?)
    }
}

impl Command<LlmConfigs> for ReadLlmConfig {
    const NAME: &'static str = "read_llm_config";
    type Authority = PlatformScope;
    type Output = LlmConfig;

    async fn run(
        self,
        domain: &LlmConfigs,
        scope: PlatformScope,
    ) -> Result<LlmConfig, CommandError> {
        domain.store.config(&scope, self.0).await.map_err(not_found)
    }
}

impl Command<LlmConfigs> for UpdateLlmConfig {
    const NAME: &'static str = "update_llm_config";
    type Authority = PlatformScope;
    type Output = LlmConfig;

    async fn run(
        self,
        domain: &LlmConfigs,
        scope: PlatformScope,
    ) -> Result<LlmConfig, CommandError> {
        let name = self.name.as_ref().and_then(Option::as_ref);
        let errors = [
            self.api_key.as_ref().and_then(check_api_key),
            name.and_then(|name| check_text("name", name, NAME_MAX)),
            self.priority.and_then(check_priority),
        ];
        all_valid(errors.into_iter().flatten())?;
        let secret = self
            .api_key
            .map(|key| domain.seal(self.id, &key))
            .transpose()?;
        let changes = LlmConfigChanges {
            name: self.name,
            priority: self.priority,
            models: self.models,
            is_default: self.is_default,
            is_active: self.is_active,
        };
        let updated = domain
            .store
            .update(&scope, self.id, &changes, secret)
            .await
            .map_err(not_found)?;
        domain.router.forget(scope.platform_id());
        Ok(updated)
    }
}

impl Command<LlmConfigs> for DeleteLlmConfig {
    const NAME: &'static str = "delete_llm_config";
    type Authority = PlatformScope;
    type Output = ();

    async fn run(self, domain: &LlmConfigs, scope: PlatformScope) -> Result<(), CommandError> {
        domain
            .store
            .delete(&scope, self.0)
            .await
            .map_err(not_found)?;
        domain.router.forget(scope.platform_id());
        Ok(())
    }
}

impl LlmConfigs {
    /// A key that no call could use is refused when it is given, not when it is missed.
    fn check_provider(&self, provider: &ProviderSlug) -> Option<FieldError> {
        let message = if self.router.catalogue().provider(provider).is_none() {
            format!("`{provider}` is not a provider of this gateway")
        } else if !self.router.serves(provider) {
            format!("this gateway has no adapter for `{provider}`")
        } else {
            return None;
        };
        Some(FieldError {
            param: "provider".to_owned(),
            message,
        })
    }

    fn seal(&self, id: LlmConfigId, key: &SecretString) -> Result<StoredSecret, CommandError> {
        let sealed = self.cipher.seal(config_place(id), key);
        sealed
            .map(StoredSecret)
            .map_err(|error| CommandError::Internal(Box::new(error)))
    }
}

fn check_api_key(key: &SecretString) -> Option<FieldError> {
    check_text("api_key", key.expose_secret(), API_KEY_MAX)
}

fn check_priority(priority: u16) -> Option<FieldError> {
    (priority > PRIORITY_MAX).then(|| FieldError {
        param: "priority".to_owned(),
        message: format!("must be 0 to {PRIORITY_MAX}"),
    })
}

fn not_found(error: StoreError) -> CommandError {
    CommandError::or_not_found(error, Reason::LLM_CONFIG_NOT_FOUND, "LLM config")
}
