//! Eight nodes that do everything there is to do, on the same accounts and at the same time: nobody ever waits for
//! anybody in a circle.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use assistiv_core::billing::{
    BillingOptions, BudgetChanges, Limits, Period, TopUpBudget, TopUpWallet, UpdateBudget,
};
use assistiv_core::json::RawObject;
use assistiv_core::money::NanoUsd;
use assistiv_core::store::sql::SqlStore;
use assistiv_core::testing::postgres::{TestDatabase, TestPostgres};
use http_body_util::BodyExt;
use tokio::sync::RwLock;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::provider::Answer;
use crate::world::{Payer, World};

const NODES: usize = 8;
const USERS: usize = 4;

/// Short, so that a node that goes away is swept while the others go on.
fn options() -> BillingOptions {
    BillingOptions {
        ttl: Duration::from_secs(2),
        heartbeat: Duration::from_millis(300),
        fence_grace: Duration::from_millis(200),
        recall_wait: Duration::from_millis(300),
        gate_timeout: Duration::from_millis(1_900),
        lease_idle_return: Duration::from_millis(500),
        ..BillingOptions::default()
    }
}

async fn store(database: &TestDatabase) -> SqlStore {
    let options = database.options().write_connections(4).read_connections(3);
    SqlStore::open(options).await.unwrap()
}

/// A node with its sessions.
struct Node {
    world: World,
    store: SqlStore,
}

impl Node {
    /// Goes away without a word, as a process does whose machine is switched off.
    async fn vanish(self) {
        drop(self.world);
        self.store.close().await.unwrap();
    }
}

struct Crowd {
    database: TestDatabase,
    /// The first one stays, others are replaced.
    nodes: Vec<RwLock<Node>>,
    users: Vec<Payer>,
    stop: AtomicBool,
    calls: AtomicU64,
    acts: AtomicU64,
}

impl Crowd {
    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Calls of all payers in turn, streamed and not. Some are refused: funds are suspended and used up all the time.
    async fn call(self: Arc<Self>, number: usize) {
        for n in number.. {
            if self.is_over() {
                return;
            }
            let world = &self.nodes[n % NODES].read().await.world;
            let payer = match n % (USERS + 1) {
                USERS => &world.platform,
                user => &self.users[user],
            };
            if let Ok(response) = world.call(payer, n % 2 == 0, 50).await {
                response.into_body().collect().await.unwrap();
                self.calls.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// All that an operator may do to the accounts that the calls are charged to.
    async fn act(self: Arc<Self>, number: usize) {
        let usd = |usd| Limits {
            usd: Some(NanoUsd::new(usd)),
            tokens: None,
        };
        for n in number.. {
            if self.is_over() {
                return;
            }
            let world = &self.nodes[n % NODES].read().await.world;
            let user = &self.users[n % USERS];
            let local = world.gateway.local_operator();
            let wallets = world.gateway.wallets();
            match n % 5 {
                0 => {
                    let top_up = TopUpWallet {
                        amount: NanoUsd::new(1_000_000),
                        description: None,
                        request: None,
                    };
                    let done = wallets.run(&local, world.platform_id, top_up).await;
                    done.unwrap();
                }
                1 => {
                    let top_up = TopUpBudget {
                        amounts: usd(1_000_000),
                        reason: None,
                        metadata: RawObject::new(),
                        request: None,
                    };
                    world.on_budget(user, top_up).await;
                }
                2 => {
                    world.debit(user, 1_000).await;
                }
                3 => {
                    world.suspend(user, n % 2 == 0).await;
                    world.suspend(user, false).await;
                }
                _ => {
                    let update = UpdateBudget {
                        changes: BudgetChanges {
                            max_usd: Some(Some(NanoUsd::new(1_000_000_000 + n as i64))),
                            ..BudgetChanges::default()
                        },
                        reason: None,
                        metadata: RawObject::new(),
                        request: None,
                    };
                    world.on_budget(user, update).await;
                }
            }
            self.acts.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Periods that are over: whoever comes first begins the next one, and all come at once.
    async fn reset(self: Arc<Self>) -> u64 {
        let mut resets = 0;
        while !self.is_over() {
            let user = {
                let world = &self.nodes[0].read().await.world;
                let user = world.end_user_without_budget().await;
                let (usd, tokens) = (Some(1_000_000_000), None);
                world
                    .give_budget_for(&user, usd, tokens, Period::Daily)
                    .await;
                user
            };
            let id = user.end_user.unwrap();
            let day = 86_400_000_000_i64;
            let over = format!(
                "UPDATE budgets SET period_start = period_start - {day}, period_end = period_end - {day}
                  WHERE end_user_id = '{id}';
                 UPDATE billing_accounts SET period_end = period_end - {day}
                  WHERE id = (SELECT account_id FROM budgets WHERE end_user_id = '{id}')"
            );
            self.database.execute(&over).await;
            let mut at_once = JoinSet::new();
            for n in 0..NODES {
                let (crowd, user) = (self.clone(), user.clone());
                at_once.spawn(async move {
                    let world = &crowd.nodes[n].read().await.world;
                    if n % 2 == 0 {
                        world.budget(&user).await;
                    } else if let Ok(answer) = world.call(&user, false, 50).await {
                        answer.into_body().collect().await.unwrap();
                    }
                });
            }
            at_once.join_all().await;
            resets += 1;
            sleep(Duration::from_millis(100)).await;
        }
        resets
    }

    /// Nodes that go away without a word, and others that come.
    async fn replace(self: Arc<Self>) -> u64 {
        let mut replaced = 0;
        for n in (1..NODES).cycle() {
            sleep(Duration::from_millis(700)).await;
            if self.is_over() {
                break;
            }
            let store = store(&self.database).await;
            let mut node = self.nodes[n].write().await;
            let world = node.world.beside(store.clone().into(), options()).await;
            let old = std::mem::replace(&mut *node, Node { world, store });
            old.vanish().await;
            replaced += 1;
        }
        replaced
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_nodes_never_wait_in_a_circle() {
    let full = std::env::var_os("ASSISTIV_TEST_FULL").is_some();
    let time = Duration::from_secs(if full { 60 } else { 8 });
    let database = TestPostgres::start().database().await;
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    let before = database.number(deadlocks).await;
    let dollars = NanoUsd::new(5_000_000_000);
    let of_first = store(&database).await;
    let first = World::on(of_first.clone().into(), options(), dollars).await;
    first.answers(Answer::whole(10, 10));
    let mut users = Vec::new();
    for _ in 0..USERS {
        users.push(first.end_user(Some(1_000_000_000), Some(10_000_000)).await);
    }
    let mut nodes = Vec::new();
    for _ in 1..NODES {
        let store = store(&database).await;
        let world = first.beside(store.clone().into(), options()).await;
        nodes.push(RwLock::new(Node { world, store }));
    }
    let (world, store) = (first, of_first);
    nodes.insert(0, RwLock::new(Node { world, store }));
    let crowd = Arc::new(Crowd {
        database,
        nodes,
        users,
        stop: AtomicBool::new(false),
        calls: AtomicU64::new(0),
        acts: AtomicU64::new(0),
    });
    let mut tasks = JoinSet::new();
    for n in 0..2 * NODES {
        tasks.spawn(crowd.clone().call(n));
    }
    for n in 0..NODES {
        tasks.spawn(crowd.clone().act(n));
    }
    let resets = crowd.clone().reset();
    let replaced = crowd.clone().replace();
    let end = async {
        sleep(time).await;
        crowd.stop.store(true, Ordering::Relaxed);
    };
    let (resets, replaced, ()) = tokio::join!(resets, replaced, end);
    tasks.join_all().await;

    // What went away is swept, and then the books are at rest.
    let world = &crowd.nodes[0].read().await.world;
    let begin = Instant::now();
    let open = "SELECT count(*) FROM billing_nodes WHERE state IN (0, 1)";
    while crowd.database.number(open).await > NODES as i64 {
        assert!(begin.elapsed() < super::SOON * 2, "dead nodes are left");
        sleep(Duration::from_millis(50)).await;
    }
    world.audit().await;
    let begun = "SELECT count(*) FROM billing_ledger WHERE kind = 25";
    assert_eq!(
        crowd.database.number(begun).await,
        i64::try_from(resets).unwrap()
    );
    let (calls, acts) = (
        crowd.calls.load(Ordering::Relaxed),
        crowd.acts.load(Ordering::Relaxed),
    );
    eprintln!("{calls} calls, {acts} acts, {resets} resets, {replaced} nodes replaced");
    assert!(calls > 0 && acts > 0 && resets > 0 && replaced > 0);
    // The server counts them when a session has been idle for a second.
    sleep(Duration::from_millis(1_500)).await;
    assert_eq!(crowd.database.number(deadlocks).await, before);
    for node in &crowd.nodes {
        let gateway = node.read().await.world.gateway.clone();
        gateway.shut_down(Duration::from_secs(5)).await.unwrap();
    }
}
