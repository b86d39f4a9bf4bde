//! Platforms (`docs/api-design.md`).

use assistiv_core::auth::Principal;
use assistiv_core::clock::Timestamp;
use assistiv_core::id::PlatformId;
use assistiv_core::json::RawObject;
use assistiv_core::store::PlatformFilter;
use assistiv_core::tenancy::{
    CreatePlatform, DeletePlatform, ListPlatforms, Platform, PlatformSettings, ReadPlatform,
    SwitchPlatform, UpdatePlatform,
};
use axum::extract::State;
use http::StatusCode;
use serde::Serialize;

use super::caller::{Manager, OnPlatform, Operator, OperatorOn};
use super::form::Form;
use super::keys::IssuedWithOwner;
use super::query::Query;
use super::refusal::Handled;
use super::wallets::WalletView;
use super::{ApiState, answer, field};

/// A platform on the wire.
#[derive(Serialize)]
pub(super) struct PlatformView<'a> {
    id: PlatformId,
    name: &'a str,
    slug: &'a str,
    settings: &'a RawObject,
    is_active: bool,
    /// Features that this version does not have are switched off on every platform.
    skills_enabled: bool,
    capabilities_enabled: bool,
    created_at: Timestamp,
    updated_at: Timestamp,
}

#[derive(Serialize)]
struct CreatedView<'a> {
    #[serde(flatten)]
    platform: PlatformView<'a>,
    api_key: IssuedWithOwner<'a>,
    wallet: WalletView<'a>,
}

impl<'a> PlatformView<'a> {
    fn of(platform: &'a Platform) -> Self {
        Self {
            id: platform.id,
            name: &platform.name,
            slug: platform.slug.as_str(),
            settings: platform.settings.as_object(),
            is_active: platform.is_active,
            skills_enabled: false,
            capabilities_enabled: false,
            created_at: platform.created_at,
            updated_at: platform.updated_at,
        }
    }
}

/// `POST /v1/admin/platforms`
pub(super) async fn create(
    State(state): State<ApiState>,
    Operator(principal): Operator,
    mut form: Form,
) -> Handled {
    let name = form.required("name", field::text(100));
    let slug = form.optional("slug", field::parsed);
    let settings = form.optional("settings", field::object).unwrap_or_default();
    let initial_balance = form
        .optional("initial_balance_usd", field::usd)
        .unwrap_or_default();
    form.errors(
        PlatformSettings::new(settings.clone())
            .err()
            .unwrap_or_default(),
    );
    let command = form.build(|| {
        Some(CreatePlatform {
            name: name?,
            slug,
            settings,
            initial_balance,
        })
    })?;
    let created = state.gateway.tenancy().run(&principal, (), command).await?;
    let view = CreatedView {
        platform: PlatformView::of(&created.platform),
        api_key: IssuedWithOwner::of(&created.key, &created.raw_key),
        wallet: WalletView::of(&created.wallet),
    };
    answer::secret(StatusCode::CREATED, view)
}

/// `GET /v1/admin/platforms`
pub(super) async fn admin_list(
    state: State<ApiState>,
    Operator(principal): Operator,
    query: Query,
) -> Handled {
    list_for(state, principal, query).await
}

/// `GET /v1/platforms`
pub(super) async fn list(
    state: State<ApiState>,
    Manager(principal): Manager,
    query: Query,
) -> Handled {
    list_for(state, principal, query).await
}

async fn list_for(
    State(state): State<ApiState>,
    principal: Principal,
    mut query: Query,
) -> Handled {
    let page = query.page();
    let filter = PlatformFilter {
        query: query.text("q"),
    };
    query.finish()?;
    let listed = state
        .gateway
        .tenancy()
        .run(&principal, (), ListPlatforms { filter, page })
        .await?;
    answer::list(&listed, page, PlatformView::of)
}

/// `GET /v1/platforms/{platformId}`
pub(super) async fn read(State(state): State<ApiState>, on: OnPlatform) -> Handled {
    let platform = state
        .gateway
        .tenancy()
        .run(&on.principal, on.platform, ReadPlatform)
        .await?;
    answer::one(StatusCode::OK, PlatformView::of(&platform))
}

/// `PATCH /v1/platforms/{platformId}`
pub(super) async fn update(
    State(state): State<ApiState>,
    on: OnPlatform,
    mut form: Form,
) -> Handled {
    let command = changes(&mut form);
    let command = form.build(|| Some(command))?;
    let platform = state
        .gateway
        .tenancy()
        .run(&on.principal, on.platform, command)
        .await?;
    answer::one(StatusCode::OK, PlatformView::of(&platform))
}

/// What a form changes of a platform, whoever sends it.
fn changes(form: &mut Form) -> UpdatePlatform {
    let name = form.change("name", field::text(100));
    let slug = form.change("slug", field::parsed);
    let settings = form.change("settings", field::object);
    // A null takes a key away, whatever it is; what is laid over the settings must be valid by itself.
    let laid_over = settings
        .clone()
        .map(|changes| PlatformSettings::default().merged(changes));
    form.errors(laid_over.and_then(Result::err).unwrap_or_default());
    UpdatePlatform {
        name,
        slug,
        settings,
    }
}

/// `DELETE /v1/platforms/{platformId}`
pub(super) async fn remove(State(state): State<ApiState>, on: OnPlatform) -> Handled {
    state
        .gateway
        .tenancy()
        .run(&on.principal, on.platform, DeletePlatform)
        .await?;
    answer::none()
}

/// `GET /v1/admin/platforms/{platformId}`
pub(super) async fn admin_read(state: State<ApiState>, OperatorOn(on): OperatorOn) -> Handled {
    read(state, on).await
}

/// `PATCH /v1/admin/platforms/{platformId}`
pub(super) async fn admin_update(
    State(state): State<ApiState>,
    OperatorOn(on): OperatorOn,
    mut form: Form,
) -> Handled {
    let command = changes(&mut form);
    let is_active = form.change("is_active", field::flag);
    let command = form.build(|| Some(command))?;
    let tenancy = state.gateway.tenancy();
    // The update comes first: it may be refused, and then the switch stays as it is.
    let mut platform = tenancy.run(&on.principal, on.platform, command).await?;
    if let Some(is_active) = is_active {
        let command = SwitchPlatform {
            platform: on.platform,
            is_active,
        };
        platform = tenancy.run(&on.principal, (), command).await?;
    }
    answer::one(StatusCode::OK, PlatformView::of(&platform))
}

/// `DELETE /v1/admin/platforms/{platformId}`
pub(super) async fn admin_remove(state: State<ApiState>, OperatorOn(on): OperatorOn) -> Handled {
    remove(state, on).await
}
