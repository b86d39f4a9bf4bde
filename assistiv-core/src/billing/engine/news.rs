//! What operators must hear of, until the database has it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::auth::SweeperScope;
use crate::events::{EventStore, OperatorEvent};

/// More than that while the database is away are told through `tracing` alone.
const WAITING_MAX: usize = 1_000;
const PAUSE: Duration = Duration::from_secs(1);

/// What waits to be written.
#[derive(Default)]
pub(super) struct News {
    waiting: Mutex<VecDeque<OperatorEvent>>,
    rung: Notify,
}

// === impl News ===

impl News {
    /// Never waits, and never fails.
    pub(super) fn tell(&self, event: OperatorEvent) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() < WAITING_MAX {
            waiting.push_back(event);
            self.rung.notify_one();
        }
    }

    fn next(&self) -> Option<OperatorEvent> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.pop_front()
    }

    fn put_back(&self, event: OperatorEvent) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.push_front(event);
    }

    /// Writes what waits; says whether nothing is left.
    async fn write(&self, events: &dyn EventStore) -> bool {
        while let Some(event) = self.next() {
            let scope = SweeperScope::engine();
            if let Err(error) = events.tell_operators(&scope, &event).await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "an event for operators waits for the database"
                );
                self.put_back(event);
                return false;
            }
        }
        true
    }
}

/// Runs until the engine closes.
pub(super) async fn run(events: Arc<dyn EventStore>, news: Arc<News>, closing: CancellationToken) {
    loop {
        let is_written = news.write(&*events).await;
        tokio::select! {
            () = closing.cancelled() => break,
            () = news.rung.notified(), if is_written => {}
            () = tokio::time::sleep(PAUSE), if !is_written => {}
        }
    }
    let _all = news.write(&*events).await;
}
