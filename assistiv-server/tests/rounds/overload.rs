//! Five times as many callers as a server takes: some are sent away in time, nothing grows, nothing is lost or charged
//! twice, and afterwards everything is as before.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use assistiv_core::id::EntryId;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::books::Books;
use crate::call::{Call, Seen, cost};
use crate::server::Server;
use crate::site::{Place, Site, Tenant};

/// How many calls the server takes at a time.
const CAPACITY: u64 = 32;
/// What the process may grow by under the load; the answers alone come to far more.
const GROWTH_MAX: u64 = 96 << 20;
/// How soon a server is well again.
const RECOVERY: Duration = Duration::from_secs(5);

#[derive(Default)]
struct Tally {
    delivered: Mutex<BTreeMap<EntryId, (u64, u64)>>,
    sent_away: AtomicU64,
    stop: AtomicBool,
}

fn call(stream: bool) -> Call {
    Call {
        knobs: "mock:first_ms=60 mock:words=20".to_owned(),
        stream,
        max_tokens: 64,
        leave_after: None,
    }
}

/// Calls again and again, whatever it is told.
async fn insist(server: std::net::SocketAddr, key: String, number: u64, tally: Arc<Tally>) {
    let call = call(number.is_multiple_of(2));
    let counted = call.counted();
    while !tally.stop.load(Ordering::Relaxed) {
        match call.make(server, &key, counted).await {
            Seen::Whole { id, tokens } => {
                let before = tally.delivered.lock().unwrap().insert(id, tokens);
                assert_eq!((tokens, before), ((counted, 20), None));
            }
            Seen::Refused(refused) => {
                assert_eq!(
                    (refused.status, refused.retry_after),
                    (503, true),
                    "{refused:?}"
                );
                assert_eq!(refused.reason(), "service_unavailable", "{refused:?}");
                tally.sent_away.fetch_add(1, Ordering::Relaxed);
                sleep(Duration::from_millis(20)).await;
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Looks at the process while it is under load: how many calls are with the provider, and how much memory it has.
async fn watch(site: &Site, server: &Server, time: Duration) {
    let begin = Instant::now();
    // It takes what it needs for so many calls at first.
    while begin.elapsed() < time / 4 {
        sleep(Duration::from_millis(20)).await;
    }
    let at_first = server.memory();
    let mut most = 0;
    while begin.elapsed() < time {
        let stats = site.mock.stats();
        let under_way = stats.requests - stats.finished - stats.failed - stats.dropped;
        assert!(under_way <= CAPACITY, "{under_way} calls are under way");
        most = most.max(server.memory());
        sleep(Duration::from_millis(20)).await;
    }
    eprintln!(
        "{} MiB at first, {} MiB at most",
        at_first >> 20,
        most >> 20
    );
    assert!(
        most < at_first + GROWTH_MAX,
        "{at_first} bytes at first, {most} at most"
    );
}

async fn five_times_as_many(site: &Site) {
    let full = std::env::var_os("ASSISTIV_TEST_FULL").is_some();
    let time = Duration::from_secs(if full { 30 } else { 5 });
    let operator = site.operator().await;
    let server = site.serve("one").await;
    let tenant = Tenant::make(&server, &operator, 50_000_000_000, json!({})).await;
    let tally = Arc::new(Tally::default());
    let mut callers = JoinSet::new();
    for number in 0..5 * CAPACITY {
        callers.spawn(insist(
            server.address(),
            tenant.key.clone(),
            number,
            tally.clone(),
        ));
    }
    watch(site, &server, time).await;
    // An operator still gets through.
    let path = format!("/v1/platforms/{}/wallet", tenant.platform);
    server.manage("GET", &path, &tenant.key, json!(null)).await;
    tally.stop.store(true, Ordering::Relaxed);
    let ended = Instant::now();
    while let Some(caller) = callers.join_next().await {
        caller.unwrap();
    }
    for stream in [false, true].into_iter().cycle().take(20) {
        let call = call(stream);
        let Seen::Whole { id, tokens } = call
            .make(server.address(), &tenant.key, call.counted())
            .await
        else {
            panic!("the server is not well again");
        };
        tally.delivered.lock().unwrap().insert(id, tokens);
    }
    assert!(
        ended.elapsed() < RECOVERY + Duration::from_secs(5),
        "{:?}",
        ended.elapsed()
    );

    let delivered = std::mem::take(&mut *tally.delivered.lock().unwrap());
    let sent_away = tally.sent_away.load(Ordering::Relaxed);
    eprintln!("{} delivered, {sent_away} sent away", delivered.len());
    assert!(sent_away > 0, "there was no overload");
    let books = Books::open(site).await;
    let charged = books.charged(tenant.platform).await;
    assert!(
        charged.keys().eq(delivered.keys()),
        "what is charged is what was delivered"
    );
    for (id, (input, output)) in &delivered {
        assert_eq!(charged[id].net(), cost(*input, *output), "{id}");
        assert!(charged[id].since.is_empty(), "{id}");
    }
    let stats = site.mock.stats();
    let sums = delivered
        .values()
        .fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    assert_eq!((stats.prompt_tokens, stats.completion_tokens), sums);
    assert_eq!(
        (stats.requests, stats.finished),
        (delivered.len() as u64, delivered.len() as u64)
    );
    books.audit().await;
    books.logged(&charged).await;
    assert!(server.terminate().await.success());
    site.doctor().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_settlement_queue_sends_calls_away() {
    let capacity = CAPACITY.to_string();
    let site = Site::new(Place::File, &[("ASSISTIV_BILLING__QUEUE_MAX", &capacity)]);
    five_times_as_many(&site).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_many_calls_as_are_allowed_at_a_time_send_others_away() {
    let capacity = CAPACITY.to_string();
    let settings = [("ASSISTIV_LIMITS__CONCURRENT_CALLS", &*capacity)];
    let site = Site::on_shared_postgres(&settings).await;
    five_times_as_many(&site).await;
}
