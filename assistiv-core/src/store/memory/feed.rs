//! What was changed lately, for gateways that share a store.

use std::collections::VecDeque;

use async_trait::async_trait;

use super::{MemoryStore, State};
use crate::auth::SweeperScope;
use crate::clock::Timestamp;
use crate::id::PlatformId;
use crate::store::{Change, ChangeFeed, Changed, News, StoreError};

/// How long a change is shown, in microseconds.
const SHOWN: i64 = 60_000_000;

/// Changes that are shown at the most, when the clock stands still.
const SHOWN_MAX: usize = 100_000;

/// The changes that are still shown, oldest first.
#[derive(Default)]
pub(super) struct Changes {
    last: i64,
    shown: VecDeque<(Timestamp, Change)>,
}

#[async_trait]
impl ChangeFeed for MemoryStore {
    fn is_shared(&self) -> bool {
        self.is_shared
    }

    async fn recent(&self, _: &SweeperScope) -> Result<Vec<Change>, StoreError> {
        let now = self.now();
        let mut state = self.lock();
        state.changes.forget_before(now);
        let shown = state.changes.shown.iter();
        Ok(shown.map(|(_, change)| *change).collect())
    }

    async fn news(&self) -> News {
        self.changed.notified().await;
        News {
            changes: true,
            messages: false,
        }
    }
}

// === impl MemoryStore ===

impl MemoryStore {
    /// Tells the other gateways what an act has changed, which holds the lock.
    pub(super) fn tell(&self, state: &mut State, platform: PlatformId, what: Changed) {
        if self.is_shared {
            state.changes.push(platform, what, self.now());
            self.changed.notify_waiters();
        }
    }
}

// === impl Changes ===

impl Changes {
    fn push(&mut self, platform: PlatformId, what: Changed, now: Timestamp) {
        self.forget_before(now);
        if self.shown.len() == SHOWN_MAX {
            self.shown.pop_front();
        }
        self.last += 1;
        let change = Change {
            seq: self.last,
            platform,
            what,
        };
        self.shown.push_back((now, change));
    }

    fn forget_before(&mut self, now: Timestamp) {
        let old = |at: Timestamp| at.as_micros() <= now.as_micros().saturating_sub(SHOWN);
        while self.shown.front().is_some_and(|(at, _)| old(*at)) {
            self.shown.pop_front();
        }
    }
}
