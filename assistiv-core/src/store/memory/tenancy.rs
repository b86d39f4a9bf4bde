//! Platforms and end users.

use std::cmp::Reverse;

use async_trait::async_trait;

use super::{MemoryStore, State, contains_ignoring_case, newest_first, page_of};
use crate::audit::AuditEntry;
use crate::auth::{OperatorScope, PlatformScope};
use crate::events::{EventType, about_end_user};
use crate::id::{EndUserId, KeyId, PlatformId};
use crate::keys::ApiKey;
use crate::store::{
    Changed, EndUserChanges, EndUserFilter, Listed, NewEndUser, NewPlatform, Page, PlatformChanges,
    PlatformFilter, StoreError, TenancyStore, Upsert,
};
use crate::tenancy::{EndUser, EndUserRef, Platform, PlatformSlug};

#[async_trait]
impl TenancyStore for MemoryStore {
    async fn create_platform(
        &self,
        scope: &OperatorScope,
        new: NewPlatform,
    ) -> Result<Platform, StoreError> {
        let mut guard = self.lock();
        let state = &mut *guard;
        let NewPlatform {
            platform,
            mut key,
            wallet,
        } = new;
        state.check_slug(&platform.slug, None)?;
        state.check_digest(&key)?;
        state
            .books
            .open_wallet(platform.id, &wallet, scope.actor(), self.now())?;
        (key.platform_id, key.end_user_id) = (Some(platform.id), None);
        state.insert_key(key);
        state.slugs.insert(platform.slug.clone(), platform.id);
        state.platforms.insert(platform.id, platform.clone());
        let scope = scope.over(platform.id);
        state
            .audit
            .push(AuditEntry::created(&scope, &platform, self.now()));
        Ok(platform)
    }

    async fn platforms(
        &self,
        _scope: &OperatorScope,
        filter: &PlatformFilter,
        page: Page,
    ) -> Result<Listed<Platform>, StoreError> {
        let matches = |platform: &&Platform| {
            filter.query.as_deref().is_none_or(|query| {
                contains_ignoring_case(&platform.name, query)
                    || contains_ignoring_case(platform.slug.as_str(), query)
            })
        };
        let rows = self
            .lock()
            .platforms
            .values()
            .filter(matches)
            .cloned()
            .collect();
        Ok(newest_first(
            rows,
            |platform: &Platform| (platform.created_at, platform.id),
            page,
        ))
    }

    async fn platform(&self, scope: &PlatformScope) -> Result<Platform, StoreError> {
        self.lock().platform(scope.platform_id()).cloned()
    }

    async fn update_platform(
        &self,
        scope: &PlatformScope,
        changes: &PlatformChanges,
    ) -> Result<Platform, StoreError> {
        let mut guard = self.lock();
        let state = &mut *guard;
        let id = scope.platform_id();
        let stored = state.platform(id)?.clone();
        let mut changed = stored.clone();
        changes.apply_to(&mut changed, self.now());
        state.check_slug(&changed.slug, Some(id))?;
        state.slugs.remove(&stored.slug);
        state.slugs.insert(changed.slug.clone(), id);
        state.platforms.insert(id, changed.clone());
        let entry = AuditEntry::updated(scope, &stored, &changed, self.now());
        state.audit.push(entry);
        self.tell(state, id, Changed::Holders);
        Ok(changed)
    }

    async fn delete_platform(&self, scope: &PlatformScope) -> Result<(), StoreError> {
        let mut guard = self.lock();
        let state = &mut *guard;
        let id = scope.platform_id();
        let platform = state.platforms.remove(&id).ok_or(StoreError::NotFound)?;
        state.slugs.remove(&platform.slug);
        state.end_users.retain(|_, user| user.platform_id != id);
        let users = &state.end_users;
        state
            .end_user_rate_limits
            .retain(|id, _| users.contains_key(id));
        state
            .external_ids
            .retain(|(platform_id, _), _| *platform_id != id);
        state.remove_keys(|key| key.platform_id == Some(id));
        state
            .llm_configs
            .retain(|_, (config, _)| config.platform_id != id);
        state.model_routes.remove(&id);
        state.platform_rate_limits.remove(&id);
        state.books.close_platform(id, self.now());
        state.webhooks.remove_platform(id);
        self.forget_responses(id, None);
        let entry = AuditEntry::deleted(scope, &platform, self.now());
        state.audit.push(entry);
        self.tell(state, id, Changed::Holders);
        self.tell(state, id, Changed::Configs);
        Ok(())
    }

    async fn create_end_user(
        &self,
        scope: &PlatformScope,
        new: NewEndUser,
    ) -> Result<Upsert<EndUser>, StoreError> {
        let mut guard = self.lock();
        let state = &mut *guard;
        let platform_id = scope.platform_id();
        state.platform(platform_id)?;
        state.check_digest(&new.key)?;
        let name = (platform_id, new.end_user.external_id.clone());
        if let Some(id) = state.external_ids.get(&name).copied() {
            let key = ApiKey {
                end_user_id: Some(id),
                ..new.key.clone()
            };
            let existing = state.add_key_to_existing(platform_id, id, new)?;
            let entry = AuditEntry::created(scope, &key, self.now());
            state.audit.push(entry);
            // Another key may have given way.
            self.tell(state, platform_id, Changed::Holders);
            return Ok(Upsert::Existing(existing));
        }
        let NewEndUser {
            mut end_user,
            mut key,
            budget,
            active_keys_max: _,
        } = new;
        end_user.platform_id = platform_id;
        if let Some(budget) = &budget {
            state
                .books
                .open_budget(platform_id, end_user.id, budget, scope.actor(), self.now())?;
        }
        (key.platform_id, key.end_user_id) = (Some(platform_id), Some(end_user.id));
        state.insert_key(key);
        state.external_ids.insert(name, end_user.id);
        state.end_users.insert(end_user.id, end_user.clone());
        let entry = AuditEntry::created(scope, &end_user, self.now());
        state.audit.push(entry);
        let event = about_end_user(EventType::EndUserCreated, &end_user, self.now());
        state.books.outbox.add([event]);
        Ok(Upsert::Created(end_user))
    }

    async fn end_users(
        &self,
        scope: &PlatformScope,
        filter: &EndUserFilter,
        page: Page,
    ) -> Result<Listed<EndUser>, StoreError> {
        let matches = |user: &&EndUser| {
            user.platform_id == scope.platform_id()
                && filter
                    .external_id
                    .as_ref()
                    .is_none_or(|id| *id == user.external_id)
                && filter
                    .is_active
                    .is_none_or(|active| active == user.is_active)
                && filter.query.as_deref().is_none_or(|query| {
                    contains_ignoring_case(&user.external_id, query)
                        || user
                            .display_name
                            .as_deref()
                            .is_some_and(|name| contains_ignoring_case(name, query))
                })
        };
        let mut rows: Vec<EndUser> = self
            .lock()
            .end_users
            .values()
            .filter(matches)
            .cloned()
            .collect();
        rows.sort_by_key(|user| {
            let exact = filter.query.as_ref() == Some(&user.external_id);
            Reverse((exact, user.created_at, user.id))
        });
        Ok(page_of(rows, page))
    }

    async fn end_user(
        &self,
        scope: &PlatformScope,
        end_user: &EndUserRef,
    ) -> Result<EndUser, StoreError> {
        self.lock()
            .named_end_user(scope.platform_id(), end_user)
            .cloned()
    }

    async fn update_end_user(
        &self,
        scope: &PlatformScope,
        end_user: &EndUserRef,
        changes: &EndUserChanges,
    ) -> Result<EndUser, StoreError> {
        let mut state = self.lock();
        let stored = state.named_end_user(scope.platform_id(), end_user)?;
        let mut changed = stored.clone();
        changes.apply_to(&mut changed, self.now());
        let entry = AuditEntry::updated(scope, stored, &changed, self.now());
        state.audit.push(entry);
        state.end_users.insert(changed.id, changed.clone());
        self.tell(&mut state, scope.platform_id(), Changed::Holders);
        Ok(changed)
    }

    async fn delete_end_user(
        &self,
        scope: &PlatformScope,
        id: EndUserId,
    ) -> Result<(), StoreError> {
        let mut guard = self.lock();
        let state = &mut *guard;
        let end_user = state.end_user(scope.platform_id(), id)?.clone();
        let event = about_end_user(EventType::EndUserDeleted, &end_user, self.now());
        let entry = AuditEntry::deleted(scope, &end_user, self.now());
        state.audit.push(entry);
        state.end_users.remove(&id);
        state.end_user_rate_limits.remove(&id);
        let name = (scope.platform_id(), end_user.external_id);
        state.external_ids.remove(&name);
        state.remove_keys(|key| key.end_user_id == Some(id));
        state.books.close_budget(id, self.now());
        self.forget_responses(scope.platform_id(), Some(id));
        self.tell(state, scope.platform_id(), Changed::Holders);
        state.books.outbox.add([event]);
        Ok(())
    }
}

// === impl State ===

impl State {
    fn check_slug(&self, slug: &PlatformSlug, own: Option<PlatformId>) -> Result<(), StoreError> {
        match self.slugs.get(slug) {
            Some(holder) if Some(*holder) != own => Err(StoreError::Conflict("slug")),
            _ => Ok(()),
        }
    }

    fn named_end_user(
        &self,
        platform_id: PlatformId,
        end_user: &EndUserRef,
    ) -> Result<&EndUser, StoreError> {
        let id = match end_user {
            EndUserRef::Id(id) => *id,
            EndUserRef::External(name) => {
                let name = (platform_id, name.clone());
                let id = self.external_ids.get(&name).copied();
                id.ok_or(StoreError::NotFound)?
            }
        };
        self.end_user(platform_id, id)
    }

    fn add_key_to_existing(
        &mut self,
        platform_id: PlatformId,
        id: EndUserId,
        new: NewEndUser,
    ) -> Result<EndUser, StoreError> {
        let end_user = self.end_user(platform_id, id)?.clone();
        if !end_user.is_active {
            return Err(StoreError::Conflict("inactive end user"));
        }
        self.revoke_unused(id, new.active_keys_max);
        let key = ApiKey {
            platform_id: Some(platform_id),
            end_user_id: Some(id),
            ..new.key
        };
        self.insert_key(key);
        Ok(end_user)
    }

    /// Makes room for one more active key: the ones unused for longest are revoked.
    fn revoke_unused(&mut self, end_user: EndUserId, active_max: u32) {
        let of_user = |key: &&mut ApiKey| key.is_active && key.end_user_id == Some(end_user);
        let mut active: Vec<&mut ApiKey> = self.keys.values_mut().filter(of_user).collect();
        // A key that was never used counts from when it was made.
        active.sort_by_key(|key| {
            Reverse((
                key.last_used_at.unwrap_or(key.created_at),
                key.created_at,
                key.id,
            ))
        });
        let kept = (active_max as usize).saturating_sub(1);
        for key in active.into_iter().skip(kept) {
            key.is_active = false;
        }
    }

    fn remove_keys(&mut self, gone: impl Fn(&ApiKey) -> bool) {
        let ids: Vec<KeyId> = self
            .keys
            .values()
            .filter(|key| gone(key))
            .map(|key| key.id)
            .collect();
        for id in ids {
            self.remove_key(id);
        }
    }
}
