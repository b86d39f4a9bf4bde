//! Remembers what providers want to see again, from the answer with a tool call to the request with its result.
//!
//! In this node alone and for a few hours: a request that comes to another node, or too late, is sent without it,
//! which every adapter allows for.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;

use crate::auth::Identity;
use crate::call::InferenceRequest;
use crate::conversation::{Memory, Recalled};
use crate::id::{EndUserId, PlatformId};
use crate::provider::Output;

const BYTES_MAX: u64 = 64 << 20;
const KEPT_FOR: Duration = Duration::from_secs(6 * 60 * 60);

/// The memories of all callers. Nobody is reminded of another's.
#[derive(Clone)]
pub(super) struct Memories(Cache<Key, Arc<Memory>>);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    owner: Owner,
    call_id: Box<str>,
}

/// Whose tool calls they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Owner(Option<PlatformId>, Option<EndUserId>);

// === impl Memories ===

impl Memories {
    pub(super) fn new() -> Self {
        let weigh = |key: &Key, memory: &Arc<Memory>| {
            u32::try_from(key.call_id.len() + memory.size()).unwrap_or(u32::MAX)
        };
        let cache = Cache::builder()
            .max_capacity(BYTES_MAX)
            .weigher(weigh)
            .time_to_live(KEPT_FOR)
            .build();
        Self(cache)
    }

    /// Keeps what an answer has put aside.
    pub(super) async fn keep(&self, owner: Owner, out: &mut Output) {
        for (call_id, memory) in out.take_memories() {
            let call_id = call_id.into();
            self.0
                .insert(Key { owner, call_id }, Arc::new(memory))
                .await;
        }
    }

    /// What is remembered of the tool calls in a request.
    pub(super) async fn of(&self, owner: Owner, request: &InferenceRequest) -> Recalled {
        let mut recalled = HashMap::new();
        for id in request.tool_call_ids() {
            let call_id = id.as_str().into();
            if let Some(memory) = self.0.get(&Key { owner, call_id }).await {
                recalled.insert(id, memory);
            }
        }
        Recalled(recalled)
    }
}

// === impl Owner ===

impl Owner {
    pub(super) fn of(identity: &Identity) -> Self {
        Self(identity.platform_id(), identity.end_user_id())
    }
}
