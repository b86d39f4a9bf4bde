//! End users: made once however often, changed, and removed with what is theirs.

use super::{assert_conflict, assert_not_found, at_once};
use crate::billing::Amounts;
use crate::id::{EndUserId, KeyId, PlatformId};
use crate::keys::ApiKey;
use crate::store::{EndUserChanges, EndUserFilter, KeyFilter, NewEndUser, Page, Upsert};
use crate::tenancy::{EndUser, EndUserRef};
use crate::testing::world::{Tenant, World, every};
use crate::testing::{fixtures, scopes};

async fn keys_of(world: &World, tenant: &Tenant, end_user: EndUserId) -> Vec<ApiKey> {
    let filter = KeyFilter {
        of_end_users: true,
        end_user_id: Some(end_user),
        is_active: None,
    };
    let keys = &world.stores.keys;
    every(100, async |page| {
        keys.list(&tenant.scope, &filter, page).await
    })
    .await
}

/// An end user comes with its key, and with a budget when one is given.
pub async fn creation_makes_user_key_and_budget(world: &World) {
    let acme = world.tenant("acme").await;
    let terms = fixtures::daily(fixtures::limits(Some(5), Some(1000)));
    let budget = fixtures::new_budget(terms.clone());
    let mut new = fixtures::new_end_user(acme.platform.id, "ann", world.now());
    new.budget = Some(budget.clone());
    let (wanted, key) = (new.end_user.clone(), new.key.clone());
    let made = world
        .stores
        .tenancy
        .create_end_user(&acme.scope, new)
        .await
        .unwrap();
    assert_eq!(made, Upsert::Created(wanted.clone()));

    let found = world
        .stores
        .keys
        .find_by_digest(&scopes::digest(), &key.digest)
        .await
        .unwrap();
    let record = found.unwrap();
    assert_eq!(record.key, key);
    assert_eq!(record.end_user_is_active, Some(true));
    assert_eq!(record.platform, Some((acme.platform.clone(), acme.wallet)));

    let stored = world.budget(&acme, &wanted).await;
    assert_eq!((stored.id, stored.end_user_id), (budget.id, wanted.id));
    assert_eq!((stored.terms, stored.used_usd.get()), (terms, 0));
    let entries = world.budget_entries(&acme, &wanted).await;
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].entry.uid, budget.opening);
}

/// A repeat leaves the user as it is and gives it one more key; the earlier ones keep working.
pub async fn a_repeat_adds_a_key_and_keeps_the_user(world: &World) {
    let acme = world.tenant("acme").await;
    let first = fixtures::new_end_user(acme.platform.id, "ann", world.now());
    let mut second = fixtures::new_end_user(acme.platform.id, "ann", world.now());
    second.end_user.display_name = Some("Ann, again".into());
    second.end_user.metadata = fixtures::from_json(r#"{"changed": true}"#);
    let terms = fixtures::one_time(fixtures::limits(Some(1), None));
    second.budget = Some(fixtures::new_budget(terms));
    let (ann, keys) = (
        first.end_user.clone(),
        [first.key.clone(), second.key.clone()],
    );

    let tenancy = &world.stores.tenancy;
    let made = tenancy.create_end_user(&acme.scope, first).await.unwrap();
    assert_eq!(made, Upsert::Created(ann.clone()));
    let again = tenancy.create_end_user(&acme.scope, second).await.unwrap();
    assert_eq!(again, Upsert::Existing(ann.clone()));
    assert_eq!(
        tenancy
            .end_user(&acme.scope, &EndUserRef::Id(ann.id))
            .await
            .unwrap(),
        ann
    );
    for key in keys {
        let found = world
            .stores
            .keys
            .find_by_digest(&scopes::digest(), &key.digest)
            .await;
        let record = found.unwrap().unwrap();
        assert_eq!(
            (record.key.id, record.key.end_user_id),
            (key.id, Some(ann.id))
        );
        assert_eq!(
            (record.key.is_active, record.end_user_is_active),
            (true, Some(true))
        );
    }
    assert!(
        world
            .stores
            .ledger
            .budget(&acme.scope, ann.id)
            .await
            .unwrap()
            .is_none()
    );
}

/// Of concurrent first calls for one `external_id` one makes the user, and every key works.
pub async fn concurrent_first_calls_make_one_user(world: &World) {
    let acme = world.tenant("acme").await;
    let results = at_once(32, |_| {
        let (tenancy, scope) = (world.stores.tenancy.clone(), acme.scope);
        let mut new = fixtures::new_end_user(scope.platform_id(), "ann", world.now());
        new.active_keys_max = 100;
        async move { tenancy.create_end_user(&scope, new).await.unwrap() }
    })
    .await;
    let created = results
        .iter()
        .filter(|result| matches!(result, Upsert::Created(_)))
        .count();
    assert_eq!(created, 1);
    let ids: std::collections::HashSet<EndUserId> = results
        .iter()
        .map(|result| match result {
            Upsert::Created(user) | Upsert::Existing(user) => user.id,
        })
        .collect();
    assert_eq!(ids.len(), 1);
    let id = ids.into_iter().next().unwrap();
    assert_eq!(keys_of(world, &acme, id).await.len(), 32);
    let (tenancy, filter) = (&world.stores.tenancy, EndUserFilter::default());
    let listed = tenancy
        .end_users(&acme.scope, &filter, Page::default())
        .await
        .unwrap();
    assert_eq!(listed.total, 1);
}

/// A repeat for an inactive user is refused, and no key is made.
pub async fn an_inactive_user_gets_no_key(world: &World) {
    let acme = world.tenant("acme").await;
    let ann = world.end_user(&acme, "ann").await;
    world.switch_end_user_off(&acme, &ann).await;
    let again = fixtures::new_end_user(acme.platform.id, "ann", world.now());
    let digest = again.key.digest;
    let refused = world
        .stores
        .tenancy
        .create_end_user(&acme.scope, again)
        .await;
    assert_conflict(refused, "inactive end user");
    let key = world
        .stores
        .keys
        .find_by_digest(&scopes::digest(), &digest)
        .await
        .unwrap();
    assert!(key.is_none(), "a key was made for an inactive user");
    assert_eq!(keys_of(world, &acme, ann.id).await.len(), 1);
}

/// The key that would exceed the limit displaces the one unused for longest.
pub async fn the_key_unused_for_longest_gives_way(world: &World) {
    let acme = world.tenant("acme").await;
    let new = |world: &World| fixtures::new_end_user(acme.platform.id, "ann", world.now());
    let mut ids: Vec<KeyId> = Vec::new();
    let mut ann = None;
    for _ in 0..20 {
        let NewEndUser { key, .. } = new(world);
        ids.push(key.id);
        let made = NewEndUser { key, ..new(world) };
        let made = world
            .stores
            .tenancy
            .create_end_user(&acme.scope, made)
            .await
            .unwrap();
        let (Upsert::Created(user) | Upsert::Existing(user)) = made;
        ann = Some(user.id);
        world.tick();
    }
    let ann = ann.unwrap();
    let active = keys_of(world, &acme, ann).await;
    assert!(active.iter().all(|key| key.is_active), "20 keys fit");

    // The seventh was never used, and is older than the last use of any other.
    let used: Vec<_> = ids
        .iter()
        .filter(|id| **id != ids[6])
        .map(|id| (*id, world.now()))
        .collect();
    world
        .stores
        .keys
        .touch(&scopes::digest(), &used)
        .await
        .unwrap();
    world.tick();
    world
        .stores
        .tenancy
        .create_end_user(&acme.scope, new(world))
        .await
        .unwrap();
    let keys = keys_of(world, &acme, ann).await;
    let revoked: Vec<KeyId> = keys
        .iter()
        .filter(|key| !key.is_active)
        .map(|key| key.id)
        .collect();
    assert_eq!((keys.len(), revoked), (21, vec![ids[6]]));
}

/// `external_id` and the time of creation stay what they were.
pub async fn an_update_changes_only_what_may_change(world: &World) {
    let acme = world.tenant("acme").await;
    let ann = world.end_user(&acme, "ann").await;
    world.tick();
    let id = EndUserRef::Id(ann.id);
    let wanted = EndUser {
        display_name: Some("Ann".into()),
        metadata: fixtures::from_json(r#"{"a": 1.0e2, "b": {"c" : [ ]}}"#),
        is_active: false,
        updated_at: world.now(),
        ..ann.clone()
    };
    let changes = EndUserChanges {
        display_name: Some(wanted.display_name.clone()),
        metadata: Some(wanted.metadata.clone()),
        is_active: Some(false),
    };
    let (tenancy, scope) = (&world.stores.tenancy, &acme.scope);
    let changed = tenancy.update_end_user(scope, &id, &changes).await.unwrap();
    assert_eq!(changed, wanted);
    assert_eq!(tenancy.end_user(scope, &id).await.unwrap(), wanted);

    // What is not given stays, by whichever name the user goes.
    world.tick();
    let cleared = EndUserChanges {
        display_name: Some(None),
        ..EndUserChanges::default()
    };
    let by_name = EndUserRef::External("ann".into());
    let changed = tenancy.update_end_user(scope, &by_name, &cleared).await;
    let expected = EndUser {
        display_name: None,
        updated_at: world.now(),
        ..wanted
    };
    assert_eq!(changed.unwrap(), expected);
    assert_eq!(tenancy.end_user(scope, &id).await.unwrap(), expected);
    for unknown in [
        EndUserRef::Id(EndUserId::new()),
        EndUserRef::External("bob".into()),
    ] {
        assert_not_found(tenancy.update_end_user(scope, &unknown, &changes).await);
    }
}

/// Updates of different things at the same time all stand: many names, one switch, and other
/// metadata.
pub async fn concurrent_user_updates_all_stand(world: &World) {
    let acme = world.tenant("acme").await;
    let ann = world.end_user(&acme, "ann").await;
    at_once(18, |index| {
        let (tenancy, scope) = (world.stores.tenancy.clone(), acme.scope);
        let mut changes = EndUserChanges::default();
        match index {
            7 => changes.is_active = Some(false),
            11 => changes.metadata = Some(fixtures::from_json(r#"{"plan": "free"}"#)),
            _ => changes.display_name = Some(Some(format!("Ann {index}"))),
        }
        let who = EndUserRef::Id(ann.id);
        async move {
            let updated = tenancy.update_end_user(&scope, &who, &changes).await;
            updated.unwrap()
        }
    })
    .await;
    let stored = world
        .stores
        .tenancy
        .end_user(&acme.scope, &EndUserRef::Id(ann.id))
        .await
        .unwrap();
    assert!(!stored.is_active);
    assert_eq!(stored.metadata["plan"].get(), r#""free""#);
    assert!(stored.display_name.unwrap().starts_with("Ann "));
}

/// A deleted user's keys and budget are gone, its entries stay, and its name is free.
pub async fn deletion_takes_keys_and_budget_along(world: &World) {
    let acme = world.tenant("acme").await;
    let new = fixtures::new_end_user(acme.platform.id, "ann", world.now());
    let (ann, key) = (new.end_user.clone(), new.key.clone());
    let terms = fixtures::daily(fixtures::limits(Some(5), None));
    let new = NewEndUser {
        budget: Some(fixtures::new_budget(terms)),
        ..new
    };
    let (tenancy, ledger) = (&world.stores.tenancy, &world.stores.ledger);
    tenancy.create_end_user(&acme.scope, new).await.unwrap();
    let account = world.budget_account(&acme, &ann).await;
    tenancy.delete_end_user(&acme.scope, ann.id).await.unwrap();

    assert_not_found(tenancy.end_user(&acme.scope, &EndUserRef::Id(ann.id)).await);
    assert_not_found(tenancy.delete_end_user(&acme.scope, ann.id).await);
    let found = world
        .stores
        .keys
        .find_by_digest(&scopes::digest(), &key.digest)
        .await
        .unwrap();
    assert!(found.is_none(), "the key of a user that is gone");
    assert!(
        ledger
            .budget_account(&acme.scope, ann.id)
            .await
            .unwrap()
            .is_none()
    );
    assert!(ledger.budget(&acme.scope, ann.id).await.unwrap().is_none());
    let audit = world.account(account).await;
    assert_eq!(
        (audit.ledger, audit.slots),
        (fixtures::usd(5), Amounts::ZERO)
    );
    // A period of a budget that is gone does not end.
    world.set_clock("2026-03-20T00:00:00Z");
    let reset = ledger
        .reset_period(&scopes::engine(), account)
        .await
        .unwrap();
    assert!(!reset, "a budget that is gone was reset");

    let again = world.end_user(&acme, "ann").await;
    assert_ne!(again.id, ann.id);
}

/// There is no end user of a platform that does not exist.
pub async fn an_unknown_platform_has_no_users(world: &World) {
    let nowhere = scopes::platform(PlatformId::new());
    let new = fixtures::new_end_user(nowhere.platform_id(), "ann", world.now());
    assert_not_found(world.stores.tenancy.create_end_user(&nowhere, new).await);
}
