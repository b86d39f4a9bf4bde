//! The audit log: each change with its entry.

use serde_json::{Value, json};

use crate::audit::{AuditEntry, AuditFilter};
use crate::auth::PlatformScope;
use crate::billing::LedgerAct;
use crate::store::{EndUserChanges, KeyChanges, Page, PlatformChanges};
use crate::tenancy::EndUserRef;
use crate::testing::world::{World, every};
use crate::testing::{fixtures, scopes};

async fn entries(world: &World, scope: &PlatformScope, filter: AuditFilter) -> Vec<AuditEntry> {
    let mut entries = every(3, async |page: Page| {
        world.stores.audit.audit_entries(scope, &filter, page).await
    })
    .await;
    entries.reverse();
    entries
}

async fn actions(world: &World, scope: &PlatformScope) -> Vec<String> {
    let entries = entries(world, scope, AuditFilter::default()).await;
    entries.into_iter().map(|entry| entry.action).collect()
}

/// What is made, changed and removed is in the log with the values before and after, by whom.
pub async fn every_change_has_its_entry(world: &World) {
    let acme = world.tenant("acme").await;
    world.tick();
    let user = world.end_user(&acme, "ann").await;
    world.tick();
    let named = EndUserRef::Id(user.id);
    let changes = EndUserChanges {
        display_name: Some(Some("Ann".to_owned())),
        ..EndUserChanges::default()
    };
    let tenancy = &world.stores.tenancy;
    let changed = tenancy.update_end_user(&acme.scope, &named, &changes);
    changed.await.unwrap();
    world.tick();
    let key = fixtures::platform_key(acme.platform.id, world.now());
    let keys = &world.stores.keys;
    keys.create(&acme.scope, key.clone(), 50).await.unwrap();
    world.tick();
    let off = KeyChanges {
        is_active: Some(false),
        ..KeyChanges::default()
    };
    keys.update(&acme.scope, key.id, &off).await.unwrap();
    world.tick();
    keys.delete(&acme.scope, key.id).await.unwrap();
    world.tick();
    tenancy.delete_end_user(&acme.scope, user.id).await.unwrap();

    let found = entries(world, &acme.scope, AuditFilter::default()).await;
    let seen: Vec<_> = found.iter().map(|entry| entry.action.as_str()).collect();
    let wanted = [
        "platform.create",
        "end_user.create",
        "end_user.update",
        "api_key.create",
        "api_key.update",
        "api_key.delete",
        "end_user.delete",
    ];
    assert_eq!(seen, wanted);
    let changes = |index: usize| Value::Object(found[index].changes.clone());
    assert_eq!(changes(2), json!({"display_name": [null, "Ann"]}));
    assert_eq!(changes(4), json!({"is_active": [true, false]}));
    assert_eq!(changes(5)["is_active"], json!([false, null]));
    assert_eq!(found[1].actor, acme.scope.actor());
    assert_eq!(found[2].resource.end_user_id, Some(user.id));
    assert_eq!(found[3].resource.id, Some(key.id.as_uuid()));
    assert!(
        found
            .windows(2)
            .all(|pair| pair[0].created_at < pair[1].created_at)
    );
}

/// A refused change has none, and neither has what another platform does.
pub async fn what_did_not_happen_has_no_entry(world: &World) {
    let (acme, other) = (world.tenant("acme").await, world.tenant("other").await);
    let before = actions(world, &acme.scope).await;
    let taken = PlatformChanges {
        slug: Some(other.platform.slug.clone()),
        ..PlatformChanges::default()
    };
    let tenancy = &world.stores.tenancy;
    tenancy
        .update_platform(&acme.scope, &taken)
        .await
        .unwrap_err();
    let keys = &world.stores.keys;
    keys.delete(&acme.scope, acme.key.id).await.unwrap_err();
    let user = world.end_user(&acme, "ann").await;
    let act = LedgerAct::TopUpBudget {
        end_user: user.id,
        amounts: fixtures::limits(Some(1), None),
    };
    world.try_apply(&acme, &act).await.unwrap_err();
    let after = actions(world, &acme.scope).await;
    assert_eq!(after.len(), before.len() + 1, "{after:?}");
    assert_eq!(actions(world, &other.scope).await.len(), 1);
}

/// Acts on money are in the log: what moved, and which terms changed. A repeat of a request is not.
pub async fn acts_on_money_have_entries(world: &World) {
    let acme = world.tenant("acme").await;
    let terms = fixtures::one_time(fixtures::limits(Some(5), None));
    let user = world.end_user_with_budget(&acme, "ann", terms).await;
    let act = LedgerAct::TopUpBudget {
        end_user: user.id,
        amounts: fixtures::limits(Some(2), None),
    };
    let ledger = &world.stores.ledger;
    let context = fixtures::context();
    for _ in 0..2 {
        world.tick();
        let request = Some(fixtures::repeatable(1, 1));
        let applied = ledger.apply(&acme.scope, &act, &context, request);
        applied.await.unwrap().unwrap();
    }
    world.tick();
    world
        .debit(&acme, &user, fixtures::limits(Some(1), None))
        .await;
    world.tick();
    let amount = fixtures::dollars(3);
    world.apply(&acme, LedgerAct::TopUpWallet { amount }).await;

    let found = entries(world, &acme.scope, AuditFilter::default()).await;
    let money: Vec<_> = found
        .iter()
        .filter(|entry| ["budget", "wallet"].contains(&entry.resource.kind.as_str()))
        .map(|entry| (entry.action.as_str(), Value::Object(entry.changes.clone())))
        .collect();
    let [
        (made, _),
        (topped_up, limit),
        (debited, debit),
        (paid_in, deposit),
    ] = &money[..]
    else {
        panic!("{money:?}")
    };
    assert_eq!(*made, "budget.create");
    assert_eq!(
        (*topped_up, limit),
        (
            "budget.topup",
            &json!({"max_usd": ["5.000000", "7.000000"]})
        )
    );
    assert_eq!(
        (*debited, debit),
        ("budget.debit", &json!({"amount_usd": [null, "-1.000000"]}))
    );
    assert_eq!(
        (*paid_in, deposit),
        ("wallet.topup", &json!({"amount_usd": [null, "3.000000"]}))
    );
}

/// Each filter narrows, and pages do not overlap.
pub async fn entries_are_filtered(world: &World) {
    let acme = world.tenant("acme").await;
    for name in ["ann", "bob"] {
        world.tick();
        world.end_user(&acme, name).await;
    }
    let all = entries(world, &acme.scope, AuditFilter::default()).await;
    let bob = &all[2];
    let count = async |filter: AuditFilter| entries(world, &acme.scope, filter).await.len();
    let any = AuditFilter::default;
    assert_eq!(all.len(), 3);
    let filter = AuditFilter {
        action: Some("end_user.create".to_owned()),
        ..any()
    };
    assert_eq!(count(filter).await, 2);
    let filter = AuditFilter {
        resource_type: Some("platform".to_owned()),
        ..any()
    };
    assert_eq!(count(filter).await, 1);
    let filter = AuditFilter {
        resource_id: bob.resource.id,
        ..any()
    };
    assert_eq!(count(filter).await, 1);
    let filter = AuditFilter {
        actor_key: Some(crate::id::KeyId::new()),
        ..any()
    };
    assert_eq!(count(filter).await, 0);
    let filter = AuditFilter {
        from: Some(bob.created_at),
        ..any()
    };
    assert_eq!(count(filter).await, 1);
    let filter = AuditFilter {
        to: Some(bob.created_at),
        ..any()
    };
    assert_eq!(count(filter).await, 2);
}

/// What is gone is still told of.
pub async fn entries_outlive_the_platform(world: &World) {
    let acme = world.tenant("acme").await;
    world.tick();
    let tenancy = &world.stores.tenancy;
    tenancy.delete_platform(&acme.scope).await.unwrap();
    let scope = scopes::platform(acme.platform.id);
    assert_eq!(
        actions(world, &scope).await,
        ["platform.create", "platform.delete"]
    );
}
