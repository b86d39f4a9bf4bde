//! The rows in which entries are shown, found by the database.

use sea_orm::sea_query::{Expr, ExprTrait, Query, SelectStatement, UnionType};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, FromQueryResult, PaginatorTrait, QueryFilter,
    QuerySelect, QueryTrait, Select,
};

use super::Holder;
use crate::billing::{EntriesOf, EntryFilter, EntryKind, LedgerPart};
use crate::clock::Timestamp;
use crate::id::EndUserId;
use crate::store::sql::entities::ledger::{self, Column};
use crate::store::sql::error::failed;
use crate::store::{Page, StoreError};

/// The rows that match a filter.
pub(super) struct Rows {
    of: EntriesOf,
    /// Their entries.
    entries: Select<ledger::Entity>,
    parts: Vec<LedgerPart>,
}

#[derive(FromQueryResult)]
struct Shown {
    id: i64,
    part: i32,
}

impl Rows {
    pub(super) fn new(holder: &Holder, filter: &EntryFilter) -> Self {
        let of = holder.of;
        let has_part = |part: &LedgerPart| {
            filter.part.is_none_or(|only| only == *part)
                && (*part == LedgerPart::Main || of != EntriesOf::Wallet)
        };
        Self {
            of,
            entries: ledger::Entity::of_account(&holder.account).filter(condition(filter)),
            parts: LedgerPart::ALL.into_iter().filter(has_part).collect(),
        }
    }

    /// The same rows, but for those posted at this time or later.
    pub(super) fn until(mut self, end: Timestamp) -> Self {
        self.entries = self.entries.filter(Column::CreatedAt.lt(end.as_micros()));
        self
    }

    pub(super) async fn count(&self, db: &impl ConnectionTrait) -> Result<u64, StoreError> {
        let mut count = 0;
        for part in &self.parts {
            count += self.of_part(*part).count(db).await.map_err(failed)?;
        }
        Ok(count)
    }

    /// The entries of one page and the parts of them that are shown, newest first.
    pub(super) async fn page(
        &self,
        db: &impl ConnectionTrait,
        page: Page,
    ) -> Result<Vec<(i64, LedgerPart)>, StoreError> {
        let mut parts = self.parts.iter().map(|part| self.ids(*part));
        let Some(mut first) = parts.next() else {
            return Ok(Vec::new());
        };
        for other in parts {
            first.union(UnionType::All, other);
        }
        let of_page = Query::select()
            .column("id")
            .column("part")
            .from_subquery(first, "shown")
            .order_by("id", sea_orm::Order::Desc)
            .order_by("part", sea_orm::Order::Desc)
            .limit(u64::from(page.limit))
            .offset(page.offset())
            .take();
        let rows = db.query_all(&of_page).await.map_err(failed)?;
        let read = |row| {
            let shown = Shown::from_query_result(row, "").map_err(failed)?;
            let part = match shown.part {
                0 => LedgerPart::Main,
                _ => LedgerPart::Display,
            };
            Ok((shown.id, part))
        };
        rows.iter().map(read).collect()
    }

    fn ids(&self, part: LedgerPart) -> SelectStatement {
        let number = match part {
            LedgerPart::Main => 0_i32,
            LedgerPart::Display => 1,
        };
        self.of_part(part)
            .select_only()
            .column_as(Column::Id, "id")
            .column_as(Expr::val(number).cast_as("INTEGER"), "part")
            .into_query()
    }

    /// The entries that are shown in this part, by the same rules as
    /// [`LedgerEntry`](crate::billing::LedgerEntry) has.
    fn of_part(&self, part: LedgerPart) -> Select<ledger::Entity> {
        if self.of == EntriesOf::Wallet {
            return self.entries.clone();
        }
        let is_display = Column::Kind.is_in(EntryKind::ON_DISPLAY.map(|kind| kind as i16));
        let moves = |columns: &[Column]| {
            let moved = |any: Condition, column: &Column| any.add(column.ne(0));
            columns.iter().fold(Condition::any(), moved)
        };
        let display = moves(&[Column::RemDisplay, Column::LimDisplay]);
        let main = moves(&[
            Column::RemUsd,
            Column::RemTokens,
            Column::LimUsd,
            Column::LimTokens,
        ]);
        let shown = match part {
            LedgerPart::Display => display.add(is_display),
            LedgerPart::Main => Condition::all().add(is_display.not()).add(
                main.add(
                    Condition::all()
                        .add(Column::RemDisplay.eq(0))
                        .add(Column::LimDisplay.eq(0)),
                ),
            ),
        };
        self.entries.clone().filter(shown)
    }
}

/// What [`EntryFilter::matches`] says, for the database.
fn condition(filter: &EntryFilter) -> Condition {
    let mut all = Condition::all();
    if let Some(kinds) = &filter.kinds {
        all = all.add(Column::Kind.is_in(kinds.iter().map(|kind| *kind as i16)));
    }
    if let Some(sources) = &filter.sources {
        all = all.add(Column::Source.is_in(sources.iter().map(|source| *source as i16)));
    }
    if let Some(end_user) = filter.end_user.map(EndUserId::as_uuid) {
        all = all.add(Column::EndUserId.eq(end_user));
    }
    if let Some(key) = &filter.idempotency_key {
        all = all.add(Column::IdempotencyKey.eq(key.as_str()));
    }
    if let Some(from) = filter.from {
        all = all.add(Column::CreatedAt.gte(from.as_micros()));
    }
    if let Some(to) = filter.to {
        all = all.add(Column::CreatedAt.lt(to.as_micros()));
    }
    all
}
