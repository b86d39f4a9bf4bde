//! Builds a gateway.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tower::ServiceBuilder;

use super::Gateway;
use super::follow::Follower;
use crate::admit::AdmitLayer;
use crate::audit::Audits;
use crate::auth::{AuthenticateLayer, Authenticator, PresentedKey};
use crate::billing::{Billing, BillingOptions, FundLayer, TopUpBy, Wallets};
use crate::clock::{Clock, SystemClock};
use crate::command::Commands;
use crate::dispatch::{Dispatch, DispatchOptions};
use crate::keys::Keys;
use crate::limits::{RateLimitKeeper, RateLimitLayer, RateLimiter};
use crate::llm_configs::LlmConfigs;
use crate::logs::{LogOptions, LogPipeline, Logs, Repair, maintain};
use crate::model_routes::ModelRoutes;
use crate::prices::PriceKeeper;
use crate::provider::{Providers, Registered};
use crate::quotes::Quoter;
use crate::recon::{self, ReconSchedule, Reconciler};
use crate::responses::Responses;
use crate::routing::{Catalogue, CatalogueError, PlanLayer, ProviderSlug, Router};
use crate::runtime::Runtime;
use crate::secrets::{MasterKeyCipher, SecretCipher, SecretError};
use crate::store::memory::MemoryStore;
use crate::store::{StoreError, Stores};
use crate::tenancy::Tenancy;
use crate::webhooks::{Courier, CourierOptions, WebhookTransport, Webhooks};

const CONCURRENT_CALLS: usize = 2_048;
/// How long a run of the reconciliation may take before another node takes its place.
const RECON_LEASE: Duration = Duration::from_hours(2);
const TOUCH_EVERY: Duration = Duration::from_secs(10);

/// Builds a [`Gateway`]. Everything has a default: an in-memory store, the built-in catalogue, a master key that
/// lives as long as the process.
#[derive(Default)]
pub struct GatewayBuilder {
    stores: Option<Stores>,
    catalogue: Option<Catalogue>,
    providers: Providers,
    cipher: Option<Arc<dyn SecretCipher>>,
    clock: Option<Arc<dyn Clock>>,
    operator_key: Option<PresentedKey>,
    billing: BillingOptions,
    dispatch: DispatchOptions,
    concurrent_calls: Option<usize>,
    topup_by: TopUpBy,
    logs: LogOptions,
    webhooks: Option<Arc<dyn WebhookTransport>>,
    courier: CourierOptions,
}

/// Why a gateway cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The catalogue cannot be used.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    /// No master key could be made.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

// === impl GatewayBuilder ===

impl GatewayBuilder {
    /// Works on these stores instead of memory.
    #[must_use]
    pub fn stores(mut self, stores: Stores) -> Self {
        self.stores = Some(stores);
        self
    }

    /// Uses this catalogue instead of the built-in one.
    #[must_use]
    pub fn catalogue(mut self, catalogue: Catalogue) -> Self {
        self.catalogue = Some(catalogue);
        self
    }

    /// Adds the adapter that speaks for a provider of the catalogue.
    #[must_use]
    pub fn provider(mut self, slug: ProviderSlug, registered: Registered) -> Self {
        self.providers.insert(slug, registered);
        self
    }

    /// Seals provider keys with this cipher.
    #[must_use]
    pub fn cipher(mut self, cipher: Arc<dyn SecretCipher>) -> Self {
        self.cipher = Some(cipher);
        self
    }

    /// Reads the time from this clock.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Accepts this operator key beside those in the store.
    #[must_use]
    pub fn operator_key(mut self, key: PresentedKey) -> Self {
        self.operator_key = Some(key);
        self
    }

    /// Sets the parameters of billing.
    #[must_use]
    pub fn billing(mut self, options: BillingOptions) -> Self {
        self.billing = options;
        self
    }

    /// Sets the deadlines of calls to providers.
    #[must_use]
    pub fn dispatch(mut self, options: DispatchOptions) -> Self {
        self.dispatch = options;
        self
    }

    /// Starts at most so many calls at a time.
    #[must_use]
    pub fn concurrent_calls(mut self, calls: usize) -> Self {
        self.concurrent_calls = Some(calls);
        self
    }

    /// Says who may top wallets up.
    #[must_use]
    pub fn topup_by(mut self, who: TopUpBy) -> Self {
        self.topup_by = who;
        self
    }

    /// Sets the parameters of the request log.
    #[must_use]
    pub fn logs(mut self, options: LogOptions) -> Self {
        self.logs = options;
        self
    }

    /// Sends webhooks with this client. Without one, none can be made and none are sent.
    #[must_use]
    pub fn webhooks(mut self, transport: Arc<dyn WebhookTransport>) -> Self {
        self.webhooks = Some(transport);
        self
    }

    /// Sets how webhooks are sent.
    #[must_use]
    pub fn courier(mut self, options: CourierOptions) -> Self {
        self.courier = options;
        self
    }

    /// Starts the gateway: sweeps what an earlier run left behind, and starts its background tasks.
    ///
    /// # Errors
    /// [`BuildError`].
    pub async fn build(self) -> Result<Gateway, BuildError> {
        let clock = self.clock.unwrap_or_else(|| Arc::new(SystemClock));
        let stores = self
            .stores
            .unwrap_or_else(|| MemoryStore::new(clock.clone()).into());
        let catalogue = self.catalogue.map_or_else(Catalogue::built_in, Ok)?;
        let cipher = match self.cipher {
            Some(cipher) => cipher,
            None => Arc::new(MasterKeyCipher::new(&MasterKeyCipher::generate_key()?)),
        };
        let billing = Billing::start(
            stores.ledger.clone(),
            stores.events.clone(),
            clock.clone(),
            self.billing.clone(),
        )
        .await?;
        let authenticator = Authenticator::new(
            stores.keys.clone(),
            clock.clone(),
            self.operator_key.as_ref(),
        );
        let router = Router::new(
            catalogue,
            self.providers.clone(),
            stores.llm_configs.clone(),
            stores.model_routes.clone(),
            cipher.clone(),
            clock.clone(),
            self.billing,
        );
        router.read_prices(&*stores.prices).await?;
        let runtime = Runtime::default();
        let repair = Repair::new(&stores, router.clone(), clock.clone(), &self.logs);
        let logs = LogPipeline::new(
            stores.logs.clone(),
            router.clone(),
            clock.clone(),
            self.logs,
        );
        runtime.spawn(logs.clone().run(runtime.stopping()));
        runtime.spawn(maintain(repair, runtime.stopping()));
        let reconciler = Reconciler {
            stores: stores.clone(),
            router: router.clone(),
            clock: clock.clone(),
            schedule: ReconSchedule {
                full: billing.options().recon_full,
                incremental: billing.options().recon_incremental,
                lease: RECON_LEASE,
            },
        };
        runtime.spawn(recon::run(reconciler, runtime.stopping()));
        let responses = Responses::new(stores.responses.clone(), cipher.clone(), clock.clone());
        runtime.spawn(responses.clone().run(runtime.stopping()));
        if let Some(transport) = &self.webhooks {
            let courier = Courier {
                store: stores.webhooks.clone(),
                cipher: cipher.clone(),
                clock: clock.clone(),
                transport: transport.clone(),
                runtime: runtime.clone(),
                options: self.courier,
                under_way: Arc::default(),
            };
            runtime.spawn(courier.run(runtime.stopping()));
        }
        let rate_limiter =
            RateLimiter::start(stores.rate_counters.clone(), clock.clone(), &runtime);
        let cut_streams = CancellationToken::new();
        // The path of a call. Each layer stands where the type it needs is made:
        let dispatch = Dispatch::new(
            self.dispatch,
            billing.options(),
            runtime.clone(),
            cut_streams.clone(),
            logs.clone(),
            responses.clone(),
            router.health().clone(),
        );
        let admit = AdmitLayer::new(self.concurrent_calls.unwrap_or(CONCURRENT_CALLS));
        let inference = ServiceBuilder::new()
            .layer(AuthenticateLayer::new(authenticator.clone())) // who asks, before anything is read
            .layer(PlanLayer::new(router.clone(), responses.clone())) // what is asked, where it may go, what it may cost
            .layer(admit.clone()) // refuse before holding money
            .layer(RateLimitLayer::new(rate_limiter.clone())) // only what the node takes is counted
            .layer(FundLayer::new(billing.clone())) // nothing is sent without a hold
            .service(dispatch.clone());
        // Free, so that nothing is held; the places are the same ones.
        let token_counting = ServiceBuilder::new()
            .layer(AuthenticateLayer::new(authenticator.clone()))
            .layer(PlanLayer::new(router.clone(), responses.clone()))
            .layer(admit)
            .layer(RateLimitLayer::new(rate_limiter.clone()))
            .service(dispatch.count_tokens());
        spawn_touches(&runtime, authenticator.clone());
        let follower = Follower::new(
            stores.changes.clone(),
            authenticator.clone(),
            router.clone(),
            stores.prices.clone(),
            billing.clone(),
        );
        runtime.spawn(follower.run(runtime.stopping()));
        let quoter = Quoter {
            router: router.clone(),
            billing: billing.clone(),
            responses: responses.clone(),
            rate_limiter: rate_limiter.clone(),
        };
        Ok(Gateway {
            quoter,
            inference,
            token_counting,
            tenancy: Commands::new(Tenancy {
                stores: stores.clone(),
                authenticator: authenticator.clone(),
                billing: billing.clone(),
                router: router.clone(),
                clock: clock.clone(),
            }),
            keys: Commands::new(Keys {
                stores: stores.clone(),
                authenticator: authenticator.clone(),
                clock: clock.clone(),
            }),
            llm_configs: Commands::new(LlmConfigs {
                store: stores.llm_configs.clone(),
                cipher: cipher.clone(),
                router: router.clone(),
                clock: clock.clone(),
            }),
            model_routes: Commands::new(ModelRoutes {
                store: stores.model_routes.clone(),
                router: router.clone(),
            }),
            rate_limits: Commands::new(RateLimitKeeper {
                store: stores.rate_limits.clone(),
                tenancy: stores.tenancy.clone(),
                authenticator: authenticator.clone(),
            }),
            rate_limiter,
            audit: Commands::new(Audits {
                store: stores.audit.clone(),
            }),
            webhooks: Commands::new(Webhooks {
                store: stores.webhooks.clone(),
                cipher,
                transport: self.webhooks,
                clock: clock.clone(),
            }),
            prices: Commands::new(PriceKeeper {
                stores: stores.clone(),
                router: router.clone(),
                billing: billing.clone(),
                clock: clock.clone(),
            }),
            logs: Commands::new(Logs {
                store: stores.logs.clone(),
                tenancy: stores.tenancy.clone(),
                router: router.clone(),
                clock,
            }),
            log_pipeline: logs,
            responses,
            wallets: Commands::new(Wallets {
                stores: stores.clone(),
                billing: billing.clone(),
                router: router.clone(),
                topup_by: self.topup_by,
            }),
            authenticator,
            router,
            billing,
            dispatch,
            providers: self.providers,
            stores,
            runtime,
            cut_streams,
        })
    }
}

impl std::fmt::Debug for GatewayBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GatewayBuilder")
            .field("providers", &self.providers)
            .finish_non_exhaustive()
    }
}

/// Writes down now and then which keys were used.
fn spawn_touches(runtime: &Runtime, authenticator: Authenticator) {
    let stopping = runtime.stopping();
    runtime.spawn(async move {
        let mut every = tokio::time::interval(TOUCH_EVERY);
        loop {
            tokio::select! {
                () = stopping.cancelled() => return,
                _ = every.tick() => {}
            }
            if let Err(error) = authenticator.flush_touched().await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "writing the last use of keys failed"
                );
            }
        }
    });
}
