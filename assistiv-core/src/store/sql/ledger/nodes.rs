//! Nodes and their lanes.

use std::collections::HashMap;
use std::time::Duration;

use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, NotSet,
    PaginatorTrait, QueryFilter, QuerySelect, Select, Set,
};
use uuid::Uuid;

use crate::auth::{OperatorScope, SweeperScope};
use crate::billing::{Amounts, Lane, LanePosition, NodeAudit};
use crate::clock::Timestamp;
use crate::id::{AccountId, NodeId};
use crate::store::StoreError;
use crate::store::sql::entities::{lane, ledger, node, slot, stream};
use crate::store::sql::error::{conflict, failed};
use crate::store::sql::{SqlStore, commit};

/// Registers a node with both lanes open at 0.
pub(super) async fn open(
    store: &SqlStore,
    scope: &SweeperScope,
    instance: Uuid,
    name: &str,
    ttl: Duration,
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
        expires_at: Set(Some(after(now, ttl).as_micros())),
        acked_control: Set(0),
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
    lane::NEW.run(&txn, lanes.into()).await.map_err(failed)?;
    commit(txn).await?;
    Ok(NodeId(node.id))
}

/// Says that a node is alive, and what it has acted on.
pub(super) async fn heartbeat(
    store: &SqlStore,
    scope: &SweeperScope,
    node: NodeId,
    ttl: Duration,
    acked_control: i64,
) -> Result<(), StoreError> {
    let txn = store.begin_write().await?;
    let now = store.now();
    let change = node::ActiveModel {
        expires_at: Set(Some(after(now, ttl).as_micros())),
        acked_control: Set(acked_control),
        updated_at: Set(now.as_micros()),
        ..Default::default()
    };
    change_unclosed(&txn, scope, node, change).await?;
    commit(txn).await
}

/// Marks a node that authorises nothing more.
pub(super) async fn drain(
    store: &SqlStore,
    scope: &SweeperScope,
    node: NodeId,
) -> Result<(), StoreError> {
    let txn = store.begin_write().await?;
    let change = node::ActiveModel {
        state: Set(node::DRAINING),
        updated_at: Set(store.now().as_micros()),
        ..Default::default()
    };
    change_unclosed(&txn, scope, node, change).await?;
    commit(txn).await
}

/// Waits for a sweeper that has the node in its hands, and finds it closed then.
async fn change_unclosed(
    txn: &DatabaseTransaction,
    _: &SweeperScope,
    node: NodeId,
    change: node::ActiveModel,
) -> Result<(), StoreError> {
    let changed = node::Entity::update_many()
        .set(change)
        .filter(node::Column::Id.eq(node.0))
        .filter(node::Column::State.is_in([node::LIVE, node::DRAINING]))
        .exec(txn)
        .await
        .map_err(failed)?;
    if changed.rows_affected == 1 {
        Ok(())
    } else {
        Err(StoreError::Lost { node })
    }
}

/// Whether no live node but `except` is behind a message.
pub(super) async fn have_acked(
    store: &SqlStore,
    scope: &SweeperScope,
    seq: i64,
    except: Option<NodeId>,
) -> Result<bool, StoreError> {
    let mut behind =
        node::Entity::live(scope, store.now()).filter(node::Column::AckedControl.lt(seq));
    if let Some(NodeId(id)) = except {
        behind = behind.filter(node::Column::Id.ne(id));
    }
    let behind = behind.count(store.reader()).await.map_err(failed)?;
    Ok(behind == 0)
}

/// What a node holds of an account.
pub(super) async fn slot(
    store: &SqlStore,
    scope: &SweeperScope,
    node: NodeId,
    account: AccountId,
) -> Result<Amounts, StoreError> {
    let found = slot::Entity::one(scope, node, account)
        .one(store.reader())
        .await
        .map_err(failed)?;
    Ok(found.map_or(Amounts::ZERO, |slot| slot.amounts()))
}

/// Nodes that are not closed and nodes that have slots or streams, in one snapshot.
pub(super) async fn audit(
    store: &SqlStore,
    scope: &OperatorScope,
) -> Result<Vec<NodeAudit>, StoreError> {
    let txn = store.begin_read().await?;
    let streams = {
        let all = stream::Entity::all(scope);
        by_node(&txn, all, stream::Column::NodeId).await?
    };
    let slots = {
        let all = slot::Entity::all(scope);
        by_node(&txn, all, slot::Column::NodeId).await?
    };
    let left = streams.keys().chain(slots.keys()).copied();
    let rows = node::Entity::open_or(scope, left)
        .all(&txn)
        .await
        .map_err(failed)?;
    let of = |counts: &HashMap<i64, i64>, id: i64| {
        let count = counts.get(&id).copied().unwrap_or(0);
        u64::try_from(count).unwrap_or(0)
    };
    let line = |row: node::Model| NodeAudit {
        node: NodeId(row.id),
        is_open: row.state != node::CLOSED,
        expires_at: Timestamp::from_micros(row.expires_at.unwrap_or(row.created_at)),
        streams: of(&streams, row.id),
        slots: of(&slots, row.id),
        name: row.name,
    };
    Ok(rows.into_iter().map(line).collect())
}

async fn by_node<E: EntityTrait>(
    db: &impl ConnectionTrait,
    select: Select<E>,
    node: E::Column,
) -> Result<HashMap<i64, i64>, StoreError> {
    let rows: Vec<(i64, i64)> = select
        .select_only()
        .column(node)
        .column_as(node.count(), "of_node")
        .group_by(node)
        .into_tuple()
        .all(db)
        .await
        .map_err(failed)?;
    Ok(rows.into_iter().collect())
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

pub(super) fn after(at: Timestamp, span: Duration) -> Timestamp {
    Timestamp::from_micros(at.as_micros().saturating_add(micros(span)))
}

pub(super) fn before(at: Timestamp, span: Duration) -> Timestamp {
    Timestamp::from_micros(at.as_micros().saturating_sub(micros(span)))
}

fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}
