//! `llm_configs`.

use sea_orm::Set;
use sea_orm::entity::prelude::*;

use crate::auth::{OperatorScope, PlatformScope};
use crate::clock::Timestamp;
use crate::id::{LlmConfigId, PlatformId};
use crate::llm_configs::LlmConfig;
use crate::routing::{ModelSlug, ProviderSlug};
use crate::store::sql::error::corrupt;
use crate::store::{StoreError, StoredSecret};

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "llm_configs")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub platform_id: Uuid,
    pub provider: String,
    pub name: Option<String>,
    pub priority: i32,
    pub models: Option<String>,
    pub is_default: bool,
    pub is_active: bool,
    pub secret: Vec<u8>,
    pub created_at: i64,
    pub updated_at: i64,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Entity {
    /// The platform's configs.
    pub fn of(scope: &PlatformScope) -> Select<Self> {
        Self::find().filter(Column::PlatformId.eq(scope.platform_id().as_uuid()))
    }

    /// Configs of all platforms.
    pub fn all(_: &OperatorScope) -> Select<Self> {
        Self::find()
    }

    /// One config of the platform.
    pub fn one_of(scope: &PlatformScope, id: LlmConfigId) -> Select<Self> {
        Self::of(scope).filter(Column::Id.eq(id.as_uuid()))
    }

    /// The platform's configs for one provider.
    pub fn of_provider(scope: &PlatformScope, provider: &ProviderSlug) -> Select<Self> {
        Self::of(scope).filter(Column::Provider.eq(provider.to_string()))
    }
}

impl Model {
    /// The row as a config and its sealed secret.
    pub fn into_domain(self) -> Result<(LlmConfig, StoredSecret), StoreError> {
        let models: Option<Vec<ModelSlug>> = self
            .models
            .map(|text| serde_json::from_str(&text))
            .transpose()
            .map_err(|_| corrupt("llm_configs.models"))?;
        let config = LlmConfig {
            id: LlmConfigId::from_uuid(self.id),
            platform_id: PlatformId::from_uuid(self.platform_id),
            provider: self
                .provider
                .parse()
                .map_err(|_| corrupt("llm_configs.provider"))?,
            name: self.name,
            priority: self
                .priority
                .try_into()
                .map_err(|_| corrupt("llm_configs.priority"))?,
            models,
            is_default: self.is_default,
            is_active: self.is_active,
            created_at: Timestamp::from_micros(self.created_at),
            updated_at: Timestamp::from_micros(self.updated_at),
        };
        Ok((config, StoredSecret(self.secret)))
    }
}

/// The config as a row of the scope's platform; without a secret the stored one stays.
pub fn row(
    scope: &PlatformScope,
    config: &LlmConfig,
    secret: Option<StoredSecret>,
) -> Result<ActiveModel, StoreError> {
    let models = config
        .models
        .as_ref()
        .map(serde_json::to_string)
        .transpose();
    Ok(ActiveModel {
        id: Set(config.id.as_uuid()),
        platform_id: Set(scope.platform_id().as_uuid()),
        provider: Set(config.provider.to_string()),
        name: Set(config.name.clone()),
        priority: Set(i32::from(config.priority)),
        models: Set(models.map_err(|_| corrupt("llm_configs.models"))?),
        is_default: Set(config.is_default),
        is_active: Set(config.is_active),
        secret: secret.map_or(sea_orm::NotSet, |secret| Set(secret.0)),
        created_at: Set(config.created_at.as_micros()),
        updated_at: Set(config.updated_at.as_micros()),
    })
}
