//! The request log in memory: rows alone, over which everything is summed anew.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;

use super::{MemoryStore, page_of};
use crate::auth::{OperatorScope, PlatformScope, SweeperScope};
use crate::clock::Timestamp;
use crate::id::{LogId, PlatformId};
use crate::logs::{
    BilledSum, BillingStatus, LogFilter, LogRow, LogState, LogStore, Outcome, Sums, UsageQuery,
    UsageRow, slot,
};
use crate::money::NanoUsd;
use crate::store::{Listed, Page, StoreError};

/// Rows, and what is left of those that were removed.
#[derive(Default)]
pub(super) struct LogBook {
    rows: HashMap<LogId, LogRow>,
    /// Rows that stand in the rollups alone.
    pruned: Vec<LogRow>,
    pruned_before: Option<Timestamp>,
    repaired_to: i64,
}

#[async_trait]
impl LogStore for MemoryStore {
    async fn append(&self, _scope: &SweeperScope, rows: &[LogRow]) -> Result<u64, StoreError> {
        let mut book = self.logs();
        let mut new = 0;
        for row in rows {
            if let Entry::Vacant(free) = book.rows.entry(row.id) {
                free.insert(row.clone());
                new += 1;
            }
        }
        Ok(new)
    }

    async fn resolve(&self, _scope: &SweeperScope, outcomes: &[Outcome]) -> Result<(), StoreError> {
        let mut book = self.logs();
        for outcome in outcomes {
            if let Some(row) = book.rows.get_mut(&outcome.id)
                && row.follows(outcome)
            {
                row.apply(outcome);
            }
        }
        Ok(())
    }

    async fn states(
        &self,
        _scope: &SweeperScope,
        ids: &[LogId],
    ) -> Result<Vec<LogState>, StoreError> {
        let book = self.logs();
        let rows = ids.iter().filter_map(|id| book.rows.get(id));
        Ok(rows.map(LogRow::state).collect())
    }

    async fn list(
        &self,
        scope: &PlatformScope,
        filter: &LogFilter,
        page: Page,
    ) -> Result<Listed<LogRow>, StoreError> {
        Ok(page_of(self.logs().newest_first(scope, filter), page))
    }

    async fn list_after(
        &self,
        scope: &PlatformScope,
        filter: &LogFilter,
        after: Option<(Timestamp, LogId)>,
        most: u32,
    ) -> Result<Vec<LogRow>, StoreError> {
        let mut rows = self.logs().newest_first(scope, filter);
        rows.retain(|row| after.is_none_or(|after| (row.created_at, row.id) < after));
        rows.truncate(most as usize);
        Ok(rows)
    }

    async fn row(&self, scope: &PlatformScope, id: LogId) -> Result<LogRow, StoreError> {
        let book = self.logs();
        let found = book.kept(scope.platform_id()).find(|row| row.id == id);
        found.cloned().ok_or(StoreError::NotFound)
    }

    async fn usage(
        &self,
        scope: &PlatformScope,
        query: &UsageQuery,
    ) -> Result<Vec<UsageRow>, StoreError> {
        let book = self.logs();
        let filter = LogFilter {
            model: query.model.clone(),
            end_user_id: query.end_user_id,
            from: Some(query.from),
            to: Some(query.to),
            ..LogFilter::default()
        };
        let mut lines: BTreeMap<(i64, Option<String>), Sums> = BTreeMap::new();
        let rows = book.ever(scope.platform_id());
        for row in rows.filter(|row| filter.matches(row)) {
            let step = query.step.map_or(0, |step| step.number(row.created_at));
            let key = query.group_by.and_then(|dimension| dimension.key_of(row));
            let line = lines.entry((step, key)).or_default();
            *line = line.plus(&row.sums());
        }
        Ok(lines
            .into_iter()
            .map(|((step, key), sums)| UsageRow { key, step, sums })
            .collect())
    }

    async fn billed(&self, _scope: &OperatorScope) -> Result<Vec<BilledSum>, StoreError> {
        let book = self.logs();
        let mut sums: BTreeMap<PlatformId, (NanoUsd, NanoUsd)> = BTreeMap::new();
        for row in book.rows.values().chain(&book.pruned) {
            let cost = row.sums().cost;
            let (ever, kept) = sums.entry(row.platform_id).or_default();
            *ever = ever.checked_add(cost).unwrap_or(*ever);
            if book.is_kept(row) {
                *kept = kept.checked_add(cost).unwrap_or(*kept);
            }
        }
        let line = |(platform_id, (ever, kept))| BilledSum {
            platform_id,
            rolled_up: ever,
            rolled_up_kept: kept,
            rows: kept,
        };
        Ok(sums.into_iter().map(line).collect())
    }

    async fn pending(
        &self,
        _scope: &SweeperScope,
        before: Timestamp,
        most: u32,
    ) -> Result<Vec<(PlatformId, LogId)>, StoreError> {
        let book = self.logs();
        let is_pending =
            |row: &&LogRow| row.billing_status == BillingStatus::Pending && row.created_at < before;
        let rows = book.rows.values().filter(is_pending);
        Ok(rows
            .take(most as usize)
            .map(|row| (row.platform_id, row.id))
            .collect())
    }

    async fn platforms(&self, _scope: &SweeperScope) -> Result<Vec<PlatformId>, StoreError> {
        let book = self.logs();
        let mut ids: Vec<_> = book
            .rows
            .values()
            .chain(&book.pruned)
            .map(|row| row.platform_id)
            .collect();
        ids.sort_unstable();
        ids.dedup();
        Ok(ids)
    }

    async fn repaired_to(&self, _scope: &SweeperScope) -> Result<i64, StoreError> {
        Ok(self.logs().repaired_to)
    }

    async fn set_repaired_to(&self, _scope: &SweeperScope, charge: i64) -> Result<(), StoreError> {
        let mut book = self.logs();
        book.repaired_to = book.repaired_to.max(charge);
        Ok(())
    }

    async fn pruned_before(&self, _scope: &SweeperScope) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.logs().pruned_before)
    }

    async fn prune(
        &self,
        _scope: &SweeperScope,
        before: Timestamp,
        most: u32,
    ) -> Result<u64, StoreError> {
        let mut book = self.logs();
        let cut = slot(before);
        book.pruned_before = book.pruned_before.max(Some(cut));
        let old = book.rows.values().filter(|row| row.created_at < cut);
        let old: Vec<_> = old.take(most as usize).map(|row| row.id).collect();
        for id in &old {
            if let Some(row) = book.rows.remove(id) {
                book.pruned.push(row);
            }
        }
        Ok(old.len() as u64)
    }

    async fn forget_platform(
        &self,
        _scope: &SweeperScope,
        platform: PlatformId,
        most: u32,
    ) -> Result<u64, StoreError> {
        let mut book = self.logs();
        book.pruned.retain(|row| row.platform_id != platform);
        let of = book.rows.values().filter(|row| row.platform_id == platform);
        let ids: Vec<_> = of.take(most as usize).map(|row| row.id).collect();
        for id in &ids {
            book.rows.remove(id);
        }
        Ok(ids.len() as u64)
    }
}

// === impl LogBook ===

impl LogBook {
    fn is_kept(&self, row: &LogRow) -> bool {
        self.pruned_before.is_none_or(|cut| row.created_at >= cut)
    }

    fn kept(&self, platform: PlatformId) -> impl Iterator<Item = &LogRow> {
        let of_platform = self.rows.values();
        of_platform.filter(move |row| row.platform_id == platform && self.is_kept(row))
    }

    /// Rows that stand in the rollups.
    fn ever(&self, platform: PlatformId) -> impl Iterator<Item = &LogRow> {
        let rows = self.rows.values().chain(&self.pruned);
        rows.filter(move |row| row.platform_id == platform)
    }

    fn newest_first(&self, scope: &PlatformScope, filter: &LogFilter) -> Vec<LogRow> {
        let rows = self.kept(scope.platform_id());
        let mut rows: Vec<_> = rows.filter(|row| filter.matches(row)).cloned().collect();
        rows.sort_unstable_by_key(|row| std::cmp::Reverse((row.created_at, row.id)));
        rows
    }
}
