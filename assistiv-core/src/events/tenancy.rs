//! Events about end users.

use serde::Serialize;

use super::{Event, EventType};
use crate::clock::Timestamp;
use crate::id::{EndUserId, PlatformId};
use crate::tenancy::EndUser;

#[derive(Serialize)]
struct AboutEndUser<'a> {
    platform_id: PlatformId,
    end_user_id: EndUserId,
    external_id: &'a str,
}

/// An end user was made or removed at `now`.
pub(crate) fn about_end_user(event_type: EventType, end_user: &EndUser, now: Timestamp) -> Event {
    let data = AboutEndUser {
        platform_id: end_user.platform_id,
        end_user_id: end_user.id,
        external_id: &end_user.external_id,
    };
    let (cause, platform_id) = (end_user.id.as_uuid(), end_user.platform_id);
    Event::new(cause, event_type, platform_id, now, &data)
}
