//! Lane A: open records, checkpoints and settlements in numbered batches.
//!
//! One task, one batch in flight: take everything that waits, send it, await the commit, acknowledge, repeat.
//! No timer; batches grow with the load by themselves. Enqueueing never blocks and never fails: each hold owns a
//! permit of the queue from authorisation on.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::delivery::{Deliveries, DeliveryToken};
use super::epoch::Epoch;
use super::slice::Slice;
use super::validity::Asker;
use crate::auth::SweeperScope;
use crate::billing::amounts::Amounts;
use crate::billing::ledger::{BudgetLegs, EntryKind, LedgerEntry};
use crate::billing::store::{Lane, LedgerStore, OpenStream, SettleBatch};
use crate::id::{AccountId, EntryId, LogId, NodeId};
use crate::logs::Fate;
use crate::store::StoreError;

const RETRY_FIRST: Duration = Duration::from_millis(20);
const RETRY_MAX: Duration = Duration::from_secs(1);

/// Told when an operation is durable, with the token of its batch if it was part of one.
pub(crate) type Ack = oneshot::Sender<Option<DeliveryToken>>;

/// Something that waits for the lane.
pub(crate) enum Operation {
    /// Records a stream, or what it has cost so far.
    Open {
        stream: Box<OpenStream>,
        ack: Option<Ack>,
    },
    /// Charges a call.
    Settle(Box<Settlement>),
    /// Removes the record of a stream that cost nothing.
    Close {
        /// A charge of nothing, should somebody have charged the record meanwhile.
        free: Box<LedgerEntry>,
        permit: OwnedSemaphorePermit,
    },
}

/// A charge on its way to the ledger.
pub(crate) struct Settlement {
    pub(crate) entry: LedgerEntry,
    /// What to take from which slice.
    pub(crate) debits: Vec<(Arc<Slice>, Amounts)>,
    /// Whether a record of the stream may have been sent.
    pub(crate) opened: bool,
    pub(crate) ticket: Arc<Ticket>,
    /// Tells the log what becomes of the charge; dropped with a settlement that is not posted.
    pub(crate) fate: Option<Fate>,
    pub(crate) ack: Option<Ack>,
    pub(crate) permit: Option<OwnedSemaphorePermit>,
    /// Of a refund: its charge's batch counts as not handed over until the refund is durable, so that a crash before
    /// that lists the charge.
    pub(crate) _in_doubt: Option<DeliveryToken>,
}

/// How far a settlement is, shared with the gate that waits for it.
#[derive(Debug, Default)]
pub(crate) struct Ticket(AtomicU8);

const QUEUED: u8 = 0;
const SENT: u8 = 1;
const WITHDRAWN: u8 = 2;
const TO_REFUND: u8 = 3;
const DONE: u8 = 4;

/// The queue in front of the lane.
#[derive(Default)]
pub(crate) struct SettleQueue {
    waiting: Mutex<Waiting>,
    arrived: Notify,
}

#[derive(Default)]
struct Waiting {
    operations: VecDeque<(Instant, Operation)>,
    /// The lane has ended: nothing that comes can be written any more.
    is_closed: bool,
}

/// The lane itself: runs in one task.
pub(crate) struct SettleLane {
    pub(super) store: Arc<dyn LedgerStore>,
    pub(super) epoch: Arc<Epoch>,
    pub(super) batch_max: usize,
}

/// What a batch is made of, to be acknowledged when it is durable.
#[derive(Default)]
struct Pending {
    opened: HashMap<LogId, (OpenStream, Vec<Ack>)>,
    settled: Vec<Settlement>,
    closed: Vec<LogId>,
    /// Closed without a charge.
    free: Vec<(Box<LedgerEntry>, OwnedSemaphorePermit)>,
}

// === impl Ticket ===

impl Ticket {
    /// Takes a settlement back whose answer will not be delivered. One that was sent already is refunded as soon
    /// as its outcome is known. `false` when it is durable: then the answer may be delivered after all.
    pub(crate) fn withdraw(&self) -> bool {
        self.advance(QUEUED, WITHDRAWN) || self.advance(SENT, TO_REFUND)
    }

    /// Marks the settlement as sent; `false` when it was withdrawn before.
    pub(crate) fn send(&self) -> bool {
        self.advance(QUEUED, SENT)
    }

    /// Marks the settlement as durable; `false` when it is to be refunded.
    pub(crate) fn finish(&self) -> bool {
        self.advance(SENT, DONE)
    }

    fn advance(&self, from: u8, to: u8) -> bool {
        self.0
            .compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }
}

// === impl SettleQueue ===

impl SettleQueue {
    /// Adds an operation; gives it back when the lane has ended.
    pub(super) fn push(&self, operation: Operation) -> Result<(), Box<Operation>> {
        let mut waiting = self.lock();
        if waiting.is_closed {
            return Err(Box::new(operation));
        }
        waiting.operations.push_back((Instant::now(), operation));
        drop(waiting);
        self.arrived.notify_one();
        Ok(())
    }

    /// How long the oldest operation has been waiting.
    pub(crate) fn oldest(&self) -> Option<Duration> {
        self.lock()
            .operations
            .front()
            .map(|(since, _)| since.elapsed())
    }

    /// How many operations wait.
    pub(super) fn depth(&self) -> usize {
        self.lock().operations.len()
    }

    fn take(&self, most: usize) -> Vec<Operation> {
        let mut waiting = self.lock();
        let count = waiting.operations.len().min(most);
        waiting
            .operations
            .drain(..count)
            .map(|(_, operation)| operation)
            .collect()
    }

    /// Takes nothing any more; gives what waited.
    pub(super) fn close(&self) -> Vec<Operation> {
        let mut waiting = self.lock();
        waiting.is_closed = true;
        let operations = waiting.operations.drain(..);
        operations.map(|(_, operation)| operation).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl SettleLane ===

impl SettleLane {
    /// Runs until the engine closes and nothing waits any more, or the registration is lost.
    pub(super) async fn run(self, closing: CancellationToken) {
        let deliveries = Deliveries::default();
        let mut seq = 0;
        let ops = metrics::histogram!("billing_batch_ops");
        let seconds = metrics::histogram!("billing_batch_seconds", "lane" => "settle");
        let posted = metrics::counter!("billing_settlements_total");
        while !self.epoch.is_lost() {
            let operations = self.epoch.settling.take(self.batch_max);
            if operations.is_empty() {
                if closing.is_cancelled() {
                    break;
                }
                tokio::select! {
                    () = self.epoch.settling.arrived.notified() => {}
                    () = self.epoch.lost() => {}
                    () = closing.cancelled() => {}
                }
                continue;
            }
            let pending = Pending::merge(operations);
            if pending.is_empty() {
                continue;
            }
            seq += 1;
            let batch = pending.batch(self.epoch.node, seq, deliveries.delivered_seq());
            let began = Instant::now();
            let is_applied = self.apply(&batch).await;
            seconds.record(began.elapsed().as_secs_f64());
            if is_applied {
                let size = batch.opened.len() + batch.closed.len() + batch.entries.len();
                crate::metrics::record_size(&ops, size);
                posted.increment(batch.entries.len() as u64);
                deliveries.applied(seq);
                self.acknowledge(pending, &deliveries, seq);
            } else {
                pending.give_up(&self.epoch);
            }
        }
        self.epoch.end_settling();
    }

    /// Sends a batch until its outcome is known; whether it was applied.
    async fn apply(&self, batch: &SettleBatch) -> bool {
        let (scope, epoch) = (SweeperScope::engine(), &self.epoch);
        let mut pause = RETRY_FIRST;
        epoch.validity.asked(Asker::Settlements, Instant::now());
        loop {
            let error = match self.store.settle(&scope, batch).await {
                Ok(()) => break,
                Err(error) => error,
            };
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                seq = batch.seq,
                "settlement batch failed"
            );
            // Whether it was applied is asked before whether the node was fenced: what was applied stands.
            match self.store.lane(&scope, epoch.node, Lane::Settle).await {
                Ok(position) if position.seq == batch.seq => {
                    crate::metrics::outcome_was_unknown(true);
                    break;
                }
                Ok(position) if position.fenced => {
                    epoch.fence("a settlement batch came too late");
                    return false;
                }
                Ok(position) if position.seq < batch.seq - 1 => {
                    epoch.lose_history();
                    return false;
                }
                Ok(position) if position.seq > batch.seq => {
                    epoch.halt("somebody else writes with its number");
                    return false;
                }
                Err(StoreError::Lost { .. } | StoreError::NotFound) => {
                    epoch.fence("the database does not know it");
                    return false;
                }
                Ok(_) if matches!(error, StoreError::Conflict(_) | StoreError::Corrupt(_)) => {
                    epoch.halt("a settlement batch is refused by the books");
                    return false;
                }
                position => {
                    if position.is_ok() {
                        crate::metrics::outcome_was_unknown(false);
                    }
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(RETRY_MAX);
                }
            }
        }
        epoch.validity.answered(Asker::Settlements);
        true
    }

    fn acknowledge(&self, pending: Pending, deliveries: &Deliveries, seq: i64) {
        for (_, (_, acks)) in pending.opened {
            for ack in acks {
                let _ = ack.send(Some(deliveries.token(seq)));
            }
        }
        for settlement in pending.settled {
            if let Some(fate) = &settlement.fate {
                fate.billed();
            }
            for (slice, amount) in &settlement.debits {
                slice.flushed(*amount);
                if slice.became_low() {
                    self.epoch.check(slice);
                }
                if settlement.entry.kind == EntryKind::Refund {
                    slice.credited(amount.negated());
                }
            }
            if !settlement.ticket.finish() {
                let refund = settlement.refund(deliveries.token(seq));
                self.epoch.enqueue(Operation::Settle(Box::new(refund)));
            } else if let Some(ack) = settlement.ack {
                // A gate that no longer waits drops the token at once: its answer is done with.
                let _ = ack.send(Some(deliveries.token(seq)));
            }
        }
    }
}

// === impl Pending ===

impl Pending {
    /// Merges what belongs to one call: a settlement supersedes the record of its stream.
    fn merge(operations: Vec<Operation>) -> Self {
        let mut pending = Self::default();
        for operation in operations {
            match operation {
                Operation::Open { stream, ack } => {
                    let log_id = stream.log_id;
                    let (record, acks) = pending
                        .opened
                        .entry(log_id)
                        .or_insert_with(|| ((*stream).clone(), Vec::new()));
                    *record = *stream;
                    acks.extend(ack);
                }
                Operation::Settle(settlement) if settlement.ticket.send() => {
                    pending.supersede(settlement.entry.uid, settlement.opened);
                    pending.settled.push(*settlement);
                }
                Operation::Settle(settlement) => {
                    for (slice, amount) in &settlement.debits {
                        slice.unsettle(*amount);
                    }
                    pending.supersede(settlement.entry.uid, settlement.opened);
                }
                Operation::Close { free, permit } => {
                    pending.supersede(free.uid, true);
                    pending.free.push((free, permit));
                }
            }
        }
        pending
    }

    fn supersede(&mut self, log_id: LogId, opened: bool) {
        self.opened.remove(&log_id);
        if opened {
            self.closed.push(log_id);
        }
    }

    /// The registration was lost before this was written.
    fn give_up(self, epoch: &Epoch) {
        for settlement in self.settled {
            epoch.enqueue_late(Operation::Settle(Box::new(settlement)));
        }
        for (free, permit) in self.free {
            epoch.enqueue_late(Operation::Close { free, permit });
        }
    }

    fn is_empty(&self) -> bool {
        self.opened.is_empty() && self.settled.is_empty() && self.closed.is_empty()
    }

    fn batch(&self, node: NodeId, seq: i64, delivered_seq: i64) -> SettleBatch {
        let mut debits: HashMap<AccountId, Amounts> = HashMap::new();
        let mut entries = Vec::with_capacity(self.settled.len());
        for settlement in &self.settled {
            for (slice, amount) in &settlement.debits {
                let sum = debits.entry(slice.account()).or_default();
                *sum = sum.checked_add(*amount).unwrap_or(*sum);
            }
            entries.push(LedgerEntry {
                posted_by: Some((node, seq)),
                ..settlement.entry.clone()
            });
        }
        let mut debits: Vec<_> = debits.into_iter().collect();
        debits.sort_unstable_by_key(|(account, _)| *account);
        let opened = self
            .opened
            .values()
            .map(|(stream, _)| stream.clone())
            .collect();
        SettleBatch {
            node,
            seq,
            delivered_seq,
            opened,
            closed: self.closed.clone(),
            entries,
            debits,
        }
    }
}

// === impl Settlement ===

impl Settlement {
    /// The entry that gives back a charge whose answer was dropped after the charge had been sent.
    fn refund(self, in_doubt: DeliveryToken) -> Self {
        let charge = &self.entry;
        let uid = EntryId::from_uuid(Uuid::new_v5(&charge.uid.as_uuid(), b"undelivered"));
        let give_back = |legs: &BudgetLegs| BudgetLegs {
            remaining: legs.remaining.negated(),
            ..*legs
        };
        let entry = LedgerEntry {
            uid,
            kind: EntryKind::Refund,
            refers_to: Some(charge.uid),
            wallet: charge
                .wallet
                .map(|(account, amount)| (account, amount.negated())),
            budget: charge.budget.as_ref().map(give_back),
            metered: None,
            metadata: Default::default(),
            reason: Some("the answer was not delivered".to_owned()),
            ..charge.clone()
        };
        let debits: Vec<_> = self
            .debits
            .iter()
            .map(|(slice, amount)| (slice.clone(), amount.negated()))
            .collect();
        // What is given back may be spent only once the entry is durable: until then the slice owes it.
        for (slice, amount) in &debits {
            slice.owe(*amount);
        }
        Self {
            entry,
            debits,
            opened: false,
            ticket: Arc::default(),
            fate: None,
            ack: None,
            permit: self.permit,
            _in_doubt: Some(in_doubt),
        }
    }
}
