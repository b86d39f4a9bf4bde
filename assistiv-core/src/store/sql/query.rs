//! Pieces that many statements share.

use sea_orm::sea_query::{BinOper, Expr, ExprTrait, Func, OnConflict};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, PaginatorTrait,
    QuerySelect, Select,
};

use crate::billing::Amounts;
use crate::store::{Listed, Page, StoreError};

use super::error::failed;

/// Rows that one insert writes at most; with thirty columns still far below the limit of bind
/// parameters.
const INSERT_ROWS_MAX: usize = 64;

/// Values in one `IN (…)`.
pub(super) const IN_VALUES_MAX: usize = 500;

/// One page of a selection, and the number of all its rows.
pub(super) async fn page_of<E, T>(
    db: &impl ConnectionTrait,
    select: Select<E>,
    page: Page,
    read: impl Fn(E::Model) -> Result<T, StoreError>,
) -> Result<Listed<T>, StoreError>
where
    E: EntityTrait,
    E::Model: Send + Sync,
{
    let total = select.clone().count(db).await.map_err(failed)?;
    let rows = select
        .limit(u64::from(page.limit))
        .offset(page.offset())
        .all(db)
        .await
        .map_err(failed)?;
    Ok(Listed {
        rows: rows.into_iter().map(read).collect::<Result<_, _>>()?,
        total,
    })
}

/// Whether the column contains the text: literally, without regard to case.
pub(super) fn contains(column: impl ColumnTrait, text: &str) -> Expr {
    let mut pattern = String::with_capacity(text.len() + 2);
    pattern.push('%');
    for character in text.chars() {
        if matches!(character, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern.push('%');
    // Both sides are lowered by the database, whose idea of case may be narrower than Unicode's.
    let pattern =
        Expr::from(Func::lower(pattern)).binary(BinOper::Escape, Expr::Constant('\\'.into()));
    Expr::from(Func::lower(Expr::col((column.entity_name(), column))))
        .binary(BinOper::Like, pattern)
}

/// Inserts rows in groups of 64, 32, 16, … 1: so there are few statements of each kind, which stay
/// prepared, however many rows a batch has.
pub(super) async fn insert_rows<A>(
    db: &impl ConnectionTrait,
    rows: Vec<A>,
    on_conflict: Option<&OnConflict>,
) -> Result<(), DbErr>
where
    A: ActiveModelTrait,
{
    let mut left = rows.len();
    let mut rows = rows.into_iter();
    while left > 0 {
        let group = INSERT_ROWS_MAX.min(1 << left.ilog2());
        left -= group;
        let mut insert = A::Entity::insert_many(rows.by_ref().take(group));
        if let Some(on_conflict) = on_conflict {
            insert = insert.on_conflict(on_conflict.clone());
        }
        insert.exec_without_returning(db).await?;
    }
    Ok(())
}

/// A sum as a `BIGINT`, zero over no rows. Some databases widen a sum, and none sums nothing to
/// zero.
pub(super) fn sum(of: impl Into<Expr>) -> Expr {
    Expr::from(Func::coalesce([of.into().sum(), Expr::val(0)])).cast_as("BIGINT")
}

/// Sums of an account, as columns `usd`, `tokens` and `display`.
#[derive(Clone, Copy, Debug, Default, sea_orm::FromQueryResult)]
pub(super) struct Sums {
    usd: i64,
    tokens: i64,
    display: i64,
}

impl From<Sums> for Amounts {
    fn from(sums: Sums) -> Self {
        Self::from_raw(sums.usd, sums.tokens, sums.display)
    }
}
