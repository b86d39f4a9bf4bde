//! `log_rollups`: sums over rows of the request log, by quarters of an hour.
//!
//! Each row of the log is in two rollups: one without end user and key, of which there are few, and
//! one with both. What a row does not have is a nil id or an empty text, because keys do not take
//! nulls.

use sea_orm::Set;
use std::sync::LazyLock;

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{ExprTrait, OnConflict};

use crate::auth::{OperatorScope, PlatformScope, SweeperScope};
use crate::logs::{LogRow, Sums, slot};
use crate::store::sql::query::Inserts;

/// Without end user and key.
pub const NARROW: i16 = 0;
/// With both.
pub const FULL: i16 = 1;

/// A rollup.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "log_rollups")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub platform_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub level: i16,
    #[sea_orm(primary_key, auto_increment = false)]
    pub start: i64,
    #[sea_orm(primary_key, auto_increment = false)]
    pub model: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub provider: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub request_type: i16,
    #[sea_orm(primary_key, auto_increment = false)]
    pub end_user_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub api_key_id: Uuid,
    pub requests: i64,
    pub row_count: i64,
    pub errors: i64,
    pub billed: i64,
    pub pending: i64,
    pub tool_calls: i64,
    pub prompt_tokens: i64,
    pub completion_tokens: i64,
    pub cost_usd: i64,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// Which rollup. In the order of the primary key, so that writers lock rows in one order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    platform_id: Uuid,
    level: i16,
    start: i64,
    model: String,
    provider: String,
    request_type: i16,
    end_user_id: Uuid,
    api_key_id: Uuid,
}

/// What is added to a rollup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change([i64; 9]);

const COUNTS: [Column; 9] = [
    Column::Requests,
    Column::RowCount,
    Column::Errors,
    Column::Billed,
    Column::Pending,
    Column::ToolCalls,
    Column::PromptTokens,
    Column::CompletionTokens,
    Column::CostUsd,
];

impl Entity {
    /// The platform's rollups of a level.
    pub fn of(scope: &PlatformScope, level: i16) -> Select<Self> {
        Self::find()
            .filter(Column::PlatformId.eq(scope.platform_id().as_uuid()))
            .filter(Column::Level.eq(level))
    }

    /// Rollups of all platforms, each row of the log in one of them.
    pub fn all(_: &OperatorScope) -> Select<Self> {
        Self::find().filter(Column::Level.eq(NARROW))
    }

    /// As [`Entity::all`], for the keeper of the log.
    pub fn any(_: &SweeperScope) -> Select<Self> {
        Self::find().filter(Column::Level.eq(NARROW))
    }
}

impl Key {
    /// The rollups that a row is in.
    pub fn both_of(row: &LogRow) -> [Self; 2] {
        let text = |slug: Option<&str>| slug.unwrap_or_default().to_owned();
        let narrow = Self {
            platform_id: row.platform_id.as_uuid(),
            level: NARROW,
            start: slot(row.created_at).as_micros(),
            model: text(row.model.as_ref().map(|(_, slug)| slug.as_str())),
            provider: text(row.provider.as_ref().map(|(_, slug)| slug.as_str())),
            request_type: row.request_type as i16,
            end_user_id: Uuid::nil(),
            api_key_id: Uuid::nil(),
        };
        let full = Self {
            level: FULL,
            end_user_id: row.end_user_id.map(|id| id.as_uuid()).unwrap_or_default(),
            api_key_id: row.api_key_id.map(|id| id.as_uuid()).unwrap_or_default(),
            ..narrow.clone()
        };
        [narrow, full]
    }

    /// The rollup as a row that is added to the one that is there.
    pub fn row(self, change: Change) -> ActiveModel {
        let [
            requests,
            row_count,
            errors,
            billed,
            pending,
            tool_calls,
            prompt,
            completion,
            cost,
        ] = change.0;
        ActiveModel {
            platform_id: Set(self.platform_id),
            level: Set(self.level),
            start: Set(self.start),
            model: Set(self.model),
            provider: Set(self.provider),
            request_type: Set(self.request_type),
            end_user_id: Set(self.end_user_id),
            api_key_id: Set(self.api_key_id),
            requests: Set(requests),
            row_count: Set(row_count),
            errors: Set(errors),
            billed: Set(billed),
            pending: Set(pending),
            tool_calls: Set(tool_calls),
            prompt_tokens: Set(prompt),
            completion_tokens: Set(completion),
            cost_usd: Set(cost),
        }
    }
}

impl Change {
    /// What a row adds.
    pub fn of(sums: &Sums) -> Self {
        let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        Self([
            number(sums.requests),
            number(sums.rows),
            number(sums.errors),
            number(sums.billed),
            number(sums.pending),
            number(sums.tool_calls),
            number(sums.prompt_tokens),
            number(sums.completion_tokens),
            sums.cost.get(),
        ])
    }

    /// Both together, or `None` when a sum does not fit.
    pub fn plus(self, other: Self) -> Option<Self> {
        self.zip(other, i64::checked_add)
    }

    /// What leads from `other` to this.
    pub fn minus(self, other: Self) -> Option<Self> {
        self.zip(other, i64::checked_sub)
    }

    /// By how many rows of the log.
    pub fn rows(&self) -> i64 {
        self.0[1]
    }

    fn zip(self, other: Self, with: fn(i64, i64) -> Option<i64>) -> Option<Self> {
        let mut result = self;
        for (value, other) in result.0.iter_mut().zip(other.0) {
            *value = with(*value, other)?;
        }
        Some(result)
    }
}

/// Adds rows to those that exist.
pub(in crate::store::sql) static ADD: LazyLock<Inserts<ActiveModel>> =
    LazyLock::new(|| Inserts::new(added()));

fn added() -> OnConflict {
    let sum = |column: Column| {
        let old = Expr::col((Entity, column));
        (column, old.add(Expr::col(("excluded", column))))
    };
    OnConflict::columns([
        Column::PlatformId,
        Column::Level,
        Column::Start,
        Column::Model,
        Column::Provider,
        Column::RequestType,
        Column::EndUserId,
        Column::ApiKeyId,
    ])
    .values(COUNTS.map(sum))
    .to_owned()
}
