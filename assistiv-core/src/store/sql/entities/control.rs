//! `billing_control`: messages between nodes.

use sea_orm::QueryOrder;
use sea_orm::entity::prelude::*;

use crate::auth::SweeperScope;
use crate::billing::{Control, ControlOp};
use crate::clock::Timestamp;
use crate::id::AccountId;
use crate::store::StoreError;
use crate::store::sql::error::corrupt;

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "billing_control")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub seq: i64,
    pub account_id: i64,
    pub op: i16,
    pub created_at: i64,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Entity {
    /// Messages that were sent after `at`, in the order of their numbers.
    pub fn since(_: &SweeperScope, at: Timestamp) -> Select<Self> {
        Self::find()
            .filter(Column::CreatedAt.gt(at.as_micros()))
            .order_by_asc(Column::Seq)
    }
}

impl Model {
    /// The row as a message.
    pub fn to_domain(&self) -> Result<Control, StoreError> {
        Ok(Control {
            seq: self.seq,
            account: AccountId(self.account_id),
            op: ControlOp::from_number(self.op).ok_or_else(|| corrupt("billing_control.op"))?,
        })
    }
}
