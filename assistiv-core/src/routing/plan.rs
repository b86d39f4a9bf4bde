//! A plan: the targets that a call may be sent to, in order, and what it may cost at most.

use std::sync::Arc;

use super::catalogue::UpstreamApi;
use super::slug::{ModelSlug, ProviderSlug};
use crate::billing::{Estimate, Price};
use crate::call::LimitField;
use crate::id::{LlmConfigId, ModelId};
use crate::provider::{Credential, Registered};

/// One place that a call may be sent to.
#[derive(Clone)]
pub struct Target {
    pub(crate) provider: ProviderSlug,
    pub(crate) registered: Registered,
    pub(crate) base_url: Arc<str>,
    pub(crate) slug: ModelSlug,
    pub(crate) model_id: ModelId,
    pub(crate) upstream_model: Arc<str>,
    pub(crate) upstream_api: UpstreamApi,
    pub(crate) limit_field: LimitField,
    pub(crate) output_limit: Option<u64>,
    pub(crate) max_output_tokens: Option<u64>,
    pub(crate) prices: Arc<[Arc<Price>]>,
    pub(crate) config: Option<LlmConfigId>,
    pub(crate) credential: Option<Credential>,
}

/// Where a call may go and what it may cost.
#[derive(Clone, Debug)]
pub struct Plan {
    pub(crate) targets: Vec<Target>,
    pub(crate) estimate: Estimate,
}

// === impl Target ===

impl Target {
    /// The provider.
    pub fn provider(&self) -> &ProviderSlug {
        &self.provider
    }

    /// Where the provider is called, without a slash at the end.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// The LLM config whose key is used; `None` where the provider needs no key.
    pub fn config(&self) -> Option<LlmConfigId> {
        self.config
    }

    /// What the provider calls the model.
    pub fn upstream_model(&self) -> &str {
        &self.upstream_model
    }

    /// Which API of the provider serves the route.
    pub fn upstream_api(&self) -> UpstreamApi {
        self.upstream_api
    }

    /// What the caller calls the model; answers carry this name.
    pub fn slug(&self) -> &ModelSlug {
        &self.slug
    }

    /// The output limit to send, when it had to be lowered to what the caller can pay.
    pub fn output_limit(&self) -> Option<u64> {
        self.output_limit
    }

    /// The longest output of the model, for providers that want a limit in every request.
    pub fn max_output_tokens(&self) -> Option<u64> {
        self.max_output_tokens
    }

    /// The member in which an OpenAI-compatible provider takes an output limit.
    pub fn limit_field(&self) -> LimitField {
        self.limit_field
    }

    /// The price for a service tier as the provider reports it; `standard` where the tier has none.
    pub fn price(&self, tier: Option<&str>) -> &Arc<Price> {
        let priced = |tier: &str| self.prices.iter().find(|price| price.service_tier == tier);
        let tier = match tier {
            None | Some("default" | "auto") => "standard",
            Some(tier) => tier,
        };
        // A route without a price is never planned, so there is a first. `fast` is OpenAI's other word for
        // `priority`, and a tier of its own elsewhere.
        priced(tier)
            .or_else(|| priced("priority").filter(|_| tier == "fast"))
            .unwrap_or(&self.prices[0])
    }
}

/// For the tests of adapters.
#[cfg(any(test, feature = "testing"))]
impl Target {
    /// A target of a catalogue's model on its first route, without a credential.
    ///
    /// `None` when the model, its route or a price in force is missing.
    pub fn for_testing(
        catalogue: &super::Catalogue,
        model: &str,
        registered: Registered,
        at: crate::clock::Timestamp,
    ) -> Option<Self> {
        let model = catalogue.model(model)?;
        let route = model.routes.first()?;
        let prices = route.prices_at(at);
        (!prices.is_empty()).then_some(())?;
        Some(Self {
            provider: route.provider.clone(),
            registered,
            base_url: catalogue.provider(&route.provider)?.base_url.clone(),
            slug: model.slug.clone(),
            model_id: model.id(),
            upstream_model: route.provider_model_id.clone(),
            upstream_api: route.upstream_api,
            limit_field: route.limit_field(None),
            output_limit: None,
            max_output_tokens: model.max_output_tokens,
            prices: prices.into(),
            config: None,
            credential: None,
        })
    }
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Target")
            .field("provider", &self.provider)
            .field("upstream_model", &self.upstream_model)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

// === impl Plan ===

impl Plan {
    /// The targets, in the order in which they are tried.
    pub fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// What the call may cost at most.
    pub fn estimate(&self) -> &Estimate {
        &self.estimate
    }
}
