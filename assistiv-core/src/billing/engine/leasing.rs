//! Lane B: moves amounts between accounts and this node's slots.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};

use super::slice::Slice;
use crate::auth::SweeperScope;
use crate::billing::amounts::Amounts;
use crate::billing::lease::{LeaseGrant, LeaseRequest};
use crate::billing::store::{Lane, LeaseBatch, LedgerStore};
use crate::id::{AccountId, NodeId};
use crate::store::StoreError;

/// Accounts in one batch.
const BATCH_MAX: usize = 256;

/// Something that waits for the lane.
pub(crate) struct Want {
    pub(crate) slice: Arc<Slice>,
    pub(crate) what: What,
    /// Told when it is done. Dropped when it failed.
    pub(crate) done: Option<oneshot::Sender<()>>,
}

/// What is wanted of an account.
pub(crate) enum What {
    /// At least this much at hand, beside what waits already.
    Have(Amounts),
    /// To return these amounts, which were taken out of the slice.
    GiveBack(LeaseRequest),
    /// To return everything at hand, and to know the account's policy anew.
    Refresh,
}

/// The queue in front of the lane.
#[derive(Default)]
pub(crate) struct LeaseQueue {
    waiting: Mutex<Vec<Want>>,
    arrived: Notify,
}

/// The lane itself: runs in one task.
pub(crate) struct LeaseLane {
    pub(crate) store: Arc<dyn LedgerStore>,
    pub(crate) node: NodeId,
    pub(crate) queue: Arc<LeaseQueue>,
    pub(crate) fenced: Arc<super::Fence>,
}

/// One account's part of a batch.
struct Part {
    slice: Arc<Slice>,
    needs: Amounts,
    give_back: Amounts,
    done: Vec<oneshot::Sender<()>>,
}

// === impl LeaseQueue ===

impl LeaseQueue {
    pub(crate) fn push(&self, want: Want) {
        self.lock().push(want);
        self.arrived.notify_one();
    }

    pub(crate) fn wake(&self) {
        self.arrived.notify_one();
    }

    fn take(&self) -> Vec<Want> {
        let mut waiting = self.lock();
        let count = waiting.len().min(BATCH_MAX);
        waiting.drain(..count).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Want>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl LeaseLane ===

impl LeaseLane {
    /// Runs until the engine closes and nothing waits any more.
    pub(crate) async fn run(self, closing: tokio_util::sync::CancellationToken) {
        let mut seq = 0;
        loop {
            let wants = self.queue.take();
            if wants.is_empty() {
                if closing.is_cancelled() {
                    return;
                }
                self.queue.arrived.notified().await;
                continue;
            }
            let mut parts = gather(wants);
            // Once, and once more for accounts whose period was over. An account that then still says so is in
            // contradiction with its budget, and gets nothing.
            for _ in 0..2 {
                seq += 1;
                let batch = self.batch(&parts, seq);
                let grants = match self.apply(&batch).await {
                    Outcome::Applied(grants) => grants,
                    Outcome::NotApplied => {
                        seq -= 1;
                        break;
                    }
                    Outcome::Unknown => {
                        // Applied, but the reply was lost: what was granted stays in the slot, out of memory,
                        // until the node closes. Memory is never above the slot.
                        parts
                            .iter_mut()
                            .for_each(|part| part.give_back = Amounts::ZERO);
                        break;
                    }
                };
                let due = self.finish(&mut parts, &grants).await;
                if !due {
                    break;
                }
            }
            fail(parts);
            if self.fenced.is_fenced() {
                return;
            }
        }
    }

    fn batch(&self, parts: &[Part], seq: i64) -> LeaseBatch {
        let request = |part: &Part| LeaseRequest {
            give_back: part.give_back,
            ..part.slice.request(part.needs)
        };
        LeaseBatch {
            node: self.node,
            seq,
            requests: parts.iter().map(request).collect(),
        }
    }

    async fn apply(&self, batch: &LeaseBatch) -> Outcome {
        let scope = SweeperScope::engine();
        let error = match self.store.lease(&scope, batch).await {
            Ok(grants) => return Outcome::Applied(grants),
            Err(error) => error,
        };
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            seq = batch.seq,
            "lease batch failed"
        );
        loop {
            match self.store.lane(&scope, self.node, Lane::Lease).await {
                Ok(position) if position.seq == batch.seq => return Outcome::Unknown,
                Ok(position) if !position.fenced && position.seq == batch.seq - 1 => {
                    return Outcome::NotApplied;
                }
                Ok(_) | Err(StoreError::Lost { .. } | StoreError::NotFound) => {
                    self.fenced.fence();
                    return Outcome::NotApplied;
                }
                // The number may not be used for anything else before the outcome is known.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }

    /// Hands grants out. Accounts whose period is over are reset and stay in `parts`, to ask once more.
    async fn finish(&self, parts: &mut Vec<Part>, grants: &[LeaseGrant]) -> bool {
        let mut due = Vec::new();
        for mut part in std::mem::take(parts) {
            let Some(grant) = grants
                .iter()
                .find(|grant| grant.account == part.slice.account())
            else {
                part.slice.forget_policy();
                part.slice.lease_failed(Amounts::ZERO);
                continue;
            };
            part.slice.leased(grant);
            part.give_back = Amounts::ZERO;
            if grant.reset_due && self.reset(part.slice.account()).await {
                due.push(part);
            } else {
                for done in part.done {
                    // Whoever asked may have left.
                    let _ = done.send(());
                }
            }
        }
        *parts = due;
        !parts.is_empty()
    }

    async fn reset(&self, account: AccountId) -> bool {
        match self
            .store
            .reset_period(&SweeperScope::engine(), account)
            .await
        {
            Ok(_) => true,
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "period reset failed"
                );
                false
            }
        }
    }
}

enum Outcome {
    Applied(Vec<LeaseGrant>),
    NotApplied,
    Unknown,
}

/// One part for each account, in the order of accounts.
fn gather(wants: Vec<Want>) -> Vec<Part> {
    let mut parts: HashMap<AccountId, Part> = HashMap::new();
    for want in wants {
        let part = parts.entry(want.slice.account()).or_insert_with(|| Part {
            slice: want.slice.clone(),
            needs: Amounts::ZERO,
            give_back: Amounts::ZERO,
            done: Vec::new(),
        });
        let add = |sum: Amounts, more: Amounts| sum.checked_add(more).unwrap_or(sum);
        match want.what {
            What::Have(amounts) => part.needs = add(part.needs, amounts),
            What::GiveBack(request) => part.give_back = add(part.give_back, request.give_back),
            What::Refresh => part.give_back = add(part.give_back, want.slice.take_all().give_back),
        }
        part.done.extend(want.done);
    }
    let mut parts: Vec<_> = parts.into_values().collect();
    parts.sort_unstable_by_key(|part| part.slice.account());
    parts
}

fn fail(parts: Vec<Part>) {
    for part in parts {
        // The policy may have changed without this node's knowledge: it is read anew before the next hold.
        part.slice.forget_policy();
        part.slice.lease_failed(part.give_back);
    }
}
