//! Who changed what (`docs/audit.md`).

use std::net::IpAddr;

use assistiv_core::audit::{AuditEntry, AuditFilter, ListAudit};
use assistiv_core::auth::Actor;
use assistiv_core::clock::Timestamp;
use assistiv_core::id::{AuditId, EndUserId, KeyId, PlatformId};
use axum::extract::State;
use serde::Serialize;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::caller::OnPlatform;
use super::query::Query;
use super::refusal::Handled;
use super::{ApiState, answer};

#[derive(Serialize)]
struct EntryView<'a> {
    id: AuditId,
    platform_id: PlatformId,
    action: &'a str,
    actor: ActorView<'a>,
    resource: ResourceView<'a>,
    changes: &'a Map<String, Value>,
    request_id: Option<&'a str>,
    created_at: Timestamp,
}

#[derive(Serialize)]
struct ActorView<'a> {
    r#type: &'static str,
    key_id: Option<KeyId>,
    key_prefix: Option<&'a str>,
    ip: Option<IpAddr>,
}

#[derive(Serialize)]
struct ResourceView<'a> {
    r#type: &'a str,
    id: Option<Uuid>,
    end_user_id: Option<EndUserId>,
}

/// `GET …/audit`
pub(super) async fn list(
    State(state): State<ApiState>,
    on: OnPlatform,
    mut query: Query,
) -> Handled {
    let page = query.page();
    let filter = AuditFilter {
        action: query.text("action"),
        resource_type: query.text("resource_type"),
        resource_id: query.parsed("resource_id"),
        actor_key: query.parsed("actor_key_id"),
        from: query.parsed("from"),
        to: query.parsed("to"),
    };
    query.finish()?;
    let command = ListAudit { filter, page };
    let audit = state.gateway.audit();
    let listed = audit.run(&on.principal, on.platform, command).await?;
    answer::list(&listed, page, EntryView::of)
}

// === impl EntryView ===

impl<'a> EntryView<'a> {
    fn of(entry: &'a AuditEntry) -> Self {
        Self {
            id: entry.id,
            platform_id: entry.platform_id,
            action: &entry.action,
            actor: ActorView {
                r#type: match entry.actor {
                    Actor::PlatformKey(_) => "platform_key",
                    Actor::EndUserKey(_) => "end_user_key",
                    Actor::OperatorKey(_) => "operator_key",
                    _ => "system",
                },
                key_id: entry.actor.key(),
                key_prefix: entry.origin.key_prefix.as_deref(),
                ip: entry.origin.ip,
            },
            resource: ResourceView {
                r#type: &entry.resource.kind,
                id: entry.resource.id,
                end_user_id: entry.resource.end_user_id,
            },
            changes: &entry.changes,
            request_id: entry.origin.request_id.as_deref(),
            created_at: entry.created_at,
        }
    }
}
