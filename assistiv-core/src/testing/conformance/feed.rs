//! What nodes tell each other of changes that they keep copies of.

use std::time::Duration;

use crate::store::{
    Change, Changed, EndUserChanges, KeyChanges, LlmConfigChanges, PlatformChanges, StoredSecret,
};
use crate::tenancy::EndUserRef;
use crate::testing::world::{Tenant, World};
use crate::testing::{fixtures, scopes};

async fn recent(world: &World) -> Vec<Change> {
    let mut recent = world
        .stores
        .changes
        .recent(&scopes::engine())
        .await
        .unwrap();
    recent.sort_unstable_by_key(|change| change.seq);
    recent
}

/// What an act tells of a platform. Nothing is to be told where no other process can be.
async fn told(world: &World, tenant: &Tenant, act: impl AsyncFnOnce()) -> Vec<Changed> {
    let before = recent(world).await;
    act().await;
    let new = recent(world).await.into_iter();
    let mut told: Vec<_> = new
        .filter(|change| !before.contains(change))
        .map(|change| {
            assert_eq!(change.platform, tenant.platform.id);
            change.what
        })
        .collect();
    told.dedup();
    told
}

/// Changes of keys, of who holds them, and of LLM configs are told with the act; others are not.
pub async fn changes_are_told(world: &World) {
    let acme = world.tenant("acme").await;
    let ann = world.end_user(&acme, "ann").await;
    let (keys, tenancy) = (&world.stores.keys, &world.stores.tenancy);
    let key = fixtures::platform_key(acme.platform.id, world.now());
    keys.create(&acme.scope, key.clone(), 10).await.unwrap();
    let scope = &acme.scope;
    let expect = |what: &[Changed]| {
        let is_shared = world.stores.changes.is_shared();
        if is_shared { what.to_vec() } else { Vec::new() }
    };
    let holders = expect(&[Changed::Holders]);

    let rename = KeyChanges {
        name: Some("renamed".into()),
        ..KeyChanges::default()
    };
    let told_of = told(world, &acme, async || {
        keys.update(scope, key.id, &rename).await.unwrap();
    });
    assert_eq!(told_of.await, holders, "a key is changed");
    let told_of = told(world, &acme, async || {
        keys.delete(scope, key.id).await.unwrap();
    });
    assert_eq!(told_of.await, holders, "a key is revoked");
    let told_of = told(world, &acme, async || {
        let again = fixtures::new_end_user(acme.platform.id, "ann", world.now());
        tenancy.create_end_user(scope, again).await.unwrap();
    });
    assert_eq!(told_of.await, holders, "a key gives way to another");
    let told_of = told(world, &acme, async || {
        let changes = EndUserChanges::default();
        let ann = EndUserRef::Id(ann.id);
        tenancy
            .update_end_user(scope, &ann, &changes)
            .await
            .unwrap();
    });
    assert_eq!(told_of.await, holders, "an end user is changed");
    let told_of = told(world, &acme, async || {
        tenancy.delete_end_user(scope, ann.id).await.unwrap();
    });
    assert_eq!(told_of.await, holders, "an end user is deleted");
    let told_of = told(world, &acme, async || {
        let changes = PlatformChanges::default();
        tenancy.update_platform(scope, &changes).await.unwrap();
    });
    assert_eq!(told_of.await, holders, "a platform is changed");
    let told_of = told(world, &acme, async || {
        world.balance(&acme).await;
        keys.touch(&scopes::digest(), &[(acme.key.id, world.now())])
            .await
            .unwrap();
    });
    assert_eq!(told_of.await, [], "nothing is changed");
    let told_of = told(world, &acme, async || {
        tenancy.delete_platform(scope).await.unwrap();
    });
    let everything = expect(&[Changed::Holders, Changed::Configs]);
    assert_eq!(told_of.await, everything, "a platform is deleted");
}

/// Every change of an LLM config is told.
pub async fn changes_of_configs_are_told(world: &World) {
    let acme = world.tenant("acme").await;
    let configs = &world.stores.llm_configs;
    let config = fixtures::llm_config(acme.platform.id, "openai", world.now());
    let id = config.id;
    let is_shared = world.stores.changes.is_shared();
    let expected = if is_shared {
        vec![Changed::Configs]
    } else {
        Vec::new()
    };
    let told_of = told(world, &acme, async || {
        let secret = StoredSecret(vec![1]);
        configs.create(&acme.scope, config, secret).await.unwrap();
    });
    assert_eq!(told_of.await, expected, "a config is made");
    let told_of = told(world, &acme, async || {
        let changes = LlmConfigChanges::default();
        configs
            .update(&acme.scope, id, &changes, None)
            .await
            .unwrap();
    });
    assert_eq!(told_of.await, expected, "a config is changed");
    let told_of = told(world, &acme, async || {
        configs.delete(&acme.scope, id).await.unwrap();
    });
    assert_eq!(told_of.await, expected, "a config is deleted");
}

/// A change is shown for a minute, under a number of its own.
pub async fn changes_are_shown_for_a_minute(world: &World) {
    let acme = world.tenant("acme").await;
    let change = async || {
        let changes = PlatformChanges::default();
        let tenancy = &world.stores.tenancy;
        tenancy
            .update_platform(&acme.scope, &changes)
            .await
            .unwrap();
    };
    change().await;
    change().await;
    let shown = recent(world).await;
    let count = if world.stores.changes.is_shared() {
        2
    } else {
        0
    };
    assert_eq!(shown.len(), count);
    assert!(shown.is_sorted_by(|a, b| a.seq < b.seq));
    world.pass(Duration::from_secs(59));
    assert_eq!(recent(world).await, shown);
    world.pass(Duration::from_secs(1));
    assert_eq!(recent(world).await, []);
}
