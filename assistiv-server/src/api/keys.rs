//! API keys (`docs/api-design.md`).

use std::time::Duration;

use assistiv_core::auth::{KeyKind, PresentedKey};
use assistiv_core::clock::Timestamp;
use assistiv_core::id::{EndUserId, KeyId, PlatformId};
use assistiv_core::keys::{
    ApiKey, CreateKey, DeleteKey, IssuedKey, KeyOwner, ListKeys, RotateKeys, UpdateKey,
};
use assistiv_core::store::KeyFilter;
use assistiv_core::tenancy::EndUserRef;
use axum::extract::State;
use http::StatusCode;
use serde::Serialize;

use super::caller::OnPlatform;
use super::form::{Form, OptionalForm};
use super::path::Named;
use super::query::Query;
use super::refusal::Handled;
use super::{ApiState, answer, field};

/// A key on the wire: never its text, never its hash.
#[derive(Serialize)]
struct KeyView<'a> {
    id: KeyId,
    platform_id: Option<PlatformId>,
    r#type: &'static str,
    end_user_id: Option<EndUserId>,
    key_prefix: &'a str,
    name: &'a str,
    scopes: Vec<&'static str>,
    is_active: bool,
    last_used_at: Option<Timestamp>,
    expires_at: Option<Timestamp>,
    created_at: Timestamp,
}

/// A key that was just issued, with its text.
#[derive(Serialize)]
struct IssuedView<'a> {
    #[serde(flatten)]
    key: KeyView<'a>,
    raw_key: &'a str,
}

/// The first key of a platform or an end user, inside the answer that made both.
#[derive(Serialize)]
pub(super) struct IssuedWithOwner<'a> {
    id: KeyId,
    key_prefix: &'a str,
    name: &'a str,
    scopes: Vec<&'static str>,
    is_active: bool,
    expires_at: Option<Timestamp>,
    created_at: Timestamp,
    raw_key: &'a str,
}

impl<'a> KeyView<'a> {
    fn of(key: &'a ApiKey) -> Self {
        Self {
            id: key.id,
            platform_id: key.platform_id,
            r#type: match key.kind {
                KeyKind::Platform => "platform",
                KeyKind::EndUser => "end_user",
                KeyKind::Operator => "operator",
            },
            end_user_id: key.end_user_id,
            key_prefix: &key.key_prefix,
            name: &key.name,
            scopes: scopes(key),
            is_active: key.is_active,
            last_used_at: key.last_used_at,
            expires_at: key.expires_at,
            created_at: key.created_at,
        }
    }
}

impl<'a> IssuedWithOwner<'a> {
    /// Shows a key and its text.
    pub(super) fn of(key: &'a ApiKey, raw_key: &'a PresentedKey) -> Self {
        Self {
            id: key.id,
            key_prefix: &key.key_prefix,
            name: &key.name,
            scopes: scopes(key),
            is_active: key.is_active,
            expires_at: key.expires_at,
            created_at: key.created_at,
            raw_key: raw_key.reveal(),
        }
    }
}

fn scopes(key: &ApiKey) -> Vec<&'static str> {
    key.scopes.iter().map(|scope| scope.as_str()).collect()
}

/// `GET …/api-keys`
pub(super) async fn list(
    State(state): State<ApiState>,
    on: OnPlatform,
    mut query: Query,
) -> Handled {
    let page = query.page();
    let of_end_users = query.read("type", |text| match text {
        "platform" => Ok(false),
        "end_user" => Ok(true),
        _ => Err("must be `platform` or `end_user`".to_owned()),
    });
    let end_user_id = query.parsed("end_user_id");
    let is_active = query.flag("is_active");
    query.finish()?;
    let command = ListKeys {
        filter: KeyFilter {
            of_end_users: of_end_users.unwrap_or(false),
            end_user_id,
            is_active,
        },
        end_user: None,
        page,
    };
    let listed = state
        .gateway
        .keys()
        .run(&on.principal, on.platform, command)
        .await?;
    answer::list(&listed, page, KeyView::of)
}

/// `GET …/end-users/{endUserId}/api-keys`
pub(super) async fn list_of_end_user(
    State(state): State<ApiState>,
    on: OnPlatform,
    Named(end_user): Named<EndUserRef>,
    mut query: Query,
) -> Handled {
    let page = query.page();
    let is_active = query.flag("is_active");
    query.finish()?;
    let command = ListKeys {
        filter: KeyFilter {
            of_end_users: true,
            end_user_id: None,
            is_active,
        },
        end_user: Some(end_user),
        page,
    };
    let listed = state
        .gateway
        .keys()
        .run(&on.principal, on.platform, command)
        .await?;
    answer::list(&listed, page, KeyView::of)
}

/// `POST …/api-keys`
pub(super) async fn create(
    state: State<ApiState>,
    on: OnPlatform,
    OptionalForm(form): OptionalForm,
) -> Handled {
    create_for(state, on, KeyOwner::Platform, form).await
}

/// `POST …/end-users/{endUserId}/api-keys`
pub(super) async fn create_for_end_user(
    state: State<ApiState>,
    on: OnPlatform,
    Named(end_user): Named<EndUserRef>,
    OptionalForm(form): OptionalForm,
) -> Handled {
    create_for(state, on, KeyOwner::EndUser(end_user), form).await
}

/// `POST …/end-users/{endUserId}/api-keys/rotate`
pub(super) async fn rotate_of_end_user(
    State(state): State<ApiState>,
    on: OnPlatform,
    Named(end_user): Named<EndUserRef>,
    OptionalForm(mut form): OptionalForm,
) -> Handled {
    let grace = form.optional("grace_seconds", field::integer(0, 86_400));
    let new = new_key(&mut form, KeyOwner::EndUser(end_user));
    let command = form.build(|| {
        Some(RotateKeys {
            new,
            grace: Duration::from_secs(grace.unwrap_or_default().unsigned_abs()),
        })
    })?;
    let issued = state
        .gateway
        .keys()
        .run(&on.principal, on.platform, command)
        .await?;
    shown_once(&issued)
}

async fn create_for(
    State(state): State<ApiState>,
    on: OnPlatform,
    owner: KeyOwner,
    mut form: Form,
) -> Handled {
    let new = new_key(&mut form, owner);
    let command = form.build(|| Some(new))?;
    let issued = state
        .gateway
        .keys()
        .run(&on.principal, on.platform, command)
        .await?;
    shown_once(&issued)
}

fn new_key(form: &mut Form, owner: KeyOwner) -> CreateKey {
    CreateKey {
        owner,
        name: form.optional("name", field::text(100)),
        scopes: form.optional("scopes", field::scopes),
        expires_at: form.optional("expires_at", field::parsed),
    }
}

fn shown_once(issued: &IssuedKey) -> Handled {
    let view = IssuedView {
        key: KeyView::of(&issued.key),
        raw_key: issued.raw_key.reveal(),
    };
    answer::secret(StatusCode::CREATED, view)
}

/// `PATCH …/api-keys/{keyId}`
pub(super) async fn update(
    State(state): State<ApiState>,
    on: OnPlatform,
    Named(id): Named<KeyId>,
    mut form: Form,
) -> Handled {
    let name = form.change("name", field::text(100));
    let is_active = form.change("is_active", field::flag);
    let expires_at = form.nullable("expires_at", field::parsed);
    let command = form.build(|| {
        Some(UpdateKey {
            id,
            name,
            is_active,
            expires_at,
        })
    })?;
    let key = state
        .gateway
        .keys()
        .run(&on.principal, on.platform, command)
        .await?;
    answer::one(StatusCode::OK, KeyView::of(&key))
}

/// `DELETE …/api-keys/{keyId}`
pub(super) async fn remove(
    State(state): State<ApiState>,
    on: OnPlatform,
    Named(id): Named<KeyId>,
) -> Handled {
    state
        .gateway
        .keys()
        .run(&on.principal, on.platform, DeleteKey { id, end_user: None })
        .await?;
    answer::none()
}

/// `DELETE …/end-users/{endUserId}/api-keys/{keyId}`
pub(super) async fn remove_of_end_user(
    State(state): State<ApiState>,
    on: OnPlatform,
    Named(end_user): Named<EndUserRef>,
    Named(id): Named<KeyId>,
) -> Handled {
    let command = DeleteKey {
        id,
        end_user: Some(end_user),
    };
    state
        .gateway
        .keys()
        .run(&on.principal, on.platform, command)
        .await?;
    answer::none()
}
