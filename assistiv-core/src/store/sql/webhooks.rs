//! [`WebhookStore`] in SQL: deliveries are claimed by rows that nobody else has locked.

use std::time::Duration;

use async_trait::async_trait;
use sea_orm::sea_query::{Expr, LockBehavior, LockType};
use sea_orm::{
    ActiveModelTrait, ActiveValue, ColumnTrait, Condition, ConnectionTrait, DatabaseTransaction,
    EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect, Select, Set,
};
use uuid::Uuid;

use super::entities::{event, webhook, webhook_delivery};
use super::error::failed;
use super::keys::lock_platform;
use super::query::page_of;
use super::{SqlStore, commit};
use crate::audit::AuditEntry;
use crate::auth::{PlatformScope, SweeperScope};
use crate::clock::Timestamp;
use crate::events::Event;
use crate::id::{DeliveryId, WebhookId};
use crate::store::sql::audit::record;
use crate::store::{Listed, Page, StoreError, StoredSecret};
use crate::webhooks::{
    Attempt, ClaimedDelivery, Delivery, DeliveryStatus, DisabledReason, DueWebhook, OLD_SECRET_FOR,
    WEBHOOKS_MAX, Webhook, WebhookChanges, WebhookStore, failing_since, later, oldest_delivery,
};

#[async_trait]
impl WebhookStore for SqlStore {
    async fn create_webhook(
        &self,
        scope: &PlatformScope,
        mut webhook: Webhook,
        secret: StoredSecret,
    ) -> Result<Webhook, StoreError> {
        let txn = self.begin_write().await?;
        lock_platform(&txn, scope).await?;
        let count = webhook::Entity::of(scope).count(&txn).await;
        if count.map_err(failed)? >= u64::from(WEBHOOKS_MAX) {
            return Err(StoreError::Conflict("webhook"));
        }
        let now = self.now();
        webhook.platform_id = scope.platform_id();
        (webhook.created_at, webhook.updated_at) = (now, now);
        let row = webhook::row(scope, &webhook, Some(secret))?;
        row.insert(&txn).await.map_err(failed)?;
        record(&txn, AuditEntry::created(scope, &webhook, now)).await?;
        commit(txn).await?;
        Ok(webhook)
    }

    async fn webhooks(
        &self,
        scope: &PlatformScope,
        page: Page,
    ) -> Result<Listed<Webhook>, StoreError> {
        let newest_first = webhook::Entity::of(scope)
            .order_by_desc(webhook::Column::CreatedAt)
            .order_by_desc(webhook::Column::Id);
        let txn = self.begin_read().await?;
        page_of(&txn, newest_first, page, |row| row.to_domain()).await
    }

    async fn webhook(
        &self,
        scope: &PlatformScope,
        id: WebhookId,
    ) -> Result<(Webhook, StoredSecret), StoreError> {
        let row = find(self.reader(), webhook::Entity::one_of(scope, id)).await?;
        Ok((row.to_domain()?, StoredSecret(row.secret)))
    }

    async fn update_webhook(
        &self,
        scope: &PlatformScope,
        id: WebhookId,
        changes: &WebhookChanges,
    ) -> Result<Webhook, StoreError> {
        let txn = self.begin_write().await?;
        let select = webhook::Entity::one_of(scope, id).lock_exclusive();
        let mut webhook = find(&txn, select).await?.to_domain()?;
        let before = webhook.clone();
        changes.apply_to(&mut webhook, self.now());
        let entry = AuditEntry::updated(scope, &before, &webhook, self.now());
        record(&txn, entry).await?;
        let mut row = webhook::row(scope, &webhook, None)?;
        if changes.is_active == Some(true) {
            row.failing_since = Set(None);
        }
        row.update(&txn).await.map_err(failed)?;
        commit(txn).await?;
        Ok(webhook)
    }

    async fn rotate_webhook_secret(
        &self,
        scope: &PlatformScope,
        id: WebhookId,
        secret: StoredSecret,
    ) -> Result<Webhook, StoreError> {
        let txn = self.begin_write().await?;
        let now = self.now();
        let select = webhook::Entity::one_of(scope, id).lock_exclusive();
        let row = find(&txn, select).await?;
        let mut webhook = row.to_domain()?;
        webhook.updated_at = now;
        let change = webhook::ActiveModel {
            id: ActiveValue::Unchanged(row.id),
            secret: Set(secret.0),
            old_secret: Set(Some(row.secret)),
            old_secret_until: Set(Some(later(now, OLD_SECRET_FOR).as_micros())),
            updated_at: Set(now.as_micros()),
            ..Default::default()
        };
        change.update(&txn).await.map_err(failed)?;
        let entry = AuditEntry::about(scope, "rotate_secret", Some(&webhook), &webhook, now);
        record(&txn, entry.with_secret("secret")).await?;
        commit(txn).await?;
        Ok(webhook)
    }

    async fn delete_webhook(&self, scope: &PlatformScope, id: WebhookId) -> Result<(), StoreError> {
        let txn = self.begin_write().await?;
        let select = webhook::Entity::one_of(scope, id).lock_exclusive();
        let row = find(&txn, select).await?;
        // Its deliveries go with it.
        let gone = webhook::Entity::delete_by_id(row.id).exec(&txn).await;
        gone.map_err(failed)?;
        let entry = AuditEntry::deleted(scope, &row.to_domain()?, self.now());
        record(&txn, entry).await?;
        commit(txn).await
    }

    async fn add_delivery(
        &self,
        scope: &PlatformScope,
        id: WebhookId,
        event: &Event,
    ) -> Result<Delivery, StoreError> {
        let txn = self.begin_write().await?;
        find(&txn, webhook::Entity::one_of(scope, id).lock_shared()).await?;
        let delivery = Delivery::of(event, id, self.now());
        let row = webhook_delivery::row(event, &delivery)?;
        let added = webhook_delivery::NEW.run(&txn, vec![row]).await;
        added.map_err(failed)?;
        commit(txn).await?;
        Ok(delivery)
    }

    async fn deliveries(
        &self,
        scope: &PlatformScope,
        id: WebhookId,
        page: Page,
    ) -> Result<Listed<Delivery>, StoreError> {
        let txn = self.begin_read().await?;
        find(&txn, webhook::Entity::one_of(scope, id)).await?;
        let newest_first = webhook_delivery::Entity::of(scope, id)
            .order_by_desc(webhook_delivery::Column::CreatedAt)
            .order_by_desc(webhook_delivery::Column::Id);
        page_of(&txn, newest_first, page, |row| row.to_domain()).await
    }

    async fn replay_delivery(
        &self,
        scope: &PlatformScope,
        id: WebhookId,
        delivery: DeliveryId,
    ) -> Result<Delivery, StoreError> {
        let txn = self.begin_write().await?;
        let row = webhook_delivery::Entity::of(scope, id)
            .filter(webhook_delivery::Column::Id.eq(delivery.as_uuid()))
            .lock_exclusive()
            .one(&txn)
            .await
            .map_err(failed)?
            .ok_or(StoreError::NotFound)?;
        let mut delivery = row.to_domain()?;
        delivery.replay(self.now());
        let claim = row.claim + 1;
        write(&txn, row, &delivery, claim).await?;
        commit(txn).await?;
        Ok(delivery)
    }

    async fn fan_out(&self, scope: &SweeperScope, most: u32) -> Result<u32, StoreError> {
        // Most often there is nothing new: that is found out without the right to write.
        let new = event::Entity::not_fanned_out(scope).limit(1);
        let new = new.one(self.reader()).await.map_err(failed)?;
        if new.is_none() {
            return Ok(0);
        }
        self.retrying(|| fan_out(self, scope, most)).await
    }

    async fn due_webhooks(
        &self,
        scope: &SweeperScope,
        except: &[WebhookId],
        most: u32,
    ) -> Result<Vec<DueWebhook>, StoreError> {
        use webhook_delivery::Column;
        let except = except.iter().map(|id| id.as_uuid());
        let due: Vec<(Uuid, Option<i64>)> = webhook_delivery::Entity::due(scope, self.now())
            .filter(Column::WebhookId.is_not_in(except))
            .filter(Column::WebhookId.in_subquery(webhook::Entity::active_ids(scope)))
            .select_only()
            .column(Column::WebhookId)
            .column_as(Column::DueAt.min(), "first")
            .group_by(Column::WebhookId)
            .order_by_asc(Column::DueAt.min())
            .limit(u64::from(most))
            .into_tuple()
            .all(self.reader())
            .await
            .map_err(failed)?;
        if due.is_empty() {
            return Ok(Vec::new());
        }
        let ids = due.iter().map(|(id, _)| *id);
        let failing: Vec<Uuid> = webhook::Entity::all(scope)
            .filter(webhook::Column::Id.is_in(ids))
            .filter(webhook::Column::FailingSince.is_not_null())
            .select_only()
            .column(webhook::Column::Id)
            .into_tuple()
            .all(self.reader())
            .await
            .map_err(failed)?;
        let due = due.into_iter().map(|(id, _)| DueWebhook {
            id: WebhookId::from_uuid(id),
            is_failing: failing.contains(&id),
        });
        Ok(due.collect())
    }

    async fn claim_deliveries(
        &self,
        scope: &SweeperScope,
        webhook: WebhookId,
        lease: Duration,
        most: u32,
    ) -> Result<Vec<ClaimedDelivery>, StoreError> {
        self.retrying(|| claim(self, scope, webhook, lease, most))
            .await
    }

    async fn finish_attempt(
        &self,
        scope: &SweeperScope,
        delivery: DeliveryId,
        claim: i64,
        attempt: &Attempt,
    ) -> Result<bool, StoreError> {
        self.retrying(|| finish(self, scope, delivery, claim, attempt))
            .await
    }

    async fn prune_deliveries(&self, scope: &SweeperScope) -> Result<u64, StoreError> {
        use webhook_delivery::Column;
        let txn = self.begin_write().await?;
        let oldest = oldest_delivery(self.now()).as_micros();
        let is_over = Condition::any()
            .add(Column::Status.ne(DeliveryStatus::Pending as i16))
            .add(Column::WebhookId.not_in_subquery(webhook::Entity::active_ids(scope)));
        let pruned = webhook_delivery::Entity::delete_many()
            .filter(Column::CreatedAt.lt(oldest))
            .filter(is_over)
            .exec(&txn)
            .await
            .map_err(failed)?;
        commit(txn).await?;
        Ok(pruned.rows_affected)
    }
}

async fn fan_out(store: &SqlStore, scope: &SweeperScope, most: u32) -> Result<u32, StoreError> {
    let txn = store.begin_write().await?;
    let rows = event::Entity::not_fanned_out(scope)
        .limit(u64::from(most))
        .lock_with_behavior(LockType::Update, LockBehavior::SkipLocked)
        .all(&txn)
        .await
        .map_err(failed)?;
    if rows.is_empty() {
        return Ok(0);
    }
    let ids: Vec<_> = rows.iter().map(|row| row.event_id.clone()).collect();
    let platforms = rows.iter().map(|row| row.platform_id);
    let hooks = webhook::Entity::all(scope)
        .filter(webhook::Column::PlatformId.is_in(platforms))
        .filter(webhook::Column::IsActive.eq(true))
        .all(&txn)
        .await
        .map_err(failed)?;
    let hooks: Result<Vec<_>, _> = hooks.iter().map(webhook::Model::to_domain).collect();
    let (hooks, now) = (hooks?, store.now());
    let mut deliveries = Vec::new();
    for row in rows {
        let event = row.into_domain()?;
        for hook in hooks.iter().filter(|hook| hook.wants(&event)) {
            let delivery = Delivery::of(&event, hook.id, now);
            deliveries.push(webhook_delivery::row(&event, &delivery)?);
        }
    }
    let made = webhook_delivery::NEW.run(&txn, deliveries).await;
    made.map_err(failed)?;
    let count = u32::try_from(ids.len()).unwrap_or(u32::MAX);
    event::Entity::update_many()
        .col_expr(event::Column::FannedOut, Expr::val(true))
        .filter(event::Column::EventId.is_in(ids))
        .exec(&txn)
        .await
        .map_err(failed)?;
    commit(txn).await?;
    Ok(count)
}

async fn claim(
    store: &SqlStore,
    scope: &SweeperScope,
    webhook: WebhookId,
    lease: Duration,
    most: u32,
) -> Result<Vec<ClaimedDelivery>, StoreError> {
    let txn = store.begin_write().await?;
    let now = store.now();
    let hook = webhook::Entity::all(scope)
        .filter(webhook::Column::Id.eq(webhook.as_uuid()))
        .filter(webhook::Column::IsActive.eq(true));
    let Some(hook) = hook.one(&txn).await.map_err(failed)? else {
        return Ok(Vec::new());
    };
    let rows = webhook_delivery::Entity::due(scope, now)
        .filter(webhook_delivery::Column::WebhookId.eq(hook.id))
        .order_by_asc(webhook_delivery::Column::DueAt)
        .order_by_asc(webhook_delivery::Column::Id)
        .limit(u64::from(most))
        .lock_with_behavior(LockType::Update, LockBehavior::SkipLocked)
        .all(&txn)
        .await
        .map_err(failed)?;
    let secrets = hook.secrets(now);
    let mut claimed = Vec::with_capacity(rows.len());
    for row in rows {
        let mut delivery = row.to_domain()?;
        delivery.next_attempt_at = Some(later(now, lease));
        let claim = row.claim + 1;
        claimed.push(ClaimedDelivery {
            delivery: delivery.clone(),
            claim,
            url: hook.url.clone(),
            payload: row.payload.clone(),
            secrets: secrets.clone(),
        });
        write(&txn, row, &delivery, claim).await?;
    }
    commit(txn).await?;
    Ok(claimed)
}

/// Locks the delivery before its endpoint, as a claim does.
async fn finish(
    store: &SqlStore,
    scope: &SweeperScope,
    id: DeliveryId,
    claim: i64,
    attempt: &Attempt,
) -> Result<bool, StoreError> {
    let txn = store.begin_write().await?;
    let now = store.now();
    let row = webhook_delivery::Entity::one(scope, id).lock_exclusive();
    let row = row.one(&txn).await.map_err(failed)?;
    let Some(row) = row.filter(|row| row.claim == claim) else {
        return Ok(false);
    };
    let mut delivery = row.to_domain()?;
    delivery.ended(attempt, now);
    let hook = row.webhook_id;
    write(&txn, row, &delivery, claim).await?;
    let disabled = note(&txn, scope, hook, attempt.is_success, now).await?;
    commit(txn).await?;
    Ok(disabled)
}

/// Takes down that an endpoint works or fails; says whether that switched it off.
async fn note(
    txn: &DatabaseTransaction,
    scope: &SweeperScope,
    id: Uuid,
    is_success: bool,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let hook = || webhook::Entity::all(scope).filter(webhook::Column::Id.eq(id));
    // Where nothing changes nobody waits for the row.
    let seen = hook().one(txn).await.map_err(failed)?;
    if is_success && seen.is_none_or(|hook| hook.failing_since.is_none()) {
        return Ok(false);
    }
    let locked = hook().lock_exclusive().one(txn).await.map_err(failed)?;
    let Some(row) = locked else {
        return Ok(false);
    };
    let before = row.failing_since.map(Timestamp::from_micros);
    let (since, for_too_long) = failing_since(before, is_success, now);
    let disable = for_too_long && row.is_active;
    let mut change = webhook::ActiveModel {
        id: ActiveValue::Unchanged(id),
        failing_since: Set(since.map(Timestamp::as_micros)),
        ..Default::default()
    };
    if disable {
        change.is_active = Set(false);
        change.disabled_reason = Set(Some(DisabledReason::Failing.as_str().to_owned()));
        change.updated_at = Set(now.as_micros());
    }
    change.update(txn).await.map_err(failed)?;
    Ok(disable)
}

async fn write(
    txn: &DatabaseTransaction,
    row: webhook_delivery::Model,
    delivery: &Delivery,
    claim: i64,
) -> Result<(), StoreError> {
    let changed = row.with(delivery, claim);
    changed.update(txn).await.map_err(failed)?;
    Ok(())
}

async fn find(
    db: &impl ConnectionTrait,
    select: Select<webhook::Entity>,
) -> Result<webhook::Model, StoreError> {
    let found = select.one(db).await.map_err(failed)?;
    found.ok_or(StoreError::NotFound)
}
