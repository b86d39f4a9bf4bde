//! Turns on threads: one response of a thread is written at a time.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::ResponseError;
use super::keeper::Keeper;
use super::store::{NewTurn, ResponseId};
use crate::auth::CallerScope;
use crate::clock::Timestamp;

/// How long a turn lasts at most: longer than any call. Only that of a node that died lasts so long.
const TURN_MAX: Duration = Duration::from_secs(15 * 60);
/// How long a turn that is about to end is waited for.
const PATIENCE: Duration = Duration::from_secs(1);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// A turn on a thread. It ends when this is dropped, after the response was stored.
pub(crate) struct ThreadTurn {
    keeper: Arc<Keeper>,
    id: ResponseId,
}

// === impl ThreadTurn ===

impl ThreadTurn {
    /// Begins a turn of the response `id`.
    pub(super) async fn begin(
        keeper: &Arc<Keeper>,
        scope: &CallerScope,
        thread: &str,
        id: ResponseId,
    ) -> Result<Self, ResponseError> {
        let until = Instant::now() + PATIENCE;
        // Made first: where it is not known whether the turn has begun, it is ended all the same.
        let this = Self {
            keeper: keeper.clone(),
            id,
        };
        loop {
            let now = keeper.clock.now();
            let span = i64::try_from(TURN_MAX.as_micros()).unwrap_or(i64::MAX);
            let turn = NewTurn {
                thread: thread.to_owned(),
                id,
                now,
                until: Timestamp::from_micros(now.as_micros().saturating_add(span)),
            };
            if keeper.store.begin_turn(scope, &turn).await? {
                return Ok(this);
            }
            if Instant::now() >= until {
                return Err(ResponseError::ThreadBusy);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

impl Drop for ThreadTurn {
    fn drop(&mut self) {
        self.keeper.turn_ended(self.id);
    }
}

impl fmt::Debug for ThreadTurn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ThreadTurn").field(&self.id).finish()
    }
}
