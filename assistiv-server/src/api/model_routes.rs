//! A platform's own routes (`docs/routing.md`).

use assistiv_core::model_routes::{
    ListModelRoutes, ListedModelRoutes, ListedRoute, ModelOverride, ReplaceModelRoutes,
    RouteOverride,
};
use assistiv_core::routing::{ModelSlug, ProviderSlug};
use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::caller::OnPlatform;
use super::field::Read;
use super::form::Form;
use super::query::Query;
use super::refusal::Handled;
use super::{ApiState, answer};

#[derive(Serialize)]
struct ModelView<'a> {
    model: &'a ModelSlug,
    is_enabled: bool,
    aliases: &'a [ModelSlug],
    usable: bool,
    routes: Vec<RouteView<'a>>,
}

#[derive(Serialize)]
struct RouteView<'a> {
    provider: &'a ProviderSlug,
    provider_model_id: &'a str,
    priority: u16,
    source: &'static str,
    is_enabled: bool,
    has_key: bool,
    has_price: bool,
}

#[derive(Deserialize)]
struct ModelBody {
    model: ModelSlug,
    is_enabled: Option<bool>,
    aliases: Option<Vec<ModelSlug>>,
    routes: Option<Vec<RouteBody>>,
}

#[derive(Deserialize)]
struct RouteBody {
    provider: ProviderSlug,
    priority: Option<u16>,
    is_enabled: Option<bool>,
}

impl<'a> ModelView<'a> {
    fn of(model: &'a ListedModelRoutes) -> Self {
        Self {
            model: &model.model,
            is_enabled: model.is_enabled,
            aliases: &model.aliases,
            usable: model.is_usable,
            routes: model.routes.iter().map(RouteView::of).collect(),
        }
    }
}

impl<'a> RouteView<'a> {
    fn of(route: &'a ListedRoute) -> Self {
        Self {
            provider: &route.provider,
            provider_model_id: &route.provider_model_id,
            priority: route.priority,
            source: if route.is_of_platform {
                "platform"
            } else {
                "operator"
            },
            is_enabled: route.is_enabled,
            has_key: route.has_key,
            has_price: route.has_price,
        }
    }
}

impl From<ModelBody> for ModelOverride {
    fn from(body: ModelBody) -> Self {
        let routes = body.routes.unwrap_or_default();
        Self {
            model: body.model,
            is_enabled: body.is_enabled.unwrap_or(true),
            aliases: body.aliases.unwrap_or_default(),
            routes: routes.into_iter().map(RouteOverride::from).collect(),
        }
    }
}

impl From<RouteBody> for RouteOverride {
    fn from(body: RouteBody) -> Self {
        Self {
            provider: body.provider,
            priority: body.priority,
            is_enabled: body.is_enabled.unwrap_or(true),
        }
    }
}

/// `GET …/model-routes`
pub(super) async fn list(
    State(state): State<ApiState>,
    on: OnPlatform,
    mut query: Query,
) -> Handled {
    let page = query.page();
    query.finish()?;
    let routes = state.gateway.model_routes();
    let listed = routes
        .run(&on.principal, on.platform, ListModelRoutes(page))
        .await?;
    answer::list(&listed, page, ModelView::of)
}

/// `PUT …/model-routes`
pub(super) async fn replace(
    State(state): State<ApiState>,
    on: OnPlatform,
    mut query: Query,
    mut form: Form,
) -> Handled {
    let page = query.page();
    query.finish()?;
    let overrides = form.required("overrides", overrides);
    let command = form.build(|| {
        Some(ReplaceModelRoutes {
            overrides: overrides?,
            page,
        })
    })?;
    let routes = state.gateway.model_routes();
    let listed = routes.run(&on.principal, on.platform, command).await?;
    answer::list(&listed, page, ModelView::of)
}

fn overrides(json: &str) -> Read<Vec<ModelOverride>> {
    let bodies: Vec<ModelBody> =
        serde_json::from_str(json).map_err(|error| format!("is no list of overrides: {error}"))?;
    Ok(bodies.into_iter().map(ModelOverride::from).collect())
}
