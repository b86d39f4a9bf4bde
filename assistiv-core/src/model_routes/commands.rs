//! Commands on model routes.

use std::collections::HashSet;
use std::sync::Arc;

use super::{ModelOverride, ModelRouteStore};
use crate::auth::PlatformScope;
use crate::command::{Command, CommandError, all_valid};
use crate::error::{FieldError, Reason};
use crate::routing::{Catalogue, ModelSlug, ProviderSlug, Router};
use crate::store::{Listed, Page};

const OVERRIDES_MAX: usize = 500;
const PRIORITY_MAX: u16 = 10_000;

/// The domain of model routes.
pub struct ModelRoutes {
    pub(crate) store: Arc<dyn ModelRouteStore>,
    pub(crate) router: Router,
}

/// A model of the catalogue as the platform has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedModelRoutes {
    /// Its slug in the catalogue.
    pub model: ModelSlug,
    /// Whether the platform uses it.
    pub is_enabled: bool,
    /// The platform's own names of it.
    pub aliases: Vec<ModelSlug>,
    /// Whether a request for it would find a way.
    pub is_usable: bool,
    /// Its routes, in the order in which they are tried.
    pub routes: Vec<ListedRoute>,
}

/// A route of a model as the platform has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedRoute {
    /// Where it leads.
    pub provider: ProviderSlug,
    /// What the provider calls the model.
    pub provider_model_id: Arc<str>,
    /// Lower is tried first; the platform's, if it set one.
    pub priority: u16,
    /// Whether the platform set the priority.
    pub is_of_platform: bool,
    /// Whether the platform uses it.
    pub is_enabled: bool,
    /// Whether the platform has an active key that may serve the model; true where the provider needs none.
    pub has_key: bool,
    /// Whether a price is in force.
    pub has_price: bool,
}

/// Lists the models of the catalogue with their routes, by slug.
#[derive(Clone, Copy, Debug, Default)]
pub struct ListModelRoutes(pub Page);

/// Replaces all overrides of the platform.
#[derive(Clone, Debug)]
pub struct ReplaceModelRoutes {
    /// At most 500, one for a model. None removes all.
    pub overrides: Vec<ModelOverride>,
    /// Which page of the list is given back.
    pub page: Page,
}

impl Command<ModelRoutes> for ListModelRoutes {
    const NAME: &'static str = "list_model_routes";
    type Authority = PlatformScope;
    type Output = Listed<ListedModelRoutes>;

    async fn run(
        self,
        domain: &ModelRoutes,
        scope: PlatformScope,
    ) -> Result<Listed<ListedModelRoutes>, CommandError> {
        domain.list(&scope, self.0).await
    }
}

impl Command<ModelRoutes> for ReplaceModelRoutes {
    const NAME: &'static str = "replace_model_routes";
    type Authority = PlatformScope;
    type Output = Listed<ListedModelRoutes>;

    async fn run(
        self,
        domain: &ModelRoutes,
        scope: PlatformScope,
    ) -> Result<Listed<ListedModelRoutes>, CommandError> {
        let overrides = self.overrides;
        check(&overrides, &domain.router.catalogue())?;
        domain.store.replace_overrides(&scope, &overrides).await?;
        domain.router.forget(scope.platform_id());
        domain.list(&scope, self.page).await
    }
}

impl ModelRoutes {
    async fn list(
        &self,
        scope: &PlatformScope,
        page: Page,
    ) -> Result<Listed<ListedModelRoutes>, CommandError> {
        let models = self.router.model_routes(scope).await?;
        let offset = usize::try_from(page.offset()).unwrap_or(usize::MAX);
        Ok(Listed {
            total: models.len() as u64,
            rows: models
                .into_iter()
                .skip(offset)
                .take(page.limit as usize)
                .collect(),
        })
    }
}

/// All that is wrong with single fields is told at once; whose name is taken is told by itself.
fn check(overrides: &[ModelOverride], catalogue: &Catalogue) -> Result<(), CommandError> {
    let count = (overrides.len() > OVERRIDES_MAX).then(|| FieldError {
        param: "overrides".to_owned(),
        message: format!("must be at most {OVERRIDES_MAX}"),
    });
    let mut models = HashSet::new();
    let of_models = overrides.iter().enumerate().flat_map(|(index, of_model)| {
        let at = format!("overrides[{index}]");
        let again = !models.insert(&of_model.model);
        check_model(&at, of_model, again, catalogue)
    });
    all_valid(count.into_iter().chain(of_models))?;
    let mut names = HashSet::new();
    for alias in overrides.iter().flat_map(|of_model| &of_model.aliases) {
        let other = if catalogue
            .model(alias.as_str())
            .is_some_and(|m| m.slug == *alias)
        {
            "is a model of the catalogue"
        } else if !names.insert(alias) {
            "is given twice"
        } else {
            continue;
        };
        return Err(CommandError::refused(
            Reason::ALIAS_TAKEN,
            format!("the alias `{alias}` {other}; choose another name"),
        ));
    }
    Ok(())
}

fn check_model(
    at: &str,
    of_model: &ModelOverride,
    again: bool,
    catalogue: &Catalogue,
) -> Vec<FieldError> {
    let slug = &of_model.model;
    let wrong = |message: String| FieldError {
        param: format!("{at}.model"),
        message,
    };
    if again {
        return vec![wrong(format!("`{slug}` is given twice"))];
    }
    let Some(model) = catalogue.model(slug.as_str()).filter(|m| m.slug == *slug) else {
        return vec![wrong(format!("there is no model `{slug}`"))];
    };
    let mut providers = HashSet::new();
    let mut errors = Vec::new();
    for (index, of_route) in of_model.routes.iter().enumerate() {
        let provider = &of_route.provider;
        let (field, message) = if !providers.insert(provider) {
            ("provider", format!("`{provider}` is given twice"))
        } else if !model.routes.iter().any(|r| r.provider == *provider) {
            let message = format!("`{slug}` has no route to a provider `{provider}`");
            ("provider", message)
        } else if of_route.priority.is_some_and(|p| p > PRIORITY_MAX) {
            ("priority", format!("must be 0 to {PRIORITY_MAX}"))
        } else {
            continue;
        };
        errors.push(FieldError {
            param: format!("{at}.routes[{index}].{field}"),
            message,
        });
    }
    errors
}

impl std::fmt::Debug for ModelRoutes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ModelRoutes").finish_non_exhaustive()
    }
}
