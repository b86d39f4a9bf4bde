//! `billing_lanes`: where each writer queue of a node stands.

use sea_orm::QueryOrder;
use std::sync::LazyLock;

use sea_orm::entity::prelude::*;

use crate::auth::SweeperScope;
use crate::id::NodeId;
use crate::store::sql::query::Inserts;

/// A lane that takes batches.
pub const OPEN: i16 = 0;
/// A lane that takes none any more.
pub const FENCED: i16 = 1;

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "billing_lanes")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub node_id: i64,
    #[sea_orm(primary_key, auto_increment = false)]
    pub lane: i16,
    pub seq: i64,
    pub delivered_seq: i64,
    pub state: i16,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Entity {
    /// The node's lanes in order.
    pub fn of_node(_: &SweeperScope, node: NodeId) -> Select<Self> {
        Self::find()
            .filter(Column::NodeId.eq(node.0))
            .order_by_asc(Column::Lane)
    }
}

/// Lanes of a node that has just registered.
pub(in crate::store::sql) static NEW: LazyLock<Inserts<ActiveModel>> =
    LazyLock::new(|| Inserts::new(None));
