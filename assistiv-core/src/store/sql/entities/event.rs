//! `billing_outbox`: events, written with their causes.

use std::sync::LazyLock;

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Cond, OnConflict};
use sea_orm::{QueryOrder, Set};

use crate::auth::SweeperScope;
use crate::clock::Timestamp;
use crate::events::{Event, EventCursor, EventId};
use crate::id::PlatformId;
use crate::store::StoreError;
use crate::store::sql::error::corrupt;
use crate::store::sql::query::Inserts;

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "billing_outbox")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub event_id: String,
    pub platform_id: Uuid,
    #[sea_orm(column_name = "type")]
    pub event_type: String,
    pub payload: String,
    pub created_at: i64,
    /// Whether webhooks have their deliveries of it.
    pub fanned_out: bool,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Entity {
    /// Events that no webhook has deliveries of yet, oldest first.
    pub fn not_fanned_out(_: &SweeperScope) -> Select<Self> {
        let new = Self::find().filter(Column::FannedOut.eq(false));
        new.order_by_asc(Column::CreatedAt)
    }

    /// Events of all platforms after the cursor, in the order in which they are read.
    pub fn after(_: &SweeperScope, cursor: Option<EventCursor>) -> Select<Self> {
        let in_order = Self::find()
            .order_by_asc(Column::CreatedAt)
            .order_by_asc(Column::EventId);
        let Some(cursor) = cursor else {
            return in_order;
        };
        let at = cursor.created_at.as_micros();
        let at_once = Cond::all()
            .add(Column::CreatedAt.eq(at))
            .add(Column::EventId.gt(cursor.id.to_string()));
        in_order.filter(Cond::any().add(Column::CreatedAt.gt(at)).add(at_once))
    }
}

impl Model {
    /// The row as an event.
    pub fn into_domain(self) -> Result<Event, StoreError> {
        let id: Result<EventId, _> = self.event_id.parse();
        Ok(Event {
            id: id.map_err(|_| corrupt("billing_outbox.event_id"))?,
            platform_id: PlatformId::from_uuid(self.platform_id),
            created_at: Timestamp::from_micros(self.created_at),
            data: serde_json::from_str(&self.payload)
                .map_err(|_| corrupt("billing_outbox.payload"))?,
        })
    }
}

/// The event as a row.
pub fn row(event: &Event) -> ActiveModel {
    ActiveModel {
        event_id: Set(event.id.to_string()),
        platform_id: Set(event.platform_id.as_uuid()),
        event_type: Set(event.event_type().as_str().to_owned()),
        payload: Set(event.data.get().to_owned()),
        created_at: Set(event.created_at.as_micros()),
        fanned_out: Set(false),
    }
}

/// An event that was told is not told again.
pub(in crate::store::sql) static NEW: LazyLock<Inserts<ActiveModel>> =
    LazyLock::new(|| Inserts::new(OnConflict::column(Column::EventId).do_nothing().to_owned()));
