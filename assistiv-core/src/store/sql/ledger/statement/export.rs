//! Statements for export: what they cover is fixed when they begin, and then read from the newest entry to the first.

use std::time::Duration;

use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, FromQueryResult, QueryFilter, QueryOrder, QuerySelect,
};

use super::{Holder, Rows, out_of_range, sums};
use crate::auth::PlatformScope;
use crate::billing::{
    EntriesOf, EntryFilter, EntryWithBalance, Statement, StatementCursor, StatementPage,
};
use crate::clock::Timestamp;
use crate::store::StoreError;
use crate::store::sql::SqlStore;
use crate::store::sql::entities::ledger::{self, Column};
use crate::store::sql::error::{corrupt, failed};

/// Younger entries may be joined by ones before them.
const SETTLED: Duration = Duration::from_secs(5);

/// The first and the last entry of a period.
#[derive(FromQueryResult)]
struct Ends {
    first: Option<i64>,
    last: Option<i64>,
}

/// Fixes what an export covers.
pub(in crate::store::sql::ledger) async fn open(
    store: &SqlStore,
    scope: &PlatformScope,
    of: EntriesOf,
    filter: &EntryFilter,
) -> Result<Statement, StoreError> {
    let txn = store.begin_read().await?;
    let holder = Holder::find(&txn, scope, of)
        .await?
        .ok_or(StoreError::NotFound)?;
    let end = end(filter, store.now());
    let account = &holder.account;
    let Some((first, last)) = ends(&txn, &holder, filter.from, end).await? else {
        let earlier = match filter.from {
            Some(from) => Condition::all().add(Column::CreatedAt.lt(from.as_micros())),
            None => Condition::all().add(Column::Id.lt(0)),
        };
        let standing = sums::of(&txn, account, earlier).await?;
        return Ok(Statement {
            opening: standing,
            closing: standing,
            rows: 0,
            begin: None,
        });
    };
    let opening = sums::of(&txn, account, Condition::all().add(Column::Id.lt(first))).await?;
    let period = Condition::all().add(Column::Id.between(first, last));
    let moved = sums::of(&txn, account, period).await?;
    let closing = opening.after(&moved).map_err(out_of_range)?;
    let rows = Rows::new(&holder, filter).until(end).count(&txn).await?;
    Ok(Statement {
        opening,
        closing,
        rows,
        begin: Some(StatementCursor {
            before: last + 1,
            first,
            standing: closing,
            end,
        }),
    })
}

/// Reads on.
pub(in crate::store::sql::ledger) async fn read(
    store: &SqlStore,
    scope: &PlatformScope,
    of: EntriesOf,
    filter: &EntryFilter,
    cursor: StatementCursor,
    most: u32,
) -> Result<StatementPage, StoreError> {
    let db = store.reader();
    let holder = Holder::find(db, scope, of)
        .await?
        .ok_or(StoreError::NotFound)?;
    // All entries are read, whatever the filter: each is part of the sums.
    let rows = ledger::Entity::of_account(&holder.account)
        .filter(Column::Id.lt(cursor.before))
        .filter(Column::Id.gte(cursor.first))
        .order_by_desc(Column::Id)
        .limit(u64::from(most))
        .all(db)
        .await
        .map_err(failed)?;
    let mut next = cursor;
    let mut shown = Vec::new();
    for row in rows {
        next.before = row.id;
        let entry = row.into_domain()?;
        let standing = next.standing;
        next.standing = standing
            .before(&entry.change_of(of))
            .map_err(out_of_range)?;
        if entry.created_at >= cursor.end || !filter.matches(&entry) {
            continue;
        }
        shown.extend(filter.parts(&entry, of).map(|part| EntryWithBalance {
            entry: entry.clone(),
            part,
            remaining_after: standing.remaining,
            limit_after: standing.limit,
        }));
    }
    if next.before == cursor.before {
        return Err(corrupt("a statement whose entries went away"));
    }
    Ok(StatementPage {
        rows: shown,
        next: (next.before > next.first).then_some(next),
    })
}

/// Until when an export goes.
fn end(filter: &EntryFilter, now: Timestamp) -> Timestamp {
    let micros = i64::try_from(SETTLED.as_micros()).unwrap_or(i64::MAX);
    let settled = Timestamp::from_micros(now.as_micros().saturating_sub(micros));
    filter.to.map_or(settled, |to| to.min(settled))
}

/// The first and the last entry between two times, if there are any.
async fn ends(
    db: &impl ConnectionTrait,
    holder: &Holder,
    from: Option<Timestamp>,
    end: Timestamp,
) -> Result<Option<(i64, i64)>, StoreError> {
    let mut period =
        ledger::Entity::of_account(&holder.account).filter(Column::CreatedAt.lt(end.as_micros()));
    if let Some(from) = from {
        period = period.filter(Column::CreatedAt.gte(from.as_micros()));
    }
    let found = period
        .select_only()
        .column_as(Column::Id.min(), "first")
        .column_as(Column::Id.max(), "last")
        .into_model::<Ends>()
        .one(db)
        .await
        .map_err(failed)?;
    Ok(found.and_then(|ends| ends.first.zip(ends.last)))
}
