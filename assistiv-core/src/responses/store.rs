//! Where responses are stored.

use std::fmt;
use std::str::FromStr;

use async_trait::async_trait;
use uuid::Uuid;

use crate::auth::{CallerScope, SweeperScope};
use crate::clock::Timestamp;
use crate::id::{EndUserId, IdError, PlatformId};
use crate::store::StoreError;

/// Identifies a response: `resp_` and a UUID without hyphens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResponseId(Uuid);

/// A response, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredResponse {
    /// The response.
    pub id: ResponseId,
    /// The platform of the caller.
    pub platform_id: PlatformId,
    /// The end user who called; `None` when the platform itself did.
    pub end_user_id: Option<EndUserId>,
    /// The first response of the conversation; its own id for the first.
    pub conversation: ResponseId,
    /// The response that it continues.
    pub previous: Option<ResponseId>,
    /// The thread that it belongs to.
    pub thread: Option<String>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// Until when it may be fetched.
    pub expires_at: Timestamp,
    /// Input and response, sealed.
    pub payload: Vec<u8>,
}

/// Something to be written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keep {
    /// A response. One that is stored already stays as it is.
    Response(StoredResponse),
    /// The turn under this id has ended; the next one may begin.
    TurnEnded(ResponseId),
}

/// A turn that is to begin on a thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTurn {
    /// The thread, among those of the caller.
    pub thread: String,
    /// The response that is to be written.
    pub id: ResponseId,
    /// What time it is.
    pub now: Timestamp,
    /// When the turn ends by itself.
    pub until: Timestamp,
}

/// Stores responses.
///
/// A caller sees what is its own, a platform's own key also what the platform's end users have made. Whatever else
/// there is answers as if it were not there.
#[async_trait]
pub trait ResponseStore: Send + Sync + 'static {
    /// Writes down a batch, all or nothing.
    ///
    /// # Errors
    /// When the store fails.
    async fn keep(&self, scope: &SweeperScope, batch: &[Keep]) -> Result<(), StoreError>;

    /// A response that the caller may see, expired or not.
    ///
    /// # Errors
    /// When the store fails.
    async fn response(
        &self,
        scope: &CallerScope,
        id: ResponseId,
    ) -> Result<Option<StoredResponse>, StoreError>;

    /// A response that is the caller's own, after everything that it continues, oldest first. Empty when there is
    /// no such response. An earlier one that is gone ends the list.
    ///
    /// # Errors
    /// When the store fails.
    async fn chain(
        &self,
        scope: &CallerScope,
        id: ResponseId,
    ) -> Result<Vec<StoredResponse>, StoreError>;

    /// Removes a response that the caller may see; says whether there was one.
    ///
    /// # Errors
    /// When the store fails.
    async fn remove_response(
        &self,
        scope: &CallerScope,
        id: ResponseId,
    ) -> Result<bool, StoreError>;

    /// Begins a turn on a thread of the caller, unless another one runs; says whether it did.
    ///
    /// # Errors
    /// When the store fails.
    async fn begin_turn(&self, scope: &CallerScope, turn: &NewTurn) -> Result<bool, StoreError>;

    /// The newest response of a thread of the caller.
    ///
    /// # Errors
    /// When the store fails.
    async fn newest_of_thread(
        &self,
        scope: &CallerScope,
        thread: &str,
    ) -> Result<Option<ResponseId>, StoreError>;

    /// Removes responses that have expired, `most` of them, and gives their number. One that a response which has
    /// not expired continues from stays.
    ///
    /// # Errors
    /// When the store fails.
    async fn expire_responses(
        &self,
        scope: &SweeperScope,
        now: Timestamp,
        most: u32,
    ) -> Result<u64, StoreError>;
}

// === impl ResponseId ===

impl ResponseId {
    /// A fresh, time-ordered id.
    #[expect(
        clippy::new_without_default,
        reason = "a fresh id is not a default value"
    )]
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }

    /// Wraps a UUID that is known to be of a response.
    pub const fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// The UUID inside.
    pub const fn as_uuid(self) -> Uuid {
        self.0
    }

    /// When it was made, in seconds since 1970.
    pub fn created_at(self) -> i64 {
        let at = self.0.get_timestamp().map_or(0, |at| at.to_unix().0);
        i64::try_from(at).unwrap_or(0)
    }

    /// The response in which an item stands, by the item's id.
    pub(crate) fn of_item(item: &str) -> Option<Self> {
        let (_, rest) = item.split_once('_')?;
        parse(rest.get(..32)?)
    }
}

impl fmt::Display for ResponseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "resp_{}", self.0.simple())
    }
}

impl FromStr for ResponseId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        text.strip_prefix("resp_").and_then(parse).ok_or(IdError)
    }
}

/// Only the spelling that is written names an object.
fn parse(text: &str) -> Option<ResponseId> {
    let uuid = Uuid::try_parse(text).ok()?;
    let written = uuid.as_simple().encode_lower(&mut Uuid::encode_buffer()) == text;
    written.then_some(ResponseId(uuid))
}

// === impl StoredResponse ===

impl StoredResponse {
    /// Whether the caller may see it.
    pub fn is_seen_by(&self, scope: &CallerScope) -> bool {
        self.platform_id == scope.platform_id()
            && (scope.end_user_id().is_none() || self.is_of(scope))
    }

    /// Whether it is the caller's own.
    pub fn is_of(&self, scope: &CallerScope) -> bool {
        self.platform_id == scope.platform_id() && self.end_user_id == scope.end_user_id()
    }
}
