//! One registration of this process as a node, with everything that belongs to it alone.
//!
//! When the database has fenced it, the process registers anew. Nothing of the old registration is taken over:
//! its slots went back to their accounts, its lanes take nothing more. Calls that still hold money of it end
//! without a charge, or are settled by the [late path](super::late).

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Engine;
use super::late::LateQueue;
use super::leasing::{LeaseLane, LeaseQueue, Want, What};
use super::news::News;
use super::settling::{Operation, SettleLane, SettleQueue};
use super::slice::{Slice, View};
use super::validity::Validity;
use super::{control, heartbeat};
use crate::auth::SweeperScope;
use crate::billing::account::AccountKind;
use crate::billing::amounts::{Amounts, Dimension};
use crate::billing::options::BillingOptions;
use crate::billing::store::{LedgerStore, Sweep};
use crate::events::{EventType, OperatorEvent, operator};
use crate::id::{AccountId, NodeId};
use crate::metrics::SlicesAtHand;
use crate::money::NanoUsd;
use crate::store::StoreError;

/// Between two attempts to register.
const REGISTER_PAUSE: Duration = Duration::from_millis(500);

/// See the module.
pub(crate) struct Epoch {
    pub(super) node: NodeId,
    pub(crate) validity: Validity,
    slices: RwLock<HashMap<AccountId, Arc<Slice>>>,
    pub(super) settling: SettleQueue,
    pub(super) leasing: LeaseQueue,
    late: Arc<LateQueue>,
    news: Arc<News>,
    lost: CancellationToken,
    acted_on: AtomicI64,
    /// Asks for a heartbeat at once.
    pub(super) beat: Notify,
}

// === impl Epoch ===

impl Epoch {
    /// Registers this process, after sweeping what others left where that is ours to do.
    ///
    /// # Errors
    /// When the store fails: without a registration nothing may be authorised.
    pub(super) async fn register(
        store: &dyn LedgerStore,
        options: &BillingOptions,
        (late, news): (Arc<LateQueue>, Arc<News>),
        sweep: bool,
    ) -> Result<Self, StoreError> {
        let scope = SweeperScope::engine();
        if sweep {
            let swept = store.sweep(&scope, Sweep::All, options.unconfirmed_delivery);
            swept.await?.iter().for_each(super::sweeping::log);
        }
        let asked_at = Instant::now();
        let node = store
            .open_node(&scope, Uuid::now_v7(), "assistiv", options.ttl)
            .await?;
        tracing::info!(node = node.0, "registered as a node");
        Ok(Self {
            node,
            validity: Validity::new(asked_at, options, store.is_shared()),
            slices: RwLock::default(),
            settling: SettleQueue::default(),
            leasing: LeaseQueue::default(),
            late,
            news,
            lost: CancellationToken::new(),
            acted_on: AtomicI64::new(0),
            beat: Notify::new(),
        })
    }

    /// Resolves when this registration is no more.
    pub(crate) async fn lost(&self) {
        self.lost.cancelled().await;
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.lost.is_cancelled()
    }

    /// A token that is cancelled when this registration is no more.
    pub(crate) fn lost_token(&self) -> CancellationToken {
        self.lost.clone()
    }

    /// The database no longer knows this registration.
    pub(super) fn fence(&self, why: &str) {
        self.validity.fence();
        if !self.lost.is_cancelled() {
            tracing::error!(
                event = operator::NODE_FENCED,
                node = self.node.0,
                why,
                "the node was fenced"
            );
            metrics::counter!("billing_fences_total").increment(1);
            self.tell(EventType::BillingNodeFenced, Some(why));
            self.lost.cancel();
        }
    }

    /// The database has forgotten what it had acknowledged.
    pub(super) fn lose_history(&self) {
        tracing::error!(
            event = operator::HISTORY_LOST,
            node = self.node.0,
            "the database has lost history"
        );
        self.tell(EventType::BillingHistoryLost, None);
        self.fence("the database has lost history");
    }

    /// The books refuse what this node says, and would for ever. Better to authorise nothing than to authorise
    /// without being able to charge: no registration follows.
    pub(super) fn halt(&self, why: &str) {
        self.validity.halt();
        tracing::error!(
            event = operator::INVARIANT_VIOLATED,
            node = self.node.0,
            why,
            "the node stops for good"
        );
        self.tell(EventType::BillingInvariantViolated, Some(why));
        self.lost.cancel();
    }

    fn tell(&self, event_type: EventType, why: Option<&str>) {
        self.news
            .tell(OperatorEvent::of_node(event_type, self.node, why));
    }

    /// Sends an operation to lane A, or to where it goes when that is closed.
    pub(crate) fn enqueue(&self, operation: Operation) {
        if let Err(operation) = self.settling.push(operation) {
            self.late.take_over(*operation);
        }
    }

    /// Sends an operation the late path.
    pub(super) fn enqueue_late(&self, operation: Operation) {
        self.late.take_over(operation);
    }

    /// Closes lane A for good. What waits there goes the late path, or is given up.
    pub(super) fn end_settling(&self) {
        for operation in self.settling.close() {
            self.late.take_over(operation);
        }
    }

    /// The slice of an account.
    pub(crate) fn slice(&self, account: AccountId) -> Arc<Slice> {
        if let Some(slice) = self.known_slice(account) {
            return slice;
        }
        let mut slices = self.slices.write().unwrap_or_else(PoisonError::into_inner);
        slices
            .entry(account)
            .or_insert_with(|| Arc::new(Slice::new(account)))
            .clone()
    }

    pub(super) fn known_slice(&self, account: AccountId) -> Option<Arc<Slice>> {
        let slices = self.slices.read().unwrap_or_else(PoisonError::into_inner);
        slices.get(&account).cloned()
    }

    pub(super) fn all_slices(&self) -> Vec<Arc<Slice>> {
        let slices = self.slices.read().unwrap_or_else(PoisonError::into_inner);
        slices.values().cloned().collect()
    }

    /// Asks the account for what a waiting call lacks; resolves when that was granted, or cannot be.
    pub(crate) async fn lease(
        &self,
        slice: &Arc<Slice>,
        needs: Amounts,
        patience: Duration,
    ) -> bool {
        self.want(slice, What::Have(needs), patience).await
    }

    /// Asks in the background, when the slice runs low.
    pub(crate) fn refill(&self, slice: &Arc<Slice>) {
        if slice.wants_refill() {
            self.push(slice.clone(), What::Have(Amounts::ZERO), None);
        }
    }

    /// Asks for more without waiting: a stream's hold is to be extended.
    pub(crate) fn ask(&self, slice: &Arc<Slice>, needs: Amounts) -> oneshot::Receiver<()> {
        let (done, answer) = oneshot::channel();
        self.push(slice.clone(), What::Have(needs), Some(done));
        answer
    }

    /// Has the account's thresholds checked, in the background.
    pub(super) fn check(&self, slice: &Arc<Slice>) {
        self.push(slice.clone(), What::Check, None);
    }

    /// Returns everything that is at hand of an account, since another node needs it.
    pub(super) fn give_back(&self, account: AccountId) {
        if let Some(slice) = self.known_slice(account) {
            let amounts = slice.take_all();
            if !amounts.is_zero() {
                self.push(slice, What::GiveBack(amounts), None);
            }
        }
    }

    /// The account was changed elsewhere: nothing is held on it before its policy was read anew.
    pub(super) fn forget_policy(&self, account: AccountId) {
        if let Some(slice) = self.known_slice(account) {
            slice.forget_policy();
            self.push(slice, What::Refresh, None);
        }
    }

    /// The account was changed by this node: its slice returns and its policy is read anew.
    pub(super) async fn refresh(&self, slice: &Arc<Slice>, patience: Duration) {
        if !self.want(slice, What::Refresh, patience).await {
            slice.forget_policy();
        }
    }

    /// Returns everything that is at hand of every account.
    pub(super) async fn give_everything_back(&self, patience: Duration) {
        // All at once: the lane takes them in few batches, and one that the database keeps waiting does not
        // make the others wait in line.
        let slices = self.all_slices();
        let returns = slices.iter().map(|slice| async {
            let amounts = slice.take_all();
            if !amounts.is_zero() {
                self.want(slice, What::GiveBack(amounts), patience).await;
            }
        });
        futures_util::future::join_all(returns).await;
    }

    /// Once a second: what is not needed returns, and empty slices are forgotten, so that memory follows use.
    pub(super) fn tick(&self, idle_return: Duration, is_shared: bool) -> SlicesAtHand {
        let now = Instant::now();
        let mut at_hand = SlicesAtHand::default();
        for slice in self.all_slices() {
            slice.tick();
            count(&mut at_hand, &slice.view());
            if slice.wants_check() {
                self.check(&slice);
            }
            if slice.is_dirty() {
                self.push(slice.clone(), What::Recover, None);
            }
            let unused = slice.take_idle(now, idle_return);
            // Where nobody else can lease, too much at hand does no harm.
            let unused = unused.or_else(|| is_shared.then(|| slice.take_excess()).flatten());
            if let Some(amounts) = unused {
                self.push(slice, What::GiveBack(amounts), None);
            }
        }
        let mut slices = self.slices.write().unwrap_or_else(PoisonError::into_inner);
        // A slice that a call has in its hands counts twice or more.
        slices.retain(|_, slice| Arc::strong_count(slice) > 1 || !slice.is_empty(now, idle_return));
        at_hand
    }

    /// Up to which message of other nodes this one has acted.
    pub(super) fn acted_on(&self) -> i64 {
        self.acted_on.load(Ordering::Acquire)
    }

    pub(super) fn acted_on_up_to(&self, seq: i64) {
        self.acted_on.store(seq, Ordering::Release);
    }

    async fn want(&self, slice: &Arc<Slice>, what: What, patience: Duration) -> bool {
        let (done, answer) = oneshot::channel();
        self.push(slice.clone(), what, Some(done));
        let answer = tokio::time::timeout(patience, answer).await;
        answer.is_ok_and(|answer| answer.is_ok())
    }

    fn push(&self, slice: Arc<Slice>, what: What, done: Option<oneshot::Sender<()>>) {
        self.leasing.push(Want { slice, what, done });
    }
}

impl std::fmt::Debug for Epoch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Epoch")
            .field("node", &self.node)
            .field("validity", &self.validity)
            .finish_non_exhaustive()
    }
}

// === impl Engine ===

impl Engine {
    /// Starts what a registration needs: its lanes, and its talk with the other nodes.
    pub(super) fn begin(self: &Arc<Self>, epoch: &Arc<Epoch>) {
        let lane = SettleLane {
            store: self.store.clone(),
            epoch: epoch.clone(),
            batch_max: self.options.batch_max,
        };
        self.tasks.spawn(lane.run(self.closing.clone()));
        let lane = LeaseLane {
            store: self.store.clone(),
            epoch: epoch.clone(),
            options: self.options.clone(),
        };
        self.tasks.spawn(lane.run(self.closing.clone()));
        if self.store.is_shared() {
            self.tasks.spawn(heartbeat::run(
                self.store.clone(),
                epoch.clone(),
                self.options.clone(),
                self.closing.clone(),
            ));
            let engine = Arc::downgrade(self);
            self.tasks.spawn(control::run(engine, epoch.clone()));
        }
    }
}

/// Registers anew whenever the registration is lost, until the engine closes.
pub(super) async fn keep_registered(engine: Weak<Engine>) {
    loop {
        let Some((closing, epoch)) = engine.upgrade().map(|e| (e.closing.clone(), e.epoch()))
        else {
            return;
        };
        tokio::select! {
            () = closing.cancelled() => return,
            () = epoch.lost() => {}
        }
        if epoch.validity.is_halted() {
            return;
        }
        drop(epoch);
        loop {
            let Some(engine) = engine.upgrade() else {
                return;
            };
            match engine.register_anew().await {
                Ok(()) => break,
                Err(error) => tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "registering as a new node failed"
                ),
            }
            drop(engine);
            tokio::select! {
                () = closing.cancelled() => return,
                () = tokio::time::sleep(REGISTER_PAUSE) => {}
            }
        }
    }
}

impl Engine {
    async fn register_anew(self: &Arc<Self>) -> Result<(), StoreError> {
        // Where others use the database they sweep what we left, when it is safe. Alone, it is ours to do.
        let sweep = !self.store.is_shared();
        let kept = (self.late.clone(), self.news.clone());
        let epoch = Epoch::register(&*self.store, &self.options, kept, sweep).await?;
        let epoch = Arc::new(epoch);
        self.epoch.store(epoch.clone());
        self.begin(&epoch);
        Ok(())
    }
}

/// Adds an account to what the node has at hand.
fn count(at_hand: &mut SlicesAtHand, view: &View) {
    let Some(policy) = view.policy else {
        return;
    };
    let available = view.available;
    let sum = match policy.kind {
        AccountKind::Wallet => &mut at_hand.wallets,
        AccountKind::Budget => &mut at_hand.budgets,
    };
    let idle = available.usd.max(NanoUsd::ZERO);
    *sum = sum.checked_add(idle).unwrap_or(*sum);
    let enforced = Dimension::ALL
        .into_iter()
        .filter(|d| policy.enforce.contains(*d));
    let is_negative = enforced.into_iter().any(|d| available.get(d) < 0);
    at_hand.negative += usize::from(is_negative);
}
