//! A ledger store behind a connection that a test can cut, or whose every message it holds in its hands.

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

/// What happens to the messages of a [`Link`].
#[async_trait]
pub trait Traffic: Send + Sync + 'static {
    /// A call is on its way to the store. It is applied when this returns; an error is its answer, and it never
    /// arrives.
    async fn sent(&self, call: &Message<'_>) -> Result<(), StoreError>;

    /// A call was applied and its answer is on the way. It arrives when this returns; an error arrives in its place.
    async fn answered(&self, call: &Message<'_>) -> Result<(), StoreError>;
}

/// A call to the store.
#[derive(Clone, Copy, Debug)]
pub enum Message<'a> {
    /// A batch of lane A.
    Settle(&'a SettleBatch),
    /// A batch of lane B.
    Lease(&'a LeaseBatch),
    /// The method of this name.
    Other(&'static str),
}

struct Inner {
    store: Arc<dyn LedgerStore>,
    traffic: Option<Arc<dyn Traffic>>,
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
        Self::with(store, None)
    }

    /// A connection whose messages go through somebody's hands.
    pub fn through(store: Arc<dyn LedgerStore>, traffic: Arc<dyn Traffic>) -> Self {
        Self::with(store, Some(traffic))
    }

    fn with(store: Arc<dyn LedgerStore>, traffic: Option<Arc<dyn Traffic>>) -> Self {
        Self(Arc::new(Inner {
            store,
            traffic,
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

    async fn sent(&self, call: Message<'_>) -> Result<(), StoreError> {
        match &self.traffic {
            Some(traffic) => traffic.sent(&call).await,
            None => Ok(()),
        }
    }

    async fn answered(&self, call: Message<'_>) -> Result<(), StoreError> {
        match &self.traffic {
            Some(traffic) => traffic.answered(&call).await,
            None => Ok(()),
        }
    }

    async fn batch<T>(
        &self,
        lane: Lane,
        call: Message<'_>,
        sent: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        self.check()?;
        self.sent(call).await?;
        let answer = sent.await;
        self.answered(call).await?;
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
                let sent = self.0.store.settle(scope, batch);
                self.0.batch(Lane::Settle, Message::Settle(batch), sent).await
            }

            async fn lease(
                &self,
                scope: &SweeperScope,
                batch: &LeaseBatch,
            ) -> Result<Vec<LeaseGrant>, StoreError> {
                let sent = self.0.store.lease(scope, batch);
                self.0.batch(Lane::Lease, Message::Lease(batch), sent).await
            }

            $(async fn $name(&self, $($argument: $type),*) -> Result<$output, StoreError> {
                self.0.check()?;
                self.0.sent(Message::Other(stringify!($name))).await?;
                let answer = self.0.store.$name($($argument),*).await;
                self.0.answered(Message::Other(stringify!($name))).await?;
                answer
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
