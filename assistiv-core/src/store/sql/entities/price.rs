//! `prices`: versions of prices that operators have added. Append only.

use std::sync::Arc;

use sea_orm::entity::prelude::*;
use sea_orm::{NotSet, QueryOrder, Set};

use crate::auth::SweeperScope;
use crate::billing::Price;
use crate::clock::Timestamp;
use crate::id::PriceId;
use crate::money::NanoUsd;
use crate::prices::PriceVersion;
use crate::store::StoreError;
use crate::store::sql::error::corrupt;

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "prices")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub seq: i64,
    pub id: Uuid,
    pub provider: String,
    pub provider_model_id: String,
    pub service_tier: String,
    pub effective_from: i64,
    pub per_call: i64,
    pub rates: String,
    pub long_context: Option<String>,
    pub note: Option<String>,
    pub created_at: i64,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Entity {
    /// All versions, in the order in which they were added.
    pub fn in_order(_: &SweeperScope) -> Select<Self> {
        Self::find().order_by_asc(Column::Seq)
    }

    /// One version. Prices belong to no tenant.
    pub fn one(id: Uuid) -> Select<Self> {
        Self::find().filter(Column::Id.eq(id))
    }
}

impl Model {
    /// The row as a version.
    pub fn into_domain(self) -> Result<PriceVersion, StoreError> {
        let unreadable = |_| corrupt("prices");
        let long_context = self.long_context.as_deref();
        Ok(PriceVersion {
            provider: self
                .provider
                .parse()
                .map_err(|_| corrupt("prices.provider"))?,
            provider_model_id: self.provider_model_id.into(),
            price: Arc::new(Price {
                id: PriceId::from_uuid(self.id),
                service_tier: self.service_tier,
                effective_from: Timestamp::from_micros(self.effective_from),
                per_call: NanoUsd::new(self.per_call),
                rates: serde_json::from_str(&self.rates).map_err(unreadable)?,
                long_context: long_context
                    .map(serde_json::from_str)
                    .transpose()
                    .map_err(unreadable)?,
            }),
            note: self.note,
            created_at: Timestamp::from_micros(self.created_at),
        })
    }
}

/// The version as a row that is added at `now`.
pub fn row(version: &PriceVersion, now: Timestamp) -> Result<ActiveModel, StoreError> {
    let unwritable = |_| corrupt("a price that cannot be written");
    let price = &version.price;
    let long_context = price.long_context.as_ref();
    Ok(ActiveModel {
        seq: NotSet,
        id: Set(price.id.as_uuid()),
        provider: Set(version.provider.as_str().to_owned()),
        provider_model_id: Set(version.provider_model_id.to_string()),
        service_tier: Set(price.service_tier.clone()),
        effective_from: Set(price.effective_from.as_micros()),
        per_call: Set(price.per_call.get()),
        rates: Set(serde_json::to_string(&price.rates).map_err(unwritable)?),
        long_context: Set(long_context
            .map(serde_json::to_string)
            .transpose()
            .map_err(unwritable)?),
        note: Set(version.note.clone()),
        created_at: Set(now.as_micros()),
    })
}
