//! `budgets`.

use sea_orm::entity::prelude::*;
use sea_orm::{QueryOrder, Set};

use crate::auth::{OperatorScope, PlatformScope, SweeperScope};
use crate::billing::{Amounts, BudgetRecord, BudgetTerms, Limits, Period};
use crate::clock::Timestamp;
use crate::id::{AccountId, BudgetId, EndUserId, PlatformId};
use crate::money::{DisplayUnits, NanoUsd, Tokens};
use crate::store::StoreError;
use crate::store::sql::error::corrupt;

/// A row. What remains lives in the account.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "budgets")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub platform_id: Uuid,
    pub end_user_id: Uuid,
    pub account_id: i64,
    pub max_usd: Option<i64>,
    pub max_tokens: Option<i64>,
    pub max_display: Option<i64>,
    pub period: i16,
    pub timezone: String,
    pub period_start: i64,
    pub period_end: Option<i64>,
    pub auto_replenish: bool,
    pub replenish_usd: Option<i64>,
    pub replenish_tokens: Option<i64>,
    pub threshold_usd: Option<i64>,
    pub threshold_tokens: Option<i64>,
    pub is_active: bool,
    pub is_suspended: bool,
    pub version: i64,
    pub created_at: i64,
    pub updated_at: i64,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Entity {
    /// Budgets of the platform's end users.
    pub fn of(scope: &PlatformScope) -> Select<Self> {
        Self::find().filter(Column::PlatformId.eq(scope.platform_id().as_uuid()))
    }

    /// The budget of one end user of the platform.
    pub fn of_end_user(scope: &PlatformScope, end_user: EndUserId) -> Select<Self> {
        Self::of(scope).filter(Column::EndUserId.eq(end_user.as_uuid()))
    }

    /// The budget that is counted in this account.
    pub fn in_account(_: &SweeperScope, account: AccountId) -> Select<Self> {
        Self::find().filter(Column::AccountId.eq(account.0))
    }

    /// Budgets in force whose period is over, the oldest boundary first.
    pub fn due(_: &SweeperScope, now: Timestamp) -> Select<Self> {
        Self::find()
            .filter(Column::IsActive.eq(true))
            .filter(Column::PeriodEnd.lte(now.as_micros()))
            .order_by_asc(Column::PeriodEnd)
            .order_by_asc(Column::AccountId)
    }

    /// All budgets.
    pub fn all(_: &OperatorScope) -> Select<Self> {
        Self::find()
    }
}

impl Model {
    /// The limits as amounts; a limit that is not set counts as zero.
    pub fn limits(&self) -> Amounts {
        Amounts::from_raw(
            self.max_usd.unwrap_or(0),
            self.max_tokens.unwrap_or(0),
            self.max_display.unwrap_or(0),
        )
    }

    /// The row as a record.
    pub fn to_domain(&self) -> Result<BudgetRecord, StoreError> {
        let limits = |usd: Option<i64>, tokens: Option<i64>| Limits {
            usd: usd.map(NanoUsd::new),
            tokens: tokens.map(Tokens::new),
        };
        Ok(BudgetRecord {
            id: BudgetId::from_uuid(self.id),
            platform_id: PlatformId::from_uuid(self.platform_id),
            end_user_id: EndUserId::from_uuid(self.end_user_id),
            account: AccountId(self.account_id),
            terms: BudgetTerms {
                limits: limits(self.max_usd, self.max_tokens),
                period: Period::from_number(self.period)
                    .ok_or_else(|| corrupt("budgets.period"))?,
                timezone: self
                    .timezone
                    .parse()
                    .map_err(|_| corrupt("budgets.timezone"))?,
                auto_replenish: self.auto_replenish,
                replenish: limits(self.replenish_usd, self.replenish_tokens),
                low_balance: limits(self.threshold_usd, self.threshold_tokens),
            },
            max_display: self.max_display.map(DisplayUnits::new),
            period_start: Timestamp::from_micros(self.period_start),
            period_end: self.period_end.map(Timestamp::from_micros),
            is_active: self.is_active,
            is_suspended: self.is_suspended,
            created_at: Timestamp::from_micros(self.created_at),
            updated_at: Timestamp::from_micros(self.updated_at),
        })
    }
}

/// The record as a row with this version.
pub fn row(record: &BudgetRecord, version: i64) -> ActiveModel {
    let terms = &record.terms;
    ActiveModel {
        id: Set(record.id.as_uuid()),
        platform_id: Set(record.platform_id.as_uuid()),
        end_user_id: Set(record.end_user_id.as_uuid()),
        account_id: Set(record.account.0),
        max_usd: Set(terms.limits.usd.map(NanoUsd::get)),
        max_tokens: Set(terms.limits.tokens.map(Tokens::get)),
        max_display: Set(record.max_display.map(DisplayUnits::get)),
        period: Set(terms.period as i16),
        timezone: Set(terms.timezone.to_string()),
        period_start: Set(record.period_start.as_micros()),
        period_end: Set(record.period_end.map(Timestamp::as_micros)),
        auto_replenish: Set(terms.auto_replenish),
        replenish_usd: Set(terms.replenish.usd.map(NanoUsd::get)),
        replenish_tokens: Set(terms.replenish.tokens.map(Tokens::get)),
        threshold_usd: Set(terms.low_balance.usd.map(NanoUsd::get)),
        threshold_tokens: Set(terms.low_balance.tokens.map(Tokens::get)),
        is_active: Set(record.is_active),
        is_suspended: Set(record.is_suspended),
        version: Set(version),
        created_at: Set(record.created_at.as_micros()),
        updated_at: Set(record.updated_at.as_micros()),
    }
}
