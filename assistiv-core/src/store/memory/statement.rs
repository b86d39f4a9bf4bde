//! Lists of entries with the balances that they left.

use std::time::Duration;

use super::books::{Books, out_of_range};
use super::{before, page_of};
use crate::billing::{
    EntriesOf, EntryFilter, EntryWithBalance, LedgerEntry, Standing, Statement, StatementCursor,
    StatementPage,
};
use crate::clock::Timestamp;
use crate::id::AccountId;
use crate::store::{Listed, Page, StoreError};

/// Younger entries may be joined by ones before them.
const SETTLED: Duration = Duration::from_secs(5);

// === impl Books ===

impl Books {
    /// Entries of an account that match, newest first.
    pub(super) fn list(
        &self,
        account: AccountId,
        of: EntriesOf,
        filter: &EntryFilter,
        page: Page,
    ) -> Result<Listed<EntryWithBalance>, StoreError> {
        let mut rows = Vec::new();
        for (entry, standing) in self.standings(account, of)?.iter().rev() {
            rows.extend(rows_of(entry, *standing, of, filter));
        }
        Ok(page_of(rows, page))
    }

    pub(super) fn open_statement(
        &self,
        account: AccountId,
        of: EntriesOf,
        filter: &EntryFilter,
        now: Timestamp,
    ) -> Result<Statement, StoreError> {
        let settled = before(now, SETTLED);
        let end = filter.to.map_or(settled, |to| to.min(settled));
        let all = self.standings(account, of)?;
        let in_period = |entry: &LedgerEntry| {
            entry.created_at < end && filter.from.is_none_or(|from| entry.created_at >= from)
        };
        let first = all.iter().position(|(entry, _)| in_period(entry));
        let last = all.iter().rposition(|(entry, _)| in_period(entry));
        let Some((first, last)) = first.zip(last) else {
            let earlier = all
                .iter()
                .rfind(|(entry, _)| filter.from.is_some_and(|from| entry.created_at < from));
            let standing = earlier.map_or(Standing::default(), |(_, standing)| *standing);
            return Ok(Statement {
                opening: standing,
                closing: standing,
                rows: 0,
                begin: None,
            });
        };
        let closing = all[last].1;
        let opening = all[first]
            .1
            .before(&all[first].0.change_of(of))
            .map_err(out_of_range)?;
        let rows = all
            .iter()
            .filter(|(entry, _)| entry.created_at < end)
            .flat_map(|(entry, standing)| rows_of(entry, *standing, of, filter))
            .count();
        Ok(Statement {
            opening,
            closing,
            rows: rows as u64,
            begin: Some(StatementCursor {
                before: position(last + 1),
                first: position(first),
                standing: closing,
                end,
            }),
        })
    }

    pub(super) fn read_statement(
        &self,
        account: AccountId,
        of: EntriesOf,
        filter: &EntryFilter,
        cursor: StatementCursor,
        most: u32,
    ) -> Result<StatementPage, StoreError> {
        let all = self.standings(account, of)?;
        let lowest = cursor.first.max(cursor.before - i64::from(most));
        let slice = usize::try_from(lowest)
            .ok()
            .zip(usize::try_from(cursor.before).ok())
            .and_then(|(low, high)| all.get(low..high))
            .ok_or_else(|| StoreError::Corrupt("a cursor of another statement".to_owned()))?;
        let rows = slice
            .iter()
            .rev()
            .filter(|(entry, _)| entry.created_at < cursor.end)
            .flat_map(|(entry, standing)| rows_of(entry, *standing, of, filter))
            .collect();
        let below = usize::try_from(lowest)
            .ok()
            .and_then(|low| low.checked_sub(1));
        let next = StatementCursor {
            before: lowest,
            standing: below
                .and_then(|below| all.get(below))
                .map_or(Standing::default(), |(_, standing)| *standing),
            ..cursor
        };
        Ok(StatementPage {
            rows,
            next: (lowest > cursor.first).then_some(next),
        })
    }

    /// An account's entries in ledger order, each with what stood after it.
    fn standings(
        &self,
        account: AccountId,
        of: EntriesOf,
    ) -> Result<Vec<(&LedgerEntry, Standing)>, StoreError> {
        let mut standing = Standing::default();
        self.entries_of(account)
            .map(|entry| {
                standing = standing.after(&entry.change_of(of)).map_err(out_of_range)?;
                Ok((entry, standing))
            })
            .collect()
    }
}

fn rows_of(
    entry: &LedgerEntry,
    standing: Standing,
    of: EntriesOf,
    filter: &EntryFilter,
) -> Vec<EntryWithBalance> {
    if !filter.matches(entry) {
        return Vec::new();
    }
    let row = |part| EntryWithBalance {
        entry: entry.clone(),
        part,
        remaining_after: standing.remaining,
        limit_after: standing.limit,
    };
    filter.parts(entry, of).map(row).collect()
}

fn position(index: usize) -> i64 {
    i64::try_from(index).unwrap_or(i64::MAX)
}
