//! Events, in the order in which they are read.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use async_trait::async_trait;

use super::MemoryStore;
use crate::auth::SweeperScope;
use crate::clock::Timestamp;
use crate::events::{Event, EventCursor, EventStore, OperatorEvent, oldest_kept};
use crate::store::StoreError;

/// What was told, by time and the text of the id.
#[derive(Default)]
pub(super) struct Outbox {
    events: BTreeMap<(Timestamp, String), Event>,
    /// Which of them no webhook has deliveries of yet.
    new: BTreeSet<(Timestamp, String)>,
}

// === impl Outbox ===

impl Outbox {
    pub(super) fn add(&mut self, events: impl IntoIterator<Item = Event>) {
        for event in events {
            let place = (event.created_at, event.id.to_string());
            self.new.insert(place.clone());
            self.events.insert(place, event);
        }
    }

    /// Adds an event unless it was told before.
    pub(super) fn add_once(&mut self, event: Event) {
        if !self.events.values().any(|told| told.id == event.id) {
            self.add([event]);
        }
    }

    /// The oldest events that were not fanned out, which they are from here on.
    pub(super) fn take_new(&mut self, most: u32) -> Vec<Event> {
        let most = most as usize;
        let places = std::iter::from_fn(|| self.new.pop_first()).take(most);
        places
            .filter_map(|place| self.events.get(&place).cloned())
            .collect()
    }

    pub(super) fn len(&self) -> u64 {
        self.events.len() as u64
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
        let later = state.books.outbox.events.range((after, Bound::Unbounded));
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
        let Outbox { events, new } = &mut state.books.outbox;
        let oldest = (oldest, String::new());
        *new = new.split_off(&oldest);
        let kept = events.split_off(&oldest);
        let pruned = std::mem::replace(events, kept);
        Ok(pruned.len() as u64)
    }
}
