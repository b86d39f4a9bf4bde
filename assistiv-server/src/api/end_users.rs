//! End users (`docs/api-design.md`).

use assistiv_core::clock::Timestamp;
use assistiv_core::id::{EndUserId, PlatformId};
use assistiv_core::json::RawObject;
use assistiv_core::store::{EndUserFilter, Upsert};
use assistiv_core::tenancy::{
    CreateEndUser, DeleteEndUser, EndUser, EndUserRef, ListEndUsers, ReadEndUser, UpdateEndUser,
};
use axum::extract::State;
use http::StatusCode;
use serde::Serialize;

use super::budgets::BudgetView;
use super::caller::OnPlatform;
use super::form::Form;
use super::keys::IssuedWithOwner;
use super::path::Named;
use super::query::Query;
use super::refusal::Handled;
use super::{ApiState, answer, field};

/// An end user on the wire.
#[derive(Serialize)]
pub(super) struct EndUserView<'a> {
    id: EndUserId,
    platform_id: PlatformId,
    external_id: &'a str,
    display_name: Option<&'a str>,
    metadata: &'a RawObject,
    is_active: bool,
    created_at: Timestamp,
    updated_at: Timestamp,
}

#[derive(Serialize)]
struct CreatedView<'a> {
    #[serde(flatten)]
    end_user: EndUserView<'a>,
    api_key: IssuedWithOwner<'a>,
    budget: Option<BudgetView<'a>>,
}

impl<'a> EndUserView<'a> {
    fn of(user: &'a EndUser) -> Self {
        Self {
            id: user.id,
            platform_id: user.platform_id,
            external_id: &user.external_id,
            display_name: user.display_name.as_deref(),
            metadata: &user.metadata,
            is_active: user.is_active,
            created_at: user.created_at,
            updated_at: user.updated_at,
        }
    }
}

/// `GET …/end-users`
pub(super) async fn list(
    State(state): State<ApiState>,
    on: OnPlatform,
    mut query: Query,
) -> Handled {
    let page = query.page();
    let filter = EndUserFilter {
        external_id: query.text("external_id"),
        query: query.text("q"),
        is_active: query.flag("is_active"),
    };
    query.finish()?;
    let listed = state
        .gateway
        .tenancy()
        .run(&on.principal, on.platform, ListEndUsers { filter, page })
        .await?;
    answer::list(&listed, page, EndUserView::of)
}

/// `POST …/end-users`
pub(super) async fn create(
    State(state): State<ApiState>,
    on: OnPlatform,
    mut form: Form,
) -> Handled {
    let external_id = form.required("external_id", field::text(255));
    let display_name = form.optional("display_name", field::text(100));
    let metadata = form
        .optional("metadata", field::user_metadata)
        .unwrap_or_default();
    let command = form.build(|| {
        Some(CreateEndUser {
            external_id: external_id?,
            display_name,
            metadata,
        })
    })?;
    let created = state
        .gateway
        .tenancy()
        .run(&on.principal, on.platform, command)
        .await?;
    let (status, user) = match &created.end_user {
        Upsert::Created(user) => (StatusCode::CREATED, user),
        Upsert::Existing(user) => (StatusCode::OK, user),
    };
    let view = CreatedView {
        end_user: EndUserView::of(user),
        api_key: IssuedWithOwner::of(&created.key, &created.raw_key),
        budget: created.budget.as_ref().map(BudgetView::of),
    };
    answer::secret(status, view)
}

/// `GET …/end-users/{endUserId}`
pub(super) async fn read(
    State(state): State<ApiState>,
    on: OnPlatform,
    Named(who): Named<EndUserRef>,
) -> Handled {
    let user = state
        .gateway
        .tenancy()
        .run(&on.principal, on.platform, ReadEndUser(who))
        .await?;
    answer::one(StatusCode::OK, EndUserView::of(&user))
}

/// `PATCH …/end-users/{endUserId}`
pub(super) async fn update(
    State(state): State<ApiState>,
    on: OnPlatform,
    Named(end_user): Named<EndUserRef>,
    mut form: Form,
) -> Handled {
    if form.has_any(&["external_id"]) {
        form.error("external_id", "cannot be changed");
    }
    let display_name = form.nullable("display_name", field::text(100));
    let metadata = form.nullable("metadata", field::user_metadata);
    let is_active = form.change("is_active", field::flag);
    let command = form.build(|| {
        Some(UpdateEndUser {
            end_user,
            display_name,
            metadata,
            is_active,
        })
    })?;
    let user = state
        .gateway
        .tenancy()
        .run(&on.principal, on.platform, command)
        .await?;
    answer::one(StatusCode::OK, EndUserView::of(&user))
}

/// `DELETE …/end-users/{endUserId}`
pub(super) async fn remove(
    State(state): State<ApiState>,
    on: OnPlatform,
    Named(who): Named<EndUserRef>,
) -> Handled {
    state
        .gateway
        .tenancy()
        .run(&on.principal, on.platform, DeleteEndUser(who))
        .await?;
    answer::none()
}
