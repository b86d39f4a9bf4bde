//! Two servers on one database, and rounds of faults while callers call: what was delivered whole is charged once and
//! exactly, what was cut is charged once and within its bounds, what was not delivered is charged to nobody whose node
//! lives, and what cannot be proved is on the list of the operator.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use assistiv_core::billing::{ChargeFlags, EntryKind, LedgerEntry, UnconfirmedStatus};
use assistiv_core::id::{EntryId, NodeId, PlatformId};
use assistiv_core::testing::postgres::{TestDatabase, TestPostgres};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::books::{Books, Charged};
use crate::call::{Call, Part, Seen, cost};
use crate::dice::Dice;
use crate::proxy::LossyProxy;
use crate::server::Server;
use crate::site::{Place, Site, Tenant, dollars};

const ROUNDS: u64 = 10;
const CALLERS: usize = 16;
/// The output limit of every call: no answer is longer, in the provider's tokens or in ours.
const OUTPUT: u64 = 64;
/// What is added to the wallet that is always short, and how often in a round.
const DRIP: i64 = 400_000;
const DRIPS: usize = 3;
/// 12.5 %, in ten thousandths of a percent.
const MARKUP: i64 = 125_000;

const TTL: Duration = Duration::from_secs(2);
const SETTINGS: [(&str, &str); 8] = [
    ("ASSISTIV_BILLING__TTL", "2s"),
    ("ASSISTIV_BILLING__HEARTBEAT", "200ms"),
    ("ASSISTIV_BILLING__FENCE_GRACE", "400ms"),
    ("ASSISTIV_BILLING__GATE_TIMEOUT", "1500ms"),
    ("ASSISTIV_BILLING__RECALL_WAIT", "400ms"),
    ("ASSISTIV_BILLING__CHECKPOINT_INTERVAL", "100ms"),
    ("ASSISTIV_BILLING__LEASE_IDLE_RETURN", "1s"),
    ("ASSISTIV_BILLING__LAST_REQUEST", "refuse"),
];

/// What goes wrong in a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    KillOne,
    KillBoth,
    FreezeShortly,
    FreezeForLong,
    EndSessions,
    CrashDatabase,
    LoseReplies,
    CrashDatabaseAndKill,
    FreezeAndCrashDatabase,
    LoseRepliesAndKill,
}

/// In their order, so that ten rounds have each of them.
const FAULTS: [Fault; 10] = [
    Fault::KillOne,
    Fault::FreezeForLong,
    Fault::CrashDatabase,
    Fault::LoseReplies,
    Fault::EndSessions,
    Fault::KillBoth,
    Fault::FreezeShortly,
    Fault::LoseRepliesAndKill,
    Fault::CrashDatabaseAndKill,
    Fault::FreezeAndCrashDatabase,
];

/// What a caller saw of a call that it got an id of.
#[derive(Clone, Copy, Debug)]
enum Told {
    /// All of it, with the tokens that it says it cost.
    Whole { tokens: (u64, u64) },
    /// Text, and no end: the fault's doing, or the caller's.
    Cut { least: i64, most: i64 },
    /// The head of a stream, and no text.
    Head,
}

type Record = Arc<Mutex<BTreeMap<EntryId, Told>>>;

/// One of the two processes, with its way to the database. None while it is dead.
struct Machine {
    server: Option<Server>,
    name: &'static str,
    way: LossyProxy,
}

struct Arena {
    postgres: TestPostgres,
    database: TestDatabase,
    site: Site,
    machines: [Machine; 2],
    operator: String,
    dice: Dice,
}

/// Who calls in a round, and what they saw.
struct Round {
    number: u64,
    fault: Fault,
    /// With plenty of money, and an end user.
    rich: Tenant,
    /// Always short.
    poor: Tenant,
    record: Record,
}

impl Fault {
    fn kills(self) -> bool {
        matches!(
            self,
            Self::KillOne | Self::KillBoth | Self::CrashDatabaseAndKill | Self::LoseRepliesAndKill
        )
    }

    /// Lost replies of a thousand, beside everything else.
    fn loss(self) -> u64 {
        match self {
            Self::LoseReplies | Self::LoseRepliesAndKill => 100,
            _ => 30,
        }
    }
}

impl Machine {
    async fn start(&mut self, site: &Site, database: &TestDatabase) {
        let url = database.tcp_url();
        let (before, port_and_rest) = url.rsplit_once(':').unwrap();
        let (_, rest) = port_and_rest.split_once('/').unwrap();
        let url = format!("{before}:{}/{rest}", self.way.address().port());
        self.server = Some(site.serve_by(&url, self.name).await);
    }

    fn server(&self) -> &Server {
        self.server.as_ref().unwrap()
    }
}

impl Arena {
    async fn new(dice: Dice) -> Self {
        let postgres = TestPostgres::start();
        let database = postgres.empty_database().await;
        let site = Site::new(Place::Postgres(database.clone()), &SETTINGS);
        let operator = site.operator().await;
        let upstream = database.tcp_url();
        let port = upstream
            .rsplit_once(':')
            .unwrap()
            .1
            .split_once('/')
            .unwrap()
            .0;
        let upstream = ([127, 0, 0, 1], port.parse().unwrap()).into();
        let machine = async |name| {
            let way = LossyProxy::start(upstream, dice.split()).await;
            let mut machine = Machine {
                server: None,
                name,
                way,
            };
            machine.start(&site, &database).await;
            machine
        };
        let machines = [machine("one").await, machine("two").await];
        Self {
            postgres,
            database,
            site,
            machines,
            operator,
            dice,
        }
    }

    /// New tenants, so that what a round did is told apart.
    async fn begin(&self, number: u64) -> Round {
        let server = self.machines[0].server();
        let markup = json!({ "markup_percentage": "12.5" });
        let rich = Tenant::make(server, &self.operator, 5_000_000_000, markup).await;
        let budget = json!({ "max_usd": "4.00", "max_tokens": 100_000_000 });
        Round {
            number,
            fault: FAULTS[usize::try_from(number % FAULTS.len() as u64).unwrap()],
            rich: rich.with_user(server, budget).await,
            poor: Tenant::make(server, &self.operator, 0, json!({})).await,
            record: Record::default(),
        }
    }

    async fn round(&mut self, number: u64) {
        let round = self.begin(number).await;
        let stop = Arc::new(AtomicBool::new(false));
        let mut callers = self.callers(&round, &stop);
        for machine in &self.machines {
            machine.way.lose(round.fault.loss());
        }
        let lost = |arena: &Self| arena.machines.iter().map(|m| m.way.lost()).sum::<u64>();
        let lost_before = lost(self);
        let happens = async {
            sleep(Duration::from_millis(400 + self.dice.below(500))).await;
            self.strike(round.fault).await
        };
        let (killed, ()) = tokio::join!(happens, self.drip(&round));
        sleep(Duration::from_millis(300 + self.dice.below(700))).await;
        stop.store(true, Ordering::Relaxed);
        while let Some(ended) = callers.join_next().await {
            ended.unwrap();
        }
        for (machine, killed) in self.machines.iter_mut().zip(killed) {
            machine.way.lose(0);
            if killed {
                machine.server.take().unwrap().kill().await;
                machine.start(&self.site, &self.database).await;
            }
        }

        let books = Books::open(&self.site).await;
        books.settled(2, &round.platforms()).await;
        books.audit().await;
        self.site.doctor().await;
        let undelivered = round.check(&books).await;
        let resolved = self.resolve(&round, &books).await;
        eprintln!(
            "round {number}, {:?}: {} answers, {} lost replies, {undelivered} charged and not delivered, {resolved} \
             given back",
            round.fault,
            round.record.lock().unwrap().len(),
            lost(self) - lost_before
        );
    }

    fn callers(&self, round: &Round, stop: &Arc<AtomicBool>) -> JoinSet<()> {
        let servers = [0, 1].map(|at| self.machines[at].server().address());
        let mut callers = JoinSet::new();
        for caller in 0..CALLERS {
            let key = match caller % 4 {
                0 | 1 => &round.rich.user.as_ref().unwrap().1,
                2 => &round.rich.key,
                _ => &round.poor.key,
            };
            let (key, dice) = (key.clone(), self.dice.split());
            let (record, stop) = (round.record.clone(), stop.clone());
            callers.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let server = servers[usize::try_from(dice.below(2)).unwrap()];
                    call(server, &key, &dice, &record).await;
                }
            });
        }
        callers
    }

    /// Lets it happen; gives which machines are to be killed and started again once the callers have noticed.
    async fn strike(&self, fault: Fault) -> [bool; 2] {
        let victim = usize::try_from(self.dice.below(2)).unwrap();
        let one = [victim == 0, victim == 1];
        let server = self.machines[victim].server();
        match fault {
            Fault::KillOne | Fault::LoseRepliesAndKill => self.kill(one).await,
            Fault::KillBoth => self.kill([true, true]).await,
            Fault::FreezeShortly => {
                server.freeze().await;
                sleep(TTL * 2 / 5).await;
                server.thaw().await;
                [false, false]
            }
            Fault::FreezeForLong => {
                server.freeze().await;
                sleep(TTL * 2 + Duration::from_millis(500)).await;
                server.thaw().await;
                [false, false]
            }
            Fault::EndSessions => {
                for _ in 0..3 {
                    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                         WHERE application_name LIKE 'assistiv%' AND random() < 0.5";
                    self.database.execute(end).await;
                    sleep(Duration::from_millis(200)).await;
                }
                [false, false]
            }
            Fault::CrashDatabase => {
                self.crash_database().await;
                [false, false]
            }
            Fault::LoseReplies => {
                sleep(Duration::from_secs(2)).await;
                [false, false]
            }
            Fault::CrashDatabaseAndKill => {
                let (killed, ()) = tokio::join!(self.kill(one), self.crash_database());
                killed
            }
            Fault::FreezeAndCrashDatabase => {
                server.freeze().await;
                sleep(TTL).await;
                self.crash_database().await;
                sleep(TTL).await;
                server.thaw().await;
                [false, false]
            }
        }
    }

    async fn kill(&self, which: [bool; 2]) -> [bool; 2] {
        for (machine, _) in self
            .machines
            .iter()
            .zip(which)
            .filter(|(_, killed)| *killed)
        {
            machine.server().kill_now().await;
        }
        // The other one may sweep it, or a new process does.
        sleep(Duration::from_millis(self.dice.below(4_000))).await;
        which
    }

    async fn crash_database(&self) {
        let postgres = self.postgres.clone();
        let restart = move || {
            postgres.crash();
            postgres.start_again();
        };
        tokio::task::spawn_blocking(restart).await.unwrap();
    }

    /// Adds a little to the wallet that is short, now and then: asked until there is an answer, and done once.
    async fn drip(&self, round: &Round) {
        let path = format!("/v1/platforms/{}/wallet/topup", round.poor.platform);
        let body = json!({ "amount": dollars(DRIP) });
        for drop in 0..DRIPS {
            let key = format!("round-{}-{drop}", round.number);
            let mut attempts = 0;
            loop {
                // One hangs as long as its server is frozen; the next goes to the other.
                let server = self.machines[attempts % 2].server();
                let asked = server.ask("POST", &path, &self.operator, Some(&key), &body);
                if asked.await.is_some_and(|answer| answer.status() < 300) {
                    break;
                }
                attempts += 1;
                if matches!(round.fault, Fault::KillBoth) && attempts > 10 {
                    // Nobody is there to answer. Whether it was done is known by the key, later.
                    return;
                }
                assert!(attempts < 300, "the wallet cannot be topped up");
                sleep(Duration::from_millis(50)).await;
            }
            sleep(Duration::from_millis(300)).await;
        }
    }

    /// Gives a charge back that is not proved, twice at once: that makes one entry.
    async fn resolve(&self, round: &Round, books: &Books) -> usize {
        let open = books.unconfirmed(UnconfirmedStatus::Open).await;
        let mut open = open
            .iter()
            .filter(|item| round.platforms().contains(&item.platform_id));
        let Some(item) = open.next() else { return 0 };
        let before = books.charged(item.platform_id).await[&item.charge].clone();
        let path = format!("/v1/admin/billing/unconfirmed/{}/resolve", item.charge);
        let body = json!({ "resolution": "refund" });
        let [one, two] = [0, 1].map(|at| {
            let server = self.machines[at].server();
            server.ask("POST", &path, &self.operator, None, &body)
        });
        let (one, two) = tokio::join!(one, two);
        for answer in [one, two] {
            let answer = answer.unwrap();
            assert_eq!(answer.status(), 200, "{answer:?}");
            assert_eq!(answer.json()["data"]["status"], "refunded", "{answer:?}");
        }
        let after = books.charged(item.platform_id).await[&item.charge].clone();
        let new: Vec<_> = after.since[before.since.len()..]
            .iter()
            .map(|e| (e.kind, e.uid))
            .collect();
        let refund = LedgerEntry::unconfirmed_refund_uid(item.charge);
        assert_eq!(new, [(EntryKind::Refund, refund)], "{after:?}");
        assert_eq!(after.net(), 0, "{after:?}");
        books.audit().await;
        1
    }
}

impl Round {
    fn platforms(&self) -> [PlatformId; 2] {
        [self.rich.platform, self.poor.platform]
    }

    /// Compares what callers saw with what is charged. Gives how many charges nobody has seen an answer of.
    async fn check(&self, books: &Books) -> usize {
        let record = self.record.lock().unwrap().clone();
        assert!(!record.is_empty(), "callers must be served");
        let open = books
            .nodes()
            .await
            .unwrap()
            .into_iter()
            .filter(|node| node.is_open);
        let open: BTreeSet<NodeId> = open.map(|node| node.node).collect();
        let listed = books.unconfirmed(UnconfirmedStatus::Open).await;
        let listed: BTreeSet<_> = listed.iter().map(|item| item.charge).collect();
        let mut charged = books.charged(self.rich.platform).await;
        charged.extend(books.charged(self.poor.platform).await);

        for (id, told) in &record {
            told.is_charged(*id, charged.get(id));
        }
        let mut undelivered = 0;
        for (id, call) in charged.iter().filter(|(_, call)| call.net() > 0) {
            if matches!(record.get(id), Some(Told::Whole { .. } | Told::Cut { .. })) {
                continue;
            }
            undelivered += 1;
            let told = record.get(id);
            match call.charge.posted_by {
                Some((node, _)) => {
                    assert!(!open.contains(&node), "its node lives: {call:?}, {told:?}");
                    assert!(listed.contains(id), "nobody would know: {call:?}, {told:?}");
                }
                // A stream that was recorded when its node died. One that was only paused gives it back.
                None => {
                    assert!(call.charge.flags.contains(ChargeFlags::CRASH), "{call:?}");
                    assert!(self.fault.kills(), "its node lives: {call:?}, {told:?}");
                }
            }
        }
        self.poor_stays_within_bounds(books).await;
        undelivered
    }

    async fn poor_stays_within_bounds(&self, books: &Books) {
        let entries = books.entries(self.poor.platform).await.unwrap();
        let top_ups = entries
            .iter()
            .filter(|entry| entry.kind == EntryKind::TopUp)
            .count();
        let all_done = self.fault != Fault::KillBoth;
        assert!(
            top_ups <= DRIPS && (!all_done || top_ups == DRIPS),
            "{top_ups}"
        );
        // What a paused node still delivered of streams that a sweep had charged less for.
        let corrections = entries
            .iter()
            .filter(|entry| entry.kind == EntryKind::Correction);
        let late: i64 = corrections
            .map(|entry| entry.wallet.unwrap().1.get().min(0))
            .sum();
        let balance = books.balance(self.poor.platform).await;
        assert!(balance >= late, "{balance} is below {late}");
    }
}

impl Told {
    #[track_caller]
    fn is_charged(&self, id: EntryId, call: Option<&Charged>) {
        let net = call.map_or(0, Charged::net);
        match *self {
            Self::Whole {
                tokens: (input, output),
            } => {
                assert_eq!(net, cost(input, output), "{id}: {self:?} and {call:?}");
                let refunds =
                    |call: &Charged| call.since.iter().any(|e| e.kind == EntryKind::Refund);
                assert!(!call.is_some_and(refunds), "{id}: {call:?}");
                if let Some(on_budget) = call.and_then(Charged::net_on_budget) {
                    let exact = i128::from(cost(input, output)) * i128::from(1_000_000 + MARKUP);
                    let usd = i64::try_from((exact + 500_000) / 1_000_000).unwrap();
                    let tokens = i64::try_from(input + output).unwrap();
                    assert_eq!(on_budget, (usd, tokens), "{id}: {call:?}");
                }
            }
            Self::Cut { least, most } => {
                assert!((least..=most).contains(&net), "{id}: {self:?} and {call:?}");
            }
            Self::Head => {}
        }
    }
}

/// Makes a call of any kind and notes what came of it.
async fn call(server: SocketAddr, key: &str, dice: &Dice, record: &Record) {
    let stream = dice.per_mille(600);
    let call = Call {
        knobs: format!(
            "mock:words={} mock:delay_ms={} mock:first_ms={}",
            1 + dice.below(24),
            dice.below(25),
            dice.below(60)
        ),
        stream,
        max_tokens: OUTPUT,
        leave_after: (stream && dice.per_mille(150))
            .then(|| usize::try_from(dice.below(6)).unwrap()),
    };
    let counted = call.counted();
    let (id, told) = match call.make(server, key, counted).await {
        Seen::Whole { id, tokens } => {
            assert_eq!(tokens.0, counted);
            (id, Told::Whole { tokens })
        }
        Seen::Part(Part { id, has_text, left }) if has_text || left => {
            // Who leaves before any text came pays the prompt, unless the fault was faster.
            let least = if has_text { cost(counted, 0) } else { 0 };
            let most = cost((counted * 11).div_ceil(10), OUTPUT);
            (id, Told::Cut { least, most })
        }
        Seen::Part(part) => (part.id, Told::Head),
        Seen::Refused(refused) => {
            assert!(matches!(refused.status, 402 | 503), "{refused:?}");
            assert!(refused.status == 402 || refused.retry_after, "{refused:?}");
            sleep(Duration::from_millis(20)).await;
            return;
        }
        Seen::Nothing => {
            sleep(Duration::from_millis(20)).await;
            return;
        }
    };
    let before = record.lock().unwrap().insert(id, told);
    assert!(before.is_none(), "{id} was used twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_keep_the_books_through_rounds_of_faults() {
    let rounds = std::env::var("ASSISTIV_TEST_ROUNDS").map_or(ROUNDS, |text| text.parse().unwrap());
    let mut arena = Arena::new(Dice::new("faults")).await;
    for number in 0..rounds {
        arena.round(number).await;
    }
    for machine in arena.machines {
        assert!(machine.server.unwrap().terminate().await.success());
    }
    let books = Books::open(&arena.site).await;
    for account in books.audit().await {
        assert!(account.slots.is_zero(), "{account:?}");
    }
    arena.site.doctor().await;
}
