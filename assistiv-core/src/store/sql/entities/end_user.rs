//! `end_users`.

use sea_orm::entity::prelude::*;
use sea_orm::{NotSet, QueryOrder, Set};

use super::{object_text, read_object};
use crate::auth::PlatformScope;
use crate::clock::Timestamp;
use crate::id::{EndUserId, PlatformId};
use crate::limits::RateLimits;
use crate::store::StoreError;
use crate::store::sql::error::corrupt;
use crate::tenancy::{EndUser, EndUserRef};

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "end_users")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub platform_id: Uuid,
    pub external_id: String,
    pub display_name: Option<String>,
    pub metadata: String,
    pub is_active: bool,
    pub created_at: i64,
    pub updated_at: i64,
    pub rate_limits: Option<String>,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Entity {
    /// The platform's end users.
    pub fn of(scope: &PlatformScope) -> Select<Self> {
        Self::find().filter(Column::PlatformId.eq(scope.platform_id().as_uuid()))
    }

    /// One end user of the platform.
    pub fn one_of(scope: &PlatformScope, end_user: &EndUserRef) -> Select<Self> {
        match end_user {
            EndUserRef::Id(id) => Self::of(scope).filter(Column::Id.eq(id.as_uuid())),
            EndUserRef::External(external_id) => {
                Self::of(scope).filter(Column::ExternalId.eq(external_id))
            }
        }
    }
}

/// Newest first.
pub fn newest_first(select: Select<Entity>) -> Select<Entity> {
    select
        .order_by_desc(Column::CreatedAt)
        .order_by_desc(Column::Id)
}

impl Model {
    /// The end user's own limits.
    pub fn rate_limits(&self) -> Result<Option<RateLimits>, StoreError> {
        let own = self.rate_limits.as_deref().map(serde_json::from_str);
        own.transpose()
            .map_err(|_| corrupt("end_users.rate_limits"))
    }

    /// The row as an end user.
    pub fn into_domain(self) -> Result<EndUser, StoreError> {
        Ok(EndUser {
            id: EndUserId::from_uuid(self.id),
            platform_id: PlatformId::from_uuid(self.platform_id),
            external_id: self.external_id,
            display_name: self.display_name,
            metadata: read_object(&self.metadata, "end_users.metadata")?,
            is_active: self.is_active,
            created_at: Timestamp::from_micros(self.created_at),
            updated_at: Timestamp::from_micros(self.updated_at),
        })
    }
}

/// The end user as a row of the scope's platform.
pub fn row(scope: &PlatformScope, end_user: &EndUser) -> Result<ActiveModel, StoreError> {
    Ok(ActiveModel {
        id: Set(end_user.id.as_uuid()),
        platform_id: Set(scope.platform_id().as_uuid()),
        external_id: Set(end_user.external_id.clone()),
        display_name: Set(end_user.display_name.clone()),
        metadata: Set(object_text(&end_user.metadata)?),
        is_active: Set(end_user.is_active),
        created_at: Set(end_user.created_at.as_micros()),
        updated_at: Set(end_user.updated_at.as_micros()),
        rate_limits: NotSet,
    })
}
