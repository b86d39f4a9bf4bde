//! How the database is opened when it is a SQLite file.

mod lock;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use sea_orm::sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous};
use sea_orm::{ConnectOptions, Database, DatabaseConnection};

pub(super) use self::lock::ProcessLock;
use super::error::failed;
use super::{Backend, Inner, LogDatabase, SqlStore, migrations};
use crate::clock::{Clock, SystemClock};
use crate::store::StoreError;

/// How long a statement waits for another process's lock on the file, and a caller for a
/// connection.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Statements that each connection keeps prepared.
const PREPARED_STATEMENTS: usize = 256;

/// Connections that read at the same time.
const READ_CONNECTIONS: u32 = 4;

#[derive(Clone, Copy)]
enum Access {
    Write(SqliteSynchronous),
    Read,
}

/// Opens the file, or makes it, and brings its schema up to date.
pub(super) async fn open(
    path: PathBuf,
    read_connections: Option<u32>,
    clock: Option<Arc<dyn Clock>>,
) -> Result<SqlStore, StoreError> {
    let lock = ProcessLock::acquire(&path)?;
    let writer = connect(&path, Access::Write(SqliteSynchronous::Full), 1).await?;
    migrations::migrate(&writer).await?;
    let readers = read_connections.unwrap_or(READ_CONNECTIONS);
    let reader = connect(&path, Access::Read, readers).await?;
    let path = log_path(&path);
    // A power cut may take the last rows along; they are written again from the ledger.
    let log_writer = connect(&path, Access::Write(SqliteSynchronous::Normal), 1).await?;
    migrations::migrate_logs(&log_writer).await?;
    let logs = LogDatabase {
        writer: log_writer,
        reader: connect(&path, Access::Read, readers).await?,
    };
    Ok(SqlStore(Arc::new(Inner {
        writer,
        reader,
        logs,
        clock: clock.unwrap_or_else(|| Arc::new(SystemClock)),
        rate_counters: Arc::default(),
        retries: AtomicU64::new(0),
        backend: Backend::Sqlite { _lock: Some(lock) },
    })))
}

/// The database of the request log, beside the main one: `assistiv-logs.db` for `assistiv.db`.
fn log_path(path: &Path) -> PathBuf {
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push("-logs");
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}

/// Opens the file and the request log beside it without changing anything, whoever uses them; says
/// whether somebody does.
pub(super) async fn open_read_only(path: PathBuf) -> Result<(SqlStore, bool), StoreError> {
    // The driver would make up an empty database.
    for path in [&path, &log_path(&path)] {
        std::fs::metadata(path).map_err(StoreError::unavailable)?;
    }
    let is_in_use = lock::is_held(&path);
    let reader = connect(&path, Access::Read, READ_CONNECTIONS).await?;
    let log_reader = connect(&log_path(&path), Access::Read, READ_CONNECTIONS).await?;
    let store = SqlStore(Arc::new(Inner {
        writer: reader.clone(),
        reader,
        logs: LogDatabase {
            writer: log_reader.clone(),
            reader: log_reader,
        },
        clock: Arc::new(SystemClock),
        rate_counters: Arc::default(),
        retries: AtomicU64::new(0),
        backend: Backend::Sqlite { _lock: None },
    }));
    Ok((store, is_in_use))
}

async fn connect(
    path: &Path,
    access: Access,
    connections: u32,
) -> Result<DatabaseConnection, StoreError> {
    // The options are a URL; the path is set below, where no character of it has a meaning.
    let mut options = ConnectOptions::new("sqlite:by-path");
    let path = path.to_owned();
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
                Access::Write(synchronous) => shared
                    .create_if_missing(true)
                    .journal_mode(SqliteJournalMode::Wal)
                    .synchronous(synchronous),
                Access::Read => shared.read_only(true),
            }
        });
    Database::connect(options).await.map_err(failed)
}
