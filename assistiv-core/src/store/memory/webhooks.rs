//! Webhooks and what is on its way to them.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use async_trait::async_trait;

use super::{MemoryStore, State, newest_first};
use crate::audit::AuditEntry;
use crate::auth::{PlatformScope, SweeperScope};
use crate::clock::Timestamp;
use crate::events::Event;
use crate::id::{DeliveryId, PlatformId, WebhookId};
use crate::store::{Listed, Page, StoreError, StoredSecret};
use crate::webhooks::{
    Attempt, ClaimedDelivery, Delivery, DeliveryStatus, DisabledReason, DueWebhook, OLD_SECRET_FOR,
    WEBHOOKS_MAX, Webhook, WebhookChanges, WebhookStore, failing_since, later, oldest_delivery,
};

/// Endpoints and deliveries of all platforms.
#[derive(Default)]
pub(super) struct Hooks {
    hooks: HashMap<WebhookId, Hook>,
    deliveries: BTreeMap<DeliveryId, Sent>,
}

struct Hook {
    webhook: Webhook,
    secret: StoredSecret,
    old_secret: Option<(StoredSecret, Timestamp)>,
    failing_since: Option<Timestamp>,
}

struct Sent {
    delivery: Delivery,
    payload: String,
    claim: i64,
}

#[async_trait]
impl WebhookStore for MemoryStore {
    async fn create_webhook(
        &self,
        scope: &PlatformScope,
        mut webhook: Webhook,
        secret: StoredSecret,
    ) -> Result<Webhook, StoreError> {
        let now = self.now();
        let mut state = self.lock();
        let id = scope.platform_id();
        state.platform(id)?;
        if state.webhooks.of(id).count() >= WEBHOOKS_MAX as usize {
            return Err(StoreError::Conflict("webhook"));
        }
        webhook.platform_id = id;
        (webhook.created_at, webhook.updated_at) = (now, now);
        let hook = Hook {
            webhook: webhook.clone(),
            secret,
            old_secret: None,
            failing_since: None,
        };
        state.webhooks.hooks.insert(webhook.id, hook);
        let entry = AuditEntry::created(scope, &webhook, now);
        state.audit.push(entry);
        Ok(webhook)
    }

    async fn webhooks(
        &self,
        scope: &PlatformScope,
        page: Page,
    ) -> Result<Listed<Webhook>, StoreError> {
        let state = self.lock();
        let rows = state.webhooks.of(scope.platform_id());
        let rows = rows.map(|hook| hook.webhook.clone()).collect();
        Ok(newest_first(
            rows,
            |row: &Webhook| (row.created_at, row.id),
            page,
        ))
    }

    async fn webhook(
        &self,
        scope: &PlatformScope,
        id: WebhookId,
    ) -> Result<(Webhook, StoredSecret), StoreError> {
        let mut state = self.lock();
        let hook = state.hook(scope, id)?;
        Ok((hook.webhook.clone(), hook.secret.clone()))
    }

    async fn update_webhook(
        &self,
        scope: &PlatformScope,
        id: WebhookId,
        changes: &WebhookChanges,
    ) -> Result<Webhook, StoreError> {
        let now = self.now();
        let mut state = self.lock();
        let hook = state.hook(scope, id)?;
        let before = hook.webhook.clone();
        changes.apply_to(&mut hook.webhook, now);
        if changes.is_active == Some(true) {
            hook.failing_since = None;
        }
        let after = hook.webhook.clone();
        let entry = AuditEntry::updated(scope, &before, &after, now);
        state.audit.push(entry);
        Ok(after)
    }

    async fn rotate_webhook_secret(
        &self,
        scope: &PlatformScope,
        id: WebhookId,
        secret: StoredSecret,
    ) -> Result<Webhook, StoreError> {
        let now = self.now();
        let mut state = self.lock();
        let hook = state.hook(scope, id)?;
        let old = std::mem::replace(&mut hook.secret, secret);
        hook.old_secret = Some((old, later(now, OLD_SECRET_FOR)));
        hook.webhook.updated_at = now;
        let after = hook.webhook.clone();
        let entry = AuditEntry::about(scope, "rotate_secret", Some(&after), &after, now);
        state.audit.push(entry.with_secret("secret"));
        Ok(after)
    }

    async fn delete_webhook(&self, scope: &PlatformScope, id: WebhookId) -> Result<(), StoreError> {
        let mut state = self.lock();
        let gone = state.hook(scope, id)?.webhook.clone();
        state.webhooks.remove(|webhook| webhook.id == id);
        let entry = AuditEntry::deleted(scope, &gone, self.now());
        state.audit.push(entry);
        Ok(())
    }

    async fn add_delivery(
        &self,
        scope: &PlatformScope,
        id: WebhookId,
        event: &Event,
    ) -> Result<Delivery, StoreError> {
        let now = self.now();
        let mut state = self.lock();
        state.hook(scope, id)?;
        state.webhooks.add(id, event, now)
    }

    async fn deliveries(
        &self,
        scope: &PlatformScope,
        id: WebhookId,
        page: Page,
    ) -> Result<Listed<Delivery>, StoreError> {
        let mut state = self.lock();
        state.hook(scope, id)?;
        let rows = state.webhooks.deliveries.values();
        let rows = rows.map(|sent| &sent.delivery);
        let rows: Vec<_> = rows.filter(|row| row.webhook_id == id).cloned().collect();
        Ok(newest_first(
            rows,
            |row: &Delivery| (row.created_at, row.id),
            page,
        ))
    }

    async fn replay_delivery(
        &self,
        scope: &PlatformScope,
        id: WebhookId,
        delivery: DeliveryId,
    ) -> Result<Delivery, StoreError> {
        let now = self.now();
        let mut state = self.lock();
        state.hook(scope, id)?;
        let sent = state.webhooks.deliveries.get_mut(&delivery);
        let sent = sent.filter(|sent| sent.delivery.webhook_id == id);
        let sent = sent.ok_or(StoreError::NotFound)?;
        sent.delivery.replay(now);
        sent.claim += 1;
        Ok(sent.delivery.clone())
    }

    async fn fan_out(&self, _: &SweeperScope, most: u32) -> Result<u32, StoreError> {
        let now = self.now();
        let mut guard = self.lock();
        let state = &mut *guard;
        let events = state.books.outbox.take_new(most);
        for event in &events {
            let hooks = state.webhooks.hooks.values();
            let wanting = hooks.filter(|hook| hook.webhook.wants(event));
            let wanting: Vec<_> = wanting.map(|hook| hook.webhook.id).collect();
            for id in wanting {
                state.webhooks.add(id, event, now)?;
            }
        }
        Ok(u32::try_from(events.len()).unwrap_or(u32::MAX))
    }

    async fn due_webhooks(
        &self,
        _: &SweeperScope,
        except: &[WebhookId],
        most: u32,
    ) -> Result<Vec<DueWebhook>, StoreError> {
        let now = self.now();
        let state = self.lock();
        let mut due: BTreeMap<WebhookId, Timestamp> = BTreeMap::new();
        for sent in state.webhooks.deliveries.values() {
            if let Some(at) = sent.delivery.next_attempt_at.filter(|at| *at <= now) {
                let first = due.entry(sent.delivery.webhook_id).or_insert(at);
                *first = at.min(*first);
            }
        }
        let mut due: Vec<_> = due.into_iter().map(|(id, at)| (at, id)).collect();
        due.sort_unstable();
        let found = due.into_iter().filter_map(|(_, id)| {
            let hook = state.webhooks.hooks.get(&id)?;
            (hook.webhook.is_active && !except.contains(&id)).then_some(DueWebhook {
                id,
                is_failing: hook.failing_since.is_some(),
            })
        });
        Ok(found.take(most as usize).collect())
    }

    async fn claim_deliveries(
        &self,
        _: &SweeperScope,
        webhook: WebhookId,
        lease: Duration,
        most: u32,
    ) -> Result<Vec<ClaimedDelivery>, StoreError> {
        let now = self.now();
        let mut guard = self.lock();
        let Hooks { hooks, deliveries } = &mut guard.webhooks;
        let Some(hook) = hooks.get(&webhook).filter(|hook| hook.webhook.is_active) else {
            return Ok(Vec::new());
        };
        let old = hook.old_secret.as_ref().filter(|(_, until)| *until > now);
        let old = old.map(|(secret, _)| secret.clone());
        let secrets: Vec<_> = std::iter::once(hook.secret.clone()).chain(old).collect();
        let mut due: Vec<_> = deliveries
            .values_mut()
            .filter(|sent| sent.delivery.webhook_id == webhook)
            .filter(|sent| sent.delivery.next_attempt_at.is_some_and(|at| at <= now))
            .collect();
        due.sort_by_key(|sent| (sent.delivery.next_attempt_at, sent.delivery.id));
        let claimed = due.into_iter().take(most as usize).map(|sent| {
            sent.claim += 1;
            sent.delivery.next_attempt_at = Some(later(now, lease));
            ClaimedDelivery {
                delivery: sent.delivery.clone(),
                claim: sent.claim,
                url: hook.webhook.url.clone(),
                payload: sent.payload.clone(),
                secrets: secrets.clone(),
            }
        });
        Ok(claimed.collect())
    }

    async fn finish_attempt(
        &self,
        _: &SweeperScope,
        delivery: DeliveryId,
        claim: i64,
        attempt: &Attempt,
    ) -> Result<bool, StoreError> {
        let now = self.now();
        let mut guard = self.lock();
        let Hooks { hooks, deliveries } = &mut guard.webhooks;
        let sent = deliveries.get_mut(&delivery);
        let Some(sent) = sent.filter(|sent| sent.claim == claim) else {
            return Ok(false);
        };
        sent.delivery.ended(attempt, now);
        let Some(hook) = hooks.get_mut(&sent.delivery.webhook_id) else {
            return Ok(false);
        };
        let (since, for_too_long) = failing_since(hook.failing_since, attempt.is_success, now);
        hook.failing_since = since;
        let disable = for_too_long && hook.webhook.is_active;
        if disable {
            hook.webhook.is_active = false;
            hook.webhook.disabled_reason = Some(DisabledReason::Failing);
            hook.webhook.updated_at = now;
        }
        Ok(disable)
    }

    async fn prune_deliveries(&self, _: &SweeperScope) -> Result<u64, StoreError> {
        let oldest = oldest_delivery(self.now());
        let mut guard = self.lock();
        let Hooks { hooks, deliveries } = &mut guard.webhooks;
        let before = deliveries.len();
        deliveries.retain(|_, Sent { delivery, .. }| {
            let hook = hooks.get(&delivery.webhook_id);
            let is_on_its_way = delivery.status == DeliveryStatus::Pending
                && hook.is_some_and(|hook| hook.webhook.is_active);
            delivery.created_at >= oldest || is_on_its_way
        });
        Ok((before - deliveries.len()) as u64)
    }
}

// === impl Hooks ===

impl Hooks {
    /// Removes the endpoints of a platform.
    pub(super) fn remove_platform(&mut self, id: PlatformId) {
        self.remove(|webhook| webhook.platform_id == id);
    }

    fn remove(&mut self, is_gone: impl Fn(&Webhook) -> bool) {
        self.hooks.retain(|_, hook| !is_gone(&hook.webhook));
        let hooks = &self.hooks;
        let stays = |sent: &Sent| hooks.contains_key(&sent.delivery.webhook_id);
        self.deliveries.retain(|_, sent| stays(sent));
    }

    fn of(&self, id: PlatformId) -> impl Iterator<Item = &Hook> {
        let hooks = self.hooks.values();
        hooks.filter(move |hook| hook.webhook.platform_id == id)
    }

    fn add(
        &mut self,
        id: WebhookId,
        event: &Event,
        now: Timestamp,
    ) -> Result<Delivery, StoreError> {
        let delivery = Delivery::of(event, id, now);
        let sent = Sent {
            delivery: delivery.clone(),
            payload: event.payload()?,
            claim: 0,
        };
        self.deliveries.entry(delivery.id).or_insert(sent);
        Ok(delivery)
    }
}

// === impl State ===

impl State {
    fn hook(&mut self, scope: &PlatformScope, id: WebhookId) -> Result<&mut Hook, StoreError> {
        let found = self.webhooks.hooks.get_mut(&id);
        found
            .filter(|hook| hook.webhook.platform_id == scope.platform_id())
            .ok_or(StoreError::NotFound)
    }
}
