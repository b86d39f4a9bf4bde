//! Webhooks: every event once for each endpoint that wants it, sent by one courier at a time.

use std::collections::HashSet;
use std::time::Duration;

use super::{assert_conflict, assert_not_found, at_once};
use crate::billing::LedgerAct;
use crate::events::EventType;
use crate::id::{PlatformId, WebhookId};
use crate::store::{Page, StoredSecret};
use crate::testing::world::{Tenant, World};
use crate::testing::{fixtures, scopes};
use crate::webhooks::{
    Attempt, ClaimedDelivery, DISABLED_AFTER, Delivery, DeliveryStatus, DisabledReason,
    OLD_SECRET_FOR, WEBHOOKS_MAX, Webhook, WebhookChanges,
};

const LEASE: Duration = Duration::from_secs(40);

fn sealed(byte: u8) -> StoredSecret {
    StoredSecret(vec![byte])
}

async fn endpoint(world: &World, tenant: &Tenant, event_types: &[EventType]) -> Webhook {
    let now = world.now();
    let webhook = Webhook {
        id: WebhookId::new(),
        platform_id: PlatformId::new(),
        url: "https://example.com/hook".to_owned(),
        description: Some("Ledger mirror".to_owned()),
        event_types: event_types.to_vec(),
        is_active: true,
        disabled_reason: None,
        created_at: now,
        updated_at: now,
    };
    let store = &world.stores.webhooks;
    let made = store.create_webhook(&tenant.scope, webhook, sealed(1));
    made.await.unwrap()
}

async fn top_up(world: &World, tenant: &Tenant) {
    let amount = fixtures::dollars(1);
    world.apply(tenant, LedgerAct::TopUpWallet { amount }).await;
}

async fn fan_out(world: &World) -> u32 {
    let store = &world.stores.webhooks;
    store.fan_out(&scopes::engine(), 100).await.unwrap()
}

async fn deliveries(world: &World, tenant: &Tenant, id: WebhookId) -> Vec<Delivery> {
    let page = Page {
        page: 1,
        limit: 100,
    };
    let store = &world.stores.webhooks;
    store
        .deliveries(&tenant.scope, id, page)
        .await
        .unwrap()
        .rows
}

async fn claim(world: &World, id: WebhookId, most: u32) -> Vec<ClaimedDelivery> {
    let (store, scope) = (&world.stores.webhooks, scopes::engine());
    store
        .claim_deliveries(&scope, id, LEASE, most)
        .await
        .unwrap()
}

async fn finish(world: &World, claimed: &ClaimedDelivery, attempt: &Attempt) -> bool {
    let (store, scope) = (&world.stores.webhooks, scopes::engine());
    let id = claimed.delivery.id;
    let finished = store.finish_attempt(&scope, id, claimed.claim, attempt);
    finished.await.unwrap()
}

fn success() -> Attempt {
    Attempt {
        is_success: true,
        response_status: Some(204),
        ..Attempt::default()
    }
}

fn failure(again_in: Option<Duration>) -> Attempt {
    Attempt {
        error: Some("the connection broke".to_owned()),
        again_in,
        ..Attempt::default()
    }
}

/// Endpoints are made, listed, changed and removed, ten of them at most.
pub async fn webhooks_are_kept(world: &World) {
    let acme = world.tenant("acme").await;
    let store = &world.stores.webhooks;
    let mut made = Vec::new();
    for _ in 0..WEBHOOKS_MAX {
        world.tick();
        made.push(endpoint(world, &acme, &[EventType::BudgetToppedUp]).await);
    }
    let one_more = store.create_webhook(&acme.scope, made[0].clone(), sealed(2));
    assert_conflict(one_more.await, "webhook");
    assert!(made.iter().all(|row| row.platform_id == acme.platform.id));
    let listed = store.webhooks(&acme.scope, Page::default()).await.unwrap();
    made.reverse();
    assert_eq!(listed.rows, made);

    world.tick();
    let changes = WebhookChanges {
        url: Some("https://example.org/".to_owned()),
        description: Some(None),
        event_types: Some(vec![EventType::BudgetSuspended, EventType::EndUserCreated]),
        is_active: Some(false),
    };
    let id = made[0].id;
    let changed = store
        .update_webhook(&acme.scope, id, &changes)
        .await
        .unwrap();
    assert_eq!(changed.url, "https://example.org/");
    assert_eq!(changed.description, None);
    assert_eq!(changed.event_types, changes.event_types.unwrap());
    assert!(!changed.is_active);
    assert_eq!(changed.updated_at, world.now());
    let (read, secret) = store.webhook(&acme.scope, id).await.unwrap();
    assert_eq!((read, secret), (changed, sealed(1)));

    store.delete_webhook(&acme.scope, id).await.unwrap();
    assert_not_found(store.webhook(&acme.scope, id).await);
    endpoint(world, &acme, &[EventType::BudgetToppedUp]).await;
}

/// No scope reaches another platform's endpoints and deliveries, and nobody is told of another's events.
pub async fn another_platform_reaches_no_webhooks(world: &World) {
    let (acme, other) = (world.tenant("acme").await, world.tenant("other").await);
    let hook = endpoint(world, &acme, &[EventType::WalletToppedUp]).await;
    world.tick();
    top_up(world, &acme).await;
    top_up(world, &other).await;
    fan_out(world).await;
    let told = deliveries(world, &acme, hook.id).await;
    assert_eq!(told.len(), 2, "{told:?}");
    let (store, page) = (&world.stores.webhooks, Page::default());
    let (scope, id) = (&other.scope, hook.id);
    assert_eq!(store.webhooks(scope, page).await.unwrap().total, 0);
    assert_not_found(store.webhook(scope, id).await);
    let changes = WebhookChanges::default();
    assert_not_found(store.update_webhook(scope, id, &changes).await);
    assert_not_found(store.rotate_webhook_secret(scope, id, sealed(2)).await);
    assert_not_found(store.deliveries(scope, id, page).await);
    assert_not_found(store.replay_delivery(scope, id, told[0].id).await);
    let event = &world.events(&acme).await[0];
    assert_not_found(store.add_delivery(scope, id, event).await);
    assert_not_found(store.delete_webhook(scope, id).await);
    assert_eq!(deliveries(world, &acme, id).await, told);
}

/// Each event makes one delivery for each endpoint that wants it, whoever fans out and how often.
pub async fn events_are_fanned_out_once(world: &World) {
    let acme = world.tenant("acme").await;
    fan_out(world).await;
    let both = [EventType::WalletToppedUp, EventType::EndUserCreated];
    let all = endpoint(world, &acme, &both).await.id;
    let few = endpoint(world, &acme, &both[1..]).await.id;
    world.tick();
    for _ in 0..20 {
        top_up(world, &acme).await;
    }
    world.end_user(&acme, "ann").await;
    let store = world.stores.webhooks.clone();
    let fanned_out = at_once(4, move |_| {
        let store = store.clone();
        async move {
            let mut sum = 0;
            loop {
                match store.fan_out(&scopes::engine(), 5).await.unwrap() {
                    0 => return sum,
                    some => sum += some,
                }
            }
        }
    });
    let sum: u32 = fanned_out.await.into_iter().sum();
    assert_eq!(sum, 21);
    let told = deliveries(world, &acme, all).await;
    let ids: HashSet<_> = told.iter().map(|row| row.event_id.to_string()).collect();
    let events = world.events(&acme).await;
    let wanted = events
        .iter()
        .filter(|event| both.contains(&event.event_type()));
    let wanted: HashSet<_> = wanted.map(|event| event.id.to_string()).collect();
    assert!(ids.is_subset(&wanted));
    assert_eq!((ids.len(), told.len()), (21, 21));
    assert_eq!(deliveries(world, &acme, few).await.len(), 1);
    assert_eq!(fan_out(world).await, 0);
}

/// A claim is for one courier until its lease runs out; who comes late with what it claimed changes nothing.
pub async fn a_delivery_is_claimed_by_one(world: &World) {
    let acme = world.tenant("acme").await;
    fan_out(world).await;
    let hook = endpoint(world, &acme, &[EventType::WalletToppedUp])
        .await
        .id;
    for _ in 0..10 {
        top_up(world, &acme).await;
    }
    fan_out(world).await;
    let store = world.stores.webhooks.clone();
    let claims = at_once(4, move |_| {
        let store = store.clone();
        async move {
            let scope = scopes::engine();
            let claimed = store.claim_deliveries(&scope, hook, LEASE, 4).await;
            claimed.unwrap()
        }
    });
    let mut claimed: Vec<_> = claims.await.into_iter().flatten().collect();
    // Somebody may have passed over what another one was just looking at.
    claimed.extend(claim(world, hook, 10).await);
    let ids: HashSet<_> = claimed.iter().map(|claim| claim.delivery.id).collect();
    assert_eq!((ids.len(), claimed.len()), (10, 10));
    assert!(claim(world, hook, 10).await.is_empty());
    let first = &claimed[0];
    assert_eq!(first.url, "https://example.com/hook");
    assert_eq!(first.secrets, [sealed(1)]);
    let events = world.events(&acme).await;
    let event = events
        .iter()
        .find(|event| event.id == first.delivery.event_id);
    assert_eq!(
        first.payload,
        serde_json::to_string(event.unwrap()).unwrap()
    );

    world.pass(LEASE);
    let again = claim(world, hook, 10).await;
    assert_eq!(again.len(), 10);
    finish(world, first, &success()).await;
    let pending = |row: &Delivery| row.status == DeliveryStatus::Pending && row.attempt == 0;
    assert!(deliveries(world, &acme, hook).await.iter().all(pending));
    for claimed in &again {
        finish(world, claimed, &success()).await;
    }
    let rows = deliveries(world, &acme, hook).await;
    let taken = |row: &Delivery| {
        (row.status, row.attempt) == (DeliveryStatus::Delivered, 1)
            && (row.response_status, row.next_attempt_at) == (Some(204), None)
    };
    assert!(rows.iter().all(taken), "{rows:?}");
}

/// What failed is due again when it was said, or never; a replay begins anew.
pub async fn failures_are_due_again(world: &World) {
    let acme = world.tenant("acme").await;
    fan_out(world).await;
    let hook = endpoint(world, &acme, &[EventType::WalletToppedUp])
        .await
        .id;
    top_up(world, &acme).await;
    fan_out(world).await;
    let (store, scope) = (&world.stores.webhooks, scopes::engine());
    let due = || async { store.due_webhooks(&scope, &[], 10).await.unwrap() };
    assert!(!due().await[0].is_failing);
    assert!(
        store
            .due_webhooks(&scope, &[hook], 10)
            .await
            .unwrap()
            .is_empty()
    );
    let claimed = claim(world, hook, 1).await.remove(0);
    finish(world, &claimed, &failure(Some(Duration::from_mins(5)))).await;
    let row = deliveries(world, &acme, hook).await.remove(0);
    assert_eq!(row.error.as_deref(), Some("the connection broke"));
    world.pass(Duration::from_secs(299));
    assert!(due().await.is_empty());
    world.pass(Duration::from_secs(1));
    assert!(due().await[0].is_failing);
    let claimed = claim(world, hook, 1).await.remove(0);
    finish(world, &claimed, &failure(None)).await;
    let row = deliveries(world, &acme, hook).await.remove(0);
    assert_eq!((row.status, row.attempt), (DeliveryStatus::Failed, 2));
    world.pass(Duration::from_hours(1));
    assert!(due().await.is_empty());

    let replayed = store
        .replay_delivery(&acme.scope, hook, row.id)
        .await
        .unwrap();
    assert_eq!((replayed.id, replayed.attempt), (row.id, 0));
    let claimed = claim(world, hook, 1).await.remove(0);
    finish(world, &claimed, &success()).await;
    top_up(world, &acme).await;
    fan_out(world).await;
    assert!(!due().await[0].is_failing);
}

/// The secret before the last rotation signs, too, for a day.
pub async fn a_rotated_secret_signs_for_a_day(world: &World) {
    let acme = world.tenant("acme").await;
    fan_out(world).await;
    let hook = endpoint(world, &acme, &[EventType::WalletToppedUp])
        .await
        .id;
    top_up(world, &acme).await;
    fan_out(world).await;
    let (store, scope) = (&world.stores.webhooks, &acme.scope);
    for byte in [2, 3] {
        let rotated = store.rotate_webhook_secret(scope, hook, sealed(byte));
        rotated.await.unwrap();
    }
    assert_eq!(store.webhook(scope, hook).await.unwrap().1, sealed(3));
    let signs = || async { claim(world, hook, 1).await.remove(0).secrets };
    assert_eq!(signs().await, [sealed(3), sealed(2)]);
    world.pass(OLD_SECRET_FOR - Duration::from_micros(1));
    assert_eq!(signs().await, [sealed(3), sealed(2)]);
    world.pass(LEASE);
    assert_eq!(signs().await, [sealed(3)]);
}

/// An endpoint that fails for five days without a success is switched off, and keeps what waits until it is on again.
pub async fn what_fails_for_long_is_switched_off(world: &World) {
    let acme = world.tenant("acme").await;
    fan_out(world).await;
    let hook = endpoint(world, &acme, &[EventType::WalletToppedUp])
        .await
        .id;
    top_up(world, &acme).await;
    fan_out(world).await;
    let again = failure(Some(Duration::ZERO));
    for (pass, attempt, is_off) in [
        (Duration::ZERO, &again, false),
        (DISABLED_AFTER - Duration::from_micros(1), &again, false),
        (Duration::from_secs(1), &again, true),
    ] {
        world.pass(pass);
        let claimed = claim(world, hook, 1).await.remove(0);
        assert_eq!(finish(world, &claimed, attempt).await, is_off);
    }
    let (store, scope) = (&world.stores.webhooks, &acme.scope);
    let (webhook, _) = store.webhook(scope, hook).await.unwrap();
    assert!(!webhook.is_active);
    assert_eq!(webhook.disabled_reason, Some(DisabledReason::Failing));
    assert!(claim(world, hook, 1).await.is_empty());
    let due = store
        .due_webhooks(&scopes::engine(), &[], 10)
        .await
        .unwrap();
    assert!(due.is_empty());
    top_up(world, &acme).await;
    fan_out(world).await;
    let on = WebhookChanges {
        is_active: Some(true),
        ..WebhookChanges::default()
    };
    let webhook = store.update_webhook(scope, hook, &on).await.unwrap();
    assert_eq!(webhook.disabled_reason, None);
    let claimed = claim(world, hook, 10).await;
    assert_eq!(claimed.len(), 1);
    assert!(!finish(world, &claimed[0], &again).await);
}

/// Old deliveries go, but for those that are on their way; the rest goes with the platform.
pub async fn old_deliveries_are_pruned(world: &World) {
    let acme = world.tenant("acme").await;
    fan_out(world).await;
    let hook = endpoint(world, &acme, &[EventType::WalletToppedUp])
        .await
        .id;
    for _ in 0..3 {
        top_up(world, &acme).await;
    }
    fan_out(world).await;
    for attempt in [success(), failure(None)] {
        let claimed = claim(world, hook, 1).await.remove(0);
        finish(world, &claimed, &attempt).await;
    }
    let (store, scope) = (&world.stores.webhooks, scopes::engine());
    world.pass(Duration::from_hours(7 * 24));
    assert_eq!(store.prune_deliveries(&scope).await.unwrap(), 0);
    world.pass(Duration::from_micros(1));
    assert_eq!(store.prune_deliveries(&scope).await.unwrap(), 2);
    assert_eq!(deliveries(world, &acme, hook).await.len(), 1);
    let tenancy = &world.stores.tenancy;
    tenancy.delete_platform(&acme.scope).await.unwrap();
    assert!(
        store
            .due_webhooks(&scope, &[], 10)
            .await
            .unwrap()
            .is_empty()
    );
    assert!(claim(world, hook, 10).await.is_empty());
}
