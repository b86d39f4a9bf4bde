//! `billing_recon_marks`: sums of the entries up to the checkpoint, by account.

use std::sync::LazyLock;

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{ExprTrait, OnConflict};

use crate::auth::OperatorScope;
use crate::store::sql::query::Inserts;

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

/// Adds sums to those that are there.
pub(in crate::store::sql) static ADD: LazyLock<Inserts<ActiveModel>> =
    LazyLock::new(|| Inserts::new(added()));

fn added() -> OnConflict {
    let sum = |column: Column| {
        let old = Expr::col((Entity, column));
        (column, old.add(Expr::col(("excluded", column))))
    };
    OnConflict::column(Column::AccountId)
        .values([
            sum(Column::RemUsd),
            sum(Column::RemTokens),
            sum(Column::RemDisplay),
            sum(Column::LimUsd),
            sum(Column::LimTokens),
            sum(Column::LimDisplay),
        ])
        .to_owned()
}
