//! Who changed what (`docs/audit.md`).

use std::net::IpAddr;

use assistiv_core::audit::{AuditEntry, AuditFilter, ListAudit};
use assistiv_core::auth::Actor;
use assistiv_core::clock::{Clock, SystemClock, Timestamp};
use assistiv_core::id::{AuditId, EndUserId, KeyId, PlatformId};
use assistiv_core::store::Page;
use axum::extract::State;
use futures_util::stream::{self, Stream};
use serde::Serialize;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::caller::OnPlatform;
use super::export::{Export, Wanted, line};
use super::query::Query;
use super::refusal::{Handled, Refusal};
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

const COLUMNS: [&str; 8] = [
    "id",
    "platform_id",
    "action",
    "actor",
    "resource",
    "changes",
    "request_id",
    "created_at",
];

/// Entries of a file that are read at once.
const PART: u32 = 500;

/// `GET …/audit`
pub(super) async fn list(
    State(state): State<ApiState>,
    on: OnPlatform,
    Wanted(format): Wanted,
    mut query: Query,
) -> Handled {
    let page = match format {
        Some(_) => Page {
            page: 1,
            limit: PART,
        },
        None => query.page(),
    };
    let mut filter = AuditFilter {
        action: query.text("action"),
        resource_type: query.text("resource_type"),
        resource_id: query.parsed("resource_id"),
        actor_key: query.parsed("actor_key_id"),
        from: query.parsed("from"),
        to: query.parsed("to"),
    };
    query.finish()?;
    if format.is_some() {
        // Changes that are made meanwhile must not move the pages.
        filter.to = Some(filter.to.unwrap_or_else(|| SystemClock.now()));
    }
    let command = ListAudit {
        filter: filter.clone(),
        page,
    };
    let audit = state.gateway.audit();
    let listed = audit.run(&on.principal, on.platform, command).await?;
    let Some(format) = format else {
        return answer::list(&listed, page, EntryView::of);
    };
    let export = Export {
        format,
        name: format!("audit-{}", on.platform),
        columns: &COLUMNS,
        rows: listed.total,
        standings: None,
    };
    export.answer(parts(state, on, filter)).await
}

/// The lines of the file, a page at a time.
fn parts(
    state: ApiState,
    on: OnPlatform,
    filter: AuditFilter,
) -> impl Stream<Item = Result<Vec<String>, Refusal>> + Send + 'static {
    stream::try_unfold(
        (state, on, filter, 1),
        |(state, on, filter, number)| async move {
            let command = ListAudit {
                filter: filter.clone(),
                page: Page {
                    page: number,
                    limit: PART,
                },
            };
            let audit = state.gateway.audit();
            let listed = audit.run(&on.principal, on.platform, command).await?;
            if listed.rows.is_empty() {
                return Ok(None);
            }
            let lines = listed.rows.iter().map(|entry| line(&EntryView::of(entry)));
            let lines = lines.collect::<Result<Vec<_>, _>>()?;
            Ok(Some((lines, (state, on, filter, number + 1))))
        },
    )
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
