//! A ledger store that counts what is asked of it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use assistiv_core::auth::{OperatorScope, PlatformScope, SweeperScope};
use assistiv_core::billing::{
    AccountAudit, ActContext, ActRefusal, Amounts, Applied, Budget, CallInterval, ChargeHistory,
    Compensation, Control, EntriesOf, EntryFilter, EntryWithBalance, Idempotency, Lane,
    LanePosition, LateSettlement, LeaseBatch, LeaseGrant, LedgerAct, LedgerEntry, LedgerStore,
    NodeAudit, PostedCharge, RerateReport, Rerating, Resolution, Resolved, SettleBatch, Statement,
    StatementCursor, StatementPage, Sweep, Swept, Unconfirmed, UnconfirmedDelivery,
    UnconfirmedFilter, Wallet,
};
use assistiv_core::id::{AccountId, BudgetId, EndUserId, EntryId, NodeId};
use assistiv_core::money::NanoUsd;
use assistiv_core::store::{Listed, Page, StoreError};
use async_trait::async_trait;
use uuid::Uuid;

/// Passes everything on, and counts.
pub struct CountedLedger {
    inner: Arc<dyn LedgerStore>,
    counts: Arc<Counts>,
}

/// What was asked so far.
#[derive(Debug, Default)]
pub struct Counts {
    calls: AtomicU64,
    settled: AtomicU64,
    entries: AtomicU64,
    wallet: Mutex<Option<AccountId>>,
    leased: Mutex<HashMap<AccountId, u64>>,
}

/// Counts at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Statements and batches that a call may wait for: not the heartbeats of a node.
    pub calls: u64,
    /// Batches of settlements.
    pub settled: u64,
    /// Ledger entries in them.
    pub entries: u64,
    /// Leases that locked the row of the wallet's account.
    pub wallet_locks: u64,
}

// === impl CountedLedger ===

impl CountedLedger {
    /// Counts what is asked of `inner`.
    pub fn new(inner: Arc<dyn LedgerStore>) -> (Self, Arc<Counts>) {
        let counts = Arc::<Counts>::default();
        let this = Self {
            inner,
            counts: counts.clone(),
        };
        (this, counts)
    }
}

// === impl Counts ===

impl Counts {
    /// What they are now. All calls of a run are paid from one wallet.
    pub fn now(&self) -> Counted {
        let wallet = *lock(&self.wallet);
        let leased = lock(&self.leased);
        Counted {
            calls: self.calls.load(Ordering::Relaxed),
            settled: self.settled.load(Ordering::Relaxed),
            entries: self.entries.load(Ordering::Relaxed),
            wallet_locks: wallet
                .and_then(|wallet| leased.get(&wallet).copied())
                .unwrap_or(0),
        }
    }

    fn call(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    fn settle(&self, batch: &SettleBatch) {
        self.call();
        self.settled.fetch_add(1, Ordering::Relaxed);
        self.entries
            .fetch_add(batch.entries.len() as u64, Ordering::Relaxed);
        let paid_by = batch.entries.iter().find_map(|entry| entry.wallet);
        if let Some((wallet, _)) = paid_by {
            *lock(&self.wallet) = Some(wallet);
        }
    }

    fn lease(&self, batch: &LeaseBatch) {
        self.call();
        let mut leased = lock(&self.leased);
        for request in &batch.requests {
            *leased.entry(request.account).or_default() += 1;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Counted {
    /// What came since `before`.
    pub fn since(self, before: Self) -> Self {
        Self {
            calls: self.calls - before.calls,
            settled: self.settled - before.settled,
            entries: self.entries - before.entries,
            wallet_locks: self.wallet_locks - before.wallet_locks,
        }
    }
}

/// The methods that are counted alike, and those that are a node's own business.
macro_rules! passed_on {
    (
        counted { $($counted:ident($($arg:ident: $type:ty),*) -> $output:ty;)* }
        uncounted { $($uncounted:ident($($uarg:ident: $utype:ty),*) -> $uoutput:ty;)* }
    ) => {
        #[async_trait]
        impl LedgerStore for CountedLedger {
            fn is_shared(&self) -> bool {
                self.inner.is_shared()
            }

            async fn settle(
                &self,
                scope: &SweeperScope,
                batch: &SettleBatch,
            ) -> Result<(), StoreError> {
                self.counts.settle(batch);
                self.inner.settle(scope, batch).await
            }

            async fn lease(
                &self,
                scope: &SweeperScope,
                batch: &LeaseBatch,
            ) -> Result<Vec<LeaseGrant>, StoreError> {
                self.counts.lease(batch);
                self.inner.lease(scope, batch).await
            }

            $(async fn $counted(&self, $($arg: $type),*) -> Result<$output, StoreError> {
                self.counts.call();
                self.inner.$counted($($arg),*).await
            })*

            $(async fn $uncounted(&self, $($uarg: $utype),*) -> Result<$uoutput, StoreError> {
                self.inner.$uncounted($($uarg),*).await
            })*
        }
    };
}

passed_on! {
    counted {
        sweep(scope: &SweeperScope, which: Sweep, unconfirmed: UnconfirmedDelivery) -> Vec<Swept>;
        settle_late(scope: &SweeperScope, exact: &LedgerEntry) -> LateSettlement;
        slot(scope: &SweeperScope, node: NodeId, account: AccountId) -> Amounts;
        recall(scope: &SweeperScope, account: AccountId) -> i64;
        lane(scope: &SweeperScope, node: NodeId, lane: Lane) -> LanePosition;
        reset_period(scope: &SweeperScope, account: AccountId) -> bool;
        budget_account(scope: &PlatformScope, end_user: EndUserId) -> Option<AccountId>;
        wallet(scope: &PlatformScope) -> Wallet;
        budget(scope: &PlatformScope, end_user: EndUserId) -> Option<Budget>;
        apply(
            scope: &PlatformScope,
            act: &LedgerAct,
            context: &ActContext,
            idempotency: Option<Idempotency>
        ) -> Result<Applied, ActRefusal>;
        entries(scope: &PlatformScope, of: EntriesOf, filter: &EntryFilter, page: Page)
            -> Listed<EntryWithBalance>;
        open_statement(scope: &PlatformScope, of: EntriesOf, filter: &EntryFilter) -> Statement;
        read_statement(
            scope: &PlatformScope,
            of: EntriesOf,
            filter: &EntryFilter,
            cursor: StatementCursor,
            most: u32
        ) -> StatementPage;
        budget_id(scope: &PlatformScope, end_user: EndUserId) -> Option<BudgetId>;
        charge(scope: &PlatformScope, uid: EntryId) -> Option<LedgerEntry>;
        unconfirmed(scope: &OperatorScope, filter: &UnconfirmedFilter, page: Page)
            -> Listed<Unconfirmed>;
        resolve_unconfirmed(
            scope: &OperatorScope,
            uid: EntryId,
            resolution: Resolution,
            context: &ActContext,
            idempotency: Option<Idempotency>
        ) -> Result<Resolved, ActRefusal>;
        is_settling(scope: &OperatorScope, interval: &CallInterval) -> bool;
        begin_rerate(
            scope: &OperatorScope,
            rerating: &Rerating
        ) -> Result<Option<RerateReport>, ActRefusal>;
        calls_charged(
            scope: &OperatorScope,
            interval: &CallInterval,
            besides: EntryId,
            after: Option<EntryId>,
            most: u32
        ) -> Vec<ChargeHistory>;
        compensate(scope: &OperatorScope, compensation: &Compensation) -> NanoUsd;
        finish_rerate(scope: &OperatorScope, report: &RerateReport) -> RerateReport;
        audit(scope: &OperatorScope) -> Vec<AccountAudit>;
    }
    uncounted {
        open_node(scope: &SweeperScope, instance: Uuid, name: &str, ttl: Duration) -> NodeId;
        heartbeat(scope: &SweeperScope, node: NodeId, ttl: Duration, acked_control: i64) -> ();
        drain_node(scope: &SweeperScope, node: NodeId) -> ();
        close_node(scope: &SweeperScope, node: NodeId) -> ();
        controls(scope: &SweeperScope) -> Vec<Control>;
        is_acked(scope: &SweeperScope, seq: i64, except: Option<NodeId>) -> bool;
        charges(scope: &SweeperScope, after: i64, most: u32) -> Vec<PostedCharge>;
        due_periods(scope: &SweeperScope, most: u32) -> Vec<AccountId>;
        prune_controls(scope: &SweeperScope) -> u64;
        nodes(scope: &OperatorScope) -> Vec<NodeAudit>;
    }
}
