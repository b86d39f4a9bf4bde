//! `webhook_deliveries`.

use std::sync::LazyLock;

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::OnConflict;
use sea_orm::{ActiveValue, Set};

use crate::auth::{PlatformScope, SweeperScope};
use crate::clock::Timestamp;
use crate::events::{Event, EventId};
use crate::id::{DeliveryId, WebhookId};
use crate::store::StoreError;
use crate::store::sql::error::corrupt;
use crate::store::sql::query::Inserts;
use crate::webhooks::{Delivery, DeliveryStatus};

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "webhook_deliveries")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub platform_id: Uuid,
    pub webhook_id: Uuid,
    pub event_id: String,
    pub payload: String,
    pub status: i16,
    pub response_status: Option<i32>,
    pub error: Option<String>,
    pub attempt: i64,
    pub claim: i64,
    pub due_at: Option<i64>,
    pub created_at: i64,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Entity {
    /// What was and will be sent to an endpoint of the platform.
    pub fn of(scope: &PlatformScope, webhook: WebhookId) -> Select<Self> {
        Self::find()
            .filter(Column::PlatformId.eq(scope.platform_id().as_uuid()))
            .filter(Column::WebhookId.eq(webhook.as_uuid()))
    }

    /// What is due at `now`, of all platforms.
    pub fn due(_: &SweeperScope, now: Timestamp) -> Select<Self> {
        Self::find().filter(Column::DueAt.lte(now.as_micros()))
    }

    /// One delivery, of whatever platform.
    pub fn one(_: &SweeperScope, id: DeliveryId) -> Select<Self> {
        Self::find_by_id(id.as_uuid())
    }
}

impl Model {
    /// The row as a delivery.
    pub fn to_domain(&self) -> Result<Delivery, StoreError> {
        let event_id: Result<EventId, _> = self.event_id.parse();
        let response_status = self.response_status.map(u16::try_from).transpose();
        Ok(Delivery {
            id: DeliveryId::from_uuid(self.id),
            webhook_id: WebhookId::from_uuid(self.webhook_id),
            event_id: event_id.map_err(|_| corrupt("webhook_deliveries.event_id"))?,
            status: DeliveryStatus::numbered(self.status)
                .ok_or_else(|| corrupt("webhook_deliveries.status"))?,
            response_status: response_status
                .map_err(|_| corrupt("webhook_deliveries.response_status"))?,
            error: self.error.clone(),
            attempt: u32::try_from(self.attempt)
                .map_err(|_| corrupt("webhook_deliveries.attempt"))?,
            next_attempt_at: self.due_at.map(Timestamp::from_micros),
            created_at: Timestamp::from_micros(self.created_at),
        })
    }

    /// The row with what has become of the delivery, to be written back under a new claim number.
    pub fn with(self, delivery: &Delivery, claim: i64) -> ActiveModel {
        ActiveModel {
            id: ActiveValue::Unchanged(self.id),
            status: Set(delivery.status as i16),
            response_status: Set(delivery.response_status.map(i32::from)),
            error: Set(delivery.error.clone()),
            attempt: Set(i64::from(delivery.attempt)),
            claim: Set(claim),
            due_at: Set(delivery.next_attempt_at.map(Timestamp::as_micros)),
            ..Default::default()
        }
    }
}

/// The first row of an event's delivery.
pub fn row(event: &Event, delivery: &Delivery) -> Result<ActiveModel, StoreError> {
    Ok(ActiveModel {
        id: Set(delivery.id.as_uuid()),
        platform_id: Set(event.platform_id.as_uuid()),
        webhook_id: Set(delivery.webhook_id.as_uuid()),
        event_id: Set(delivery.event_id.to_string()),
        payload: Set(event.payload()?),
        status: Set(delivery.status as i16),
        response_status: Set(None),
        error: Set(None),
        attempt: Set(0),
        claim: Set(0),
        due_at: Set(delivery.next_attempt_at.map(Timestamp::as_micros)),
        created_at: Set(delivery.created_at.as_micros()),
    })
}

/// A delivery that is there already is not made again.
pub(in crate::store::sql) static NEW: LazyLock<Inserts<ActiveModel>> =
    LazyLock::new(|| Inserts::new(OnConflict::column(Column::Id).do_nothing().to_owned()));
