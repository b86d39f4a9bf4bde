//! P1: authorisation from memory; and how fast the engine is without a database.

use anyhow::Result;
use assistiv_benches::load::{self, Arrivals};
use assistiv_benches::node::{Callers, Node};
use assistiv_benches::samples::{Quantiles, Samples};
use assistiv_core::clock::SystemClock;
use assistiv_core::store::memory::MemoryStore;
use std::sync::Arc;
use tokio::time::Instant;

use crate::report::{Report, Run, Target};
use crate::{END_USERS, Size, progress};

/// P1.
const P50_NS: u64 = 1_000;
const P99_NS: u64 = 5_000;

pub(crate) async fn measure(size: Size, report: &mut Report) -> Result<()> {
    progress("authorising from memory");
    let stores = MemoryStore::stores(Arc::new(SystemClock));
    let callers = Callers::make(&stores, END_USERS.into()).await?;
    let node = Node::start(stores, &callers).await?;
    // Once around: every slice gets its lease.
    authorise(&node, usize::from(END_USERS) * 100).await?;
    let before = node.counts().now();
    let took = authorise(&node, size.authorisations).await?;
    let statements = node.counts().now().since(before).calls;
    report.target(Target {
        id: "P1",
        target: "warm authorisation: no statement; p50 ≤ 1 µs, p99 ≤ 5 µs".to_owned(),
        measured: format!(
            "{statements} statements; {:.2} / {:.2} µs",
            took.p50 as f64 / 1e3,
            took.p99 as f64 / 1e3
        ),
        reference: "< 1 / 1–2 µs",
        reached: statements == 0 && took.p50 <= P50_NS && took.p99 <= P99_NS,
    });
    let load = Arrivals::Concurrent(1_000);
    let probe = async || Ok::<_, anyhow::Error>(());
    let (outcome, (), ()) = load::put(load, size.span, node.calls(), probe).await?;
    report.run(Run {
        name: "memory, 1,000 at a time".to_owned(),
        outcome,
        ledger: None,
        database: None,
    });
    node.stop().await
}

/// Authorises and releases, one after the other; times the first.
async fn authorise(node: &Node, times: usize) -> Result<Quantiles> {
    let mut samples = Samples::with_capacity(times);
    for number in 0..times {
        let begun = Instant::now();
        let hold = node.authorise(number).await?;
        samples.push(begun.elapsed());
        hold.release();
    }
    Ok(samples.quantiles())
}
