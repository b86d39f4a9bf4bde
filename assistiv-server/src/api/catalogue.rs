//! The catalogue: providers, models and the routes between them (`docs/routing.md`). It is a file of the operator's.

use assistiv_core::clock::{Clock, SystemClock, Timestamp};
use assistiv_core::error::Reason;
use assistiv_core::id::{ModelId, PriceId, ProviderId};
use assistiv_core::routing::{
    Catalogue, CatalogueModel, CatalogueProvider, CatalogueRoute, ModelMode, ModelSlug,
    ProviderSlug, UpstreamApi,
};
use assistiv_core::store::{Listed, Page};
use axum::extract::{Path, State};
use http::StatusCode;
use serde::Serialize;
use uuid::Uuid;

use super::caller::{Manager, Operator};
use super::query::Query;
use super::refusal::{Handled, Refusal};
use super::{ApiState, answer};

#[derive(Serialize)]
struct ProviderView<'a> {
    id: ProviderId,
    slug: &'a ProviderSlug,
    name: &'a str,
    /// Platforms do not see it.
    #[serde(skip_serializing_if = "Option::is_none")]
    base_url: Option<&'a str>,
    allow_custom_base_url: bool,
    is_active: bool,
}

#[derive(Serialize)]
struct ModelView<'a> {
    id: ModelId,
    slug: &'a ModelSlug,
    aliases: &'a [ModelSlug],
    mode: &'static str,
    context_window: Option<u64>,
    max_output_tokens: Option<u64>,
    min_output_tokens: Option<u64>,
    upstream_api: &'static str,
    is_active: bool,
    released: Timestamp,
}

#[derive(Serialize)]
struct RouteView<'a> {
    id: Uuid,
    model_id: ModelId,
    provider_id: ProviderId,
    provider_model_id: &'a str,
    priority: u16,
    is_enabled: bool,
    /// The version that is in force now; a route without one is never called.
    price_id: Option<PriceId>,
}

/// `GET /v1/admin/providers`
pub(super) async fn providers(
    State(state): State<ApiState>,
    Manager(principal): Manager,
    mut query: Query,
) -> Handled {
    let page = query.page();
    query.finish()?;
    let is_operator = principal.operate().is_ok();
    let catalogue = state.gateway.router().catalogue();
    let mut all: Vec<_> = catalogue.providers().collect();
    all.sort_by_key(|provider| &provider.slug);
    answer::list(&part(all, page), page, |provider| {
        ProviderView::of(provider, is_operator)
    })
}

/// `GET /v1/admin/providers/{providerId}`
pub(super) async fn provider(
    State(state): State<ApiState>,
    _: Operator,
    Path(id): Path<String>,
) -> Handled {
    let catalogue = state.gateway.router().catalogue();
    let mut all = catalogue.providers();
    let provider = all.find(|provider| provider.id().to_string() == id);
    let provider = provider.ok_or_else(|| unknown("provider"))?;
    answer::one(StatusCode::OK, ProviderView::of(provider, true))
}

/// `GET /v1/admin/models`
pub(super) async fn models(State(state): State<ApiState>, _: Manager, mut query: Query) -> Handled {
    let page = query.page();
    query.finish()?;
    let catalogue = state.gateway.router().catalogue();
    answer::list(&part(by_slug(&catalogue), page), page, |model| {
        ModelView::of(model)
    })
}

/// `GET /v1/admin/models/{modelId}`
pub(super) async fn model(
    State(state): State<ApiState>,
    _: Operator,
    Path(id): Path<String>,
) -> Handled {
    let catalogue = state.gateway.router().catalogue();
    let id = id.parse().map_err(|_| unknown("model"))?;
    let model = catalogue.model_by_id(id).ok_or_else(|| unknown("model"))?;
    answer::one(StatusCode::OK, ModelView::of(model))
}

/// `GET /v1/admin/model-provider-configs`
pub(super) async fn routes(
    State(state): State<ApiState>,
    _: Operator,
    mut query: Query,
) -> Handled {
    let page = query.page();
    query.finish()?;
    let catalogue = state.gateway.router().catalogue();
    let now = SystemClock.now();
    let all: Vec<_> = by_slug(&catalogue)
        .into_iter()
        .flat_map(|model| model.routes.iter().map(move |route| (model, route)))
        .collect();
    answer::list(&part(all, page), page, |(model, route)| {
        RouteView::of(&catalogue, model, route, now)
    })
}

fn by_slug(catalogue: &Catalogue) -> Vec<&CatalogueModel> {
    let mut all: Vec<_> = catalogue.models().map(|model| &**model).collect();
    all.sort_by_key(|model| &model.slug);
    all
}

/// One page of all rows.
fn part<T>(all: Vec<T>, page: Page) -> Listed<T> {
    let total = all.len() as u64;
    let before = usize::try_from(page.offset()).unwrap_or(usize::MAX);
    let rows = all.into_iter().skip(before).take(page.limit as usize);
    Listed {
        rows: rows.collect(),
        total,
    }
}

fn unknown(what: &str) -> Refusal {
    Refusal::new(Reason::NOT_FOUND, format!("there is no such {what}"))
}

// === impl ProviderView ===

impl<'a> ProviderView<'a> {
    fn of(provider: &'a CatalogueProvider, is_operator: bool) -> Self {
        Self {
            id: provider.id(),
            slug: &provider.slug,
            name: &provider.name,
            base_url: is_operator.then_some(&provider.base_url),
            allow_custom_base_url: false,
            is_active: true,
        }
    }
}

// === impl ModelView ===

impl<'a> ModelView<'a> {
    fn of(model: &'a CatalogueModel) -> Self {
        let api = model.routes.first().map(|route| route.upstream_api);
        Self {
            id: model.id(),
            slug: &model.slug,
            aliases: &model.aliases,
            mode: match model.mode {
                ModelMode::Chat => "chat",
                ModelMode::Embedding => "embedding",
            },
            context_window: model.context_window,
            max_output_tokens: model.max_output_tokens,
            min_output_tokens: model.min_output_tokens,
            upstream_api: match api.unwrap_or_default() {
                UpstreamApi::Chat => "chat",
                UpstreamApi::Responses => "responses",
            },
            is_active: true,
            released: model.released,
        }
    }
}

// === impl RouteView ===

impl<'a> RouteView<'a> {
    fn of(
        catalogue: &Catalogue,
        model: &CatalogueModel,
        route: &'a CatalogueRoute,
        now: Timestamp,
    ) -> Self {
        let provider = catalogue.provider(&route.provider);
        let prices = route.prices_at(now);
        let standard = prices.iter().find(|price| price.service_tier == "standard");
        let id = model.id().as_uuid();
        Self {
            id: Uuid::new_v5(&id, route.provider.as_str().as_bytes()),
            model_id: model.id(),
            provider_id: provider
                .map_or_else(|| ProviderId::from_uuid(Uuid::nil()), CatalogueProvider::id),
            provider_model_id: &route.provider_model_id,
            priority: route.priority,
            is_enabled: true,
            price_id: standard.map(|price| price.id),
        }
    }
}
