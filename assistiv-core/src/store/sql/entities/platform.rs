//! `platforms`.

use sea_orm::entity::prelude::*;
use sea_orm::{NotSet, QueryOrder, Set};

use super::{object_text, read_object};
use crate::auth::{OperatorScope, PlatformScope};
use crate::clock::Timestamp;
use crate::id::PlatformId;
use crate::limits::PlatformRateLimits;
use crate::store::StoreError;
use crate::store::sql::error::corrupt;
use crate::tenancy::{Platform, PlatformSettings};

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "platforms")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub name: String,
    pub slug: String,
    pub settings: String,
    pub is_active: bool,
    pub created_at: i64,
    pub updated_at: i64,
    pub rate_limits: Option<String>,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Entity {
    /// The scope's platform.
    pub fn of(scope: &PlatformScope) -> Select<Self> {
        Self::find().filter(Column::Id.eq(scope.platform_id().as_uuid()))
    }

    /// The platform of a budget. Who has the budget's row has found it under a scope.
    pub fn owning(budget: &super::budget::Model) -> Select<Self> {
        Self::find().filter(Column::Id.eq(budget.platform_id))
    }

    /// All platforms, newest first.
    pub fn all(_: &OperatorScope) -> Select<Self> {
        Self::find()
            .order_by_desc(Column::CreatedAt)
            .order_by_desc(Column::Id)
    }
}

impl Model {
    /// What the platform has set.
    pub fn rate_limits(&self) -> Result<PlatformRateLimits, StoreError> {
        let set = self.rate_limits.as_deref().map(serde_json::from_str);
        let set = set.transpose();
        Ok(set
            .map_err(|_| corrupt("platforms.rate_limits"))?
            .unwrap_or_default())
    }

    /// The row as a platform.
    pub fn into_domain(self) -> Result<Platform, StoreError> {
        Ok(Platform {
            id: PlatformId::from_uuid(self.id),
            name: self.name,
            slug: self.slug.parse().map_err(|_| corrupt("platforms.slug"))?,
            settings: PlatformSettings::from_stored(read_object(
                &self.settings,
                "platforms.settings",
            )?),
            is_active: self.is_active,
            created_at: Timestamp::from_micros(self.created_at),
            updated_at: Timestamp::from_micros(self.updated_at),
        })
    }
}

/// The platform as a row.
pub fn row(platform: &Platform) -> Result<ActiveModel, StoreError> {
    Ok(ActiveModel {
        id: Set(platform.id.as_uuid()),
        name: Set(platform.name.clone()),
        slug: Set(platform.slug.to_string()),
        settings: Set(object_text(platform.settings.as_object())?),
        is_active: Set(platform.is_active),
        created_at: Set(platform.created_at.as_micros()),
        updated_at: Set(platform.updated_at.as_micros()),
        rate_limits: NotSet,
    })
}
