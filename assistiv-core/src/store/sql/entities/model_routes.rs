//! `model_routes`: what a platform changes of the catalogue, as one document.

use sea_orm::entity::prelude::*;

use crate::auth::PlatformScope;
use crate::model_routes::ModelOverride;
use crate::store::StoreError;
use crate::store::sql::error::corrupt;

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "model_routes")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub platform_id: Uuid,
    pub overrides: String,
    pub updated_at: i64,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Entity {
    /// The platform's.
    pub fn of(scope: &PlatformScope) -> Select<Self> {
        Self::find().filter(Column::PlatformId.eq(scope.platform_id().as_uuid()))
    }
}

impl Model {
    /// The row as overrides.
    pub fn into_domain(self) -> Result<Vec<ModelOverride>, StoreError> {
        serde_json::from_str(&self.overrides).map_err(|_| corrupt("model_routes.overrides"))
    }
}
