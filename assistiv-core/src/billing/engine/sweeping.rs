//! What every node does for all: sweeps dead nodes, begins new periods, removes old messages.

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::Engine;
use crate::auth::SweeperScope;
use crate::billing::store::{LedgerStore, Sweep, Swept};
use crate::events::operator;
use crate::id::NodeId;
use crate::store::StoreError;

/// Between two rounds, give or take a tenth, so that nodes that began together do not stay together.
const ROUND: Duration = Duration::from_secs(1);
/// Where one process owns the database nobody else can die, and a period begins at its account's next use.
const ROUND_ALONE: Duration = Duration::from_secs(30);
const PRUNE_EVERY_ROUNDS: u32 = 600;
/// The first round prunes: a process that is restarted often would never come to a later one.
const PRUNE_FIRST_IN_ROUND: u32 = 1;
/// Resets in one round.
const RESETS_MAX: u32 = 100;

/// Runs until the engine closes.
pub(super) async fn run(engine: Weak<Engine>) {
    let mut round: u32 = 0;
    loop {
        let Some((closing, pause)) = engine.upgrade().map(|engine| {
            let pause = if engine.store.is_shared() {
                ROUND
            } else {
                ROUND_ALONE
            };
            let node = engine.epoch().node;
            (engine.closing.clone(), apart(pause, node))
        }) else {
            return;
        };
        tokio::select! {
            () = closing.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        let Some(engine) = engine.upgrade() else {
            return;
        };
        round = round.wrapping_add(1);
        if let Err(error) = engine.sweep(round).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "sweeping failed");
        }
    }
}

// === impl Engine ===

impl Engine {
    async fn sweep(self: &Arc<Self>, round: u32) -> Result<(), StoreError> {
        let scope = SweeperScope::engine();
        let store: &dyn LedgerStore = &*self.store;
        if store.is_shared() {
            let expired = Sweep::Expired {
                grace: self.options.fence_grace,
            };
            let swept = store.sweep(&scope, expired, self.options.unconfirmed_delivery);
            swept.await?.iter().for_each(log);
            if round.is_multiple_of(PRUNE_EVERY_ROUNDS) {
                store.prune_controls(&scope).await?;
            }
        }
        if round % PRUNE_EVERY_ROUNDS == PRUNE_FIRST_IN_ROUND {
            self.events.prune_events(&scope).await?;
        }
        for account in store.due_periods(&scope, RESETS_MAX).await? {
            store.reset_period(&scope, account).await?;
        }
        Ok(())
    }
}

pub(super) fn log(swept: &Swept) {
    metrics::counter!("billing_sweeps_total").increment(1);
    metrics::counter!("billing_unconfirmed_total").increment(swept.unconfirmed);
    let event = (swept.unconfirmed > 0).then_some(operator::DELIVERY_UNCONFIRMED);
    tracing::warn!(
        event,
        node = swept.node.map(|node| node.0),
        streams = swept.streams,
        slots = swept.slots,
        unconfirmed = swept.unconfirmed,
        "swept a node that did not close"
    );
}

/// A different pause for each of sixteen nodes that follow each other.
fn apart(pause: Duration, node: NodeId) -> Duration {
    let sixteenth = u32::try_from(node.0.rem_euclid(16)).unwrap_or_default();
    pause * 9 / 10 + pause * sixteenth / (15 * 5)
}
