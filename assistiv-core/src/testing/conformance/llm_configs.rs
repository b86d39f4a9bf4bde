//! LLM configs: one default for each provider, and secrets that leave by one door only.

use super::{assert_not_found, at_once};
use crate::id::{LlmConfigId, PlatformId};
use crate::llm_configs::LlmConfig;
use crate::store::{LlmConfigChanges, LlmConfigFilter, Page, StoredSecret};
use crate::testing::world::{Tenant, World, every};
use crate::testing::{fixtures, scopes};

async fn add(world: &World, tenant: &Tenant, config: LlmConfig) -> LlmConfig {
    world.tick();
    let config = LlmConfig {
        created_at: world.now(),
        updated_at: world.now(),
        ..config
    };
    let secret = StoredSecret(config.id.as_uuid().as_bytes().to_vec());
    world
        .stores
        .llm_configs
        .create(&tenant.scope, config, secret)
        .await
        .unwrap()
}

fn config(world: &World, tenant: &Tenant, provider: &str) -> LlmConfig {
    fixtures::llm_config(tenant.platform.id, provider, world.now())
}

async fn is_default(world: &World, tenant: &Tenant, id: LlmConfigId) -> bool {
    world
        .stores
        .llm_configs
        .config(&tenant.scope, id)
        .await
        .unwrap()
        .is_default
}

/// The first active config of a provider is its default, asked for or not; an inactive one is not.
pub async fn the_first_active_config_becomes_the_default(world: &World) {
    let acme = world.tenant("acme").await;
    let off = LlmConfig {
        is_active: false,
        ..config(world, &acme, "openai")
    };
    let off = add(world, &acme, off).await;
    assert!(!off.is_default);
    let first = add(world, &acme, config(world, &acme, "openai")).await;
    assert!(first.is_default);
    let second = add(world, &acme, config(world, &acme, "openai")).await;
    assert!(!second.is_default);
    let other = add(world, &acme, config(world, &acme, "anthropic")).await;
    assert!(other.is_default);
    for (id, expected) in [
        (off.id, false),
        (first.id, true),
        (second.id, false),
        (other.id, true),
    ] {
        assert_eq!(is_default(world, &acme, id).await, expected);
    }
    let nowhere = scopes::platform(PlatformId::new());
    let stray = fixtures::llm_config(nowhere.platform_id(), "openai", world.now());
    let made = world
        .stores
        .llm_configs
        .create(&nowhere, stray, StoredSecret(vec![1]))
        .await;
    assert_not_found(made);
}

/// A config that is made the default takes that from its siblings and from nobody else.
pub async fn a_new_default_takes_it_from_its_siblings(world: &World) {
    let acme = world.tenant("acme").await;
    let rival = world.tenant("rival").await;
    let first = add(world, &acme, config(world, &acme, "openai")).await;
    let other = add(world, &acme, config(world, &acme, "anthropic")).await;
    let elsewhere = add(world, &rival, config(world, &rival, "openai")).await;
    let claims = LlmConfig {
        is_default: true,
        ..config(world, &acme, "openai")
    };
    let second = add(world, &acme, claims).await;
    assert!(second.is_default);
    assert!(!is_default(world, &acme, first.id).await);

    let claim = LlmConfigChanges {
        is_default: Some(true),
        ..LlmConfigChanges::default()
    };
    let back = world
        .stores
        .llm_configs
        .update(&acme.scope, first.id, &claim, None)
        .await
        .unwrap();
    assert!(back.is_default);
    assert!(!is_default(world, &acme, second.id).await);
    assert!(is_default(world, &acme, other.id).await);
    assert!(is_default(world, &rival, elsewhere.id).await);
}

/// When the default is deleted, the newest active config of its provider follows.
pub async fn deleting_the_default_promotes_the_newest(world: &World) {
    let acme = world.tenant("acme").await;
    let first = add(world, &acme, config(world, &acme, "openai")).await;
    let second = add(world, &acme, config(world, &acme, "openai")).await;
    let third = add(world, &acme, config(world, &acme, "openai")).await;
    let off = LlmConfig {
        is_active: false,
        ..config(world, &acme, "openai")
    };
    let off = add(world, &acme, off).await;
    let configs = &world.stores.llm_configs;
    configs.delete(&acme.scope, first.id).await.unwrap();
    assert_not_found(configs.config(&acme.scope, first.id).await);
    assert_not_found(configs.delete(&acme.scope, first.id).await);
    for (id, expected) in [(second.id, false), (third.id, true), (off.id, false)] {
        assert_eq!(is_default(world, &acme, id).await, expected);
    }
    // One that is not the default leaves it where it is.
    configs.delete(&acme.scope, second.id).await.unwrap();
    assert!(is_default(world, &acme, third.id).await);
}

/// What routing reads: active configs alone, oldest first, each with its own secret.
pub async fn secrets_come_only_with_active_configs(world: &World) {
    let acme = world.tenant("acme").await;
    let first = add(world, &acme, config(world, &acme, "openai")).await;
    let off = LlmConfig {
        is_active: false,
        ..config(world, &acme, "openai")
    };
    let off = add(world, &acme, off).await;
    let second = add(world, &acme, config(world, &acme, "anthropic")).await;
    let configs = &world.stores.llm_configs;
    let secret_of = |config: &LlmConfig| StoredSecret(config.id.as_uuid().as_bytes().to_vec());
    let expected = vec![
        (first.clone(), secret_of(&first)),
        (second.clone(), secret_of(&second)),
    ];
    assert_eq!(configs.active(&acme.scope).await.unwrap(), expected);

    let switch_on = LlmConfigChanges {
        is_active: Some(true),
        ..LlmConfigChanges::default()
    };
    let nothing = LlmConfigChanges::default();
    let changed = StoredSecret(vec![9, 0, 255]);
    let first = configs
        .update(&acme.scope, first.id, &nothing, Some(changed.clone()))
        .await
        .unwrap();
    let on = configs
        .update(&acme.scope, off.id, &switch_on, None)
        .await
        .unwrap();
    assert!(on.is_active);
    let expected = vec![
        (first, changed),
        (on, secret_of(&off)),
        (second.clone(), secret_of(&second)),
    ];
    assert_eq!(configs.active(&acme.scope).await.unwrap(), expected);
}

/// Provider, platform and time of creation stay, and so does all that an update does not name.
pub async fn a_config_update_keeps_what_is_not_given(world: &World) {
    let acme = world.tenant("acme").await;
    let made = add(world, &acme, config(world, &acme, "openai")).await;
    world.tick();
    let wanted = LlmConfig {
        name: Some("Main".into()),
        priority: 10_000,
        models: Some(vec![
            "gpt-5".parse().unwrap(),
            "openai/gpt-5.1".parse().unwrap(),
        ]),
        updated_at: world.now(),
        ..made.clone()
    };
    let (configs, scope) = (&world.stores.llm_configs, &acme.scope);
    let changes = LlmConfigChanges {
        name: Some(wanted.name.clone()),
        priority: Some(wanted.priority),
        models: Some(wanted.models.clone()),
        ..LlmConfigChanges::default()
    };
    let changed = configs.update(scope, made.id, &changes, None).await;
    assert_eq!(changed.unwrap(), wanted);
    assert_eq!(configs.config(scope, made.id).await.unwrap(), wanted);
    let changes = LlmConfigChanges {
        name: Some(None),
        models: Some(Some(Vec::new())),
        ..LlmConfigChanges::default()
    };
    let changed = configs.update(scope, made.id, &changes, None).await;
    let cleared = LlmConfig {
        name: None,
        models: Some(Vec::new()),
        ..wanted
    };
    assert_eq!(changed.unwrap(), cleared);
    let unknown = LlmConfigId::new();
    assert_not_found(configs.update(scope, unknown, &changes, None).await);
}

/// Updates of different things at the same time all stand, and none of them brings back a default
/// that moved on.
pub async fn concurrent_config_updates_all_stand(world: &World) {
    let acme = world.tenant("acme").await;
    let first = add(world, &acme, config(world, &acme, "openai")).await;
    let second = add(world, &acme, config(world, &acme, "openai")).await;
    at_once(20, |index| {
        let (configs, scope) = (world.stores.llm_configs.clone(), acme.scope);
        let mut changes = LlmConfigChanges::default();
        let (mut id, mut secret) = (first.id, None);
        match index {
            4 => (id, changes.is_default) = (second.id, Some(true)),
            8 => changes.priority = Some(7),
            12 => changes.models = Some(Some(vec!["gpt-5".parse().unwrap()])),
            16 => secret = Some(StoredSecret(vec![4, 2])),
            _ => changes.name = Some(Some(format!("name {index}"))),
        }
        async move { configs.update(&scope, id, &changes, secret).await.unwrap() }
    })
    .await;
    let active = world.stores.llm_configs.active(&acme.scope).await.unwrap();
    let [(first, secret), (second, _)] = active.as_slice() else {
        panic!("there are two configs, not {active:?}");
    };
    assert!(first.name.as_ref().unwrap().starts_with("name "));
    assert_eq!(first.priority, 7);
    assert_eq!(first.models, Some(vec!["gpt-5".parse().unwrap()]));
    assert_eq!(*secret, StoredSecret(vec![4, 2]));
    assert_eq!((first.is_default, second.is_default), (false, true));
}

/// The newest config comes first, on whatever page it falls.
pub async fn configs_are_listed_newest_first(world: &World) {
    let acme = world.tenant("acme").await;
    let mut ids = Vec::new();
    for provider in ["openai", "anthropic", "google", "xai", "openai"] {
        ids.insert(
            0,
            add(world, &acme, config(world, &acme, provider)).await.id,
        );
    }
    let configs = &world.stores.llm_configs;
    for limit in [1, 2, 100] {
        let filter = LlmConfigFilter::default();
        let listed = every(limit, async |page| {
            configs.list(&acme.scope, &filter, page).await
        })
        .await;
        let listed: Vec<LlmConfigId> = listed.iter().map(|config| config.id).collect();
        assert_eq!(listed, ids);
    }
}

/// Filters by provider and by activity narrow the list, one by one and together.
pub async fn configs_are_filtered(world: &World) {
    let acme = world.tenant("acme").await;
    let mut ids = Vec::new();
    for (provider, is_active) in [
        ("openai", true),
        ("openai", false),
        ("xai", true),
        ("openai", true),
    ] {
        let new = LlmConfig {
            is_active,
            ..config(world, &acme, provider)
        };
        ids.push(add(world, &acme, new).await.id);
    }
    let cases: [(Option<&str>, Option<bool>, &[usize]); 6] = [
        (Some("openai"), None, &[3, 1, 0]),
        (Some("xai"), None, &[2]),
        (Some("anthropic"), None, &[]),
        (None, Some(true), &[3, 2, 0]),
        (None, Some(false), &[1]),
        (Some("openai"), Some(true), &[3, 0]),
    ];
    let (configs, page) = (&world.stores.llm_configs, Page { page: 1, limit: 1 });
    for (provider, is_active, expected) in cases {
        let filter = LlmConfigFilter {
            provider: provider.map(|slug| slug.parse().unwrap()),
            is_active,
        };
        let expected: Vec<LlmConfigId> = expected.iter().map(|index| ids[*index]).collect();
        let listed = every(2, async |page| {
            configs.list(&acme.scope, &filter, page).await
        })
        .await;
        let listed: Vec<LlmConfigId> = listed.iter().map(|config| config.id).collect();
        assert_eq!(listed, expected, "{filter:?}");
        let first = configs.list(&acme.scope, &filter, page).await.unwrap();
        assert_eq!(first.total, expected.len() as u64);
    }
}
