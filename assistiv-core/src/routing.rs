//! Where a call may go and what it may cost: catalogue, prices in force, plan.

mod catalogue;
mod estimate;
mod health;
mod layer;
mod listing;
mod plan;
mod platform;
mod slug;

pub use catalogue::{
    Catalogue, CatalogueError, CatalogueModel, CatalogueProvider, CatalogueRoute, ModelMode,
    UpstreamApi,
};
pub(crate) use health::{Health, Retries};
pub use layer::{PlanCalls, PlanLayer};
pub use listing::ListedModel;
pub use plan::{Plan, Target};
pub use platform::Router;
pub use slug::{ModelSlug, ProviderSlug, SlugError};

use crate::store::StoreError;

/// Why a call has no way to go.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// The model is unknown, or not usable on this platform.
    #[error(
        "the model `{model}` does not exist or is not available to this platform{}",
        hint(suggestion)
    )]
    ModelNotFound {
        /// What was asked for, cut to a sensible length.
        model: String,
        /// The nearest slug that would work.
        suggestion: Option<ModelSlug>,
    },
    /// There are routes, but none has a price in force.
    #[error("the model `{model}` has no price in force")]
    PricingMissing {
        /// Which model.
        model: ModelSlug,
    },
    /// The model does not serve this endpoint.
    #[error("the model `{model}` does not serve this endpoint; it is a model for {mode}")]
    UnsupportedEndpoint {
        /// Which model.
        model: ModelSlug,
        /// What it is for.
        mode: &'static str,
    },
    /// The model takes no output limit this small.
    #[error("`{param}` must be at least {min} for this model")]
    OutputLimitTooSmall {
        /// The member that holds the limit.
        param: &'static str,
        /// The smallest limit.
        min: u64,
    },
    /// The prompt cannot fit.
    #[error("the prompt of about {tokens} tokens is longer than the {limit} that the model takes")]
    ContextLength {
        /// The prompt as estimated, leaning low.
        tokens: u64,
        /// What the model takes.
        limit: u64,
    },
    /// The platform's provider key cannot be opened.
    #[error("this platform's provider key cannot be read; set it anew in the LLM config")]
    Secret,
    /// The platform's configs could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn hint(suggestion: &Option<ModelSlug>) -> String {
    suggestion
        .as_ref()
        .map_or_else(String::new, |slug| format!("; did you mean `{slug}`?"))
}
