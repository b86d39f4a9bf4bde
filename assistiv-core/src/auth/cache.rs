//! Finds out who presented a key: by digest, in a cache in front of the store.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use moka::future::Cache;
use tokio::time::Instant;

use super::key::{KeyDigest, KeyKind, PresentedKey};
use super::principal::{Holder, Identity, KeyScopes, PlatformProfile};
use super::scope::{DigestScope, EndUserScope, OperatorScope, PlatformScope};
use super::{Actor, AuthError};
use crate::clock::{Clock, Timestamp};
use crate::id::{KeyId, PlatformId};
use crate::revisions::{Revision, Revisions};
use crate::store::{KeyRecord, KeyStore, StoreError};

const ENTRIES_MAX: u64 = 100_000;
const FRESH_FOR: Duration = Duration::from_secs(60);
const UNKNOWN_FOR: Duration = Duration::from_secs(5);
const TOUCH_EVERY_MICROS: i64 = 60_000_000;
const TOUCHED_MAX: usize = 65_536;

/// Authenticates keys. Cheap to clone.
#[derive(Clone)]
pub struct Authenticator(Arc<Inner>);

struct Inner {
    keys: Arc<dyn KeyStore>,
    clock: Arc<dyn Clock>,
    configured_operator: Option<KeyDigest>,
    entries: Cache<KeyDigest, Entry>,
    /// Changes of keys and their holders, by platform.
    revisions: Revisions,
    touched: Mutex<Vec<(KeyId, Timestamp)>>,
}

#[derive(Clone)]
struct Entry {
    found: Found,
    revision: Revision,
    at: Instant,
}

#[derive(Clone)]
enum Found {
    Usable {
        identity: Arc<Identity>,
        touched_at: Arc<AtomicI64>,
    },
    Refused {
        platform: Option<PlatformId>,
        why: Refused,
    },
    Unknown,
    /// The look-up failed; never served twice.
    Failed,
}

#[derive(Clone, Copy)]
enum Refused {
    Revoked,
    PlatformDisabled,
    EndUserDisabled,
}

// === impl Authenticator ===

impl Authenticator {
    /// An authenticator over a store. `operator` is the operator key of the configuration.
    pub(crate) fn new(
        keys: Arc<dyn KeyStore>,
        clock: Arc<dyn Clock>,
        operator: Option<&PresentedKey>,
    ) -> Self {
        Self(Arc::new(Inner {
            keys,
            clock,
            configured_operator: operator.map(PresentedKey::digest),
            entries: Cache::new(ENTRIES_MAX),
            revisions: Revisions::new(),
            touched: Mutex::default(),
        }))
    }

    /// Who presented the key.
    ///
    /// # Errors
    /// [`AuthError`] when the key is unknown or may not be used.
    pub async fn authenticate(&self, key: &PresentedKey) -> Result<Arc<Identity>, AuthError> {
        let inner = &self.0;
        let digest = key.digest();
        if key.kind() == KeyKind::Operator && inner.configured_operator == Some(digest) {
            return Ok(Arc::new(operator_identity(KeyId::from_uuid(
                uuid::Uuid::nil(),
            ))));
        }
        let entry = match inner.entries.get(&digest).await {
            Some(entry) if !inner.is_stale(&entry) => entry,
            _ => inner.load(digest).await?,
        };
        match entry.found {
            Found::Usable {
                identity,
                touched_at,
            } => {
                let now = inner.clock.now();
                if identity.expires_at.is_some_and(|at| at <= now) {
                    return Err(AuthError::Expired);
                }
                inner.touch(identity.key_id, now, &touched_at);
                Ok(identity)
            }
            Found::Refused {
                why: Refused::Revoked,
                ..
            } => Err(AuthError::Revoked),
            Found::Refused {
                why: Refused::PlatformDisabled,
                ..
            } => Err(AuthError::PlatformDisabled),
            Found::Refused {
                why: Refused::EndUserDisabled,
                ..
            } => Err(AuthError::EndUserDisabled),
            Found::Unknown => Err(AuthError::InvalidKey),
            Found::Failed => Err(StoreError::unavailable("the look-up of a key failed").into()),
        }
    }

    /// Keys of the platform, their users or its settings have changed: what is cached of it counts no more.
    pub(crate) fn forget(&self, platform: PlatformId) {
        self.0.revisions.bump(&platform);
    }

    /// Anything may have changed.
    pub(crate) fn forget_all(&self) {
        self.0.revisions.bump_all();
    }

    /// Writes down which keys were used since the last time.
    pub(crate) async fn flush_touched(&self) -> Result<(), StoreError> {
        let used = std::mem::take(
            &mut *self
                .0
                .touched
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
        if used.is_empty() {
            Ok(())
        } else {
            self.0.keys.touch(&DigestScope::new(), &used).await
        }
    }
}

impl Inner {
    fn is_stale(&self, entry: &Entry) -> bool {
        let (platform, fresh_for) = match &entry.found {
            Found::Usable { identity, .. } => (identity.platform_id(), FRESH_FOR),
            Found::Refused { platform, .. } => (*platform, FRESH_FOR),
            Found::Unknown => (None, UNKNOWN_FOR),
            Found::Failed => return true,
        };
        let overtaken =
            platform.is_some_and(|id| self.revisions.changed_since(&id, entry.revision));
        overtaken || entry.at.elapsed() > fresh_for
    }

    /// One look-up for a key, however many calls wait for it.
    async fn load(&self, digest: KeyDigest) -> Result<Entry, AuthError> {
        let mut failure = None;
        let look_up = async {
            let revision = self.revisions.begin();
            let found = match self.keys.find_by_digest(&DigestScope::new(), &digest).await {
                Ok(Some(record)) => found(record),
                Ok(None) => Found::Unknown,
                Err(error) => {
                    failure = Some(error);
                    Found::Failed
                }
            };
            Entry {
                found,
                revision,
                at: Instant::now(),
            }
        };
        let entry = self
            .entries
            .entry(digest)
            .or_insert_with_if(look_up, |entry| self.is_stale(entry))
            .await;
        match failure {
            Some(error) => Err(error.into()),
            None => Ok(entry.into_value()),
        }
    }

    /// Notes a use, at most once a minute for each key, to be written down off the request path.
    fn touch(&self, key: KeyId, now: Timestamp, touched_at: &AtomicI64) {
        let last = touched_at.load(Ordering::Relaxed);
        let due = now.as_micros().saturating_sub(last) >= TOUCH_EVERY_MICROS;
        if due
            && touched_at
                .compare_exchange(last, now.as_micros(), Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        {
            let mut touched = self.touched.lock().unwrap_or_else(PoisonError::into_inner);
            if touched.len() < TOUCHED_MAX {
                touched.push((key, now));
            }
        }
    }
}

impl std::fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authenticator").finish_non_exhaustive()
    }
}

fn operator_identity(key_id: KeyId) -> Identity {
    Identity {
        key_id,
        kind: KeyKind::Operator,
        scopes: KeyScopes::UNRESTRICTED,
        expires_at: None,
        holder: Holder::Operator(OperatorScope::new(Actor::OperatorKey(key_id))),
    }
}

fn found(record: KeyRecord) -> Found {
    let KeyRecord {
        key,
        platform,
        end_user_is_active,
        platform_rate_limits,
        end_user_rate_limits,
    } = record;
    let platform_id = platform.as_ref().map(|(platform, _)| platform.id);
    let refused = |why| Found::Refused {
        platform: platform_id,
        why,
    };
    if !key.is_active {
        return refused(Refused::Revoked);
    }
    let holder = match (key.kind, platform, key.end_user_id) {
        (KeyKind::Operator, ..) => Holder::Operator(OperatorScope::new(Actor::OperatorKey(key.id))),
        (_, Some((platform, _)), _) if !platform.is_active => {
            return refused(Refused::PlatformDisabled);
        }
        (kind, Some((platform, wallet_account)), end_user) => {
            let actor = match kind {
                KeyKind::EndUser => Actor::EndUserKey(key.id),
                _ => Actor::PlatformKey(key.id),
            };
            let scope = PlatformScope::new(platform.id, actor);
            let profile = Arc::new(PlatformProfile {
                settings: platform.settings,
                wallet_account,
                rate_limits: platform_rate_limits,
            });
            match (kind, end_user) {
                (KeyKind::EndUser, Some(_)) if end_user_is_active != Some(true) => {
                    return refused(Refused::EndUserDisabled);
                }
                (KeyKind::EndUser, Some(id)) => Holder::EndUser {
                    scope: EndUserScope::new(scope, id),
                    profile,
                    rate_limits: end_user_rate_limits,
                },
                (KeyKind::EndUser, None) => return Found::Unknown,
                _ => Holder::Platform { scope, profile },
            }
        }
        (_, None, _) => return Found::Unknown,
    };
    let identity = Identity {
        key_id: key.id,
        kind: key.kind,
        scopes: key.scopes,
        expires_at: key.expires_at,
        holder,
    };
    let touched_at = key.last_used_at.map_or(0, Timestamp::as_micros);
    Found::Usable {
        identity: Arc::new(identity),
        touched_at: Arc::new(AtomicI64::new(touched_at)),
    }
}
