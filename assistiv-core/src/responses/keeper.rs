//! Writes responses down behind their answers.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::store::{Keep, ResponseId, ResponseStore, StoredResponse};
use super::thread::ThreadTurn;
use crate::auth::{CallerScope, SweeperScope};
use crate::call::Planned;
use crate::clock::{Clock, Timestamp};
use crate::id::{EndUserId, PlatformId};
use crate::secrets::{SecretCipher, SecretPlace};
use crate::store::StoreError;

/// Responses in one act of the store.
const BATCH_MAX: usize = 100;
/// Bytes of responses that may wait. More come together only while the database is away.
const WAITING_BYTES_MAX: usize = 256 << 20;
const TRY_AGAIN: Duration = Duration::from_millis(200);
const CLOSE_WAIT: Duration = Duration::from_secs(5);
const EXPIRE_EVERY: Duration = Duration::from_secs(600);
const EXPIRE_MOST: u32 = 500;

/// A response in the clear.
#[derive(Clone, Debug)]
pub(super) struct Response {
    pub(super) row: StoredResponse,
    /// `{"input":[…],"response":{…}}`.
    pub(super) payload: Arc<str>,
}

enum Waiting {
    Response(Response),
    TurnEnded(ResponseId),
}

pub(super) struct Keeper {
    pub(super) store: Arc<dyn ResponseStore>,
    pub(super) cipher: Arc<dyn SecretCipher>,
    pub(super) clock: Arc<dyn Clock>,
    queue: Mutex<Queue>,
    arrived: Notify,
    writing: tokio::sync::Mutex<VecDeque<Waiting>>,
}

#[derive(Default)]
struct Queue {
    waiting: Vec<Waiting>,
    /// Responses that are not durable yet.
    fresh: HashMap<ResponseId, Response>,
    bytes: usize,
}

/// What is needed to store a response when its answer is there. Dropped without it, only the turn on its thread ends.
pub(crate) struct Saving {
    keeper: Arc<Keeper>,
    row: Option<StoredResponse>,
    input: String,
    _turn: Option<Arc<ThreadTurn>>,
}

// === impl Keeper ===

impl Keeper {
    pub(super) fn new(
        store: Arc<dyn ResponseStore>,
        cipher: Arc<dyn SecretCipher>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            store,
            cipher,
            clock,
            queue: Mutex::default(),
            arrived: Notify::new(),
            writing: tokio::sync::Mutex::default(),
        }
    }

    /// A response that this node has not written down yet.
    pub(super) fn fresh(&self, id: ResponseId) -> Option<Response> {
        self.queue().fresh.get(&id).cloned()
    }

    /// A response that the store gave, opened.
    pub(super) fn open(&self, row: StoredResponse) -> Result<Response, StoreError> {
        let opened = self.cipher.open(place(row.id), &row.payload);
        let opened = opened.map_err(|_| StoreError::Corrupt("responses.payload".into()))?;
        Ok(Response {
            payload: opened.expose_secret().into(),
            row,
        })
    }

    pub(super) fn turn_ended(&self, id: ResponseId) {
        self.queue().waiting.push(Waiting::TurnEnded(id));
        self.arrived.notify_one();
    }

    fn keep(&self, response: Response) {
        let mut queue = self.queue();
        let bytes = response.payload.len();
        if queue.bytes + bytes > WAITING_BYTES_MAX {
            drop(queue);
            tracing::error!(
                id = %response.row.id,
                "too many responses wait for the database, one is not stored"
            );
            return;
        }
        queue.bytes += bytes;
        queue.fresh.insert(response.row.id, response.clone());
        queue.waiting.push(Waiting::Response(response));
        drop(queue);
        self.arrived.notify_one();
    }

    /// Removes a response that may not be durable yet.
    pub(super) async fn remove(
        &self,
        scope: &CallerScope,
        id: ResponseId,
    ) -> Result<bool, StoreError> {
        // Whatever waits is written first, so that it cannot come back.
        if self
            .fresh(id)
            .is_some_and(|fresh| fresh.row.is_seen_by(scope))
        {
            self.flush().await?;
        }
        self.store.remove_response(scope, id).await
    }

    pub(super) async fn run(&self, stopping: CancellationToken) {
        let mut expire = tokio::time::interval(EXPIRE_EVERY);
        let mut is_failing = false;
        loop {
            let next = async {
                match is_failing {
                    true => tokio::time::sleep(TRY_AGAIN).await,
                    false => self.arrived.notified().await,
                }
            };
            tokio::select! {
                () = stopping.cancelled() => return,
                () = next => {}
                _ = expire.tick() => self.expire().await,
            }
            let failed = self.flush().await.err();
            if let Some(error) = failed.as_ref().filter(|_| !is_failing) {
                tracing::warn!(
                    error = error as &dyn std::error::Error,
                    "responses cannot be stored, trying again"
                );
            }
            is_failing = failed.is_some();
        }
    }

    pub(super) async fn close(&self) {
        let write_all = async {
            while self.flush().await.is_err() {
                tokio::time::sleep(TRY_AGAIN).await;
            }
        };
        if tokio::time::timeout(CLOSE_WAIT, write_all).await.is_err() {
            let responses = self.queue().fresh.len();
            tracing::error!(responses, "responses could not be stored");
        }
    }

    /// Writes down what waits.
    async fn flush(&self) -> Result<(), StoreError> {
        let mut writing = self.writing.lock().await;
        writing.extend(std::mem::take(&mut self.queue().waiting));
        while !writing.is_empty() {
            let count = writing.len().min(BATCH_MAX);
            let batch: Vec<Keep> = writing
                .iter()
                .take(count)
                .filter_map(|waiting| self.sealed(waiting))
                .collect();
            self.store.keep(&SweeperScope::engine(), &batch).await?;
            let mut queue = self.queue();
            for waiting in writing.drain(..count) {
                if let Waiting::Response(response) = waiting {
                    queue.fresh.remove(&response.row.id);
                    queue.bytes = queue.bytes.saturating_sub(response.payload.len());
                }
            }
        }
        Ok(())
    }

    fn sealed(&self, waiting: &Waiting) -> Option<Keep> {
        let response = match waiting {
            Waiting::TurnEnded(id) => return Some(Keep::TurnEnded(*id)),
            Waiting::Response(response) => response,
        };
        let text = SecretString::from(&*response.payload);
        match self.cipher.seal(place(response.row.id), &text) {
            Ok(payload) => Some(Keep::Response(StoredResponse {
                payload,
                ..response.row.clone()
            })),
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "a response cannot be sealed and is not stored"
                );
                None
            }
        }
    }

    async fn expire(&self) {
        let scope = SweeperScope::engine();
        loop {
            let now = self.clock.now();
            match self.store.expire_responses(&scope, now, EXPIRE_MOST).await {
                Ok(removed) if removed >= u64::from(EXPIRE_MOST) => {}
                Ok(_) => return,
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "expired responses cannot be removed"
                    );
                    return;
                }
            }
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeper")
            .field("waiting", &self.queue().fresh.len())
            .finish_non_exhaustive()
    }
}

// === impl Saving ===

impl Saving {
    /// For a call whose response is asked for; `None` for all others.
    pub(super) fn of(keeper: &Arc<Keeper>, planned: &Planned) -> Option<Self> {
        let identity = &planned.identity;
        let owner: Option<(PlatformId, Option<EndUserId>)> = identity
            .platform_id()
            .map(|platform| (platform, identity.end_user_id()));
        let profile = identity.profile();
        let days = profile.map_or(30, |it| it.settings.response_retention_days());
        let input = planned.request.members().find("input");
        let asked = planned.request.response.as_deref()?;
        let place = &asked.place;
        let row = owner
            .filter(|_| asked.store)
            .map(|(platform_id, end_user_id)| {
                let created_at = keeper.clock.now();
                let kept = i64::from(days) * 86_400 * 1_000_000;
                StoredResponse {
                    id: asked.id,
                    platform_id,
                    end_user_id,
                    conversation: place.conversation.unwrap_or(asked.id),
                    previous: place.previous,
                    thread: asked.thread.clone(),
                    created_at,
                    expires_at: Timestamp::from_micros(created_at.as_micros().saturating_add(kept)),
                    payload: Vec::new(),
                }
            });
        let own = place.own_input.as_deref().or(input).unwrap_or("[]");
        Some(Self {
            keeper: keeper.clone(),
            input: match &row {
                Some(_) => as_items(own),
                None => Default::default(),
            },
            row,
            _turn: place.turn.clone(),
        })
    }

    /// Stores the response: whoever continues it after this moment finds it.
    pub(crate) fn keep(self, response: Option<String>) {
        if let (Some(row), Some(response)) = (self.row, response) {
            let payload = format!(r#"{{"input":{},"response":{response}}}"#, self.input);
            self.keeper.keep(Response {
                row,
                payload: payload.into(),
            });
        }
    }
}

impl super::Responses {
    /// What is needed to store the response of a call.
    pub(crate) fn saving(&self, planned: &Planned) -> Option<Saving> {
        Saving::of(&self.keeper, planned)
    }
}

/// Input as items; a text is a message of the user.
pub(super) fn as_items(input: &str) -> String {
    if input.starts_with('"') {
        return format!(
            r#"[{{"type":"message","role":"user","content":[{{"type":"input_text","text":{input}}}]}}]"#
        );
    }
    input.to_owned()
}

fn place(id: ResponseId) -> SecretPlace {
    SecretPlace {
        table: "responses",
        column: "payload",
        row: id.as_uuid(),
    }
}
