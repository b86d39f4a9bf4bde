//! `log_marks`: how far the keeping of the request log has come.

use sea_orm::Set;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{ExprTrait, OnConflict};

/// Every charge up to this number of the ledger has its row.
pub const REPAIRED_TO: &str = "repaired_to";
/// Rows older than this, in microseconds, are gone.
pub const PRUNED_BEFORE: &str = "pruned_before";

/// A mark.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "log_marks")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub name: String,
    pub value: i64,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// A mark at a value.
pub fn row(name: &str, value: i64) -> ActiveModel {
    ActiveModel {
        name: Set(name.to_owned()),
        value: Set(value),
    }
}

/// Marks only move forward.
pub fn forward() -> OnConflict {
    OnConflict::column(Column::Name)
        .update_column(Column::Value)
        .action_and_where(
            Expr::col((Entity, Column::Value)).lt(Expr::col(("excluded", Column::Value))),
        )
        .to_owned()
}
