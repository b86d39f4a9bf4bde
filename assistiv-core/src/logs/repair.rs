//! Rows that a crash, a full queue or another node left out, written from the ledger; and the keeping of the log.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{BillingStatus, LogOptions, LogRow, LogStatus, LogStore, Outcome, RequestType};
use crate::auth::{OperatorScope, Principal, SweeperScope};
use crate::billing::{ChargeFlags, CountMethod, LedgerStore, PostedCharge};
use crate::clock::{Clock, Timestamp};
use crate::id::{LogId, PlatformId, PriceId, ProviderId};
use crate::json::RawObject;
use crate::money::NanoUsd;
use crate::routing::{Catalogue, CatalogueModel, CatalogueRoute, ProviderSlug, Router};
use crate::store::{StoreError, Stores, TenancyStore};

/// Charges that are looked at together.
const CHARGES_MAX: u32 = 500;
/// Rows that are removed together.
const PRUNED_MAX: u32 = 1_000;
/// How old a charge must be: younger ones have their row in a pipeline, or an entry before them is not visible yet.
const GRACE: Duration = Duration::from_secs(30);
/// How old a pending row must be to be looked after.
const STALE_AFTER: Duration = Duration::from_hours(1);
const EVERY: Duration = Duration::from_secs(30);
const ROUNDS_PER_HOUR: u64 = 120;

/// Brings the log in line with the ledger.
#[derive(Clone)]
pub(crate) struct Repair {
    ledger: Arc<dyn LedgerStore>,
    logs: Arc<dyn LogStore>,
    tenancy: Arc<dyn TenancyStore>,
    router: Router,
    clock: Arc<dyn Clock>,
    retention: Option<Duration>,
}

/// Repairs at once, then now and then, and removes what is too old or belongs to nobody.
pub(crate) async fn maintain(repair: Repair, stopping: CancellationToken) {
    // Alone on its database, a gateway that starts knows that no pipeline holds rows of earlier charges.
    let mut grace = if repair.ledger.is_shared() {
        GRACE
    } else {
        Duration::ZERO
    };
    let mut every = tokio::time::interval(EVERY);
    for round in 0_u64.. {
        tokio::select! {
            () = stopping.cancelled() => return,
            _ = every.tick() => {}
        }
        let work = async {
            let written = repair.charges(grace).await?;
            repair.stale_rows().await?;
            repair.prune().await?;
            if round % ROUNDS_PER_HOUR == 0 {
                repair.forget_platforms().await?;
            }
            Ok::<_, StoreError>(written)
        };
        let done = tokio::select! {
            () = stopping.cancelled() => return,
            done = work => done,
        };
        match done {
            Ok(0) => {}
            Ok(rows) => tracing::info!(rows, "wrote rows of the request log from the ledger"),
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the request log could not be brought in line with the ledger"
            ),
        }
        grace = GRACE;
    }
}

// === impl Repair ===

impl Repair {
    pub(crate) fn new(
        stores: &Stores,
        router: Router,
        clock: Arc<dyn Clock>,
        options: &LogOptions,
    ) -> Self {
        Self {
            ledger: stores.ledger.clone(),
            logs: stores.logs.clone(),
            tenancy: stores.tenancy.clone(),
            router,
            clock,
            retention: options.retention,
        }
    }

    /// Writes the rows of charges that have none, and corrects those that say otherwise than the ledger. Looks at
    /// charges older than `grace` that were not looked at before; says how many rows were written.
    pub(crate) async fn charges(&self, grace: Duration) -> Result<u64, StoreError> {
        let scope = SweeperScope::engine();
        let newest = self.ago(grace);
        let mut after = self.logs.repaired_to(&scope).await?;
        let mut written = 0;
        loop {
            let mut charges = self.ledger.charges(&scope, after, CHARGES_MAX).await?;
            let count = charges.len();
            // An entry before a young one may still become visible, so the look ends there.
            let old = charges
                .iter()
                .take_while(|charge| charge.entry.created_at <= newest)
                .count();
            charges.truncate(old);
            let Some(last) = charges.last().map(|charge| charge.number) else {
                return Ok(written);
            };
            written += self.reconcile(&scope, charges).await?;
            self.logs.set_repaired_to(&scope, last).await?;
            after = last;
            if old < count || count < CHARGES_MAX as usize {
                return Ok(written);
            }
        }
    }

    async fn reconcile(
        &self,
        scope: &SweeperScope,
        charges: Vec<PostedCharge>,
    ) -> Result<u64, StoreError> {
        let ids: Vec<LogId> = charges.iter().map(|charge| charge.entry.uid).collect();
        let states: HashMap<_, _> = self
            .logs
            .states(scope, &ids)
            .await?
            .into_iter()
            .map(|state| (state.id, state))
            .collect();
        let mut missing = Vec::new();
        let mut outcomes = Vec::new();
        for charge in charges {
            let outcome = Outcome {
                id: charge.entry.uid,
                billing_status: BillingStatus::Billed,
                cost: charge.cost(),
            };
            match states.get(&charge.entry.uid) {
                None => missing.push(charge),
                Some(state) if *state == outcome => {}
                Some(_) => outcomes.push(outcome),
            }
        }
        if !outcomes.is_empty() {
            self.logs.resolve(scope, &outcomes).await?;
        }
        if missing.is_empty() {
            return Ok(0);
        }
        let missing = self.of_platforms_that_exist(missing).await?;
        let catalogue = self.router.catalogue();
        let prices = Prices::of(&catalogue);
        let rows: Vec<_> = missing.iter().map(|charge| prices.row(charge)).collect();
        self.logs.append(scope, &rows).await
    }

    /// A removed platform has no rows any more, while its entries stay.
    async fn of_platforms_that_exist(
        &self,
        charges: Vec<PostedCharge>,
    ) -> Result<Vec<PostedCharge>, StoreError> {
        let mut exists = HashMap::new();
        let mut kept = Vec::with_capacity(charges.len());
        for charge in charges {
            let id = charge.entry.platform_id;
            let exists = match exists.entry(id) {
                Entry::Occupied(known) => *known.get(),
                Entry::Vacant(unknown) => *unknown.insert(self.exists(id).await?),
            };
            if exists {
                kept.push(charge);
            }
        }
        Ok(kept)
    }

    /// Rows that were written as pending by a pipeline that is gone follow the ledger, too: what has no charge by
    /// now gets none, or is found by [`Repair::charges`] when it does.
    async fn stale_rows(&self) -> Result<(), StoreError> {
        let scope = SweeperScope::engine();
        let before = self.ago(STALE_AFTER);
        let rows = self.logs.pending(&scope, before, CHARGES_MAX).await?;
        let operator = local_operator()?;
        let mut outcomes = Vec::with_capacity(rows.len());
        for (platform, id) in rows {
            let charge = self.ledger.charge(&operator.over(platform), id).await?;
            let cost = charge
                .as_ref()
                .and_then(|charge| charge.wallet)
                .map_or(NanoUsd::ZERO, |(_, change)| change.negated());
            outcomes.push(Outcome {
                id,
                billing_status: match charge {
                    Some(_) => BillingStatus::Billed,
                    None => BillingStatus::Unbilled,
                },
                cost,
            });
        }
        if outcomes.is_empty() {
            return Ok(());
        }
        self.logs.resolve(&scope, &outcomes).await
    }

    async fn prune(&self) -> Result<(), StoreError> {
        let Some(retention) = self.retention else {
            return Ok(());
        };
        let before = self.ago(retention);
        let scope = SweeperScope::engine();
        while self.logs.prune(&scope, before, PRUNED_MAX).await? == u64::from(PRUNED_MAX) {
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    async fn forget_platforms(&self) -> Result<(), StoreError> {
        let scope = SweeperScope::engine();
        for platform in self.logs.platforms(&scope).await? {
            if self.exists(platform).await? {
                continue;
            }
            while self
                .logs
                .forget_platform(&scope, platform, PRUNED_MAX)
                .await?
                > 0
            {
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    async fn exists(&self, platform: PlatformId) -> Result<bool, StoreError> {
        match self
            .tenancy
            .platform(&local_operator()?.over(platform))
            .await
        {
            Ok(_) => Ok(true),
            Err(StoreError::NotFound) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn ago(&self, time: Duration) -> Timestamp {
        let micros = i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
        Timestamp::from_micros(self.clock.now().as_micros().saturating_sub(micros))
    }
}

fn local_operator() -> Result<OperatorScope, StoreError> {
    Principal::local()
        .operate()
        .map_err(StoreError::unavailable)
}

/// Routes by their prices: a charge names the version of its price, and the price belongs to one route.
struct Prices<'a> {
    routes: HashMap<PriceId, (&'a CatalogueModel, &'a CatalogueRoute)>,
    providers: HashMap<&'a ProviderSlug, ProviderId>,
    catalogue: &'a Catalogue,
}

// === impl Prices ===

impl<'a> Prices<'a> {
    fn of(catalogue: &'a Catalogue) -> Self {
        let routes = catalogue
            .prices()
            .map(|(model, route, price)| (price.id, (model, route)))
            .collect();
        let providers = catalogue
            .providers()
            .map(|provider| (&provider.slug, provider.id()))
            .collect();
        Self {
            routes,
            providers,
            catalogue,
        }
    }

    /// The row of a charge, as far as the ledger knows it.
    fn row(&self, charge: &PostedCharge) -> LogRow {
        let entry = &charge.entry;
        let (model_id, price_id) = charge.priced.unzip();
        let route = price_id.and_then(|price| self.routes.get(&price));
        let model = model_id.and_then(|id| self.catalogue.model_by_id(id));
        let failure = failure(entry.flags);
        let tokens = entry.metered.map_or((0, 0), |metered| {
            (metered.input_tokens, metered.output_tokens)
        });
        let estimated = entry.flags.contains(ChargeFlags::ESTIMATED) || entry.metered.is_none();
        LogRow {
            id: entry.uid,
            platform_id: entry.platform_id,
            end_user_id: entry.end_user_id,
            api_key_id: None,
            request_type: RequestType::ChatCompletion,
            provider: route.and_then(|(_, route)| {
                let id = *self.providers.get(&route.provider)?;
                Some((id, route.provider.clone()))
            }),
            model: model.map(|model| (model.id(), model.slug.clone())),
            provider_model_id: route.map(|(_, route)| route.provider_model_id.to_string()),
            prompt_tokens: tokens.0,
            completion_tokens: tokens.1,
            latency_ms: 0,
            cost: charge.cost(),
            status: match failure {
                None => LogStatus::Success,
                Some(_) => LogStatus::Error,
            },
            error_message: failure.map(|(_, message)| message.to_owned()),
            reason: failure.map(|(reason, _)| reason.to_owned()),
            count_method: if estimated {
                CountMethod::Estimated
            } else {
                CountMethod::Reported
            },
            billing_status: BillingStatus::Billed,
            request_id: None,
            starts_request: true,
            overhead_us: None,
            price_id,
            metadata: RawObject::new(),
            created_at: entry.began(),
        }
    }
}

fn failure(flags: ChargeFlags) -> Option<(&'static str, &'static str)> {
    if flags.contains(ChargeFlags::CRASH) {
        return Some((
            "service_unavailable",
            "the gateway's node stopped while it delivered the answer",
        ));
    }
    flags
        .contains(ChargeFlags::TRUNCATED)
        .then_some(("truncated", "the answer was not delivered whole"))
}
