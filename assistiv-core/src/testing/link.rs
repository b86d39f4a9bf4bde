//! A ledger store behind a connection that a test can cut.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use crate::auth::{OperatorScope, PlatformScope, SweeperScope};
use crate::billing::{
    AccountAudit, ActContext, ActRefusal, Amounts, Applied, Budget, CallInterval, ChargeHistory,
    Compensation, Control, EntriesOf, EntryFilter, EntryWithBalance, Idempotency, Lane,
    LanePosition, LateSettlement, LeaseBatch, LeaseGrant, LedgerAct, LedgerEntry, LedgerStore,
    NodeAudit, PostedCharge, RerateReport, Rerating, Resolution, Resolved, SettleBatch, Statement,
    StatementCursor, StatementPage, Sweep, Swept, Unconfirmed, UnconfirmedDelivery,
    UnconfirmedFilter, Wallet,
};
use crate::id::{AccountId, BudgetId, EndUserId, EntryId, NodeId};
use crate::money::NanoUsd;
use crate::store::{Listed, Page, StoreError};

/// The way of one node to a ledger store. Clones are the same way.
#[derive(Clone)]
pub struct Link(Arc<Inner>);

struct Inner {
    store: Arc<dyn LedgerStore>,
    is_cut: AtomicBool,
    lost_settlements: AtomicUsize,
    lost_leases: AtomicUsize,
}

#[derive(Debug, thiserror::Error)]
#[error("the connection is cut")]
struct Cut;

// === impl Link ===

impl Link {
    /// A connection that works.
    pub fn new(store: Arc<dyn LedgerStore>) -> Self {
        Self(Arc::new(Inner {
            store,
            is_cut: AtomicBool::new(false),
            lost_settlements: AtomicUsize::new(0),
            lost_leases: AtomicUsize::new(0),
        }))
    }

    /// Lets nothing through until it is mended.
    pub fn cut(&self) {
        self.0.is_cut.store(true, Ordering::SeqCst);
    }

    /// Lets everything through.
    pub fn mend(&self) {
        self.0.is_cut.store(false, Ordering::SeqCst);
    }

    /// Loses the answers to the next batches of a lane, after they were applied.
    pub fn lose_replies(&self, lane: Lane, count: usize) {
        self.0.lost(lane).store(count, Ordering::SeqCst);
    }
}

// === impl Inner ===

impl Inner {
    fn lost(&self, lane: Lane) -> &AtomicUsize {
        match lane {
            Lane::Settle => &self.lost_settlements,
            Lane::Lease => &self.lost_leases,
        }
    }

    fn check(&self) -> Result<(), StoreError> {
        match self.is_cut.load(Ordering::SeqCst) {
            true => Err(StoreError::unavailable(Cut)),
            false => Ok(()),
        }
    }

    async fn batch<T>(
        &self,
        lane: Lane,
        sent: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        self.check()?;
        let answer = sent.await;
        let less = |left: usize| left.checked_sub(1);
        let lost = self
            .lost(lane)
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, less);
        if lost.is_ok() {
            return Err(StoreError::unavailable(Cut));
        }
        // Cut on the way back.
        self.check()?;
        answer
    }
}

/// Methods that pass while the connection works.
macro_rules! ledger_store {
    ($($name:ident($($argument:ident: $type:ty),*) -> $output:ty;)*) => {
        #[async_trait]
        impl LedgerStore for Link {
            fn is_shared(&self) -> bool {
                self.0.store.is_shared()
            }

            async fn settle(
                &self,
                scope: &SweeperScope,
                batch: &SettleBatch,
            ) -> Result<(), StoreError> {
                self.0.batch(Lane::Settle, self.0.store.settle(scope, batch)).await
            }

            async fn lease(
                &self,
                scope: &SweeperScope,
                batch: &LeaseBatch,
            ) -> Result<Vec<LeaseGrant>, StoreError> {
                self.0.batch(Lane::Lease, self.0.store.lease(scope, batch)).await
            }

            $(async fn $name(&self, $($argument: $type),*) -> Result<$output, StoreError> {
                self.0.check()?;
                self.0.store.$name($($argument),*).await
            })*
        }
    };
}

ledger_store! {
    open_node(scope: &SweeperScope, instance: Uuid, name: &str, ttl: Duration) -> NodeId;
    heartbeat(scope: &SweeperScope, node: NodeId, ttl: Duration, acked_control: i64) -> ();
    drain_node(scope: &SweeperScope, node: NodeId) -> ();
    close_node(scope: &SweeperScope, node: NodeId) -> ();
    sweep(scope: &SweeperScope, which: Sweep, unconfirmed: UnconfirmedDelivery) -> Vec<Swept>;
    settle_late(scope: &SweeperScope, exact: &LedgerEntry) -> LateSettlement;
    slot(scope: &SweeperScope, node: NodeId, account: AccountId) -> Amounts;
    recall(scope: &SweeperScope, account: AccountId) -> i64;
    controls(scope: &SweeperScope) -> Vec<Control>;
    is_acked(scope: &SweeperScope, seq: i64, except: Option<NodeId>) -> bool;
    due_periods(scope: &SweeperScope, most: u32) -> Vec<AccountId>;
    prune_controls(scope: &SweeperScope) -> u64;
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
    unconfirmed(
        scope: &OperatorScope,
        filter: &UnconfirmedFilter,
        page: Page
    ) -> Listed<Unconfirmed>;
    resolve_unconfirmed(
        scope: &OperatorScope,
        charge: EntryId,
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
    entries(
        scope: &PlatformScope,
        of: EntriesOf,
        filter: &EntryFilter,
        page: Page
    ) -> Listed<EntryWithBalance>;
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
    charges(scope: &SweeperScope, after: i64, most: u32) -> Vec<PostedCharge>;
    nodes(scope: &OperatorScope) -> Vec<NodeAudit>;
    audit(scope: &OperatorScope) -> Vec<AccountAudit>;
}
