//! Runs of the reconciliation.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::{MemoryStore, State, after, before};
use crate::auth::OperatorScope;
use crate::billing::{AccountAudit, ChargeFlags, Dimension, EntryKind};
use crate::clock::Timestamp;
use crate::events::OperatorEvent;
use crate::id::AccountId;
use crate::recon::{
    LooseEnds, ReconOutcome, ReconRun, ReconSchedule, ReconStore, RefundedEntries, SETTLED_FOR,
    STREAM_STALE_AFTER,
};
use crate::store::StoreError;

/// Who is at it, and when it was done last.
#[derive(Default)]
pub(super) struct Runs {
    last: i64,
    busy_until: Option<Timestamp>,
    checkpoint: i64,
    /// When the last runs began that came to their end: of everything, and of any kind.
    full_at: Option<Timestamp>,
    any_at: Option<Timestamp>,
    begun: BTreeMap<i64, Timestamp>,
}

#[async_trait]
impl ReconStore for MemoryStore {
    async fn begin_recon(
        &self,
        _: &OperatorScope,
        schedule: &ReconSchedule,
    ) -> Result<Option<ReconRun>, StoreError> {
        let now = self.now();
        let mut state = self.lock();
        let runs = &mut state.recon;
        if runs.busy_until.is_some_and(|until| until > now) {
            return Ok(None);
        }
        let Some(is_full) = schedule.due(runs.full_at, runs.any_at, now) else {
            return Ok(None);
        };
        runs.last += 1;
        runs.busy_until = Some(after(now, schedule.lease));
        runs.begun.insert(runs.last, now);
        Ok(Some(ReconRun {
            id: runs.last,
            is_full,
            checkpoint: runs.checkpoint,
        }))
    }

    /// Here the sums of everything cost no more.
    async fn audit_since_checkpoint(
        &self,
        _: &OperatorScope,
    ) -> Result<Vec<AccountAudit>, StoreError> {
        let state = self.lock();
        let streams = |account| state.nodes.open_streams_on(account);
        state.books.audit(streams)
    }

    async fn loose_ends(&self, _: &OperatorScope) -> Result<LooseEnds, StoreError> {
        let now = self.now();
        let state = self.lock();
        Ok(LooseEnds {
            negative_slots: state.negative_slots(),
            stale_streams: state.nodes.stale_streams(before(now, STREAM_STALE_AFTER)),
            events: state.books.outbox.len(),
        })
    }

    async fn refunded(
        &self,
        _: &OperatorScope,
        after: i64,
        most: u32,
    ) -> Result<Option<RefundedEntries>, StoreError> {
        let state = self.lock();
        let refunds = (1_i64..)
            .zip(state.books.ledger())
            .filter(|(number, entry)| *number > after && entry.kind == EntryKind::Refund)
            .take(most as usize);
        let mut found: Option<RefundedEntries> = None;
        for (number, refund) in refunds {
            let found = found.get_or_insert_with(|| RefundedEntries {
                last: number,
                entries: Vec::new(),
            });
            found.last = number;
            let Some(entry) = refund.refers_to.and_then(|uid| state.books.entry(uid)) else {
                continue;
            };
            if !found.entries.iter().any(|e| e.charge.uid == entry.uid) {
                found.entries.push(state.books.history(entry, None)?);
            }
        }
        Ok(found)
    }

    async fn finish_recon(
        &self,
        _: &OperatorScope,
        run: ReconRun,
        outcome: &ReconOutcome,
    ) -> Result<(), StoreError> {
        let now = self.now();
        let mut state = self.lock();
        let settled = before(now, SETTLED_FOR);
        let entries = state.books.ledger().iter();
        let settled = entries.take_while(|entry| entry.created_at < settled);
        let checkpoint = i64::try_from(settled.count()).unwrap_or(i64::MAX);
        let runs = &mut state.recon;
        let began = runs.begun.remove(&run.id).ok_or(StoreError::NotFound)?;
        runs.checkpoint = runs.checkpoint.max(checkpoint);
        runs.any_at = Some(began);
        if run.is_full {
            runs.full_at = Some(began);
        }
        if run.id == runs.last {
            runs.busy_until = None;
        }
        if outcome.mismatches > 0 {
            let details = outcome.details.clone();
            let event = OperatorEvent::differences(run.id, outcome.mismatches, details);
            state.books.outbox.add_once(event.at(now));
        }
        Ok(())
    }
}

// === impl State ===

impl State {
    fn negative_slots(&self) -> Vec<(crate::id::NodeId, AccountId, crate::billing::Amounts)> {
        let mut found = Vec::new();
        for (id, account) in &self.books.accounts {
            for (node, slot) in &account.slots {
                let is_below = |d: Dimension| account.policy.enforce.contains(d) && slot.get(d) < 0;
                let overran = |entry: &crate::billing::LedgerEntry| {
                    entry.posted_by.is_some_and(|(by, _)| by == *node)
                        && entry.flags.contains(ChargeFlags::OVERRAN)
                };
                if Dimension::ALL.into_iter().any(is_below)
                    && !self.books.entries_of(*id).any(overran)
                {
                    found.push((*node, *id, *slot));
                }
            }
        }
        found
    }
}
