//! What a platform can call: its models for `/v1/models`, and every model of the catalogue with its routes.

use super::PlanError;
use super::catalogue::{CatalogueModel, CatalogueRoute, ModelMode};
use super::platform::{Candidate, Own, Router};
use super::slug::{ModelSlug, ProviderSlug};
use crate::auth::PlatformScope;
use crate::call::Operation;
use crate::clock::Timestamp;
use crate::model_routes::{ListedModelRoutes, ListedRoute};
use crate::store::StoreError;

/// A model that a platform can use, for lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedModel {
    /// What requests call it.
    pub slug: ModelSlug,
    /// When it came out.
    pub released: Timestamp,
    /// The provider that is tried first.
    pub owned_by: ProviderSlug,
}

// === impl Router ===

impl Router {
    /// The models that the platform can use, by slug; aliases are entries of their own.
    ///
    /// # Errors
    /// When the platform's configs cannot be read.
    pub async fn models(&self, scope: &PlatformScope) -> Result<Vec<ListedModel>, StoreError> {
        let catalogue = self.catalogue();
        let own = self.own(scope).await?;
        let now = self.now();
        let mut listed = Vec::new();
        for model in catalogue.models() {
            let Some(entry) = self.listed(model, &own, now) else {
                continue;
            };
            let aliases = own.overrides.aliases(model).iter();
            listed.extend(aliases.map(|alias| ListedModel {
                slug: alias.clone(),
                ..entry.clone()
            }));
            listed.push(entry);
        }
        listed.sort_by(|a, b| a.slug.cmp(&b.slug));
        Ok(listed)
    }

    /// One model by slug or alias, if the platform can use it. An answer carries the name that was asked for.
    ///
    /// # Errors
    /// [`PlanError::ModelNotFound`]; or when the platform's configs cannot be read.
    pub async fn model(&self, scope: &PlatformScope, name: &str) -> Result<ListedModel, PlanError> {
        let catalogue = self.catalogue();
        let own = self.own(scope).await?;
        let model = own.overrides.model(&catalogue, name);
        let listed = model.and_then(|model| self.listed(model, &own, self.now()));
        let slug = name.parse::<ModelSlug>().ok();
        match (listed, slug) {
            (Some(listed), Some(slug)) => Ok(ListedModel { slug, ..listed }),
            _ => Err(self.not_found(&catalogue, name)),
        }
    }

    /// Every model of the catalogue as the platform has it, by slug.
    ///
    /// # Errors
    /// When the platform's configs or overrides cannot be read.
    pub(crate) async fn model_routes(
        &self,
        scope: &PlatformScope,
    ) -> Result<Vec<ListedModelRoutes>, StoreError> {
        let catalogue = self.catalogue();
        let own = self.own(scope).await?;
        let now = self.now();
        let mut models: Vec<_> = catalogue
            .models()
            .map(|model| self.listed_routes(model, &own, now))
            .collect();
        models.sort_by(|a, b| a.model.cmp(&b.model));
        Ok(models)
    }

    fn listed(&self, model: &CatalogueModel, own: &Own, now: Timestamp) -> Option<ListedModel> {
        let usable = |c: &Candidate<'_>| !c.is_sealed() && !c.route.prices_at(now).is_empty();
        let mut candidates = self.candidates(model, own, operation_of(model));
        candidates.retain(usable);
        let first = candidates
            .iter()
            .min_by_key(|candidate| candidate.order())?;
        let owned_by = first.route.provider.clone();
        Some(ListedModel {
            slug: model.slug.clone(),
            released: model.released,
            owned_by,
        })
    }

    /// What the platform makes of a model, also of the routes that it has no key for: those come last.
    fn listed_routes(
        &self,
        model: &CatalogueModel,
        own: &Own,
        now: Timestamp,
    ) -> ListedModelRoutes {
        let mut candidates = self.candidates(model, own, operation_of(model));
        candidates.sort_by_key(Candidate::order);
        let tried = |route: &CatalogueRoute| {
            let is_same = |candidate: &Candidate<'_>| std::ptr::eq(candidate.route, route);
            candidates.iter().position(is_same).unwrap_or(usize::MAX)
        };
        let mut routes: Vec<&CatalogueRoute> = model.routes.iter().collect();
        routes.sort_by_key(|route| (tried(route), route.priority));
        let listed = |route: &CatalogueRoute| {
            let priority = own.overrides.priority(model, route);
            let registered = self.registered(&route.provider);
            ListedRoute {
                provider: route.provider.clone(),
                provider_model_id: route.provider_model_id.clone(),
                priority: priority.unwrap_or(route.priority),
                is_of_platform: priority.is_some(),
                is_enabled: own.overrides.enables_route(model, route),
                has_key: registered.is_some_and(|registered| !registered.needs_credential)
                    || own.keys_for(model, route).next().is_some(),
                has_price: !route.prices_at(now).is_empty(),
            }
        };
        ListedModelRoutes {
            model: model.slug.clone(),
            is_enabled: own.overrides.enables(model),
            aliases: own.overrides.aliases(model).to_vec(),
            is_usable: self.listed(model, own, now).is_some(),
            routes: routes.into_iter().map(listed).collect(),
        }
    }
}

fn operation_of(model: &CatalogueModel) -> Operation {
    match model.mode {
        ModelMode::Chat => Operation::ChatCompletions,
        ModelMode::Embedding => Operation::Embeddings,
    }
}
