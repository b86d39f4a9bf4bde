//! The billing engine of one process: its registration with slices and lanes, and what it does for all nodes.

mod control;
mod delivery;
mod directory;
mod epoch;
mod heartbeat;
mod late;
mod leasing;
mod news;
mod recall;
mod settling;
mod slice;
mod sweeping;
mod validity;

#[cfg(test)]
pub(crate) use delivery::Deliveries;
pub(crate) use delivery::DeliveryToken;
pub(crate) use epoch::Epoch;
pub(crate) use settling::{Ack, Operation as LaneOperation, Settlement, Ticket};
#[cfg(any(test, feature = "testing"))]
pub(crate) use slice::PolicyVersion;
pub(crate) use slice::{Refusal, Share, Slice, View};

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::directory::BudgetDirectory;
use self::late::LateQueue;
use self::news::News;
use crate::auth::{EndUserScope, SweeperScope};
use crate::billing::FundError;
use crate::billing::account::Blocked;
use crate::billing::options::{BillingOptions, OutagePolicy};
use crate::billing::store::LedgerStore;
use crate::clock::Clock;
use crate::events::{EventStore, OperatorEvent};
use crate::id::{AccountId, EndUserId};
use crate::metrics::EngineState;
use crate::runtime::Runtime;
use crate::store::StoreError;

/// How often slices are looked at.
const TICK: Duration = Duration::from_secs(1);

/// The billing engine of this process. Cheap to clone.
#[derive(Clone)]
pub struct Billing(Arc<Engine>);

/// A place in the settlement queue, taken before money is held: so that dropping a call can always send what it
/// cost, without waiting and without failing.
#[derive(Debug)]
pub struct QueuePermit(OwnedSemaphorePermit);

pub(crate) struct Engine {
    store: Arc<dyn LedgerStore>,
    events: Arc<dyn EventStore>,
    clock: Arc<dyn Clock>,
    options: BillingOptions,
    epoch: ArcSwap<Epoch>,
    late: Arc<LateQueue>,
    news: Arc<News>,
    budgets: BudgetDirectory,
    state: EngineState,
    permits: Arc<Semaphore>,
    /// Another node has said something.
    nudged: Arc<Notify>,
    draining: AtomicBool,
    closing: CancellationToken,
    tasks: Runtime,
}

// === impl Billing ===

impl Billing {
    /// Sweeps what earlier runs left behind, registers this run as a node, and starts its lanes.
    ///
    /// # Errors
    /// When the store fails: without it nothing may be authorised.
    pub(crate) async fn start(
        store: Arc<dyn LedgerStore>,
        events: Arc<dyn EventStore>,
        clock: Arc<dyn Clock>,
        options: BillingOptions,
    ) -> Result<Self, StoreError> {
        let late = Arc::<LateQueue>::default();
        let news = Arc::<News>::default();
        let kept = (late.clone(), news.clone());
        let epoch = Arc::new(Epoch::register(&*store, &options, kept, true).await?);
        let engine = Arc::new(Engine {
            epoch: ArcSwap::new(epoch.clone()),
            late,
            news,
            permits: Arc::new(Semaphore::new(options.queue_max)),
            budgets: BudgetDirectory::new(store.clone()),
            state: EngineState::new(),
            nudged: Arc::default(),
            draining: AtomicBool::new(false),
            closing: CancellationToken::new(),
            tasks: Runtime::default(),
            store,
            events,
            clock,
            options,
        });
        engine.begin(&epoch);
        engine.spawn_tasks();
        Ok(Self(engine))
    }

    /// Takes a place in the settlement queue.
    ///
    /// # Errors
    /// [`FundError::Uncertain`] when the queue is full, stalled, or the node may not authorise.
    pub fn permit(&self) -> Result<QueuePermit, FundError> {
        let engine = &self.0;
        if !engine.authorises() {
            return Err(FundError::Uncertain { cause: None });
        }
        let permit = engine.permits.clone().try_acquire_owned();
        permit
            .map(QueuePermit)
            .map_err(|_| FundError::Uncertain { cause: None })
    }

    /// How many calls have a hold.
    pub fn open_holds(&self) -> usize {
        self.0.options.queue_max - self.0.permits.available_permits()
    }

    /// The parameters in force.
    pub fn options(&self) -> &BillingOptions {
        &self.0.options
    }

    /// Another node has left a message: it is read at once, instead of at the next poll.
    pub fn nudge(&self) {
        self.0.nudged.notify_one();
    }

    /// The node that this process is now.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn node(&self) -> crate::id::NodeId {
        self.0.epoch().node
    }

    /// What is in memory of each account.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn slices(&self) -> Vec<Arc<Slice>> {
        self.0.epoch().all_slices()
    }

    pub(crate) fn engine(&self) -> &Arc<Engine> {
        &self.0
    }

    /// Authorises nothing more, waits for the calls in flight until the deadline, writes what waits, returns
    /// all slots, and closes the node. Leaves no slot and no stream behind.
    ///
    /// # Errors
    /// When the store fails; whoever sweeps the node takes back what is left.
    pub(crate) async fn close(&self, deadline: Duration) -> Result<(), StoreError> {
        let (engine, scope) = (&self.0, SweeperScope::engine());
        engine.draining.store(true, Ordering::Release);
        let draining = engine.store.drain_node(&scope, engine.epoch().node);
        if let Ok(Err(error)) = tokio::time::timeout(engine.options.gate_timeout, draining).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the node cannot be marked as draining"
            );
        }
        let all = u32::try_from(engine.options.queue_max).unwrap_or(u32::MAX);
        // Every hold owns a permit until its settlement is durable.
        let _drained = tokio::time::timeout(deadline, engine.permits.acquire_many(all)).await;
        let epoch = engine.epoch();
        if !epoch.is_lost() {
            epoch
                .give_everything_back(engine.options.gate_timeout)
                .await;
        }
        engine.closing.cancel();
        let ended = engine.tasks.shut_down();
        if tokio::time::timeout(engine.options.gate_timeout, ended)
            .await
            .is_err()
        {
            return Err(StoreError::unavailable("what waits cannot be written"));
        }
        // Another one, if the node was fenced meanwhile.
        let epoch = engine.epoch();
        if epoch.is_lost() {
            return Ok(());
        }
        engine.store.close_node(&scope, epoch.node).await
    }
}

// === impl QueuePermit ===

impl QueuePermit {
    pub(crate) fn into_inner(self) -> OwnedSemaphorePermit {
        self.0
    }
}

// === impl Engine ===

impl Engine {
    pub(crate) fn options(&self) -> &BillingOptions {
        &self.options
    }

    pub(crate) fn state(&self) -> &EngineState {
        &self.state
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// The registration in force.
    pub(crate) fn epoch(&self) -> Arc<Epoch> {
        self.epoch.load_full()
    }

    /// Keeps what operators must hear of, as soon as the database takes it.
    pub(crate) fn tell_operators(&self, event: OperatorEvent) {
        self.news.tell(event);
    }

    /// The slice of an end user's budget, if there is an active one.
    pub(crate) async fn budget_slice(
        &self,
        epoch: &Epoch,
        end_user: &EndUserScope,
    ) -> Result<Option<Arc<Slice>>, StoreError> {
        let account = self.budgets.account(end_user).await?;
        Ok(account.map(|account| epoch.slice(account)))
    }

    /// An account was changed by an act on this node: its slice returns and its policy is read anew, before the
    /// act is acknowledged. When it is blocked now, the other nodes have stopped, too.
    pub(crate) async fn refresh(&self, account: AccountId) {
        let epoch = self.epoch();
        let is_shared = self.store.is_shared();
        let slice = match epoch.known_slice(account) {
            Some(slice) => slice,
            None if is_shared => epoch.slice(account),
            None => return,
        };
        epoch.refresh(&slice, self.options.gate_timeout).await;
        let blocked = |blocked| blocked != Blocked::No;
        if is_shared
            && slice
                .view()
                .policy
                .is_none_or(|policy| blocked(policy.blocked))
        {
            self.wait_for_others(&epoch, account).await;
        }
    }

    /// An end user's budget was made or removed.
    pub(crate) fn forget_budget(&self, end_user: EndUserId) {
        self.budgets.forget(end_user);
    }

    fn authorises(&self) -> bool {
        let (epoch, now) = (self.epoch.load(), Instant::now());
        if self.draining.load(Ordering::Acquire) || !epoch.validity.authorises(now) {
            return false;
        }
        // With grace, an outage is no reason to refuse yet, and what waits for its end grows old.
        let bridges =
            self.options.outage_policy == OutagePolicy::Grace && epoch.validity.is_cut_off(now);
        let oldest = epoch.settling.oldest();
        bridges || oldest.is_none_or(|age| age <= self.options.lane_stall)
    }

    fn spawn_tasks(self: &Arc<Self>) {
        let weak = || Arc::downgrade(self);
        self.tasks.spawn(epoch::keep_registered(weak()));
        self.tasks.spawn(sweeping::run(weak()));
        self.tasks.spawn(late::run(
            self.store.clone(),
            self.late.clone(),
            self.closing.clone(),
        ));
        self.tasks.spawn(news::run(
            self.events.clone(),
            self.news.clone(),
            self.closing.clone(),
        ));
        let (engine, closing) = (weak(), self.closing.clone());
        self.tasks.spawn(async move {
            let mut tick = tokio::time::interval(TICK);
            loop {
                tokio::select! {
                    () = closing.cancelled() => return,
                    _ = tick.tick() => {}
                }
                let Some(engine) = engine.upgrade() else {
                    return;
                };
                let idle_return = engine.options.lease_idle_return;
                let epoch = engine.epoch();
                let at_hand = epoch.tick(idle_return, engine.store.is_shared());
                engine.state.show_slices(at_hand);
                let places = engine.options.queue_max;
                let holds = places.saturating_sub(engine.permits.available_permits());
                let (settling, leasing) = (epoch.settling.depth(), epoch.leasing.depth());
                engine.state.show_queues(settling, leasing, holds);
            }
        });
    }
}

impl Drop for Engine {
    /// A gateway that is dropped without being closed must not live on in its heartbeats. What it left is swept.
    fn drop(&mut self) {
        self.closing.cancel();
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Billing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Billing")
            .field("node", &self.0.epoch().node)
            .field("holds", &self.open_holds())
            .finish_non_exhaustive()
    }
}
