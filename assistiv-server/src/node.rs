//! One gateway with its database and secrets, as a configuration describes it.

mod master_key;

pub use master_key::MasterKeyError;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use assistiv_core::auth::{KeyKind, KeyScopes, PresentedKey};
use assistiv_core::billing::{
    BeforeFirstByte, BillingOptions, DeliveryGate, GateTimeoutAction, LastRequest, MidstreamError,
    OnExhausted, OutagePolicy, SuspendInflight, TopUpBy, UnconfirmedDelivery,
};
use assistiv_core::clock::{Clock, SystemClock};
use assistiv_core::dispatch::DispatchOptions;
use assistiv_core::id::KeyId;
use assistiv_core::keys::ApiKey;
use assistiv_core::provider::{Provider, Registered};
use assistiv_core::routing::Catalogue;
use assistiv_core::secrets::MasterKeyCipher;
use assistiv_core::store::sql::{Inspection, SqlOptions, SqlStore};
use assistiv_core::{Gateway, GatewayBuilder};
use assistiv_providers::anthropic::Anthropic;
use assistiv_providers::echo::Echo;
use assistiv_providers::google::Google;
use assistiv_providers::openai::OpenAiCompatible;
use assistiv_providers::transport::{AllowedHost, HttpTransport, OutboundGuard};
use secrecy::ExposeSecret;

use crate::config::{self, Config, DatabaseUrl};

/// The name of the database file in the data directory.
const DATABASE_FILE: &str = "assistiv.db";

/// A running gateway with what it stands on.
pub struct Node {
    gateway: Gateway,
    store: SqlStore,
    config: Config,
}

impl Node {
    /// Opens the database, makes or checks the master key, and starts the gateway.
    ///
    /// # Errors
    /// What stands in the way, with the remedy.
    pub async fn open(config: &Config) -> anyhow::Result<Self> {
        Self::open_by(config, Arc::new(SystemClock)).await
    }

    /// The same, for a node that knows the time from `clock`: prices and periods follow it.
    ///
    /// # Errors
    /// What stands in the way, with the remedy.
    pub async fn open_by(config: &Config, clock: Arc<dyn Clock>) -> anyhow::Result<Self> {
        crate::http::metrics::install();
        master_key::prepare_data_dir(&config.server.data_dir)?;
        let store = SqlStore::open(database(config))
            .await
            .with_context(|| format!("{} cannot be opened", database_name(config)))?;
        let key = master_key::obtain(config, &store).await?;
        let cipher = Arc::new(MasterKeyCipher::new(&key));
        let gateway = builder(config)?
            .clock(clock)
            .stores(store.clone().into())
            .cipher(cipher)
            .build()
            .await
            .context("the gateway cannot start")?;
        Ok(Self {
            gateway,
            store,
            config: config.clone(),
        })
    }

    /// The gateway.
    pub fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// The database.
    pub fn store(&self) -> &SqlStore {
        &self.store
    }

    /// Whether somebody can act as operator: by configuration or by a key that was set up.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn has_operator_key(&self) -> anyhow::Result<bool> {
        let operator = self.gateway.local_operator().operate()?;
        Ok(self.config.security.operator_key.is_some()
            || self.gateway.stores().keys.has_operator(&operator).await?)
    }

    /// Stores an operator key: its digest alone.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn add_operator_key(&self, key: &PresentedKey) -> anyhow::Result<()> {
        let operator = self.gateway.local_operator().operate()?;
        let record = ApiKey {
            id: KeyId::new(),
            platform_id: None,
            end_user_id: None,
            kind: KeyKind::Operator,
            digest: key.digest(),
            key_prefix: key.shown_prefix(),
            name: "Operator key".to_owned(),
            scopes: KeyScopes::UNRESTRICTED,
            is_active: true,
            last_used_at: None,
            expires_at: None,
            created_at: SystemClock.now(),
        };
        Ok(self
            .gateway
            .stores()
            .keys
            .create_operator(&operator, record)
            .await?)
    }

    /// Shuts the gateway down in order; calls that run get `patience`.
    ///
    /// # Errors
    /// When the database fails; the next start sweeps what is left.
    pub async fn close(self, patience: Duration) -> anyhow::Result<()> {
        self.gateway
            .shut_down(patience)
            .await
            .context("the gateway did not close cleanly")
    }
}

/// Everything in a configuration that would keep a node from starting, all at once; changes nothing.
pub fn problems(config: &Config) -> Vec<String> {
    let mut problems = master_key::problems(config);
    if let Err(error) = builder(config) {
        problems.push(format!("{error:#}"));
    }
    problems
}

/// The database for reading alone, beside whoever uses it.
///
/// # Errors
/// When there is none, or it cannot be opened.
pub async fn inspect(config: &Config) -> anyhow::Result<Inspection> {
    SqlStore::inspect(database(config))
        .await
        .with_context(|| format!("{} cannot be opened", database_name(config)))
}

/// The cipher of an existing database, and what is wrong with it; makes nothing.
///
/// # Errors
/// When the database fails.
pub async fn existing_cipher(
    config: &Config,
    store: &SqlStore,
) -> anyhow::Result<Result<MasterKeyCipher, MasterKeyError>> {
    master_key::existing(config, store).await
}

/// Models and prices, with what the configuration changes of them.
///
/// # Errors
/// When the configuration names something that there is not.
pub fn catalogue(config: &Config) -> anyhow::Result<Catalogue> {
    let mut catalogue = Catalogue::built_in()?;
    for (slug, provider) in &config.providers {
        let slug = slug.parse().with_context(|| format!("providers.{slug}"))?;
        if let Some(base_url) = &provider.base_url {
            catalogue
                .set_base_url(&slug, base_url)
                .with_context(|| format!("providers.{slug}.base_url"))?;
        }
    }
    Ok(catalogue)
}

/// What stands against the database of a configuration, all at once; changes nothing.
pub async fn database_problems(config: &Config) -> Vec<String> {
    let problems = SqlStore::problems(database(config)).await;
    let name = database_name(config);
    problems
        .into_iter()
        .map(|problem| format!("{name}: {problem}"))
        .collect()
}

fn database(config: &Config) -> SqlOptions {
    let connections = config.database.max_connections;
    match &config.database.url {
        #[cfg(feature = "postgres")]
        Some(DatabaseUrl::Postgres(url)) => {
            let each = match connections {
                // Each lane has one, and so has whoever waits for news.
                Some(all) => all.saturating_sub(3) / 2,
                None => by_cores(),
            };
            SqlOptions::postgres(url.clone())
                .write_connections(each)
                .read_connections(each)
        }
        _ => {
            let options = SqlOptions::sqlite(database_path(config));
            match connections {
                Some(connections) => options.read_connections(connections),
                None => options,
            }
        }
    }
}

/// As many sessions as can work at the same time, and some that wait for others.
#[cfg(feature = "postgres")]
fn by_cores() -> u32 {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    u32::try_from(2 * cores).unwrap_or(u32::MAX).clamp(4, 32)
}

fn database_path(config: &Config) -> PathBuf {
    match &config.database.url {
        Some(DatabaseUrl::Sqlite(path)) => path.clone(),
        _ => config.server.data_dir.join(DATABASE_FILE),
    }
}

/// How messages name the database.
fn database_name(config: &Config) -> String {
    match &config.database.url {
        Some(DatabaseUrl::Postgres(_)) => "the PostgreSQL database".to_owned(),
        _ => format!("the database {}", database_path(config).display()),
    }
}

/// A gateway builder with the adapters and parameters of a configuration.
fn builder(config: &Config) -> anyhow::Result<GatewayBuilder> {
    let catalogue = catalogue(config)?;
    let security = &config.security;
    let to_providers = guard(&security.outbound_allow).context("security.outbound_allow")?;
    let transport = Arc::new(outbound(config, to_providers)?);
    // Where webhooks go platforms say, so hosts of the operator's own are not open to them.
    let to_webhooks = guard(&security.webhook_allow).context("security.webhook_allow")?;
    let webhooks = Arc::new(outbound(config, to_webhooks)?);
    let over_http = |adapter: Arc<dyn Provider>| Registered {
        provider: adapter,
        transport: transport.clone(),
        needs_credential: true,
    };
    // A platform that wants the echo model says so with an LLM config, as for every other provider.
    let echo = Registered {
        needs_credential: true,
        ..Echo::registered()
    };
    let mut builder = Gateway::builder()
        .provider("anthropic".parse()?, over_http(Arc::new(Anthropic)))
        .provider("google".parse()?, over_http(Arc::new(Google)))
        .provider(
            "openai".parse()?,
            over_http(Arc::new(OpenAiCompatible::openai())),
        )
        .provider("xai".parse()?, over_http(Arc::new(OpenAiCompatible::xai())))
        .provider("echo".parse()?, echo)
        .catalogue(catalogue)
        .billing(billing(&config.billing))
        .dispatch(DispatchOptions {
            first_byte: config.limits.first_byte_timeout,
            idle: config.limits.upstream_idle_timeout,
            total: config.limits.upstream_total_timeout,
            docs_url: public_url(config),
        })
        .webhooks(webhooks)
        .concurrent_calls(config.limits.concurrent_calls)
        .topup_by(match config.api.wallet_topup {
            config::WalletTopup::Operator => TopUpBy::Operator,
            _ => TopUpBy::Platform,
        });
    if let Some(key) = &config.security.operator_key {
        let key = key
            .expose_secret()
            .parse()
            .context("security.operator_key is not an operator key")?;
        builder = builder.operator_key(key);
    }
    Ok(builder)
}

fn guard(allowed: &[config::Outbound]) -> anyhow::Result<OutboundGuard> {
    let allowed: Result<Vec<AllowedHost>, _> = allowed
        .iter()
        .map(|host| host.to_string().parse())
        .collect();
    Ok(OutboundGuard::allowing(allowed?))
}

fn outbound(config: &Config, guard: OutboundGuard) -> anyhow::Result<HttpTransport> {
    HttpTransport::builder()
        .guard(guard)
        .connect_timeout(config.limits.upstream_connect_timeout)
        .build()
        .context("the outbound client cannot be made")
}

/// The base URL under which callers reach the server, without a slash at the end.
pub fn public_url(config: &Config) -> String {
    match &config.server.public_url {
        Some(url) => url.as_str().trim_end_matches('/').to_owned(),
        None => format!("http://{}", config.server.listen),
    }
}

fn billing(config: &config::Billing) -> BillingOptions {
    BillingOptions {
        delivery_gate: match config.delivery_gate {
            config::DeliveryGate::Relaxed => DeliveryGate::Relaxed,
            config::DeliveryGate::Strict => DeliveryGate::Strict,
        },
        gate_timeout: config.gate_timeout,
        gate_timeout_action: match config.gate_timeout_action {
            config::GateTimeoutAction::Release => GateTimeoutAction::Release,
            config::GateTimeoutAction::FailClosed => GateTimeoutAction::FailClosed,
        },
        outage_policy: match config.outage_policy {
            config::OutagePolicy::Grace => OutagePolicy::Grace,
            config::OutagePolicy::FailClosed => OutagePolicy::FailClosed,
        },
        db_fail_after: config.db_fail_after,
        ttl: config.ttl,
        heartbeat: config.heartbeat,
        fence_grace: config.fence_grace,
        recall_wait: config.recall_wait,
        lease_idle_return: config.lease_idle_return,
        checkpoint_interval: config.checkpoint_interval,
        before_first_byte: match config.before_first_byte {
            config::BeforeFirstByte::Free => BeforeFirstByte::Free,
            config::BeforeFirstByte::ChargeInput => BeforeFirstByte::ChargeInput,
        },
        midstream_error: match config.midstream_error {
            config::MidstreamError::Free => MidstreamError::Free,
            config::MidstreamError::ChargeObserved => MidstreamError::ChargeObserved,
        },
        last_request: match config.last_request {
            config::LastRequest::Refuse => LastRequest::Refuse,
            config::LastRequest::Allow => LastRequest::Allow,
        },
        on_exhausted: match config.on_exhausted {
            config::OnExhausted::Finish => OnExhausted::Finish,
            config::OnExhausted::Cut => OnExhausted::Cut,
        },
        suspend_inflight: match config.suspend_inflight {
            config::SuspendInflight::Cut => SuspendInflight::Cut,
            config::SuspendInflight::Finish => SuspendInflight::Finish,
        },
        unconfirmed_delivery: match config.unconfirmed_delivery {
            config::UnconfirmedDelivery::Refund => UnconfirmedDelivery::Refund,
            config::UnconfirmedDelivery::Stands => UnconfirmedDelivery::Stands,
        },
        recon_full: config.recon_full,
        recon_incremental: config.recon_incremental,
        drain_max: config.drain_max,
        drain_concurrency: config.drain_concurrency,
        stream_max: config.stream_max,
        hold_input_per_mille: config.hold_input_factor,
        queue_max: config.queue_max,
        batch_max: config.batch_max,
        lane_stall: config.lane_stall,
    }
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node")
            .field("gateway", &self.gateway)
            .finish_non_exhaustive()
    }
}
