//! How the database is opened when it is on a PostgreSQL server.

mod clock;
mod connect;
mod lanes;
mod listen;
#[cfg(test)]
mod tests;
mod verify;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use sea_orm::{ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbErr};
use secrecy::SecretString;
use sqlx::postgres::PgConnectOptions;

use self::clock::ServerClock;
use self::connect::Role;
use self::lanes::LaneSession;
use self::listen::Listener;
use super::error::failed;
use super::{Backend, Inner, LogDatabase, SqlStore, migrations};
use crate::clock::Clock;
use crate::store::StoreError;

/// The key of the advisory lock under which a schema is brought up to date: "assistdb" in ASCII.
const MIGRATION_LOCK: i64 = 0x6173_7369_7374_6462;

/// How many sessions each pool has at most.
#[derive(Clone, Copy)]
pub(super) struct PoolSizes {
    write: u32,
    read: u32,
}

/// What is PostgreSQL's own.
pub(super) struct Server {
    /// None where the time was given.
    clock: Option<ServerClock>,
    settle: LaneSession,
    lease: LaneSession,
    listener: Listener,
}

// === impl PoolSizes ===

impl PoolSizes {
    pub(super) fn new(write: Option<u32>, read: Option<u32>) -> Self {
        Self {
            write: write.unwrap_or(8),
            read: read.unwrap_or(8),
        }
    }
}

// === impl Server ===

impl Server {
    /// Sets the clock by the server's, if that was not done lately.
    pub(super) async fn keep_time(&self, txn: &DatabaseTransaction) -> Result<(), StoreError> {
        match &self.clock {
            Some(clock) => clock.keep(txn).await.map_err(failed),
            None => Ok(()),
        }
    }

    /// Waits until something may have been changed, or somebody may have left a message.
    pub(super) async fn news(&self) -> crate::store::News {
        self.listener.news().await
    }

    /// Ends the sessions that are in no pool.
    pub(super) async fn close(&self) {
        self.settle.close().await;
        self.lease.close().await;
        self.listener.close().await;
    }
}

/// Connects, checks that the server keeps what it acknowledges, and brings the schema up to date.
pub(super) async fn open(
    url: &SecretString,
    pools: PoolSizes,
    clock: Option<Arc<dyn Clock>>,
) -> Result<SqlStore, StoreError> {
    let options = connect::parse(url)?;
    verify::verify(&options).await?;
    migrate(&options).await?;
    let writer = connect::pool(&options, Role::Write, pools.write).await?;
    let reader = connect::pool(&options, Role::Read, pools.read).await?;
    let (clock, server_clock): (Arc<dyn Clock>, _) = match clock {
        Some(given) => (given, None),
        None => {
            let server = ServerClock::set_by(&reader).await.map_err(failed)?;
            (Arc::new(server.clone()), Some(server))
        }
    };
    let logs = LogDatabase {
        writer: writer.clone(),
        reader: reader.clone(),
    };
    Ok(SqlStore(Arc::new(Inner {
        writer,
        reader,
        logs,
        clock,
        rate_counters: Arc::default(),
        retries: AtomicU64::new(0),
        backend: Backend::Postgres(Box::new(Server {
            clock: server_clock,
            settle: LaneSession::new(&options, Role::Settle),
            lease: LaneSession::new(&options, Role::Lease),
            listener: Listener::new(&options),
        })),
    })))
}

/// What stands against a server; changes nothing.
pub(super) async fn problems(url: &SecretString) -> Result<Vec<String>, StoreError> {
    verify::problems(&connect::parse(url)?).await
}

/// Connects for reading alone.
pub(super) async fn open_read_only(url: &SecretString) -> Result<SqlStore, StoreError> {
    let options = connect::parse(url)?;
    let reader = connect::pool(&options, Role::Read, 2).await?;
    let clock = ServerClock::set_by(&reader).await.map_err(failed)?;
    Ok(SqlStore(Arc::new(Inner {
        writer: reader.clone(),
        reader: reader.clone(),
        logs: LogDatabase {
            writer: reader.clone(),
            reader,
        },
        clock: Arc::new(clock.clone()),
        rate_counters: Arc::default(),
        retries: AtomicU64::new(0),
        backend: Backend::Postgres(Box::new(Server {
            clock: Some(clock),
            settle: LaneSession::new(&options, Role::Read),
            lease: LaneSession::new(&options, Role::Read),
            listener: Listener::new(&options),
        })),
    })))
}

/// Brings the schema up to date, one node after the other: several may start at once.
async fn migrate(options: &PgConnectOptions) -> Result<(), StoreError> {
    let session = connect::pool(options, Role::Migrate, 1).await?;
    let migrated = match lock(&session).await {
        Ok(()) => match migrations::migrate(&session).await {
            Ok(()) => migrations::migrate_logs(&session).await,
            failed => failed,
        },
        Err(error) => Err(failed(error)),
    };
    // The lock goes with the session.
    session.close().await.map_err(failed)?;
    migrated
}

async fn lock(session: &DatabaseConnection) -> Result<(), DbErr> {
    let take = format!("SELECT pg_advisory_lock({MIGRATION_LOCK})");
    session.execute_unprepared(&take).await.map(drop)
}
