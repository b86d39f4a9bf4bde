//! `logs`: one row for each model call.

use sea_orm::Set;
use std::sync::LazyLock;

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::OnConflict;

use super::{object_text, read_object};
use crate::auth::{OperatorScope, PlatformScope, SweeperScope};
use crate::billing::CountMethod;
use crate::clock::Timestamp;
use crate::id::{EndUserId, KeyId, LogId, ModelId, PlatformId, PriceId, ProviderId};
use crate::logs::{BillingStatus, LogRow, LogStatus, RequestType};
use crate::money::NanoUsd;
use crate::store::StoreError;
use crate::store::sql::error::corrupt;
use crate::store::sql::query::Inserts;

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "logs")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub platform_id: Uuid,
    pub end_user_id: Option<Uuid>,
    pub api_key_id: Option<Uuid>,
    pub request_type: i16,
    pub provider_id: Option<Uuid>,
    pub provider: Option<String>,
    pub model_id: Option<Uuid>,
    pub model: Option<String>,
    pub provider_model_id: Option<String>,
    pub prompt_tokens: i64,
    pub completion_tokens: i64,
    pub latency_ms: i64,
    pub cost_usd: i64,
    pub status: i16,
    pub error_message: Option<String>,
    pub reason: Option<String>,
    pub is_estimated: bool,
    pub billing_status: i16,
    pub request_id: Option<String>,
    pub starts_request: bool,
    pub overhead_us: Option<i64>,
    pub price_id: Option<Uuid>,
    pub metadata: Option<String>,
    pub created_at: i64,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Entity {
    /// The platform's rows.
    pub fn of(scope: &PlatformScope) -> Select<Self> {
        Self::find().filter(Column::PlatformId.eq(scope.platform_id().as_uuid()))
    }

    /// Rows of all platforms.
    pub fn all(_: &OperatorScope) -> Select<Self> {
        Self::find()
    }

    /// Rows of all platforms, for the writer and the keeper of the log.
    pub fn any(_: &SweeperScope) -> Select<Self> {
        Self::find()
    }
}

impl Model {
    /// The row as the log has it.
    pub fn into_domain(self) -> Result<LogRow, StoreError> {
        let slug = |text: Option<String>, what: &str| {
            text.map(|text| text.parse().map_err(|_| corrupt(what)))
                .transpose()
        };
        let model = slug(self.model, "logs.model")?;
        let provider = self
            .provider
            .map(|text| text.parse().map_err(|_| corrupt("logs.provider")))
            .transpose()?;
        let metadata = self
            .metadata
            .as_deref()
            .map(|text| read_object(text, "logs.metadata"));
        Ok(LogRow {
            id: LogId::from_uuid(self.id),
            platform_id: PlatformId::from_uuid(self.platform_id),
            end_user_id: self.end_user_id.map(EndUserId::from_uuid),
            api_key_id: self.api_key_id.map(KeyId::from_uuid),
            request_type: RequestType::from_number(self.request_type)
                .ok_or_else(|| corrupt("logs.request_type"))?,
            provider: self.provider_id.map(ProviderId::from_uuid).zip(provider),
            model: self.model_id.map(ModelId::from_uuid).zip(model),
            provider_model_id: self.provider_model_id,
            prompt_tokens: count(self.prompt_tokens)?,
            completion_tokens: count(self.completion_tokens)?,
            latency_ms: count(self.latency_ms)?,
            cost: NanoUsd::new(self.cost_usd),
            status: LogStatus::from_number(self.status).ok_or_else(|| corrupt("logs.status"))?,
            error_message: self.error_message,
            reason: self.reason,
            count_method: if self.is_estimated {
                CountMethod::Estimated
            } else {
                CountMethod::Reported
            },
            billing_status: BillingStatus::from_number(self.billing_status)
                .ok_or_else(|| corrupt("logs.billing_status"))?,
            request_id: self.request_id,
            starts_request: self.starts_request,
            overhead_us: self.overhead_us.map(count).transpose()?,
            price_id: self.price_id.map(PriceId::from_uuid),
            metadata: metadata.transpose()?.unwrap_or_default(),
            created_at: Timestamp::from_micros(self.created_at),
        })
    }
}

/// The row of a call.
pub fn row(log: &LogRow) -> Result<ActiveModel, StoreError> {
    let metadata = (!log.metadata.is_empty())
        .then(|| object_text(&log.metadata))
        .transpose()?;
    let provider = log.provider.as_ref();
    let model = log.model.as_ref();
    Ok(ActiveModel {
        id: Set(log.id.as_uuid()),
        platform_id: Set(log.platform_id.as_uuid()),
        end_user_id: Set(log.end_user_id.map(EndUserId::as_uuid)),
        api_key_id: Set(log.api_key_id.map(KeyId::as_uuid)),
        request_type: Set(log.request_type as i16),
        provider_id: Set(provider.map(|(id, _)| id.as_uuid())),
        provider: Set(provider.map(|(_, slug)| slug.to_string())),
        model_id: Set(model.map(|(id, _)| id.as_uuid())),
        model: Set(model.map(|(_, slug)| slug.to_string())),
        provider_model_id: Set(log.provider_model_id.clone()),
        prompt_tokens: Set(number(log.prompt_tokens)),
        completion_tokens: Set(number(log.completion_tokens)),
        latency_ms: Set(number(log.latency_ms)),
        cost_usd: Set(log.cost.get()),
        status: Set(log.status as i16),
        error_message: Set(log.error_message.clone()),
        reason: Set(log.reason.clone()),
        is_estimated: Set(log.count_method == CountMethod::Estimated),
        billing_status: Set(log.billing_status as i16),
        request_id: Set(log.request_id.clone()),
        starts_request: Set(log.starts_request),
        overhead_us: Set(log.overhead_us.map(number)),
        price_id: Set(log.price_id.map(PriceId::as_uuid)),
        metadata: Set(metadata),
        created_at: Set(log.created_at.as_micros()),
    })
}

/// Rows of which those that are there stay.
pub(in crate::store::sql) static UNKNOWN: LazyLock<Inserts<ActiveModel>> =
    LazyLock::new(|| Inserts::new(OnConflict::column(Column::Id).do_nothing().to_owned()));

/// The same; the ids of the others are returned.
pub(in crate::store::sql) static NEW: LazyLock<Inserts<ActiveModel>> = LazyLock::new(|| {
    Inserts::new(OnConflict::column(Column::Id).do_nothing().to_owned()).returning(Column::Id)
});

fn count(number: i64) -> Result<u64, StoreError> {
    u64::try_from(number).map_err(|_| corrupt("a count of logs"))
}

fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
