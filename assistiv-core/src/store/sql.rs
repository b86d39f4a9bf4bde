//! The SQL backend, on SQLite.
//!
//! One process owns the database: a lock file beside it keeps a second one out. All writes go
//! through one connection, because SQLite has one writer at a time and its own way of waiting for
//! it is unfair; reads have a pool of their own and see the last committed state. Every transaction
//! that writes takes the write lock when it begins, so that none fails half-way for want of it. A
//! commit is on the disk before it is acknowledged.
//!
//! Statements are portable and lock the rows that they read before they write them, in the order
//! that `docs/ledger.md` gives; on SQLite those locks are nothing, on a database with many writers
//! they are needed.

#[expect(
    unreachable_pub,
    reason = "the derives of an entity need the types beside it to be public"
)]
mod entities;
mod error;
mod events;
mod keys;
mod ledger;
mod llm_configs;
mod lock;
mod migrations;
mod query;
mod settings;
mod tenancy;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sea_orm::sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous};
use sea_orm::{
    AccessMode, ConnectOptions, Database, DatabaseConnection, DatabaseTransaction, DbBackend,
    IsolationLevel, SqliteTransactionMode, TransactionOptions, TransactionTrait,
};

use self::error::failed;
use self::lock::ProcessLock;
use super::{StoreError, Stores};
use crate::clock::{Clock, SystemClock, Timestamp};

/// How long a statement waits for another process's lock on the file, and a caller for a
/// connection.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Statements that each connection keeps prepared.
const PREPARED_STATEMENTS: usize = 256;

/// Where the database is and how it is used.
pub struct SqlOptions {
    path: PathBuf,
    read_connections: u32,
    clock: Arc<dyn Clock>,
}

/// All stores in one SQL database. Clones share it; the last one to go releases the database.
#[derive(Clone)]
pub struct SqlStore(Arc<Inner>);

struct Inner {
    writer: DatabaseConnection,
    reader: DatabaseConnection,
    clock: Arc<dyn Clock>,
    /// Last, so that it is released after the connections are gone.
    _lock: ProcessLock,
}

// === impl SqlOptions ===

impl SqlOptions {
    /// A SQLite database in a file, which is made when it does not exist.
    pub fn sqlite(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            read_connections: 4,
            clock: Arc::new(SystemClock),
        }
    }

    /// Takes the time from `clock` instead of the machine.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// How many connections read at the same time; 4 unless set.
    #[must_use]
    pub fn read_connections(mut self, max: u32) -> Self {
        self.read_connections = max.max(1);
        self
    }

    fn connect(&self, access: Access) -> ConnectOptions {
        // The options are a URL; the path is set below, where no character of it has a meaning.
        let mut options = ConnectOptions::new("sqlite:by-path");
        let path = self.path.clone();
        let connections = match access {
            Access::Write => 1,
            Access::Read => self.read_connections,
        };
        options
            .min_connections(1)
            .max_connections(connections)
            .acquire_timeout(BUSY_TIMEOUT)
            .idle_timeout(None::<Duration>)
            .max_lifetime(None::<Duration>)
            .test_before_acquire(false)
            .sqlx_logging(false)
            .record_stmt_in_spans(false)
            .map_sqlx_sqlite_opts(move |given| {
                let shared = given
                    .filename(&path)
                    .foreign_keys(true)
                    .busy_timeout(BUSY_TIMEOUT)
                    .statement_cache_capacity(PREPARED_STATEMENTS);
                match access {
                    Access::Write => shared
                        .create_if_missing(true)
                        .journal_mode(SqliteJournalMode::Wal)
                        .synchronous(SqliteSynchronous::Full),
                    Access::Read => shared.read_only(true),
                }
            });
        options
    }
}

impl fmt::Debug for SqlOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlOptions")
            .field("path", &self.path)
            .field("read_connections", &self.read_connections)
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Copy)]
enum Access {
    Write,
    Read,
}

// === impl SqlStore ===

impl SqlStore {
    /// Opens the database, makes it if need be, and brings its schema up to date.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the file cannot be opened, when another process uses it, or
    /// when its schema is newer than this program; the source says which.
    pub async fn open(options: SqlOptions) -> Result<Self, StoreError> {
        let lock = ProcessLock::acquire(&options.path)?;
        let writer = Database::connect(options.connect(Access::Write))
            .await
            .map_err(failed)?;
        migrations::migrate(&writer).await?;
        let reader = Database::connect(options.connect(Access::Read))
            .await
            .map_err(failed)?;
        Ok(Self(Arc::new(Inner {
            writer,
            reader,
            clock: options.clock,
            _lock: lock,
        })))
    }

    /// Closes the connections. Acts that follow fail; the process lock goes with the last clone.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn close(&self) -> Result<(), StoreError> {
        self.0.reader.close_by_ref().await.map_err(failed)?;
        self.0.writer.close_by_ref().await.map_err(failed)
    }

    /// This store in every role.
    pub fn stores(&self) -> Stores {
        let this = Arc::new(self.clone());
        Stores {
            tenancy: this.clone(),
            keys: this.clone(),
            llm_configs: this.clone(),
            ledger: this.clone(),
            events: this,
        }
    }

    fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// For reads of a single statement.
    fn reader(&self) -> &DatabaseConnection {
        &self.0.reader
    }

    /// Begins a transaction whose reads all see one state.
    async fn begin_read(&self) -> Result<DatabaseTransaction, StoreError> {
        let options = match self.0.reader.get_database_backend() {
            DbBackend::Sqlite => TransactionOptions {
                sqlite_transaction_mode: Some(SqliteTransactionMode::Deferred),
                ..TransactionOptions::default()
            },
            _ => TransactionOptions {
                isolation_level: Some(IsolationLevel::RepeatableRead),
                access_mode: Some(AccessMode::ReadOnly),
                ..TransactionOptions::default()
            },
        };
        self.0
            .reader
            .begin_with_options(options)
            .await
            .map_err(failed)
    }

    /// Begins a transaction that writes. Dropping it undoes everything.
    async fn begin_write(&self) -> Result<DatabaseTransaction, StoreError> {
        let options = match self.0.writer.get_database_backend() {
            DbBackend::Sqlite => TransactionOptions {
                sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
                ..TransactionOptions::default()
            },
            _ => TransactionOptions {
                isolation_level: Some(IsolationLevel::ReadCommitted),
                ..TransactionOptions::default()
            },
        };
        self.0
            .writer
            .begin_with_options(options)
            .await
            .map_err(failed)
    }
}

impl From<SqlStore> for Stores {
    fn from(store: SqlStore) -> Self {
        store.stores()
    }
}

/// Makes everything that was done in the transaction durable.
async fn commit(txn: DatabaseTransaction) -> Result<(), StoreError> {
    txn.commit().await.map_err(failed)
}

impl fmt::Debug for SqlStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlStore").finish_non_exhaustive()
    }
}
