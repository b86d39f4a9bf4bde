//! A request log of a million rows: how long its first page and a month's usage take.
//!
//! ```sh
//! cargo bench -p assistiv-benches --bench logs
//! ```
//!
//! What the targets are, and figures: `docs/performance.md`.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program whose output is a table"
)]

use anyhow::Result;
use assistiv_benches::samples::{Quantiles, Samples};
use assistiv_core::billing::CountMethod;
use assistiv_core::clock::Timestamp;
use assistiv_core::id::{EndUserId, KeyId, LogId, ModelId, PlatformId, PriceId, ProviderId};
use assistiv_core::json::RawObject;
use assistiv_core::logs::{
    BillingStatus, LogFilter, LogRow, LogStatus, RequestType, UsageDimension, UsageQuery,
};
use assistiv_core::money::NanoUsd;
use assistiv_core::store::sql::{SqlOptions, SqlStore};
use assistiv_core::store::{Page, Stores};
use assistiv_core::testing::postgres::TestPostgres;
use assistiv_core::testing::scopes;
use clap::Parser;
use tokio::time::Instant;
use uuid::Uuid;

/// The server's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// 2026-05-01T00:00:00Z.
const BEGIN: i64 = 1_777_593_600_000_000;
/// Rows are spread over so long.
const MONTH: i64 = 31 * 86_400_000_000;
const BATCH: usize = 5_000;
const MODELS: [&str; 5] = [
    "gpt-4o-mini",
    "gpt-4o",
    "claude-haiku-4-5",
    "gemini-2.5-flash",
    "grok-4.3",
];
const END_USERS: usize = 200;
const ROUNDS: usize = 50;

/// Measures reads of a long request log.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many rows.
    #[arg(long, default_value_t = 1_000_000)]
    rows: usize,
    /// Measures SQLite alone.
    #[arg(long)]
    without_postgres: bool,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

/// Makes rows: of one platform, with models and end users in turn, at equal distances.
struct Generator {
    platform: PlatformId,
    end_users: Vec<EndUserId>,
    key: KeyId,
    price: PriceId,
    distance: i64,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let folder = tempfile::tempdir()?;
    let store = SqlStore::open(SqlOptions::sqlite(folder.path().join("bench.db"))).await?;
    measure("SQLite", &store.stores(), arguments.rows).await?;
    if !arguments.without_postgres {
        let database = TestPostgres::shared().database().await;
        let store = SqlStore::open(database.options()).await?;
        measure("PostgreSQL", &store.stores(), arguments.rows).await?;
        store.close().await?;
    }
    Ok(())
}

async fn measure(name: &str, stores: &Stores, rows: usize) -> Result<()> {
    let generator = Generator::new(rows);
    let began = Instant::now();
    let mut written = 0;
    while written < rows {
        let most = BATCH.min(rows - written);
        let batch: Vec<_> = (written..written + most)
            .map(|n| generator.row(n))
            .collect();
        stores.logs.append(&scopes::engine(), &batch).await?;
        written += most;
    }
    eprintln!("{name}: {rows} rows in {:.0?}", began.elapsed());

    let scope = scopes::platform(generator.platform);
    let page = Page::default();
    let first = async || {
        let listed = stores
            .logs
            .list(&scope, &LogFilter::default(), page)
            .await?;
        anyhow::ensure!(listed.total == rows as u64, "all rows are there");
        Ok(())
    };
    let of_model = LogFilter {
        model: Some(MODELS[0].parse()?),
        ..LogFilter::default()
    };
    let filtered = async || {
        let listed = stores.logs.list(&scope, &of_model, page).await?;
        anyhow::ensure!(listed.rows.len() == 20, "a full page");
        Ok(())
    };
    let query = UsageQuery {
        from: Timestamp::from_micros(BEGIN),
        to: Timestamp::from_micros(BEGIN + MONTH),
        end_user_id: None,
        model: None,
        group_by: Some(UsageDimension::Model),
        step: None,
    };
    let usage = async || {
        let lines = stores.logs.usage(&scope, &query).await?;
        anyhow::ensure!(lines.len() == MODELS.len(), "a line for each model");
        Ok(())
    };
    report(name, "first page", &time(first).await?);
    report(name, "first page of one model", &time(filtered).await?);
    report(name, "a month's usage by model", &time(usage).await?);
    Ok(())
}

async fn time(read: impl AsyncFn() -> Result<()>) -> Result<Quantiles> {
    let mut samples = Samples::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let began = Instant::now();
        read().await?;
        samples.push(began.elapsed());
    }
    Ok(samples.quantiles())
}

fn report(store: &str, what: &str, found: &Quantiles) {
    let millis = |nanos: u64| format!("{}.{:02}", nanos / 1_000_000, nanos / 10_000 % 100);
    println!(
        "{store:<11} {what:<26} p50 {:>8} ms  p99 {:>8} ms",
        millis(found.p50),
        millis(found.p99)
    );
}

// === impl Generator ===

impl Generator {
    fn new(rows: usize) -> Self {
        Self {
            platform: PlatformId::new(),
            end_users: (0..END_USERS).map(|_| EndUserId::new()).collect(),
            key: KeyId::new(),
            price: PriceId::new(),
            distance: MONTH / i64::try_from(rows.max(1)).unwrap_or(i64::MAX),
        }
    }

    fn row(&self, number: usize) -> LogRow {
        let slug = MODELS[number % MODELS.len()];
        let id = |name: &str| Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes());
        let tokens = (number % 900) as u64 + 20;
        let offset = i64::try_from(number).unwrap_or(i64::MAX) * self.distance;
        LogRow {
            id: LogId::new(),
            platform_id: self.platform,
            end_user_id: Some(self.end_users[number % END_USERS]),
            api_key_id: Some(self.key),
            request_type: RequestType::ChatCompletion,
            provider: "openai"
                .parse()
                .ok()
                .map(|slug| (ProviderId::from_uuid(id("openai")), slug)),
            model: slug
                .parse()
                .ok()
                .map(|name| (ModelId::from_uuid(id(slug)), name)),
            provider_model_id: Some(slug.to_owned()),
            prompt_tokens: tokens,
            completion_tokens: tokens / 3,
            latency_ms: 600,
            cost: NanoUsd::new(i64::try_from(tokens).unwrap_or_default() * 150),
            status: LogStatus::Success,
            error_message: None,
            reason: None,
            count_method: CountMethod::Reported,
            billing_status: BillingStatus::Billed,
            request_id: Some(format!("req_{number:032x}")),
            starts_request: true,
            overhead_us: Some(180),
            price_id: Some(self.price),
            metadata: RawObject::new(),
            created_at: Timestamp::from_micros(BEGIN + offset),
        }
    }
}
