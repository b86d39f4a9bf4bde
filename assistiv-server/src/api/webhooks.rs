//! Webhooks and their deliveries (`docs/webhooks.md`).

use assistiv_core::clock::Timestamp;
use assistiv_core::events::EventType;
use assistiv_core::id::{DeliveryId, WebhookId};
use assistiv_core::webhooks::{
    CreateWebhook, DeleteWebhook, Delivery, DisabledReason, ListDeliveries, ListWebhooks,
    PingWebhook, ReadWebhook, ReplayDelivery, RevealWebhookSecret, RotateWebhookSecret,
    UpdateWebhook, Webhook, WebhookChanges, WebhookWithSecret,
};
use axum::extract::State;
use http::StatusCode;
use secrecy::ExposeSecret;
use serde::Serialize;

use super::caller::OnPlatform;
use super::form::Form;
use super::path::Named;
use super::query::Query;
use super::refusal::Handled;
use super::{ApiState, answer, field};

const DESCRIPTION_MAX: usize = 255;
const URL_MAX: usize = 2048;

#[derive(Serialize)]
struct WebhookView<'a> {
    id: WebhookId,
    url: &'a str,
    description: Option<&'a str>,
    event_types: &'a [EventType],
    is_active: bool,
    disabled_reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<&'a str>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

#[derive(Serialize)]
struct SecretView<'a> {
    secret: &'a str,
}

#[derive(Serialize)]
struct DeliveryView<'a> {
    id: DeliveryId,
    event_id: String,
    event_type: EventType,
    status: &'a str,
    response_status: Option<u16>,
    error: Option<&'a str>,
    attempt: u32,
    next_attempt_at: Option<Timestamp>,
    created_at: Timestamp,
}

impl<'a> WebhookView<'a> {
    fn of(webhook: &'a Webhook) -> Self {
        Self {
            id: webhook.id,
            url: &webhook.url,
            description: webhook.description.as_deref(),
            event_types: &webhook.event_types,
            is_active: webhook.is_active,
            disabled_reason: webhook.disabled_reason.map(DisabledReason::as_str),
            secret: None,
            created_at: webhook.created_at,
            updated_at: webhook.updated_at,
        }
    }

    fn with_secret(made: &'a WebhookWithSecret) -> Self {
        Self {
            secret: Some(made.secret.expose_secret()),
            ..Self::of(&made.webhook)
        }
    }
}

impl<'a> DeliveryView<'a> {
    fn of(delivery: &'a Delivery) -> Self {
        Self {
            id: delivery.id,
            event_id: delivery.event_id.to_string(),
            event_type: delivery.event_id.event_type(),
            status: delivery.status.as_str(),
            response_status: delivery.response_status,
            error: delivery.error.as_deref(),
            attempt: delivery.attempt,
            next_attempt_at: delivery.next_attempt_at,
            created_at: delivery.created_at,
        }
    }
}

/// `GET …/webhooks`
pub(super) async fn list(
    State(state): State<ApiState>,
    on: OnPlatform,
    mut query: Query,
) -> Handled {
    let page = query.page();
    query.finish()?;
    let webhooks = state.gateway.webhooks();
    let listed = webhooks
        .run(&on.principal, on.platform, ListWebhooks(page))
        .await?;
    answer::list(&listed, page, WebhookView::of)
}

/// `POST …/webhooks`
pub(super) async fn create(
    State(state): State<ApiState>,
    on: OnPlatform,
    mut form: Form,
) -> Handled {
    let url = form.required("url", field::text(URL_MAX));
    let event_types = form.optional("event_types", field::event_types);
    let description = form.optional("description", field::text(DESCRIPTION_MAX));
    let command = form.build(|| {
        Some(CreateWebhook {
            url: url?,
            event_types,
            description,
        })
    })?;
    let webhooks = state.gateway.webhooks();
    let made = webhooks.run(&on.principal, on.platform, command).await?;
    answer::secret(StatusCode::CREATED, WebhookView::with_secret(&made))
}

/// `GET …/webhooks/{webhookId}`
pub(super) async fn read(
    State(state): State<ApiState>,
    on: OnPlatform,
    Named(id): Named<WebhookId>,
) -> Handled {
    let webhooks = state.gateway.webhooks();
    let webhook = webhooks
        .run(&on.principal, on.platform, ReadWebhook(id))
        .await?;
    answer::one(StatusCode::OK, WebhookView::of(&webhook))
}

/// `PATCH …/webhooks/{webhookId}`
pub(super) async fn update(
    State(state): State<ApiState>,
    on: OnPlatform,
    Named(id): Named<WebhookId>,
    mut form: Form,
) -> Handled {
    let changes = WebhookChanges {
        url: form.change("url", field::text(URL_MAX)),
        description: form.nullable("description", field::text(DESCRIPTION_MAX)),
        event_types: form.change("event_types", field::event_types),
        is_active: form.change("is_active", field::flag),
    };
    let command = form.build(|| Some(UpdateWebhook { id, changes }))?;
    let webhooks = state.gateway.webhooks();
    let webhook = webhooks.run(&on.principal, on.platform, command).await?;
    answer::one(StatusCode::OK, WebhookView::of(&webhook))
}

/// `DELETE …/webhooks/{webhookId}`
pub(super) async fn remove(
    State(state): State<ApiState>,
    on: OnPlatform,
    Named(id): Named<WebhookId>,
) -> Handled {
    let webhooks = state.gateway.webhooks();
    webhooks
        .run(&on.principal, on.platform, DeleteWebhook(id))
        .await?;
    answer::none()
}

/// `GET …/webhooks/{webhookId}/secret`
pub(super) async fn secret(
    State(state): State<ApiState>,
    on: OnPlatform,
    Named(id): Named<WebhookId>,
) -> Handled {
    let webhooks = state.gateway.webhooks();
    let found = webhooks
        .run(&on.principal, on.platform, RevealWebhookSecret(id))
        .await?;
    let secret = found.secret.expose_secret();
    answer::secret(StatusCode::OK, SecretView { secret })
}

/// `POST …/webhooks/{webhookId}/rotate-secret`
pub(super) async fn rotate(
    State(state): State<ApiState>,
    on: OnPlatform,
    Named(id): Named<WebhookId>,
) -> Handled {
    let webhooks = state.gateway.webhooks();
    let rotated = webhooks
        .run(&on.principal, on.platform, RotateWebhookSecret(id))
        .await?;
    answer::secret(StatusCode::OK, WebhookView::with_secret(&rotated))
}

/// `POST …/webhooks/{webhookId}/test`
pub(super) async fn test(
    State(state): State<ApiState>,
    on: OnPlatform,
    Named(id): Named<WebhookId>,
) -> Handled {
    let webhooks = state.gateway.webhooks();
    let delivery = webhooks
        .run(&on.principal, on.platform, PingWebhook(id))
        .await?;
    answer::one(StatusCode::ACCEPTED, DeliveryView::of(&delivery))
}

/// `GET …/webhooks/{webhookId}/deliveries`
pub(super) async fn deliveries(
    State(state): State<ApiState>,
    on: OnPlatform,
    Named(id): Named<WebhookId>,
    mut query: Query,
) -> Handled {
    let page = query.page();
    query.finish()?;
    let webhooks = state.gateway.webhooks();
    let command = ListDeliveries { id, page };
    let listed = webhooks.run(&on.principal, on.platform, command).await?;
    answer::list(&listed, page, DeliveryView::of)
}

/// `POST …/webhooks/{webhookId}/deliveries/{deliveryId}/replay`
pub(super) async fn replay(
    State(state): State<ApiState>,
    on: OnPlatform,
    Named(id): Named<WebhookId>,
    Named(delivery): Named<DeliveryId>,
) -> Handled {
    let webhooks = state.gateway.webhooks();
    let command = ReplayDelivery { id, delivery };
    let delivery = webhooks.run(&on.principal, on.platform, command).await?;
    answer::one(StatusCode::ACCEPTED, DeliveryView::of(&delivery))
}
