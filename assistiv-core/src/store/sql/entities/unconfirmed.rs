//! `billing_unconfirmed`: charges whose delivery cannot be proved.

use sea_orm::Set;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::OnConflict;

use crate::billing::UnconfirmedStatus;
use crate::clock::Timestamp;
use crate::id::NodeId;

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "billing_unconfirmed")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub uid: Uuid,
    pub node_id: i64,
    pub resolution: i16,
    pub resolved_at: Option<i64>,
    pub created_at: i64,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// A charge that a sweep has found, and what became of it.
pub fn row(uid: Uuid, node: NodeId, status: UnconfirmedStatus, now: Timestamp) -> ActiveModel {
    let is_open = status == UnconfirmedStatus::Open;
    ActiveModel {
        uid: Set(uid),
        node_id: Set(node.0),
        resolution: Set(status as i16),
        resolved_at: Set((!is_open).then_some(now.as_micros())),
        created_at: Set(now.as_micros()),
    }
}

/// What is listed stays as it is.
pub fn kept() -> OnConflict {
    OnConflict::column(Column::Uid).do_nothing().to_owned()
}
