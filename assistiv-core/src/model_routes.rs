//! Model routes: what a platform changes of the catalogue for itself.
//!
//! The catalogue is the operator's. A platform may switch models and routes off, order the routes anew and give
//! models names of its own. All of a platform's overrides are one document that is replaced whole, so that
//! names can move from one model to another in one act.

mod commands;

pub use commands::{
    ListModelRoutes, ListedModelRoutes, ListedRoute, ModelRoutes, ReplaceModelRoutes,
};

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::auth::PlatformScope;
use crate::routing::{Catalogue, CatalogueModel, CatalogueRoute, ModelSlug, ProviderSlug};
use crate::store::StoreError;

/// What a platform changes of one model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelOverride {
    /// The slug of the model in the catalogue.
    pub model: ModelSlug,
    /// Whether the platform uses the model.
    pub is_enabled: bool,
    /// Names of the platform's own for the model.
    pub aliases: Vec<ModelSlug>,
    /// What it changes of single routes.
    pub routes: Vec<RouteOverride>,
}

/// What a platform changes of one route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteOverride {
    /// The route of the model that leads to this provider.
    pub provider: ProviderSlug,
    /// 0 to 10000, lower is tried first, and before every route without; `None` leaves the order to the keys and
    /// the operator.
    pub priority: Option<u16>,
    /// Whether the platform uses the route.
    pub is_enabled: bool,
}

/// The overrides of a platform.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    models: HashMap<ModelSlug, ModelOverride>,
    aliases: HashMap<ModelSlug, ModelSlug>,
}

/// Platforms' overrides.
#[async_trait]
pub trait ModelRouteStore: Send + Sync + 'static {
    /// The platform's overrides, in the order in which they were written.
    async fn overrides(&self, scope: &PlatformScope) -> Result<Vec<ModelOverride>, StoreError>;

    /// Replaces all of the platform's overrides, and tells other nodes.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when the platform is gone.
    async fn replace_overrides(
        &self,
        scope: &PlatformScope,
        overrides: &[ModelOverride],
    ) -> Result<(), StoreError>;
}

// === impl Overrides ===

impl Overrides {
    /// The overrides, to look up in.
    pub fn new(overrides: Vec<ModelOverride>) -> Self {
        let aliases = overrides.iter().flat_map(|of_model| {
            let names = of_model.aliases.iter();
            names.map(|alias| (alias.clone(), of_model.model.clone()))
        });
        Self {
            aliases: aliases.collect(),
            models: overrides
                .into_iter()
                .map(|of_model| (of_model.model.clone(), of_model))
                .collect(),
        }
    }

    /// The model that the platform calls `name`: by an alias of its own, then by the catalogue's names.
    pub fn model<'a>(
        &self,
        catalogue: &'a Catalogue,
        name: &str,
    ) -> Option<&'a Arc<CatalogueModel>> {
        let name = self.aliases.get(name).map_or(name, ModelSlug::as_str);
        catalogue.model(name)
    }

    /// The platform's own names of a model, in the order in which they were written.
    pub fn aliases(&self, model: &CatalogueModel) -> &[ModelSlug] {
        self.of(model).map_or(&[], |of_model| &of_model.aliases)
    }

    /// Whether the platform uses the model.
    pub fn enables(&self, model: &CatalogueModel) -> bool {
        self.of(model).is_none_or(|of_model| of_model.is_enabled)
    }

    /// Whether the platform uses a route of the model.
    pub fn enables_route(&self, model: &CatalogueModel, route: &CatalogueRoute) -> bool {
        self.of_route(model, route)
            .is_none_or(|of_route| of_route.is_enabled)
    }

    /// The priority that the platform gave a route of the model.
    pub fn priority(&self, model: &CatalogueModel, route: &CatalogueRoute) -> Option<u16> {
        self.of_route(model, route)?.priority
    }

    fn of(&self, model: &CatalogueModel) -> Option<&ModelOverride> {
        self.models.get(&model.slug)
    }

    fn of_route(&self, model: &CatalogueModel, route: &CatalogueRoute) -> Option<&RouteOverride> {
        let mut routes = self.of(model)?.routes.iter();
        routes.find(|of_route| of_route.provider == route.provider)
    }
}
