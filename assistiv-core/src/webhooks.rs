//! Webhooks: platforms are told over HTTP what happened.
//!
//! An endpoint names the types of events that it wants. The outbox ([`crate::events`]) is fanned out: each event gives
//! each endpoint that wants it one [`Delivery`], whose id follows from both, so that doing it twice makes no second
//! one. A courier claims deliveries that are due under a lease, sends them, and writes down how it went; when it dies
//! the lease runs out and another one sends the same message again. So every event arrives at least once, and
//! receivers drop ids that they have seen.
//!
//! A slow or dead endpoint delays nobody else: an endpoint has few requests under way at a time, and those that fail
//! share a half of the places.

mod commands;
mod courier;
mod signature;

pub use commands::{
    CreateWebhook, DeleteWebhook, ListDeliveries, ListWebhooks, PingWebhook, ReadWebhook,
    ReplayDelivery, RevealWebhookSecret, RotateWebhookSecret, UpdateWebhook, WebhookWithSecret,
    Webhooks,
};
pub(crate) use courier::Courier;
pub use courier::CourierOptions;
pub use signature::{SIGNATURE_HEADERS, SignatureHeaders, WebhookSecret, WebhookSecretError};

use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use crate::auth::{PlatformScope, SweeperScope};
use crate::clock::Timestamp;
use crate::events::{Event, EventId, EventType};
use crate::id::{DeliveryId, PlatformId, WebhookId};
use crate::provider::Transport;
use crate::store::{Listed, Page, StoreError, StoredSecret};

/// How many endpoints a platform may have.
pub const WEBHOOKS_MAX: u32 = 10;
/// How long the secret before a rotation signs, too.
pub const OLD_SECRET_FOR: Duration = Duration::from_hours(24);
/// An endpoint that fails for so long, without one success, is switched off.
pub const DISABLED_AFTER: Duration = Duration::from_hours(5 * 24);
/// How long deliveries are kept.
pub const DELIVERIES_KEPT_FOR: Duration = Duration::from_hours(7 * 24);
/// The pauses before each attempt.
pub const TIMETABLE: [Duration; 8] = [
    Duration::ZERO,
    Duration::from_secs(5),
    Duration::from_mins(5),
    Duration::from_mins(30),
    Duration::from_hours(2),
    Duration::from_hours(5),
    Duration::from_hours(10),
    Duration::from_hours(10),
];
/// An endpoint gets no event that is this much older than itself: what happened before somebody listened is not told
/// later. Clocks of nodes may differ by less.
const OLDER_THAN_ENDPOINT: Duration = Duration::from_secs(30);

/// Where a platform wants to be told of what happens. Its secret is apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// Its id.
    pub id: WebhookId,
    /// Its platform.
    pub platform_id: PlatformId,
    /// Where messages go.
    pub url: String,
    /// For people; 1 to 255 characters.
    pub description: Option<String>,
    /// What it is told of: exactly these types.
    pub event_types: Vec<EventType>,
    /// Whether messages are sent.
    pub is_active: bool,
    /// Why the gateway switched it off; `None` when nobody or the platform did.
    pub disabled_reason: Option<DisabledReason>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// Why the gateway switched an endpoint off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DisabledReason {
    /// No delivery succeeded for [`DISABLED_AFTER`].
    Failing,
}

/// Changes of an endpoint; what is `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WebhookChanges {
    /// Where messages go.
    pub url: Option<String>,
    /// For people; the inner `None` clears it.
    pub description: Option<Option<String>>,
    /// What it is told of.
    pub event_types: Option<Vec<EventType>>,
    /// Whether messages are sent. Switching it on forgets its failures.
    pub is_active: Option<bool>,
}

/// How far a delivery has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryStatus {
    /// It will be sent, again or for the first time.
    Pending = 0,
    /// The endpoint has taken it.
    Delivered = 1,
    /// The last attempt failed.
    Failed = 2,
}

/// One event on its way to one endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Its id: the same however often the message is sent.
    pub id: DeliveryId,
    /// The endpoint.
    pub webhook_id: WebhookId,
    /// The event.
    pub event_id: EventId,
    /// How far it has come.
    pub status: DeliveryStatus,
    /// What the endpoint answered to the last attempt.
    pub response_status: Option<u16>,
    /// Why the last attempt had no answer.
    pub error: Option<String>,
    /// How many attempts have ended since it was made, or last replayed.
    pub attempt: u32,
    /// When it is sent next; while an attempt runs, when it is sent again should nothing more be heard of it.
    pub next_attempt_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A delivery that a courier has for itself until its lease runs out.
#[derive(Clone, Debug)]
pub struct ClaimedDelivery {
    /// The delivery.
    pub delivery: Delivery,
    /// Numbers the claim: an attempt is written down only while nobody else has claimed the delivery.
    pub claim: i64,
    /// Where it goes.
    pub url: String,
    /// The body.
    pub payload: String,
    /// Sealed secrets that sign it, the newest first.
    pub secrets: Vec<StoredSecret>,
}

/// How an attempt ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attempt {
    /// Whether the endpoint has taken the message.
    pub is_success: bool,
    /// What it answered.
    pub response_status: Option<u16>,
    /// Why there was no answer.
    pub error: Option<String>,
    /// After a failure: when to try again; `None` never.
    pub again_in: Option<Duration>,
}

/// An endpoint that something is due for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DueWebhook {
    /// Which.
    pub id: WebhookId,
    /// Whether its last attempt failed.
    pub is_failing: bool,
}

/// Sends messages to endpoints: the same guarded client that calls providers.
pub trait WebhookTransport: Transport {
    /// Whether a URL may be called, as far as it can be said without resolving its host.
    ///
    /// # Errors
    /// What is wrong with it, for the one who entered it: `must …`.
    fn check_url(&self, url: &str) -> Result<(), String>;
}

/// Endpoints and what is on its way to them. Time is the backend's own.
#[async_trait]
pub trait WebhookStore: Send + Sync + 'static {
    /// Adds an endpoint; its times are the store's.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] with `webhook` when the platform has [`WEBHOOKS_MAX`].
    async fn create_webhook(
        &self,
        scope: &PlatformScope,
        webhook: Webhook,
        secret: StoredSecret,
    ) -> Result<Webhook, StoreError>;

    /// The platform's endpoints.
    async fn webhooks(
        &self,
        scope: &PlatformScope,
        page: Page,
    ) -> Result<Listed<Webhook>, StoreError>;

    /// One of them, with its sealed secret.
    async fn webhook(
        &self,
        scope: &PlatformScope,
        id: WebhookId,
    ) -> Result<(Webhook, StoredSecret), StoreError>;

    /// Changes an endpoint.
    async fn update_webhook(
        &self,
        scope: &PlatformScope,
        id: WebhookId,
        changes: &WebhookChanges,
    ) -> Result<Webhook, StoreError>;

    /// Gives it a new secret; the one before signs, too, for [`OLD_SECRET_FOR`].
    async fn rotate_webhook_secret(
        &self,
        scope: &PlatformScope,
        id: WebhookId,
        secret: StoredSecret,
    ) -> Result<Webhook, StoreError>;

    /// Removes an endpoint with its deliveries.
    async fn delete_webhook(&self, scope: &PlatformScope, id: WebhookId) -> Result<(), StoreError>;

    /// Makes a delivery to one endpoint, of an event that nobody else is told of.
    async fn add_delivery(
        &self,
        scope: &PlatformScope,
        id: WebhookId,
        event: &Event,
    ) -> Result<Delivery, StoreError>;

    /// What was and will be sent to an endpoint.
    async fn deliveries(
        &self,
        scope: &PlatformScope,
        id: WebhookId,
        page: Page,
    ) -> Result<Listed<Delivery>, StoreError>;

    /// Sends a delivery again from the beginning of the timetable, whatever became of it.
    async fn replay_delivery(
        &self,
        scope: &PlatformScope,
        id: WebhookId,
        delivery: DeliveryId,
    ) -> Result<Delivery, StoreError>;

    /// Makes deliveries of at most `most` events that were not fanned out yet, and marks them, in one act; says how
    /// many events they were. Several couriers may do it at once.
    async fn fan_out(&self, scope: &SweeperScope, most: u32) -> Result<u32, StoreError>;

    /// At most `most` active endpoints that something is due for, but none of `except`; who has waited longest first.
    async fn due_webhooks(
        &self,
        scope: &SweeperScope,
        except: &[WebhookId],
        most: u32,
    ) -> Result<Vec<DueWebhook>, StoreError>;

    /// Claims at most `most` due deliveries of an endpoint for `lease`. Nobody else gets them until then.
    async fn claim_deliveries(
        &self,
        scope: &SweeperScope,
        webhook: WebhookId,
        lease: Duration,
        most: u32,
    ) -> Result<Vec<ClaimedDelivery>, StoreError>;

    /// Writes down how the attempt of a claim ended, unless the delivery was claimed or replayed since; switches the
    /// endpoint off when it has failed for too long. Says whether it did that.
    async fn finish_attempt(
        &self,
        scope: &SweeperScope,
        delivery: DeliveryId,
        claim: i64,
        attempt: &Attempt,
    ) -> Result<bool, StoreError>;

    /// Removes deliveries older than [`DELIVERIES_KEPT_FOR`] that are not on their way any more; says how many.
    async fn prune_deliveries(&self, scope: &SweeperScope) -> Result<u64, StoreError>;
}

// === impl Webhook ===

impl Webhook {
    /// Whether the endpoint is told of an event.
    pub(crate) fn wants(&self, event: &Event) -> bool {
        let slack = i64::try_from(OLDER_THAN_ENDPOINT.as_micros()).unwrap_or(i64::MAX);
        let since = self.created_at.as_micros().saturating_sub(slack);
        self.is_active
            && self.platform_id == event.platform_id
            && event.created_at.as_micros() >= since
            && self.event_types.contains(&event.event_type())
    }
}

// === impl WebhookChanges ===

impl WebhookChanges {
    /// Lays the changes over an endpoint.
    pub fn apply_to(&self, webhook: &mut Webhook, now: Timestamp) {
        if let Some(url) = &self.url {
            webhook.url.clone_from(url);
        }
        if let Some(description) = &self.description {
            webhook.description.clone_from(description);
        }
        if let Some(event_types) = &self.event_types {
            webhook.event_types.clone_from(event_types);
        }
        if let Some(is_active) = self.is_active {
            webhook.is_active = is_active;
            webhook.disabled_reason = None;
        }
        webhook.updated_at = now;
    }
}

// === impl DisabledReason ===

impl DisabledReason {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Failing => "failing",
        }
    }

    /// The reason of that name.
    pub fn named(name: &str) -> Option<Self> {
        (name == Self::Failing.as_str()).then_some(Self::Failing)
    }
}

// === impl DeliveryStatus ===

impl DeliveryStatus {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
        }
    }

    /// The status of that number.
    pub fn numbered(number: i16) -> Option<Self> {
        let all = [Self::Pending, Self::Delivered, Self::Failed];
        all.into_iter().find(|status| *status as i16 == number)
    }
}

// === impl Delivery ===

impl Delivery {
    /// The delivery of an event to an endpoint, due at `now`. Its id follows from both: made twice it is the same.
    pub fn of(event: &Event, webhook_id: WebhookId, now: Timestamp) -> Self {
        let id = Uuid::new_v5(&webhook_id.as_uuid(), event.id.to_string().as_bytes());
        Self {
            id: DeliveryId::from_uuid(id),
            webhook_id,
            event_id: event.id,
            status: DeliveryStatus::Pending,
            response_status: None,
            error: None,
            attempt: 0,
            next_attempt_at: Some(now),
            created_at: now,
        }
    }

    /// The message's id in the headers.
    pub fn message_id(&self) -> String {
        format!("msg_{}", self.id.as_uuid().simple())
    }

    /// Makes it due at `now`, as if it had never been sent.
    pub fn replay(&mut self, now: Timestamp) {
        self.status = DeliveryStatus::Pending;
        self.attempt = 0;
        self.next_attempt_at = Some(now);
    }

    /// Takes over how an attempt ended at `now`.
    pub fn ended(&mut self, attempt: &Attempt, now: Timestamp) {
        self.attempt = self.attempt.saturating_add(1);
        self.response_status = attempt.response_status;
        self.error.clone_from(&attempt.error);
        (self.status, self.next_attempt_at) = match (attempt.is_success, attempt.again_in) {
            (true, _) => (DeliveryStatus::Delivered, None),
            (false, None) => (DeliveryStatus::Failed, None),
            (false, Some(pause)) => (DeliveryStatus::Pending, Some(later(now, pause))),
        };
    }
}

/// What a success or a failure at `now` makes of an endpoint that fails since `failing_since`: since when it fails
/// then, and whether it is switched off.
pub(crate) fn failing_since(
    before: Option<Timestamp>,
    is_success: bool,
    now: Timestamp,
) -> (Option<Timestamp>, bool) {
    if is_success {
        return (None, false);
    }
    let since = before.unwrap_or(now);
    (Some(since), later(since, DISABLED_AFTER) <= now)
}

/// `at` and `span` after it.
pub(crate) fn later(at: Timestamp, span: Duration) -> Timestamp {
    let span = i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_micros(at.as_micros().saturating_add(span))
}

/// The time of the oldest delivery that is kept at `now`.
pub(crate) fn oldest_delivery(now: Timestamp) -> Timestamp {
    let kept = i64::try_from(DELIVERIES_KEPT_FOR.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_micros(now.as_micros().saturating_sub(kept))
}
