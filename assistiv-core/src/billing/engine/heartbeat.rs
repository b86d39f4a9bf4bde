//! Says to the database that this node is alive, and up to which message it has acted.

use std::sync::Arc;

use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::epoch::Epoch;
use super::validity::Asker;
use crate::auth::SweeperScope;
use crate::billing::options::BillingOptions;
use crate::billing::store::LedgerStore;
use crate::store::StoreError;

/// Runs until the engine closes or the registration is lost.
pub(super) async fn run(
    store: Arc<dyn LedgerStore>,
    epoch: Arc<Epoch>,
    options: BillingOptions,
    closing: CancellationToken,
) {
    let mut tick = tokio::time::interval(options.heartbeat);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = closing.cancelled() => return,
            () = epoch.lost() => return,
            _ = tick.tick() => {}
            // Somebody waits for word that a message was acted on.
            () = epoch.beat.notified() => {}
        }
        beat(&*store, &epoch, &options).await;
    }
}

async fn beat(store: &dyn LedgerStore, epoch: &Epoch, options: &BillingOptions) {
    // The time before it is sent: when it arrives is not known, and may be long after.
    let sent_at = Instant::now();
    epoch.validity.asked(Asker::Heartbeat, sent_at);
    let scope = SweeperScope::engine();
    let sent = store.heartbeat(&scope, epoch.node, options.ttl, epoch.acted_on());
    // One that hangs must not keep the next one from being tried.
    match tokio::time::timeout(options.ttl / 5, sent).await {
        Ok(Ok(())) => {
            epoch.validity.renew(sent_at);
            epoch.validity.answered(Asker::Heartbeat);
        }
        Ok(Err(StoreError::Lost { .. })) => epoch.fence("its heartbeat came too late"),
        Ok(Err(error)) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "heartbeat failed")
        }
        Err(_) => tracing::warn!("heartbeat got no answer"),
    }
}
