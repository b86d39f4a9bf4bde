//! Events, in the order in which they are read.

use std::collections::BTreeMap;
use std::ops::Bound;

use async_trait::async_trait;

use super::MemoryStore;
use crate::auth::SweeperScope;
use crate::clock::Timestamp;
use crate::events::{Event, EventCursor, EventStore, OperatorEvent, oldest_kept};
use crate::store::StoreError;

/// What was told, by time and the text of the id.
#[derive(Default)]
pub(super) struct Outbox(BTreeMap<(Timestamp, String), Event>);

// === impl Outbox ===

impl Outbox {
    pub(super) fn add(&mut self, events: impl IntoIterator<Item = Event>) {
        for event in events {
            let place = (event.created_at, event.id.to_string());
            self.0.insert(place, event);
        }
    }

    /// Adds an event unless it was told before.
    pub(super) fn add_once(&mut self, event: Event) {
        if !self.0.values().any(|told| told.id == event.id) {
            self.add([event]);
        }
    }

    pub(super) fn len(&self) -> u64 {
        self.0.len() as u64
    }
}

#[async_trait]
impl EventStore for MemoryStore {
    async fn events(
        &self,
        _scope: &SweeperScope,
        after: Option<EventCursor>,
        most: u32,
    ) -> Result<Vec<Event>, StoreError> {
        let place = after.map(|cursor| (cursor.created_at, cursor.id.to_string()));
        let after = place.map_or(Bound::Unbounded, Bound::Excluded);
        let state = self.lock();
        let later = state.books.outbox.0.range((after, Bound::Unbounded));
        Ok(later
            .take(most as usize)
            .map(|(_, event)| event.clone())
            .collect())
    }

    async fn tell_operators(
        &self,
        _scope: &SweeperScope,
        event: &OperatorEvent,
    ) -> Result<(), StoreError> {
        let event = event.at(self.now());
        self.lock().books.outbox.add_once(event);
        Ok(())
    }

    async fn prune_events(&self, _scope: &SweeperScope) -> Result<u64, StoreError> {
        let oldest = oldest_kept(self.now());
        let mut state = self.lock();
        let events = &mut state.books.outbox.0;
        let kept = events.split_off(&(oldest, String::new()));
        let pruned = std::mem::replace(events, kept);
        Ok(pruned.len() as u64)
    }
}
