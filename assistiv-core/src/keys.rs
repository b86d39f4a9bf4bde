//! API keys: issuing, listing, revoking.

mod commands;

pub use commands::{
    CreateKey, DeleteKey, IssuedKey, Issuer, KeyOwner, Keys, ListKeys, RotateKeys, UpdateKey,
};

use std::time::Duration;

use crate::auth::{KeyDigest, KeyKind, KeyScopes};
use crate::clock::Timestamp;
use crate::id::{EndUserId, KeyId, PlatformId};

/// What is kept of a key: never the key itself.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiKey {
    /// Its id.
    pub id: KeyId,
    /// Its platform; an operator key has none.
    pub platform_id: Option<PlatformId>,
    /// Its end user, for an end-user key.
    pub end_user_id: Option<EndUserId>,
    /// What it is for.
    pub kind: KeyKind,
    /// SHA-256 of the whole key.
    pub digest: KeyDigest,
    /// The leading part that may be shown.
    pub key_prefix: String,
    /// For people; 1 to 100 characters.
    pub name: String,
    /// What it may do; fixed at creation.
    pub scopes: KeyScopes,
    /// Whether it works.
    pub is_active: bool,
    /// When it was last used, to the minute.
    pub last_used_at: Option<Timestamp>,
    /// When it stops working.
    pub expires_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
}

// === impl ApiKey ===

impl ApiKey {
    /// Takes the key out of use: at once without `grace`, else when it is over. It never works longer than it would
    /// have.
    pub fn retire(&mut self, now: Timestamp, grace: Duration) {
        if grace.is_zero() {
            self.is_active = false;
            return;
        }
        let grace = i64::try_from(grace.as_micros()).unwrap_or(i64::MAX);
        let over = Timestamp::from_micros(now.as_micros().saturating_add(grace));
        self.expires_at = Some(self.expires_at.map_or(over, |at| at.min(over)));
    }
}
