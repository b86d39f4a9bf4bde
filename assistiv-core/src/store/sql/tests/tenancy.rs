use super::*;
use crate::billing::LedgerAct;
use crate::id::LlmConfigId;
use crate::llm_configs::LlmConfig;
use crate::store::{
    EndUserChanges, EndUserFilter, KeyChanges, KeyFilter, KeyStore, LlmConfigChanges,
    LlmConfigFilter, LlmConfigStore, Page, PlatformChanges, PlatformFilter, StoredSecret,
};
use crate::tenancy::EndUserRef;

#[tokio::test]
async fn search_is_literal_and_ignores_case() {
    let bench = Bench::new().await;
    let scope = bench.platform("acme", 0).await;
    for external_id in ["100%_a", "100x_A", r"back\slash", "ABC", "abcd"] {
        bench.end_user(&scope, external_id).await;
    }
    let search = async |query: &str| {
        let filter = EndUserFilter {
            query: Some(query.to_owned()),
            ..EndUserFilter::default()
        };
        let listed = bench
            .store
            .end_users(&scope, &filter, Page::default())
            .await
            .unwrap();
        assert_eq!(listed.total, listed.rows.len() as u64);
        listed
            .rows
            .into_iter()
            .map(|end_user| end_user.external_id)
            .collect::<Vec<_>>()
    };
    assert_eq!(search("0%").await, ["100%_a"]);
    assert_eq!(search("_A").await, ["100x_A", "100%_a"]);
    assert_eq!(search(r"K\S").await, [r"back\slash"]);
    assert_eq!(search("abc").await, ["abcd", "ABC"]);
    assert_eq!(
        search("ABC").await,
        ["ABC", "abcd"],
        "the exact one comes first"
    );
    assert!(search("'; --").await.is_empty());
}

#[tokio::test]
async fn lists_are_newest_first_in_pages() {
    let bench = Bench::new().await;
    for (second, slug) in ["one", "two", "three"].into_iter().enumerate() {
        bench
            .clock
            .set(Timestamp::from_micros(1_000_000 * (1 + second as i64)));
        bench.platform(slug, 0).await;
    }
    let list = async |page| {
        let filter = PlatformFilter {
            query: Some("E".to_owned()),
        };
        let listed = bench
            .store
            .platforms(&operator(), &filter, Page { page, limit: 2 })
            .await
            .unwrap();
        (
            listed
                .rows
                .into_iter()
                .map(|row| row.slug.to_string())
                .collect::<Vec<_>>(),
            listed.total,
        )
    };
    assert_eq!(
        list(1).await,
        (vec!["three".to_owned(), "two".to_owned()], 3)
    );
    assert_eq!(list(2).await, (vec!["one".to_owned()], 3));
    assert_eq!(list(3).await, (vec![], 3));
}

#[tokio::test]
async fn a_taken_slug_changes_nothing() {
    let bench = Bench::new().await;
    let scope = bench.platform("acme", 0).await;
    let other = bench.platform("other", 0).await;
    let changes = PlatformChanges {
        slug: Some("acme".parse().unwrap()),
        ..PlatformChanges::default()
    };
    let error = bench
        .store
        .update_platform(&other, &changes)
        .await
        .unwrap_err();
    assert!(matches!(error, StoreError::Conflict("slug")), "{error:?}");
    assert_eq!(
        bench.store.platform(&other).await.unwrap().slug.to_string(),
        "other"
    );
    assert_eq!(bench.store.audit(&operator()).await.unwrap().len(), 2);
    bench.store.platform(&scope).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_first_calls_make_one_end_user() {
    let bench = Bench::new().await;
    let scope = bench.platform("acme", 0).await;
    let calls = (0..8).map(|_| {
        let (store, new) = (bench.store.clone(), bench.new_end_user(&scope, "u"));
        async move { store.create_end_user(&scope, new).await.unwrap() }
    });
    let made = futures_util::future::join_all(calls).await;
    assert_eq!(
        made.iter()
            .filter(|made| matches!(made, Upsert::Created(_)))
            .count(),
        1
    );
    let filter = KeyFilter {
        of_end_users: true,
        end_user_id: None,
        is_active: Some(true),
    };
    let keys = KeyStore::list(&bench.store, &scope, &filter, Page::default())
        .await
        .unwrap();
    assert_eq!(keys.total, 3, "older keys gave way");
}

#[tokio::test]
async fn the_last_managing_key_stays() {
    let bench = Bench::new().await;
    let scope = bench.platform("acme", 0).await;
    let own = KeyFilter {
        of_end_users: false,
        end_user_id: None,
        is_active: None,
    };
    let first = KeyStore::list(&bench.store, &scope, &own, Page::default())
        .await
        .unwrap()
        .rows
        .remove(0);
    let off = KeyChanges {
        is_active: Some(false),
        ..KeyChanges::default()
    };
    let refused = |error| {
        assert!(
            matches!(error, StoreError::Conflict("last platform key")),
            "{error:?}"
        )
    };
    refused(
        KeyStore::update(&bench.store, &scope, first.id, &off)
            .await
            .unwrap_err(),
    );
    refused(
        KeyStore::delete(&bench.store, &scope, first.id)
            .await
            .unwrap_err(),
    );
    let second = key(KeyKind::Platform, &scope, bench.now());
    KeyStore::create(&bench.store, &scope, second.clone(), 50)
        .await
        .unwrap();
    KeyStore::delete(&bench.store, &scope, first.id)
        .await
        .unwrap();
    refused(
        KeyStore::delete(&bench.store, &scope, second.id)
            .await
            .unwrap_err(),
    );
    let error = KeyStore::create(
        &bench.store,
        &scope,
        key(KeyKind::Platform, &scope, bench.now()),
        1,
    )
    .await;
    assert!(matches!(
        error.unwrap_err(),
        StoreError::Conflict("key limit")
    ));
}

#[tokio::test]
async fn other_platforms_are_out_of_reach() {
    let bench = Bench::new().await;
    let scope = bench.platform("acme", 0).await;
    let other = bench.platform("other", 0).await;
    let id = bench.end_user(&scope, "u").await;
    let end_user = bench
        .store
        .end_user(&scope, &EndUserRef::External("u".to_owned()))
        .await
        .unwrap();
    assert_eq!(end_user.id, id);
    assert!(
        bench
            .store
            .end_user(&other, &EndUserRef::Id(id))
            .await
            .is_err()
    );
    assert!(
        bench
            .store
            .update_end_user(&other, &EndUserRef::Id(id), &EndUserChanges::default())
            .await
            .is_err()
    );
    assert!(bench.store.delete_end_user(&other, id).await.is_err());
    let mut stray = key(KeyKind::EndUser, &other, bench.now());
    stray.end_user_id = Some(id);
    assert!(matches!(
        KeyStore::create(&bench.store, &other, stray, 50).await,
        Err(StoreError::NotFound)
    ));
    assert!(bench.store.budget(&other, id).await.unwrap().is_none());
    let act = LedgerAct::RemoveBudget { end_user: id };
    assert!(matches!(
        bench.store.apply(&other, &act, &context(), None).await,
        Err(StoreError::NotFound)
    ));
}

#[tokio::test]
async fn a_provider_has_one_default() {
    let bench = Bench::new().await;
    let scope = bench.platform("acme", 0).await;
    let make = async |at: i64, is_default| {
        let config = LlmConfig {
            id: LlmConfigId::new(),
            platform_id: scope.platform_id(),
            provider: "openai".parse().unwrap(),
            name: None,
            priority: 100,
            models: Some(vec!["gpt".parse().unwrap()]),
            is_default,
            is_active: true,
            created_at: Timestamp::from_micros(at),
            updated_at: Timestamp::from_micros(at),
        };
        LlmConfigStore::create(&bench.store, &scope, config, StoredSecret(vec![1, 2]))
            .await
            .unwrap()
    };
    let defaults = async || {
        let active = bench.store.active(&scope).await.unwrap();
        active
            .into_iter()
            .filter(|(config, _)| config.is_default)
            .map(|(config, _)| config.id)
            .collect::<Vec<_>>()
    };
    let first = make(1, false).await;
    assert!(first.is_default, "the first one becomes the default");
    let second = make(2, true).await;
    let third = make(3, false).await;
    assert_eq!(defaults().await, [second.id]);
    let off = LlmConfigChanges {
        is_active: Some(false),
        ..LlmConfigChanges::default()
    };
    let secret = Some(StoredSecret(vec![3]));
    let second = LlmConfigStore::update(&bench.store, &scope, second.id, &off, secret)
        .await
        .unwrap();
    assert!(!second.is_default);
    assert_eq!(
        defaults().await,
        [third.id],
        "the newest active one follows"
    );
    LlmConfigStore::delete(&bench.store, &scope, third.id)
        .await
        .unwrap();
    assert_eq!(defaults().await, [first.id]);
    assert_eq!(
        LlmConfigStore::list(
            &bench.store,
            &scope,
            &LlmConfigFilter::default(),
            Page::default()
        )
        .await
        .unwrap()
        .total,
        2
    );
}

#[tokio::test]
async fn a_deleted_platform_leaves_its_ledger() {
    let bench = Bench::new().await;
    let scope = bench.platform("acme", 7).await;
    bench.end_user(&scope, "u").await;
    bench.store.delete_platform(&scope).await.unwrap();
    assert!(matches!(
        bench.store.wallet(&scope).await,
        Err(StoreError::NotFound)
    ));
    assert!(matches!(
        bench.store.delete_platform(&scope).await,
        Err(StoreError::NotFound)
    ));
    let audit = bench.store.audit(&operator()).await.unwrap();
    assert_eq!(audit[0].ledger.usd, NanoUsd::new(7));
    bench.assert_balanced().await;
    bench.platform("acme", 0).await;
}
