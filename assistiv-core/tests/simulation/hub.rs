//! The database's doorstep: every call that matters waits here twice, once before it is applied and once before its
//! answer goes back, until the schedule says what becomes of it.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

use assistiv_core::billing::{LeaseBatch, LedgerStore, SettleBatch};
use assistiv_core::store::StoreError;
use assistiv_core::testing::link::{Message, Traffic};
use assistiv_core::testing::scopes;
use async_trait::async_trait;
use tokio::sync::{Notify, oneshot};

/// What a schedule does next.
#[derive(Clone, PartialEq, Eq)]
pub struct Action {
    pub node: usize,
    /// Which call, by name and number, and whether its answer or itself is meant.
    pub call: String,
    pub how: How,
}

/// What becomes of a call, or of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    Go,
    /// The call never arrives, and its sender hears so.
    LoseRequest,
    /// It arrives, and once more at any later time.
    Twice,
    /// It was applied, and its sender hears of an error.
    LoseReply,
    /// It takes longer than a gate waits.
    Slow,
    /// The node's process dies.
    Die,
    /// Nothing passes between node and database for so long that the node is swept; the node hears of it by
    /// whatever it sends first.
    CutOff,
    /// The same, and what was under way arrives before the node can send anything else.
    CutOffLateFirst,
    /// Nothing passes until the node's own deadline is over, and not until it is swept.
    CutOffBriefly,
}

/// Where a call waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Not applied yet.
    Sent,
    /// Applied; the answer waits.
    Answered,
    /// Nothing of the database: a provider answers.
    Provider,
}

/// A call that waits.
#[derive(Clone)]
pub struct Waiting {
    pub node: usize,
    pub name: &'static str,
    pub call: String,
    pub stage: Stage,
}

#[derive(Default)]
struct State {
    waiting: BTreeMap<u64, (Waiting, oneshot::Sender<How>)>,
    next: u64,
    numbers: HashMap<(usize, &'static str, bool), u32>,
    cut: [bool; 2],
    dead: [bool; 2],
    recalled_by: Option<usize>,
}

pub struct Hub {
    state: Mutex<State>,
    /// Something waits.
    pub arrived: Notify,
    /// Calls that pass without being asked for may pass again.
    mended: Notify,
    /// Calls that wait; all others pass, unless their node is cut off.
    held: &'static [&'static str],
}

/// The way of one node to the store.
pub struct Port {
    pub hub: Arc<Hub>,
    pub node: usize,
    pub store: Arc<dyn LedgerStore>,
}

/// Removes a call that its sender no longer waits for.
struct Place<'h> {
    hub: &'h Hub,
    id: u64,
}

// === impl Hub ===

impl Hub {
    pub fn new(held: &'static [&'static str]) -> Self {
        Self {
            state: Mutex::default(),
            arrived: Notify::new(),
            mended: Notify::new(),
            held,
        }
    }

    /// What waits, node by node, each in the order in which it came. Calls of a node that is cut off do not.
    pub fn waiting(&self) -> Vec<Waiting> {
        let state = self.lock();
        let open = state
            .waiting
            .values()
            .filter(|(w, _)| !state.cut[w.node] || w.stage == Stage::Provider);
        let mut waiting: Vec<_> = open.map(|(waiting, _)| waiting.clone()).collect();
        waiting.sort_by_key(|waiting| waiting.node);
        waiting
    }

    /// Lets one go.
    pub fn release(&self, node: usize, call: &str, how: How) {
        let mut state = self.lock();
        let is_it = |(_, (w, _)): &(&u64, &(Waiting, _))| w.node == node && w.call == call;
        let id = state.waiting.iter().find(is_it).map(|(id, _)| *id).unwrap();
        let (_, sender) = state.waiting.remove(&id).unwrap();
        sender.send(how).unwrap();
    }

    pub fn kill(&self, node: usize) {
        let mut state = self.lock();
        state.dead[node] = true;
        state.waiting.retain(|_, (waiting, _)| waiting.node != node);
    }

    pub fn is_dead(&self, node: usize) -> bool {
        self.lock().dead[node]
    }

    pub fn cut(&self, node: usize) {
        self.lock().cut[node] = true;
    }

    pub fn mend(&self, node: usize) {
        self.lock().cut[node] = false;
        self.mended.notify_waiters();
        self.arrived.notify_one();
    }

    /// All of a node's calls that were under way when it was cut off arrive.
    pub fn deliver(&self, node: usize) {
        let mut state = self.lock();
        let is_sent = |(w, _): &(Waiting, _)| w.node == node && w.stage != Stage::Provider;
        let under_way = state.waiting.iter().filter(|(_, w)| is_sent(w));
        let ids: Vec<u64> = under_way.map(|(id, _)| *id).collect();
        for id in ids {
            let (_, sender) = state.waiting.remove(&id).unwrap();
            sender.send(How::Go).unwrap();
        }
    }

    /// Who has asked the others to give back, since this was last asked.
    pub fn recalled_by(&self) -> Option<usize> {
        self.lock().recalled_by.take()
    }

    /// Waits until the schedule says what becomes of it.
    pub async fn point(&self, node: usize, name: &'static str, stage: Stage) -> How {
        let (sender, verdict) = oneshot::channel();
        if self.is_dead(node) {
            return std::future::pending().await;
        }
        let id = {
            let mut state = self.lock();
            let number = state.numbers.entry((node, name, stage == Stage::Answered));
            let number = number.and_modify(|n| *n += 1).or_insert(1);
            let mark = if stage == Stage::Answered { "!" } else { "" };
            let call = format!("{name}{number}{mark}");
            let waiting = Waiting {
                node,
                name,
                call,
                stage,
            };
            state.next += 1;
            let id = state.next;
            state.waiting.insert(id, (waiting, sender));
            id
        };
        self.arrived.notify_one();
        let _place = Place { hub: self, id };
        match verdict.await {
            Ok(how) => how,
            // The node is dead.
            Err(_) => std::future::pending().await,
        }
    }

    /// What is not held passes at once, but for a node that is cut off or dead.
    async fn pass(&self, node: usize) {
        loop {
            let mended = self.mended.notified();
            if self.is_dead(node) {
                return std::future::pending().await;
            }
            if !self.lock().cut[node] {
                return;
            }
            mended.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Ok(mut state) = self.hub.state.lock() {
            state.waiting.remove(&self.id);
        }
    }
}

// === impl Port ===

enum Batch {
    Settle(SettleBatch),
    Lease(LeaseBatch),
}

impl Port {
    /// The same batch again, whenever the schedule wants it. Nobody hears the answer.
    #[expect(clippy::disallowed_methods, reason = "the network's own task")]
    fn repeat(&self, call: &Message<'_>) {
        let batch = match call {
            Message::Settle(batch) => Batch::Settle((*batch).clone()),
            Message::Lease(batch) => Batch::Lease((*batch).clone()),
            Message::Other(_) => return,
        };
        let (hub, node, store) = (self.hub.clone(), self.node, self.store.clone());
        tokio::spawn(async move {
            hub.point(node, "again", Stage::Sent).await;
            let scope = scopes::engine();
            match batch {
                Batch::Settle(batch) => drop(store.settle(&scope, &batch).await),
                Batch::Lease(batch) => drop(store.lease(&scope, &batch).await),
            }
        });
    }
}

fn name_of(call: &Message<'_>) -> &'static str {
    match call {
        Message::Settle(_) => "settle",
        Message::Lease(_) => "lease",
        Message::Other(name) => name,
    }
}

#[derive(Debug, thiserror::Error)]
#[error("lost on the way")]
struct LostOnTheWay;

#[async_trait]
impl Traffic for Port {
    async fn sent(&self, call: &Message<'_>) -> Result<(), StoreError> {
        let name = name_of(call);
        if !self.hub.held.contains(&name) {
            self.hub.pass(self.node).await;
            return Ok(());
        }
        match self.hub.point(self.node, name, Stage::Sent).await {
            How::LoseRequest => return Err(StoreError::unavailable(LostOnTheWay)),
            How::Twice => self.repeat(call),
            _ => {}
        }
        Ok(())
    }

    async fn answered(&self, call: &Message<'_>) -> Result<(), StoreError> {
        let name = name_of(call);
        if name == "recall" {
            self.hub.lock().recalled_by = Some(self.node);
        }
        if !self.hub.held.contains(&name) {
            // Whoever died meanwhile hears nothing.
            self.hub.pass(self.node).await;
            return Ok(());
        }
        match self.hub.point(self.node, name, Stage::Answered).await {
            How::LoseReply => Err(StoreError::unavailable(LostOnTheWay)),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let node = ["A", "B"][self.node];
        match self.how {
            How::Go => write!(f, "{node} {}", self.call),
            how => write!(f, "{node} {} {how:?}", self.call),
        }
    }
}
