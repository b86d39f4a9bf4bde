//! `webhooks`.

use sea_orm::Set;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::SelectStatement;
use sea_orm::{QuerySelect, QueryTrait};

use crate::auth::{PlatformScope, SweeperScope};
use crate::clock::Timestamp;
use crate::events::EventType;
use crate::id::{PlatformId, WebhookId};
use crate::store::sql::error::corrupt;
use crate::store::{StoreError, StoredSecret};
use crate::webhooks::{DisabledReason, Webhook};

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "webhooks")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub platform_id: Uuid,
    pub url: String,
    pub description: Option<String>,
    pub event_types: String,
    pub is_active: bool,
    pub disabled_reason: Option<String>,
    pub secret: Vec<u8>,
    pub old_secret: Option<Vec<u8>>,
    pub old_secret_until: Option<i64>,
    pub failing_since: Option<i64>,
    pub created_at: i64,
    pub updated_at: i64,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Entity {
    /// The platform's endpoints.
    pub fn of(scope: &PlatformScope) -> Select<Self> {
        Self::find().filter(Column::PlatformId.eq(scope.platform_id().as_uuid()))
    }

    /// One endpoint of the platform.
    pub fn one_of(scope: &PlatformScope, id: WebhookId) -> Select<Self> {
        Self::of(scope).filter(Column::Id.eq(id.as_uuid()))
    }

    /// Endpoints of all platforms.
    pub fn all(_: &SweeperScope) -> Select<Self> {
        Self::find()
    }

    /// The ids of all endpoints that are on, to be asked within another statement.
    pub fn active_ids(scope: &SweeperScope) -> SelectStatement {
        let active = Self::all(scope).filter(Column::IsActive.eq(true));
        active.select_only().column(Column::Id).into_query()
    }
}

impl Model {
    /// The row as an endpoint.
    pub fn to_domain(&self) -> Result<Webhook, StoreError> {
        let names: Vec<&str> =
            serde_json::from_str(&self.event_types).map_err(|_| corrupt("webhooks.event_types"))?;
        let event_types: Result<Vec<EventType>, _> = names.into_iter().map(str::parse).collect();
        let disabled_reason = match &self.disabled_reason {
            None => None,
            Some(name) => Some(
                DisabledReason::named(name).ok_or_else(|| corrupt("webhooks.disabled_reason"))?,
            ),
        };
        Ok(Webhook {
            id: WebhookId::from_uuid(self.id),
            platform_id: PlatformId::from_uuid(self.platform_id),
            url: self.url.clone(),
            description: self.description.clone(),
            event_types: event_types.map_err(|_| corrupt("webhooks.event_types"))?,
            is_active: self.is_active,
            disabled_reason,
            created_at: Timestamp::from_micros(self.created_at),
            updated_at: Timestamp::from_micros(self.updated_at),
        })
    }

    /// The secrets that sign at `now`, the newest first.
    pub fn secrets(&self, now: Timestamp) -> Vec<StoredSecret> {
        let until = self.old_secret_until.unwrap_or(i64::MIN);
        let old = self.old_secret.clone();
        let old = old.filter(|_| until > now.as_micros());
        let secrets = std::iter::once(self.secret.clone()).chain(old);
        secrets.map(StoredSecret).collect()
    }
}

/// The endpoint as a row of the scope's platform; without a secret the stored one stays.
pub fn row(
    scope: &PlatformScope,
    webhook: &Webhook,
    secret: Option<StoredSecret>,
) -> Result<ActiveModel, StoreError> {
    let event_types = serde_json::to_string(&webhook.event_types);
    let reason = webhook.disabled_reason.map(|r| r.as_str().to_owned());
    Ok(ActiveModel {
        id: Set(webhook.id.as_uuid()),
        platform_id: Set(scope.platform_id().as_uuid()),
        url: Set(webhook.url.clone()),
        description: Set(webhook.description.clone()),
        event_types: Set(event_types.map_err(|_| corrupt("webhooks.event_types"))?),
        is_active: Set(webhook.is_active),
        disabled_reason: Set(reason),
        secret: secret.map_or(sea_orm::NotSet, |secret| Set(secret.0)),
        created_at: Set(webhook.created_at.as_micros()),
        updated_at: Set(webhook.updated_at.as_micros()),
        ..Default::default()
    })
}
