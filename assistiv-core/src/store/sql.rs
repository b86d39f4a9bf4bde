//! The SQL backend, on SQLite and on PostgreSQL.
//!
//! On SQLite one process owns the database: a lock file beside it keeps a second one out. All
//! writes go through one connection, because SQLite has one writer at a time and its own way of
//! waiting for it is unfair; reads have a pool of their own and see the last committed state. Every
//! transaction that writes takes the write lock when it begins, so that none fails half-way for
//! want of it. A commit is on the disk before it is acknowledged.
//!
//! On PostgreSQL several processes share the database. Acts, sweeps and resets have a pool of
//! sessions, reads another one whose transactions are snapshots, and each lane of a node has a
//! session of its own. The database must be one that keeps what it has acknowledged; one that does
//! not is refused when it is opened.
//!
//! Statements are portable and lock the rows that they read before they write them, in the order
//! that `docs/ledger.md` gives; on SQLite those locks are nothing, with many writers they are
//! needed.

mod audit;
mod changes;
#[expect(
    unreachable_pub,
    reason = "the derives of an entity need the types beside it to be public"
)]
mod entities;
mod error;
mod events;
mod inspect;
mod keys;
mod ledger;
mod llm_configs;
mod logs;
mod migrations;
mod model_routes;
#[cfg(feature = "postgres")]
mod postgres;
mod prices;
mod query;
#[cfg(feature = "postgres")]
mod rate_counters;
mod rate_limits;
mod recon;
mod responses;
mod retry;
mod settings;
#[cfg(feature = "sqlite")]
mod sqlite;
mod tenancy;
#[cfg(test)]
mod tests;
mod webhooks;

use std::fmt;
#[cfg(feature = "sqlite")]
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use sea_orm::{
    DatabaseConnection, DatabaseTransaction, DbBackend, SqliteTransactionMode, TransactionOptions,
    TransactionTrait,
};
#[cfg(feature = "postgres")]
use secrecy::SecretString;

pub use self::inspect::{Inspection, SchemaState};

use self::error::failed;
use super::{StoreError, Stores};
use crate::clock::{Clock, Timestamp};
use crate::limits::{MemoryCounters, RateCounters};

/// Where the database is and how it is used.
pub struct SqlOptions {
    target: Target,
    read_connections: Option<u32>,
    #[cfg(feature = "postgres")]
    write_connections: Option<u32>,
    clock: Option<Arc<dyn Clock>>,
}

enum Target {
    #[cfg(feature = "sqlite")]
    Sqlite(PathBuf),
    #[cfg(feature = "postgres")]
    Postgres(SecretString),
}

/// All stores in one SQL database. Clones share it; the last one to go releases the database.
#[derive(Clone)]
pub struct SqlStore(Arc<Inner>);

struct Inner {
    writer: DatabaseConnection,
    reader: DatabaseConnection,
    logs: LogDatabase,
    clock: Arc<dyn Clock>,
    /// Where no other process counts.
    rate_counters: Arc<MemoryCounters>,
    /// Acts that were tried again.
    retries: AtomicU64,
    /// Last, so that it is released after the connections are gone.
    #[cfg_attr(
        not(feature = "postgres"),
        expect(dead_code, reason = "SQLite's part is only held")
    )]
    backend: Backend,
}

/// Where the request log is: on SQLite in a file of its own, so that it does not share the commits of
/// money; else on the connections of everything.
struct LogDatabase {
    writer: DatabaseConnection,
    reader: DatabaseConnection,
}

/// What only one of the databases has.
enum Backend {
    #[cfg(feature = "sqlite")]
    Sqlite {
        /// None for who only reads.
        _lock: Option<sqlite::ProcessLock>,
    },
    #[cfg(feature = "postgres")]
    Postgres(Box<postgres::Server>),
}

// === impl SqlOptions ===

impl SqlOptions {
    /// A SQLite database in a file, which is made when it does not exist.
    #[cfg(feature = "sqlite")]
    pub fn sqlite(path: impl Into<PathBuf>) -> Self {
        Self::new(Target::Sqlite(path.into()))
    }

    /// A database of a PostgreSQL server, version 13 or newer: `postgres://user:password@host/name`.
    ///
    /// The connection must be direct or through a pooler that keeps sessions. A pooler that hands a
    /// session on after each transaction is refused.
    #[cfg(feature = "postgres")]
    pub fn postgres(url: impl Into<SecretString>) -> Self {
        Self::new(Target::Postgres(url.into()))
    }

    fn new(target: Target) -> Self {
        Self {
            target,
            read_connections: None,
            #[cfg(feature = "postgres")]
            write_connections: None,
            clock: None,
        }
    }

    /// Takes the time from `clock`. Unless set it is the machine's on SQLite, and the server's on
    /// PostgreSQL: there several nodes must agree what time it is.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// How many connections read at the same time; 4 on SQLite and 8 on PostgreSQL unless set.
    #[must_use]
    pub fn read_connections(mut self, max: u32) -> Self {
        self.read_connections = Some(max.max(1));
        self
    }

    /// How many connections to PostgreSQL run acts, sweeps and resets at the same time; 8 unless
    /// set. The two lanes have one more each. On SQLite one connection writes.
    #[cfg(feature = "postgres")]
    #[must_use]
    pub fn write_connections(mut self, max: u32) -> Self {
        self.write_connections = Some(max.max(1));
        self
    }
}

impl fmt::Debug for SqlOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("SqlOptions");
        match &self.target {
            #[cfg(feature = "sqlite")]
            Target::Sqlite(path) => debug.field("path", path),
            // The URL may have a password in it.
            #[cfg(feature = "postgres")]
            Target::Postgres(_) => debug.field("postgres", &".."),
        };
        debug
            .field("read_connections", &self.read_connections)
            .finish_non_exhaustive()
    }
}

// === impl SqlStore ===

impl SqlStore {
    /// Opens the database and brings its schema up to date. A SQLite file is made if need be.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database cannot be opened, when its schema is newer than
    /// this program, when another process uses the file, or when the server could lose what it has
    /// acknowledged; the source says which, and what to do.
    pub async fn open(options: SqlOptions) -> Result<Self, StoreError> {
        match options.target {
            #[cfg(feature = "sqlite")]
            Target::Sqlite(path) => {
                sqlite::open(path, options.read_connections, options.clock).await
            }
            #[cfg(feature = "postgres")]
            Target::Postgres(url) => {
                let pools =
                    postgres::PoolSizes::new(options.write_connections, options.read_connections);
                postgres::open(&url, pools, options.clock).await
            }
        }
    }

    /// Closes the connections. Acts that follow fail; the process lock goes with the last clone.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn close(&self) -> Result<(), StoreError> {
        #[cfg(feature = "postgres")]
        if let Some(server) = self.server() {
            server.close().await;
        }
        self.0.logs.reader.close_by_ref().await.map_err(failed)?;
        self.0.logs.writer.close_by_ref().await.map_err(failed)?;
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
            model_routes: this.clone(),
            rate_limits: this.clone(),
            rate_counters: self.rate_counters(),
            ledger: this.clone(),
            prices: this.clone(),
            recon: this.clone(),
            logs: this.clone(),
            responses: this.clone(),
            events: this.clone(),
            webhooks: this.clone(),
            audit: this.clone(),
            changes: this,
        }
    }

    /// In the database where others count, too.
    fn rate_counters(&self) -> Arc<dyn RateCounters> {
        #[cfg(feature = "postgres")]
        if self.is_shared() {
            return Arc::new(self.clone());
        }
        self.0.rate_counters.clone()
    }

    fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// Only one process has a file; any number may have a server.
    fn is_shared(&self) -> bool {
        self.reader().get_database_backend() != DbBackend::Sqlite
    }

    /// What is PostgreSQL's own, where the database is there.
    #[cfg(feature = "postgres")]
    fn server(&self) -> Option<&postgres::Server> {
        match &self.0.backend {
            #[cfg(feature = "sqlite")]
            Backend::Sqlite { .. } => None,
            Backend::Postgres(server) => Some(server),
        }
    }

    /// For reads of a single statement.
    fn reader(&self) -> &DatabaseConnection {
        &self.0.reader
    }

    /// Begins a transaction whose reads all see one state.
    async fn begin_read(&self) -> Result<DatabaseTransaction, StoreError> {
        self.begin(&self.0.reader, SqliteTransactionMode::Deferred)
            .await
    }

    /// Begins a transaction that writes. Dropping it undoes everything.
    async fn begin_write(&self) -> Result<DatabaseTransaction, StoreError> {
        self.begin(&self.0.writer, SqliteTransactionMode::Immediate)
            .await
    }

    /// For reads of the request log, of a single statement.
    fn log_reader(&self) -> &DatabaseConnection {
        &self.0.logs.reader
    }

    /// Begins a transaction on the request log whose reads all see one state.
    async fn begin_log_read(&self) -> Result<DatabaseTransaction, StoreError> {
        self.begin(&self.0.logs.reader, SqliteTransactionMode::Deferred)
            .await
    }

    /// Begins a transaction that writes to the request log.
    async fn begin_log_write(&self) -> Result<DatabaseTransaction, StoreError> {
        self.begin(&self.0.logs.writer, SqliteTransactionMode::Immediate)
            .await
    }

    async fn begin(
        &self,
        db: &DatabaseConnection,
        sqlite: SqliteTransactionMode,
    ) -> Result<DatabaseTransaction, StoreError> {
        // On PostgreSQL the sessions of either pool have their isolation level from the start.
        let options = TransactionOptions {
            sqlite_transaction_mode: (db.get_database_backend() == DbBackend::Sqlite)
                .then_some(sqlite),
            ..TransactionOptions::default()
        };
        let txn = db.begin_with_options(options).await.map_err(failed)?;
        #[cfg(feature = "postgres")]
        if let Some(server) = self.server() {
            server.keep_time(&txn).await?;
        }
        Ok(txn)
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
