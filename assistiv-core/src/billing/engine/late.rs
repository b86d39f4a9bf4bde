//! The late path: settles what a registration owed that was fenced.
//!
//! A stream that was recorded is charged by whoever sweeps the node, by its record. When its exact cost is known,
//! the difference is posted once, as a correction. Before the sweep there is nothing to correct yet: it is tried
//! again until then.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio_util::sync::CancellationToken;

use super::settling::{Ack, Operation, Settlement};
use crate::auth::{Principal, SweeperScope};
use crate::billing::ledger::{EntryKind, LedgerEntry};
use crate::billing::store::{LateSettlement, LedgerStore};
use crate::logs::Fate;
use crate::money::NanoUsd;
use crate::store::StoreError;

const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// A call of a lost registration whose cost is known.
pub(super) struct Late {
    exact: LedgerEntry,
    fate: Option<Fate>,
    ack: Option<Ack>,
    _permit: Option<OwnedSemaphorePermit>,
}

/// What waits for the late path.
#[derive(Default)]
pub(crate) struct LateQueue {
    waiting: Mutex<Vec<Late>>,
    arrived: Notify,
}

// === impl LateQueue ===

impl LateQueue {
    /// Takes over what lane A did not write. What was never recorded is given up, which its gate sees at once.
    pub(super) fn take_over(&self, operation: Operation) {
        match operation {
            Operation::Open { .. } => {}
            Operation::Settle(settlement) => self.settle(*settlement),
            Operation::Close { free, permit } => self.push(Late {
                exact: *free,
                fate: None,
                ack: None,
                _permit: Some(permit),
            }),
        }
    }

    fn settle(&self, settlement: Settlement) {
        // A refund that did not get through belongs to an answer whose delivery cannot be proved: its charge is
        // on the sweep's list.
        if settlement.opened && settlement.entry.kind == EntryKind::Charge {
            self.push(Late {
                exact: settlement.entry,
                fate: settlement.fate,
                ack: settlement.ack,
                _permit: settlement.permit,
            });
        }
    }

    fn push(&self, late: Late) {
        self.lock().push(late);
        self.arrived.notify_one();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Late>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs until the engine closes.
pub(super) async fn run(
    store: Arc<dyn LedgerStore>,
    queue: Arc<LateQueue>,
    closing: CancellationToken,
) {
    let mut pause = PAUSE_FIRST;
    loop {
        let waiting = std::mem::take(&mut *queue.lock());
        let mut unsettled = Vec::new();
        for late in waiting {
            unsettled.extend(settle(&*store, late).await);
        }
        if closing.is_cancelled() {
            return;
        }
        if unsettled.is_empty() {
            pause = PAUSE_FIRST;
            tokio::select! {
                () = queue.arrived.notified() => {}
                () = closing.cancelled() => {}
            }
        } else {
            queue.lock().extend(unsettled);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = closing.cancelled() => {}
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }
}

/// Settles, and says what the sweep has charged: that is what the call's row shows.
async fn settled(
    store: &dyn LedgerStore,
    exact: &LedgerEntry,
) -> Result<(LateSettlement, Option<NanoUsd>), StoreError> {
    let outcome = store.settle_late(&SweeperScope::engine(), exact).await?;
    let operator = Principal::local().operate();
    let scope = operator
        .map_err(StoreError::unavailable)?
        .over(exact.platform_id);
    let charge = store.charge(&scope, exact.uid).await?;
    let on_wallet = charge.and_then(|charge| charge.wallet);
    Ok((outcome, on_wallet.map(|(_, change)| change.negated())))
}

/// Gives back what must be tried again.
async fn settle(store: &dyn LedgerStore, mut late: Late) -> Option<Late> {
    match settled(store, &late.exact).await {
        Ok((LateSettlement::Uncharged, _)) => None,
        Ok((outcome, charged)) => {
            tracing::info!(log_id = %late.exact.uid, ?outcome, "settled late");
            metrics::counter!("billing_late_settlements_total").increment(1);
            if let (Some(fate), Some(charged)) = (&late.fate, charged) {
                fate.billed_as(charged);
            }
            if let Some(ack) = late.ack.take() {
                // Whoever waited may have left.
                let _ = ack.send(None);
            }
            None
        }
        Err(error @ (StoreError::Corrupt(_) | StoreError::Conflict(_) | StoreError::NotFound)) => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                log_id = %late.exact.uid,
                "a late settlement is refused by the books"
            );
            None
        }
        Err(_) => Some(late),
    }
}
