//! The job: looks now and then whether a run is due, and runs it.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{ReconOutcome, ReconSchedule};
use crate::auth::{OperatorScope, Principal};
use crate::clock::Clock;
use crate::doctor::{Check, Patient};
use crate::events::operator;
use crate::routing::Router;
use crate::store::{StoreError, Stores};

/// How often to look whether a run is due, give or take a tenth.
const LOOK_EVERY: Duration = Duration::from_mins(1);

/// What a run needs.
#[derive(Clone)]
pub(crate) struct Reconciler {
    pub(crate) stores: Stores,
    pub(crate) router: Router,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) schedule: ReconSchedule,
}

/// Runs until the gateway stops.
pub(crate) async fn run(reconciler: Reconciler, stopping: CancellationToken) {
    let schedule = reconciler.schedule;
    if schedule.full.is_zero() && schedule.incremental.is_zero() {
        return;
    }
    loop {
        let tenths = u32::from(Uuid::new_v4().as_bytes()[0]);
        let pause = LOOK_EVERY * 9 / 10 + LOOK_EVERY * tenths / (255 * 5);
        tokio::select! {
            () = stopping.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        let done = tokio::select! {
            () = stopping.cancelled() => return,
            done = reconciler.look() => done,
        };
        if let Err(error) = done {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the books could not be reconciled"
            );
        }
    }
}

// === impl Reconciler ===

impl Reconciler {
    /// Runs what is due. Says what it found; `None` when nothing is due, or somebody else is at it.
    pub(crate) async fn look(&self) -> Result<Option<ReconOutcome>, StoreError> {
        let Ok(scope) = Principal::local().operate() else {
            return Ok(None);
        };
        let recon = &self.stores.recon;
        let Some(run) = recon.begin_recon(&scope, &self.schedule).await? else {
            return Ok(None);
        };
        let checks = self.check(&scope, (!run.is_full).then_some(run.checkpoint));
        let outcome = outcome(&checks.await?);
        metrics::counter!("billing_recon_mismatches_total").increment(outcome.mismatches);
        if outcome.mismatches > 0 {
            tracing::error!(
                event = operator::RECONCILIATION_FAILED,
                run = run.id,
                mismatches = outcome.mismatches,
                details = outcome.details,
                "the books do not agree"
            );
        } else {
            tracing::info!(run = run.id, accounts = outcome.accounts, "the books agree");
        }
        recon.finish_recon(&scope, run, &outcome).await?;
        Ok(Some(outcome))
    }

    async fn check(
        &self,
        scope: &OperatorScope,
        since: Option<i64>,
    ) -> Result<Vec<Check>, StoreError> {
        let now = self.clock.now();
        let catalogue = self.router.catalogue();
        let patient = Patient {
            stores: &self.stores,
            catalogue: &catalogue,
            cipher: None,
            // Where nodes share the database their heartbeats tell; else this is the one that has it.
            is_in_use: (!self.stores.ledger.is_shared()).then_some(true),
            database_time: now,
            machine_time: now,
        };
        patient.reconcile(scope, since).await
    }
}

fn outcome(checks: &[Check]) -> ReconOutcome {
    let accounts = checks.iter().find_map(|check| check.facts.get("accounts"));
    let wrong: Vec<_> = checks.iter().filter(|check| !check.is_ok()).collect();
    let told = wrong
        .iter()
        .map(|check| json!({ "check": check.name, "findings": check.findings }));
    let details = json!(told.collect::<Vec<_>>()).to_string();
    ReconOutcome {
        accounts: accounts.and_then(|n| n.as_u64()).unwrap_or(0),
        mismatches: wrong.iter().map(|check| check.findings.len() as u64).sum(),
        details: (!wrong.is_empty()).then_some(details),
    }
}
