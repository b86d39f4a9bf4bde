//! `billing_recon_runner`: the one row that says where the checkpoint lies, and until when somebody is at it.

use sea_orm::entity::prelude::*;

use crate::auth::OperatorScope;

/// The row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "billing_recon_runner")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: i64,
    pub ledger_id: i64,
    pub busy_until: i64,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Entity {
    /// The one row.
    pub fn only(_: &OperatorScope) -> Select<Self> {
        Self::find()
    }
}
