//! The server and what it uses.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result};
use assistiv_benches::machine::cpu_of_tree;
use assistiv_benches::samples::Samples;
use assistiv_core::testing::postgres::{TestDatabase, TestPostgres};
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use tokio::time::Instant;

/// A server with one database.
pub(super) struct Server {
    database: TestDatabase,
    url: String,
    session: PgPool,
    postmaster: u32,
}

/// What a server has used so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usage {
    /// Processor time of all its processes.
    pub(super) cpu: Duration,
    /// Bytes of its log.
    pub(super) wal: i64,
}

// === impl Server ===

impl Server {
    pub(super) async fn start() -> Result<Self> {
        let server = TestPostgres::start();
        let database = server.database().await;
        let url = database.tcp_url();
        let session = PgPoolOptions::new()
            .max_connections(1)
            .connect(&url)
            .await?;
        let folder: String =
            sqlx::query_scalar("SELECT setting FROM pg_settings WHERE name = 'data_directory'")
                .fetch_one(&session)
                .await?;
        let pid_file = PathBuf::from(folder).join("postmaster.pid");
        let text = fs::read_to_string(&pid_file)
            .with_context(|| format!("cannot read {}", pid_file.display()))?;
        let postmaster = text.lines().next().unwrap_or_default().trim().parse()?;
        Ok(Self {
            database,
            url,
            session,
            postmaster,
        })
    }

    /// Through the loopback network.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn address(&self) -> Result<SocketAddr> {
        let options = PgConnectOptions::from_str(&self.url)?;
        let text = format!("{}:{}", options.get_host(), options.get_port());
        text.parse().with_context(|| format!("no address: {text}"))
    }

    /// The same database, through something that listens at `address`.
    pub(super) fn url_through(&self, address: SocketAddr) -> Result<String> {
        Ok(self
            .url
            .replace(&self.address()?.to_string(), &address.to_string()))
    }

    pub(super) async fn version(&self) -> Result<String> {
        let version: String = sqlx::query_scalar("SHOW server_version")
            .fetch_one(&self.session)
            .await?;
        let commit: String = sqlx::query_scalar(
            "SELECT 'fsync ' || current_setting('fsync') || ', synchronous_commit '
             || current_setting('synchronous_commit')",
        )
        .fetch_one(&self.session)
        .await?;
        Ok(format!("PostgreSQL {version}, {commit}"))
    }

    pub(super) async fn usage(&self) -> Result<Usage> {
        let wal = sqlx::query_scalar("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint")
            .fetch_one(&self.session)
            .await?;
        let cpu = cpu_of_tree(self.postmaster);
        Ok(Usage { cpu, wal })
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("database", &self.database)
            .finish_non_exhaustive()
    }
}

// === impl Usage ===

impl Usage {
    pub(super) fn since(self, before: Self) -> Self {
        Self {
            cpu: self.cpu.saturating_sub(before.cpu),
            wal: self.wal - before.wal,
        }
    }
}

/// What the shortest question takes, at the median.
pub(super) async fn round_trip(url: &str) -> Result<Duration> {
    let session = PgPoolOptions::new()
        .max_connections(1)
        .test_before_acquire(false)
        .connect(url)
        .await?;
    let mut samples = Samples::default();
    for _ in 0..200 {
        let begun = Instant::now();
        sqlx::query("SELECT 1").execute(&session).await?;
        samples.push(begun.elapsed());
    }
    session.close().await;
    Ok(Duration::from_nanos(samples.quantiles().p50))
}
