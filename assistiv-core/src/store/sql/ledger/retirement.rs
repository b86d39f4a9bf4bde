//! The steps of one node's end, in one transaction and in the order of all locks.

use std::collections::{BTreeMap, HashMap};

use sea_orm::sea_query::Expr;
use sea_orm::{
    ColumnTrait, DatabaseTransaction, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Set,
};

use super::late::Since;
use super::{locks, rerate, write};
use crate::auth::SweeperScope;
use crate::billing::{
    Amounts, Lane, LedgerEntry, OpenStream, Swept, UnconfirmedDelivery, UnconfirmedStatus,
};
use crate::clock::Timestamp;
use crate::id::{AccountId, EntryId, NodeId};
use crate::store::StoreError;
use crate::store::sql::entities::{account, lane, ledger, node, slot, stream, unconfirmed};
use crate::store::sql::error::{conflict, corrupt, failed};
use crate::store::sql::query::IN_VALUES_MAX;

/// A node whose row is locked, and which is not closed.
pub(super) struct Retirement<'a> {
    txn: &'a DatabaseTransaction,
    scope: &'a SweeperScope,
    row: &'a node::Model,
    node: NodeId,
    now: Timestamp,
}

/// What the node left.
struct Left {
    slots: Vec<slot::Model>,
    /// How many streams it was delivering.
    streams: u64,
    /// Those of them that have no charge yet.
    uncharged: Vec<OpenStream>,
    /// Charges whose delivery cannot be proved.
    in_doubt: Vec<LedgerEntry>,
}

impl<'a> Retirement<'a> {
    pub(super) fn of(
        txn: &'a DatabaseTransaction,
        scope: &'a SweeperScope,
        row: &'a node::Model,
        now: Timestamp,
    ) -> Self {
        Self {
            txn,
            scope,
            row,
            node: NodeId(row.id),
            now,
        }
    }

    /// Shuts the lanes, charges streams what was recorded of them, returns slots to their accounts
    /// and closes the node. With a policy for them, charges whose delivery cannot be proved are
    /// listed.
    pub(super) async fn run(
        &self,
        unconfirmed: Option<UnconfirmedDelivery>,
    ) -> Result<Swept, StoreError> {
        let delivered_seq = self.fence().await?;
        // Nobody writes any more what is read from here on.
        let left = self.left(unconfirmed.map(|_| delivered_seq)).await?;
        let refunding = unconfirmed == Some(UnconfirmedDelivery::Refund);
        let touched = left.accounts(refunding);
        let mut accounts = locks::accounts(self.txn, self.scope, touched).await?;

        let mut entries: Vec<LedgerEntry> = Vec::new();
        if refunding {
            entries = self.refunds(&left.in_doubt).await?;
        }
        entries.extend(
            left.uncharged
                .iter()
                .map(|stream| stream.crash_charge(self.now)),
        );
        let slots = left
            .slots
            .iter()
            .map(|slot| (AccountId(slot.account_id), slot.amounts()));
        let changes = slots.chain(entries.iter().flat_map(LedgerEntry::changes));
        self.add(&mut accounts, changes).await?;
        self.delete_what_was_held().await?;
        self.post(&entries, &left.uncharged).await?;
        let status = if refunding {
            UnconfirmedStatus::Refunded
        } else {
            UnconfirmedStatus::Open
        };
        self.list(&left.in_doubt, status).await?;
        self.finish().await?;
        Ok(Swept {
            node: Some(self.node),
            streams: left.streams,
            slots: left.slots.len() as u64,
            unconfirmed: left.in_doubt.len() as u64,
        })
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

    /// What the node left, with the charges after `delivered_seq`.
    async fn left(&self, delivered_seq: Option<i64>) -> Result<Left, StoreError> {
        let slots = slot::Entity::of_node(self.scope, self.node)
            .all(self.txn)
            .await
            .map_err(failed)?;
        let streams = stream::Entity::of_node(self.scope, self.node)
            .all(self.txn)
            .await
            .map_err(failed)?;
        let in_doubt = match delivered_seq {
            Some(seq) => self.in_doubt(seq).await?,
            None => Vec::new(),
        };
        Ok(Left {
            slots,
            streams: streams.len() as u64,
            uncharged: self.uncharged(&streams).await?,
            in_doubt,
        })
    }

    /// Charges whose answers may not have been delivered.
    async fn in_doubt(&self, delivered_seq: i64) -> Result<Vec<LedgerEntry>, StoreError> {
        // The numbers of a node's batches grow with the ids of its entries, so the search, which no
        // index helps, ends at the last entry that was delivered.
        let from = self.row.ledger_from;
        let delivered = ledger::Entity::charges_of_node(self.scope, self.node, from)
            .filter(ledger::Column::LaneSeq.lte(delivered_seq))
            .order_by_desc(ledger::Column::Id)
            .limit(1)
            .select_only()
            .column(ledger::Column::Id)
            .into_tuple::<i64>()
            .one(self.txn)
            .await
            .map_err(failed)?;
        let from = delivered.unwrap_or(from);
        let rows = ledger::Entity::charges_of_node(self.scope, self.node, from)
            .filter(ledger::Column::LaneSeq.gt(delivered_seq))
            .order_by_asc(ledger::Column::Id)
            .all(self.txn)
            .await
            .map_err(failed)?;
        rows.into_iter().map(ledger::Model::into_domain).collect()
    }

    /// A stream that has its charge is only waiting to be deleted; the uid would refuse another
    /// charge.
    async fn uncharged(&self, streams: &[stream::Model]) -> Result<Vec<OpenStream>, StoreError> {
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
            let streams = streams.iter();
            let open = streams.filter(|stream| !charged.contains(&stream.log_id));
            uncharged.extend(open.map(stream::Model::to_domain));
        }
        Ok(uncharged)
    }

    /// What is left of charges in doubt, to be given back. Their accounts are locked.
    async fn refunds(&self, charges: &[LedgerEntry]) -> Result<Vec<LedgerEntry>, StoreError> {
        let mut since: HashMap<EntryId, Since> = HashMap::new();
        for charges in charges.chunks(IN_VALUES_MAX) {
            let uids = charges.iter().map(|charge| charge.uid.as_uuid());
            let rows = ledger::Entity::referring_to(self.scope, uids)
                .all(self.txn)
                .await
                .map_err(failed)?;
            for row in rows {
                let entry = row.into_domain()?;
                if let Some(charge) = entry.refers_to {
                    since.entry(charge).or_default().add(&entry)?;
                }
            }
        }
        let mut refunds = Vec::with_capacity(charges.len());
        for charge in charges {
            let linked = since.get(&charge.uid).map(|since| since.change);
            let rerated = rerate::compensated(self.txn, charge).await?;
            let refund = linked
                .unwrap_or_default()
                .checked_add(rerated)
                .and_then(|since| charge.unconfirmed_refund(since, self.now));
            refunds.extend(refund.map_err(|_| corrupt("an entry left its range"))?);
        }
        Ok(refunds)
    }

    /// Adds to the accounts' free parts. The rows are locked.
    async fn add(
        &self,
        accounts: &mut BTreeMap<i64, account::Model>,
        changes: impl Iterator<Item = (AccountId, Amounts)>,
    ) -> Result<(), StoreError> {
        for (AccountId(id), change) in changes {
            let account = accounts.get_mut(&id);
            account
                .ok_or_else(|| corrupt("a slot or an entry without its account"))?
                .add_free(change)?;
        }
        write::accounts(self.txn, accounts.values().cloned(), self.now).await
    }

    async fn delete_what_was_held(&self) -> Result<(), StoreError> {
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
        Ok(())
    }

    /// Appends the entries. The charge of a stream has a model and a price but no counts of tokens:
    /// nobody knows them.
    async fn post(
        &self,
        entries: &[LedgerEntry],
        streams: &[OpenStream],
    ) -> Result<(), StoreError> {
        let priced: HashMap<EntryId, &OpenStream> = streams
            .iter()
            .map(|stream| (stream.log_id, stream))
            .collect();
        let mut rows = Vec::with_capacity(entries.len());
        for entry in entries {
            let mut row = ledger::row(entry, None, self.now)?;
            if let Some(stream) = priced.get(&entry.uid) {
                row.model_id = Set(Some(stream.model_id.as_uuid()));
                row.price_id = Set(Some(stream.price_id.as_uuid()));
            }
            rows.push(row);
        }
        ledger::POST
            .run(self.txn, rows)
            .await
            .map_err(|error| conflict(error, "ledger entry"))
    }

    async fn list(
        &self,
        charges: &[LedgerEntry],
        status: UnconfirmedStatus,
    ) -> Result<(), StoreError> {
        let rows = charges
            .iter()
            .map(|charge| unconfirmed::row(charge.uid.as_uuid(), self.node, status, self.now))
            .collect();
        unconfirmed::NEW.run(self.txn, rows).await.map_err(failed)
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

impl Left {
    /// Every account that the end of the node changes.
    fn accounts(&self, refunding: bool) -> Vec<AccountId> {
        let slots = self.slots.iter().map(|slot| AccountId(slot.account_id));
        let streams = self.uncharged.iter();
        let streams = streams.flat_map(|stream| [Some(stream.wallet), stream.budget]);
        let mut accounts: Vec<_> = slots.chain(streams.flatten()).collect();
        if refunding {
            let changes = self.in_doubt.iter().flat_map(LedgerEntry::changes);
            accounts.extend(changes.map(|(account, _)| account));
        }
        accounts
    }
}
