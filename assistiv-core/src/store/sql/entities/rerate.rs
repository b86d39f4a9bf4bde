//! `billing_reratings`: what was asked for, and what came of it.

use sea_orm::Set;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::OnConflict;

use crate::auth::OperatorScope;
use crate::billing::{RerateReport, Rerating};
use crate::clock::Timestamp;
use crate::id::{EntryId, PlatformId};
use crate::store::StoreError;
use crate::store::sql::error::corrupt;

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "billing_reratings")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub from_time: i64,
    pub to_time: i64,
    pub platform_id: Option<Uuid>,
    pub provider: Option<String>,
    pub provider_model_id: Option<String>,
    pub reason: Option<String>,
    pub idempotency_key: Option<String>,
    pub request_hash: Option<String>,
    pub report: Option<String>,
    pub created_at: i64,
    pub finished_at: Option<i64>,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Entity {
    /// One re-rating.
    pub fn one(_: &OperatorScope, id: EntryId) -> Select<Self> {
        Self::find().filter(Column::Id.eq(id.as_uuid()))
    }
}

impl Model {
    /// What came of it, once it is finished.
    pub fn report(&self) -> Result<Option<RerateReport>, StoreError> {
        let report = self.report.as_deref().map(serde_json::from_str);
        report
            .transpose()
            .map_err(|_| corrupt("billing_reratings.report"))
    }
}

/// A re-rating that begins.
pub fn row(rerating: &Rerating, now: Timestamp) -> ActiveModel {
    let (key, hash) = rerating.request.clone().unzip();
    ActiveModel {
        id: Set(rerating.id.as_uuid()),
        from_time: Set(rerating.interval.from.as_micros()),
        to_time: Set(rerating.interval.to.as_micros()),
        platform_id: Set(rerating.interval.platform_id.map(PlatformId::as_uuid)),
        provider: Set(rerating.provider.clone()),
        provider_model_id: Set(rerating.provider_model_id.clone()),
        reason: Set(rerating.reason.clone()),
        idempotency_key: Set(key),
        request_hash: Set(hash.map(hash_text)),
        report: Set(None),
        created_at: Set(now.as_micros()),
        finished_at: Set(None),
    }
}

/// What is recorded stays as it is.
pub fn kept() -> OnConflict {
    OnConflict::column(Column::Id).do_nothing().to_owned()
}

/// A hash as text.
pub fn hash_text(hash: [u8; 32]) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or_default();
    hash.iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}
