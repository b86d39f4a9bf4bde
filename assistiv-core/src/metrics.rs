//! What is counted, through the `metrics` facade: the program that embeds the gateway chooses the recorder, and
//! installs it before it builds a gateway.
//!
//! No label says who calls: labels are of code, never of requests. What happens with each call is counted by handles
//! that are resolved once; what is rare, or happens with each batch, may look its handle up.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram};

use crate::Error;
use crate::billing::FundError;
use crate::money::NanoUsd;
use crate::routing::ProviderSlug;

/// How authorisations went.
#[derive(Clone)]
pub(crate) struct Authorisations(Arc<AuthorisationHandles>);

struct AuthorisationHandles {
    seconds: Histogram,
    held: Counter,
    budget_required: Counter,
    suspended: Counter,
    budget: [Counter; 2],
    wallet: [Counter; 2],
    unavailable: Counter,
}

/// How attempts at providers went.
#[derive(Default)]
pub(crate) struct Upstream(RwLock<HashMap<(ProviderSlug, &'static str), Attempts>>);

#[derive(Clone)]
struct Attempts {
    count: Counter,
    seconds: Histogram,
}

/// What the billing engine has at hand, and how long answers wait for it.
pub(crate) struct EngineState {
    gate_waits: [Histogram; 2],
    queued: [Gauge; 2],
    holds: Gauge,
    idle: [Gauge; 2],
    negative: Gauge,
}

/// A delivery gate.
#[derive(Clone, Copy, Debug)]
pub(crate) enum GateKind {
    /// The record that an answer began.
    Open,
    /// The charge.
    Settle,
}

/// What a node's slices add up to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SlicesAtHand {
    /// Leased from wallets and held by no call.
    pub(crate) wallets: NanoUsd,
    /// Leased from budgets and held by no call.
    pub(crate) budgets: NanoUsd,
    /// Accounts of which more was spent than leased.
    pub(crate) negative: usize,
}

/// Whether a batch whose answer got lost was applied.
pub(crate) fn outcome_was_unknown(is_applied: bool) {
    let result = if is_applied { "applied" } else { "not_applied" };
    metrics::counter!("billing_unknown_outcome_total", "result" => result).increment(1);
}

/// The counters of rate limits could not be asked, or not be corrected.
pub(crate) fn rate_counters_failed() {
    metrics::counter!("rate_limit_counter_failures_total").increment(1);
}

/// A call cost this much more than was held for it.
pub(crate) fn overran(by: NanoUsd) {
    metrics::counter!("billing_overruns_total").increment(1);
    let by = u64::try_from(by.get()).unwrap_or_default();
    metrics::counter!("billing_overrun_nanousd_total").increment(by);
}

/// A provider ended an answer without saying what it used.
pub(crate) fn usage_was_missing(provider: &ProviderSlug) {
    metrics::counter!("billing_usage_missing_total", "provider" => provider.to_string())
        .increment(1);
}

/// A batch had so many operations.
pub(crate) fn record_size(histogram: &Histogram, size: usize) {
    histogram.record(size as f64);
}

/// The database gave an act up for the sake of another one.
pub(crate) fn gave_way() {
    metrics::counter!("billing_deadlocks_total").increment(1);
}

// === impl EngineState ===

impl EngineState {
    /// Resolves the handles with the recorder that is installed.
    pub(crate) fn new() -> Self {
        let gate =
            |gate: &'static str| metrics::histogram!("billing_gate_wait_seconds", "gate" => gate);
        let depth = |lane: &'static str| metrics::gauge!("billing_queue_depth", "lane" => lane);
        let idle =
            |kind: &'static str| metrics::gauge!("billing_lease_idle_usd", "account" => kind);
        Self {
            gate_waits: [gate("open"), gate("settle")],
            queued: [depth("settle"), depth("lease")],
            holds: metrics::gauge!("billing_open_holds"),
            idle: [idle("wallet"), idle("budget")],
            negative: metrics::gauge!("billing_slot_negative"),
        }
    }

    /// An answer waited at a gate.
    pub(crate) fn waited(&self, gate: GateKind, took: Duration) {
        self.gate_waits[gate as usize].record(took.as_secs_f64());
    }

    /// What waits for the next batches, and how many calls have a hold.
    pub(crate) fn show_queues(&self, settling: usize, leasing: usize, holds: usize) {
        self.queued[0].set(settling as f64);
        self.queued[1].set(leasing as f64);
        self.holds.set(holds as f64);
    }

    /// What is leased and at hand.
    pub(crate) fn show_slices(&self, at_hand: SlicesAtHand) {
        self.idle[0].set(in_usd(at_hand.wallets));
        self.idle[1].set(in_usd(at_hand.budgets));
        self.negative.set(at_hand.negative as f64);
    }
}

/// For a chart alone: nothing is ever computed from it.
fn in_usd(amount: NanoUsd) -> f64 {
    amount.get() as f64 / 1e9
}

impl std::fmt::Debug for EngineState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EngineState")
    }
}

// === impl Authorisations ===

impl Authorisations {
    /// Resolves the handles with the recorder that is installed.
    pub(crate) fn new() -> Self {
        let denied = |reason: &'static str, transient: &'static str| metrics::counter!("billing_denied_total", "reason" => reason, "transient" => transient);
        let both = |reason| [denied(reason, "false"), denied(reason, "true")];
        Self(Arc::new(AuthorisationHandles {
            seconds: metrics::histogram!("billing_authorize_seconds"),
            held: metrics::counter!("billing_holds_total"),
            budget_required: denied("budget_required", "false"),
            suspended: denied("budget_suspended", "false"),
            budget: both("budget_exhausted"),
            wallet: both("wallet_insufficient"),
            unavailable: denied("billing_unavailable", "true"),
        }))
    }

    /// Counts one.
    pub(crate) fn count(&self, outcome: Result<(), &FundError>, took: Duration) {
        let handles = &*self.0;
        handles.seconds.record(took.as_secs_f64());
        let counter = match outcome {
            Ok(()) => &handles.held,
            Err(FundError::BudgetRequired) => &handles.budget_required,
            Err(FundError::BudgetSuspended) => &handles.suspended,
            Err(FundError::BudgetExhausted { shortfall, .. }) => {
                &handles.budget[usize::from(shortfall.transient)]
            }
            Err(FundError::WalletInsufficient { shortfall }) => {
                &handles.wallet[usize::from(shortfall.transient)]
            }
            Err(FundError::Uncertain { .. }) => &handles.unavailable,
        };
        counter.increment(1);
    }
}

impl std::fmt::Debug for Authorisations {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authorisations")
    }
}

// === impl Upstream ===

impl Upstream {
    /// Counts an attempt, until the provider accepted it or not: of a stream until its first content.
    pub(crate) fn count(&self, provider: &ProviderSlug, failure: Option<&Error>, took: Duration) {
        let outcome = match failure {
            None => "accepted",
            Some(Error::Provider(_)) => "failed",
            Some(_) => "given_up",
        };
        let attempts = self.of(provider, outcome);
        attempts.count.increment(1);
        attempts.seconds.record(took.as_secs_f64());
    }

    fn of(&self, provider: &ProviderSlug, outcome: &'static str) -> Attempts {
        let key = (provider.clone(), outcome);
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(attempts) = known.get(&key) {
            return attempts.clone();
        }
        drop(known);
        let name = provider.to_string();
        let attempts = Attempts {
            count: metrics::counter!(
                "upstream_attempts_total", "provider" => name.clone(), "outcome" => outcome
            ),
            seconds: metrics::histogram!(
                "upstream_attempt_seconds", "provider" => name, "outcome" => outcome
            ),
        };
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        known.entry(key).or_insert(attempts).clone()
    }
}
