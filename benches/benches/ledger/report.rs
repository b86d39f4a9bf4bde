//! What a run found, as a table and as JSON.

use anyhow::Result;
use assistiv_benches::load::Outcome;
use assistiv_benches::machine::Machine;
use assistiv_benches::samples::Quantiles;
use serde::Serialize;

/// Everything that a run found.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    size: &'static str,
    machine: Machine,
    databases: Vec<String>,
    targets: Vec<Target>,
    runs: Vec<Run>,
}

/// A target of the specification.
#[derive(Debug, Serialize)]
pub(crate) struct Target {
    pub(crate) id: &'static str,
    pub(crate) target: String,
    pub(crate) measured: String,
    /// What the specification's own prototype reached.
    pub(crate) reference: &'static str,
    pub(crate) reached: bool,
}

/// One load.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Run {
    pub(crate) name: String,
    pub(crate) outcome: Outcome,
    /// Of the gateway's own runs.
    pub(crate) ledger: Option<Batches>,
    /// Of runs on PostgreSQL.
    pub(crate) database: Option<DatabaseCost>,
}

/// How the ledger was written.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Batches {
    /// Ledger entries in a batch, on average.
    pub(crate) entries_in_a_batch: f64,
    /// How often a second the row of the wallet's account was locked.
    pub(crate) wallet_locks_per_second: f64,
}

/// What a request costs the database.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct DatabaseCost {
    pub(crate) cpu_ms_per_request: f64,
    pub(crate) wal_bytes_per_request: f64,
    /// Of all cores, how much the server's processes took.
    pub(crate) cpu_share: f64,
}

// === impl Report ===

impl Report {
    pub(crate) fn new(size: &'static str, machine: Machine) -> Self {
        Self {
            size,
            machine,
            databases: Vec::new(),
            targets: Vec::new(),
            runs: Vec::new(),
        }
    }

    pub(crate) fn fsync(&self) -> Quantiles {
        self.machine.fsync
    }

    pub(crate) fn database(&mut self, version: String) {
        self.databases.push(version);
    }

    pub(crate) fn target(&mut self, target: Target) {
        self.targets.push(target);
    }

    pub(crate) fn run(&mut self, run: Run) {
        self.runs.push(run);
    }

    pub(crate) fn print(mut self, as_json: bool) -> Result<()> {
        self.targets.sort_by_key(|target| target.id);
        if as_json {
            println!("{}", serde_json::to_string_pretty(&self)?);
            return Ok(());
        }
        let Machine {
            cpu,
            cores,
            memory_mib,
            kernel,
            file_system,
            load_before,
            fsync,
        } = &self.machine;
        println!("size      {}", self.size);
        println!("machine   {cores} × {cpu}, {memory_mib} MiB, Linux {kernel}");
        println!(
            "disk      {file_system}; 8 KiB + fdatasync: {}",
            millis(fsync)
        );
        println!("databases {}", self.databases.join("; "));
        println!("load      {load_before} before the run\n");
        let rows = self.targets.iter().map(|target| {
            let reached = if target.reached { "yes" } else { "no" };
            [
                target.id.to_owned(),
                target.target.clone(),
                target.measured.clone(),
                target.reference.to_owned(),
                reached.to_owned(),
            ]
        });
        table(["", "target", "measured", "reference", "reached"], rows);
        println!();
        table(
            [
                "run",
                "answered/s",
                "failed",
                "wait p50 ms",
                "p99 ms",
                "per batch",
                "wallet locks/s",
                "db cpu ms/req",
                "WAL B/req",
            ],
            self.runs.iter().map(Run::row),
        );
        Ok(())
    }
}

impl Run {
    fn row(&self) -> [String; 9] {
        let of = |figure: Option<f64>, digits: usize| {
            figure.map_or_else(String::new, |figure| format!("{figure:.digits$}"))
        };
        let (ledger, database) = (self.ledger.as_ref(), self.database.as_ref());
        [
            self.name.clone(),
            format!("{:.0}", self.outcome.per_second),
            self.outcome.failed.to_string(),
            format!("{:.2}", ms(self.outcome.waited.p50)),
            format!("{:.2}", ms(self.outcome.waited.p99)),
            of(ledger.map(|it| it.entries_in_a_batch), 1),
            of(ledger.map(|it| it.wallet_locks_per_second), 2),
            of(database.map(|it| it.cpu_ms_per_request), 3),
            of(database.map(|it| it.wal_bytes_per_request), 0),
        ]
    }
}

/// Nanoseconds as milliseconds.
pub(crate) fn ms(nanos: u64) -> f64 {
    nanos as f64 / 1e6
}

fn millis(quantiles: &Quantiles) -> String {
    let Quantiles { p50, p99, .. } = *quantiles;
    format!("p50 {:.3} ms, p99 {:.3} ms", ms(p50), ms(p99))
}

/// A table that a terminal shows in columns, and that is Markdown too.
fn table<const N: usize>(head: [&str; N], rows: impl Iterator<Item = [String; N]>) {
    let rows: Vec<_> = std::iter::once(head.map(str::to_owned))
        .chain(rows)
        .collect();
    let widths: [usize; N] = std::array::from_fn(|column| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or(0)
    });
    for (number, row) in rows.iter().enumerate() {
        let cells = row.iter().zip(widths);
        let cells: Vec<_> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        println!("| {} |", cells.join(" | "));
        if number == 0 {
            let rules: Vec<_> = widths.iter().map(|width| "-".repeat(*width)).collect();
            println!("| {} |", rules.join(" | "));
        }
    }
}
