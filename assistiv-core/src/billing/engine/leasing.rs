//! Lane B: moves amounts between accounts and this node's slots.
//!
//! One task, one batch in flight. What an account cannot grant is waited for while other nodes hold slices of it;
//! see [`recall`](super::recall).

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::epoch::Epoch;
use super::recall::{Recalls, Waiting};
use super::slice::{PolicyVersion, Slice};
use super::validity::Asker;
use crate::auth::SweeperScope;
use crate::billing::amounts::Amounts;
use crate::billing::lease::{LeaseGrant, LeaseRequest};
use crate::billing::options::BillingOptions;
use crate::billing::store::{Lane, LeaseBatch, LedgerStore};
use crate::id::AccountId;
use crate::store::StoreError;

/// Accounts in one batch.
const BATCH_MAX: usize = 256;
const RETRY_FIRST: Duration = Duration::from_millis(20);
const RETRY_MAX: Duration = Duration::from_secs(1);

/// Something that waits for the lane.
pub(super) struct Want {
    pub(super) slice: Arc<Slice>,
    pub(super) what: What,
    /// Told when it is done. Dropped when it failed.
    pub(super) done: Option<oneshot::Sender<()>>,
}

/// What is wanted of an account.
pub(super) enum What {
    /// At least this much at hand, beside what waits already.
    Have(Amounts),
    /// To return these amounts, which were taken out of the slice.
    GiveBack(Amounts),
    /// To return everything at hand, and to know the account's policy anew.
    Refresh,
    /// To know again what the slot holds, after a reply was lost.
    Recover,
    /// To have the account's thresholds checked.
    Check,
}

/// The queue in front of the lane.
#[derive(Default)]
pub(super) struct LeaseQueue {
    waiting: Mutex<Queued>,
    arrived: Notify,
}

#[derive(Default)]
struct Queued {
    wants: Vec<Want>,
    is_closed: bool,
}

/// The lane itself: runs in one task.
pub(super) struct LeaseLane {
    pub(super) store: Arc<dyn LedgerStore>,
    pub(super) epoch: Arc<Epoch>,
    pub(super) options: BillingOptions,
}

/// What is to be done, by account.
#[derive(Default)]
struct Work {
    returns: BTreeMap<AccountId, Return>,
    asks: BTreeMap<AccountId, Ask>,
    recoveries: Vec<Arc<Slice>>,
    checks: BTreeMap<AccountId, Arc<Slice>>,
    recalls: Recalls,
}

/// Something to return to an account.
struct Return {
    slice: Arc<Slice>,
    give_back: Amounts,
    done: Vec<oneshot::Sender<()>>,
}

/// Something to ask of an account.
struct Ask {
    slice: Arc<Slice>,
    /// First come, first served.
    calls: VecDeque<Call>,
    waiting: Option<Waiting>,
    /// A reset was due and was applied; an account that says so again contradicts its budget, and gets nothing.
    was_reset: bool,
}

struct Call {
    needs: Amounts,
    done: oneshot::Sender<()>,
}

/// One account's part of a batch.
struct Part {
    slice: Arc<Slice>,
    request: LeaseRequest,
    version: PolicyVersion,
    job: Job,
}

enum Job {
    Return(Vec<oneshot::Sender<()>>),
    Ask(Ask),
    Check,
}

enum Outcome {
    Applied(Vec<LeaseGrant>),
    /// It had no effect, and will have none.
    Refused,
    /// Applied, but what it granted is not known.
    ReplyLost,
    Fenced,
}

// === impl LeaseQueue ===

impl LeaseQueue {
    /// Adds something to do. After the lane has ended it is dropped, which whoever waits sees at once.
    pub(super) fn push(&self, want: Want) {
        let mut queued = self.lock();
        if !queued.is_closed {
            queued.wants.push(want);
        }
        drop(queued);
        self.arrived.notify_one();
    }

    /// How many wants wait.
    pub(super) fn depth(&self) -> usize {
        self.lock().wants.len()
    }

    fn take(&self) -> Vec<Want> {
        std::mem::take(&mut self.lock().wants)
    }

    fn close(&self) {
        let mut queued = self.lock();
        queued.is_closed = true;
        queued.wants.clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Queued> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl LeaseLane ===

impl LeaseLane {
    /// Runs until the engine closes and nothing waits any more, or the registration is lost.
    pub(super) async fn run(self, closing: CancellationToken) {
        let mut work = Work::default();
        let mut seq = 0;
        let seconds = metrics::histogram!("billing_batch_seconds", "lane" => "lease");
        let granted = metrics::counter!("billing_lease_grants_total");
        while !self.epoch.is_lost() {
            self.epoch
                .leasing
                .take()
                .into_iter()
                .for_each(|want| work.add(want));
            for slice in std::mem::take(&mut work.recoveries) {
                self.recover(&slice).await;
            }
            let mut parts = work.due(Instant::now());
            if parts.is_empty() {
                if closing.is_cancelled() {
                    // Nobody is authorised any more who could wait for another node.
                    break;
                }
                tokio::select! {
                    () = self.epoch.leasing.arrived.notified() => {}
                    () = work.wait() => {}
                    () = self.epoch.lost() => {}
                    () = closing.cancelled() => {}
                }
                continue;
            }
            let batch = LeaseBatch {
                node: self.epoch.node,
                seq: seq + 1,
                requests: parts.iter().map(|part| part.request).collect(),
            };
            let began = Instant::now();
            let outcome = self.apply(&batch).await;
            seconds.record(began.elapsed().as_secs_f64());
            match outcome {
                Outcome::Applied(grants) => {
                    seq += 1;
                    granted.increment(grants.len() as u64);
                    self.finish(&mut work, parts, &grants).await;
                }
                Outcome::Refused => parts.drain(..).for_each(Part::fail),
                Outcome::ReplyLost => {
                    seq += 1;
                    self.forgotten(&mut work, parts).await;
                }
                Outcome::Fenced => break,
            }
        }
        self.epoch.leasing.close();
    }

    /// Sends a batch until its outcome is known. A number is never used for other content while the batch may
    /// still arrive.
    async fn apply(&self, batch: &LeaseBatch) -> Outcome {
        let (scope, epoch) = (SweeperScope::engine(), &self.epoch);
        let mut pause = RETRY_FIRST;
        let mut is_first = true;
        epoch.validity.asked(Asker::Leases, Instant::now());
        let outcome = loop {
            let error = match self.store.lease(&scope, batch).await {
                Ok(grants) => break Outcome::Applied(grants),
                Err(error) => error,
            };
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                seq = batch.seq,
                "lease batch failed"
            );
            match self.store.lane(&scope, epoch.node, Lane::Lease).await {
                Ok(position) if position.seq == batch.seq => break Outcome::ReplyLost,
                Ok(position) if position.fenced => {
                    epoch.fence("a lease batch came too late");
                    break Outcome::Fenced;
                }
                Ok(position) if position.seq < batch.seq - 1 => {
                    epoch.lose_history();
                    break Outcome::Fenced;
                }
                Ok(position) if position.seq > batch.seq => {
                    epoch.halt("somebody else writes with its number");
                    break Outcome::Fenced;
                }
                Err(StoreError::Lost { .. } | StoreError::NotFound) => {
                    epoch.fence("the database does not know it");
                    break Outcome::Fenced;
                }
                // An answer, not a silence: unless an earlier sending is still on its way.
                Ok(_) if is_first && !matches!(error, StoreError::Unavailable(_)) => {
                    break Outcome::Refused;
                }
                Ok(_) | Err(_) => {
                    is_first = false;
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        () = epoch.lost() => break Outcome::Fenced,
                    }
                    pause = (pause * 2).min(RETRY_MAX);
                }
            }
        };
        epoch.validity.answered(Asker::Leases);
        outcome
    }

    async fn finish(&self, work: &mut Work, parts: Vec<Part>, grants: &[LeaseGrant]) {
        for part in parts {
            let account = part.slice.account();
            let Some(grant) = grants.iter().find(|grant| grant.account == account) else {
                part.gone();
                continue;
            };
            match part.job {
                Job::Return(done) => {
                    (part.slice).returned(part.request.give_back, grant, part.version);
                    answer(done);
                }
                Job::Check => part.slice.returned(Amounts::ZERO, grant, part.version),
                Job::Ask(mut ask) => {
                    part.slice.leased(grant, part.version);
                    if grant.reset_due && !ask.was_reset && self.reset(account).await {
                        ask.was_reset = true;
                        work.put_back(ask);
                    } else {
                        self.answer_or_wait(work, ask).await;
                    }
                }
            }
        }
    }

    /// Answers the calls that can go on, and those for which nothing more is to be had anywhere.
    async fn answer_or_wait(&self, work: &mut Work, mut ask: Ask) {
        let short = ask.serve();
        if ask.calls.is_empty() {
            return;
        }
        let now = Instant::now();
        let waiting = match ask.waiting.take() {
            _ if !ask.slice.is_elsewhere(short) => None,
            None => Some(Waiting::begin(now, self.options.recall_wait)),
            Some(waiting) => waiting.again(now),
        };
        ask.waiting = waiting;
        if waiting.is_none() {
            // What is at hand now is all there is.
            answer(ask.calls.into_iter().map(|call| call.done));
            return;
        }
        let account = ask.slice.account();
        work.put_back(ask);
        if work.recalls.may(account, now)
            && let Err(error) = self.store.recall(&SweeperScope::engine(), account).await
        {
            tracing::warn!(error = &error as &dyn std::error::Error, "recall failed");
        }
    }

    /// A batch was applied and nobody knows what it granted: it is in the slots and not in memory.
    async fn forgotten(&self, work: &mut Work, parts: Vec<Part>) {
        for part in parts {
            part.slice.reply_lost(part.request.give_back);
            self.recover(&part.slice).await;
            match part.job {
                // What was returned was returned. The policy is not known: whoever asked for it is not told.
                Job::Return(_) | Job::Check => {}
                Job::Ask(ask) => work.put_back(ask),
            }
        }
    }

    /// Reads what the slot holds, where no call has anything of it in its hands. Else later.
    async fn recover(&self, slice: &Slice) {
        let Some(quiet) = slice.quiet_and_dirty() else {
            return;
        };
        let scope = SweeperScope::engine();
        match self
            .store
            .slot(&scope, self.epoch.node, slice.account())
            .await
        {
            Ok(slot) => slice.recovered(quiet, slot),
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "a slot cannot be read"
            ),
        }
    }

    async fn reset(&self, account: AccountId) -> bool {
        let reset = self
            .store
            .reset_period(&SweeperScope::engine(), account)
            .await;
        if let Err(error) = &reset {
            tracing::warn!(
                error = error as &dyn std::error::Error,
                "period reset failed"
            );
        }
        reset.is_ok()
    }
}

// === impl Work ===

impl Work {
    fn add(&mut self, want: Want) {
        let Want { slice, what, done } = want;
        let account = slice.account();
        match what {
            What::Have(needs) => {
                let ask = self.asks.entry(account).or_insert_with(|| Ask::of(slice));
                ask.calls.extend(done.map(|done| Call { needs, done }));
            }
            What::GiveBack(amounts) => self.give_back(slice, amounts, done),
            What::Refresh => {
                let amounts = slice.take_all();
                self.give_back(slice, amounts, done);
            }
            What::Recover => self.recoveries.push(slice),
            What::Check => {
                self.checks.insert(account, slice);
            }
        }
    }

    fn give_back(
        &mut self,
        slice: Arc<Slice>,
        amounts: Amounts,
        done: Option<oneshot::Sender<()>>,
    ) {
        let account = slice.account();
        let entry = self.returns.entry(account).or_insert_with(|| Return {
            slice,
            give_back: Amounts::ZERO,
            done: Vec::new(),
        });
        let sum = entry.give_back.checked_add(amounts);
        entry.give_back = sum.unwrap_or(entry.give_back);
        entry.done.extend(done);
    }

    fn put_back(&mut self, ask: Ask) {
        self.asks.insert(ask.slice.account(), ask);
    }

    /// What is to be sent now: one part for each account, in the order of accounts. An account that something
    /// returns to is asked afterwards: else it would grant what was just returned, and to the wrong node.
    fn due(&mut self, now: Instant) -> Vec<Part> {
        let mut parts: BTreeMap<AccountId, Part> = BTreeMap::new();
        while parts.len() < BATCH_MAX
            && let Some((account, entry)) = self.returns.pop_first()
        {
            let request = LeaseRequest::giving_back(account, entry.give_back);
            parts.insert(
                account,
                Part::new(entry.slice, request, Job::Return(entry.done)),
            );
        }
        let is_due = |ask: &Ask| ask.waiting.is_none_or(|waiting| waiting.ask_at <= now);
        let due: Vec<AccountId> = self
            .asks
            .iter()
            .filter(|(account, ask)| is_due(ask) && !parts.contains_key(account))
            .map(|(account, _)| *account)
            .take(BATCH_MAX - parts.len())
            .collect();
        for account in due {
            if let Some(mut ask) = self.asks.remove(&account) {
                ask.calls.retain(|call| !call.done.is_closed());
                if ask.calls.is_empty() && ask.waiting.is_some() {
                    // Everybody has left.
                    ask.slice.lease_failed(Amounts::ZERO);
                    continue;
                }
                let request = ask.slice.request(ask.needs());
                parts.insert(
                    account,
                    Part::new(ask.slice.clone(), request, Job::Ask(ask)),
                );
            }
        }
        // Whatever moves something checks, too.
        while parts.len() < BATCH_MAX
            && let Some((account, slice)) = self.checks.pop_first()
        {
            let request = LeaseRequest::checking(account);
            let part = || Part::new(slice, request, Job::Check);
            parts.entry(account).or_insert_with(part);
        }
        parts.into_values().collect()
    }

    /// Resolves when an account is to be asked again.
    async fn wait(&self) {
        let next = self
            .asks
            .values()
            .filter_map(|ask| ask.waiting)
            .map(|w| w.ask_at)
            .min();
        match next {
            Some(at) => tokio::time::sleep_until(at).await,
            None => std::future::pending().await,
        }
    }
}

// === impl Ask ===

impl Ask {
    fn of(slice: Arc<Slice>) -> Self {
        Self {
            slice,
            calls: VecDeque::new(),
            waiting: None,
            was_reset: false,
        }
    }

    fn needs(&self) -> Amounts {
        let add = |sum: Amounts, call: &Call| sum.checked_add(call.needs).unwrap_or(sum);
        self.calls.iter().fold(Amounts::ZERO, add)
    }

    /// Tells calls to go on, in their order, as far as what is at hand suffices; gives what the next one needs
    /// beyond that.
    fn serve(&mut self) -> Amounts {
        let mut promised = Amounts::ZERO;
        while let Some(call) = self.calls.front() {
            let Ok(sum) = promised.checked_add(call.needs) else {
                break;
            };
            if !self.slice.can_serve(sum) {
                return sum;
            }
            promised = sum;
            if let Some(call) = self.calls.pop_front() {
                // Whoever asked may have left.
                let _ = call.done.send(());
            }
        }
        promised
    }
}

// === impl Part ===

impl Part {
    fn new(slice: Arc<Slice>, request: LeaseRequest, job: Job) -> Self {
        Self {
            version: slice.policy_version(),
            slice,
            request,
            job,
        }
    }

    /// It had no effect: what was to be returned is at hand again.
    fn fail(self) {
        // The policy may have changed without this node's knowledge: it is read anew before the next hold.
        self.slice.forget_policy();
        self.slice.lease_failed(self.request.give_back);
    }

    /// The account is no more.
    fn gone(self) {
        self.slice.gone(self.request.give_back);
    }
}

fn answer(done: impl IntoIterator<Item = oneshot::Sender<()>>) {
    for done in done {
        // Whoever asked may have left.
        let _ = done.send(());
    }
}
