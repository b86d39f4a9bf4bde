//! Billing as one writes it first: the rows of wallet and budget are locked for every request.

use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use anyhow::Result;
use sqlx::pool::PoolOptions;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqliteSynchronous,
};
use sqlx::{Connection, Executor};
use tokio::time::Instant;
use uuid::Uuid;

/// What a call sets aside, and what it costs, in nano-dollars.
const HELD: i64 = 450_000;
const COST: i64 = 150_000;

const MUCH: i64 = 1_000_000_000_000_000_000;

/// Tables with no more than the figures need. The ledger has the indexes that a statement of an account and a
/// guard against double posting take.
const POSTGRES: &str = "
    CREATE TABLE naive_wallets (id BIGINT PRIMARY KEY, balance BIGINT NOT NULL, held BIGINT NOT NULL);
    CREATE TABLE naive_budgets (id BIGINT PRIMARY KEY, remaining BIGINT NOT NULL, held BIGINT NOT NULL);
    CREATE TABLE naive_ledger (
        id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, uid UUID NOT NULL UNIQUE,
        wallet_id BIGINT NOT NULL, budget_id BIGINT NOT NULL, amount BIGINT NOT NULL,
        created_at TIMESTAMPTZ NOT NULL DEFAULT now());
    CREATE INDEX naive_ledger_wallet ON naive_ledger (wallet_id, id);
    CREATE INDEX naive_ledger_budget ON naive_ledger (budget_id, id);
";

const SQLITE: &str = "
    CREATE TABLE naive_wallets (id INTEGER PRIMARY KEY, balance INTEGER NOT NULL);
    CREATE TABLE naive_budgets (id INTEGER PRIMARY KEY, remaining INTEGER NOT NULL);
    CREATE TABLE naive_ledger (
        id INTEGER PRIMARY KEY, uid BLOB NOT NULL UNIQUE,
        wallet_id INTEGER NOT NULL, budget_id INTEGER NOT NULL, amount INTEGER NOT NULL);
    CREATE INDEX naive_ledger_wallet ON naive_ledger (wallet_id, id);
    CREATE INDEX naive_ledger_budget ON naive_ledger (budget_id, id);
";

/// How the rows are locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Locking {
    /// Read for update, decided in the program, written: what the targets compare with.
    SelectForUpdate,
    /// One conditional update for each row, the wallet's last: the least time under its lock that one can have.
    ConditionalUpdate,
}

/// Naive billing on PostgreSQL.
#[derive(Clone, Debug)]
pub struct NaivePostgres {
    pool: PgPool,
    budgets: i64,
}

/// Naive billing on SQLite: one connection writes, and each request is a commit.
#[derive(Clone, Debug)]
pub struct NaiveSqlite {
    pool: SqlitePool,
    budgets: i64,
}

// === impl NaivePostgres ===

impl NaivePostgres {
    /// Makes the tables, with one wallet and so many budgets.
    ///
    /// # Errors
    /// The database's.
    pub async fn make(url: &str, budgets: i64) -> Result<()> {
        let pool = postgres_pool(url, 1).await?;
        pool.execute(sqlx::raw_sql(POSTGRES)).await?;
        sqlx::query("INSERT INTO naive_wallets VALUES (1, $1, 0)")
            .bind(MUCH)
            .execute(&pool)
            .await?;
        sqlx::query("INSERT INTO naive_budgets SELECT id, $1, 0 FROM generate_series(0, $2) AS id")
            .bind(MUCH)
            .bind(budgets - 1)
            .execute(&pool)
            .await?;
        pool.close().await;
        Ok(())
    }

    /// Connects to tables that [`NaivePostgres::make`] has made.
    ///
    /// # Errors
    /// The database's.
    pub async fn connect(url: &str, connections: u32, budgets: i64) -> Result<Self> {
        let pool = postgres_pool(url, connections).await?;
        Ok(Self { pool, budgets })
    }

    /// A request in two transactions: hold and settle.
    ///
    /// # Errors
    /// The database's.
    pub async fn call(&self, number: usize, locking: Locking) -> Result<Duration> {
        let begun = Instant::now();
        let budget = i64::try_from(number)? % self.budgets;
        let mut session = self.pool.acquire().await?;
        match locking {
            Locking::SelectForUpdate => {
                hold_by_select(&mut session, budget).await?;
                settle_by_select(&mut session, budget).await?;
            }
            Locking::ConditionalUpdate => {
                hold_by_update(&mut session, budget).await?;
                settle_by_update(&mut session, budget).await?;
            }
        }
        Ok(begun.elapsed())
    }

    /// Closes its connections.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

async fn postgres_pool(url: &str, connections: u32) -> Result<PgPool> {
    let pool = PoolOptions::new()
        .max_connections(connections)
        .min_connections(connections)
        .test_before_acquire(false);
    Ok(pool.connect_with(PgConnectOptions::from_str(url)?).await?)
}

/// What is left of wallet and budget, under locks on both.
async fn locked(session: &mut PgConnection, budget: i64) -> Result<(i64, i64)> {
    let wallet: (i64, i64) =
        sqlx::query_as("SELECT balance, held FROM naive_wallets WHERE id = 1 FOR UPDATE")
            .fetch_one(&mut *session)
            .await?;
    let budget: (i64, i64) =
        sqlx::query_as("SELECT remaining, held FROM naive_budgets WHERE id = $1 FOR UPDATE")
            .bind(budget)
            .fetch_one(&mut *session)
            .await?;
    Ok((wallet.0 - wallet.1, budget.0 - budget.1))
}

async fn change(session: &mut PgConnection, budget: i64, cost: i64, held: i64) -> Result<()> {
    sqlx::query("UPDATE naive_wallets SET balance = balance - $1, held = held + $2 WHERE id = 1")
        .bind(cost)
        .bind(held)
        .execute(&mut *session)
        .await?;
    sqlx::query(
        "UPDATE naive_budgets SET remaining = remaining - $1, held = held + $2 WHERE id = $3",
    )
    .bind(cost)
    .bind(held)
    .bind(budget)
    .execute(&mut *session)
    .await?;
    Ok(())
}

async fn hold_by_select(session: &mut PgConnection, budget: i64) -> Result<()> {
    let mut txn = session.begin().await?;
    let (wallet_left, budget_left) = locked(&mut txn, budget).await?;
    anyhow::ensure!(wallet_left >= HELD && budget_left >= HELD, "used up");
    change(&mut txn, budget, 0, HELD).await?;
    Ok(txn.commit().await?)
}

async fn settle_by_select(session: &mut PgConnection, budget: i64) -> Result<()> {
    let mut txn = session.begin().await?;
    locked(&mut txn, budget).await?;
    change(&mut txn, budget, COST, -HELD).await?;
    post(&mut txn, budget).await?;
    Ok(txn.commit().await?)
}

async fn post(session: &mut PgConnection, budget: i64) -> Result<()> {
    sqlx::query(
        "INSERT INTO naive_ledger (uid, wallet_id, budget_id, amount) VALUES ($1, 1, $2, $3)",
    )
    .bind(Uuid::now_v7())
    .bind(budget)
    .bind(-COST)
    .execute(session)
    .await?;
    Ok(())
}

async fn hold_by_update(session: &mut PgConnection, budget: i64) -> Result<()> {
    let mut txn = session.begin().await?;
    let of_budget = sqlx::query(
        "UPDATE naive_budgets SET held = held + $1 WHERE id = $2 AND remaining - held >= $1",
    )
    .bind(HELD)
    .bind(budget)
    .execute(&mut *txn)
    .await?;
    let of_wallet = sqlx::query(
        "UPDATE naive_wallets SET held = held + $1 WHERE id = 1 AND balance - held >= $1",
    )
    .bind(HELD)
    .execute(&mut *txn)
    .await?;
    let both = of_budget.rows_affected() == 1 && of_wallet.rows_affected() == 1;
    anyhow::ensure!(both, "used up");
    Ok(txn.commit().await?)
}

async fn settle_by_update(session: &mut PgConnection, budget: i64) -> Result<()> {
    let mut txn = session.begin().await?;
    post(&mut txn, budget).await?;
    sqlx::query(
        "UPDATE naive_budgets SET remaining = remaining - $1, held = held - $2 WHERE id = $3",
    )
    .bind(COST)
    .bind(HELD)
    .bind(budget)
    .execute(&mut *txn)
    .await?;
    sqlx::query("UPDATE naive_wallets SET balance = balance - $1, held = held - $2 WHERE id = 1")
        .bind(COST)
        .bind(HELD)
        .execute(&mut *txn)
        .await?;
    Ok(txn.commit().await?)
}

// === impl NaiveSqlite ===

impl NaiveSqlite {
    /// Makes the database, with one wallet and so many budgets. A commit is on the disk before it is
    /// acknowledged, as in the gateway's own database.
    ///
    /// # Errors
    /// The database's.
    pub async fn make(path: &Path, budgets: i64) -> Result<Self> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full);
        let pool = PoolOptions::new()
            .max_connections(1)
            .min_connections(1)
            .acquire_timeout(Duration::from_secs(60))
            .test_before_acquire(false)
            .connect_with(options)
            .await?;
        pool.execute(sqlx::raw_sql(SQLITE)).await?;
        sqlx::query("INSERT INTO naive_wallets VALUES (1, $1)")
            .bind(MUCH)
            .execute(&pool)
            .await?;
        for budget in 0..budgets {
            sqlx::query("INSERT INTO naive_budgets VALUES ($1, $2)")
                .bind(budget)
                .bind(MUCH)
                .execute(&pool)
                .await?;
        }
        Ok(Self { pool, budgets })
    }

    /// A request in one transaction, the least that one can write for it.
    ///
    /// # Errors
    /// The database's.
    pub async fn call(&self, number: usize) -> Result<Duration> {
        let begun = Instant::now();
        let budget = i64::try_from(number)? % self.budgets;
        let mut session = self.pool.acquire().await?;
        charge(&mut session, budget).await?;
        Ok(begun.elapsed())
    }

    /// Closes its connection.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

async fn charge(session: &mut SqliteConnection, budget: i64) -> Result<()> {
    let mut txn = session.begin_with("BEGIN IMMEDIATE").await?;
    sqlx::query("UPDATE naive_wallets SET balance = balance - $1 WHERE id = 1 AND balance >= $1")
        .bind(COST)
        .execute(&mut *txn)
        .await?;
    sqlx::query(
        "UPDATE naive_budgets SET remaining = remaining - $1 WHERE id = $2 AND remaining >= $1",
    )
    .bind(COST)
    .bind(budget)
    .execute(&mut *txn)
    .await?;
    sqlx::query(
        "INSERT INTO naive_ledger (uid, wallet_id, budget_id, amount) VALUES ($1, 1, $2, $3)",
    )
    .bind(Uuid::now_v7())
    .bind(budget)
    .bind(-COST)
    .execute(&mut *txn)
    .await?;
    Ok(txn.commit().await?)
}
