//! Pieces that many statements share.

use std::sync::OnceLock;

use sea_orm::sea_query::{BinOper, Expr, ExprTrait, Func, OnConflict, Query};
use sea_orm::{
    ActiveModelTrait, ActiveValue, ColumnTrait, ConnectionTrait, DbBackend, DbErr, EntityName,
    EntityTrait, Iterable, PaginatorTrait, PrimaryKeyToColumn, PrimaryKeyTrait, QueryResult,
    QuerySelect, Select, Statement,
};

use crate::billing::Amounts;
use crate::store::{Listed, Page, StoreError};

use super::error::failed;

/// How many sizes an insert has, up to 64 rows; with thirty columns that is still far below the
/// limit of bind parameters.
const GROUPS: usize = 7;

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

/// Inserts of one kind: the statements are written once, and rows only bring their values.
///
/// Rows go in groups of 64, 32, 16, … 1: so there are few statements of each kind, which stay
/// prepared, however many rows a batch has.
pub(super) struct Inserts<A: ActiveModelTrait> {
    columns: Vec<<A::Entity as EntityTrait>::Column>,
    on_conflict: Option<OnConflict>,
    returning: Option<<A::Entity as EntityTrait>::Column>,
    /// By backend, and by the power of two that a group has rows.
    texts: [[OnceLock<Box<str>>; GROUPS]; 2],
}

impl<A: ActiveModelTrait> Inserts<A>
where
    <A::Entity as EntityTrait>::PrimaryKey:
        PrimaryKeyToColumn<Column = <A::Entity as EntityTrait>::Column>,
{
    /// Inserts of all columns but a number that the database gives.
    pub(super) fn new(on_conflict: impl Into<Option<OnConflict>>) -> Self {
        Self {
            columns: columns::<A::Entity>(),
            on_conflict: on_conflict.into(),
            returning: None,
            texts: Default::default(),
        }
    }

    /// The same, for rows that bring the number which the database would give.
    pub(super) fn numbered(mut self) -> Self {
        self.columns = <A::Entity as EntityTrait>::Column::iter().collect();
        self
    }

    /// The same, answering with a column of every row that was inserted.
    pub(super) fn returning(mut self, column: <A::Entity as EntityTrait>::Column) -> Self {
        self.returning = Some(column);
        self
    }

    /// Inserts the rows.
    pub(super) async fn run(&self, db: &impl ConnectionTrait, rows: Vec<A>) -> Result<(), DbErr> {
        for statement in self.statements(db.get_database_backend(), rows) {
            db.execute_raw(statement?).await?;
        }
        Ok(())
    }

    /// Inserts the rows, and reads what is returned of them.
    pub(super) async fn rows(
        &self,
        db: &impl ConnectionTrait,
        rows: Vec<A>,
    ) -> Result<Vec<QueryResult>, DbErr> {
        let mut returned = Vec::new();
        for statement in self.statements(db.get_database_backend(), rows) {
            returned.extend(db.query_all_raw(statement?).await?);
        }
        Ok(returned)
    }

    fn statements(
        &self,
        backend: DbBackend,
        rows: Vec<A>,
    ) -> impl Iterator<Item = Result<Statement, DbErr>> {
        let mut rows = rows.into_iter();
        std::iter::from_fn(move || {
            let power = Ord::min(rows.len().checked_ilog2()? as usize, GROUPS - 1);
            let group = 1 << power;
            let mut values = Vec::with_capacity(group * self.columns.len());
            for mut row in rows.by_ref().take(group) {
                for column in &self.columns {
                    match row.take(*column) {
                        ActiveValue::Set(value) | ActiveValue::Unchanged(value) => {
                            values.push(value);
                        }
                        ActiveValue::NotSet => {
                            let missing = format!("a row without its {column:?}");
                            return Some(Err(DbErr::Custom(missing)));
                        }
                    }
                }
            }
            let text = self.text(backend, power);
            Some(Ok(Statement::from_sql_and_values(backend, text, values)))
        })
    }

    fn text(&self, backend: DbBackend, power: usize) -> &str {
        let of_backend = usize::from(backend == DbBackend::Postgres);
        self.texts[of_backend][power].get_or_init(|| {
            let mut insert = Query::insert();
            insert
                .into_table(A::Entity::default().table_ref())
                .columns(self.columns.iter().copied());
            for _ in 0..1 << power {
                // Only their places count.
                let places = self.columns.iter().map(|_| Expr::val(0));
                insert.values_panic(places);
            }
            if let Some(on_conflict) = &self.on_conflict {
                insert.on_conflict(on_conflict.clone());
            }
            if let Some(column) = self.returning {
                insert.returning_col(column);
            }
            backend.build(&insert).sql.into()
        })
    }
}

/// The columns of an entity's table that an insert fills: all but the number that the database gives.
pub(super) fn columns<E: EntityTrait>() -> Vec<E::Column>
where
    E::PrimaryKey: PrimaryKeyToColumn<Column = E::Column>,
{
    let numbered = <E::PrimaryKey as PrimaryKeyTrait>::auto_increment();
    E::Column::iter()
        .filter(|column| !(numbered && E::PrimaryKey::from_column(*column).is_some()))
        .collect()
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
