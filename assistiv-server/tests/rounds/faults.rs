//! Two servers on one database, and rounds of faults while callers call: what was delivered whole is charged once and
//! exactly, what was cut is charged once and within its bounds, what was not delivered is charged to nobody whose node
//! lives, and what cannot be proved is on the list of the operator.

mod round;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use assistiv_core::billing::{EntryKind, LedgerEntry, UnconfirmedStatus};
use assistiv_core::testing::postgres::{TestDatabase, TestPostgres};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::sleep;

use self::round::{Record, Round, call};
use crate::books::Books;
use crate::dice::Dice;
use crate::proxy::LossyProxy;
use crate::server::Server;
use crate::site::{Place, Site, Tenant, dollars};

const ROUNDS: u64 = 10;
const CALLERS: usize = 16;
/// What is added to the wallet that is always short, and how often in a round.
const DRIP: i64 = 400_000;
const DRIPS: usize = 3;
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
