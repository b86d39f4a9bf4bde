//! Events about webhooks themselves.

use serde::Serialize;
use uuid::Uuid;

use super::{Event, EventType};
use crate::clock::Timestamp;
use crate::id::{PlatformId, WebhookId};

#[derive(Serialize)]
struct AboutWebhook {
    platform_id: PlatformId,
    webhook_id: WebhookId,
}

/// Somebody tries a webhook out at `now`.
pub(crate) fn about_webhook(
    cause: Uuid,
    platform_id: PlatformId,
    webhook_id: WebhookId,
    now: Timestamp,
) -> Event {
    let data = AboutWebhook {
        platform_id,
        webhook_id,
    };
    Event::new(cause, EventType::Ping, platform_id, now, &data)
}
