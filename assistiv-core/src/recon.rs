//! Reconciliation: do the books still say one thing.
//!
//! The checks are the doctor's ([`crate::doctor`]). Here is what makes them a job: of all nodes one looks at a time,
//! every hour at what is new and every day at everything. A difference is told to the operator and never corrected.

mod job;

pub(crate) use job::{Reconciler, run};

use std::time::Duration;

use async_trait::async_trait;

use crate::auth::OperatorScope;
use crate::billing::{AccountAudit, Amounts, ChargeHistory};
use crate::clock::Timestamp;
use crate::id::{AccountId, EntryId, NodeId};
use crate::store::StoreError;

/// How old an entry must be before a checkpoint goes past it: none before it can become visible any more.
pub const SETTLED_FOR: Duration = Duration::from_mins(10);
/// How long a stream is open at the most, and some more.
pub const STREAM_STALE_AFTER: Duration = Duration::from_mins(70);

/// How often to reconcile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReconSchedule {
    /// Everything; zero for never.
    pub full: Duration,
    /// What came since the last checkpoint; zero for never.
    pub incremental: Duration,
    /// How long a run has the books for itself. One that takes longer, or whose node died, makes room for another.
    pub lease: Duration,
}

/// A run that was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReconRun {
    /// Its number.
    pub id: i64,
    /// Whether it looks at everything.
    pub is_full: bool,
    /// The last entry that earlier runs have looked at.
    pub checkpoint: i64,
}

/// What a run has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReconOutcome {
    /// Accounts whose sums were compared.
    pub accounts: u64,
    /// Differences.
    pub mismatches: u64,
    /// What they are, as JSON.
    pub details: Option<String>,
}

/// What ought not to be there, or not for long.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LooseEnds {
    /// Slots below zero in a dimension that has a limit, although no call of the node cost more than was held for it.
    pub negative_slots: Vec<(NodeId, AccountId, Amounts)>,
    /// Streams that have been open for longer than [`STREAM_STALE_AFTER`].
    pub stale_streams: Vec<(EntryId, NodeId)>,
    /// Events that are kept.
    pub events: u64,
}

/// Some entries that were refunded.
#[derive(Clone, Debug, PartialEq)]
pub struct RefundedEntries {
    /// The number of the last refund that was looked at.
    pub last: i64,
    /// The debits and charges that were given back, wholly or in part.
    pub entries: Vec<ChargeHistory>,
}

/// What reconciliation asks of a backend.
#[async_trait]
pub trait ReconStore: Send + Sync + 'static {
    /// Begins what is due, unless somebody is at it.
    async fn begin_recon(
        &self,
        scope: &OperatorScope,
        schedule: &ReconSchedule,
    ) -> Result<Option<ReconRun>, StoreError>;

    /// The sums of every account in one snapshot, with those of the ledger up to the checkpoint taken from there.
    async fn audit_since_checkpoint(
        &self,
        scope: &OperatorScope,
    ) -> Result<Vec<AccountAudit>, StoreError>;

    /// What ought not to be there.
    async fn loose_ends(&self, scope: &OperatorScope) -> Result<LooseEnds, StoreError>;

    /// What refunds with a number above `after` have given back, at most `most` of them; `None` when there are none.
    async fn refunded(
        &self,
        scope: &OperatorScope,
        after: i64,
        most: u32,
    ) -> Result<Option<RefundedEntries>, StoreError>;

    /// Ends a run: keeps what it found, moves the checkpoint over entries older than [`SETTLED_FOR`], and tells the
    /// operator of differences, together.
    async fn finish_recon(
        &self,
        scope: &OperatorScope,
        run: ReconRun,
        outcome: &ReconOutcome,
    ) -> Result<(), StoreError>;
}

// === impl ReconSchedule ===

impl ReconSchedule {
    /// Whether a run is due at `now`, and whether it is one over everything. `full_at` and `any_at` are when the
    /// last runs began that came to their end.
    pub fn due(
        &self,
        full_at: Option<Timestamp>,
        any_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Option<bool> {
        let is_over = |every: Duration, last: Option<Timestamp>| {
            let every = i64::try_from(every.as_micros()).unwrap_or(i64::MAX);
            every > 0
                && last.is_none_or(|at| at.as_micros().saturating_add(every) <= now.as_micros())
        };
        if is_over(self.full, full_at) {
            Some(true)
        } else {
            is_over(self.incremental, any_at).then_some(false)
        }
    }
}
