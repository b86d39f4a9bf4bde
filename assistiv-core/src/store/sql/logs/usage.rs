//! Sums over rollups, and over rows where a time lies inside a slot.

use std::collections::BTreeMap;

use sea_orm::sea_query::{Expr, ExprTrait, Func};
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryResult, QuerySelect, QueryTrait,
    Select,
};
use uuid::Uuid;

use super::keep;
use crate::auth::{OperatorScope, PlatformScope};
use crate::clock::Timestamp;
use crate::id::PlatformId;
use crate::logs::{
    BilledSum, BillingStatus, LogStatus, RequestType, SLOT_MICROS, Step, Sums, UsageDimension,
    UsageQuery, UsageRow, slot,
};
use crate::money::NanoUsd;
use crate::store::StoreError;
use crate::store::sql::SqlStore;
use crate::store::sql::entities::log_rollup::{self, FULL, NARROW};
use crate::store::sql::entities::{log, log_mark};
use crate::store::sql::error::{corrupt, failed};
use crate::store::sql::query::sum;

/// A span of time, as whole slots and what is left of it at both ends.
pub(super) struct Span {
    /// From one slot until before another; open where the span is. `None` when it has no whole slot.
    pub(super) slots: Option<(Option<Timestamp>, Option<Timestamp>)>,
    /// Parts of slots.
    pub(super) edges: Vec<(Timestamp, Timestamp)>,
}

impl Span {
    pub(super) fn of(from: Option<Timestamp>, to: Option<Timestamp>) -> Self {
        let first = from.map(|from| {
            let start = slot(from);
            if start == from {
                from
            } else {
                Timestamp::from_micros(start.as_micros().saturating_add(SLOT_MICROS))
            }
        });
        let last = to.map(slot);
        if let (Some(from), Some(to), Some(first), Some(last)) = (from, to, first, last)
            && first >= last
        {
            // At most two parts of slots, side by side.
            return Self {
                slots: None,
                edges: if from < to {
                    vec![(from, to)]
                } else {
                    Vec::new()
                },
            };
        }
        let head = from.zip(first).filter(|(from, first)| from < first);
        let tail = last.zip(to).filter(|(last, to)| last < to);
        Self {
            slots: Some((first, last)),
            edges: head.into_iter().chain(tail).collect(),
        }
    }
}

/// Lines by step and key.
type Lines = BTreeMap<(i64, Option<String>), Sums>;

/// Sums of a platform's usage.
pub(super) async fn usage(
    store: &SqlStore,
    scope: &PlatformScope,
    query: &UsageQuery,
) -> Result<Vec<UsageRow>, StoreError> {
    let txn = store.begin_log_read().await?;
    let span = Span::of(Some(query.from), Some(query.to));
    let mut lines = Lines::new();
    if let Some((from, to)) = span.slots {
        let select = rollups(scope, query, from, to);
        collect(&txn, select, query.group_by, &mut lines).await?;
    }
    for (from, to) in span.edges {
        let select = rows(scope, query, from, to);
        collect(&txn, select, query.group_by, &mut lines).await?;
    }
    Ok(lines
        .into_iter()
        .map(|((step, key), sums)| UsageRow { key, step, sums })
        .collect())
}

fn rollups(
    scope: &PlatformScope,
    query: &UsageQuery,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
) -> Select<log_rollup::Entity> {
    use log_rollup::Column;
    let by_whom = matches!(
        query.group_by,
        Some(UsageDimension::EndUser | UsageDimension::ApiKey)
    );
    let level = if by_whom || query.end_user_id.is_some() {
        FULL
    } else {
        NARROW
    };
    let mut select = log_rollup::Entity::of(scope, level);
    if let Some(from) = from {
        select = select.filter(Column::Start.gte(from.as_micros()));
    }
    if let Some(to) = to {
        select = select.filter(Column::Start.lt(to.as_micros()));
    }
    if let Some(model) = &query.model {
        select = select.filter(Column::Model.eq(model.as_str()));
    }
    if let Some(end_user) = query.end_user_id {
        select = select.filter(Column::EndUserId.eq(end_user.as_uuid()));
    }
    let key = query.group_by.map(|dimension| match dimension {
        UsageDimension::Model => Column::Model,
        UsageDimension::Provider => Column::Provider,
        UsageDimension::EndUser => Column::EndUserId,
        UsageDimension::ApiKey => Column::ApiKeyId,
        UsageDimension::RequestType => Column::RequestType,
    });
    let sums = [
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
    grouped(
        select,
        key.map(|key| key.into_expr()),
        query
            .step
            .map(|step| number(step, Column::Start.into_expr())),
        sums.map(|column| column.into_expr()),
    )
}

fn rows(
    scope: &PlatformScope,
    query: &UsageQuery,
    from: Timestamp,
    to: Timestamp,
) -> Select<log::Entity> {
    use log::Column;
    let mut select = log::Entity::of(scope)
        .filter(Column::CreatedAt.gte(from.as_micros()))
        .filter(Column::CreatedAt.lt(to.as_micros()));
    if let Some(model) = &query.model {
        select = select.filter(Column::Model.eq(model.as_str()));
    }
    if let Some(end_user) = query.end_user_id {
        select = select.filter(Column::EndUserId.eq(end_user.as_uuid()));
    }
    let text = |column: Column| Expr::from(Func::coalesce([column.into_expr(), Expr::val("")]));
    let id = |column: Column| column.into_expr();
    let key = query.group_by.map(|dimension| match dimension {
        UsageDimension::Model => text(Column::Model),
        UsageDimension::Provider => text(Column::Provider),
        UsageDimension::EndUser => id(Column::EndUserId),
        UsageDimension::ApiKey => id(Column::ApiKeyId),
        UsageDimension::RequestType => id(Column::RequestType),
    });
    let if_then = |condition: Expr, value: Expr| -> Expr {
        Expr::case(condition, value).finally(0_i64).into()
    };
    let one_if = |condition: Expr| if_then(condition, Expr::val(1_i64));
    let has = |status: BillingStatus| Column::BillingStatus.eq(status as i16);
    let tools = RequestType::ALL
        .into_iter()
        .filter(|of| of.is_tool())
        .map(|of| of as i16);
    let sums = [
        one_if(Column::StartsRequest.eq(true)),
        Expr::val(1_i64),
        one_if(Column::Status.eq(LogStatus::Error as i16)),
        one_if(has(BillingStatus::Billed)),
        one_if(has(BillingStatus::Pending)),
        one_if(Column::RequestType.is_in(tools)),
        Column::PromptTokens.into_expr(),
        Column::CompletionTokens.into_expr(),
        if_then(has(BillingStatus::Billed), Column::CostUsd.into_expr()),
    ];
    let step = query
        .step
        .map(|step| number(step, Column::CreatedAt.into_expr()));
    grouped(select, key, step, sums)
}

/// The number of the step that a time lies in. Times are after 1970, so that rounding towards zero is rounding
/// down.
fn number(step: Step, at: Expr) -> Expr {
    at.add(step.offset_micros).div(step.micros)
}

const SUMS: [&str; 9] = [
    "s_requests",
    "s_rows",
    "s_errors",
    "s_billed",
    "s_pending",
    "s_tool_calls",
    "s_prompt",
    "s_completion",
    "s_cost",
];

fn grouped<E: EntityTrait>(
    select: Select<E>,
    key: Option<Expr>,
    step: Option<Expr>,
    sums: [Expr; 9],
) -> Select<E> {
    let mut select = select.select_only();
    // By the names of the results: the same expression twice would have other parameters the second time.
    if let Some(key) = key {
        select = select.expr_as(key, "key").group_by(Expr::col("key"));
    }
    if let Some(step) = step {
        select = select.expr_as(step, "step").group_by(Expr::col("step"));
    }
    for (value, name) in sums.into_iter().zip(SUMS) {
        select = select.expr_as(sum(value), name);
    }
    select
}

async fn collect<E: EntityTrait>(
    db: &impl ConnectionTrait,
    select: Select<E>,
    group_by: Option<UsageDimension>,
    lines: &mut Lines,
) -> Result<(), StoreError> {
    let has_step = select.as_query().to_owned();
    let rows = db.query_all(&has_step).await.map_err(failed)?;
    for row in &rows {
        let sums = read_sums(row)?;
        // Sums over no rows are a row where nothing is grouped.
        if sums.rows == 0 {
            continue;
        }
        let key = group_by.map(|dimension| read_key(row, dimension));
        let step = row.try_get("", "step").unwrap_or(0);
        let line = lines.entry((step, key.transpose()?.flatten())).or_default();
        *line = line.plus(&sums);
    }
    Ok(())
}

fn read_key(row: &QueryResult, dimension: UsageDimension) -> Result<Option<String>, StoreError> {
    Ok(match dimension {
        UsageDimension::Model | UsageDimension::Provider => {
            let text: String = row.try_get("", "key").map_err(failed)?;
            Some(text).filter(|text| !text.is_empty())
        }
        UsageDimension::EndUser | UsageDimension::ApiKey => {
            let id: Option<Uuid> = row.try_get("", "key").map_err(failed)?;
            id.filter(|id| !id.is_nil()).map(|id| id.to_string())
        }
        UsageDimension::RequestType => {
            let of: i16 = row.try_get("", "key").map_err(failed)?;
            let of = RequestType::from_number(of).ok_or_else(|| corrupt("logs.request_type"))?;
            Some(of.as_str().to_owned())
        }
    })
}

fn read_sums(row: &QueryResult) -> Result<Sums, StoreError> {
    let mut values = [0_i64; 9];
    for (value, name) in values.iter_mut().zip(SUMS) {
        *value = row.try_get("", name).map_err(failed)?;
    }
    let [
        requests,
        rows,
        errors,
        billed,
        pending,
        tool_calls,
        prompt,
        completion,
        cost,
    ] = values;
    let count =
        |number: i64| u64::try_from(number).map_err(|_| corrupt("a sum of the request log"));
    Ok(Sums {
        requests: count(requests)?,
        rows: count(rows)?,
        errors: count(errors)?,
        billed: count(billed)?,
        pending: count(pending)?,
        tool_calls: count(tool_calls)?,
        prompt_tokens: count(prompt)?,
        completion_tokens: count(completion)?,
        cost: NanoUsd::new(cost),
    })
}

/// The billed cost of every platform.
pub(super) async fn billed(
    store: &SqlStore,
    scope: &OperatorScope,
) -> Result<Vec<BilledSum>, StoreError> {
    let txn = store.begin_log_read().await?;
    let cut = keep::mark(&txn, log_mark::PRUNED_BEFORE)
        .await?
        .unwrap_or(i64::MIN);
    let rollups = {
        use log_rollup::Column;
        let kept: Expr = Expr::case(Column::Start.gte(cut), Column::CostUsd.into_expr())
            .finally(0_i64)
            .into();
        log_rollup::Entity::all(scope)
            .select_only()
            .column(Column::PlatformId)
            .expr_as(sum(Column::CostUsd.into_expr()), "ever")
            .expr_as(sum(kept), "kept")
            .group_by(Column::PlatformId)
            .into_tuple::<(Uuid, i64, i64)>()
            .all(&txn)
            .await
            .map_err(failed)?
    };
    use log::Column;
    let rows = log::Entity::all(scope)
        .filter(Column::BillingStatus.eq(BillingStatus::Billed as i16))
        .filter(Column::CreatedAt.gte(cut))
        .select_only()
        .column(Column::PlatformId)
        .expr_as(sum(Column::CostUsd.into_expr()), "cost")
        .group_by(Column::PlatformId)
        .into_tuple::<(Uuid, i64)>()
        .all(&txn)
        .await
        .map_err(failed)?;
    let mut sums: BTreeMap<Uuid, (i64, i64, i64)> = BTreeMap::new();
    for (platform, ever, kept) in rollups {
        sums.insert(platform, (ever, kept, 0));
    }
    for (platform, cost) in rows {
        sums.entry(platform).or_default().2 = cost;
    }
    Ok(sums
        .into_iter()
        .map(|(platform, (ever, kept, rows))| BilledSum {
            platform_id: PlatformId::from_uuid(platform),
            rolled_up: NanoUsd::new(ever),
            rolled_up_kept: NanoUsd::new(kept),
            rows: NanoUsd::new(rows),
        })
        .collect())
}
