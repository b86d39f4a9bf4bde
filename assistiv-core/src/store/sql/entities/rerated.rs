//! `billing_rerated`: what re-ratings gave back, charge by charge. Append only.

use std::sync::LazyLock;

use sea_orm::Set;
use sea_orm::entity::prelude::*;

use crate::billing::Compensation;
use crate::id::EntryId;
use crate::money::NanoUsd;
use crate::store::sql::query::Inserts;

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "billing_rerated")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub charge: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub account_id: i64,
    #[sea_orm(primary_key, auto_increment = false)]
    pub rerate_id: Uuid,
    pub usd: i64,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Entity {
    /// What was given back for these charges. Who has their ids has found them under a scope.
    pub fn of(charges: impl IntoIterator<Item = Uuid>) -> Select<Self> {
        Self::find().filter(Column::Charge.is_in(charges))
    }
}

/// Notes what was given back.
pub(in crate::store::sql) static NEW: LazyLock<Inserts<ActiveModel>> =
    LazyLock::new(|| Inserts::new(None));

/// What a compensation gives back for a charge.
pub fn row(compensation: &Compensation, charge: EntryId, usd: NanoUsd) -> ActiveModel {
    ActiveModel {
        charge: Set(charge.as_uuid()),
        account_id: Set(compensation.account.0),
        rerate_id: Set(compensation.rerate.as_uuid()),
        usd: Set(usd.get()),
    }
}
