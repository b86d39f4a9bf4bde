//! Two engines on one store, in paused time, and the calls that they serve.

use std::sync::{Arc, LazyLock, Mutex};

use assistiv_core::billing::{Billing, BillingOptions, Ending, Estimate, Hold, LedgerStore, Usage};
use assistiv_core::call::{InferenceRequest, Operation};
use assistiv_core::clock::{Clock, Timestamp};
use assistiv_core::id::LogId;
use assistiv_core::money::{Markup, NanoUsd};
use assistiv_core::provider::{
    Credential, Decoder, Encoded, Output, Provider, ProviderError, ProviderErrorKind, Registered,
    Support, Transport, TransportError, TransportErrorKind, UpstreamBody,
};
use assistiv_core::routing::{Catalogue, Target};
use assistiv_core::store::memory::MemoryStore;
use assistiv_core::store::{NewEndUser, NewPlatform, Stores};
use assistiv_core::testing::fixtures::{self, Payers};
use assistiv_core::testing::link::Link;
use assistiv_core::testing::{engine, scopes};
use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use tokio::time::Instant;

use crate::hub::{Hub, Port, Stage};

/// 2026-11-23
const BEGIN: Timestamp = Timestamp::from_micros(1_795_392_000_000_000);

/// A call that a node serves.
#[derive(Clone, Copy, Debug)]
pub struct Job {
    pub node: usize,
    pub is_stream: bool,
    /// What its prompt is counted as, and its output limit.
    pub estimate: (u64, u64),
    /// What the provider reports.
    pub used: (i64, i64),
    /// Fails at the provider after it was accepted.
    pub fails: bool,
}

/// What the client of a call has received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Received {
    #[default]
    Nothing,
    /// Some content of a stream.
    Content,
    /// A stream that ended with an error.
    Broken,
    Everything,
}

/// How a call stands.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    pub received: Received,
    pub is_done: bool,
    /// Refused before anything was sent.
    pub is_refused: bool,
    /// What it costs in the end.
    pub cost: i64,
}

/// What so many tokens cost, in nano-dollars.
pub fn cost_of((input, output): (i64, i64)) -> i64 {
    input * 3_000 + output * 15_000
}

pub struct Cluster {
    pub hub: Arc<Hub>,
    pub store: Arc<MemoryStore>,
    pub nodes: Vec<Billing>,
    pub payers: Payers,
    pub jobs: Vec<Job>,
    pub ids: Vec<LogId>,
    pub progress: Arc<Mutex<Vec<Progress>>>,
}

/// The wall clock of paused time.
struct Paused(Instant);

impl Clock for Paused {
    fn now(&self) -> Timestamp {
        let micros = i64::try_from(self.0.elapsed().as_micros()).unwrap();
        Timestamp::from_micros(BEGIN.as_micros() + micros)
    }
}

// === impl Cluster ===

impl Cluster {
    pub async fn new(
        hub: Arc<Hub>,
        options: &BillingOptions,
        wallet: i64,
        budget: Option<i64>,
        jobs: &[Job],
    ) -> Self {
        let clock = Arc::new(Paused(Instant::now()));
        let store = Arc::new(MemoryStore::shared(clock.clone()));
        let stores: Stores = MemoryStore::clone(&store).into();
        let payers = tenants(&stores, wallet, budget).await;
        let mut nodes = Vec::new();
        for node in 0..2 {
            let port = Port {
                hub: hub.clone(),
                node,
                store: store.clone(),
            };
            let link = Link::through(store.clone(), Arc::new(port));
            let stores = Stores {
                ledger: Arc::new(link) as Arc<dyn LedgerStore>,
                ..stores.clone()
            };
            let started = engine::start(&stores, clock.clone(), options.clone()).await;
            nodes.push(started.unwrap());
        }
        Self {
            hub,
            store,
            nodes,
            payers,
            jobs: jobs.to_vec(),
            ids: jobs.iter().map(|_| LogId::new()).collect(),
            progress: Arc::new(Mutex::new(vec![Progress::default(); jobs.len()])),
        }
    }

    /// Starts all calls.
    #[expect(clippy::disallowed_methods, reason = "calls run beside each other")]
    pub fn start(&self) {
        for (index, job) in self.jobs.iter().enumerate() {
            let serving = Serving {
                job: *job,
                index,
                log_id: self.ids[index],
                payers: self.payers,
                billing: self.nodes[job.node].clone(),
                hub: self.hub.clone(),
                store: self.store.clone(),
                progress: self.progress.clone(),
            };
            tokio::spawn(async move {
                let end = serving.run().await;
                serving.note(|progress| {
                    progress.is_done = true;
                    progress.is_refused = end.is_none();
                });
            });
        }
    }

    pub fn all_done(&self) -> bool {
        let progress = self.progress.lock().unwrap();
        let mut calls = self.jobs.iter().zip(&*progress);
        calls.all(|(job, progress)| progress.is_done || self.hub.is_dead(job.node))
    }
}

async fn tenants(stores: &Stores, wallet: i64, budget: Option<i64>) -> Payers {
    static PLATFORM: LazyLock<NewPlatform> =
        LazyLock::new(|| fixtures::new_platform("acme", NanoUsd::ZERO, BEGIN));
    static USER: LazyLock<NewEndUser> =
        LazyLock::new(|| fixtures::new_end_user(PLATFORM.platform.id, "ada", BEGIN));
    let mut platform = PLATFORM.clone();
    platform.wallet.opening.1 = NanoUsd::new(wallet);
    let (id, digest) = (platform.platform.id, platform.key.digest.clone());
    let tenancy = &stores.tenancy;
    let made = tenancy.create_platform(&scopes::operator(), platform).await;
    made.unwrap();
    let mut user = USER.clone();
    let end_user_id = user.end_user.id;
    user.budget = budget.map(|usd| {
        let mut limits = fixtures::limits(None, None);
        limits.usd = Some(NanoUsd::new(usd));
        fixtures::new_budget(fixtures::one_time(limits))
    });
    let scope = scopes::platform(id);
    stores.tenancy.create_end_user(&scope, user).await.unwrap();
    let key = stores.keys.find_by_digest(&scopes::digest(), &digest).await;
    Payers {
        platform_id: id,
        end_user_id: Some(end_user_id),
        wallet: key.unwrap().unwrap().platform.unwrap().1,
        budget: stores
            .ledger
            .budget_account(&scope, end_user_id)
            .await
            .unwrap(),
    }
}

/// One call, from its authorisation to its client.
struct Serving {
    job: Job,
    index: usize,
    log_id: LogId,
    payers: Payers,
    billing: Billing,
    hub: Arc<Hub>,
    store: Arc<MemoryStore>,
    progress: Arc<Mutex<Vec<Progress>>>,
}

// === impl Serving ===

impl Serving {
    /// As the gateway does it; `None` when the call was refused.
    async fn run(&self) -> Option<()> {
        let mut hold = self.authorise().await?;
        hold.begin(&TARGET);
        if !hold.may_be_sent() {
            hold.release();
            return None;
        }
        self.may_send().await;
        let lost = hold.lost();
        tokio::select! {
            biased;
            _ = self.provider("answer") => {}
            () = lost.cancelled() => {
                hold.failed();
                hold.release();
                return None;
            }
        }
        hold.accepted();
        let output = hold.lowered_to().unwrap_or(self.job.estimate.1);
        let output = self.job.used.1.min(i64::try_from(output).unwrap());
        let used = (self.job.used.0, output);
        self.note(|progress| progress.cost = cost_of(used));
        if self.job.is_stream {
            self.stream(hold, used).await;
        } else {
            self.whole(hold, used).await;
        }
        Some(())
    }

    async fn authorise(&self) -> Option<Hold> {
        let permit = self.billing.permit().ok()?;
        let payer = engine::payer(&self.billing, &self.payers);
        let (input, output) = self.job.estimate;
        let estimate = Estimate {
            prices: vec![TARGET.price(None).clone()],
            input_tokens: input,
            output_tokens: output,
            is_bounded: true,
            markup: Markup::NONE,
            display: Default::default(),
        };
        let hold = self
            .billing
            .hold(permit, payer, self.log_id, estimate, input);
        hold.await.ok()
    }

    /// Nothing is sent to a provider by a node that was swept.
    async fn may_send(&self) {
        let (node, scope) = (engine::node(&self.billing), scopes::operator());
        let nodes = self.store.nodes(&scope).await.unwrap();
        let is_open = nodes
            .iter()
            .any(|audit| audit.node == node && audit.is_open);
        assert!(is_open, "a swept node calls its provider");
    }

    async fn whole(&self, mut hold: Hold, used: (i64, i64)) {
        if self.job.fails {
            hold.failed();
            hold.release();
            return;
        }
        engine::observe(&mut hold, &reported(used));
        if let Ok(settled) = hold.settle(Ending::Complete).whole().await {
            self.receive(Received::Everything);
            drop(settled);
        }
    }

    async fn stream(&self, mut hold: Hold, used: (i64, i64)) {
        let gate = hold.open();
        if self.job.fails {
            self.provider("failure").await;
            hold.failed();
            hold.release();
            return;
        }
        if gate.wait().await.is_err() {
            hold.failed();
            hold.release();
            return;
        }
        self.receive(Received::Content);
        self.provider("answer's end").await;
        engine::observe(&mut hold, &reported(used));
        match hold.settle(Ending::Complete).stream().await {
            Ok(settled) => {
                self.receive(Received::Everything);
                drop(settled);
            }
            Err(_) => self.receive(Received::Broken),
        }
    }

    async fn provider(&self, what: &'static str) {
        self.hub.point(self.job.node, what, Stage::Provider).await;
    }

    fn receive(&self, what: Received) {
        self.note(|progress| progress.received = what);
    }

    /// What a dead process does, it does not.
    fn note(&self, note: impl FnOnce(&mut Progress)) {
        if !self.hub.is_dead(self.job.node) {
            note(&mut self.progress.lock().unwrap()[self.index]);
        }
    }
}

fn reported(used: (i64, i64)) -> Output {
    let (input, output) = (used.0.try_into().unwrap(), used.1.try_into().unwrap());
    let mut reported = Output::new();
    reported.report(Usage {
        input,
        output,
        ..Usage::default()
    });
    reported
}

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let catalogue = r#"{ "providers": [ { "slug": "one", "name": "One", "base_url": "https://one.example" } ],
        "models": [ { "slug": "m", "released": "2026-01-01T00:00:00Z", "max_output_tokens": 1000, "routes": [
            { "provider": "one", "provider_model_id": "m", "prices": [
                { "effective_from": "2026-01-01T00:00:00Z", "rates": { "input": "3", "output": "15" } } ] } ] } ] }"#;
    let catalogue = Catalogue::default().extended(catalogue).unwrap();
    let registered = Registered {
        provider: Arc::new(Nobody),
        transport: Arc::new(Nobody),
        needs_credential: false,
    };
    Target::for_testing(&catalogue, "m", registered, BEGIN).unwrap()
});

/// The provider of a target that is only priced.
struct Nobody;

#[async_trait]
impl Provider for Nobody {
    fn name(&self) -> &str {
        "nobody"
    }

    fn support(&self, _: Operation) -> Support {
        Support::Translated
    }

    fn encode(&self, _: &InferenceRequest, _: &Target) -> Result<Encoded, ProviderError> {
        Err(ProviderError::new(ProviderErrorKind::Failed))
    }

    async fn authorize(&self, _: &mut Request<Bytes>, _: &Credential) -> Result<(), ProviderError> {
        Ok(())
    }

    fn classify(&self, _: StatusCode, _: &HeaderMap, _: &[u8]) -> ProviderError {
        ProviderError::new(ProviderErrorKind::Failed)
    }

    fn decoder(&self, _: &InferenceRequest, _: &Target) -> Box<dyn Decoder> {
        unreachable!("nobody answers")
    }
}

#[async_trait]
impl Transport for Nobody {
    async fn send(&self, _: Request<Bytes>) -> Result<Response<UpstreamBody>, TransportError> {
        Err(TransportError::new(TransportErrorKind::Broken))
    }
}
