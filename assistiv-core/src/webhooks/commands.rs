//! Commands on webhooks.

use std::sync::Arc;

use secrecy::SecretString;
use uuid::Uuid;

use super::{
    Delivery, WEBHOOKS_MAX, Webhook, WebhookChanges, WebhookSecret, WebhookStore, WebhookTransport,
};
use crate::auth::PlatformScope;
use crate::clock::Clock;
use crate::command::{Command, CommandError, all_valid, check_text};
use crate::error::{FieldError, Reason};
use crate::events::{EventType, about_webhook};
use crate::id::{DeliveryId, WebhookId};
use crate::secrets::{SecretCipher, SecretError, SecretPlace};
use crate::store::{Listed, Page, StoreError, StoredSecret};

const DESCRIPTION_MAX: usize = 255;
const URL_MAX: usize = 2_048;

/// The domain of webhooks.
pub struct Webhooks {
    pub(crate) store: Arc<dyn WebhookStore>,
    pub(crate) cipher: Arc<dyn SecretCipher>,
    pub(crate) transport: Option<Arc<dyn WebhookTransport>>,
    pub(crate) clock: Arc<dyn Clock>,
}

/// An endpoint with its secret, which receivers verify signatures with.
#[derive(Clone, Debug)]
pub struct WebhookWithSecret {
    /// The endpoint.
    pub webhook: Webhook,
    /// `whsec_` and base64.
    pub secret: SecretString,
}

/// Adds an endpoint.
#[derive(Clone, Debug)]
pub struct CreateWebhook {
    /// Where messages go.
    pub url: String,
    /// What it is told of; `None` is every type that is on by default.
    pub event_types: Option<Vec<EventType>>,
    /// For people.
    pub description: Option<String>,
}

/// Lists endpoints.
#[derive(Clone, Copy, Debug, Default)]
pub struct ListWebhooks(pub Page);

/// Reads an endpoint.
#[derive(Clone, Copy, Debug)]
pub struct ReadWebhook(pub WebhookId);

/// Reads an endpoint with its secret.
#[derive(Clone, Copy, Debug)]
pub struct RevealWebhookSecret(pub WebhookId);

/// Changes an endpoint.
#[derive(Clone, Debug)]
pub struct UpdateWebhook {
    /// Which.
    pub id: WebhookId,
    /// What.
    pub changes: WebhookChanges,
}

/// Gives an endpoint a new secret; the one before signs, too, for a day.
#[derive(Clone, Copy, Debug)]
pub struct RotateWebhookSecret(pub WebhookId);

/// Removes an endpoint.
#[derive(Clone, Copy, Debug)]
pub struct DeleteWebhook(pub WebhookId);

/// Sends a `ping` event to an endpoint.
#[derive(Clone, Copy, Debug)]
pub struct PingWebhook(pub WebhookId);

/// Lists what was and will be sent to an endpoint.
#[derive(Clone, Copy, Debug)]
pub struct ListDeliveries {
    /// Which endpoint.
    pub id: WebhookId,
    /// Which page.
    pub page: Page,
}

/// Sends a delivery once more.
#[derive(Clone, Copy, Debug)]
pub struct ReplayDelivery {
    /// Which endpoint.
    pub id: WebhookId,
    /// Which delivery.
    pub delivery: DeliveryId,
}

/// Where the secrets of an endpoint are sealed for: the one before a rotation stays sealed as it was.
pub(crate) fn webhook_place(id: WebhookId) -> SecretPlace {
    SecretPlace {
        table: "webhooks",
        column: "secret",
        row: id.as_uuid(),
    }
}

impl Command<Webhooks> for CreateWebhook {
    const NAME: &'static str = "create_webhook";
    type Authority = PlatformScope;
    type Output = WebhookWithSecret;

    async fn run(
        self,
        domain: &Webhooks,
        scope: PlatformScope,
    ) -> Result<WebhookWithSecret, CommandError> {
        let errors = [
            domain.check_url(&self.url),
            self.description.as_deref().and_then(check_description),
            self.event_types.as_deref().and_then(check_event_types),
        ];
        all_valid(errors.into_iter().flatten())?;
        let now = domain.clock.now();
        let by_default = || {
            let all = EventType::ALL.into_iter();
            all.filter(|event| event.is_on_by_default()).collect()
        };
        let webhook = Webhook {
            id: WebhookId::new(),
            platform_id: scope.platform_id(),
            url: self.url,
            description: self.description,
            event_types: self.event_types.map_or_else(by_default, without_repeats),
            is_active: true,
            disabled_reason: None,
            created_at: now,
            updated_at: now,
        };
        let (secret, sealed) = domain.new_secret(webhook.id)?;
        let created = domain.store.create_webhook(&scope, webhook, sealed).await;
        let webhook = created.map_err(|error| match error {
            StoreError::Conflict("webhook") => CommandError::refused(
                Reason::WEBHOOK_LIMIT_REACHED,
                format!("a platform can have {WEBHOOKS_MAX} webhooks; remove one first"),
            ),
            other => other.into(),
        })?;
        Ok(WebhookWithSecret { webhook, secret })
    }
}

impl Command<Webhooks> for ListWebhooks {
    const NAME: &'static str = "list_webhooks";
    type Authority = PlatformScope;
    type Output = Listed<Webhook>;

    async fn run(
        self,
        domain: &Webhooks,
        scope: PlatformScope,
    ) -> Result<Listed<Webhook>, CommandError> {
        Ok(domain.store.webhooks(&scope, self.0).await?)
    }
}

impl Command<Webhooks> for ReadWebhook {
    const NAME: &'static str = "read_webhook";
    type Authority = PlatformScope;
    type Output = Webhook;

    async fn run(self, domain: &Webhooks, scope: PlatformScope) -> Result<Webhook, CommandError> {
        let found = domain.store.webhook(&scope, self.0).await;
        Ok(found.map_err(not_found)?.0)
    }
}

impl Command<Webhooks> for RevealWebhookSecret {
    const NAME: &'static str = "reveal_webhook_secret";
    type Authority = PlatformScope;
    type Output = WebhookWithSecret;

    async fn run(
        self,
        domain: &Webhooks,
        scope: PlatformScope,
    ) -> Result<WebhookWithSecret, CommandError> {
        let found = domain.store.webhook(&scope, self.0).await;
        let (webhook, sealed) = found.map_err(not_found)?;
        let opened = domain.cipher.open(webhook_place(self.0), &sealed.0);
        let secret = opened.map_err(internal)?;
        Ok(WebhookWithSecret { webhook, secret })
    }
}

impl Command<Webhooks> for UpdateWebhook {
    const NAME: &'static str = "update_webhook";
    type Authority = PlatformScope;
    type Output = Webhook;

    async fn run(
        mut self,
        domain: &Webhooks,
        scope: PlatformScope,
    ) -> Result<Webhook, CommandError> {
        let changes = &mut self.changes;
        let description = changes.description.as_ref().and_then(Option::as_deref);
        let errors = [
            changes.url.as_deref().and_then(|url| domain.check_url(url)),
            description.and_then(check_description),
            changes.event_types.as_deref().and_then(check_event_types),
        ];
        all_valid(errors.into_iter().flatten())?;
        changes.event_types = changes.event_types.take().map(without_repeats);
        let updated = domain.store.update_webhook(&scope, self.id, changes).await;
        updated.map_err(not_found)
    }
}

impl Command<Webhooks> for RotateWebhookSecret {
    const NAME: &'static str = "rotate_webhook_secret";
    type Authority = PlatformScope;
    type Output = WebhookWithSecret;

    async fn run(
        self,
        domain: &Webhooks,
        scope: PlatformScope,
    ) -> Result<WebhookWithSecret, CommandError> {
        let (secret, sealed) = domain.new_secret(self.0)?;
        let rotated = domain.store.rotate_webhook_secret(&scope, self.0, sealed);
        let webhook = rotated.await.map_err(not_found)?;
        Ok(WebhookWithSecret { webhook, secret })
    }
}

impl Command<Webhooks> for DeleteWebhook {
    const NAME: &'static str = "delete_webhook";
    type Authority = PlatformScope;
    type Output = ();

    async fn run(self, domain: &Webhooks, scope: PlatformScope) -> Result<(), CommandError> {
        let deleted = domain.store.delete_webhook(&scope, self.0).await;
        deleted.map_err(not_found)
    }
}

impl Command<Webhooks> for PingWebhook {
    const NAME: &'static str = "ping_webhook";
    type Authority = PlatformScope;
    type Output = Delivery;

    async fn run(self, domain: &Webhooks, scope: PlatformScope) -> Result<Delivery, CommandError> {
        let now = domain.clock.now();
        let ping = about_webhook(Uuid::now_v7(), scope.platform_id(), self.0, now);
        let added = domain.store.add_delivery(&scope, self.0, &ping).await;
        added.map_err(not_found)
    }
}

impl Command<Webhooks> for ListDeliveries {
    const NAME: &'static str = "list_deliveries";
    type Authority = PlatformScope;
    type Output = Listed<Delivery>;

    async fn run(
        self,
        domain: &Webhooks,
        scope: PlatformScope,
    ) -> Result<Listed<Delivery>, CommandError> {
        let listed = domain.store.deliveries(&scope, self.id, self.page).await;
        listed.map_err(not_found)
    }
}

impl Command<Webhooks> for ReplayDelivery {
    const NAME: &'static str = "replay_delivery";
    type Authority = PlatformScope;
    type Output = Delivery;

    async fn run(self, domain: &Webhooks, scope: PlatformScope) -> Result<Delivery, CommandError> {
        let store = &domain.store;
        let replayed = store.replay_delivery(&scope, self.id, self.delivery).await;
        replayed.map_err(not_found)
    }
}

impl Webhooks {
    fn check_url(&self, url: &str) -> Option<FieldError> {
        let message = if url.len() > URL_MAX {
            format!("must have at most {URL_MAX} characters")
        } else if url.parse::<http::Uri>().is_err() {
            "must be an absolute URL in ASCII".to_owned()
        } else if let Some(transport) = &self.transport {
            transport.check_url(url).err()?
        } else {
            "cannot be called: this gateway has no client for webhooks".to_owned()
        };
        Some(FieldError {
            param: "url".to_owned(),
            message,
        })
    }

    fn new_secret(&self, id: WebhookId) -> Result<(SecretString, StoredSecret), CommandError> {
        let secret = WebhookSecret::generate().map_err(internal)?;
        let sealed = self.cipher.seal(webhook_place(id), &secret);
        Ok((secret, StoredSecret(sealed.map_err(internal)?)))
    }
}

fn check_description(description: &str) -> Option<FieldError> {
    check_text("description", description, DESCRIPTION_MAX)
}

fn check_event_types(event_types: &[EventType]) -> Option<FieldError> {
    let message = if event_types.is_empty() {
        "must name at least one type of event".to_owned()
    } else {
        let other = event_types.iter().find(|event| !event.is_for_platforms())?;
        format!("`{other}` is not a type of event that webhooks are told of")
    };
    Some(FieldError {
        param: "event_types".to_owned(),
        message,
    })
}

fn without_repeats(event_types: Vec<EventType>) -> Vec<EventType> {
    let mut once = Vec::with_capacity(event_types.len());
    for event_type in event_types {
        if !once.contains(&event_type) {
            once.push(event_type);
        }
    }
    once
}

fn internal(error: SecretError) -> CommandError {
    CommandError::Internal(Box::new(error))
}

fn not_found(error: StoreError) -> CommandError {
    CommandError::or_not_found(error, Reason::WEBHOOK_NOT_FOUND, "webhook")
}
