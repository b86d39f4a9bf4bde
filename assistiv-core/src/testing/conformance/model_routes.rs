//! What platforms change of the catalogue.

use super::assert_not_found;
use crate::auth::PlatformScope;
use crate::model_routes::{ModelOverride, RouteOverride};
use crate::store::Changed;
use crate::testing::scopes;
use crate::testing::world::World;

fn made(model: &str, alias: &str) -> ModelOverride {
    ModelOverride {
        model: model.parse().unwrap(),
        is_enabled: true,
        aliases: vec![alias.parse().unwrap()],
        routes: vec![RouteOverride {
            provider: "openai".parse().unwrap(),
            priority: Some(3),
            is_enabled: false,
        }],
    }
}

async fn read(world: &World, scope: &PlatformScope) -> Vec<ModelOverride> {
    world.stores.model_routes.overrides(scope).await.unwrap()
}

/// None are there at first; what is written replaces all that was, in its order.
pub async fn overrides_are_replaced_whole(world: &World) {
    let acme = world.tenant("acme").await;
    let store = &world.stores.model_routes;
    assert_eq!(read(world, &acme.scope).await, []);
    let first = [made("b", "x"), made("a", "y")];
    store.replace_overrides(&acme.scope, &first).await.unwrap();
    assert_eq!(read(world, &acme.scope).await, first);
    let second = [made("a", "x")];
    store.replace_overrides(&acme.scope, &second).await.unwrap();
    assert_eq!(read(world, &acme.scope).await, second);
    store.replace_overrides(&acme.scope, &[]).await.unwrap();
    assert_eq!(read(world, &acme.scope).await, []);
}

/// Another platform neither sees nor replaces them.
pub async fn overrides_stay_on_their_platform(world: &World) {
    let (acme, other) = (world.tenant("acme").await, world.tenant("other").await);
    let store = &world.stores.model_routes;
    let ours = [made("a", "x")];
    store.replace_overrides(&acme.scope, &ours).await.unwrap();
    assert_eq!(read(world, &other.scope).await, []);
    store.replace_overrides(&other.scope, &[]).await.unwrap();
    assert_eq!(read(world, &acme.scope).await, ours);
}

/// Other nodes hear of a change; a platform that is gone has none, and takes none.
pub async fn overrides_are_told_and_go_with_the_platform(world: &World) {
    let acme = world.tenant("acme").await;
    let store = &world.stores.model_routes;
    let count = || async {
        let recent = world
            .stores
            .changes
            .recent(&scopes::engine())
            .await
            .unwrap();
        let told = recent.iter().filter(|change| {
            change.platform == acme.platform.id && change.what == Changed::Configs
        });
        told.count()
    };
    let before = count().await;
    let ours = [made("a", "x")];
    store.replace_overrides(&acme.scope, &ours).await.unwrap();
    assert_eq!(
        count().await,
        before + usize::from(world.stores.changes.is_shared())
    );
    world
        .stores
        .tenancy
        .delete_platform(&acme.scope)
        .await
        .unwrap();
    assert_eq!(read(world, &acme.scope).await, []);
    assert_not_found(store.replace_overrides(&acme.scope, &ours).await);
}
