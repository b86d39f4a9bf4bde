//! Lists of rows.

use sea_orm::sea_query::{Condition, Expr, ExprTrait};
use sea_orm::{
    ColumnTrait, ConnectionTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect, Select,
};

use super::keep;
use super::usage::Span;
use crate::auth::PlatformScope;
use crate::clock::Timestamp;
use crate::id::LogId;
use crate::logs::{BillingStatus, LogFilter, LogRow, LogStatus};
use crate::store::sql::SqlStore;
use crate::store::sql::entities::log_rollup::{self, FULL, NARROW};
use crate::store::sql::entities::{log, log_mark};
use crate::store::sql::error::failed;
use crate::store::sql::query::sum;
use crate::store::{Listed, Page, StoreError};

/// One page of rows, and the number of all.
pub(super) async fn page(
    store: &SqlStore,
    scope: &PlatformScope,
    filter: &LogFilter,
    page: Page,
) -> Result<Listed<LogRow>, StoreError> {
    let txn = store.begin_log_read().await?;
    let filter = kept(&txn, filter).await?;
    let rows = newest_first(matching(scope, &filter))
        .limit(u64::from(page.limit))
        .offset(page.offset())
        .all(&txn)
        .await
        .map_err(failed)?;
    Ok(Listed {
        total: total(&txn, scope, &filter).await?,
        rows: into_domain(rows)?,
    })
}

/// Rows behind a row.
pub(super) async fn after(
    store: &SqlStore,
    scope: &PlatformScope,
    filter: &LogFilter,
    after: Option<(Timestamp, LogId)>,
    most: u32,
) -> Result<Vec<LogRow>, StoreError> {
    use log::Column;
    let txn = store.begin_log_read().await?;
    let mut select = matching(scope, &kept(&txn, filter).await?);
    if let Some((at, id)) = after {
        let at = at.as_micros();
        // The first condition alone bounds the walk along the index.
        select = select.filter(Column::CreatedAt.lte(at)).filter(
            Condition::any()
                .add(Column::CreatedAt.lt(at))
                .add(Column::Id.lt(id.as_uuid())),
        );
    }
    let rows = newest_first(select)
        .limit(u64::from(most))
        .all(&txn)
        .await
        .map_err(failed)?;
    into_domain(rows)
}

/// One row.
pub(super) async fn one(
    store: &SqlStore,
    scope: &PlatformScope,
    id: LogId,
) -> Result<LogRow, StoreError> {
    let txn = store.begin_log_read().await?;
    let filter = kept(&txn, &LogFilter::default()).await?;
    let row = matching(scope, &filter)
        .filter(log::Column::Id.eq(id.as_uuid()))
        .one(&txn)
        .await
        .map_err(failed)?;
    row.ok_or(StoreError::NotFound)?.into_domain()
}

/// The filter without what was pruned.
async fn kept(db: &impl ConnectionTrait, filter: &LogFilter) -> Result<LogFilter, StoreError> {
    let cut = keep::mark(db, log_mark::PRUNED_BEFORE).await?;
    Ok(LogFilter {
        from: filter.from.max(cut.map(Timestamp::from_micros)),
        ..filter.clone()
    })
}

fn matching(scope: &PlatformScope, filter: &LogFilter) -> Select<log::Entity> {
    use log::Column;
    let mut select = log::Entity::of(scope);
    if let Some(model) = &filter.model {
        select = select.filter(Column::Model.eq(model.as_str()));
    }
    if let Some(end_user) = filter.end_user_id {
        select = select.filter(Column::EndUserId.eq(end_user.as_uuid()));
    }
    if let Some(request_type) = filter.request_type {
        select = select.filter(Column::RequestType.eq(request_type as i16));
    }
    if let Some(status) = filter.status {
        select = select.filter(is_constant(Column::Status, status as i16));
    }
    if let Some(status) = filter.billing_status {
        select = select.filter(is_constant(Column::BillingStatus, status as i16));
    }
    if let Some(request_id) = &filter.request_id {
        select = select.filter(Column::RequestId.eq(request_id));
    }
    if let Some(from) = filter.from {
        select = select.filter(Column::CreatedAt.gte(from.as_micros()));
    }
    if let Some(to) = filter.to {
        select = select.filter(Column::CreatedAt.lt(to.as_micros()));
    }
    select
}

/// Not as a parameter: only a constant lets the database use an index over these rows alone.
fn is_constant(column: log::Column, value: i16) -> Expr {
    Expr::col((log::Entity, column)).eq(Expr::Constant(value.into()))
}

fn newest_first(select: Select<log::Entity>) -> Select<log::Entity> {
    select
        .order_by_desc(log::Column::CreatedAt)
        .order_by_desc(log::Column::Id)
}

fn into_domain(rows: Vec<log::Model>) -> Result<Vec<LogRow>, StoreError> {
    rows.into_iter().map(log::Model::into_domain).collect()
}

/// How many rows match: from the rollups as far as they know, else counted.
async fn total(
    db: &impl ConnectionTrait,
    scope: &PlatformScope,
    filter: &LogFilter,
) -> Result<u64, StoreError> {
    let Some(counted) = RolledUp::by(filter) else {
        return count(db, matching(scope, filter)).await;
    };
    let span = Span::of(filter.from, filter.to);
    let mut total = 0;
    for (from, to) in span.edges {
        let edge = LogFilter {
            from: Some(from),
            to: Some(to),
            ..filter.clone()
        };
        total += count(db, matching(scope, &edge)).await?;
    }
    if let Some((from, to)) = span.slots {
        total += counted.rows(db, scope, filter, from, to).await?;
    }
    Ok(total)
}

async fn count(db: &impl ConnectionTrait, select: Select<log::Entity>) -> Result<u64, StoreError> {
    select.count(db).await.map_err(failed)
}

/// Which rows of a rollup are counted.
enum RolledUp {
    All,
    Of(LogStatus),
    Billed(BillingStatus),
}

impl RolledUp {
    /// `None` where rollups do not know enough.
    fn by(filter: &LogFilter) -> Option<Self> {
        match (filter.status, filter.billing_status) {
            _ if filter.request_id.is_some() => None,
            (Some(_), Some(_)) => None,
            (Some(status), None) => Some(Self::Of(status)),
            (None, Some(status)) => Some(Self::Billed(status)),
            (None, None) => Some(Self::All),
        }
    }

    async fn rows(
        &self,
        db: &impl ConnectionTrait,
        scope: &PlatformScope,
        filter: &LogFilter,
        from: Option<Timestamp>,
        to: Option<Timestamp>,
    ) -> Result<u64, StoreError> {
        use log_rollup::Column;
        let column = |column: Column| column.into_expr();
        let all = column(Column::RowCount);
        let counted = match self {
            Self::All => all,
            Self::Of(LogStatus::Error) => column(Column::Errors),
            Self::Of(LogStatus::Success) => all.sub(column(Column::Errors)),
            Self::Billed(BillingStatus::Billed) => column(Column::Billed),
            Self::Billed(BillingStatus::Pending) => column(Column::Pending),
            Self::Billed(BillingStatus::Unbilled) => {
                all.sub(column(Column::Billed)).sub(column(Column::Pending))
            }
        };
        let level = if filter.end_user_id.is_some() {
            FULL
        } else {
            NARROW
        };
        let mut select = log_rollup::Entity::of(scope, level);
        if let Some(model) = &filter.model {
            select = select.filter(Column::Model.eq(model.as_str()));
        }
        if let Some(end_user) = filter.end_user_id {
            select = select.filter(Column::EndUserId.eq(end_user.as_uuid()));
        }
        if let Some(request_type) = filter.request_type {
            select = select.filter(Column::RequestType.eq(request_type as i16));
        }
        if let Some(from) = from {
            select = select.filter(Column::Start.gte(from.as_micros()));
        }
        if let Some(to) = to {
            select = select.filter(Column::Start.lt(to.as_micros()));
        }
        let rows: Option<i64> = select
            .select_only()
            .expr_as(sum(counted), "row_count")
            .into_tuple()
            .one(db)
            .await
            .map_err(failed)?;
        Ok(u64::try_from(rows.unwrap_or(0)).unwrap_or(0))
    }
}
