//! LLM configs: a platform's own keys for providers.

mod commands;

pub(crate) use commands::config_place;
pub use commands::{
    CreateLlmConfig, DeleteLlmConfig, ListLlmConfigs, LlmConfigs, ReadLlmConfig, UpdateLlmConfig,
};

use crate::clock::Timestamp;
use crate::id::{LlmConfigId, PlatformId};
use crate::routing::{ModelSlug, ProviderSlug};

/// A platform's key for a provider, without the key.
#[derive(Clone, Debug, PartialEq)]
pub struct LlmConfig {
    /// Its id.
    pub id: LlmConfigId,
    /// Its platform.
    pub platform_id: PlatformId,
    /// Which provider the key is for.
    pub provider: ProviderSlug,
    /// For people; 1 to 100 characters.
    pub name: Option<String>,
    /// 0 to 10000; lower is tried first.
    pub priority: u16,
    /// The models that this config may serve; `None` is all.
    pub models: Option<Vec<ModelSlug>>,
    /// Whether it is the platform's default for the provider.
    pub is_default: bool,
    /// Whether it is used.
    pub is_active: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}
