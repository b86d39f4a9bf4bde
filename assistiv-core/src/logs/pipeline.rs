//! The way of rows to the store: a bounded queue, and one task that writes what is in it.
//!
//! Whoever queues a row never waits. A row is written when its charge is decided, or when that takes long; then it
//! is written as pending and follows later. A full queue drops rows, counts them and says so: those of charges are
//! written later from the ledger.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::call::{CallLog, Draft, Opening, Progress};
use super::{BillingStatus, LogRow, LogStore, Outcome};
use crate::auth::SweeperScope;
use crate::call::Planned;
use crate::clock::Clock;
use crate::routing::Router;
use crate::store::StoreError;

/// Rows in one act of the store.
const BATCH_MAX: usize = 500;
/// The pause between two looks at the queue while there is something in it.
const TICK: Duration = Duration::from_millis(100);
/// How long a shutdown tries to write what is left.
const CLOSE_WAIT: Duration = Duration::from_secs(5);

/// Parameters of the log.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// Rows that may wait to be written; further ones are dropped, and counted.
    pub queue_max: usize,
    /// How long a row may wait for its charge before it is written as pending.
    pub pending_after: Duration,
    /// How long rows are kept; `None` is for ever. Rollups stay.
    pub retention: Option<Duration>,
}

/// Takes rows and writes them. Clones share the queue.
#[derive(Clone)]
pub(crate) struct LogPipeline(Arc<Inner>);

struct Inner {
    store: Arc<dyn LogStore>,
    router: Router,
    clock: Arc<dyn Clock>,
    options: LogOptions,
    queue: Mutex<Queue>,
    arrived: Notify,
    writing: tokio::sync::Mutex<Writing>,
}

#[derive(Default)]
struct Queue {
    drafts: Vec<Draft>,
    /// Rows that were queued and not yet written, wherever they are.
    held: usize,
    lost: u64,
    is_losing: bool,
}

/// What the writer has in its hands.
#[derive(Default)]
struct Writing {
    /// Rows whose charge is on its way.
    undecided: Vec<Draft>,
    /// Rows to be written.
    ready: VecDeque<LogRow>,
    /// Rows that were written as pending.
    pending: Vec<(Outcome, Arc<Progress>)>,
    is_failing: bool,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            queue_max: 65_536,
            // Longer than a delivery gate waits: then it is known whether the answer went out.
            pending_after: Duration::from_secs(6),
            retention: Some(Duration::from_hours(400 * 24)),
        }
    }
}

// === impl LogPipeline ===

impl LogPipeline {
    pub(crate) fn new(
        store: Arc<dyn LogStore>,
        router: Router,
        clock: Arc<dyn Clock>,
        options: LogOptions,
    ) -> Self {
        Self(Arc::new(Inner {
            store,
            router,
            clock,
            options,
            queue: Mutex::default(),
            arrived: Notify::new(),
            writing: tokio::sync::Mutex::default(),
        }))
    }

    /// The row of a call that is about to be sent.
    pub(crate) fn call(&self, planned: &Planned) -> Option<CallLog> {
        let opening = Opening::of(planned, self.0.clock.now())?;
        Some(CallLog::new(self.clone(), opening))
    }

    /// How many rows were dropped because the queue was full.
    pub(crate) fn lost(&self) -> u64 {
        self.queue().lost
    }

    /// Queues a row, or drops it when the queue is full.
    pub(super) fn push(&self, draft: Draft) {
        let mut queue = self.queue();
        let is_full = queue.held >= self.0.options.queue_max;
        if is_full {
            queue.lost += 1;
            let is_first = !std::mem::replace(&mut queue.is_losing, true);
            drop(queue);
            if is_first {
                tracing::warn!("the queue of the request log is full, rows are dropped");
            }
            return;
        }
        queue.held += 1;
        queue.drafts.push(draft);
        drop(queue);
        self.0.arrived.notify_one();
    }

    /// Writes what comes until the gateway stops. What is left then is for [`LogPipeline::close`].
    pub(crate) async fn run(self, stopping: CancellationToken) {
        loop {
            let is_idle = self.flush(Until::Decided).await;
            let next = async {
                if is_idle {
                    self.0.arrived.notified().await;
                } else {
                    tokio::time::sleep(TICK).await;
                }
            };
            tokio::select! {
                () = stopping.cancelled() => return,
                () = next => {}
            }
        }
    }

    /// Writes everything that is there, decided or not.
    pub(crate) async fn close(&self) {
        let write_all = async {
            while !self.flush(Until::Now).await {
                tokio::time::sleep(TICK).await;
            }
        };
        if tokio::time::timeout(CLOSE_WAIT, write_all).await.is_err() {
            let rows = self.queue().held;
            tracing::error!(rows, "rows of the request log could not be written");
        }
    }

    /// Writes what can be written; whether nothing is left to do.
    async fn flush(&self, until: Until) -> bool {
        let mut writing = self.0.writing.lock().await;
        let drafts = std::mem::take(&mut self.queue().drafts);
        writing.undecided.extend(drafts);
        self.sort_out(&mut writing, until);
        let written = self.write(&mut writing).await;
        match written {
            Ok(()) => {
                writing.is_failing = false;
                self.tell_of_losses();
            }
            Err(error) if !std::mem::replace(&mut writing.is_failing, true) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the request log cannot be written, trying again"
                );
            }
            Err(_) => {}
        }
        let nothing_waits = writing.undecided.is_empty() && writing.ready.is_empty();
        nothing_waits && (until == Until::Now || writing.pending.is_empty())
    }

    /// Makes rows of those drafts whose charge is decided, or has been under way for long.
    fn sort_out(&self, writing: &mut Writing, until: Until) {
        let patience = self.0.options.pending_after;
        let is_due = |draft: &mut Draft| {
            until == Until::Now
                || draft.progress.status() != BillingStatus::Pending
                || draft.ended.elapsed() >= patience
        };
        let catalogue = self.0.router.catalogue();
        let due: Vec<_> = writing.undecided.extract_if(.., is_due).collect();
        for draft in due {
            let row = draft.row(&catalogue);
            if row.billing_status == BillingStatus::Pending {
                let outcome = Outcome {
                    id: row.id,
                    billing_status: row.billing_status,
                    cost: row.cost,
                };
                writing.pending.push((outcome, draft.progress.clone()));
            }
            writing.ready.push_back(row);
        }
    }

    async fn write(&self, writing: &mut Writing) -> Result<(), StoreError> {
        let scope = SweeperScope::engine();
        while !writing.ready.is_empty() {
            let count = writing.ready.len().min(BATCH_MAX);
            let batch = &writing.ready.make_contiguous()[..count];
            self.0.store.append(&scope, batch).await?;
            writing.ready.drain(..count);
            self.queue().held -= count;
        }
        let mut outcomes = Vec::new();
        for (outcome, progress) in &writing.pending {
            match progress.status() {
                BillingStatus::Pending => {}
                status @ BillingStatus::Billed => outcomes.push(Outcome {
                    billing_status: status,
                    cost: progress.charged().unwrap_or(outcome.cost),
                    ..*outcome
                }),
                status @ BillingStatus::Unbilled => outcomes.push(Outcome {
                    billing_status: status,
                    cost: crate::money::NanoUsd::ZERO,
                    ..*outcome
                }),
            }
        }
        for batch in outcomes.chunks(BATCH_MAX) {
            self.0.store.resolve(&scope, batch).await?;
        }
        // What was decided after the look above is resolved next time.
        let resolved: std::collections::HashSet<_> = outcomes.iter().map(|o| o.id).collect();
        writing
            .pending
            .retain(|(outcome, _)| !resolved.contains(&outcome.id));
        Ok(())
    }

    fn tell_of_losses(&self) {
        let mut queue = self.queue();
        let was_losing = std::mem::take(&mut queue.is_losing);
        let rows = queue.lost;
        drop(queue);
        if was_losing {
            tracing::warn!(
                rows,
                "rows of the request log were dropped since the start; those of charges are written from the ledger"
            );
        }
    }

    fn queue(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long rows are waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Until {
    /// Until their charge is decided, within reason.
    Decided,
    /// Not at all.
    Now,
}

impl std::fmt::Debug for LogPipeline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogPipeline")
            .field("waiting", &self.queue().held)
            .field("lost", &self.lost())
            .finish_non_exhaustive()
    }
}
