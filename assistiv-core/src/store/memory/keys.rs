//! API keys.

use std::time::Duration;

use async_trait::async_trait;

use super::{MemoryStore, State, newest_first};
use crate::audit::AuditEntry;
use crate::auth::{DigestScope, KeyDigest, KeyKind, KeyScope, OperatorScope, PlatformScope};
use crate::clock::Timestamp;
use crate::id::{KeyId, PlatformId};
use crate::keys::ApiKey;
use crate::store::{Changed, KeyChanges, KeyFilter, KeyRecord, KeyStore, Listed, Page, StoreError};

#[async_trait]
impl KeyStore for MemoryStore {
    async fn find_by_digest(
        &self,
        _scope: &DigestScope,
        digest: &KeyDigest,
    ) -> Result<Option<KeyRecord>, StoreError> {
        let state = self.lock();
        let found = state.digests.get(digest).and_then(|id| state.keys.get(id));
        Ok(found.map(|key| state.record(key)))
    }

    async fn touch(
        &self,
        _scope: &DigestScope,
        used: &[(KeyId, Timestamp)],
    ) -> Result<(), StoreError> {
        let mut state = self.lock();
        for (id, at) in used {
            if let Some(key) = state.keys.get_mut(id) {
                key.last_used_at = key.last_used_at.max(Some(*at));
            }
        }
        Ok(())
    }

    async fn create(
        &self,
        scope: &PlatformScope,
        mut key: ApiKey,
        active_max: u32,
    ) -> Result<(), StoreError> {
        let mut state = self.lock();
        let platform_id = scope.platform_id();
        state.platform(platform_id)?;
        if let Some(end_user) = key.end_user_id {
            state.end_user(platform_id, end_user)?;
        }
        key.platform_id = Some(platform_id);
        let same_holder = |other: &&ApiKey| {
            other.is_active
                && (other.platform_id, other.end_user_id) == (key.platform_id, key.end_user_id)
        };
        if state.keys.values().filter(same_holder).count() >= active_max as usize {
            return Err(StoreError::Conflict("key limit"));
        }
        state.check_digest(&key)?;
        let entry = AuditEntry::created(scope, &key, self.now());
        state.audit.push(entry);
        state.insert_key(key);
        Ok(())
    }

    async fn rotate(
        &self,
        scope: &PlatformScope,
        mut key: ApiKey,
        grace: Duration,
        active_max: u32,
    ) -> Result<(), StoreError> {
        let now = self.now();
        let platform_id = scope.platform_id();
        let mut state = self.lock();
        let end_user = key.end_user_id.ok_or(StoreError::NotFound)?;
        state.end_user(platform_id, end_user)?;
        state.check_digest(&key)?;
        let others = |other: &&mut ApiKey| other.is_active && other.end_user_id == Some(end_user);
        let others: Vec<_> = state.keys.values_mut().filter(others).collect();
        if !grace.is_zero() && others.len() >= active_max as usize {
            return Err(StoreError::Conflict("key limit"));
        }
        for other in others {
            other.retire(now, grace);
        }
        key.platform_id = Some(platform_id);
        let entry = AuditEntry::about(scope, "rotate", None, &key, now);
        state.audit.push(entry);
        state.insert_key(key);
        self.tell(&mut state, platform_id, Changed::Holders);
        Ok(())
    }

    async fn create_operator(
        &self,
        _scope: &OperatorScope,
        mut key: ApiKey,
    ) -> Result<(), StoreError> {
        let mut state = self.lock();
        state.check_digest(&key)?;
        (key.platform_id, key.end_user_id) = (None, None);
        state.insert_key(key);
        Ok(())
    }

    async fn has_operator(&self, _scope: &OperatorScope) -> Result<bool, StoreError> {
        Ok(self
            .lock()
            .keys
            .values()
            .any(|key| key.kind == KeyKind::Operator))
    }

    async fn list(
        &self,
        scope: &PlatformScope,
        filter: &KeyFilter,
        page: Page,
    ) -> Result<Listed<ApiKey>, StoreError> {
        let matches = |key: &&ApiKey| {
            let of_holder = match filter.end_user_id {
                Some(end_user) => key.end_user_id == Some(end_user),
                None => key.end_user_id.is_some() == filter.of_end_users,
            };
            key.platform_id == Some(scope.platform_id())
                && of_holder
                && filter
                    .is_active
                    .is_none_or(|active| active == key.is_active)
        };
        let rows = self.lock().keys.values().filter(matches).cloned().collect();
        Ok(newest_first(
            rows,
            |key: &ApiKey| (key.created_at, key.id),
            page,
        ))
    }

    async fn key(&self, scope: &PlatformScope, id: KeyId) -> Result<ApiKey, StoreError> {
        self.lock().key(scope.platform_id(), id).cloned()
    }

    async fn update(
        &self,
        scope: &PlatformScope,
        id: KeyId,
        changes: &KeyChanges,
    ) -> Result<ApiKey, StoreError> {
        let mut state = self.lock();
        let mut changed = state.key(scope.platform_id(), id)?.clone();
        changes.apply_to(&mut changed);
        if !may_manage(&changed, self.now()) {
            state.check_not_last(scope.platform_id(), id, self.now())?;
        }
        let entry = AuditEntry::updated(
            scope,
            state.key(scope.platform_id(), id)?,
            &changed,
            self.now(),
        );
        state.audit.push(entry);
        state.keys.insert(id, changed.clone());
        self.tell(&mut state, scope.platform_id(), Changed::Holders);
        Ok(changed)
    }

    async fn delete(&self, scope: &PlatformScope, id: KeyId) -> Result<(), StoreError> {
        let mut state = self.lock();
        let gone = state.key(scope.platform_id(), id)?.clone();
        state.check_not_last(scope.platform_id(), id, self.now())?;
        let entry = AuditEntry::deleted(scope, &gone, self.now());
        state.audit.push(entry);
        state.remove_key(id);
        self.tell(&mut state, scope.platform_id(), Changed::Holders);
        Ok(())
    }
}

// === impl State ===

impl State {
    pub(super) fn check_digest(&self, key: &ApiKey) -> Result<(), StoreError> {
        let taken = self.digests.contains_key(&key.digest) || self.keys.contains_key(&key.id);
        if taken {
            Err(StoreError::Conflict("key"))
        } else {
            Ok(())
        }
    }

    pub(super) fn insert_key(&mut self, key: ApiKey) {
        self.digests.insert(key.digest, key.id);
        self.keys.insert(key.id, key);
    }

    pub(super) fn remove_key(&mut self, id: KeyId) {
        if let Some(key) = self.keys.remove(&id) {
            self.digests.remove(&key.digest);
        }
    }

    /// Refuses to take away the last key with which the platform can be managed.
    fn check_not_last(
        &self,
        platform_id: PlatformId,
        id: KeyId,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let manages = |key: &&ApiKey| key.platform_id == Some(platform_id) && may_manage(key, now);
        let mut managing = self.keys.values().filter(manages).map(|key| key.id);
        match (managing.next(), managing.next()) {
            (Some(only), None) if only == id => Err(StoreError::Conflict("last platform key")),
            _ => Ok(()),
        }
    }

    fn record(&self, key: &ApiKey) -> KeyRecord {
        let platform = key.platform_id.and_then(|id| {
            let wallet = self.books.wallet_account(id)?;
            Some((self.platforms.get(&id)?.clone(), wallet))
        });
        let end_user = key.end_user_id.and_then(|id| self.end_users.get(&id));
        KeyRecord {
            key: key.clone(),
            platform,
            end_user_is_active: end_user.map(|user| user.is_active),
            platform_rate_limits: key
                .platform_id
                .map_or_else(Default::default, |id| self.rate_limits_of(id)),
            end_user_rate_limits: key
                .end_user_id
                .and_then(|id| self.end_user_rate_limits.get(&id).copied()),
        }
    }
}

fn may_manage(key: &ApiKey, now: Timestamp) -> bool {
    key.kind == KeyKind::Platform
        && key.is_active
        && key.expires_at.is_none_or(|at| at > now)
        && key.scopes.allow(key.kind, KeyScope::Management)
}
