//! What is counted, through the `metrics` facade: the program that embeds the gateway chooses the recorder, and
//! installs it before it builds a gateway.
//!
//! No label says who calls: labels are of code, never of requests. What happens with each call is counted by handles
//! that are resolved once; what is rare, or happens with each batch, may look its handle up.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use metrics::{Counter, Histogram};

use crate::Error;
use crate::billing::FundError;
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
