//! Responses, by id.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{MutexGuard, PoisonError};

use async_trait::async_trait;

use super::MemoryStore;
use crate::auth::{CallerScope, SweeperScope};
use crate::clock::Timestamp;
use crate::id::{EndUserId, PlatformId};
use crate::responses::{Keep, NewTurn, ResponseId, ResponseStore, StoredResponse};
use crate::store::StoreError;

/// What is stored of responses. It has a mutex of its own: nobody waits for it who moves money.
#[derive(Default)]
pub(super) struct Shelf {
    responses: BTreeMap<ResponseId, StoredResponse>,
    turns: HashMap<Thread, (ResponseId, Timestamp)>,
}

type Thread = (PlatformId, Option<EndUserId>, String);

impl MemoryStore {
    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.responses
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets the responses of a platform, or of one of its end users.
    pub(super) fn forget_responses(&self, platform: PlatformId, end_user: Option<EndUserId>) {
        self.shelf().responses.retain(|_, row| {
            row.platform_id != platform || (end_user.is_some() && row.end_user_id != end_user)
        });
    }
}

#[async_trait]
impl ResponseStore for MemoryStore {
    async fn keep(&self, _scope: &SweeperScope, batch: &[Keep]) -> Result<(), StoreError> {
        let mut shelf = self.shelf();
        for keep in batch {
            match keep {
                Keep::Response(row) => {
                    shelf.responses.entry(row.id).or_insert_with(|| row.clone());
                }
                Keep::TurnEnded(id) => shelf.turns.retain(|_, (holder, _)| holder != id),
            }
        }
        Ok(())
    }

    async fn response(
        &self,
        scope: &CallerScope,
        id: ResponseId,
    ) -> Result<Option<StoredResponse>, StoreError> {
        let found = self.shelf().responses.get(&id).cloned();
        Ok(found.filter(|row| row.is_seen_by(scope)))
    }

    async fn chain(
        &self,
        scope: &CallerScope,
        id: ResponseId,
    ) -> Result<Vec<StoredResponse>, StoreError> {
        let shelf = self.shelf();
        let mut chain = Vec::new();
        let mut next = Some(id);
        while let Some(row) = next.and_then(|id| shelf.responses.get(&id))
            && row.is_of(scope)
        {
            next = row.previous;
            chain.push(row.clone());
        }
        chain.reverse();
        Ok(chain)
    }

    async fn remove_response(
        &self,
        scope: &CallerScope,
        id: ResponseId,
    ) -> Result<bool, StoreError> {
        let mut shelf = self.shelf();
        let seen = shelf
            .responses
            .get(&id)
            .is_some_and(|row| row.is_seen_by(scope));
        Ok(seen && shelf.responses.remove(&id).is_some())
    }

    async fn begin_turn(&self, scope: &CallerScope, turn: &NewTurn) -> Result<bool, StoreError> {
        let thread = (
            scope.platform_id(),
            scope.end_user_id(),
            turn.thread.clone(),
        );
        let mut shelf = self.shelf();
        let is_held = shelf
            .turns
            .get(&thread)
            .is_some_and(|(_, until)| *until > turn.now);
        if !is_held {
            shelf.turns.insert(thread, (turn.id, turn.until));
        }
        Ok(!is_held)
    }

    async fn newest_of_thread(
        &self,
        scope: &CallerScope,
        thread: &str,
    ) -> Result<Option<ResponseId>, StoreError> {
        let shelf = self.shelf();
        let mut newest_first = shelf.responses.values().rev();
        let newest =
            newest_first.find(|row| row.is_of(scope) && row.thread.as_deref() == Some(thread));
        Ok(newest.map(|row| row.id))
    }

    async fn expire_responses(
        &self,
        _scope: &SweeperScope,
        now: Timestamp,
        most: u32,
    ) -> Result<u64, StoreError> {
        let mut shelf = self.shelf();
        shelf.turns.retain(|_, (_, until)| *until > now);
        let live: HashSet<_> = shelf
            .responses
            .values()
            .filter(|row| row.expires_at > now)
            .map(|row| row.conversation)
            .collect();
        let gone: Vec<_> = shelf
            .responses
            .values()
            .filter(|row| row.expires_at <= now && !live.contains(&row.conversation))
            .map(|row| row.id)
            .take(most as usize)
            .collect();
        for id in &gone {
            shelf.responses.remove(id);
        }
        Ok(gone.len() as u64)
    }
}
