//! Nodes and their lanes.

use sea_orm::{
    ActiveModelTrait, ColumnTrait, DatabaseTransaction, EntityTrait, NotSet, QueryFilter,
    QuerySelect, Set,
};
use uuid::Uuid;

use crate::auth::SweeperScope;
use crate::billing::{Lane, LanePosition};
use crate::id::NodeId;
use crate::store::StoreError;
use crate::store::sql::entities::{lane, ledger, node};
use crate::store::sql::error::{conflict, failed};
use crate::store::sql::query::insert_rows;
use crate::store::sql::{SqlStore, commit};

/// Registers a node with both lanes open at 0.
pub(super) async fn open(
    store: &SqlStore,
    scope: &SweeperScope,
    instance: Uuid,
    name: &str,
) -> Result<NodeId, StoreError> {
    let txn = store.begin_write().await?;
    let now = store.now();
    let ledger_from = ledger::Entity::last_id(scope)
        .one(&txn)
        .await
        .map_err(failed)?
        .unwrap_or(0);
    let row = node::ActiveModel {
        id: NotSet,
        instance: Set(instance),
        name: Set(name.chars().take(128).collect()),
        state: Set(node::LIVE),
        ledger_from: Set(ledger_from),
        created_at: Set(now.as_micros()),
        updated_at: Set(now.as_micros()),
    };
    let node = row
        .insert(&txn)
        .await
        .map_err(|error| conflict(error, "node"))?;
    let lanes = [Lane::Settle, Lane::Lease].map(|lane| lane::ActiveModel {
        node_id: Set(node.id),
        lane: Set(lane as i16),
        seq: Set(0),
        delivered_seq: Set(0),
        state: Set(lane::OPEN),
    });
    insert_rows(&txn, lanes.into(), None)
        .await
        .map_err(failed)?;
    commit(txn).await?;
    Ok(NodeId(node.id))
}

/// Where a lane stands. Waits for a batch that is still being applied.
pub(super) async fn lane(
    store: &SqlStore,
    scope: &SweeperScope,
    node: NodeId,
    lane: Lane,
) -> Result<LanePosition, StoreError> {
    let txn = store.begin_write().await?;
    let select = lane::Entity::of_node(scope, node).filter(lane::Column::Lane.eq(lane as i16));
    let found = select.lock_exclusive().one(&txn).await.map_err(failed)?;
    let row = found.ok_or(StoreError::Lost { node })?;
    Ok(LanePosition {
        seq: row.seq,
        fenced: row.state != lane::OPEN,
    })
}

/// A batch's number, which must be the next of its lane.
pub(super) struct Fence {
    /// The node.
    pub(super) node: NodeId,
    /// The lane.
    pub(super) lane: Lane,
    /// The number.
    pub(super) seq: i64,
    /// Every answer that waited on batches up to this one was handed over.
    pub(super) delivered_seq: Option<i64>,
}

impl Fence {
    /// The first effect of every batch: takes the number, if it is the next and the lane is open.
    ///
    /// # Errors
    /// [`StoreError::Lost`]; then the transaction must be dropped.
    pub(super) async fn pass(
        &self,
        txn: &DatabaseTransaction,
        _: &SweeperScope,
    ) -> Result<(), StoreError> {
        let row = lane::ActiveModel {
            seq: Set(self.seq),
            delivered_seq: self.delivered_seq.map_or(NotSet, Set),
            ..Default::default()
        };
        let passed = lane::Entity::update_many()
            .set(row)
            .filter(lane::Column::NodeId.eq(self.node.0))
            .filter(lane::Column::Lane.eq(self.lane as i16))
            .filter(lane::Column::Seq.eq(self.seq.saturating_sub(1)))
            .filter(lane::Column::State.eq(lane::OPEN))
            .exec(txn)
            .await
            .map_err(failed)?;
        if passed.rows_affected == 1 {
            Ok(())
        } else {
            Err(StoreError::Lost { node: self.node })
        }
    }
}
