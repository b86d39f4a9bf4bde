//! The same while the database restarts, a node is killed, or a node is frozen past its lease.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

use assistiv_core::billing::{ChargeFlags, UnconfirmedStatus};
use assistiv_core::id::EntryId;
use assistiv_core::testing::postgres::TestPostgres;

use super::{Addresses, Case, Payer, costs_exactly, crowd, left};
use crate::books::{Books, Charged};
use crate::call::cost;
use crate::server::Server;
use crate::site::{Place, Site};

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
                unproved.contains(id) || swept || parts.contains(id),
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

async fn unproved(books: &Books) -> BTreeSet<EntryId> {
    let open = books.unconfirmed(UnconfirmedStatus::Open).await;
    open.into_iter().map(|item| item.charge).collect()
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
