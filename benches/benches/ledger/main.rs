//! The ledger's targets beside naive billing, in one run on one machine.
//!
//! ```sh
//! cargo bench -p assistiv-benches --bench ledger -- --full
//! ```
//!
//! What the targets are, and figures: `docs/performance.md`.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program whose output is a table"
)]

mod memory;
mod postgres;
mod report;
mod sqlite;

use std::time::Duration;

use anyhow::Result;
use assistiv_benches::load::Span;
use assistiv_benches::machine::Machine;
use clap::Parser;

use self::report::Report;

/// The server's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// End users with budgets; all are paid from one wallet.
const END_USERS: u16 = 100;

/// Measures the ledger's targets.
#[derive(Debug, Parser)]
struct Arguments {
    /// Short measurements, about a minute in all; the default.
    #[arg(long, conflicts_with = "full")]
    quick: bool,
    /// Long measurements, about five minutes in all.
    #[arg(long)]
    full: bool,
    /// Prints JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// Measures on no database server: P1 and P9 alone.
    #[arg(long)]
    without_postgres: bool,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

/// How long to measure.
#[derive(Clone, Copy, Debug)]
struct Size {
    name: &'static str,
    /// Authorisations that are timed.
    authorisations: usize,
    /// Writes that the disk is timed by.
    syncs: usize,
    /// One load.
    span: Span,
}

const QUICK: Size = Size {
    name: "quick",
    authorisations: 300_000,
    syncs: 500,
    span: Span {
        warm_up: Duration::from_secs(2),
        measured: Duration::from_secs(2),
    },
};

const FULL: Size = Size {
    name: "full",
    authorisations: 3_000_000,
    syncs: 5_000,
    span: Span {
        warm_up: Duration::from_secs(5),
        measured: Duration::from_secs(20),
    },
};

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let size = if arguments.full { FULL } else { QUICK };
    // Where the databases are made, too.
    let machine = Machine::read(&std::env::temp_dir(), size.syncs)?;
    let mut report = Report::new(size.name, machine);
    memory::measure(size, &mut report).await?;
    sqlite::measure(size, &mut report).await?;
    if !arguments.without_postgres {
        postgres::measure(size, &mut report).await?;
    }
    report.print(arguments.json)
}

/// Says what is going on, for whoever waits.
fn progress(what: &str) {
    eprintln!("… {what}");
}
