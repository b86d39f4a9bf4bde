//! The end of nodes: graceful, or found dead.

use std::collections::HashMap;

use sea_orm::sea_query::Expr;
use sea_orm::{
    ColumnTrait, DatabaseTransaction, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Set,
};

use super::write;
use crate::auth::SweeperScope;
use crate::billing::{
    Amounts, BudgetLegs, ChargeFlags, EntryKind, EntrySource, Lane, LedgerEntry, Sweep, Swept,
};
use crate::clock::Timestamp;
use crate::id::{AccountId, EndUserId, EntryId, NodeId, PlatformId};
use crate::json::RawObject;
use crate::store::StoreError;
use crate::store::sql::entities::{account, lane, ledger, node, slot, stream, unconfirmed};
use crate::store::sql::error::{corrupt, failed};
use crate::store::sql::query::{IN_VALUES_MAX, insert_rows};
use crate::store::sql::{SqlStore, commit};

/// Marks a node as closed that ended in good order.
pub(super) async fn close(
    store: &SqlStore,
    scope: &SweeperScope,
    node: NodeId,
) -> Result<(), StoreError> {
    let txn = store.begin_write().await?;
    let now = store.now();
    let retirement = Retirement {
        txn: &txn,
        scope,
        node,
        now,
    };
    if !retirement.lock_node().await? {
        return Ok(());
    }
    retirement.fence().await?;
    retirement.return_what_is_held().await?;
    retirement.finish().await?;
    commit(txn).await
}

/// Retires nodes that died.
pub(super) async fn sweep(
    store: &SqlStore,
    scope: &SweeperScope,
    which: Sweep,
) -> Result<Vec<Swept>, StoreError> {
    let dead = match which {
        Sweep::All => node::Entity::not_closed(scope),
        Sweep::Expired { .. } => return Ok(Vec::new()),
    };
    let dead = dead.all(store.reader()).await.map_err(failed)?;
    let mut swept = Vec::with_capacity(dead.len());
    for row in dead {
        let txn = store.begin_write().await?;
        let now = store.now();
        let node = NodeId(row.id);
        let retirement = Retirement {
            txn: &txn,
            scope,
            node,
            now,
        };
        if !retirement.lock_node().await? {
            continue;
        }
        let delivered_seq = retirement.fence().await?;
        let unconfirmed = retirement.list_unconfirmed(&row, delivered_seq).await?;
        let (streams, slots) = retirement.return_what_is_held().await?;
        retirement.finish().await?;
        commit(txn).await?;
        swept.push(Swept {
            node: Some(node),
            streams,
            slots,
            unconfirmed,
        });
    }
    Ok(swept)
}

/// The steps of one node's end, in one transaction.
struct Retirement<'a> {
    txn: &'a DatabaseTransaction,
    scope: &'a SweeperScope,
    node: NodeId,
    now: Timestamp,
}

impl Retirement<'_> {
    /// Whether the node is still to be retired.
    async fn lock_node(&self) -> Result<bool, StoreError> {
        let found = node::Entity::one(self.scope, self.node)
            .lock_exclusive()
            .one(self.txn)
            .await;
        let row = found.map_err(failed)?.ok_or(StoreError::NotFound)?;
        Ok(row.state != node::CLOSED)
    }

    /// Shuts both lanes, after a batch that is being applied; returns up to where answers were
    /// delivered.
    async fn fence(&self) -> Result<i64, StoreError> {
        let lanes = lane::Entity::of_node(self.scope, self.node)
            .lock_exclusive()
            .all(self.txn)
            .await;
        let settle = lanes
            .map_err(failed)?
            .into_iter()
            .find(|row| row.lane == Lane::Settle as i16);
        lane::Entity::update_many()
            .col_expr(lane::Column::State, Expr::val(lane::FENCED))
            .filter(lane::Column::NodeId.eq(self.node.0))
            .exec(self.txn)
            .await
            .map_err(failed)?;
        Ok(settle.map_or(0, |row| row.delivered_seq))
    }

    /// Lists charges whose answers may not have been delivered.
    async fn list_unconfirmed(
        &self,
        node: &node::Model,
        delivered_seq: i64,
    ) -> Result<u64, StoreError> {
        // The numbers of a node's batches grow with the ids of its entries, so the search, which no
        // index helps, ends at the last entry that was delivered.
        let delivered = ledger::Entity::charges_of_node(self.scope, self.node, node.ledger_from)
            .filter(ledger::Column::LaneSeq.lte(delivered_seq))
            .order_by_desc(ledger::Column::Id)
            .limit(1)
            .select_only()
            .column(ledger::Column::Id)
            .into_tuple::<i64>()
            .one(self.txn)
            .await
            .map_err(failed)?;
        let uids = ledger::Entity::charges_of_node(
            self.scope,
            self.node,
            delivered.unwrap_or(node.ledger_from),
        )
        .filter(ledger::Column::LaneSeq.gt(delivered_seq))
        .select_only()
        .column(ledger::Column::Uid)
        .into_tuple()
        .all(self.txn)
        .await
        .map_err(failed)?;
        let rows: Vec<_> = uids
            .into_iter()
            .map(|uid| unconfirmed::row(uid, self.node, self.now))
            .collect();
        let listed = rows.len() as u64;
        insert_rows(self.txn, rows, Some(&unconfirmed::kept()))
            .await
            .map_err(failed)?;
        Ok(listed)
    }

    /// Returns the node's slots to their accounts and charges its open streams what was recorded of
    /// them; says how many there were of either.
    async fn return_what_is_held(&self) -> Result<(u64, u64), StoreError> {
        let slots = slot::Entity::of_node(self.scope, self.node)
            .all(self.txn)
            .await
            .map_err(failed)?;
        let streams = stream::Entity::of_node(self.scope, self.node)
            .all(self.txn)
            .await
            .map_err(failed)?;
        let uncharged = self.without_charged(&streams).await?;

        let mut changes: HashMap<i64, Amounts> = HashMap::new();
        let mut add = |account: i64, change: Amounts| {
            let sum = changes.entry(account).or_default();
            *sum = sum
                .checked_add(change)
                .map_err(|_| corrupt("an account left its range"))?;
            Ok::<_, StoreError>(())
        };
        for slot in &slots {
            add(slot.account_id, slot.amounts())?;
        }
        for stream in &uncharged {
            let accrued = stream.accrued();
            add(
                stream.wallet_account_id,
                Amounts::usd(accrued.wallet).negated(),
            )?;
            if let Some(budget) = stream.budget_account_id {
                add(budget, accrued.budget.negated())?;
            }
        }
        self.change_accounts(&changes).await?;

        let (txn, node) = (self.txn, self.node.0);
        slot::Entity::delete_many()
            .filter(slot::Column::NodeId.eq(node))
            .exec(txn)
            .await
            .map_err(failed)?;
        stream::Entity::delete_many()
            .filter(stream::Column::NodeId.eq(node))
            .exec(txn)
            .await
            .map_err(failed)?;
        let charges = uncharged
            .into_iter()
            .map(|stream| self.charge(stream))
            .collect::<Result<_, _>>()?;
        insert_rows(txn, charges, None).await.map_err(failed)?;
        Ok((streams.len() as u64, slots.len() as u64))
    }

    /// A stream that has its charge is only waiting to be deleted; the uid would refuse another
    /// charge.
    async fn without_charged<'s>(
        &self,
        streams: &'s [stream::Model],
    ) -> Result<Vec<&'s stream::Model>, StoreError> {
        let mut uncharged = Vec::with_capacity(streams.len());
        for streams in streams.chunks(IN_VALUES_MAX) {
            let charged: Vec<uuid::Uuid> =
                ledger::Entity::charges_of(self.scope, streams.iter().map(|s| s.log_id))
                    .select_only()
                    .column(ledger::Column::Uid)
                    .into_tuple()
                    .all(self.txn)
                    .await
                    .map_err(failed)?;
            uncharged.extend(
                streams
                    .iter()
                    .filter(|stream| !charged.contains(&stream.log_id)),
            );
        }
        Ok(uncharged)
    }

    async fn change_accounts(&self, changes: &HashMap<i64, Amounts>) -> Result<(), StoreError> {
        let mut ids: Vec<_> = changes.keys().map(|id| AccountId(*id)).collect();
        ids.sort_unstable();
        for ids in ids.chunks(IN_VALUES_MAX) {
            let select = account::Entity::any(self.scope, ids.iter().copied());
            let mut rows = select
                .lock_exclusive()
                .all(self.txn)
                .await
                .map_err(failed)?;
            for row in &mut rows {
                row.add_free(changes.get(&row.id).copied().unwrap_or_default())?;
            }
            write::accounts(self.txn, rows, self.now).await?;
        }
        Ok(())
    }

    /// The charge of what was recorded, never computed anew. It has a model and a price but no
    /// counts of tokens: nobody knows them.
    fn charge(&self, stream: &stream::Model) -> Result<ledger::ActiveModel, StoreError> {
        let accrued = stream.accrued();
        let legs = |account| BudgetLegs {
            account: AccountId(account),
            remaining: accrued.budget.negated(),
            limit: Amounts::ZERO,
        };
        let entry = LedgerEntry {
            uid: EntryId::from_uuid(stream.log_id),
            kind: EntryKind::Charge,
            source: EntrySource::Inference,
            platform_id: PlatformId::from_uuid(stream.platform_id),
            end_user_id: stream.end_user_id.map(EndUserId::from_uuid),
            wallet: Some((
                AccountId(stream.wallet_account_id),
                accrued.wallet.negated(),
            )),
            budget: stream.budget_account_id.map(legs),
            refers_to: None,
            flags: ChargeFlags::CRASH.with(ChargeFlags::TRUNCATED),
            posted_by: None,
            metered: None,
            idempotency_key: None,
            reason: None,
            metadata: RawObject::new(),
            created_at: self.now,
        };
        let row = ledger::row(&entry, None, self.now)?;
        Ok(ledger::ActiveModel {
            model_id: Set(Some(stream.model_id)),
            price_id: Set(Some(stream.price_id)),
            ..row
        })
    }

    async fn finish(&self) -> Result<(), StoreError> {
        node::Entity::update_many()
            .col_expr(node::Column::State, Expr::val(node::CLOSED))
            .col_expr(node::Column::UpdatedAt, Expr::val(self.now.as_micros()))
            .filter(node::Column::Id.eq(self.node.0))
            .exec(self.txn)
            .await
            .map_err(failed)?;
        Ok(())
    }
}
