//! Which account an end user's budget is counted in, so that the warm path reads no database.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use moka::future::Cache;
use tokio::time::Instant;

use crate::auth::EndUserScope;
use crate::billing::store::LedgerStore;
use crate::id::{AccountId, EndUserId};
use crate::revisions::{Revision, Revisions};
use crate::store::StoreError;

const ENTRIES_MAX: u64 = 100_000;
const FRESH_FOR: Duration = Duration::from_secs(60);

/// A cache of accounts by end user. A look-up that overlaps a change is never kept.
pub(super) struct BudgetDirectory {
    store: Arc<dyn LedgerStore>,
    entries: Cache<EndUserId, Entry>,
    /// Changes, by end user.
    revisions: Revisions,
    /// Changes by other nodes, by account.
    accounts: Revisions,
    /// Counts changes by other nodes: any of them may have made somebody's first budget.
    news: AtomicU64,
}

#[derive(Clone)]
struct Entry {
    /// `Err` stands for a look-up that failed, which is not kept either.
    account: Result<Option<AccountId>, ()>,
    revision: Revision,
    account_revision: Revision,
    news: u64,
    at: Instant,
}

impl BudgetDirectory {
    pub(super) fn new(store: Arc<dyn LedgerStore>) -> Self {
        Self {
            store,
            entries: Cache::new(ENTRIES_MAX),
            revisions: Revisions::new(),
            accounts: Revisions::new(),
            news: AtomicU64::new(0),
        }
    }

    /// The account, looked up once however many calls wait for it.
    pub(super) async fn account(
        &self,
        scope: &EndUserScope,
    ) -> Result<Option<AccountId>, StoreError> {
        let id = scope.end_user_id();
        let overtaken = |entry: &Entry| match entry.account {
            Err(()) => true,
            Ok(None) => entry.news != self.news.load(Ordering::Acquire),
            Ok(Some(account)) => (self.accounts).changed_since(&account, entry.account_revision),
        };
        let stale = |entry: &Entry| {
            overtaken(entry)
                || entry.at.elapsed() > FRESH_FOR
                || self.revisions.changed_since(&id, entry.revision)
        };
        let mut failure = None;
        let load = async {
            let revision = self.revisions.begin();
            let account_revision = self.accounts.begin();
            let news = self.news.load(Ordering::Acquire);
            let account = self
                .store
                .budget_account(scope.platform(), id)
                .await
                .map_err(|error| failure = Some(error));
            Entry {
                account,
                revision,
                account_revision,
                news,
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
    pub(super) fn forget(&self, id: EndUserId) {
        self.revisions.bump(&id);
    }

    /// Another node has changed an account: it may be a budget that was made or removed.
    pub(super) fn forget_account(&self, account: AccountId) {
        self.accounts.bump(&account);
        self.news.fetch_add(1, Ordering::AcqRel);
    }
}
