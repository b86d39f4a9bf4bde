//! One schedule, from the start of two nodes to the books after it.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use assistiv_core::billing::{
    BillingOptions, EntriesOf, EntryFilter, EntryKind, LedgerStore, UnconfirmedFilter,
};
use assistiv_core::id::EntryId;
use assistiv_core::store::Page;
use assistiv_core::testing::{engine, scopes};

use crate::cluster::{Cluster, Job, Received, cost_of};
use crate::explorer::Explorer;
use crate::hub::{Action, How, Hub, Stage, Waiting};

/// What is to be explored.
#[derive(Clone)]
pub struct Scenario {
    pub name: &'static str,
    pub jobs: &'static [Job],
    pub wallet: i64,
    pub budget: Option<i64>,
    pub options: BillingOptions,
    /// Calls whose order is explored.
    pub held: &'static [&'static str],
    pub faults: usize,
    pub kinds: &'static [How],
}

/// Until everything that can follow from an action has followed.
const MOMENT: Duration = Duration::from_millis(1);
/// More than nodes wait before they try again, or ask again.
const PAUSE: Duration = Duration::from_millis(1_500);
/// More than a gate waits, and less than a node lives.
const SLOW: Duration = Duration::from_millis(5_500);
/// More than a node's own deadline, and less than others wait for it.
const BRIEF: Duration = Duration::from_millis(9_500);
/// More than a node may be silent.
const LONG: Duration = Duration::from_millis(14_500);
const DECISIONS_MAX: usize = 400;

struct Run<'a> {
    scenario: &'a Scenario,
    explorer: &'a mut Explorer,
    cluster: Cluster,
    faults: usize,
    fenced: [bool; 2],
}

/// Plays the schedule that the explorer is at; `false` when it was cut short.
pub fn play(scenario: &Scenario, explorer: &mut Explorer) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let hub = Arc::new(Hub::new(scenario.held));
        let cluster = Cluster::new(
            hub,
            &scenario.options,
            scenario.wallet,
            scenario.budget,
            scenario.jobs,
        )
        .await;
        cluster.start();
        let mut run = Run {
            scenario,
            explorer,
            cluster,
            faults: 0,
            fenced: [false; 2],
        };
        if !run.decide_all().await {
            return false;
        }
        run.settle_down().await;
        run.check_books().await;
        run.check_calls().await;
        true
    })
}

// === impl Run ===

impl Run<'_> {
    /// Follows the explorer's choices until every call has ended; `false` when the rest was run before.
    async fn decide_all(&mut self) -> bool {
        self.explorer.begin();
        for _ in 0..DECISIONS_MAX {
            self.moment(MOMENT).await;
            self.check_always().await;
            let waiting = self.cluster.hub.waiting();
            if waiting.is_empty() {
                if self.cluster.all_done() {
                    return true;
                }
                // Somebody waits for time to pass.
                let arrived = self.cluster.hub.arrived.notified();
                let _ = tokio::time::timeout(PAUSE, arrived).await;
                continue;
            }
            let Some(action) = self.explorer.choose(self.options(&waiting)) else {
                return false;
            };
            self.act(&action).await;
        }
        panic!("it never ends");
    }

    fn options(&self, waiting: &[Waiting]) -> Vec<Action> {
        let action = |w: &Waiting, how| Action {
            node: w.node,
            call: w.call.clone(),
            how,
        };
        // One node has one message of a kind under way at a time, and its tasks do not meet: the first that waits of
        // each node, and every other one too, may be next.
        let mut options: Vec<_> = waiting.iter().map(|w| action(w, How::Go)).collect();
        if self.faults >= self.scenario.faults {
            return options;
        }
        for w in waiting {
            let possible: &[How] = match (w.stage, w.name) {
                (Stage::Sent, "settle" | "lease") => &[How::LoseRequest, How::Twice, How::Slow],
                (Stage::Sent, "again") | (Stage::Provider, _) => &[],
                (Stage::Sent, _) => &[How::LoseRequest],
                (Stage::Answered, "settle" | "lease") => &[How::LoseReply, How::Slow],
                (Stage::Answered, _) => &[How::LoseReply],
            };
            let possible = possible
                .iter()
                .filter(|how| self.scenario.kinds.contains(how));
            options.extend(possible.map(|how| action(w, *how)));
        }
        let alive = (0..2).filter(|node| !self.cluster.hub.is_dead(*node));
        let busy = alive.filter(|node| waiting.iter().any(|w| w.node == *node));
        for node in busy {
            let of_node = [
                How::Die,
                How::CutOff,
                How::CutOffLateFirst,
                How::CutOffBriefly,
            ];
            let possible = of_node
                .into_iter()
                .filter(|how| self.scenario.kinds.contains(how));
            options.extend(possible.map(|how| Action {
                node,
                call: String::new(),
                how,
            }));
        }
        options
    }

    async fn act(&mut self, action: &Action) {
        let hub = self.cluster.hub.clone();
        self.faults += usize::from(action.how != How::Go);
        match action.how {
            How::Go | How::LoseRequest | How::Twice | How::LoseReply => {
                hub.release(action.node, &action.call, action.how);
            }
            How::Slow => {
                let slow = (action.node, action.call.clone());
                self.pass(SLOW, Some(slow)).await;
            }
            How::Die => {
                hub.kill(action.node);
                self.pass(LONG, None).await;
            }
            How::CutOffBriefly => self.cut_off(action.node, BRIEF).await,
            How::CutOff => {
                self.fenced[action.node] = true;
                self.cut_off(action.node, LONG).await;
            }
            How::CutOffLateFirst => {
                self.fenced[action.node] = true;
                hub.cut(action.node);
                self.pass(LONG, None).await;
                // Only what was under way arrives, all of it.
                hub.deliver(action.node);
                self.moment(MOMENT).await;
                hub.mend(action.node);
            }
        }
        if let Some(by) = self.recalled() {
            self.cluster.nodes[1 - by].nudge();
        }
    }

    fn recalled(&self) -> Option<usize> {
        self.cluster.hub.recalled_by()
    }

    async fn cut_off(&self, node: usize, time: Duration) {
        self.cluster.hub.cut(node);
        self.pass(time, None).await;
        self.cluster.hub.mend(node);
    }

    /// Time passes, and whatever arrives meanwhile goes through, but for one call.
    async fn pass(&self, time: Duration, but: Option<(usize, String)>) {
        let end = tokio::time::Instant::now() + time;
        while tokio::time::Instant::now() < end {
            let left = end - tokio::time::Instant::now();
            let arrived = self.cluster.hub.arrived.notified();
            let _ = tokio::time::timeout(left.min(PAUSE), arrived).await;
            self.moment(MOMENT).await;
            self.let_through(&but);
            self.check_always().await;
        }
    }

    /// Lets everything go that is no provider: that is the calls' own time.
    fn let_through(&self, but: &Option<(usize, String)>) {
        let hub = &self.cluster.hub;
        for w in hub.waiting() {
            let is_meant = but
                .as_ref()
                .is_some_and(|(node, call)| *node == w.node && *call == w.call);
            if w.stage != Stage::Provider && !is_meant {
                hub.release(w.node, &w.call, How::Go);
            }
        }
        if let Some(by) = self.recalled() {
            self.cluster.nodes[1 - by].nudge();
        }
    }

    async fn moment(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    /// Every call has ended: whatever is still to come comes, without a choice.
    async fn settle_down(&self) {
        let rounds = if self.faults > 0 { 12 } else { 2 };
        for _ in 0..rounds {
            self.pass(PAUSE, None).await;
        }
    }

    /// What holds at every moment.
    async fn check_always(&self) {
        let (store, scope) = (&self.cluster.store, scopes::operator());
        let path = || self.explorer.path();
        for audit in store.audit(&scope).await.unwrap() {
            assert!(audit.balances(), "{audit:?} after {:?}", path());
            // No call costs more than was held for it.
            let total = audit.ledger.usd;
            assert!(total.get() >= 0, "overspent: {audit:?} after {:?}", path());
        }
        let nodes = store.nodes(&scope).await.unwrap();
        for audit in &nodes {
            assert!(
                audit.is_open,
                "a closed node has rows: {audit:?} after {:?}",
                path()
            );
        }
        for (index, billing) in self.cluster.nodes.iter().enumerate() {
            let node = engine::node(billing);
            if self.cluster.hub.is_dead(index) || nodes.iter().all(|audit| audit.node != node) {
                continue;
            }
            for (account, spendable) in engine::spendable(billing) {
                let slot = store.slot(&scopes::engine(), node, account).await.unwrap();
                assert!(
                    spendable.usd <= slot.usd,
                    "memory of {index} has {spendable:?} of {slot:?} after {:?}",
                    path()
                );
            }
        }
    }

    /// What holds when all is over: nothing is left behind by anybody, and who lives goes on.
    async fn check_books(&self) {
        self.check_always().await;
        let path = self.explorer.path();
        let audits = self.cluster.store.audit(&scopes::operator()).await.unwrap();
        assert!(
            audits.iter().all(|a| a.open_streams == 0),
            "a stream is left after {path:?}"
        );
        for (index, billing) in self.cluster.nodes.iter().enumerate() {
            if self.cluster.hub.is_dead(index) {
                continue;
            }
            assert!(
                !engine::is_dirty(billing),
                "a slice of {index} is lost after {path:?}"
            );
            assert_eq!(billing.open_holds(), 0, "holds of {index} after {path:?}");
            assert!(
                billing.permit().is_ok(),
                "{index} does not go on after {path:?}"
            );
        }
    }

    /// Each answer is charged once and exactly; what was not received is not charged, or is listed.
    async fn check_calls(&self) {
        let cluster = &self.cluster;
        let (store, path) = (&cluster.store, self.explorer.path());
        let page = Page {
            page: 1,
            limit: 100,
        };
        let filter = EntryFilter::default();
        let scope = scopes::platform(cluster.payers.platform_id);
        let entries = store
            .entries(&scope, EntriesOf::Wallet, &filter, page)
            .await;
        let entries: Vec<_> = entries
            .unwrap()
            .rows
            .into_iter()
            .map(|row| row.entry)
            .collect();
        let filter = UnconfirmedFilter::default();
        let listed = store.unconfirmed(&scopes::operator(), &filter, page).await;
        let listed: HashSet<EntryId> = listed
            .unwrap()
            .rows
            .iter()
            .map(|item| item.charge)
            .collect();
        let progress = cluster.progress.lock().unwrap().clone();
        for ((job, id), progress) in cluster.jobs.iter().zip(&cluster.ids).zip(progress) {
            let own: Vec<_> = entries
                .iter()
                .filter(|entry| entry.uid == *id || entry.refers_to == Some(*id))
                .collect();
            let count = |kind| own.iter().filter(|entry| entry.kind == kind).count();
            let once = count(EntryKind::Charge) <= 1 && count(EntryKind::Correction) <= 1;
            let net: i64 = own.iter().map(|entry| -entry.wallet.unwrap().1.get()).sum();
            let is_listed = listed.contains(id);
            let prompt = cost_of((i64::try_from(job.estimate.0).unwrap(), 0));
            let (died, fenced) = (cluster.hub.is_dead(job.node), self.fenced[job.node]);
            let exact = net == progress.cost;
            let is_right = match progress.received {
                Received::Everything | Received::Broken => exact,
                // A process that died may have charged the end that nobody received.
                Received::Content if died => exact || net == prompt,
                Received::Content => exact,
                // A stream that was recorded may have been about to go out.
                Received::Nothing if died && job.is_stream => net == 0 || net == prompt,
                Received::Nothing if died || fenced => net == 0 || is_listed && exact,
                Received::Nothing => net == 0,
            };
            assert!(
                once && is_right,
                "{job:?} {progress:?} was charged {net}, listed {is_listed}, by {own:#?} after {path:?}"
            );
        }
    }
}
