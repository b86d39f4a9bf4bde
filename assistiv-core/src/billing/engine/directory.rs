//! Which account an end user's budget is counted in, so that the warm path reads no database.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use moka::future::Cache;
use tokio::time::Instant;

use crate::auth::EndUserScope;
use crate::billing::store::LedgerStore;
use crate::id::{AccountId, EndUserId};
use crate::store::StoreError;

const ENTRIES_MAX: u64 = 100_000;
const FRESH_FOR: Duration = Duration::from_secs(60);

/// A cache of accounts by end user. A look-up that overlaps a change is never kept.
pub(super) struct BudgetDirectory {
    store: Arc<dyn LedgerStore>,
    entries: Cache<EndUserId, Entry>,
    /// Counts changes; an entry is good while its user has not changed since its look-up began.
    epoch: AtomicU64,
    changed: Cache<EndUserId, u64>,
}

#[derive(Clone)]
struct Entry {
    /// `Err` stands for a look-up that failed, which is not kept either.
    account: Result<Option<AccountId>, ()>,
    epoch: u64,
    at: Instant,
}

impl BudgetDirectory {
    pub(super) fn new(store: Arc<dyn LedgerStore>) -> Self {
        Self {
            store,
            entries: Cache::new(ENTRIES_MAX),
            epoch: AtomicU64::new(0),
            changed: Cache::builder()
                .max_capacity(ENTRIES_MAX)
                .time_to_live(2 * FRESH_FOR)
                .build(),
        }
    }

    /// The account, looked up once however many calls wait for it.
    pub(super) async fn account(
        &self,
        scope: &EndUserScope,
    ) -> Result<Option<AccountId>, StoreError> {
        let id = scope.end_user_id();
        let changed = self.changed.get(&id).await.unwrap_or(0);
        let stale = |entry: &Entry| {
            entry.epoch < changed || entry.account.is_err() || entry.at.elapsed() > FRESH_FOR
        };
        let mut failure = None;
        let load = async {
            let epoch = self.epoch.load(Ordering::Acquire);
            let account = self
                .store
                .budget_account(scope.platform(), id)
                .await
                .map_err(|error| failure = Some(error));
            Entry {
                account,
                epoch,
                at: Instant::now(),
            }
        };
        let entry = self
            .entries
            .entry_by_ref(&id)
            .or_insert_with_if(load, |entry| stale(entry))
            .await
            .into_value();
        match (entry.account, failure) {
            (Ok(account), _) => Ok(account),
            (Err(()), Some(error)) => Err(error),
            (Err(()), None) => Err(StoreError::unavailable("the look-up of a budget failed")),
        }
    }

    /// The user's budget was made or removed.
    pub(super) async fn forget(&self, id: EndUserId) {
        let epoch = self.epoch.fetch_add(1, Ordering::AcqRel) + 1;
        self.changed.insert(id, epoch).await;
    }
}
