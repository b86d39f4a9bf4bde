//! Sessions, by what they are for.

use std::time::Duration;

use sea_orm::{ConnectOptions, Database, DatabaseConnection};
use secrecy::{ExposeSecret, SecretString};
use sqlx::ConnectOptions as _;
use sqlx::postgres::PgConnectOptions;

use super::super::error::failed;
use crate::store::StoreError;

/// How long a caller waits for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// Connections that were not used for so long are tested before they are used again.
const TEST_AFTER: Duration = Duration::from_secs(1);

/// Unused connections beyond one are closed after this time.
const IDLE_TIMEOUT: Duration = Duration::from_secs(600);

/// What a session is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Lane A: open records, checkpoints, settlements.
    Settle,
    /// Lane B: grants and returns.
    Lease,
    /// Acts, sweeps, resets.
    Write,
    /// Snapshots.
    Read,
    /// Waiting for news.
    Listen,
    /// Bringing the schema up to date.
    Migrate,
}

/// The address of the database is no URL that can be used.
#[derive(Debug, thiserror::Error)]
#[error(
    "the database URL cannot be used: {reason}; it looks like postgres://user:password@host:5432/name"
)]
struct BadUrl {
    reason: String,
}

// === impl Role ===

impl Role {
    /// The name that the server's lists of sessions show.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Settle => "assistiv lane A",
            Self::Lease => "assistiv lane B",
            Self::Write => "assistiv acts",
            Self::Read => "assistiv reads",
            Self::Listen => "assistiv news",
            Self::Migrate => "assistiv schema",
        }
    }

    /// What is set when the session begins.
    pub(super) fn settings(self) -> &'static str {
        match self {
            // Lanes have one plan for each statement, made for tables of any size. They wait for
            // locks only while a sweep or an act has them, and a batch that takes longer is asked
            // after and sent again.
            Self::Settle => {
                "SET default_transaction_isolation = 'read committed';
                 SET enable_seqscan = off;
                 SET jit = off;
                 SET plan_cache_mode = force_generic_plan;
                 SET lock_timeout = '1s';
                 SET statement_timeout = '5s';
                 SET idle_in_transaction_session_timeout = '2s';
                 SET tcp_user_timeout = '5s';
                 SET tcp_keepalives_idle = '5s'"
            }
            Self::Lease => {
                "SET default_transaction_isolation = 'read committed';
                 SET enable_seqscan = off;
                 SET jit = off;
                 SET plan_cache_mode = force_generic_plan;
                 SET lock_timeout = '250ms';
                 SET statement_timeout = '5s';
                 SET idle_in_transaction_session_timeout = '2s';
                 SET tcp_user_timeout = '5s';
                 SET tcp_keepalives_idle = '5s'"
            }
            // A server that does not hear from a node any more ends its transactions, and with them
            // its locks.
            Self::Write => {
                "SET default_transaction_isolation = 'read committed';
                 SET jit = off;
                 SET lock_timeout = '4s';
                 SET statement_timeout = '30s';
                 SET idle_in_transaction_session_timeout = '10s';
                 SET tcp_user_timeout = '5s'"
            }
            Self::Read => {
                "SET default_transaction_isolation = 'repeatable read';
                 SET default_transaction_read_only = on;
                 SET jit = off;
                 SET statement_timeout = '5min';
                 SET idle_in_transaction_session_timeout = '30s';
                 SET tcp_user_timeout = '5s'"
            }
            Self::Listen => "",
            // Changes to large tables and waiting for another node that makes them take their time.
            Self::Migrate => {
                "SET lock_timeout = 0;
                 SET statement_timeout = 0;
                 SET idle_in_transaction_session_timeout = 0"
            }
        }
    }
}

/// Reads the URL of a database.
pub(super) fn parse(url: &SecretString) -> Result<PgConnectOptions, StoreError> {
    let url = url.expose_secret();
    let bad = |reason: String| StoreError::unavailable(BadUrl { reason });
    let scheme = url.split("://").next();
    if !matches!(scheme, Some("postgres" | "postgresql")) {
        return Err(bad("it does not begin with postgres://".to_owned()));
    }
    let options: PgConnectOptions = url.parse().map_err(|error: sqlx::Error| {
        // Nothing of the URL itself: it may have a password in it.
        bad(error.to_string())
    })?;
    // Poolers refuse what they do not know, and no float is read.
    Ok(options.extra_float_digits(None).disable_statement_logging())
}

/// Connects a pool of sessions.
pub(super) async fn pool(
    options: &PgConnectOptions,
    role: Role,
    max: u32,
) -> Result<DatabaseConnection, StoreError> {
    // The options are a URL; those that count are set below.
    let mut connect = ConnectOptions::new("postgres://by-options");
    let options = options.clone().application_name(role.name());
    connect
        .min_connections(1)
        .max_connections(max)
        .connect_timeout(ACQUIRE_TIMEOUT)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .idle_timeout(IDLE_TIMEOUT)
        .max_lifetime(None::<Duration>)
        .test_before_acquire_if_idle_for(TEST_AFTER)
        .sqlx_logging(false)
        .record_stmt_in_spans(false)
        .map_sqlx_postgres_opts(move |_| options.clone())
        .map_sqlx_postgres_pool_opts(move |pool| {
            pool.after_connect(move |session, _| {
                Box::pin(async move {
                    sqlx::raw_sql(role.settings()).execute(session).await?;
                    Ok(())
                })
            })
        });
    Database::connect(connect).await.map_err(failed)
}
