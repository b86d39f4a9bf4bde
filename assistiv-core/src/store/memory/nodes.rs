//! Nodes from their registration to their end, and the streams that they deliver.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::books::{Books, out_of_range};
use super::{State, after, before};
use crate::billing::{
    Amounts, EntryKind, Lane, LanePosition, LedgerEntry, NodeAudit, OpenStream, Sweep, Swept,
    UnconfirmedDelivery, UnconfirmedStatus,
};
use crate::clock::Timestamp;
use crate::events::OperatorEvent;
use crate::id::{AccountId, LogId, NodeId};
use crate::store::StoreError;

#[derive(Default)]
pub(super) struct Nodes {
    nodes: BTreeMap<NodeId, Node>,
    pub(super) streams: HashMap<LogId, (NodeId, OpenStream)>,
    pub(super) opened_at: HashMap<LogId, Timestamp>,
}

pub(super) struct Node {
    name: String,
    state: NodeState,
    expires_at: Timestamp,
    acked_control: i64,
    /// The last batch of each lane.
    pub(super) seq: [i64; 2],
    pub(super) delivered_seq: i64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum NodeState {
    Live,
    Draining,
    /// Fenced and closed at once: its slots are back and its lanes take nothing more.
    Closed,
}

// === impl Nodes ===

impl Nodes {
    pub(super) fn open(&mut self, name: &str, ttl: Duration, now: Timestamp) -> NodeId {
        let id = NodeId(self.nodes.last_key_value().map_or(1, |(id, _)| id.0 + 1));
        let node = Node {
            name: name.to_owned(),
            state: NodeState::Live,
            expires_at: after(now, ttl),
            acked_control: 0,
            seq: [0; 2],
            delivered_seq: 0,
        };
        self.nodes.insert(id, node);
        id
    }

    fn name(&self, id: NodeId) -> &str {
        self.nodes.get(&id).map_or("", |node| &node.name)
    }

    pub(super) fn heartbeat(
        &mut self,
        id: NodeId,
        expires_at: Timestamp,
        acked_control: i64,
    ) -> Result<(), StoreError> {
        let node = self.unclosed(id)?;
        node.expires_at = expires_at;
        node.acked_control = acked_control;
        Ok(())
    }

    pub(super) fn drain(&mut self, id: NodeId) -> Result<(), StoreError> {
        self.unclosed(id)?.state = NodeState::Draining;
        Ok(())
    }

    pub(super) fn position(&self, id: NodeId, lane: Lane) -> Result<LanePosition, StoreError> {
        let node = self.nodes.get(&id).ok_or(StoreError::Lost { node: id })?;
        Ok(LanePosition {
            seq: node.seq[lane as usize],
            fenced: node.state == NodeState::Closed,
        })
    }

    /// How many nodes may authorise calls.
    pub(super) fn live(&self, now: Timestamp) -> usize {
        self.nodes.values().filter(|node| node.is_live(now)).count()
    }

    pub(super) fn have_acked(&self, seq: i64, except: Option<NodeId>, now: Timestamp) -> bool {
        self.nodes
            .iter()
            .filter(|(id, node)| node.is_live(now) && Some(**id) != except)
            .all(|(_, node)| node.acked_control >= seq)
    }

    /// Streams that were opened before `at`.
    pub(super) fn stale_streams(&self, at: Timestamp) -> Vec<(LogId, NodeId)> {
        let opened = |call: &LogId| self.opened_at.get(call).is_some_and(|opened| *opened < at);
        let mut stale: Vec<_> = self
            .streams
            .iter()
            .filter(|(call, _)| opened(call))
            .map(|(call, (node, _))| (*call, *node))
            .collect();
        stale.sort_unstable();
        stale
    }

    pub(super) fn open_streams_on(&self, account: AccountId) -> u64 {
        let on_account = |(_, stream): &&(NodeId, OpenStream)| {
            stream.wallet == account || stream.budget == Some(account)
        };
        self.streams.values().filter(on_account).count() as u64
    }

    /// The node, if `seq` is the next number of the lane and the lane takes batches.
    pub(super) fn fence(
        &mut self,
        id: NodeId,
        lane: Lane,
        seq: i64,
    ) -> Result<&mut Node, StoreError> {
        self.unclosed(id)
            .ok()
            .filter(|node| node.seq[lane as usize] + 1 == seq)
            .ok_or(StoreError::Lost { node: id })
    }

    /// Nodes that are not closed and nodes that have slots or streams.
    pub(super) fn audit(&self, slots: impl Fn(NodeId) -> u64) -> Vec<NodeAudit> {
        let line = |(id, node): (&NodeId, &Node)| NodeAudit {
            node: *id,
            name: node.name.clone(),
            is_open: node.state != NodeState::Closed,
            expires_at: node.expires_at,
            streams: self.streams.values().filter(|(of, _)| of == id).count() as u64,
            slots: slots(*id),
        };
        let lines = self.nodes.iter().map(line);
        lines
            .filter(|line| line.is_open || line.streams > 0 || line.slots > 0)
            .collect()
    }

    fn unclosed(&mut self, id: NodeId) -> Result<&mut Node, StoreError> {
        self.nodes
            .get_mut(&id)
            .filter(|node| node.state != NodeState::Closed)
            .ok_or(StoreError::Lost { node: id })
    }

    /// The node's streams, in the order of their calls.
    fn streams_of(&self, id: NodeId) -> Vec<OpenStream> {
        let own = self.streams.values().filter(|(node, _)| *node == id);
        let mut streams: Vec<OpenStream> = own.map(|(_, stream)| stream.clone()).collect();
        streams.sort_by_key(|stream| stream.log_id);
        streams
    }
}

// === impl Node ===

impl Node {
    fn is_live(&self, now: Timestamp) -> bool {
        self.state == NodeState::Live && self.expires_at >= now
    }
}

// === impl State ===

impl State {
    /// Fences the nodes that are meant and settles what they left.
    pub(super) fn sweep(
        &mut self,
        which: Sweep,
        unconfirmed: UnconfirmedDelivery,
        now: Timestamp,
    ) -> Result<Vec<Swept>, StoreError> {
        let is_dead = |node: &Node| match which {
            Sweep::All => true,
            Sweep::Expired { grace } => node.expires_at < before(now, grace),
        };
        let nodes = self.nodes.nodes.iter();
        let dead = nodes.filter(|(_, node)| node.state != NodeState::Closed && is_dead(node));
        let ids: Vec<NodeId> = dead.map(|(id, _)| *id).collect();
        ids.into_iter()
            .map(|id| self.retire(id, Some(unconfirmed), now))
            .collect()
    }

    /// Takes a node out: charges its streams what was recorded, returns its slots, closes its
    /// lanes. With a policy for them, charges whose delivery cannot be proved are listed.
    pub(super) fn retire(
        &mut self,
        id: NodeId,
        unconfirmed: Option<UnconfirmedDelivery>,
        now: Timestamp,
    ) -> Result<Swept, StoreError> {
        let node = self.nodes.nodes.get(&id).ok_or(StoreError::NotFound)?;
        if node.state == NodeState::Closed {
            return Ok(Swept {
                node: Some(id),
                ..Swept::default()
            });
        }
        let delivered_seq = node.delivered_seq;
        let streams = self.nodes.streams_of(id);
        // A stream whose charge is posted was only not closed; it is not charged twice.
        let mut entries: Vec<LedgerEntry> = streams
            .iter()
            .filter(|stream| self.books.entry(stream.log_id).is_none())
            .map(|stream| stream.crash_charge(now))
            .collect();
        let mut listed = Vec::new();
        if let Some(policy) = unconfirmed {
            for charge in self.books.undelivered(id, delivered_seq) {
                let resolution = match policy {
                    UnconfirmedDelivery::Stands => UnconfirmedStatus::Open,
                    UnconfirmedDelivery::Refund => {
                        let since = self.books.changes_since(charge.uid)?;
                        entries.extend(
                            charge
                                .unconfirmed_refund(since, now)
                                .map_err(out_of_range)?,
                        );
                        UnconfirmedStatus::Refunded
                    }
                };
                listed.push((charge.uid, resolution));
            }
        }
        let frees = self.books.frees_after(id, &entries)?;
        let swept = Swept {
            node: Some(id),
            streams: streams.len() as u64,
            slots: self.books.slot_count(id),
            unconfirmed: listed.len() as u64,
        };

        if swept.unconfirmed > 0 {
            let event = OperatorEvent::unconfirmed(id, swept.unconfirmed);
            self.books.outbox.add_once(event.at(now));
        }
        if let Some(node) = self.nodes.nodes.get_mut(&id) {
            node.state = NodeState::Closed;
        }
        self.nodes.streams.retain(|_, (node, _)| *node != id);
        let Nodes {
            streams, opened_at, ..
        } = &mut self.nodes;
        opened_at.retain(|call, _| streams.contains_key(call));
        for entry in entries {
            self.books.post(entry);
        }
        let name = self.nodes.name(id);
        for (uid, status) in listed {
            self.books.list_unconfirmed(uid, name, status, now);
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
    /// Charges of the node's batches whose answers may not have been delivered.
    fn undelivered(&self, node: NodeId, delivered_seq: i64) -> impl Iterator<Item = &LedgerEntry> {
        let in_doubt = move |entry: &&LedgerEntry| {
            let later = |(by, seq)| by == node && seq > delivered_seq;
            entry.kind == EntryKind::Charge && entry.posted_by.is_some_and(later)
        };
        self.ledger().iter().filter(in_doubt)
    }

    pub(super) fn slot_count(&self, node: NodeId) -> u64 {
        self.accounts
            .values()
            .filter(|account| account.slots.contains_key(&node))
            .count() as u64
    }

    /// The free part of every account that the end of a node touches: plus its slot, and what the
    /// entries change.
    fn frees_after(
        &self,
        node: NodeId,
        entries: &[LedgerEntry],
    ) -> Result<BTreeMap<AccountId, Amounts>, StoreError> {
        let mut frees = BTreeMap::new();
        for (id, account) in &self.accounts {
            if let Some(slot) = account.slots.get(&node) {
                frees.insert(*id, account.free.checked_add(*slot).map_err(out_of_range)?);
            }
        }
        for (id, change) in entries.iter().flat_map(LedgerEntry::changes) {
            let free = match frees.get(&id) {
                Some(free) => *free,
                None => self.account(id)?.free,
            };
            frees.insert(id, free.checked_add(change).map_err(out_of_range)?);
        }
        Ok(frees)
    }
}
