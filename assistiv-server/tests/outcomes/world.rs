//! A server with one platform and one end user, in front of a mock provider.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use assistiv_core::Gateway;
use assistiv_core::auth::{KeyKind, PresentedKey};
use assistiv_core::billing::{BudgetOf, EntryKind, ReadBudget};
use assistiv_core::clock::ManualClock;
use assistiv_core::id::{EndUserId, PlatformId};
use assistiv_core::logs::{BillingStatus, ListLogs, LogFilter};
use assistiv_core::store::Page;
use assistiv_core::tenancy::EndUserRef;
use assistiv_server::config::Config;
use assistiv_server::mock::Mock;
use assistiv_server::node::Node;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::charge::{Charge, body, streamed};
use crate::client::{Answer, Connection, Request, Stream};
use crate::server;

/// What the platform's wallet and the end user's budget begin with, in nano-dollars and tokens.
pub(crate) const WALLET: i64 = 1_000_000_000;
pub(crate) const BUDGET_USD: i64 = 500_000_000;
pub(crate) const BUDGET_TOKENS: i64 = 1_000_000;

/// The key that the gateway calls the provider with.
pub(crate) const PROVIDER_KEY: &str = "sk-upstream-secret";

/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// How a world differs from the usual one.
pub(crate) struct Setup {
    pub(crate) wallet: i64,
    pub(crate) budget: Value,
    pub(crate) provider_key: &'static str,
    pub(crate) config: fn(&mut Config),
    /// Instead of the machine's.
    pub(crate) clock: Option<ManualClock>,
}

pub(crate) struct World {
    pub(crate) mock: Mock,
    pub(crate) gateway: Gateway,
    pub(crate) address: SocketAddr,
    pub(crate) operator: String,
    pub(crate) platform: Tenant,
    pub(crate) end_user: Tenant,
    setup: Setup,
    stop: CancellationToken,
    serving: JoinHandle<()>,
    dir: tempfile::TempDir,
}

/// Somebody with a key.
pub(crate) struct Tenant {
    pub(crate) id: String,
    pub(crate) key: String,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            wallet: WALLET,
            budget: json!({"max_usd": dollars(BUDGET_USD), "max_tokens": BUDGET_TOKENS}),
            provider_key: PROVIDER_KEY,
            config: |_| (),
            clock: None,
        }
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(Setup::default()).await
    }

    pub(crate) async fn with(setup: Setup) -> Self {
        let mock = Mock::start(([127, 0, 0, 1], 0).into()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let config = server::config(dir.path(), &mock.base_url(), setup.config);
        let node = match &setup.clock {
            Some(clock) => Node::open_by(&config, Arc::new(clock.clone())).await,
            None => Node::open(&config).await,
        };
        let node = node.unwrap();
        let operator = PresentedKey::generate(KeyKind::Operator).unwrap();
        node.add_operator_key(&operator).await.unwrap();
        let gateway = node.gateway().clone();
        let listener = TcpListener::bind(config.server.listen).await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let serving = run(server::serve(node, config, listener, stop.clone()));
        let nobody = || Tenant {
            id: String::new(),
            key: String::new(),
        };
        let mut world = Self {
            mock,
            gateway,
            address,
            operator: operator.reveal().to_owned(),
            platform: nobody(),
            end_user: nobody(),
            setup,
            stop,
            serving,
            dir,
        };
        let balance = dollars(world.setup.wallet);
        world.platform = world.make_platform("Acme", &balance).await;
        world.end_user = world.make_end_user("ada").await;
        let path = world.user_path("/budget");
        world
            .manage("POST", &path, world.setup.budget.clone(), 201)
            .await;
        world
    }

    /// A platform that can call the provider.
    pub(crate) async fn make_platform(&self, name: &str, balance: &str) -> Tenant {
        let body = json!({"name": name, "initial_balance_usd": balance});
        let request = Request::new("POST", "/v1/admin/platforms", &self.operator).json(body);
        let platform = Tenant::of(
            &self.send(&request).await,
            |made| &made["api_key"]["raw_key"],
        );
        let path = format!("/v1/platforms/{}/llm-configs", platform.id);
        let body = json!({"provider": "openai", "api_key": self.setup.provider_key});
        let made = self
            .send(&Request::new("POST", &path, &platform.key).json(body))
            .await;
        assert_eq!(made.status, 201, "{made:?}");
        platform
    }

    pub(crate) async fn make_end_user(&self, name: &str) -> Tenant {
        let path = self.path("/end-users");
        let body = json!({"external_id": name});
        let made = self
            .send(&Request::new("POST", &path, &self.platform.key).json(body))
            .await;
        Tenant::of(&made, |made| &made["api_key"]["raw_key"])
    }

    /// A management call with the platform's key; gives the object.
    pub(crate) async fn manage(&self, method: &str, path: &str, body: Value, status: u16) -> Value {
        let made = self
            .send(&Request::new(method, path, &self.platform.key).json(body))
            .await;
        assert_eq!(made.status, status, "{made:?}");
        made.json()["data"].clone()
    }

    /// A path below the platform.
    pub(crate) fn path(&self, rest: &str) -> String {
        format!("/v1/platforms/{}{rest}", self.platform.id)
    }

    /// A path below the end user.
    pub(crate) fn user_path(&self, rest: &str) -> String {
        self.path(&format!("/end-users/{}{rest}", self.end_user.id))
    }

    /// A call with the end user's key, not streamed.
    pub(crate) async fn whole(&self, prompt: &str) -> Answer {
        self.send(&Request::chat(&self.end_user.key, body(prompt)))
            .await
    }

    /// A streamed call with the end user's key, up to the head of its answer.
    pub(crate) async fn stream(&self, prompt: &str) -> Stream {
        let mut connection = Connection::open(self.address).await;
        connection
            .send(&Request::chat(&self.end_user.key, streamed(prompt)))
            .await;
        connection.stream().await
    }

    /// A streamed call that is answered like one that is not.
    pub(crate) async fn refused_stream(&self, prompt: &str) -> Answer {
        self.send(&Request::chat(&self.end_user.key, streamed(prompt)))
            .await
    }

    pub(crate) async fn send(&self, request: &Request) -> Answer {
        let mut connection = Connection::open(self.address).await;
        connection.send(request).await;
        connection.answer().await
    }

    /// Checks that all calls so far were charged exactly this, oldest first; that nothing is held any more; and
    /// that the books balance.
    pub(crate) async fn charged(&self, expected: &[Charge]) {
        self.no_hold_is_left().await;
        let local = self.gateway.local_operator();
        let ledger = &self.gateway.stores().ledger;
        for account in ledger.audit(&local.operate().unwrap()).await.unwrap() {
            assert!(account.balances(), "{account:?}");
            assert_eq!(account.open_streams, 0, "{account:?}");
        }
        let platform: PlatformId = self.platform.id.parse().unwrap();
        let scope = local.manage(platform).unwrap();
        let entries = ledger
            .wallet_entries(
                &scope,
                Page {
                    page: 1,
                    limit: 100,
                },
            )
            .await
            .unwrap();
        let charges = entries.rows.iter().rev().map(|row| &row.entry);
        let found: Vec<_> = charges
            .filter(|entry| entry.kind == EntryKind::Charge)
            .map(|entry| {
                let metered = entry.metered.unwrap();
                Charge {
                    input: metered.input_tokens,
                    cached: metered.cached_tokens,
                    output: metered.output_tokens,
                    flags: entry.flags.bits(),
                    on_budget: entry.budget.is_some(),
                }
            })
            .collect();
        assert_eq!(found, expected);
        self.logged(expected).await;
        let balance = ledger.wallet(&scope).await.unwrap().balance.get();
        let cost: i64 = expected.iter().map(Charge::cost).sum();
        assert_eq!(balance, self.setup.wallet - cost, "the wallet");
        let end_user: EndUserId = self.end_user.id.parse().unwrap();
        let read = BudgetOf {
            end_user: EndUserRef::Id(end_user),
            command: ReadBudget,
        };
        let budget = self
            .gateway
            .wallets()
            .run(&local, platform, read)
            .await
            .unwrap();
        let on_budget = || expected.iter().filter(|charge| charge.on_budget);
        let used: i64 = on_budget().map(Charge::cost).sum();
        let tokens: u64 = on_budget().map(|charge| charge.input + charge.output).sum();
        assert_eq!(budget.used_usd.get(), used, "the budget in dollars");
        assert_eq!(
            budget.used_tokens.get(),
            i64::try_from(tokens).unwrap(),
            "in tokens"
        );
    }

    /// Checks that the billed rows of the request log say what the ledger says, call by call.
    async fn logged(&self, expected: &[Charge]) {
        let local = self.gateway.local_operator();
        let platform: PlatformId = self.platform.id.parse().unwrap();
        let cost: i64 = expected.iter().map(Charge::cost).sum();
        let wait = async {
            loop {
                let filter = LogFilter {
                    billing_status: Some(BillingStatus::Billed),
                    ..LogFilter::default()
                };
                let page = Page {
                    page: 1,
                    limit: 100,
                };
                let listed = self
                    .gateway
                    .logs()
                    .run(&local, platform, ListLogs { filter, page })
                    .await
                    .unwrap();
                let logged: i64 = listed.rows.iter().map(|row| row.cost.get()).sum();
                if listed.total == expected.len() as u64 && logged == cost {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait)
            .await
            .expect("the request log agrees with the ledger");
    }

    /// Where the server keeps its files.
    pub(crate) fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Checks that so many requests reached the provider.
    #[track_caller]
    pub(crate) fn provider_saw(&self, requests: u64) {
        assert_eq!(self.mock.stats().requests, requests);
    }

    /// Waits until so many requests have reached the provider.
    pub(crate) async fn wait_for_requests(&self, requests: u64) {
        until(|| self.mock.stats().requests >= requests).await;
    }

    pub(crate) async fn no_hold_is_left(&self) {
        until(|| self.gateway.billing().open_holds() == 0).await;
    }

    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }

    /// Waits until a stopped server has closed its database.
    pub(crate) async fn closed(&mut self) {
        tokio::time::timeout(PATIENCE, &mut self.serving)
            .await
            .expect("the server stops")
            .unwrap();
    }
}

impl Tenant {
    fn of(made: &Answer, key: impl Fn(&Value) -> &Value) -> Self {
        assert_eq!(made.status, 201, "{made:?}");
        let data = &made.json()["data"];
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        Self {
            id: text(&data["id"]),
            key: text(key(data)),
        }
    }
}

/// Nano-dollars as the API takes them.
pub(crate) fn dollars(nano: i64) -> String {
    format!("{}.{:09}", nano / 1_000_000_000, nano % 1_000_000_000)
}

/// Waits until something is so.
pub(crate) async fn until(is_so: impl Fn() -> bool) {
    let wait = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait)
        .await
        .expect("it never happened");
}

#[expect(
    clippy::disallowed_methods,
    reason = "tests run things beside each other"
)]
pub(crate) fn run<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> JoinHandle<T> {
    tokio::spawn(work)
}
