//! LLM configs (`docs/api-design.md`).

use assistiv_core::clock::Timestamp;
use assistiv_core::error::Reason;
use assistiv_core::id::{LlmConfigId, PlatformId, ProviderId};
use assistiv_core::llm_configs::{
    CreateLlmConfig, DeleteLlmConfig, ListLlmConfigs, LlmConfig, ReadLlmConfig, UpdateLlmConfig,
};
use assistiv_core::routing::{Catalogue, ModelSlug, ProviderSlug};
use assistiv_core::store::{Listed, LlmConfigFilter};
use axum::extract::State;
use http::StatusCode;
use serde::Serialize;

use super::caller::OnPlatform;
use super::form::Form;
use super::path::Named;
use super::query::Query;
use super::refusal::{Handled, Refusal};
use super::{ApiState, answer, field};

const API_KEY_MAX: usize = 4096;
const NAME_MAX: usize = 100;
const PRIORITY_DEFAULT: u16 = 100;
const PRIORITY_MAX: u16 = 10_000;

/// A config on the wire: nothing of the provider's key, not even its length.
#[derive(Serialize)]
struct ConfigView<'a> {
    id: LlmConfigId,
    platform_id: PlatformId,
    /// Null when the catalogue has lost the provider.
    provider_id: Option<ProviderId>,
    provider: &'a ProviderSlug,
    name: Option<&'a str>,
    priority: u16,
    models: Option<&'a [ModelSlug]>,
    /// No provider takes base URLs of platforms.
    base_url: Option<&'a str>,
    is_default: bool,
    is_active: bool,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl<'a> ConfigView<'a> {
    fn of(config: &'a LlmConfig, catalogue: &Catalogue) -> Self {
        Self {
            id: config.id,
            platform_id: config.platform_id,
            provider_id: catalogue
                .provider(&config.provider)
                .map(|provider| provider.id()),
            provider: &config.provider,
            name: config.name.as_deref(),
            priority: config.priority,
            models: config.models.as_deref(),
            base_url: None,
            is_default: config.is_default,
            is_active: config.is_active,
            created_at: config.created_at,
            updated_at: config.updated_at,
        }
    }
}

/// `GET …/llm-configs`
pub(super) async fn list(
    State(state): State<ApiState>,
    on: OnPlatform,
    mut query: Query,
) -> Handled {
    let page = query.page();
    let provider_id: Option<ProviderId> = query.parsed("provider_id");
    let is_active = query.flag("is_active");
    query.finish()?;
    let catalogue = state.gateway.router().catalogue();
    let provider = provider_id.map(|id| slug_of(id, &catalogue));
    if let Some(None) = provider {
        // There is no config for a provider that nobody knows.
        let none = Listed {
            rows: Vec::new(),
            total: 0,
        };
        return answer::list(&none, page, |config| ConfigView::of(config, &catalogue));
    }
    let filter = LlmConfigFilter {
        provider: provider.flatten(),
        is_active,
    };
    let listed = state
        .gateway
        .llm_configs()
        .run(&on.principal, on.platform, ListLlmConfigs { filter, page })
        .await?;
    answer::list(&listed, page, |config| ConfigView::of(config, &catalogue))
}

/// `POST …/llm-configs`
pub(super) async fn create(
    State(state): State<ApiState>,
    on: OnPlatform,
    mut form: Form,
) -> Handled {
    refuse_base_url(&mut form)?;
    let catalogue = state.gateway.router().catalogue();
    let provider = provider(&mut form, &catalogue);
    let api_key = form.required("api_key", field::text(API_KEY_MAX));
    let name = form.optional("name", field::text(NAME_MAX));
    let priority = form
        .optional("priority", priority)
        .unwrap_or(PRIORITY_DEFAULT);
    let models = form.optional("models", field::models);
    let is_default = form.optional("is_default", field::flag).unwrap_or(false);
    let command = form.build(|| {
        let (provider, api_key) = (provider?, api_key?.into());
        Some(CreateLlmConfig {
            provider,
            api_key,
            name,
            priority,
            models,
            is_default,
        })
    })?;
    let config = state
        .gateway
        .llm_configs()
        .run(&on.principal, on.platform, command)
        .await?;
    answer::one(StatusCode::CREATED, ConfigView::of(&config, &catalogue))
}

/// `GET …/llm-configs/{configId}`
pub(super) async fn read(
    State(state): State<ApiState>,
    on: OnPlatform,
    Named(id): Named<LlmConfigId>,
) -> Handled {
    let config = state
        .gateway
        .llm_configs()
        .run(&on.principal, on.platform, ReadLlmConfig(id))
        .await?;
    answer::one(
        StatusCode::OK,
        ConfigView::of(&config, &state.gateway.router().catalogue()),
    )
}

/// `PATCH …/llm-configs/{configId}`
pub(super) async fn update(
    State(state): State<ApiState>,
    on: OnPlatform,
    Named(id): Named<LlmConfigId>,
    mut form: Form,
) -> Handled {
    refuse_base_url(&mut form)?;
    let api_key = form
        .change("api_key", field::text(API_KEY_MAX))
        .map(Into::into);
    let name = form.nullable("name", field::text(NAME_MAX));
    let priority = form.change("priority", priority);
    let models = form.nullable("models", field::models);
    let is_default = form.change("is_default", field::flag);
    let is_active = form.change("is_active", field::flag);
    let command = form.build(|| {
        Some(UpdateLlmConfig {
            id,
            api_key,
            name,
            priority,
            models,
            is_default,
            is_active,
        })
    })?;
    let config = state
        .gateway
        .llm_configs()
        .run(&on.principal, on.platform, command)
        .await?;
    answer::one(
        StatusCode::OK,
        ConfigView::of(&config, &state.gateway.router().catalogue()),
    )
}

/// `DELETE …/llm-configs/{configId}`
pub(super) async fn remove(
    State(state): State<ApiState>,
    on: OnPlatform,
    Named(id): Named<LlmConfigId>,
) -> Handled {
    state
        .gateway
        .llm_configs()
        .run(&on.principal, on.platform, DeleteLlmConfig(id))
        .await?;
    answer::none()
}

/// The provider that the form names, by slug or by id; both must agree.
fn provider(form: &mut Form, catalogue: &Catalogue) -> Option<ProviderSlug> {
    if !form.has_any(&["provider", "provider_id"]) {
        form.error("provider", "is required, or `provider_id`");
        return None;
    }
    let unknown = || "is not a provider of this gateway".to_owned();
    let by_slug = form.optional("provider", |json| {
        let slug = field::parsed(json)?;
        catalogue.provider(&slug).map(|_| slug).ok_or_else(unknown)
    });
    let by_id = form.optional("provider_id", |json| {
        slug_of(field::parsed(json)?, catalogue).ok_or_else(unknown)
    });
    if by_slug.is_some() && by_id.is_some() && by_slug != by_id {
        form.error("provider_id", "names another provider than `provider`");
    }
    by_slug.or(by_id)
}

fn slug_of(id: ProviderId, catalogue: &Catalogue) -> Option<ProviderSlug> {
    let mut providers = catalogue.providers();
    let found = providers.find(|provider| provider.id() == id)?;
    Some(found.slug.clone())
}

fn priority(json: &str) -> field::Read<u16> {
    let value = field::integer(0, i64::from(PRIORITY_MAX))(json)?;
    Ok(u16::try_from(value).unwrap_or(PRIORITY_MAX))
}

/// A base URL sends provider keys somewhere else, so it needs the operator's leave for the provider, and no
/// provider has it.
fn refuse_base_url(form: &mut Form) -> Result<(), Refusal> {
    match form.optional("base_url", |_| Ok(())) {
        None => Ok(()),
        Some(()) => Err(Refusal::new(
            Reason::BASE_URL_NOT_ALLOWED,
            "this provider does not allow another `base_url`",
        )),
    }
}
