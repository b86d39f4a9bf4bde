//! P9: SQLite with every commit on the disk.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use assistiv_benches::load::{self, Arrivals, Outcome};
use assistiv_benches::naive::NaiveSqlite;
use assistiv_benches::node::{Callers, Node, assert_balanced};
use assistiv_core::store::sql::{SqlOptions, SqlStore};

use crate::report::{Batches, Report, Run, Target};
use crate::{END_USERS, Size, progress};

const CONCURRENT: usize = 100;

/// P9.
const TIMES: f64 = 20.0;

pub(crate) async fn measure(size: Size, report: &mut Report) -> Result<()> {
    let folder = tempfile::tempdir()?;
    report.database("SQLite, WAL, synchronous=FULL".to_owned());
    let naive = naive(size, folder.path()).await?;
    report.run(Run {
        name: format!("SQLite, naive, {CONCURRENT} at a time"),
        outcome: naive,
        ledger: None,
        database: None,
    });

    let store = SqlStore::open(SqlOptions::sqlite(folder.path().join("ours.db"))).await?;
    let callers = Callers::make(&store.stores(), END_USERS.into()).await?;
    let node = Node::start(store.stores(), &callers).await?;
    let mut at_a_time = None;
    for load in [Arrivals::Offered(1_000), Arrivals::Concurrent(CONCURRENT)] {
        let run = ours(size, &node, load).await?;
        at_a_time = Some(run.outcome);
        report.run(run);
    }
    node.stop().await?;
    assert_balanced(&store.stores()).await?;
    store.close().await?;

    let ours = at_a_time.context("nothing was measured")?.per_second;
    let times = ours / naive.per_second;
    report.target(Target {
        id: "P9",
        target: "SQLite FULL, 100 at a time: ≥ 20 × a commit per request".to_owned(),
        measured: format!("{ours:.0} / {:.0} req/s = {times:.1} ×", naive.per_second),
        reference: "11,383 / 174 = 65 ×",
        reached: times >= TIMES,
    });
    Ok(())
}

async fn naive(size: Size, folder: &Path) -> Result<Outcome> {
    progress("SQLite, a commit per request");
    let naive = NaiveSqlite::make(&folder.join("naive.db"), END_USERS.into()).await?;
    let calls = {
        let naive = naive.clone();
        move |number| {
            let naive = naive.clone();
            async move { naive.call(number).await.ok() }
        }
    };
    let load = Arrivals::Concurrent(CONCURRENT);
    let (outcome, (), ()) = load::put(load, size.span, calls, nothing).await?;
    ensure!(outcome.failed == 0, "naive requests failed on SQLite");
    naive.close().await;
    Ok(outcome)
}

async fn ours(size: Size, node: &Node, load: Arrivals) -> Result<Run> {
    let name = match load {
        Arrivals::Offered(rate) => format!("SQLite, {rate} offered"),
        Arrivals::Concurrent(tasks) => format!("SQLite, {tasks} at a time"),
    };
    progress(&name);
    let probe = async || Ok::<_, anyhow::Error>(node.counts().now());
    let (outcome, before, after) = load::put(load, size.span, node.calls(), probe).await?;
    let counted = after.since(before);
    Ok(Run {
        name,
        outcome,
        ledger: Some(Batches::of(counted, size.span.measured)),
        database: None,
    })
}

async fn nothing() -> Result<()> {
    Ok(())
}

impl Batches {
    pub(crate) fn of(counted: assistiv_benches::counted::Counted, measured: Duration) -> Self {
        Self {
            entries_in_a_batch: counted.entries as f64 / counted.settled.max(1) as f64,
            wallet_locks_per_second: counted.wallet_locks as f64 / measured.as_secs_f64(),
        }
    }
}
