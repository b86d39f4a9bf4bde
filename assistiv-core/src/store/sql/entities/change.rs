//! `changes`: what was changed that nodes keep copies of.

use sea_orm::entity::prelude::*;

use crate::auth::SweeperScope;
use crate::clock::Timestamp;
use crate::id::PlatformId;
use crate::store::sql::error::corrupt;
use crate::store::{Change, Changed, StoreError};

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "changes")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub seq: i64,
    pub platform_id: Uuid,
    pub what: i16,
    pub created_at: i64,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Entity {
    /// Changes that were made after `at`.
    pub fn since(_: &SweeperScope, at: Timestamp) -> Select<Self> {
        Self::find().filter(Column::CreatedAt.gt(at.as_micros()))
    }
}

impl Model {
    /// The row as a change.
    pub fn to_domain(&self) -> Result<Change, StoreError> {
        Ok(Change {
            seq: self.seq,
            platform: PlatformId::from_uuid(self.platform_id),
            what: Changed::from_number(self.what).ok_or_else(|| corrupt("changes.what"))?,
        })
    }
}
