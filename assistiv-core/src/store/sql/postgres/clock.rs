//! What time it is for the server.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};
use tokio::time::Instant;

use crate::clock::{Clock, Timestamp};

/// How long a setting of the clock counts.
const SET_EVERY: Duration = Duration::from_secs(1);

const NOW: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS now";

/// The server's clock: set by it about once a second, and carried on between by the time that has
/// passed here. The wall clock of this machine has no part in it, so nodes whose clocks differ agree
/// what time it is.
#[derive(Clone)]
pub(super) struct ServerClock(Arc<Inner>);

struct Inner {
    origin: Instant,
    /// The server's time at the origin.
    at_origin: AtomicI64,
    /// Microseconds after the origin when the clock was last set.
    set_at: AtomicI64,
}

// === impl ServerClock ===

impl ServerClock {
    /// A clock that shows the server's time.
    pub(super) async fn set_by(db: &impl ConnectionTrait) -> Result<Self, DbErr> {
        let clock = Self(Arc::new(Inner {
            origin: Instant::now(),
            at_origin: AtomicI64::new(0),
            set_at: AtomicI64::new(0),
        }));
        clock.set(db).await?;
        Ok(clock)
    }

    /// Sets the clock, unless that was done within the last second.
    pub(super) async fn keep(&self, db: &impl ConnectionTrait) -> Result<(), DbErr> {
        let since = self.0.elapsed() - self.0.set_at.load(Ordering::Acquire);
        if since < micros(SET_EVERY) {
            return Ok(());
        }
        self.set(db).await
    }

    async fn set(&self, db: &impl ConnectionTrait) -> Result<(), DbErr> {
        let statement = Statement::from_string(DbBackend::Postgres, NOW);
        let row = db.query_one_raw(statement).await?;
        let row = row.ok_or_else(|| DbErr::RecordNotFound("clock_timestamp".to_owned()))?;
        let now: i64 = row.try_get("", "now")?;
        // As if the answer had taken no time: the clock is never ahead of the server's.
        let elapsed = self.0.elapsed();
        self.0.at_origin.store(now - elapsed, Ordering::Release);
        self.0.set_at.store(elapsed, Ordering::Release);
        Ok(())
    }
}

impl Clock for ServerClock {
    fn now(&self) -> Timestamp {
        let at_origin = self.0.at_origin.load(Ordering::Acquire);
        Timestamp::from_micros(at_origin + self.0.elapsed())
    }
}

impl Inner {
    fn elapsed(&self) -> i64 {
        micros(self.origin.elapsed())
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
