//! The in-memory backend: for tests, demos, and as the model that other backends are compared with.
//!
//! One mutex guards all state, so every method is one atomic act. Each method first checks
//! everything that may stand against it and then writes, so that a refused act changes nothing.
//! What is on the request path is found by map look-up; lists and sweeps walk what there is.

mod acts;
mod audit;
mod books;
mod controls;
mod events;
mod feed;
mod keys;
mod lanes;
mod late;
mod ledger;
mod llm_configs;
mod logs;
mod low_balance;
mod model_routes;
mod nodes;
mod prices;
mod rate_limits;
mod recon;
mod refunds;
mod responses;
mod statement;
mod tenancy;
mod unconfirmed;
mod webhooks;

use std::cmp::Reverse;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use self::books::Books;
use self::feed::Changes;
use self::logs::LogBook;
use self::nodes::Nodes;
use self::responses::Shelf;
use super::{Listed, Page, StoreError, StoredSecret, Stores};
use crate::audit::AuditEntry;
use crate::auth::KeyDigest;
use crate::clock::{Clock, Timestamp};
use crate::id::{EndUserId, KeyId, LlmConfigId, PlatformId};
use crate::keys::ApiKey;
use crate::limits::{MemoryCounters, PlatformRateLimits, RateLimits};
use crate::llm_configs::LlmConfig;
use crate::model_routes::ModelOverride;
use crate::prices::PriceVersion;
use crate::tenancy::{EndUser, Platform, PlatformSlug};

/// All stores, kept in memory. Clones share their state; it is gone with the last of them.
#[derive(Clone)]
pub struct MemoryStore {
    clock: Arc<dyn Clock>,
    is_shared: bool,
    state: Arc<Mutex<State>>,
    /// Rings when something was changed that other gateways keep copies of.
    changed: Arc<Notify>,
    logs: Arc<Mutex<LogBook>>,
    responses: Arc<Mutex<Shelf>>,
    rate_counters: Arc<MemoryCounters>,
}

#[derive(Default)]
struct State {
    platforms: HashMap<PlatformId, Platform>,
    slugs: HashMap<PlatformSlug, PlatformId>,
    end_users: HashMap<EndUserId, EndUser>,
    external_ids: HashMap<(PlatformId, String), EndUserId>,
    keys: HashMap<KeyId, ApiKey>,
    digests: HashMap<KeyDigest, KeyId>,
    llm_configs: HashMap<LlmConfigId, (LlmConfig, StoredSecret)>,
    model_routes: HashMap<PlatformId, Vec<ModelOverride>>,
    platform_rate_limits: HashMap<PlatformId, PlatformRateLimits>,
    end_user_rate_limits: HashMap<EndUserId, RateLimits>,
    books: Books,
    nodes: Nodes,
    changes: Changes,
    prices: Vec<PriceVersion>,
    recon: recon::Runs,
    webhooks: webhooks::Hooks,
    audit: Vec<AuditEntry>,
}

// === impl MemoryStore ===

impl MemoryStore {
    /// An empty store that takes its time from `clock`.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            is_shared: false,
            state: Arc::default(),
            changed: Arc::default(),
            logs: Arc::default(),
            responses: Arc::default(),
            rate_counters: Arc::default(),
        }
    }

    /// An empty store for several gateways in one process, each of them a node of its own: for tests, and for
    /// embedders that run more than one. Give each gateway a clone.
    ///
    /// [`LedgerStore::is_shared`](super::LedgerStore::is_shared) then says so: gateways send heartbeats, share out
    /// what an account has, recall what others hold of it, and sweep those that stopped.
    pub fn shared(clock: Arc<dyn Clock>) -> Self {
        Self {
            is_shared: true,
            ..Self::new(clock)
        }
    }

    /// An empty store, as all the stores of a gateway.
    pub fn stores(clock: Arc<dyn Clock>) -> Stores {
        Self::new(clock).into()
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The log has a mutex of its own: nobody waits for it who moves money.
    fn logs(&self) -> MutexGuard<'_, LogBook> {
        self.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A panic elsewhere does not make the state unusable: no act leaves it half-written.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<MemoryStore> for Stores {
    fn from(store: MemoryStore) -> Self {
        let store = Arc::new(store);
        Self {
            tenancy: store.clone(),
            keys: store.clone(),
            llm_configs: store.clone(),
            model_routes: store.clone(),
            rate_limits: store.clone(),
            rate_counters: store.rate_counters.clone(),
            ledger: store.clone(),
            prices: store.clone(),
            recon: store.clone(),
            logs: store.clone(),
            responses: store.clone(),
            events: store.clone(),
            webhooks: store.clone(),
            audit: store.clone(),
            changes: store,
        }
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").finish_non_exhaustive()
    }
}

// === impl State ===

impl State {
    fn platform(&self, id: PlatformId) -> Result<&Platform, StoreError> {
        self.platforms.get(&id).ok_or(StoreError::NotFound)
    }

    fn end_user(&self, platform_id: PlatformId, id: EndUserId) -> Result<&EndUser, StoreError> {
        let found = self
            .end_users
            .get(&id)
            .filter(|user| user.platform_id == platform_id);
        found.ok_or(StoreError::NotFound)
    }

    /// Applies a due reset of an end user's budget, as its platform's settings say; says whether one was due.
    fn reset_due(&mut self, end_user: EndUserId, now: Timestamp) -> Result<bool, StoreError> {
        let user = self.end_users.get(&end_user);
        let platform = user.and_then(|user| self.platforms.get(&user.platform_id));
        let display = platform.map(|platform| platform.settings.display_reset());
        self.books.reset(end_user, display.unwrap_or_default(), now)
    }

    fn key(&self, platform_id: PlatformId, id: KeyId) -> Result<&ApiKey, StoreError> {
        let found = self
            .keys
            .get(&id)
            .filter(|key| key.platform_id == Some(platform_id));
        found.ok_or(StoreError::NotFound)
    }
}

/// One page of `rows`, newest first; of rows made at the same instant, the one with the larger id
/// first.
fn newest_first<T, K: Ord>(
    mut rows: Vec<T>,
    age: impl Fn(&T) -> (Timestamp, K),
    page: Page,
) -> Listed<T> {
    rows.sort_by_cached_key(|row| Reverse(age(row)));
    page_of(rows, page)
}

fn page_of<T>(rows: Vec<T>, page: Page) -> Listed<T> {
    let total = rows.len() as u64;
    let offset = usize::try_from(page.offset()).unwrap_or(usize::MAX);
    let rows = rows
        .into_iter()
        .skip(offset)
        .take(page.limit as usize)
        .collect();
    Listed { rows, total }
}

/// Whether `text` holds `part`, whatever the case of either; no character is a wildcard.
fn contains_ignoring_case(text: &str, part: &str) -> bool {
    text.to_lowercase().contains(&part.to_lowercase())
}

fn after(at: Timestamp, span: Duration) -> Timestamp {
    Timestamp::from_micros(at.as_micros().saturating_add(micros(span)))
}

fn before(at: Timestamp, span: Duration) -> Timestamp {
    Timestamp::from_micros(at.as_micros().saturating_sub(micros(span)))
}

fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}
