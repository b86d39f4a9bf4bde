//! The billing engine of one node: its slices, its two lanes, and the holds on them.

mod delivery;
mod directory;
mod leasing;
mod settling;
mod slice;

pub(crate) use delivery::DeliveryToken;
pub(crate) use settling::{Operation as LaneOperation, Settlement, Ticket};
pub(crate) use slice::{Refusal, Slice, View};

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::delivery::Deliveries;
use self::directory::BudgetDirectory;
use self::leasing::{LeaseLane, LeaseQueue, Want, What};
use self::settling::{SettleLane, SettleQueue};
use crate::auth::{EndUserScope, SweeperScope};
use crate::billing::options::BillingOptions;
use crate::billing::store::{LedgerStore, Sweep};
use crate::billing::{Amounts, FundError};
use crate::clock::Clock;
use crate::id::{AccountId, EndUserId, NodeId};
use crate::runtime::Runtime;
use crate::store::StoreError;

/// The billing engine of this process. Cheap to clone.
#[derive(Clone)]
pub struct Billing(Arc<Engine>);

/// A place in the settlement queue, taken before money is held: so that dropping a call can always send what it
/// cost, without waiting and without failing.
#[derive(Debug)]
pub struct QueuePermit(OwnedSemaphorePermit);

pub(crate) struct Engine {
    store: Arc<dyn LedgerStore>,
    clock: Arc<dyn Clock>,
    options: BillingOptions,
    node: NodeId,
    slices: RwLock<HashMap<AccountId, Arc<Slice>>>,
    budgets: BudgetDirectory,
    settling: Arc<SettleQueue>,
    leasing: Arc<LeaseQueue>,
    permits: Arc<Semaphore>,
    fence: Arc<Fence>,
    draining: AtomicBool,
    closing: CancellationToken,
    lanes: Runtime,
}

/// Whether the node may authorise: not while its lane stalls, never again once it was fenced.
#[derive(Debug, Default)]
pub(crate) struct Fence(AtomicU8);

const OPEN: u8 = 0;
const STALLED: u8 = 1;
const FENCED: u8 = 2;

// === impl Fence ===

impl Fence {
    fn stall(&self) {
        let _ = self
            .0
            .compare_exchange(OPEN, STALLED, Ordering::AcqRel, Ordering::Acquire);
    }

    fn resume(&self) {
        let _ = self
            .0
            .compare_exchange(STALLED, OPEN, Ordering::AcqRel, Ordering::Acquire);
    }

    fn fence(&self) {
        self.0.store(FENCED, Ordering::Release);
    }

    fn is_fenced(&self) -> bool {
        self.0.load(Ordering::Acquire) == FENCED
    }

    fn is_open(&self) -> bool {
        self.0.load(Ordering::Acquire) == OPEN
    }
}

// === impl Billing ===

impl Billing {
    /// Sweeps what earlier runs left behind, registers this run, and starts its lanes.
    ///
    /// # Errors
    /// When the store fails: without it nothing may be authorised.
    pub(crate) async fn start(
        store: Arc<dyn LedgerStore>,
        clock: Arc<dyn Clock>,
        options: BillingOptions,
    ) -> Result<Self, StoreError> {
        let scope = SweeperScope::engine();
        let unconfirmed = options.unconfirmed_delivery;
        for swept in store.sweep(&scope, Sweep::All, unconfirmed).await? {
            tracing::warn!(
                streams = swept.streams,
                slots = swept.slots,
                unconfirmed = swept.unconfirmed,
                "swept a node that did not close"
            );
        }
        let node = store
            .open_node(&scope, Uuid::now_v7(), "assistiv", options.ttl)
            .await?;
        let engine = Arc::new(Engine {
            permits: Arc::new(Semaphore::new(options.queue_max)),
            budgets: BudgetDirectory::new(store.clone()),
            settling: Arc::default(),
            leasing: Arc::default(),
            slices: RwLock::default(),
            fence: Arc::default(),
            draining: AtomicBool::new(false),
            closing: CancellationToken::new(),
            lanes: Runtime::default(),
            store,
            clock,
            options,
            node,
        });
        engine.spawn_lanes();
        Ok(Self(engine))
    }

    /// Takes a place in the settlement queue.
    ///
    /// # Errors
    /// [`FundError::Uncertain`] when the queue is full, stalled, or the node may not authorise.
    pub fn permit(&self) -> Result<QueuePermit, FundError> {
        let engine = &self.0;
        let stalled = !engine.fence.is_open()
            || engine
                .settling
                .oldest()
                .is_some_and(|age| age > engine.options.lane_stall);
        if stalled || engine.draining.load(Ordering::Acquire) {
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

    pub(crate) fn engine(&self) -> &Arc<Engine> {
        &self.0
    }

    /// Authorises nothing more, waits for the calls in flight until the deadline, writes what waits, returns
    /// all slots, and closes the node.
    ///
    /// # Errors
    /// When the store fails; the next start sweeps what is left.
    pub(crate) async fn close(&self, deadline: Duration) -> Result<(), StoreError> {
        let engine = &self.0;
        engine.draining.store(true, Ordering::Release);
        let all = u32::try_from(engine.options.queue_max).unwrap_or(u32::MAX);
        // Every hold owns a permit until its settlement is durable.
        let _drained = tokio::time::timeout(deadline, engine.permits.acquire_many(all)).await;
        // All at once: the lane takes them in few batches, and one that the database keeps waiting does not
        // make the others wait in line.
        let slices = engine.all_slices();
        futures_util::future::join_all(
            slices
                .iter()
                .map(|slice| engine.give_everything_back(slice)),
        )
        .await;
        engine.closing.cancel();
        engine.settling.wake();
        engine.leasing.wake();
        engine.lanes.shut_down().await;
        engine
            .store
            .close_node(&SweeperScope::engine(), engine.node)
            .await
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

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    pub(crate) fn enqueue(&self, operation: LaneOperation) {
        self.settling.push(operation);
    }

    /// The slice of an account.
    pub(crate) fn slice(&self, account: AccountId) -> Arc<Slice> {
        let slices = self.slices.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(slice) = slices.get(&account) {
            return slice.clone();
        }
        drop(slices);
        let mut slices = self.slices.write().unwrap_or_else(PoisonError::into_inner);
        slices
            .entry(account)
            .or_insert_with(|| Arc::new(Slice::new(account)))
            .clone()
    }

    /// The slice of an end user's budget, if there is an active one.
    pub(crate) async fn budget_slice(
        &self,
        end_user: &EndUserScope,
    ) -> Result<Option<Arc<Slice>>, StoreError> {
        Ok(self
            .budgets
            .account(end_user)
            .await?
            .map(|account| self.slice(account)))
    }

    /// Asks the account for what a waiting call lacks; resolves when that was granted or refused.
    pub(crate) async fn lease(&self, slice: &Arc<Slice>, needs: Amounts) -> bool {
        self.want(slice, What::Have(needs)).await
    }

    /// Asks in the background, when the slice runs low.
    pub(crate) fn refill(&self, slice: &Arc<Slice>) {
        if slice.wants_refill() {
            self.leasing.push(Want {
                slice: slice.clone(),
                what: What::Have(Amounts::ZERO),
                done: None,
            });
        }
    }

    /// Asks for more without waiting: a stream's hold is to be extended.
    pub(crate) fn ask(&self, slice: &Arc<Slice>, needs: Amounts) -> oneshot::Receiver<()> {
        let (done, answer) = oneshot::channel();
        self.leasing.push(Want {
            slice: slice.clone(),
            what: What::Have(needs),
            done: Some(done),
        });
        answer
    }

    /// An account was changed by an act on this node: its slice returns and its policy is read anew, before the
    /// act is acknowledged.
    pub(crate) async fn refresh(&self, account: AccountId) {
        let slice = self
            .slices
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&account)
            .cloned();
        if let Some(slice) = slice
            && !self.want(&slice, What::Refresh).await
        {
            slice.forget_policy();
        }
    }

    /// An end user's budget was made or removed.
    pub(crate) fn forget_budget(&self, end_user: EndUserId) {
        self.budgets.forget(end_user);
    }

    async fn want(&self, slice: &Arc<Slice>, what: What) -> bool {
        let (done, answer) = oneshot::channel();
        self.leasing.push(Want {
            slice: slice.clone(),
            what,
            done: Some(done),
        });
        tokio::time::timeout(self.options.gate_timeout, answer)
            .await
            .is_ok_and(|answer| answer.is_ok())
    }

    async fn give_everything_back(&self, slice: &Arc<Slice>) {
        let request = slice.take_all();
        if !request.give_back.is_zero() {
            self.want(slice, What::GiveBack(request)).await;
        }
    }

    fn all_slices(&self) -> Vec<Arc<Slice>> {
        self.slices
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .cloned()
            .collect()
    }

    fn spawn_lanes(self: &Arc<Self>) {
        let settling = SettleLane {
            store: self.store.clone(),
            node: self.node,
            queue: self.settling.clone(),
            deliveries: Deliveries::default(),
            batch_max: self.options.batch_max,
            fenced: self.fence.clone(),
        };
        let leasing = LeaseLane {
            store: self.store.clone(),
            node: self.node,
            queue: self.leasing.clone(),
            fenced: self.fence.clone(),
        };
        self.lanes.spawn(settling.run(self.closing.clone()));
        self.lanes.spawn(leasing.run(self.closing.clone()));
        let (engine, closing) = (Arc::downgrade(self), self.closing.clone());
        self.lanes.spawn(async move {
            let mut tick = tokio::time::interval(Duration::from_secs(1));
            loop {
                tokio::select! {
                    () = closing.cancelled() => return,
                    _ = tick.tick() => {}
                }
                match engine.upgrade() {
                    Some(engine) => engine.tick(),
                    None => return,
                }
            }
        });
    }

    /// Once a second: idle slices return, and empty ones are forgotten, so that memory follows use.
    fn tick(&self) {
        let Some(idle_since) = Instant::now().checked_sub(self.options.lease_idle_return) else {
            return;
        };
        for slice in self.all_slices() {
            slice.tick();
            if let Some(request) = slice.take_idle(idle_since) {
                self.leasing.push(Want {
                    slice,
                    what: What::GiveBack(request),
                    done: None,
                });
            }
        }
        let mut slices = self.slices.write().unwrap_or_else(PoisonError::into_inner);
        // A slice that a call has in its hands counts twice or more.
        slices.retain(|_, slice| Arc::strong_count(slice) > 1 || !slice.is_empty(idle_since));
    }
}

impl std::fmt::Debug for Billing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Billing")
            .field("node", &self.0.node)
            .field("holds", &self.open_holds())
            .finish_non_exhaustive()
    }
}
