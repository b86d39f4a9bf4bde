//! `audit_log`.

use sea_orm::Set;
use sea_orm::entity::prelude::*;

use crate::audit::{AuditEntry, Origin, Resource};
use crate::auth::PlatformScope;
use crate::clock::Timestamp;
use crate::id::{AuditId, EndUserId, PlatformId};
use crate::store::StoreError;
use crate::store::sql::error::corrupt;

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "audit_log")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub platform_id: Uuid,
    pub action: String,
    pub actor: String,
    pub actor_key: Option<Uuid>,
    pub resource_type: String,
    pub resource_id: Option<Uuid>,
    pub end_user_id: Option<Uuid>,
    pub changes: String,
    pub request_id: Option<String>,
    pub key_prefix: Option<String>,
    pub ip: Option<String>,
    pub created_at: i64,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Entity {
    /// The platform's.
    pub fn of(scope: &PlatformScope) -> Select<Self> {
        Self::find().filter(Column::PlatformId.eq(scope.platform_id().as_uuid()))
    }
}

impl Model {
    /// The row as an entry.
    pub fn into_domain(self) -> Result<AuditEntry, StoreError> {
        let changes = serde_json::from_str(&self.changes);
        Ok(AuditEntry {
            id: AuditId::from_uuid(self.id),
            platform_id: PlatformId::from_uuid(self.platform_id),
            action: self.action,
            actor: self.actor.parse().map_err(|_| corrupt("audit_log.actor"))?,
            resource: Resource {
                kind: self.resource_type,
                id: self.resource_id,
                end_user_id: self.end_user_id.map(EndUserId::from_uuid),
            },
            changes: changes.map_err(|_| corrupt("audit_log.changes"))?,
            origin: Origin {
                request_id: self.request_id.map(Into::into),
                key_prefix: self.key_prefix.map(Into::into),
                ip: self.ip.and_then(|ip| ip.parse().ok()),
            },
            created_at: Timestamp::from_micros(self.created_at),
        })
    }
}

/// The entry as a row.
pub fn row(entry: &AuditEntry) -> Result<ActiveModel, StoreError> {
    let changes = serde_json::to_string(&entry.changes);
    Ok(ActiveModel {
        id: Set(entry.id.as_uuid()),
        platform_id: Set(entry.platform_id.as_uuid()),
        action: Set(entry.action.clone()),
        actor: Set(entry.actor.to_string()),
        actor_key: Set(entry.actor.key().map(|key| key.as_uuid())),
        resource_type: Set(entry.resource.kind.clone()),
        resource_id: Set(entry.resource.id),
        end_user_id: Set(entry.resource.end_user_id.map(EndUserId::as_uuid)),
        changes: Set(changes.map_err(|_| corrupt("changes that cannot be written as JSON"))?),
        request_id: Set(entry.origin.request_id.as_deref().map(str::to_owned)),
        key_prefix: Set(entry.origin.key_prefix.as_deref().map(str::to_owned)),
        ip: Set(entry.origin.ip.map(|ip| ip.to_string())),
        created_at: Set(entry.created_at.as_micros()),
    })
}
