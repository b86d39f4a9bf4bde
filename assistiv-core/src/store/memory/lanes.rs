//! Nodes, their lanes, and the streams that they deliver.

use std::collections::{BTreeMap, HashMap};

use super::State;
use super::books::{Account, Books, out_of_range};
use crate::billing::{
    Amounts, BudgetLegs, ChargeFlags, EntryKind, EntrySource, Lane, LanePosition, LeaseBatch,
    LeaseGrant, LeaseRequest, LedgerEntry, OpenStream, SettleBatch, Swept, grant,
};
use crate::clock::Timestamp;
use crate::id::{AccountId, LogId, NodeId};
use crate::json::RawObject;
use crate::store::StoreError;

/// One process holds all slots: a node may lease whatever is free.
const DIVISOR: i64 = 1;

#[derive(Default)]
pub(super) struct Nodes {
    nodes: BTreeMap<NodeId, Node>,
    streams: HashMap<LogId, (NodeId, OpenStream)>,
}

#[derive(Default)]
struct Node {
    /// The last batch of each lane.
    seq: [i64; 2],
    delivered_seq: i64,
    /// Fenced and closed at once: its slots are back and its lanes take nothing more.
    is_closed: bool,
}

// === impl Nodes ===

impl Nodes {
    pub(super) fn open(&mut self) -> NodeId {
        let id = NodeId(self.nodes.last_key_value().map_or(1, |(id, _)| id.0 + 1));
        self.nodes.insert(id, Node::default());
        id
    }

    pub(super) fn position(&self, id: NodeId, lane: Lane) -> Result<LanePosition, StoreError> {
        let node = self.nodes.get(&id).ok_or(StoreError::Lost { node: id })?;
        Ok(LanePosition {
            seq: node.seq[lane as usize],
            fenced: node.is_closed,
        })
    }

    pub(super) fn open_streams_on(&self, account: AccountId) -> u64 {
        let on_account = |(_, stream): &&(NodeId, OpenStream)| {
            stream.wallet == account || stream.budget == Some(account)
        };
        self.streams.values().filter(on_account).count() as u64
    }

    /// The node, if `seq` is the next number of the lane and the lane takes batches.
    fn fence(&mut self, id: NodeId, lane: Lane, seq: i64) -> Result<&mut Node, StoreError> {
        let node = self.nodes.get_mut(&id);
        node.filter(|node| !node.is_closed && node.seq[lane as usize] + 1 == seq)
            .ok_or(StoreError::Lost { node: id })
    }
}

// === impl State ===

impl State {
    pub(super) fn settle(&mut self, batch: &SettleBatch, now: Timestamp) -> Result<(), StoreError> {
        let node = self.nodes.fence(batch.node, Lane::Settle, batch.seq)?;
        self.books.check_unposted(&batch.entries)?;
        let debited = |(id, debit): &(AccountId, Amounts)| {
            let slot = self.books.account(*id)?.slot(batch.node);
            Ok((*id, slot.checked_sub(*debit).map_err(out_of_range)?))
        };
        let slots: Vec<_> = batch
            .debits
            .iter()
            .map(debited)
            .collect::<Result<_, StoreError>>()?;

        (node.seq[Lane::Settle as usize], node.delivered_seq) = (batch.seq, batch.delivered_seq);
        for stream in &batch.opened {
            self.nodes
                .streams
                .insert(stream.log_id, (batch.node, stream.clone()));
        }
        for log_id in &batch.closed {
            self.nodes.streams.remove(log_id);
        }
        for entry in &batch.entries {
            let posted_by = Some((batch.node, batch.seq));
            self.books.post(LedgerEntry {
                posted_by,
                created_at: now,
                ..entry.clone()
            });
        }
        for (id, slot) in slots {
            self.books.set_slot(id, batch.node, slot);
        }
        Ok(())
    }

    pub(super) fn lease(
        &mut self,
        batch: &LeaseBatch,
        now: Timestamp,
    ) -> Result<Vec<LeaseGrant>, StoreError> {
        let node = self.nodes.fence(batch.node, Lane::Lease, batch.seq)?;
        let mut grants = Vec::with_capacity(batch.requests.len());
        for request in &batch.requests {
            if let Some(account) = self.books.accounts.get(&request.account) {
                grants.push(leased(account, request, batch.node, now).map_err(out_of_range)?);
            }
        }

        node.seq[Lane::Lease as usize] = batch.seq;
        for (grant, slot) in &grants {
            if let Some(account) = self.books.accounts.get_mut(&grant.account) {
                account.free = grant.free;
                account.slots.insert(batch.node, *slot);
            }
        }
        for request in &batch.requests {
            if request.moves() || request.check {
                self.books.check_thresholds(request.account, now)?;
            }
        }
        Ok(grants.into_iter().map(|(grant, _)| grant).collect())
    }

    /// Fences every node that is not closed and settles what it left.
    pub(super) fn sweep(&mut self, now: Timestamp) -> Result<Vec<Swept>, StoreError> {
        let open = self.nodes.nodes.iter().filter(|(_, node)| !node.is_closed);
        let ids: Vec<NodeId> = open.map(|(id, _)| *id).collect();
        ids.into_iter().map(|id| self.retire(id, now)).collect()
    }

    /// Takes a node out: charges its streams what was recorded, returns its slots, closes its
    /// lanes.
    pub(super) fn retire(&mut self, id: NodeId, now: Timestamp) -> Result<Swept, StoreError> {
        let node = self.nodes.nodes.get_mut(&id).ok_or(StoreError::NotFound)?;
        if node.is_closed {
            return Ok(Swept {
                node: Some(id),
                ..Swept::default()
            });
        }
        let own = self.nodes.streams.values().filter(|(node, _)| *node == id);
        let mut streams: Vec<OpenStream> = own.map(|(_, stream)| stream.clone()).collect();
        streams.sort_by_key(|stream| stream.log_id);
        // A stream whose charge is posted was only not closed; it is not charged twice.
        let charges: Vec<LedgerEntry> = streams
            .iter()
            .filter(|stream| self.books.entry(stream.log_id).is_none())
            .map(|stream| crash_charge(stream, now))
            .collect();
        let frees = self.books.frees_after(id, &charges)?;
        let undelivered = |entry: &&LedgerEntry| {
            entry.kind == EntryKind::Charge
                && entry
                    .posted_by
                    .is_some_and(|(by, seq)| by == id && seq > node.delivered_seq)
        };
        let swept = Swept {
            node: Some(id),
            streams: streams.len() as u64,
            slots: self.books.slot_count(id),
            unconfirmed: self.books.ledger().iter().filter(undelivered).count() as u64,
        };

        node.is_closed = true;
        self.nodes.streams.retain(|_, (node, _)| *node != id);
        for charge in charges {
            self.books.post(charge);
        }
        for (account, free) in frees {
            if let Some(account) = self.books.accounts.get_mut(&account) {
                account.free = free;
                account.slots.remove(&id);
            }
        }
        Ok(swept)
    }
}

// === impl Books ===

impl Books {
    fn set_slot(&mut self, id: AccountId, node: NodeId, slot: Amounts) {
        if let Some(account) = self.accounts.get_mut(&id) {
            account.slots.insert(node, slot);
        }
    }

    fn slot_count(&self, node: NodeId) -> u64 {
        self.accounts
            .values()
            .filter(|account| account.slots.contains_key(&node))
            .count() as u64
    }

    /// The free part of every account that the end of a node touches: plus its slot, less the
    /// charges.
    fn frees_after(
        &self,
        node: NodeId,
        charges: &[LedgerEntry],
    ) -> Result<BTreeMap<AccountId, Amounts>, StoreError> {
        let mut frees = BTreeMap::new();
        for (id, account) in &self.accounts {
            if let Some(slot) = account.slots.get(&node) {
                frees.insert(*id, account.free.checked_add(*slot).map_err(out_of_range)?);
            }
        }
        for charge in charges {
            let wallet = charge
                .wallet
                .map(|(account, usd)| (account, Amounts::usd(usd)));
            let budget = charge.budget.map(|legs| (legs.account, legs.remaining));
            for (id, change) in wallet.into_iter().chain(budget) {
                let free = match frees.get(&id) {
                    Some(free) => *free,
                    None => self.account(id)?.free,
                };
                frees.insert(id, free.checked_add(change).map_err(out_of_range)?);
            }
        }
        Ok(frees)
    }
}

/// What a request does to an account, and the slot that it leaves. Returns are taken whatever the
/// account's state; grants are not given out of a blocked account, nor out of a period that is
/// over.
fn leased(
    account: &Account,
    request: &LeaseRequest,
    node: NodeId,
    now: Timestamp,
) -> Result<(LeaseGrant, Amounts), crate::billing::Overflow> {
    let returned = account.free.checked_add(request.give_back)?;
    let reset_due = account.reset_due(now);
    let granted = if reset_due {
        Amounts::ZERO
    } else {
        grant(returned, &account.policy, request, DIVISOR)
    };
    let free = returned.checked_sub(granted)?;
    let slot = account
        .slot(node)
        .checked_sub(request.give_back)?
        .checked_add(granted)?;
    let policy = account.policy;
    Ok((
        LeaseGrant {
            account: request.account,
            granted,
            free,
            elsewhere: Amounts::ZERO,
            policy,
            reset_due,
        },
        slot,
    ))
}

/// The charge of a stream that nobody ended: what its last record said.
fn crash_charge(stream: &OpenStream, now: Timestamp) -> LedgerEntry {
    let remaining = stream.accrued.budget.negated();
    LedgerEntry {
        uid: stream.log_id,
        kind: EntryKind::Charge,
        source: EntrySource::Inference,
        platform_id: stream.platform_id,
        end_user_id: stream.end_user_id,
        wallet: Some((stream.wallet, stream.accrued.wallet.negated())),
        budget: stream.budget.map(|account| BudgetLegs {
            account,
            remaining,
            limit: Amounts::ZERO,
        }),
        refers_to: None,
        flags: ChargeFlags::CRASH.with(ChargeFlags::TRUNCATED),
        posted_by: None,
        metered: None,
        idempotency_key: None,
        reason: None,
        metadata: RawObject::new(),
        created_at: now,
    }
}
