//! API keys: found by digest, limited in number, never all gone.

use std::time::Duration;

use super::{assert_conflict, assert_not_found, at_once};
use crate::auth::{KeyKind, KeyScope, KeyScopes};
use crate::clock::Timestamp;
use crate::id::{EndUserId, KeyId, PlatformId};
use crate::keys::ApiKey;
use crate::store::{KeyChanges, KeyFilter, Page, PlatformChanges, StoreError};
use crate::tenancy::EndUser;
use crate::testing::world::{Tenant, World, every};
use crate::testing::{fixtures, scopes};

const MANY: u32 = 50;

async fn listed(world: &World, tenant: &Tenant, filter: KeyFilter) -> Vec<KeyId> {
    let keys = &world.stores.keys;
    let listed = every(2, async |page| {
        keys.list(&tenant.scope, &filter, page).await
    })
    .await;
    listed.iter().map(|key| key.id).collect()
}

fn own_keys() -> KeyFilter {
    KeyFilter {
        of_end_users: false,
        end_user_id: None,
        is_active: None,
    }
}

/// What revokes a key.
fn off() -> KeyChanges {
    KeyChanges {
        is_active: Some(false),
        ..KeyChanges::default()
    }
}

/// Every key is found by its digest, with its platform, its wallet's account and its end user.
pub async fn a_digest_finds_keys_of_every_kind(world: &World) {
    let acme = world.tenant("acme").await;
    let ann = world.end_user(&acme, "ann").await;
    let keys = &world.stores.keys;
    let operator = fixtures::key(KeyKind::Operator, world.now());
    keys.create_operator(&scopes::operator(), operator.clone())
        .await
        .unwrap();
    let expires_at = Some("2027-01-01T00:00:00Z".parse().unwrap());
    let scopes_of_key = KeyScopes::new([KeyScope::Inference]);
    let user_key = ApiKey {
        expires_at,
        scopes: scopes_of_key,
        ..fixtures::end_user_key(&ann, world.now())
    };
    keys.create(&acme.scope, user_key.clone(), MANY)
        .await
        .unwrap();

    let of_acme = Some((acme.platform.clone(), acme.wallet));
    let cases = [
        (operator, None, None),
        (acme.key, of_acme.clone(), None),
        (user_key, of_acme, Some(true)),
    ];
    for (key, platform, end_user_is_active) in cases {
        let record = keys
            .find_by_digest(&scopes::digest(), &key.digest)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(record.key, key);
        assert_eq!(record.platform, platform);
        assert_eq!(record.end_user_is_active, end_user_is_active);
    }
    let unknown = fixtures::key(KeyKind::Platform, world.now());
    assert!(
        keys.find_by_digest(&scopes::digest(), &unknown.digest)
            .await
            .unwrap()
            .is_none()
    );
}

/// A key that does not work is found too: what is switched off, and where, is told with it.
pub async fn a_record_says_who_is_switched_off(world: &World) {
    let acme = world.tenant("acme").await;
    let ann = world.end_user(&acme, "ann").await;
    let stores = &world.stores;
    let key = fixtures::end_user_key(&ann, world.now());
    stores
        .keys
        .create(&acme.scope, key.clone(), MANY)
        .await
        .unwrap();
    stores
        .keys
        .update(&acme.scope, key.id, &off())
        .await
        .unwrap();
    world.switch_end_user_off(&acme, &ann).await;
    let changes = PlatformChanges {
        is_active: Some(false),
        ..PlatformChanges::default()
    };
    stores
        .tenancy
        .update_platform(&acme.scope, &changes)
        .await
        .unwrap();

    let found = stores
        .keys
        .find_by_digest(&scopes::digest(), &key.digest)
        .await
        .unwrap();
    let record = found.unwrap();
    assert!(!record.key.is_active);
    assert_eq!(record.end_user_is_active, Some(false));
    assert!(!record.platform.unwrap().0.is_active);
}

/// Each key gets the time of its own use; unknown keys are passed over.
pub async fn use_is_stamped(world: &World) {
    let acme = world.tenant("acme").await;
    let second = fixtures::platform_key(acme.platform.id, world.now());
    let keys = &world.stores.keys;
    keys.create(&acme.scope, second.clone(), MANY)
        .await
        .unwrap();
    world.tick();
    let first_use = world.now();
    world.tick();
    let used = [
        (acme.key.id, first_use),
        (KeyId::new(), first_use),
        (second.id, world.now()),
    ];
    keys.touch(&scopes::digest(), &used).await.unwrap();
    let at = async |id| keys.key(&acme.scope, id).await.unwrap().last_used_at;
    assert_eq!(at(acme.key.id).await, Some(first_use));
    assert_eq!(at(second.id).await, Some(world.now()));
    keys.touch(&scopes::digest(), &[]).await.unwrap();
}

/// A holder's active keys are limited; switched-off ones and other holders' do not count.
pub async fn the_key_limit_holds_for_each_holder(world: &World) {
    let acme = world.tenant("acme").await;
    let ann = world.end_user(&acme, "ann").await;
    let keys = &world.stores.keys;
    let new = || fixtures::platform_key(acme.platform.id, world.now());
    let second = new();
    keys.create(&acme.scope, second.clone(), 2).await.unwrap();
    let third = new();
    assert_conflict(
        keys.create(&acme.scope, third.clone(), 2).await,
        "key limit",
    );
    assert_not_found(keys.key(&acme.scope, third.id).await);
    keys.create(&acme.scope, fixtures::end_user_key(&ann, world.now()), 2)
        .await
        .unwrap();
    let over = fixtures::end_user_key(&ann, world.now());
    assert_conflict(keys.create(&acme.scope, over, 2).await, "key limit");

    keys.update(&acme.scope, second.id, &off()).await.unwrap();
    keys.create(&acme.scope, third, 2).await.unwrap();

    let nobody = EndUser {
        id: EndUserId::new(),
        ..ann
    };
    let stray = fixtures::end_user_key(&nobody, world.now());
    assert_not_found(keys.create(&acme.scope, stray, MANY).await);
    let nowhere = scopes::platform(PlatformId::new());
    let stray = fixtures::platform_key(nowhere.platform_id(), world.now());
    assert_not_found(keys.create(&nowhere, stray, MANY).await);
}

/// Concurrent creations do not slip past the limit together.
pub async fn the_key_limit_holds_at_once(world: &World) {
    let acme = world.tenant("acme").await;
    let results = at_once(16, |_| {
        let (keys, scope) = (world.stores.keys.clone(), acme.scope);
        let key = fixtures::platform_key(scope.platform_id(), world.now());
        async move { keys.create(&scope, key, 5).await }
    })
    .await;
    let made = results.iter().filter(|result| result.is_ok()).count();
    let refused = results
        .iter()
        .filter(|result| matches!(result, Err(StoreError::Conflict("key limit"))));
    assert_eq!((made, refused.count()), (4, 12));
    assert_eq!(listed(world, &acme, own_keys()).await.len(), 5);
}

/// A new key takes the place of all others of its end user: at once, or after a grace that lengthens no life.
pub async fn a_new_key_takes_the_place_of_others(world: &World) {
    let acme = world.tenant("acme").await;
    let (ann, bob) = (
        world.end_user(&acme, "ann").await,
        world.end_user(&acme, "bob").await,
    );
    let keys = &world.stores.keys;
    let at = |seconds: i64| {
        let micros = world.now().as_micros() + seconds * 1_000_000;
        Some(Timestamp::from_micros(micros))
    };
    let [first, mut brief, second, third] =
        [(); 4].map(|()| fixtures::end_user_key(&ann, world.now()));
    brief.expires_at = at(5);
    for key in [&first, &brief] {
        keys.create(&acme.scope, key.clone(), MANY).await.unwrap();
    }
    let read = async |key: &ApiKey| {
        let read = keys.key(&acme.scope, key.id).await.unwrap();
        (read.is_active, read.expires_at)
    };
    // Ann's first key came with her.
    let full = keys.rotate(&acme.scope, second.clone(), Duration::from_secs(60), 3);
    assert_conflict(full.await, "key limit");
    assert_eq!(read(&first).await, (true, None));
    let rotated = keys.rotate(&acme.scope, second.clone(), Duration::from_secs(60), 4);
    rotated.await.unwrap();
    assert_eq!(read(&first).await, (true, at(60)));
    assert_eq!(read(&brief).await, (true, at(5)));
    assert_eq!(read(&second).await, (true, None));

    let rotated = keys.rotate(&acme.scope, third.clone(), Duration::ZERO, 1);
    rotated.await.unwrap();
    for key in [&first, &brief, &second] {
        assert!(!read(key).await.0);
    }
    assert_eq!(read(&third).await, (true, None));
    let of_bob = KeyFilter {
        of_end_users: true,
        end_user_id: Some(bob.id),
        is_active: Some(true),
    };
    assert_eq!(listed(world, &acme, of_bob).await.len(), 1);

    let other = world.tenant("other").await;
    let stray = fixtures::end_user_key(&ann, world.now());
    let stray = keys.rotate(&other.scope, stray, Duration::ZERO, MANY);
    assert_not_found(stray.await);
    assert!(read(&third).await.0);
}

/// The last active key that may manage the platform is neither removed nor switched off.
pub async fn the_last_managing_key_stays(world: &World) {
    let acme = world.tenant("acme").await;
    let other = world.tenant("other").await;
    let keys = &world.stores.keys;
    let inference = ApiKey {
        scopes: KeyScopes::new([KeyScope::Inference]),
        ..fixtures::platform_key(acme.platform.id, world.now())
    };
    keys.create(&acme.scope, inference.clone(), MANY)
        .await
        .unwrap();
    let id = acme.key.id;
    assert_conflict(
        keys.delete(&acme.scope, acme.key.id).await,
        "last platform key",
    );
    let switched = keys.update(&acme.scope, id, &off()).await;
    assert_conflict(switched, "last platform key");
    let expired = KeyChanges {
        expires_at: Some(Some(world.now())),
        ..KeyChanges::default()
    };
    let expired = keys.update(&acme.scope, id, &expired).await;
    assert_conflict(expired, "last platform key");
    assert_eq!(keys.key(&acme.scope, id).await.unwrap(), acme.key);
    let renamed = KeyChanges {
        name: Some("renamed".into()),
        ..KeyChanges::default()
    };
    keys.update(&acme.scope, id, &renamed).await.unwrap();
    keys.delete(&acme.scope, inference.id).await.unwrap();

    let second = ApiKey {
        scopes: KeyScopes::new([KeyScope::Management]),
        ..fixtures::platform_key(acme.platform.id, world.now())
    };
    keys.create(&acme.scope, second.clone(), MANY)
        .await
        .unwrap();
    keys.update(&acme.scope, id, &off()).await.unwrap();
    assert_conflict(
        keys.delete(&acme.scope, second.id).await,
        "last platform key",
    );
    // One that does not work any more may go.
    keys.delete(&acme.scope, acme.key.id).await.unwrap();
    assert_not_found(keys.delete(&acme.scope, acme.key.id).await);
    assert_conflict(
        keys.delete(&other.scope, other.key.id).await,
        "last platform key",
    );
}

/// Two managing keys that are removed at the same time do not both go.
pub async fn two_managing_keys_do_not_go_at_once(world: &World) {
    let acme = world.tenant("acme").await;
    let second = fixtures::platform_key(acme.platform.id, world.now());
    world
        .stores
        .keys
        .create(&acme.scope, second.clone(), MANY)
        .await
        .unwrap();
    let ids = [acme.key.id, second.id];
    let results = at_once(2, |index| {
        let (keys, scope, id) = (world.stores.keys.clone(), acme.scope, ids[index]);
        async move { keys.delete(&scope, id).await }
    })
    .await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    assert_eq!(listed(world, &acme, own_keys()).await.len(), 1);
}

/// A platform's own keys and those of its end users are listed apart, newest first.
pub async fn keys_are_listed_by_holder(world: &World) {
    let acme = world.tenant("acme").await;
    let ann = world.end_user(&acme, "ann").await;
    let keys = &world.stores.keys;
    let all_of_users = KeyFilter {
        of_end_users: true,
        ..own_keys()
    };
    let anns_first = listed(world, &acme, all_of_users.clone()).await;
    world.tick();
    let bob = world.end_user(&acme, "bob").await;
    let bobs = listed(
        world,
        &acme,
        KeyFilter {
            end_user_id: Some(bob.id),
            ..all_of_users.clone()
        },
    );
    let bobs = bobs.await;
    world.tick();
    let second = fixtures::end_user_key(&ann, world.now());
    keys.create(&acme.scope, second.clone(), MANY)
        .await
        .unwrap();
    let own = fixtures::platform_key(acme.platform.id, world.now());
    keys.create(&acme.scope, own.clone(), MANY).await.unwrap();
    keys.update(&acme.scope, own.id, &off()).await.unwrap();

    assert_eq!(
        listed(world, &acme, own_keys()).await,
        [own.id, acme.key.id]
    );
    let active = KeyFilter {
        is_active: Some(true),
        ..own_keys()
    };
    assert_eq!(listed(world, &acme, active).await, [acme.key.id]);
    let inactive = KeyFilter {
        is_active: Some(false),
        ..own_keys()
    };
    assert_eq!(listed(world, &acme, inactive).await, [own.id]);
    let expected = [second.id, bobs[0], anns_first[0]];
    assert_eq!(listed(world, &acme, all_of_users.clone()).await, expected);
    let of_ann = KeyFilter {
        end_user_id: Some(ann.id),
        ..all_of_users
    };
    assert_eq!(
        listed(world, &acme, of_ann).await,
        [second.id, anns_first[0]]
    );
}

/// Name, activity and expiry change; nothing else does.
pub async fn a_key_update_changes_only_what_may_change(world: &World) {
    let acme = world.tenant("acme").await;
    let keys = &world.stores.keys;
    let key = fixtures::platform_key(acme.platform.id, world.now());
    keys.create(&acme.scope, key.clone(), MANY).await.unwrap();
    world.tick();
    let id = key.id;
    let wanted = ApiKey {
        name: "another name".into(),
        is_active: false,
        expires_at: Some("2026-12-31T00:00:00Z".parse().unwrap()),
        ..key
    };
    let changes = KeyChanges {
        name: Some(wanted.name.clone()),
        is_active: Some(false),
        expires_at: Some(wanted.expires_at),
    };
    let changed = keys.update(&acme.scope, id, &changes).await.unwrap();
    assert_eq!(changed, wanted);
    assert_eq!(keys.key(&acme.scope, id).await.unwrap(), wanted);

    let cleared = KeyChanges {
        expires_at: Some(None),
        ..KeyChanges::default()
    };
    let changed = keys.update(&acme.scope, id, &cleared).await.unwrap();
    let expected = ApiKey {
        expires_at: None,
        ..wanted
    };
    assert_eq!(changed, expected);
    assert_eq!(keys.key(&acme.scope, id).await.unwrap(), expected);
    keys.delete(&acme.scope, id).await.unwrap();
    assert_not_found(keys.update(&acme.scope, id, &changes).await);
}

/// A key that is revoked while others rename it and stamp its use stays revoked.
pub async fn a_revocation_beside_renames_stands(world: &World) {
    let acme = world.tenant("acme").await;
    let key = fixtures::platform_key(acme.platform.id, world.now());
    let keys = &world.stores.keys;
    keys.create(&acme.scope, key.clone(), MANY).await.unwrap();
    let expires_at = Some("2026-12-31T00:00:00Z".parse().unwrap());
    world.tick();
    let used_at = world.now();
    at_once(19, |index| {
        let (keys, scope, id) = (world.stores.keys.clone(), acme.scope, key.id);
        let changes = match index {
            5 => off(),
            9 => KeyChanges {
                expires_at: Some(expires_at),
                ..KeyChanges::default()
            },
            _ => KeyChanges {
                name: Some(format!("name {index}")),
                ..KeyChanges::default()
            },
        };
        async move {
            if index == 13 {
                let used = [(id, used_at)];
                return keys.touch(&scopes::digest(), &used).await.unwrap();
            }
            keys.update(&scope, id, &changes).await.unwrap();
        }
    })
    .await;
    let stored = keys.key(&acme.scope, key.id).await.unwrap();
    assert!(!stored.is_active, "a revoked key was revived");
    assert_eq!(
        (stored.expires_at, stored.last_used_at),
        (expires_at, Some(used_at))
    );
    assert!(stored.name.starts_with("name "));
}

/// A key that is deleted while others rename it stays deleted, and whoever comes late is told.
pub async fn a_deletion_beside_renames_stands(world: &World) {
    let acme = world.tenant("acme").await;
    let key = fixtures::platform_key(acme.platform.id, world.now());
    let keys = &world.stores.keys;
    keys.create(&acme.scope, key.clone(), MANY).await.unwrap();
    let results = at_once(16, |index| {
        let (keys, scope, id) = (world.stores.keys.clone(), acme.scope, key.id);
        let changes = KeyChanges {
            name: Some(format!("name {index}")),
            ..KeyChanges::default()
        };
        async move {
            match index {
                8 => keys.delete(&scope, id).await,
                _ => keys.update(&scope, id, &changes).await.map(drop),
            }
        }
    })
    .await;
    for result in results.into_iter().filter(Result::is_err) {
        assert_not_found(result);
    }
    assert_not_found(keys.key(&acme.scope, key.id).await);
    assert_eq!(listed(world, &acme, own_keys()).await, [acme.key.id]);
}

/// An operator key is on no platform's list and in no platform's reach.
pub async fn operator_keys_belong_to_no_platform(world: &World) {
    let acme = world.tenant("acme").await;
    let keys = &world.stores.keys;
    assert!(!keys.has_operator(&scopes::operator()).await.unwrap());
    let operator = fixtures::key(KeyKind::Operator, world.now());
    keys.create_operator(&scopes::operator(), operator.clone())
        .await
        .unwrap();
    assert!(keys.has_operator(&scopes::operator()).await.unwrap());
    assert_not_found(keys.key(&acme.scope, operator.id).await);
    assert_not_found(keys.delete(&acme.scope, operator.id).await);
    assert_not_found(keys.update(&acme.scope, operator.id, &off()).await);
    let page = keys
        .list(&acme.scope, &own_keys(), Page::default())
        .await
        .unwrap();
    assert_eq!((page.total, page.rows.len()), (1, 1));
}
