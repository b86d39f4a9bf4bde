//! Platforms: made whole, listed, changed, removed.

use super::{assert_conflict, assert_not_found, at_once};
use crate::billing::{AccountKind, Amounts, Blocked, EntryKind};
use crate::money::NanoUsd;
use crate::store::{EndUserFilter, KeyFilter, Page, PlatformChanges, PlatformFilter, StoredSecret};
use crate::tenancy::{Platform, PlatformSettings};
use crate::testing::driver::Driver;
use crate::testing::world::{World, every};
use crate::testing::{fixtures, scopes};

fn settings(text: &str) -> PlatformSettings {
    PlatformSettings::from_stored(fixtures::from_json(text))
}

/// A platform comes with its wallet, its account, its first key and the entry of its first top-up.
pub async fn creation_makes_wallet_key_and_opening_entry(world: &World) {
    let new = fixtures::new_platform("acme", fixtures::dollars(25), world.now());
    let (wallet, key) = (new.wallet.clone(), new.key.clone());
    let made = world
        .stores
        .tenancy
        .create_platform(&scopes::operator(), new)
        .await
        .unwrap();
    let scope = scopes::platform(made.id);
    assert_eq!(world.stores.tenancy.platform(&scope).await.unwrap(), made);

    let stored = world.stores.ledger.wallet(&scope).await.unwrap();
    assert_eq!((stored.id, stored.platform_id), (wallet.id, made.id));
    assert_eq!(
        (stored.balance, stored.is_active),
        (fixtures::dollars(25), true)
    );
    assert_eq!(stored.low_balance_threshold, None);

    let entries = world
        .stores
        .ledger
        .wallet_entries(&scope, Page::default())
        .await
        .unwrap();
    assert_eq!(entries.total, 1);
    let entry = &entries.rows[0].entry;
    assert_eq!(
        (entry.uid, entry.kind),
        (wallet.opening.0, EntryKind::TopUp)
    );
    assert_eq!(
        entry.wallet.map(|(_, amount)| amount),
        Some(fixtures::dollars(25))
    );

    let found = world
        .stores
        .keys
        .find_by_digest(&scopes::digest(), &key.digest)
        .await
        .unwrap();
    let (platform, account) = found.unwrap().platform.unwrap();
    assert_eq!(platform, made);
    let audit = world.account(account).await;
    assert_eq!(
        (audit.kind, audit.platform_id),
        (AccountKind::Wallet, made.id)
    );
    assert_eq!(audit.free, fixtures::usd(25));
}

/// Nothing is posted for an opening balance of zero.
pub async fn a_wallet_that_opens_empty_has_no_entry(world: &World) {
    let tenant = world.tenant_with("acme", NanoUsd::ZERO).await;
    assert_eq!(world.balance(&tenant).await, NanoUsd::ZERO);
    assert!(world.wallet_entries(&tenant).await.is_empty());
}

/// A platform whose slug is taken is neither made nor renamed, and leaves nothing behind.
pub async fn a_taken_slug_changes_nothing(world: &World) {
    let acme = world.tenant("acme").await;
    let other = world.tenant("other").await;
    let new = fixtures::new_platform("acme", fixtures::dollars(1), world.now());
    let (key, id) = (new.key.clone(), new.platform.id);
    assert_conflict(
        world
            .stores
            .tenancy
            .create_platform(&scopes::operator(), new)
            .await,
        "slug",
    );
    assert_not_found(world.stores.tenancy.platform(&scopes::platform(id)).await);
    let found = world
        .stores
        .keys
        .find_by_digest(&scopes::digest(), &key.digest)
        .await
        .unwrap();
    assert!(found.is_none(), "a key of a platform that was not made");
    assert_eq!(world.audit().await.len(), 2);

    let renamed = PlatformChanges {
        name: Some("x".into()),
        slug: Some(acme.platform.slug),
        ..PlatformChanges::default()
    };
    let update = world
        .stores
        .tenancy
        .update_platform(&other.scope, &renamed)
        .await;
    assert_conflict(update, "slug");
    assert_eq!(
        world.stores.tenancy.platform(&other.scope).await.unwrap(),
        other.platform
    );
}

/// The newest platform comes first, on whatever page it falls.
pub async fn platforms_are_listed_newest_first(world: &World) {
    for slug in ["a", "b", "c", "d", "e"] {
        world.tenant(slug).await;
        world.tick();
    }
    let (operator, filter) = (scopes::operator(), PlatformFilter::default());
    let tenancy = &world.stores.tenancy;
    for limit in [1, 2, 5, 100] {
        let listed = every(limit, async |page| {
            tenancy.platforms(&operator, &filter, page).await
        })
        .await;
        let slugs: Vec<&str> = listed
            .iter()
            .map(|platform| platform.slug.as_str())
            .collect();
        assert_eq!(slugs, ["e", "d", "c", "b", "a"]);
    }
    let beyond = tenancy
        .platforms(&operator, &filter, Page { page: 9, limit: 5 })
        .await
        .unwrap();
    assert_eq!((beyond.rows.len(), beyond.total), (0, 5));
}

/// The filter finds a substring of name or slug, whatever its case; no character is a wildcard.
pub async fn the_platform_filter_is_literal(world: &World) {
    let names = [
        ("one", "100% pure"),
        ("two", "100 pure"),
        ("three", "a_b"),
        ("four", "aXb"),
    ];
    for (slug, name) in names
        .into_iter()
        .chain([("five", r"back\slash"), ("six", "ACME")])
    {
        let mut new = fixtures::new_platform(slug, NanoUsd::ZERO, world.now());
        new.platform.name = name.to_owned();
        world
            .stores
            .tenancy
            .create_platform(&scopes::operator(), new)
            .await
            .unwrap();
    }
    let cases: [(&str, &[&str]); 8] = [
        ("100%", &["one"]),
        ("%", &["one"]),
        ("A_B", &["three"]),
        ("_", &["three"]),
        (r"\", &["five"]),
        ("acme", &["six"]),
        ("our", &["four"]),
        ("nobody", &[]),
    ];
    for (query, expected) in cases {
        let filter = PlatformFilter {
            query: Some(query.to_owned()),
        };
        let page = Page::default();
        let listed = world
            .stores
            .tenancy
            .platforms(&scopes::operator(), &filter, page)
            .await
            .unwrap();
        let slugs: Vec<&str> = listed
            .rows
            .iter()
            .map(|found| found.slug.as_str())
            .collect();
        assert_eq!(slugs, expected, "searched for {query}");
        assert_eq!(listed.total, expected.len() as u64);
    }
}

/// Everything that may change does, and the slug that was given up can be taken.
pub async fn an_update_frees_the_old_slug(world: &World) {
    let acme = world.tenant("acme").await;
    world.tick();
    let wanted = Platform {
        name: "Acme Ltd".into(),
        slug: "acme-ltd".parse().unwrap(),
        settings: settings(r#"{"markup_percentage": 12.50, "colour": [1, 2]}"#),
        is_active: false,
        updated_at: world.now(),
        ..acme.platform.clone()
    };
    let changes = PlatformChanges {
        name: Some(wanted.name.clone()),
        slug: Some(wanted.slug.clone()),
        is_active: Some(false),
        settings: vec![
            (
                "markup_percentage".into(),
                Some(fixtures::from_json("12.50")),
            ),
            ("colour".into(), Some(fixtures::from_json("[1, 2]"))),
        ],
    };
    let tenancy = &world.stores.tenancy;
    let changed = tenancy.update_platform(&acme.scope, &changes).await;
    assert_eq!(changed.unwrap(), wanted);
    assert_eq!(tenancy.platform(&acme.scope).await.unwrap(), wanted);
    // Its own slug stands against nobody.
    tenancy
        .update_platform(&acme.scope, &changes)
        .await
        .unwrap();
    world.tenant("acme").await;
    let gone = scopes::platform(crate::id::PlatformId::new());
    let stray = PlatformChanges {
        slug: Some("stray".parse().unwrap()),
        ..changes
    };
    assert_not_found(tenancy.update_platform(&gone, &stray).await);
}

/// What an update does not name stays, and settings change key by key.
pub async fn a_platform_update_keeps_what_is_not_given(world: &World) {
    let acme = world.tenant("acme").await;
    let tenancy = &world.stores.tenancy;
    let given = |key: &str, value: &str| (key.to_owned(), Some(fixtures::from_json(value)));
    let first = PlatformChanges {
        settings: vec![given("a", "1.50"), given("b", "2"), given("c", "[]")],
        ..PlatformChanges::default()
    };
    tenancy.update_platform(&acme.scope, &first).await.unwrap();
    world.tick();
    let second = PlatformChanges {
        settings: vec![("b".into(), None), ("d".into(), None), given("c", "{}")],
        ..PlatformChanges::default()
    };
    let changed = tenancy.update_platform(&acme.scope, &second).await.unwrap();
    let expected = Platform {
        settings: settings(r#"{"a": 1.50, "c": {}}"#),
        updated_at: world.now(),
        ..acme.platform
    };
    assert_eq!(changed, expected);
    assert_eq!(tenancy.platform(&acme.scope).await.unwrap(), expected);
}

/// Updates of different things at the same time all stand: a name, a switch, and settings of
/// many keys.
pub async fn concurrent_platform_updates_all_stand(world: &World) {
    let acme = world.tenant("acme").await;
    at_once(18, |index| {
        let (tenancy, scope) = (world.stores.tenancy.clone(), acme.scope);
        let mut changes = PlatformChanges::default();
        match index {
            16 => changes.name = Some("renamed".into()),
            17 => changes.is_active = Some(false),
            _ => {
                let value = fixtures::from_json(&index.to_string());
                changes.settings.push((format!("key{index}"), Some(value)));
            }
        }
        async move { tenancy.update_platform(&scope, &changes).await.unwrap() }
    })
    .await;
    let stored = world.stores.tenancy.platform(&acme.scope).await.unwrap();
    assert_eq!((stored.name.as_str(), stored.is_active), ("renamed", false));
    let settings = stored.settings.as_object();
    assert_eq!(settings.len(), 16);
    for index in 0..16 {
        assert_eq!(settings[&format!("key{index}")].get(), index.to_string());
    }
}

/// Deletion takes everything of the platform but its accounts and their entries.
pub async fn the_ledger_survives_deletion(world: &World) {
    let acme = world.tenant("acme").await;
    let terms = fixtures::one_time(fixtures::limits(Some(5), None));
    let ann = world.end_user_with_budget(&acme, "ann", terms).await;
    let budget = world.budget_account(&acme, &ann).await;
    let config = fixtures::llm_config(acme.platform.id, "openai", world.now());
    let secret = StoredSecret(vec![1, 2, 3]);
    world
        .stores
        .llm_configs
        .create(&acme.scope, config.clone(), secret)
        .await
        .unwrap();
    let mut node = Driver::start(world).await;
    node.demand(world, acme.wallet, fixtures::usd(2)).await;
    node.demand(world, budget, fixtures::usd(2)).await;
    let payers = world.payers(&acme, Some(&ann)).await;
    let charge = fixtures::charge(&payers, fixtures::cost(1, 10), world.now());
    node.settle(world, &node.charges(vec![charge.clone()]))
        .await;

    let stores = &world.stores;
    stores.tenancy.delete_platform(&acme.scope).await.unwrap();
    assert_not_found(stores.tenancy.platform(&acme.scope).await);
    assert_not_found(stores.tenancy.delete_platform(&acme.scope).await);
    let key = stores
        .keys
        .find_by_digest(&scopes::digest(), &acme.key.digest)
        .await
        .unwrap();
    assert!(key.is_none(), "the key of a platform that is gone");
    let filter = EndUserFilter::default();
    let users = stores
        .tenancy
        .end_users(&acme.scope, &filter, Page::default())
        .await
        .unwrap();
    assert_eq!(users.total, 0);
    let filter = KeyFilter {
        of_end_users: true,
        end_user_id: None,
        is_active: None,
    };
    let keys = stores
        .keys
        .list(&acme.scope, &filter, Page::default())
        .await
        .unwrap();
    assert_eq!(keys.total, 0);
    assert!(
        stores
            .llm_configs
            .active(&acme.scope)
            .await
            .unwrap()
            .is_empty()
    );
    assert_not_found(stores.llm_configs.config(&acme.scope, config.id).await);
    assert_not_found(stores.ledger.wallet(&acme.scope).await);
    assert!(
        stores
            .ledger
            .budget_account(&acme.scope, ann.id)
            .await
            .unwrap()
            .is_none()
    );

    let wallet = world.account(acme.wallet).await;
    assert_eq!(wallet.ledger, fixtures::usd(9));
    assert_eq!(world.account(budget).await.ledger.usd, fixtures::dollars(4));
    let kept = stores.ledger.charge(&acme.scope, charge.uid).await.unwrap();
    assert_eq!(kept.map(|entry| entry.uid), Some(charge.uid));
    for account in [acme.wallet, budget] {
        let grant = node.demand(world, account, fixtures::usd(1)).await;
        assert_eq!(
            (grant.granted, grant.policy.blocked),
            (Amounts::ZERO, Blocked::Inactive)
        );
        assert!(!grant.reset_due);
    }
    world.tenant("acme").await;
}

/// What was leased before the deletion can still be charged and given back.
pub async fn calls_in_flight_settle_after_deletion(world: &World) {
    let acme = world.tenant("acme").await;
    let mut node = Driver::start(world).await;
    node.demand(world, acme.wallet, fixtures::usd(3)).await;
    let payers = world.payers(&acme, None).await;
    world
        .stores
        .tenancy
        .delete_platform(&acme.scope)
        .await
        .unwrap();
    let charge = fixtures::charge(&payers, fixtures::cost(1, 0), world.now());
    node.settle(world, &node.charges(vec![charge])).await;
    node.give_back(world, acme.wallet, fixtures::usd(2)).await;
    let audit = world.account(acme.wallet).await;
    assert_eq!((audit.free, audit.slots), (fixtures::usd(9), Amounts::ZERO));
}
