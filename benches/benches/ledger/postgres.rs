//! P2 to P8: PostgreSQL, on a server of its own, at hand and farther away.

mod server;

use std::time::Duration;

use anyhow::Result;
use assistiv_benches::counted::Counted;
use assistiv_benches::delay::DelayProxy;
use assistiv_benches::load::{self, Arrivals, Outcome};
use assistiv_benches::naive::{Locking, NaivePostgres};
use assistiv_benches::node::{Callers, Node, assert_balanced};
use assistiv_core::store::sql::{SqlOptions, SqlStore};

use self::server::{Server, Usage};
use crate::report::{Batches, DatabaseCost, Report, Run, Target, ms};
use crate::{END_USERS, Size, progress};

/// Connections of naive billing.
const CONNECTIONS: u32 = 16;

/// Calls at a time that saturate a node: several full batches.
const SATURATING: usize = 4_000;

/// What each direction through the proxy takes.
const EACH_WAY: Duration = Duration::from_micros(250);

/// Calls a second on each node while the database has time to spare.
const EASY: u32 = 1_000;

/// How often P8 compares one node with two.
const ROUNDS: u32 = 2;

/// A rate counts as served from here on.
const SERVED: f64 = 0.97;

/// Runs of the gateway on one network.
struct Ours {
    at_1000: Run,
    at_5000: Option<Run>,
    at_10000: Run,
    saturated: Run,
}

pub(crate) async fn measure(size: Size, report: &mut Report) -> Result<()> {
    progress("starting a PostgreSQL server");
    let server = Server::start().await?;
    report.database(server.version().await?);
    let store = SqlStore::open(SqlOptions::postgres(server.url().to_owned())).await?;
    let callers = Callers::make(&store.stores(), END_USERS.into()).await?;
    NaivePostgres::make(server.url(), END_USERS.into()).await?;

    let bench = Bench {
        size,
        server: &server,
        callers: &callers,
    };
    let near = bench
        .naive("naive", server.url(), Locking::SelectForUpdate)
        .await?;
    report.run(near.clone());
    let tuned = bench
        .naive("naive, tuned", server.url(), Locking::ConditionalUpdate)
        .await?;
    report.run(tuned.clone());
    let ours = bench.ours("", server.url(), true).await?;
    ours.report(report);
    hot_wallet(report, &ours, &near);
    wallet_locks(report, &ours);
    gates(report, &ours);
    cost(report, &ours);
    two_nodes(&bench, report).await?;

    progress("farther away");
    let proxy = DelayProxy::start(server.address()?, EACH_WAY).await?;
    let url = server.url_through(proxy.address())?;
    let round_trip = server::round_trip(&url).await?;
    let far = bench
        .naive("far, naive", &url, Locking::SelectForUpdate)
        .await?;
    report.run(far.clone());
    let ours = bench.ours("far, ", &url, false).await?;
    ours.report(report);
    farther_away(report, &ours, &far, round_trip);

    assert_balanced(&store.stores()).await?;
    store.close().await?;
    Ok(())
}

struct Bench<'a> {
    size: Size,
    server: &'a Server,
    callers: &'a Callers,
}

/// The server's figures and a node's, at one moment.
#[derive(Clone, Copy)]
struct Moment {
    usage: Usage,
    counted: Counted,
}

// === impl Bench ===

impl Bench<'_> {
    async fn naive(&self, name: &str, url: &str, locking: Locking) -> Result<Run> {
        let name = format!("{name}, {CONNECTIONS} connections");
        progress(&name);
        let naive = NaivePostgres::connect(url, CONNECTIONS, END_USERS.into()).await?;
        let calls = {
            let naive = naive.clone();
            move |number| {
                let naive = naive.clone();
                async move { naive.call(number, locking).await.ok() }
            }
        };
        let load = Arrivals::Concurrent(usize::try_from(CONNECTIONS)?);
        let probe = async || self.server.usage().await;
        let (outcome, before, after) = load::put(load, self.size.span, calls, probe).await?;
        naive.close().await;
        Ok(Run {
            name,
            outcome,
            ledger: None,
            database: Some(self.cost(&outcome, after.since(before))),
        })
    }

    async fn ours(&self, prefix: &str, url: &str, at_5000: bool) -> Result<Ours> {
        let store = SqlStore::open(SqlOptions::postgres(url.to_owned())).await?;
        let node = Node::start(store.stores(), self.callers).await?;
        let run = async |name: &str, load| self.run(&format!("{prefix}{name}"), &node, load).await;
        let ours = Ours {
            at_1000: run("1,000 offered", Arrivals::Offered(1_000)).await?,
            at_5000: match at_5000 {
                true => Some(run("5,000 offered", Arrivals::Offered(5_000)).await?),
                false => None,
            },
            at_10000: run("10,000 offered", Arrivals::Offered(10_000)).await?,
            saturated: run("saturated", Arrivals::Concurrent(SATURATING)).await?,
        };
        node.stop().await?;
        store.close().await?;
        Ok(ours)
    }

    async fn run(&self, name: &str, node: &Node, load: Arrivals) -> Result<Run> {
        progress(name);
        let probe = async || self.moment(node).await;
        let (outcome, before, after) = load::put(load, self.size.span, node.calls(), probe).await?;
        let counted = after.counted.since(before.counted);
        Ok(Run {
            name: name.to_owned(),
            outcome,
            ledger: Some(Batches::of(counted, self.size.span.measured)),
            database: Some(self.cost(&outcome, after.usage.since(before.usage))),
        })
    }

    async fn moment(&self, node: &Node) -> Result<Moment> {
        Ok(Moment {
            usage: self.server.usage().await?,
            counted: node.counts().now(),
        })
    }

    fn cost(&self, outcome: &Outcome, usage: Usage) -> DatabaseCost {
        let requests = outcome.answered.max(1) as f64;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        DatabaseCost {
            cpu_ms_per_request: usage.cpu.as_secs_f64() * 1e3 / requests,
            wal_bytes_per_request: usage.wal as f64 / requests,
            cpu_share: usage.cpu.as_secs_f64()
                / self.size.span.measured.as_secs_f64()
                / cores as f64,
        }
    }
}

// === impl Ours ===

impl Ours {
    fn report(&self, report: &mut Report) {
        for run in self.runs() {
            report.run(run.clone());
        }
    }

    fn runs(&self) -> impl Iterator<Item = &Run> {
        let Self {
            at_1000,
            at_5000,
            at_10000,
            saturated,
        } = self;
        let first = std::iter::once(at_1000).chain(at_5000);
        first.chain([at_10000, saturated])
    }
}

/// How often as many as naive billing, with the rate that was offered and saturated.
fn times(ours: &Ours, naive: &Run) -> (f64, String) {
    let naive = naive.outcome.per_second;
    let offered = ours.at_10000.outcome.per_second;
    let saturated = ours.saturated.outcome.per_second;
    let best = saturated.max(offered) / naive;
    let text = format!(
        "{offered:.0} of 10,000 offered ({:.1} ×), saturated {saturated:.0} ({:.1} ×) / {naive:.0} req/s",
        offered / naive,
        saturated / naive,
    );
    (best, text)
}

fn hot_wallet(report: &mut Report, ours: &Ours, naive: &Run) {
    let (best, measured) = times(ours, naive);
    report.target(Target {
        id: "P2",
        target: "hot wallet: ≥ 20 × naive, 16 connections".to_owned(),
        measured,
        reference: "10,000 / 420–444 = 23 ×; saturated ≈ 62 ×",
        reached: best >= 20.0,
    });
}

fn farther_away(report: &mut Report, ours: &Ours, naive: &Run, round_trip: Duration) {
    let (best, measured) = times(ours, naive);
    report.target(Target {
        id: "P3",
        target: "the same, round trip 0.5 ms longer: ≥ 60 ×".to_owned(),
        measured: format!(
            "{measured}; `SELECT 1` takes {:.2} ms",
            round_trip.as_secs_f64() * 1e3
        ),
        reference: "≈ 120 ×",
        reached: best >= 60.0,
    });
}

fn wallet_locks(report: &mut Report, ours: &Ours) {
    let locks = ours.runs().filter_map(|run| run.ledger);
    let most = locks.fold(0.0, |most: f64, it| most.max(it.wallet_locks_per_second));
    report.target(Target {
        id: "P4",
        target: "locks on the hot wallet's row at any rate: ≤ 2 per second and node".to_owned(),
        measured: format!("at most {most:.2}"),
        reference: "0.2–0.5",
        reached: most <= 2.0,
    });
}

fn gates(report: &mut Report, ours: &Ours) {
    let fsync = report.fsync();
    let waited = ours.at_10000.outcome.waited;
    let (p50, p99) = (3 * fsync.p50 + 2_000_000, 10 * fsync.p99 + 10_000_000);
    let served = ours.at_10000.serves(10_000.0);
    report.target(Target {
        id: "P5",
        target: format!(
            "settlement at 10,000 req/s: p50 ≤ 3 fsync + 2 ms = {:.2}, p99 ≤ 10 fsync + 10 ms = {:.1}",
            ms(p50),
            ms(p99)
        ),
        measured: format!("{:.2} / {:.2} ms{}", ms(waited.p50), ms(waited.p99), unserved(served)),
        reference: "1.2–2.1 / 3.8–7.7 ms",
        reached: served && waited.p50 <= p50 && waited.p99 <= p99,
    });
    let waited = ours.at_1000.outcome.waited;
    let p50 = 3 * fsync.p50 + 1_000_000;
    let served = ours.at_1000.serves(1_000.0);
    report.target(Target {
        id: "P6",
        target: format!(
            "settlement at 1,000 req/s: p50 ≤ 3 fsync + 1 ms = {:.2}",
            ms(p50)
        ),
        measured: format!("{:.2} ms{}", ms(waited.p50), unserved(served)),
        reference: "0.7–0.9 ms",
        reached: served && waited.p50 <= p50,
    });
}

fn cost(report: &mut Report, ours: &Ours) {
    let (Some(at_5000), at_10000) = (&ours.at_5000, &ours.at_10000) else {
        return;
    };
    let (Some(at_5k), Some(at_10k)) = (at_5000.database, at_10000.database) else {
        return;
    };
    let wal = at_5k
        .wal_bytes_per_request
        .max(at_10k.wal_bytes_per_request);
    let served = at_5000.serves(5_000.0) && at_10000.serves(10_000.0);
    report.target(Target {
        id: "P7",
        target: "database CPU ≤ 0.15 ms at 5,000 req/s, ≤ 0.10 ms at 10,000; WAL ≤ 1.2 kB"
            .to_owned(),
        measured: format!(
            "{:.3} / {:.3} ms; {:.2} kB{}",
            at_5k.cpu_ms_per_request,
            at_10k.cpu_ms_per_request,
            wal / 1e3,
            unserved(served)
        ),
        reference: "0.14 / 0.07–0.08 ms; 0.8–1.0 kB",
        reached: served
            && at_5k.cpu_ms_per_request <= 0.15
            && at_10k.cpu_ms_per_request <= 0.10
            && wal <= 1_200.0,
    });
}

/// P8: what one node's calls wait for, alone and beside another node with the same load and the same wallet.
async fn two_nodes(bench: &Bench<'_>, report: &mut Report) -> Result<()> {
    let url = bench.server.url().to_owned();
    let (one, two) = (
        SqlStore::open(SqlOptions::postgres(url.clone())).await?,
        SqlStore::open(SqlOptions::postgres(url)).await?,
    );
    let first = Node::start(one.stores(), bench.callers).await?;
    let second = Node::start(two.stores(), bench.callers).await?;
    let load = Arrivals::Offered(EASY);
    let (mut alone, mut beside, mut share) = (0, 0, 0.0_f64);
    for _ in 0..ROUNDS {
        let run = bench
            .run("1,000 offered, another node idle", &first, load)
            .await?;
        alone += run.outcome.waited.p50;
        report.run(run);
        let nothing = async || Ok::<_, anyhow::Error>(());
        let other = load::put(load, bench.size.span, second.calls(), nothing);
        let name = "1,000 offered on each of two nodes";
        let (run, other) = tokio::join!(bench.run(name, &first, load), other);
        let mut run = run?;
        // The database worked for both.
        let both = (run.outcome.answered + other?.0.answered).max(1) as f64;
        if let Some(cost) = &mut run.database {
            let ours = run.outcome.answered as f64 / both;
            cost.cpu_ms_per_request *= ours;
            cost.wal_bytes_per_request *= ours;
            share = share.max(cost.cpu_share);
        }
        beside += run.outcome.waited.p50;
        report.run(run);
    }
    let ratio = beside as f64 / alone.max(1) as f64;
    report.target(Target {
        id: "P8",
        target: "another node raises a node's settlement p50 ≤ 1.5 ×".to_owned(),
        measured: format!(
            "{:.2} / {:.2} ms = {ratio:.2} ×, database at {:.0} % of all cores",
            ms(beside / u64::from(ROUNDS)),
            ms(alone / u64::from(ROUNDS)),
            share * 100.0
        ),
        reference: "–",
        reached: ratio <= 1.5,
    });
    first.stop().await?;
    second.stop().await?;
    one.close().await?;
    two.close().await?;
    Ok(())
}

impl Run {
    fn serves(&self, rate: f64) -> bool {
        self.outcome.per_second >= SERVED * rate
    }
}

fn unserved(served: bool) -> &'static str {
    if served {
        ""
    } else {
        " (the rate was not served)"
    }
}
