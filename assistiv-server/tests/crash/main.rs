//! `kill -9` during load, then a restart: the books balance, nothing is charged twice, and every answer that was
//! delivered whole is charged exactly.
//!
//! `ASSISTIV_TEST_ROUNDS` sets how often the server is killed.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test and its helpers"
)]

mod client;
mod server;
mod webhooks;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use assistiv_core::Gateway;
use assistiv_core::billing::{AccountAudit, ChargeFlags, EntryKind};
use assistiv_core::id::{EntryId, PlatformId};
use assistiv_core::money::NanoUsd;
use assistiv_core::store::Page;
use assistiv_core::store::sql::{SqlOptions, SqlStore};
use assistiv_core::testing::scopes;
use assistiv_server::mock::Mock;

use self::client::Client;
use self::server::Server;

const ROUNDS: u32 = 3;
const CLIENTS: usize = 16;
const BALANCE: &str = "50";

/// What clients saw: the calls that were answered whole, by the id of their charge, with the tokens they were told.
type Delivered = Arc<Mutex<BTreeMap<EntryId, (u64, u64)>>>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_loses_no_charge_and_doubles_none() {
    let rounds = std::env::var("ASSISTIV_TEST_ROUNDS").map_or(ROUNDS, |text| text.parse().unwrap());
    let mock = Mock::start(([127, 0, 0, 1], 0).into()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let tenant = server::set_up(dir.path(), &mock, BALANCE).await;
    let delivered = Delivered::default();
    for round in 0..rounds {
        let server = Server::start(dir.path(), &mock).await;
        let client = Client::new(server.address(), tenant.key_of(round));
        let load: Vec<_> = (0..CLIENTS)
            .map(|n| run(load(client.clone(), n, delivered.clone())))
            .collect();
        // Another moment each round: while calls are authorised, streamed, settled, delivered.
        tokio::time::sleep(Duration::from_millis(150 + u64::from(round) * 37 % 400)).await;
        server.kill().await;
        for task in load {
            task.await.unwrap();
        }
    }
    assert!(
        !delivered.lock().unwrap().is_empty(),
        "the load must get answers"
    );

    // One more start sweeps what the last kill left, serves, and closes in order.
    let server = Server::start(dir.path(), &mock).await;
    let answer = Client::new(server.address(), tenant.key_of(0))
        .complete("hello", false)
        .await
        .unwrap();
    assert!(answer.is_whole());
    server.terminate().await;
    check_the_books(dir.path(), tenant.platform_id, &delivered).await;
}

/// The database has one process at a time; the next one takes back at once what the one before it left, without
/// waiting for any lease to end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_server_is_refused_and_the_next_one_sweeps_at_once() {
    let mock = Mock::start(([127, 0, 0, 1], 0).into()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let tenant = server::set_up(dir.path(), &mock, BALANCE).await;
    let server = Server::start(dir.path(), &mock).await;
    let refused = server::refused(dir.path(), &mock).await;
    assert!(refused.contains("another process"), "{refused}");
    let client = Client::new(server.address(), tenant.key_of(0));
    assert!(client.complete("hello", false).await.unwrap().is_whole());

    // A stream that is under way, and recorded, when the server dies.
    let slow = "mock:words=5000 mock:delay_ms=5 hello";
    let under_way = run(async move {
        let answer = client.complete(slow, true).await.unwrap();
        assert!(!answer.is_whole());
    });
    let inspection = SqlStore::inspect(SqlOptions::sqlite(dir.path().join("assistiv.db")))
        .await
        .unwrap();
    let ledger = inspection.store.stores().ledger;
    let operator = scopes::operator();
    let recorded = async {
        let open = |accounts: Vec<AccountAudit>| accounts.iter().any(|a| a.open_streams > 0);
        while !open(ledger.audit(&operator).await.unwrap()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), recorded)
        .await
        .expect("the stream is recorded");
    server.kill().await;
    under_way.await.unwrap();

    let server = Server::start(dir.path(), &mock).await;
    let client = Client::new(server.address(), tenant.key_of(0));
    assert!(client.complete("hello", false).await.unwrap().is_whole());
    let nodes = ledger.nodes(&operator).await.unwrap();
    let open: Vec<_> = nodes.iter().filter(|node| node.is_open).collect();
    assert_eq!((nodes.len(), open.len()), (1, 1), "{nodes:?}");
    for account in ledger.audit(&operator).await.unwrap() {
        assert!(account.balances(), "{account:?}");
        assert_eq!(account.open_streams, 0, "{account:?}");
    }
    let charges = ledger.charges(&scopes::engine(), 0, 10).await.unwrap();
    let flags: Vec<_> = charges.iter().map(|charge| charge.entry.flags).collect();
    let swept = ChargeFlags::CRASH.with(ChargeFlags::TRUNCATED);
    assert_eq!(
        flags,
        [ChargeFlags::default(), swept, ChargeFlags::default()]
    );
    server.terminate().await;
}

async fn load(client: Client, number: usize, delivered: Delivered) {
    for step in 0.. {
        let stream = (number + step).is_multiple_of(2);
        let prompt = format!(
            "mock:words={} mock:delay_ms={} hello",
            3 + step % 20,
            step % 3
        );
        // The server is gone, or refuses while it goes: the round is over.
        let Ok(answer) = client.complete(&prompt, stream).await else {
            return;
        };
        if let (true, Some(id), Some(tokens)) =
            (answer.is_whole(), answer.log_id(), answer.tokens())
        {
            delivered.lock().unwrap().insert(id, tokens);
        }
    }
}

async fn check_the_books(dir: &std::path::Path, platform: PlatformId, delivered: &Delivered) {
    let store = SqlStore::open(SqlOptions::sqlite(dir.join("assistiv.db")))
        .await
        .unwrap();
    let gateway = Gateway::builder()
        .stores(store.stores())
        .build()
        .await
        .unwrap();
    let local = gateway.local_operator();
    for account in gateway
        .stores()
        .ledger
        .audit(&local.operate().unwrap())
        .await
        .unwrap()
    {
        assert!(account.balances(), "{account:?}");
        assert_eq!(account.open_streams, 0, "{account:?}");
    }
    let scope = local.manage(platform).unwrap();
    let ledger = &gateway.stores().ledger;
    let delivered = std::mem::take(&mut *delivered.lock().unwrap());
    for (id, (input, output)) in &delivered {
        let charge = ledger.charge(&scope, *id).await.unwrap();
        let charge =
            charge.unwrap_or_else(|| panic!("{id} was delivered whole and is not charged"));
        assert!(
            !charge.flags.contains(ChargeFlags::CRASH),
            "{id} was delivered whole after its settlement"
        );
        // gpt-4o-mini: 0.15 and 0.60 USD per million tokens.
        let cost = NanoUsd::new((input * 150 + output * 600) as i64);
        assert_eq!(
            charge.wallet.unwrap().1,
            cost.negated(),
            "{id}: {input} and {output} tokens"
        );
    }
    // Replaying the wallet's entries gives its balance, and no call has two charges.
    let (mut sum, mut charges, mut page) = (NanoUsd::ZERO, std::collections::BTreeSet::new(), 1);
    loop {
        let rows = ledger
            .wallet_entries(&scope, Page { page, limit: 100 })
            .await
            .unwrap()
            .rows;
        if rows.is_empty() {
            break;
        }
        for row in rows {
            sum = sum.checked_add(row.entry.wallet.unwrap().1).unwrap();
            if row.entry.kind == EntryKind::Charge {
                assert!(
                    charges.insert(row.entry.uid),
                    "{} is charged twice",
                    row.entry.uid
                );
            }
        }
        page += 1;
    }
    assert_eq!(ledger.wallet(&scope).await.unwrap().balance, sum);
    assert!(charges.len() >= delivered.len());
    gateway.shut_down(Duration::from_secs(1)).await.unwrap();
}

#[expect(clippy::disallowed_methods, reason = "the load runs beside the test")]
fn run(future: impl Future<Output = ()> + Send + 'static) -> tokio::task::JoinHandle<()> {
    tokio::spawn(future)
}
