//! `billing_nodes`: runs of gateway processes.

use sea_orm::QueryOrder;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::ExprTrait;

use crate::auth::{OperatorScope, SweeperScope};
use crate::clock::Timestamp;
use crate::id::NodeId;

/// A node that may authorise calls, as long as its time has not run out.
pub const LIVE: i16 = 0;
/// A node that authorises nothing more and ends in good order.
pub const DRAINING: i16 = 1;
/// A node that holds nothing any more.
pub const CLOSED: i16 = 3;

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "billing_nodes")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    pub instance: Uuid,
    pub name: String,
    pub state: i16,
    /// When it counts as dead, without another heartbeat.
    pub expires_at: Option<i64>,
    /// Up to which number it has acted on messages.
    pub acked_control: i64,
    /// The last entry of the ledger when the node was registered: its own ones come later.
    pub ledger_from: i64,
    pub created_at: i64,
    pub updated_at: i64,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Entity {
    /// One node.
    pub fn one(_: &SweeperScope, node: NodeId) -> Select<Self> {
        Self::find().filter(Column::Id.eq(node.0))
    }

    /// Nodes that are not closed, oldest first.
    pub fn not_closed(_: &SweeperScope) -> Select<Self> {
        Self::find()
            .filter(Column::State.ne(CLOSED))
            .order_by_asc(Column::Id)
    }

    /// These nodes, to be named.
    pub fn named(_: &OperatorScope, nodes: impl IntoIterator<Item = i64>) -> Select<Self> {
        Self::find().filter(Column::Id.is_in(nodes))
    }

    /// Nodes that are not closed, and these, in the order of their numbers.
    pub fn open_or(_: &OperatorScope, nodes: impl IntoIterator<Item = i64>) -> Select<Self> {
        let these = Column::Id.is_in(nodes);
        Self::find()
            .filter(Column::State.ne(CLOSED).or(these))
            .order_by_asc(Column::Id)
    }

    /// Nodes whose time ran out before `at`, oldest first.
    pub fn expired(_: &SweeperScope, at: Timestamp) -> Select<Self> {
        Self::find()
            .filter(Column::State.is_in([LIVE, DRAINING]))
            .filter(Column::ExpiresAt.lt(at.as_micros()))
            .order_by_asc(Column::Id)
    }

    /// Nodes that may authorise calls.
    pub fn live(_: &SweeperScope, now: Timestamp) -> Select<Self> {
        Self::find()
            .filter(Column::State.eq(LIVE))
            .filter(Column::ExpiresAt.gte(now.as_micros()))
    }
}
