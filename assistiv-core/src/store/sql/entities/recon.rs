//! `billing_recon`: runs of the reconciliation.

use sea_orm::entity::prelude::*;
use sea_orm::{QueryOrder, QuerySelect, SelectGetableTuple, Selector};

use crate::auth::OperatorScope;

/// A run over everything.
pub const FULL: i16 = 1;
/// A run over what is new.
pub const INCREMENTAL: i16 = 2;

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "billing_recon")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    pub kind: i16,
    pub started_at: i64,
    pub finished_at: Option<i64>,
    pub accounts: i64,
    pub mismatches: i64,
    pub details: Option<String>,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Entity {
    /// Runs that came to their end, the last first.
    pub fn finished(_: &OperatorScope) -> Select<Self> {
        Self::find()
            .filter(Column::FinishedAt.is_not_null())
            .order_by_desc(Column::Id)
    }

    /// The number of the run that was begun last.
    pub fn newest(_: &OperatorScope) -> Selector<SelectGetableTuple<i64>> {
        let newest = Self::find().order_by_desc(Column::Id).limit(1);
        newest.select_only().column(Column::Id).into_tuple()
    }
}
