//! `billing_recon_marks`: sums of the entries up to the checkpoint, by account.

use sea_orm::entity::prelude::*;

use crate::auth::OperatorScope;

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "billing_recon_marks")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub account_id: i64,
    pub rem_usd: i64,
    pub rem_tokens: i64,
    pub rem_display: i64,
    pub lim_usd: i64,
    pub lim_tokens: i64,
    pub lim_display: i64,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Entity {
    /// All sums.
    pub fn all(_: &OperatorScope) -> Select<Self> {
        Self::find()
    }
}
