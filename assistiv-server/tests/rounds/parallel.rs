//! Many callers at once, and funds for some of them: exactly as many reach the provider as funds allow.
//!
//! Every call costs exactly what is held for it, so nothing of a hold comes back. Who is told that funds are held by
//! others asks again, until it is served or told that there is nothing left. With one output token there is no lower
//! limit to offer, so what is left is enough for a whole call or for none.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use assistiv_core::billing::{ChargeFlags, UnconfirmedStatus};
use assistiv_core::id::EntryId;
use assistiv_core::testing::postgres::TestPostgres;
use serde_json::json;
use tokio::task::JoinSet;

use crate::books::{Books, Charged};
use crate::call::{Call, Seen, cost};
use crate::server::Server;
use crate::site::{Place, Site, Tenant, dollars};

const CALLERS: u64 = 256;
const FUNDED: [i64; 5] = [0, 1, 7, 100, 255];
/// In ten thousandths of a percent, such that what a call costs a budget is no whole number of nano-dollars.
const MARKUP: i64 = 123_457;

/// Who runs out of funds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Payer {
    /// The platform's wallet, at a price of whole nano-dollars.
    Wallet,
    /// An end user's budget, at a price with a fraction of one.
    Budget,
}

#[derive(Clone, Copy, Debug)]
struct Case {
    payer: Payer,
    stream: bool,
    funded: i64,
    /// What funds there are beyond so many calls: too little for one more.
    rest: i64,
    output: u64,
}

/// The addresses of the servers, which change while faults happen.
type Addresses = Arc<Mutex<Vec<SocketAddr>>>;

/// What came of one caller's attempts.
#[derive(Debug, Default)]
struct Outcome {
    served: Option<EntryId>,
    /// Why not, where it was told so for good.
    refused: Option<String>,
    /// Streams that broke off.
    parts: Vec<EntryId>,
    /// How often it was told to come back.
    put_off: usize,
    /// How often there was no service.
    unserved: usize,
}

impl Payer {
    /// What a call costs the one who runs out of funds.
    fn cost(self, input: u64, output: u64) -> i64 {
        let base = i128::from(cost(input, output));
        match self {
            Self::Wallet => cost(input, output),
            Self::Budget => {
                let exact = base * i128::from(1_000_000 + MARKUP);
                assert_ne!(exact % 1_000_000, 0, "a whole number of nano-dollars");
                i64::try_from((exact + 500_000) / 1_000_000).unwrap()
            }
        }
    }
}

impl Case {
    fn call(&self) -> Call {
        Call {
            knobs: format!("mock:first_ms=300 mock:completion_tokens={}", self.output),
            stream: self.stream,
            max_tokens: self.output,
            leave_after: None,
        }
    }

    async fn tenant(&self, server: &Server, operator: &str, one: i64) -> Tenant {
        let funds = self.funded * one + self.rest;
        match self.payer {
            Payer::Wallet => Tenant::make(server, operator, funds, json!({})).await,
            Payer::Budget => {
                let markup = json!({ "markup_percentage": "12.3457" });
                let tenant = Tenant::make(server, operator, 1_000_000_000, markup).await;
                // A budget of nothing cannot be made, but used up.
                let budget = json!({ "max_usd": dollars(funds.max(1)) });
                let tenant = tenant.with_user(server, budget).await;
                if let (0, Some((user, _))) = (funds, &tenant.user) {
                    let debit = json!({ "amount_usd": dollars(1) });
                    let users = format!("/v1/platforms/{}/end-users", tenant.platform);
                    let path = format!("{users}/{user}/budget/debit");
                    server.manage("POST", &path, &tenant.key, debit).await;
                }
                tenant
            }
        }
    }
}

/// Asks until it is served, or told that there is nothing left.
async fn ask(call: Call, input: u64, key: String, addresses: Addresses, number: usize) -> Outcome {
    let mut outcome = Outcome::default();
    for attempt in number.. {
        let address = {
            let addresses = addresses.lock().unwrap();
            addresses[attempt % addresses.len()]
        };
        match call.make(address, &key, input).await {
            Seen::Whole { id, tokens } => {
                assert_eq!(tokens, (input, call.max_tokens));
                outcome.served = Some(id);
                return outcome;
            }
            Seen::Refused(refused) if refused.is_transient() => {
                assert!(refused.retry_after, "{refused:?}");
                match refused.status {
                    402 => outcome.put_off += 1,
                    _ => outcome.unserved += 1,
                }
            }
            Seen::Refused(refused) => {
                assert_eq!(refused.status, 402, "{refused:?}");
                outcome.refused = Some(refused.reason().to_owned());
                return outcome;
            }
            Seen::Part(part) => {
                outcome.parts.push(part.id);
                outcome.unserved += 1;
            }
            Seen::Nothing => outcome.unserved += 1,
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    outcome
}

async fn crowd(case: Case, input: u64, tenant: &Tenant, addresses: &Addresses) -> Vec<Outcome> {
    let key = tenant.user.as_ref().map_or(&tenant.key, |(_, key)| key);
    let mut callers = JoinSet::new();
    for number in 0..usize::try_from(CALLERS).unwrap() {
        callers.spawn(ask(
            case.call(),
            input,
            key.clone(),
            addresses.clone(),
            number,
        ));
    }
    callers.join_all().await
}

/// What is left to the one who runs out of funds.
async fn left(case: Case, one: i64, tenant: &Tenant, books: &Books) -> i64 {
    match case.payer {
        Payer::Wallet => books.balance(tenant.platform).await,
        Payer::Budget => {
            let calls = books.charged(tenant.platform).await;
            let used = calls.values().map(|call| call.net_on_budget().unwrap().0);
            case.funded * one + case.rest - used.sum::<i64>()
        }
    }
}

/// One case on servers that nothing happens to.
async fn exactly_as_many(case: Case, site: &Site, servers: &[Server], operator: &str) {
    let input = case.call().held_input();
    let one = case.payer.cost(input, case.output);
    let tenant = case.tenant(&servers[0], operator, one).await;
    let addresses = servers.iter().map(Server::address).collect();
    let before = site.mock.stats();
    let outcomes = crowd(case, input, &tenant, &Arc::new(Mutex::new(addresses))).await;

    let served: BTreeSet<_> = outcomes
        .iter()
        .filter_map(|outcome| outcome.served)
        .collect();
    let unserved: usize = outcomes.iter().map(|outcome| outcome.unserved).sum();
    assert_eq!(unserved, 0, "{case:?}");
    let reason = match case.payer {
        Payer::Wallet => "wallet_insufficient",
        Payer::Budget => "budget_exhausted",
    };
    let refused = outcomes
        .iter()
        .filter(|o| o.refused.as_deref() == Some(reason));
    let funded = usize::try_from(case.funded).unwrap();
    assert_eq!(
        (served.len(), refused.count()),
        (funded, 256 - funded),
        "{case:?}"
    );
    let put_off: usize = outcomes.iter().map(|outcome| outcome.put_off).sum();
    eprintln!("{case:?}: {} served, {put_off} times put off", served.len());

    let after = site.mock.stats();
    let tokens = (
        after.prompt_tokens - before.prompt_tokens,
        after.completion_tokens - before.completion_tokens,
    );
    let count = u64::try_from(case.funded).unwrap();
    assert_eq!(after.requests - before.requests, count, "{case:?}");
    assert_eq!(tokens, (count * input, count * case.output), "{case:?}");

    let books = Books::open(site).await;
    let charged = books.charged(tenant.platform).await;
    assert_eq!(
        charged.keys().copied().collect::<BTreeSet<_>>(),
        served,
        "{case:?}"
    );
    for call in charged.values() {
        costs_exactly(case, input, call);
    }
    assert_eq!(
        left(case, one, &tenant, &books).await,
        case.rest,
        "{case:?}"
    );
    books.audit().await;
    books.logged(&charged).await;
}

/// A call that was delivered whole: one charge of what the provider counted, on all legs.
fn costs_exactly(case: Case, input: u64, call: &Charged) {
    let usd = case.payer.cost(input, case.output);
    assert_eq!(call.net(), cost(input, case.output), "{call:?}");
    if case.payer == Payer::Budget {
        let tokens = i64::try_from(input + case.output).unwrap();
        assert_eq!(call.net_on_budget(), Some((usd, tokens)), "{call:?}");
    }
    if let Some(metered) = call.charge.metered {
        let counted = (metered.input_tokens, metered.output_tokens);
        assert_eq!(counted, (input, case.output), "{call:?}");
        assert!(call.since.is_empty(), "{call:?}");
        assert_eq!(call.charge.flags, ChargeFlags::default(), "{call:?}");
    }
}

/// Every number of funded calls, with the kinds of calls and payers; all combinations in a full run.
fn cases(rest: bool, output: u64) -> Vec<Case> {
    let is_full = std::env::var_os("ASSISTIV_TEST_FULL").is_some();
    let mut cases = Vec::new();
    for (number, funded) in FUNDED.into_iter().enumerate() {
        for (at, stream) in [false, true].into_iter().enumerate() {
            for payer in [Payer::Wallet, Payer::Budget] {
                let in_turn = (payer == Payer::Wallet) == (number + at).is_multiple_of(2);
                if is_full || in_turn {
                    let rest = i64::from(rest) * 599;
                    let case = Case {
                        payer,
                        stream,
                        funded,
                        rest,
                        output,
                    };
                    cases.push(case);
                }
            }
        }
    }
    cases
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_on_sqlite_serves_exactly_as_many_as_are_funded() {
    // With something left that pays for less than a prompt.
    let settings = [("ASSISTIV_BILLING__LAST_REQUEST", "refuse")];
    let site = Site::new(Place::File, &settings);
    let operator = site.operator().await;
    let servers = [site.serve("one").await];
    for case in cases(true, 50) {
        exactly_as_many(case, &site, &servers, &operator).await;
    }
    finish(&site, servers).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_on_postgres_serves_exactly_as_many_as_are_funded() {
    let site = Site::on_shared_postgres(&[]).await;
    let operator = site.operator().await;
    let servers = [site.serve("one").await];
    for case in cases(false, 50) {
        exactly_as_many(case, &site, &servers, &operator).await;
    }
    finish(&site, servers).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_on_postgres_serve_exactly_as_many_as_are_funded() {
    let site = Site::on_shared_postgres(&[]).await;
    let operator = site.operator().await;
    let (one, two, three) = tokio::join!(site.serve("one"), site.serve("two"), site.serve("three"));
    let servers = [one, two, three];
    for case in cases(false, 1) {
        exactly_as_many(case, &site, &servers, &operator).await;
    }
    finish(&site, servers).await;
}

async fn finish<const N: usize>(site: &Site, servers: [Server; N]) {
    for server in servers {
        assert!(server.terminate().await.success());
    }
    let books = Books::open(site).await;
    for account in books.audit().await {
        assert!(account.slots.is_zero(), "{account:?}");
    }
    site.doctor().await;
}

// ---------------------------------------------------------------------------------------------------------------------
// The same with faults in the middle

#[derive(Clone, Copy, Debug)]
enum Fault {
    Restart,
    Kill,
    Freeze,
}

/// Short times, so that a node that is gone is missed soon.
const SHORT: [(&str, &str); 6] = [
    ("ASSISTIV_BILLING__TTL", "3s"),
    ("ASSISTIV_BILLING__HEARTBEAT", "300ms"),
    ("ASSISTIV_BILLING__FENCE_GRACE", "500ms"),
    ("ASSISTIV_BILLING__GATE_TIMEOUT", "2500ms"),
    ("ASSISTIV_BILLING__RECALL_WAIT", "600ms"),
    ("ASSISTIV_BILLING__LAST_REQUEST", "refuse"),
];

/// What was delivered whole is charged exactly; a charge without delivery is on the list; and at the end everything
/// that could pay for a call has paid for one.
async fn in_spite_of(fault: Fault) {
    let postgres = TestPostgres::start();
    let database = postgres.empty_database().await;
    let site = Site::new(Place::Postgres(database), &SHORT);
    let operator = site.operator().await;
    let mut servers = Vec::new();
    for name in ["one", "two", "three"] {
        servers.push(site.serve(name).await);
    }
    for stream in [false, true] {
        let payer = if stream { Payer::Budget } else { Payer::Wallet };
        let case = Case {
            payer,
            stream,
            funded: 100,
            rest: 0,
            output: 1,
        };
        let input = case.call().held_input();
        let one = case.payer.cost(input, case.output);
        let tenant = case.tenant(&servers[1], &operator, one).await;
        let addresses: Vec<_> = servers.iter().map(Server::address).collect();
        let addresses = Addresses::new(Mutex::new(addresses));
        let before = site.mock.stats();
        let happens = async {
            // In the middle: some have been served, and more are under way.
            while site.mock.stats().finished < before.finished + 20 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            match fault {
                Fault::Restart => {
                    let postgres = postgres.clone();
                    let restart = move || {
                        postgres.crash();
                        postgres.start_again();
                    };
                    tokio::task::spawn_blocking(restart).await.unwrap();
                }
                Fault::Kill => {
                    servers.remove(0).kill().await;
                    addresses.lock().unwrap().remove(0);
                }
                Fault::Freeze => {
                    servers[0].freeze().await;
                    tokio::time::sleep(Duration::from_secs(6)).await;
                    servers[0].thaw().await;
                }
            }
        };
        let (outcomes, ()) = tokio::join!(crowd(case, input, &tenant, &addresses), happens);
        if matches!(fault, Fault::Kill) {
            servers.push(site.serve("again").await);
        }
        let books = Books::open(&site).await;
        books.settled(3, &[tenant.platform]).await;
        let charged = books.charged(tenant.platform).await;
        let served: BTreeSet<_> = outcomes
            .iter()
            .filter_map(|outcome| outcome.served)
            .collect();
        let parts: BTreeSet<_> = outcomes.iter().flat_map(|outcome| &outcome.parts).collect();
        for id in &served {
            costs_exactly(case, input, &charged[id]);
        }
        let unproved = unproved(&books).await;
        let mut undelivered = 0;
        for (id, call) in charged
            .iter()
            .filter(|(id, call)| !served.contains(*id) && call.net() > 0)
        {
            undelivered += 1;
            // A stream whose charge was not durable in time has told its caller so, and is charged when it is.
            let swept = call.charge.flags.contains(ChargeFlags::CRASH);
            assert!(
                unproved.contains_key(id) || swept || parts.contains(id),
                "{call:?}"
            );
            assert!(call.net() <= cost(input, case.output), "{call:?}");
        }
        let left = left(case, one, &tenant, &books).await;
        let unserved: usize = outcomes.iter().map(|outcome| outcome.unserved).sum();
        let stats = site.mock.stats();
        let finished = stats.finished - before.finished;
        eprintln!(
            "{fault:?}, {case:?}: {} served, {undelivered} charged beside them, {left} left, {unserved} times no \
             service, {finished} finished by the provider",
            served.len()
        );
        // Calls that cost a whole call, all of them: then there is nothing over. A swept stream may cost less.
        assert!((0..one).contains(&left), "{left} left of {one} for each");
        if !stream {
            assert_eq!(left, 0);
            assert_eq!(served.len() + undelivered, 100);
        }
        // What the provider did beyond that was lost with a node, and is charged to nobody.
        let ledger: i64 = charged.values().map(Charged::net).sum();
        let provider = cost(
            stats.prompt_tokens - before.prompt_tokens,
            stats.completion_tokens - before.completion_tokens,
        );
        assert!(
            ledger <= provider,
            "{ledger} charged, {provider} by the provider's count"
        );
        if unserved == 0 {
            assert_eq!(ledger, provider);
        }
        books.audit().await;
        site.doctor().await;
    }
}

async fn unproved(books: &Books) -> BTreeMap<EntryId, UnconfirmedStatus> {
    let open = books.unconfirmed(UnconfirmedStatus::Open).await;
    open.into_iter()
        .map(|item| (item.charge, item.status))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_many_as_are_funded_while_postgres_restarts() {
    in_spite_of(Fault::Restart).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_many_as_are_funded_while_a_node_is_killed() {
    in_spite_of(Fault::Kill).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_many_as_are_funded_while_a_node_is_frozen_past_its_lease() {
    in_spite_of(Fault::Freeze).await;
}
