//! The gateway: wires stores, adapters and the engine together, and shuts them down in order.

mod builder;
mod follow;

pub use builder::{BuildError, GatewayBuilder};

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::admit::Admit;
use crate::audit::Audits;
use crate::auth::{
    AuthError, Authenticate, Authenticator, CallerScope, Identity, KeyScope, PlatformScope,
    PresentedKey, Principal,
};
use crate::billing::{Billing, Fund, Wallets};
use crate::call::Operation;
use crate::command::Commands;
use crate::dispatch::{CountTokens, Dispatch};
use crate::keys::Keys;
use crate::limits::{RateLimit, RateLimitKeeper, RateLimiter};
use crate::llm_configs::LlmConfigs;
use crate::logs::{LogPipeline, Logs};
use crate::model_routes::ModelRoutes;
use crate::prices::PriceKeeper;
use crate::provider::Providers;
use crate::quotes::{Quote, QuoteRequest, Quoter};
use crate::responses::Responses;
use crate::routing::{ListedModel, PlanCalls, Router};
use crate::runtime::Runtime;
use crate::store::{StoreError, Stores};
use crate::tenancy::commands::end_users::not_found;
use crate::tenancy::{EndUserRef, Tenancy};
use crate::webhooks::Webhooks;

/// The inference stack: a service that takes a [`crate::Call`] and gives an HTTP response.
///
/// Each layer takes what the one before it makes, so the order is checked by the compiler.
pub type Inference = Authenticate<PlanCalls<Admit<RateLimit<Fund<Dispatch>>>>>;

/// The stack that counts the tokens of prompts, which is free: there is no [`Fund`] in it.
pub type TokenCounting = Authenticate<PlanCalls<Admit<RateLimit<CountTokens>>>>;

/// A running gateway. Cheap to clone.
#[derive(Clone)]
pub struct Gateway {
    inference: Inference,
    token_counting: TokenCounting,
    tenancy: Commands<Tenancy>,
    keys: Commands<Keys>,
    llm_configs: Commands<LlmConfigs>,
    model_routes: Commands<ModelRoutes>,
    rate_limits: Commands<RateLimitKeeper>,
    audit: Commands<Audits>,
    rate_limiter: RateLimiter,
    wallets: Commands<Wallets>,
    webhooks: Commands<Webhooks>,
    prices: Commands<PriceKeeper>,
    logs: Commands<Logs>,
    log_pipeline: LogPipeline,
    responses: Responses,
    authenticator: Authenticator,
    router: Router,
    billing: Billing,
    dispatch: Dispatch,
    quoter: Quoter,
    providers: Providers,
    stores: Stores,
    runtime: Runtime,
    /// Ends streams that outlast a shutdown's patience.
    cut_streams: CancellationToken,
}

// === impl Gateway ===

impl Gateway {
    /// A builder with an in-memory store and the built-in catalogue.
    pub fn builder() -> GatewayBuilder {
        GatewayBuilder::default()
    }

    /// The inference stack, as a tower service.
    pub fn inference(&self) -> Inference {
        self.inference.clone()
    }

    /// The stack for [`Operation::CountTokens`], as a tower service.
    pub fn token_counting(&self) -> TokenCounting {
        self.token_counting.clone()
    }

    /// Commands on platforms and end users.
    pub fn tenancy(&self) -> &Commands<Tenancy> {
        &self.tenancy
    }

    /// Commands on API keys.
    pub fn keys(&self) -> &Commands<Keys> {
        &self.keys
    }

    /// Commands on LLM configs.
    pub fn llm_configs(&self) -> &Commands<LlmConfigs> {
        &self.llm_configs
    }

    /// Runs commands on what platforms change of the catalogue.
    pub fn model_routes(&self) -> &Commands<ModelRoutes> {
        &self.model_routes
    }

    /// Commands on rate limits.
    pub fn rate_limits(&self) -> &Commands<RateLimitKeeper> {
        &self.rate_limits
    }

    /// Commands on the audit log.
    pub fn audit(&self) -> &Commands<Audits> {
        &self.audit
    }

    /// Who may call now: for a stack of your own, with [`crate::limits::RateLimitLayer`].
    pub fn rate_limiter(&self) -> &RateLimiter {
        &self.rate_limiter
    }

    /// Commands on webhooks.
    pub fn webhooks(&self) -> &Commands<Webhooks> {
        &self.webhooks
    }

    /// Commands on wallets and budgets.
    pub fn wallets(&self) -> &Commands<Wallets> {
        &self.wallets
    }

    /// Commands on versions of prices.
    pub fn prices(&self) -> &Commands<PriceKeeper> {
        &self.prices
    }

    /// Commands on the request log and on usage.
    pub fn logs(&self) -> &Commands<Logs> {
        &self.logs
    }

    /// How many rows of the request log were dropped because too many waited to be written.
    pub fn lost_log_rows(&self) -> u64 {
        self.log_pipeline.lost()
    }

    /// Who presented which key: for a stack of your own, with [`crate::auth::AuthenticateLayer`].
    pub fn authenticator(&self) -> &Authenticator {
        &self.authenticator
    }

    /// The inside of the stack: for a stack of your own, below [`crate::billing::FundLayer`].
    pub fn dispatch(&self) -> Dispatch {
        self.dispatch.clone()
    }

    /// Catalogue and routes.
    pub fn router(&self) -> &Router {
        &self.router
    }

    /// The billing engine.
    pub fn billing(&self) -> &Billing {
        &self.billing
    }

    /// The stores that the gateway works on.
    pub fn stores(&self) -> &Stores {
        &self.stores
    }

    /// The adapters, by provider.
    pub fn providers(&self) -> &Providers {
        &self.providers
    }

    /// Who presented a key, for management commands.
    ///
    /// # Errors
    /// [`AuthError`] when the key is unknown or may not be used.
    pub async fn principal(&self, key: &PresentedKey) -> Result<Principal, AuthError> {
        self.authenticator
            .authenticate(key)
            .await
            .map(Principal::from_identity)
    }

    /// The models that the holder of a key can use, by name.
    ///
    /// # Errors
    /// When the key may not make model calls, or the platform's configs cannot be read.
    pub async fn models(&self, key: &PresentedKey) -> Result<Vec<ListedModel>, Error> {
        let identity = self.authenticator.authenticate(key).await?;
        Ok(self.router.models(caller(&identity)?).await?)
    }

    /// One model under the name that requests call it, if the holder of a key can use it.
    ///
    /// # Errors
    /// When the key may not make model calls, the platform cannot use the model, or its configs cannot be read.
    pub async fn model(&self, key: &PresentedKey, name: &str) -> Result<ListedModel, Error> {
        let identity = self.authenticator.authenticate(key).await?;
        Ok(self.router.model(caller(&identity)?, name).await?)
    }

    /// What a call would cost, and whether it would be served. Nothing is charged, logged or sent.
    ///
    /// # Errors
    /// As the call would answer where the request is wrong, the model unknown, or the key may not make calls. That
    /// it could not be paid for is no error but part of the quote.
    pub async fn quote(&self, principal: &Principal, wanted: QuoteRequest) -> Result<Quote, Error> {
        let identity = principal.identity().ok_or(AuthError::WrongKeyType {
            wanted: "an end-user or platform key",
            presented: "the process itself",
        })?;
        let scope = caller(identity)?;
        self.rate_limiter.ask(identity).await?;
        let Some(id) = wanted.end_user else {
            return self.quoter.quote(identity, wanted).await;
        };
        let end_user = self
            .stores
            .tenancy
            .end_user(scope, &EndUserRef::Id(id))
            .await;
        let end_user = end_user.map_err(not_found)?;
        if !end_user.is_active {
            return Err(AuthError::EndUserDisabled.into());
        }
        let limits = self.stores.rate_limits.end_user_rate_limits(scope, id);
        let limits = limits.await.map_err(not_found)?;
        let identity = identity
            .on_behalf_of(id, limits)
            .ok_or(AuthError::WrongKeyType {
                wanted: "a platform key",
                presented: identity.kind().described(),
            })?;
        self.quoter.quote(&identity, wanted).await
    }

    /// The process itself, with an operator's authority: for the start-up code of a program that embeds the
    /// gateway. Never hand it anything that came over a wire.
    pub fn local_operator(&self) -> Principal {
        Principal::local()
    }

    /// Stored responses: for a stack of your own, with [`crate::routing::PlanLayer`].
    pub fn responses(&self) -> &Responses {
        &self.responses
    }

    /// The authority of a key's holder over the responses that its calls have made.
    ///
    /// # Errors
    /// When the key may not make model calls.
    pub async fn caller(&self, key: &PresentedKey) -> Result<CallerScope, Error> {
        let identity = self.authenticator.authenticate(key).await?;
        caller(&identity)?;
        identity.caller().ok_or_else(|| StoreError::NotFound.into())
    }

    /// The operations that the gateway serves.
    pub fn operations(&self) -> &'static [Operation] {
        Operation::SERVED
    }

    /// Stops in order: no new calls, running ones get `patience`, streams that outlast it end with an error
    /// frame; then everything that waits is written and all leases return.
    ///
    /// # Errors
    /// When the store fails; the next start sweeps what is left.
    pub async fn shut_down(&self, patience: Duration) -> Result<(), StoreError> {
        let cut = self.cut_streams.clone();
        let streams_end = async {
            tokio::time::sleep(patience).await;
            cut.cancel();
            std::future::pending::<()>().await;
        };
        let grace = patience + self.billing.options().gate_timeout;
        let closed = tokio::select! {
            closed = self.billing.close(grace) => closed,
            () = streams_end => Ok(()),
        };
        self.cut_streams.cancel();
        let flushed = self.authenticator.flush_touched().await;
        // Answers that are read on without their callers have settled or will never: the books are closed.
        let _ = tokio::time::timeout(
            self.billing.options().gate_timeout,
            self.runtime.shut_down(),
        )
        .await;
        // Every charge is decided by now, so every row can be written.
        self.log_pipeline.close().await;
        self.responses.close().await;
        closed.and(flushed)
    }
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gateway")
            .field("billing", &self.billing)
            .finish_non_exhaustive()
    }
}

/// The platform on which the holder of a key may make model calls.
fn caller(identity: &Identity) -> Result<&PlatformScope, AuthError> {
    let Some(scope) = identity.platform() else {
        let wanted = "an end-user or platform key";
        return Err(AuthError::WrongKeyType {
            wanted,
            presented: identity.kind().described(),
        });
    };
    identity.require(KeyScope::Inference)?;
    Ok(scope)
}
