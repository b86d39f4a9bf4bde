//! The catalogue: providers, models, routes and versioned prices, shared by all platforms.
//!
//! The built-in catalogue is a file of this project (`catalogue.json` beside this module); a program that embeds
//! the gateway may lay its own entries over it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde::Deserialize;
use uuid::Uuid;

use super::slug::{ModelSlug, ProviderSlug};
use crate::billing::{LongContext, Price, Rates};
use crate::call::LimitField;
use crate::clock::Timestamp;
use crate::id::{ModelId, PriceId, ProviderId};
use crate::money::NanoUsd;
use crate::prices::PriceVersion;

const BUILT_IN: &str = include_str!("catalogue.json");

/// Namespace of the ids of catalogue entries: an entry has the same id in every process.
const NAMESPACE: Uuid = Uuid::from_u128(0x6f2c_4f0e_8d1b_5c53_9a77_0d9e_51b2_c0de);

/// What a model is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelMode {
    /// Conversations.
    #[default]
    Chat,
    /// Embeddings.
    Embedding,
}

/// Which API of the provider serves a route.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UpstreamApi {
    /// Chat completions, or the provider's own API for conversations.
    #[default]
    Chat,
    /// OpenAI's Responses API alone.
    Responses,
}

/// A provider.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CatalogueProvider {
    /// Its name in routes and configs.
    pub slug: ProviderSlug,
    /// For people.
    pub name: String,
    /// Where it is called.
    pub base_url: Arc<str>,
}

/// A version of a price, as it is written down.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PriceEntry {
    #[serde(default = "standard")]
    service_tier: String,
    effective_from: Timestamp,
    rates: Rates,
    #[serde(default)]
    long_context: Option<LongContext>,
    #[serde(default)]
    per_call: NanoUsd,
}

/// One way to serve a model.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CatalogueRoute {
    /// Who serves it.
    pub provider: ProviderSlug,
    /// What the provider calls the model.
    pub provider_model_id: Arc<str>,
    /// Lower is tried first.
    #[serde(default = "default_priority")]
    pub priority: u16,
    /// Which API serves it.
    #[serde(default)]
    pub upstream_api: UpstreamApi,
    /// Whether the provider takes an output limit in `max_completion_tokens` alone.
    #[serde(default)]
    pub needs_max_completion_tokens: bool,
    prices: Vec<PriceEntry>,
    #[serde(skip)]
    versions: Vec<Arc<Price>>,
}

/// A model.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CatalogueModel {
    /// Its public name.
    pub slug: ModelSlug,
    /// Other names of it.
    #[serde(default)]
    pub aliases: Vec<ModelSlug>,
    /// What it is for.
    #[serde(default)]
    pub mode: ModelMode,
    /// Prompt and output together, in tokens.
    #[serde(default)]
    pub context_window: Option<u64>,
    /// The longest output, in tokens.
    #[serde(default)]
    pub max_output_tokens: Option<u64>,
    /// The smallest output limit it takes.
    #[serde(default)]
    pub min_output_tokens: Option<u64>,
    /// When it came out.
    pub released: Timestamp,
    /// The ways to serve it.
    pub routes: Vec<CatalogueRoute>,
    #[serde(skip)]
    id: Option<ModelId>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    #[expect(dead_code, reason = "for the reader of the file")]
    about: String,
    #[serde(default)]
    providers: Vec<CatalogueProvider>,
    #[serde(default)]
    models: Vec<CatalogueModel>,
}

/// A catalogue, immutable once it is in use.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    providers: HashMap<ProviderSlug, CatalogueProvider>,
    models: HashMap<ModelSlug, Arc<CatalogueModel>>,
    names: HashMap<ModelSlug, ModelSlug>,
    /// Versions of prices that operators have added, those that were added first in front.
    added: Vec<PriceVersion>,
}

/// The text is not a catalogue.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CatalogueError {
    /// Not the expected JSON.
    #[error("the catalogue cannot be read")]
    Syntax(#[from] serde_json::Error),
    /// Two models claim a name, or a route names an unknown provider.
    #[error("the catalogue contradicts itself: {0}")]
    Contradiction(String),
}

fn standard() -> String {
    "standard".to_owned()
}

const fn default_priority() -> u16 {
    100
}

// === impl Catalogue ===

impl Catalogue {
    /// The catalogue that comes with the gateway.
    ///
    /// # Errors
    /// Never in a release: a test reads it.
    pub fn built_in() -> Result<Self, CatalogueError> {
        Self::default().extended(BUILT_IN)
    }

    /// This catalogue with the providers and models of a JSON text laid over it. A model or provider that has
    /// the slug of an earlier one replaces it.
    ///
    /// ```
    /// use assistiv_core::routing::Catalogue;
    ///
    /// let catalogue = Catalogue::default().extended(r#"{
    ///     "providers": [{ "slug": "acme", "name": "Acme", "base_url": "https://api.acme.example/v1" }],
    ///     "models": [{
    ///         "slug": "acme-1", "released": "2026-01-01T00:00:00Z", "max_output_tokens": 4096,
    ///         "routes": [{ "provider": "acme", "provider_model_id": "acme-1-large", "prices": [
    ///             { "effective_from": "2026-01-01T00:00:00Z", "rates": { "input": "0.50", "output": "1.50" } }
    ///         ] }]
    ///     }]
    /// }"#)?;
    /// # Ok::<(), assistiv_core::routing::CatalogueError>(())
    /// ```
    ///
    /// # Errors
    /// [`CatalogueError`] when the text cannot be read, or two models claim one name.
    pub fn extended(mut self, json: &str) -> Result<Self, CatalogueError> {
        let file: File = serde_json::from_str(json)?;
        for provider in file.providers {
            self.providers.insert(provider.slug.clone(), provider);
        }
        for mut model in file.models {
            model.resolve();
            for route in &model.routes {
                if !self.providers.contains_key(&route.provider) {
                    return Err(contradiction(
                        &model.slug,
                        format!("names the unknown provider `{}`", route.provider),
                    ));
                }
            }
            self.names.retain(|_, slug| *slug != model.slug);
            for name in std::iter::once(&model.slug).chain(&model.aliases) {
                if let Some(other) = self.names.insert(name.clone(), model.slug.clone()) {
                    return Err(contradiction(
                        &model.slug,
                        format!("claims `{name}`, which is `{other}`"),
                    ));
                }
            }
            self.models.insert(model.slug.clone(), Arc::new(model));
        }
        Ok(self)
    }

    /// Sets where a provider is called.
    ///
    /// # Errors
    /// [`CatalogueError::Contradiction`] when there is no such provider.
    pub fn set_base_url(
        &mut self,
        slug: &ProviderSlug,
        base_url: &str,
    ) -> Result<(), CatalogueError> {
        let provider = self.providers.get_mut(slug).ok_or_else(|| {
            CatalogueError::Contradiction(format!("there is no provider `{slug}`"))
        })?;
        provider.base_url = base_url.trim_end_matches('/').into();
        Ok(())
    }

    /// A provider by its slug.
    pub fn provider(&self, slug: &ProviderSlug) -> Option<&CatalogueProvider> {
        self.providers.get(slug)
    }

    /// Every provider, by slug.
    pub fn providers(&self) -> impl Iterator<Item = &CatalogueProvider> {
        self.providers.values()
    }

    /// A model by its slug or an alias.
    pub fn model(&self, name: &str) -> Option<&Arc<CatalogueModel>> {
        self.models.get(self.names.get(name)?)
    }

    /// Every model.
    pub fn models(&self) -> impl Iterator<Item = &Arc<CatalogueModel>> {
        self.models.values()
    }

    /// Every version of every price, with the route that it is for.
    pub fn prices(&self) -> impl Iterator<Item = (&CatalogueModel, &CatalogueRoute, &Arc<Price>)> {
        self.models.values().flat_map(|model| {
            model.routes.iter().flat_map(move |route| {
                route
                    .versions
                    .iter()
                    .map(move |price| (&**model, route, price))
            })
        })
    }

    /// This catalogue with versions of prices that operators have added, those that were added first in front.
    #[must_use]
    pub(crate) fn with_prices(&self, added: Vec<PriceVersion>) -> Self {
        let mut catalogue = self.clone();
        for version in &added {
            let is_of = |route: &CatalogueRoute| {
                route.provider == version.provider
                    && route.provider_model_id == version.provider_model_id
            };
            for model in catalogue.models.values_mut() {
                if model.routes.iter().any(is_of) {
                    let routes = Arc::make_mut(model).routes.iter_mut();
                    routes
                        .filter(|route| is_of(route))
                        .for_each(|route| route.add(version.price.clone()));
                }
            }
        }
        catalogue.added = added;
        catalogue
    }

    /// The versions of prices that operators have added.
    pub(crate) fn added_prices(&self) -> &[PriceVersion] {
        &self.added
    }

    /// Every version of every price once, also where there is no route for it: those of the catalogue, then those
    /// that were added. A version of the catalogue counts as made when it comes into force.
    pub(crate) fn price_versions(&self) -> Vec<PriceVersion> {
        let mut seen = HashSet::new();
        let of_catalogue = self.prices().map(|(_, route, price)| PriceVersion {
            provider: route.provider.clone(),
            provider_model_id: route.provider_model_id.clone(),
            price: price.clone(),
            note: None,
            created_at: price.effective_from,
        });
        // Routes have the added ones, too.
        let is_added = |id: PriceId| self.added.iter().any(|version| version.price.id == id);
        let mut versions: Vec<_> = of_catalogue
            .filter(|version| !is_added(version.price.id) && seen.insert(version.price.id))
            .collect();
        versions.extend_from_slice(&self.added);
        versions
    }

    /// A model by its id, for showing ledger entries.
    pub fn model_by_id(&self, id: ModelId) -> Option<&Arc<CatalogueModel>> {
        self.models.values().find(|model| model.id() == id)
    }
}

fn contradiction(model: &ModelSlug, what: String) -> CatalogueError {
    CatalogueError::Contradiction(format!("`{model}` {what}"))
}

// === impl CatalogueProvider ===

impl CatalogueProvider {
    /// The provider's id.
    pub fn id(&self) -> ProviderId {
        ProviderId::from_uuid(Uuid::new_v5(
            &NAMESPACE,
            format!("provider/{}", self.slug).as_bytes(),
        ))
    }
}

// === impl CatalogueModel ===

impl CatalogueModel {
    /// The model's id.
    pub fn id(&self) -> ModelId {
        self.id.unwrap_or_else(|| model_id(&self.slug))
    }

    fn resolve(&mut self) {
        self.id = Some(model_id(&self.slug));
        self.routes.sort_by_key(|route| route.priority);
        for route in &mut self.routes {
            route.resolve();
        }
    }
}

fn model_id(slug: &ModelSlug) -> ModelId {
    ModelId::from_uuid(Uuid::new_v5(&NAMESPACE, format!("model/{slug}").as_bytes()))
}

// === impl CatalogueRoute ===

impl CatalogueRoute {
    /// The member in which the provider takes an output limit, given where the caller wrote it.
    pub fn limit_field(&self, written: Option<LimitField>) -> LimitField {
        match written {
            _ if self.needs_max_completion_tokens => LimitField::MaxCompletionTokens,
            Some(LimitField::MaxCompletionTokens) => LimitField::MaxCompletionTokens,
            Some(LimitField::MaxTokens | LimitField::MaxOutputTokens) | None => {
                LimitField::MaxTokens
            }
        }
    }

    /// The versions in force at `at`: one for each service tier, `standard` first.
    pub fn prices_at(&self, at: Timestamp) -> Vec<Arc<Price>> {
        let mut tiers: Vec<Arc<Price>> = Vec::new();
        // Versions are in the order of their dates, so the last that is not in the future wins.
        for version in self
            .versions
            .iter()
            .filter(|version| version.effective_from <= at)
        {
            match tiers
                .iter_mut()
                .find(|price| price.service_tier == version.service_tier)
            {
                Some(price) => *price = version.clone(),
                None => tiers.push(version.clone()),
            }
        }
        tiers.sort_by_key(|price| price.service_tier != "standard");
        tiers
    }

    /// Adds a version: behind those that come into force no later, so that it counts before them.
    fn add(&mut self, price: Arc<Price>) {
        let later = |version: &Arc<Price>| version.effective_from <= price.effective_from;
        let place = self.versions.partition_point(later);
        self.versions.insert(place, price);
    }

    fn resolve(&mut self) {
        self.versions = std::mem::take(&mut self.prices)
            .into_iter()
            .map(|entry| {
                let name = format!(
                    "price/{}/{}/{}/{}",
                    self.provider, self.provider_model_id, entry.service_tier, entry.effective_from
                );
                Arc::new(Price {
                    id: PriceId::from_uuid(Uuid::new_v5(&NAMESPACE, name.as_bytes())),
                    service_tier: entry.service_tier,
                    effective_from: entry.effective_from,
                    per_call: entry.per_call,
                    rates: entry.rates,
                    long_context: entry.long_context,
                })
            })
            .collect();
        self.versions.sort_by_key(|version| version.effective_from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_catalogue_reads() {
        let catalogue = Catalogue::built_in().unwrap();
        let now: Timestamp = "2026-11-23T00:00:00Z".parse().unwrap();
        for slug in ["openai", "anthropic", "google", "xai", "echo"] {
            assert!(
                catalogue.provider(&slug.parse().unwrap()).is_some(),
                "{slug}"
            );
        }
        for model in catalogue.models() {
            for route in &model.routes {
                let prices = route.prices_at(now);
                assert!(
                    prices.first().is_some_and(|p| p.service_tier == "standard"),
                    "{}",
                    model.slug
                );
            }
        }
        let mini = catalogue.model("gpt-4o-mini-2024-07-18").unwrap();
        assert_eq!(mini.slug.as_str(), "gpt-4o-mini");
        let usage = crate::billing::Usage {
            input: 1_000_000,
            output: 1_000_000,
            ..Default::default()
        };
        let cost = mini.routes[0].prices_at(now)[0]
            .cost(&usage, Default::default())
            .unwrap();
        assert_eq!(cost.wallet.to_string(), "0.750000");
    }

    #[test]
    fn a_name_belongs_to_one_model() {
        let text = r#"{"models":[{"slug":"x","aliases":["gpt-4o"],"released":"2026-01-01T00:00:00Z","routes":[]}]}"#;
        assert!(matches!(
            Catalogue::built_in().unwrap().extended(text),
            Err(CatalogueError::Contradiction(_))
        ));
    }

    #[test]
    fn the_latest_version_in_force_counts() {
        let catalogue = Catalogue::default()
            .extended(
                r#"{"providers":[{"slug":"p","name":"P","base_url":"https://p.example"}],
                "models":[{"slug":"m","released":"2026-01-01T00:00:00Z","routes":[{"provider":"p","provider_model_id":"m","prices":[
                {"effective_from":"2026-06-01T00:00:00Z","rates":{"input":"2","output":"2"}},
                {"effective_from":"2026-01-01T00:00:00Z","rates":{"input":"1","output":"1"}}]}]}]}"#,
            )
            .unwrap();
        let route = &catalogue.model("m").unwrap().routes[0];
        let at = |time: &str| route.prices_at(time.parse().unwrap());
        assert!(at("2025-12-31T00:00:00Z").is_empty());
        assert_eq!(
            at("2026-05-31T23:59:59Z")[0].rates.input,
            Some("1".parse().unwrap())
        );
        assert_eq!(
            at("2026-06-01T00:00:00Z")[0].rates.input,
            Some("2".parse().unwrap())
        );
    }
}
