//! The two lanes of a node: each one prepared statement, on a session of its own.
//!
//! A statement is a transaction, and its first effect is to take the number of its batch; everything
//! else in it happens only where that has happened. So a batch applies whole and once, or not at all,
//! in one way to the server and back.
//!
//! No statement joins a table: rows come out of arrays and go in by upserts, or are found by a key.
//! So there is but one plan for each, which is as good for a large table as for an empty one, and it
//! is made once.

mod lease;
mod rows;
mod settle;
#[cfg(test)]
mod tests;

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions as _, Connection};
use tokio::sync::Mutex;

use super::connect::Role;
use crate::store::StoreError;
use crate::store::sql::error::corrupt;

/// How long a session may take to begin.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a batch may take: somewhat longer than the server lets it.
const BATCH_TIMEOUT: Duration = Duration::from_secs(6);

/// One session, for one batch at a time.
pub(super) struct LaneSession {
    options: PgConnectOptions,
    role: Role,
    session: Mutex<Option<PgConnection>>,
}

#[derive(Debug, thiserror::Error)]
#[error("the database did not answer in time")]
struct TimedOut;

// === impl LaneSession ===

impl LaneSession {
    pub(super) fn new(options: &PgConnectOptions, role: Role) -> Self {
        Self {
            options: options.clone().application_name(role.name()),
            role,
            session: Mutex::new(None),
        }
    }

    /// Runs a batch's statement. After an error, or when the caller leaves, the session is gone: what
    /// became of the batch is asked on another one.
    async fn run<T>(
        &self,
        statement: impl AsyncFnOnce(&mut PgConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, StoreError> {
        let mut place = self.session.lock().await;
        let mut session = match place.take() {
            Some(session) => session,
            None => in_time(CONNECT_TIMEOUT, self.connect()).await?,
        };
        let done = in_time(BATCH_TIMEOUT, statement(&mut session)).await?;
        *place = Some(session);
        Ok(done)
    }

    async fn connect(&self) -> Result<PgConnection, sqlx::Error> {
        let mut session = self.options.connect().await?;
        sqlx::raw_sql(self.role.settings())
            .execute(&mut session)
            .await?;
        Ok(session)
    }

    /// Ends the session.
    pub(super) async fn close(&self) {
        if let Some(session) = self.session.lock().await.take() {
            // It has nothing to lose.
            let _ = session.close().await;
        }
    }
}

async fn in_time<T>(
    timeout: Duration,
    work: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, StoreError> {
    match tokio::time::timeout(timeout, work).await {
        Ok(done) => done.map_err(failed),
        Err(_) => Err(StoreError::unavailable(TimedOut)),
    }
}

/// How an error of a lane's statement is the store's. Locks that were not given in time and
/// deadlocks leave the batch to be sent again; a value that the database refuses it refuses always.
fn failed(error: sqlx::Error) -> StoreError {
    let code = error
        .as_database_error()
        .and_then(|error| error.code())
        .map(|code| code.into_owned());
    match code.as_deref() {
        // Of all that is inserted only entries may be there already.
        Some("23505") => StoreError::Conflict("ledger entry"),
        Some("22003") => corrupt("an account left its range"),
        Some(code) if code.starts_with("22") || code.starts_with("23") => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "a batch is refused"
            );
            corrupt("a value of a batch")
        }
        _ => StoreError::unavailable(error),
    }
}
