//! Resolves a model for a platform: catalogue routes joined with the platform's own provider keys.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use moka::future::Cache;
use tokio::time::Instant;

use super::PlanError;
use super::catalogue::{Catalogue, CatalogueModel, CatalogueRoute, ModelMode};
use super::estimate::estimate;
use super::health::Health;
use super::plan::{Plan, Target};
use crate::auth::{Identity, PlatformScope, SweeperScope};
use crate::billing::BillingOptions;
use crate::call::{InferenceRequest, Operation};
use crate::clock::{Clock, Timestamp};
use crate::id::PlatformId;
use crate::llm_configs::{LlmConfig, config_place};
use crate::model_routes::Overrides;
use crate::provider::{Credential, Providers, Registered, Support};
use crate::revisions::{Revision, Revisions};
use crate::secrets::SecretCipher;
use crate::store::{LlmConfigStore, ModelRouteStore, PriceStore, StoreError};

const PLATFORMS_MAX: u64 = 10_000;
const FRESH_FOR: Duration = Duration::from_secs(60);
const CANDIDATES_MAX: usize = 3;

/// Plans calls: the catalogue as a snapshot, platforms' configs in a cache. Cheap to clone.
#[derive(Clone)]
pub struct Router(Arc<Inner>);

struct Inner {
    /// What the gateway was started with.
    base: Catalogue,
    /// The same with the prices that operators have added.
    catalogue: ArcSwap<Catalogue>,
    /// Prices are read by one at a time, so that an older answer never takes the place of a newer one.
    reading_prices: tokio::sync::Mutex<()>,
    providers: Providers,
    configs: Arc<dyn LlmConfigStore>,
    overrides: Arc<dyn ModelRouteStore>,
    cipher: Arc<dyn SecretCipher>,
    clock: Arc<dyn Clock>,
    billing: BillingOptions,
    platforms: Cache<PlatformId, Entry>,
    /// Changes of configs and overrides, by platform.
    revisions: Revisions,
    health: Health,
}

#[derive(Clone)]
struct Entry {
    own: Option<Arc<Own>>,
    revision: Revision,
    at: Instant,
}

/// What a platform brings to the catalogue.
pub(super) struct Own {
    keys: Vec<PlatformKey>,
    pub(super) overrides: Overrides,
}

/// A platform's provider key, opened.
pub(super) struct PlatformKey {
    config: LlmConfig,
    /// `None` when it cannot be opened any more.
    credential: Option<Credential>,
}

// === impl Router ===

impl Router {
    pub(crate) fn new(
        catalogue: Catalogue,
        providers: Providers,
        configs: Arc<dyn LlmConfigStore>,
        overrides: Arc<dyn ModelRouteStore>,
        cipher: Arc<dyn SecretCipher>,
        clock: Arc<dyn Clock>,
        billing: BillingOptions,
    ) -> Self {
        Self(Arc::new(Inner {
            catalogue: ArcSwap::from_pointee(catalogue.clone()),
            base: catalogue,
            reading_prices: tokio::sync::Mutex::default(),
            providers,
            configs,
            overrides,
            cipher,
            clock,
            billing,
            platforms: Cache::new(PLATFORMS_MAX),
            revisions: Revisions::new(),
            health: Health::default(),
        }))
    }

    /// The catalogue in use.
    pub fn catalogue(&self) -> Arc<Catalogue> {
        self.0.catalogue.load_full()
    }

    /// Reads the prices that operators have added: calls that begin from here on are charged by them.
    ///
    /// # Errors
    /// The store's; then the prices stay as they are.
    pub(crate) async fn read_prices(&self, store: &dyn PriceStore) -> Result<(), StoreError> {
        let _one_at_a_time = self.0.reading_prices.lock().await;
        let added = store.prices(&SweeperScope::engine()).await?;
        if added.len() != self.0.catalogue.load().added_prices().len() {
            let catalogue = self.0.base.with_prices(added);
            self.0.catalogue.store(Arc::new(catalogue));
        }
        Ok(())
    }

    /// The gateway's time.
    pub(super) fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// The adapter of a provider.
    pub(super) fn registered(&self, provider: &super::ProviderSlug) -> Option<&Registered> {
        self.0.providers.find(provider)
    }

    /// How the targets are.
    pub(crate) fn health(&self) -> &Health {
        &self.0.health
    }

    /// Plans a request: its targets in order, and what it may cost at most.
    ///
    /// # Errors
    /// [`PlanError`] when there is no way to serve it.
    pub async fn plan(
        &self,
        identity: &Identity,
        request: &InferenceRequest,
    ) -> Result<Plan, PlanError> {
        let catalogue = self.catalogue();
        let not_found = || self.not_found(&catalogue, request.model());
        let (Some(scope), Some(profile)) = (identity.platform(), identity.profile()) else {
            return Err(not_found());
        };
        let own = self.own(scope).await?;
        let model = own.overrides.model(&catalogue, request.model());
        let model = model.ok_or_else(not_found)?;
        serves(model, request)?;
        let now = self.0.clock.now();
        let mut candidates = self.candidates(model, &own, request.operation().ability());
        if candidates.is_empty() {
            return Err(not_found());
        }
        candidates.sort_by_key(Candidate::order);
        let mut unpriced = 0;
        let mut sealed = 0;
        let mut targets = Vec::with_capacity(CANDIDATES_MAX);
        let mut sick = Vec::new();
        for candidate in candidates {
            let prices = candidate.route.prices_at(now);
            if prices.is_empty() {
                unpriced += 1;
            } else if candidate.is_sealed() {
                sealed += 1;
            } else if targets.len() < CANDIDATES_MAX
                && let Some(target) = self.target(&catalogue, model, request, &candidate, prices)
            {
                if self.0.health.is_sick(&target) {
                    sick.push(target);
                } else {
                    targets.push(target);
                }
            }
        }
        sick.truncate(CANDIDATES_MAX - targets.len());
        targets.extend(sick);
        match (targets.is_empty(), unpriced, sealed) {
            (false, ..) => {}
            (true, _, 1..) => return Err(PlanError::Secret),
            (true, 1.., _) => {
                return Err(PlanError::PricingMissing {
                    model: model.slug.clone(),
                });
            }
            (true, ..) => return Err(not_found()),
        }
        let estimate = estimate(request, model, &targets, &profile.settings, &self.0.billing);
        Ok(Plan { targets, estimate })
    }

    /// Whether an adapter speaks for the provider.
    pub(crate) fn serves(&self, provider: &super::ProviderSlug) -> bool {
        self.0.providers.find(provider).is_some()
    }

    /// The platform's configs or overrides have changed.
    pub(crate) fn forget(&self, platform: PlatformId) {
        self.0.revisions.bump(&platform);
    }

    /// Anybody's configs may have changed.
    pub(crate) fn forget_all(&self) {
        self.0.revisions.bump_all();
    }

    pub(super) fn candidates<'a>(
        &self,
        model: &'a CatalogueModel,
        own: &'a Own,
        operation: Operation,
    ) -> Vec<Candidate<'a>> {
        let mut candidates = Vec::new();
        if !own.overrides.enables(model) {
            return candidates;
        }
        for route in &model.routes {
            if !own.overrides.enables_route(model, route) {
                continue;
            }
            let Some(registered) = self.0.providers.find(&route.provider) else {
                continue;
            };
            let provider = &registered.provider;
            if provider.support(operation) == Support::Unsupported
                || !provider.speaks(route.upstream_api)
            {
                continue;
            }
            let priority = own.overrides.priority(model, route);
            if !registered.needs_credential {
                candidates.push(Candidate {
                    route,
                    priority,
                    key: None,
                });
                continue;
            }
            candidates.extend(own.keys_for(model, route).map(|key| Candidate {
                route,
                priority,
                key: Some(key),
            }));
        }
        candidates
    }

    fn target(
        &self,
        catalogue: &Catalogue,
        model: &CatalogueModel,
        request: &InferenceRequest,
        candidate: &Candidate<'_>,
        prices: Vec<Arc<crate::billing::Price>>,
    ) -> Option<Target> {
        let route = candidate.route;
        Some(Target {
            provider: route.provider.clone(),
            registered: self.0.providers.find(&route.provider)?.clone(),
            base_url: catalogue.provider(&route.provider)?.base_url.clone(),
            slug: request
                .model()
                .parse()
                .unwrap_or_else(|_| model.slug.clone()),
            model_id: model.id(),
            upstream_model: route.provider_model_id.clone(),
            upstream_api: route.upstream_api,
            limit_field: route.limit_field(request.output_limit().map(|(field, _)| field)),
            output_limit: None,
            max_output_tokens: model.max_output_tokens,
            prices: prices.into(),
            config: candidate.key.map(|key| key.config.id),
            credential: candidate.key.and_then(|key| key.credential.clone()),
        })
    }

    pub(super) async fn own(&self, scope: &PlatformScope) -> Result<Arc<Own>, StoreError> {
        let inner = &self.0;
        let id = scope.platform_id();
        let stale = |entry: &Entry| {
            entry.own.is_none()
                || entry.at.elapsed() > FRESH_FOR
                || inner.revisions.changed_since(&id, entry.revision)
        };
        if let Some(entry) = inner.platforms.get(&id).await
            && let Some(own) = &entry.own
            && !stale(&entry)
        {
            return Ok(own.clone());
        }
        let mut failure = None;
        let load = async {
            let revision = inner.revisions.begin();
            let own = match inner.read_own(scope).await {
                Ok(own) => Some(Arc::new(own)),
                Err(error) => {
                    failure = Some(error);
                    None
                }
            };
            Entry {
                own,
                revision,
                at: Instant::now(),
            }
        };
        let entry = inner
            .platforms
            .entry(id)
            .or_insert_with_if(load, |entry| stale(entry))
            .await
            .into_value();
        match (entry.own, failure) {
            (Some(own), _) => Ok(own),
            (None, Some(error)) => Err(error),
            (None, None) => Err(StoreError::unavailable(
                "the look-up of provider keys failed",
            )),
        }
    }

    pub(super) fn not_found(&self, catalogue: &Catalogue, asked: &str) -> PlanError {
        let nearest = catalogue
            .models()
            .map(|model| (distance(asked, model.slug.as_str()), &model.slug))
            .filter(|(distance, slug)| *distance <= slug.as_str().len() / 3)
            .min_by_key(|(distance, slug)| (*distance, slug.as_str().to_owned()));
        let model = asked.chars().take(80).collect();
        PlanError::ModelNotFound {
            model,
            suggestion: nearest.map(|(_, slug)| slug.clone()),
        }
    }
}

impl Inner {
    async fn read_own(&self, scope: &PlatformScope) -> Result<Own, StoreError> {
        let rows = self.configs.active(scope).await?;
        let keys = rows.into_iter();
        Ok(Own {
            overrides: Overrides::new(self.overrides.overrides(scope).await?),
            keys: keys
                .map(|(config, secret)| self.open(config, &secret.0))
                .collect(),
        })
    }

    fn open(&self, config: LlmConfig, sealed: &[u8]) -> PlatformKey {
        let opened = self.cipher.open(config_place(config.id), sealed);
        if opened.is_err() {
            tracing::error!(config = %config.id, "a provider key cannot be opened with this master key");
        }
        PlatformKey {
            config,
            credential: opened.ok().map(Credential::new),
        }
    }
}

impl std::fmt::Debug for Router {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Router")
            .field("providers", &self.0.providers)
            .finish_non_exhaustive()
    }
}

// === impl Own ===

impl Own {
    /// The keys with which the platform may call a route of the model.
    pub(super) fn keys_for<'a>(
        &'a self,
        model: &'a CatalogueModel,
        route: &'a CatalogueRoute,
    ) -> impl Iterator<Item = &'a PlatformKey> {
        self.keys.iter().filter(|key| {
            let models = key.config.models.as_ref();
            key.config.provider == route.provider
                && models.is_none_or(|models| models.contains(&model.slug))
        })
    }
}

pub(super) struct Candidate<'a> {
    pub(super) route: &'a CatalogueRoute,
    /// What the platform set for the route.
    priority: Option<u16>,
    key: Option<&'a PlatformKey>,
}

impl Candidate<'_> {
    /// The platform's priority of the route, which goes before all without one; that of its key, the operator's,
    /// the default key, the oldest: lower first.
    pub(super) fn order(&self) -> (bool, u16, u16, u16, bool, Timestamp) {
        let config = self.key.map(|key| &key.config);
        (
            self.priority.is_none(),
            self.priority.unwrap_or(0),
            config.map_or(0, |config| config.priority),
            self.route.priority,
            !config.is_some_and(|config| config.is_default),
            config.map_or(Timestamp::from_micros(0), |config| config.created_at),
        )
    }

    pub(super) fn is_sealed(&self) -> bool {
        self.key.is_some_and(|key| key.credential.is_none())
    }
}

fn serves(model: &CatalogueModel, request: &InferenceRequest) -> Result<(), PlanError> {
    let unsupported = |mode| PlanError::UnsupportedEndpoint {
        model: model.slug.clone(),
        mode,
    };
    let wants_embeddings = request.operation() == Operation::Embeddings;
    match model.mode {
        ModelMode::Embedding if !wants_embeddings => return Err(unsupported("embeddings")),
        ModelMode::Chat if wants_embeddings => return Err(unsupported("conversations")),
        _ => {}
    }
    if let (Some(min), Some((field, limit))) = (model.min_output_tokens, request.output_limit())
        && limit < min
    {
        return Err(PlanError::OutputLimitTooSmall {
            param: field.as_str(),
            min,
        });
    }
    // Counted without a tokenizer, a prompt may look up to twice its size: only a hopeless one is refused here.
    // The texts of a request for embeddings count each for itself.
    if let Some(limit) = model
        .context_window
        .filter(|limit| !wants_embeddings && request.prompt_tokens() / 2 > *limit)
    {
        return Err(PlanError::ContextLength {
            tokens: request.prompt_tokens() / 2,
            limit,
        });
    }
    Ok(())
}

/// Edits between two names, for a suggestion.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().take(80).enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let kept = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = kept.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
