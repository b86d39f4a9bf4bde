//! A server with one platform and one end user, in front of a mock provider.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use assistiv_core::Gateway;
use assistiv_core::auth::{KeyKind, PresentedKey};
use assistiv_core::billing::{BudgetOf, ChargeFlags, EntryKind, ReadBudget};
use assistiv_core::id::{EndUserId, PlatformId};
use assistiv_core::store::Page;
use assistiv_core::tenancy::EndUserRef;
use assistiv_server::api::{self, ApiState};
use assistiv_server::config::{Config, Outbound, Provider};
use assistiv_server::http::{
    DrainOptions, HttpOptions, HttpService, Readiness, Server, ServerOptions,
};
use assistiv_server::mock::Mock;
use assistiv_server::node::{self, Node};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::client::{Answer, Connection, Request, Stream};

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
    _dir: tempfile::TempDir,
}

/// Somebody with a key.
pub(crate) struct Tenant {
    pub(crate) id: String,
    pub(crate) key: String,
}

/// A charge as a test expects it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Charge {
    pub(crate) input: u64,
    pub(crate) cached: u64,
    pub(crate) output: u64,
    pub(crate) flags: i16,
    pub(crate) on_budget: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            wallet: WALLET,
            budget: json!({"max_usd": dollars(BUDGET_USD), "max_tokens": BUDGET_TOKENS}),
            provider_key: PROVIDER_KEY,
            config: |_| (),
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
        let config = config(dir.path(), &mock, &setup);
        let node = Node::open(&config).await.unwrap();
        let operator = PresentedKey::generate(KeyKind::Operator).unwrap();
        node.add_operator_key(&operator).await.unwrap();
        let gateway = node.gateway().clone();
        let listener = TcpListener::bind(config.server.listen).await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let serving = run(serve(node, config, listener, stop.clone()));
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
            _dir: dir,
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

    async fn make_end_user(&self, name: &str) -> Tenant {
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

impl Charge {
    /// As the provider reports.
    pub(crate) fn reported(input: u64, output: u64) -> Self {
        Self {
            input,
            cached: 0,
            output,
            flags: 0,
            on_budget: true,
        }
    }

    /// For an answer that was cut, from what came until then.
    pub(crate) fn cut(prompt: &str, delivered: &str) -> Self {
        let flags = ChargeFlags::ESTIMATED.with(ChargeFlags::TRUNCATED).bits();
        Self {
            flags,
            ..Self::estimated(prompt, delivered)
        }
    }

    /// For an answer whose usage was never reported.
    pub(crate) fn estimated(prompt: &str, delivered: &str) -> Self {
        let flags = ChargeFlags::ESTIMATED.bits();
        let output = (delivered.len() as u64).div_ceil(3);
        Self {
            flags,
            ..Self::reported(counted(prompt), output)
        }
    }

    /// For a platform's own call, which no budget pays.
    pub(crate) fn of_platform(self) -> Self {
        Self {
            on_budget: false,
            ..self
        }
    }

    /// In nano-dollars, at 0.15, 0.075 and 0.60 dollars a million tokens.
    pub(crate) fn cost(&self) -> i64 {
        let nano = (self.input - self.cached) * 150 + self.cached * 75 + self.output * 600;
        i64::try_from(nano).unwrap()
    }
}

/// A request's body.
pub(crate) fn body(prompt: &str) -> Value {
    json!({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": prompt}]})
}

/// A request's body that asks for a stream.
pub(crate) fn streamed(prompt: &str) -> Value {
    with(body(prompt), json!({"stream": true}))
}

/// A body with more members.
pub(crate) fn with(mut body: Value, more: Value) -> Value {
    let (Value::Object(members), Value::Object(more)) = (&mut body, more) else {
        panic!("objects")
    };
    members.extend(more);
    body
}

/// The tokens of a prompt as the gateway counts them: three bytes each.
pub(crate) fn counted(prompt: &str) -> u64 {
    let message = body(prompt)["messages"][0].to_string();
    (message.len() as u64).div_ceil(3)
}

/// The first words of the mock's long answers.
pub(crate) fn words(count: usize) -> String {
    let words = "mock answers repeat these simple words until the asked length is reached";
    words
        .split(' ')
        .cycle()
        .take(count)
        .collect::<Vec<_>>()
        .join(" ")
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

fn config(dir: &std::path::Path, mock: &Mock, setup: &Setup) -> Config {
    let mut config = Config::default();
    config.server.data_dir = dir.join("data");
    config.server.listen = ([127, 0, 0, 1], 0).into();
    config.server.drain_delay = Duration::ZERO;
    config.security.outbound_allow = vec![Outbound::Network("127.0.0.1/32".parse().unwrap())];
    for slug in ["openai", "xai"] {
        let mut provider = Provider::default();
        provider.base_url = Some(mock.base_url());
        config.providers.insert(slug.to_owned(), provider);
    }
    (setup.config)(&mut config);
    config
}

/// As the `serve` command does it.
async fn serve(node: Node, config: Config, listener: TcpListener, stop: CancellationToken) {
    let docs_url: Arc<str> = node::public_url(&config).into();
    let store = node.store().clone();
    let readiness = Readiness::new(move || {
        let store = store.clone();
        async move { store.ping().await.is_ok() }
    });
    let options = HttpOptions::new(&config.limits, docs_url.clone(), Arc::new(readiness));
    let management = api::router(ApiState {
        gateway: node.gateway().clone(),
        docs_url,
        body: options.body,
        require_idempotency_key: config.api.require_idempotency_key,
    });
    let service = HttpService::new(node.gateway().clone(), management, options);
    let server = Server::new(ServerOptions::new(&config.limits));
    let closed = server.closed();
    let patience = config.limits.stream_drain;
    let requests = patience + Duration::from_secs(10);
    let drain = DrainOptions {
        delay: config.server.drain_delay,
        requests,
    };
    service.readiness().ready();
    let closing = async {
        closed.cancelled().await;
        node.close(patience).await.unwrap();
    };
    tokio::join!(server.run(listener, service, stop, drain), closing);
}
