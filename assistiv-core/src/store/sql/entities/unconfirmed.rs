//! `billing_unconfirmed`: charges whose delivery cannot be proved.

use sea_orm::Set;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::OnConflict;

use crate::clock::Timestamp;
use crate::id::NodeId;

/// Nobody has decided yet.
const UNDECIDED: i16 = 0;

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "billing_unconfirmed")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub uid: Uuid,
    pub node_id: i64,
    pub resolution: i16,
    pub created_at: i64,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// A charge to be decided on.
pub fn row(uid: Uuid, node: NodeId, now: Timestamp) -> ActiveModel {
    ActiveModel {
        uid: Set(uid),
        node_id: Set(node.0),
        resolution: Set(UNDECIDED),
        created_at: Set(now.as_micros()),
    }
}

/// What is listed stays as it is.
pub fn kept() -> OnConflict {
    OnConflict::column(Column::Uid).do_nothing().to_owned()
}
