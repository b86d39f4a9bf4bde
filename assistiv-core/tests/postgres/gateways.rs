//! Two gateways on one database: what one changes holds for the other.

use std::time::Duration;

use assistiv_core::Gateway;
use assistiv_core::auth::{AuthError, PresentedKey};
use assistiv_core::keys::{CreateKey, DeleteKey, KeyOwner, UpdateKey};
use assistiv_core::store::sql::SqlStore;
use assistiv_core::tenancy::{CreatePlatform, SwitchPlatform};
use assistiv_core::testing::postgres::{TestDatabase, TestPostgres};
use sea_orm::ConnectionTrait;
use tokio::time::Instant;

/// How soon a change must hold on every node.
const SOON: Duration = Duration::from_secs(1);

async fn gateway(database: &TestDatabase) -> Gateway {
    let store = SqlStore::open(database.options()).await.unwrap();
    let builder = Gateway::builder().stores(store.into());
    builder.build().await.unwrap()
}

/// How long it takes until a gateway refuses a key that it knows.
async fn refused_after(gateway: &Gateway, key: &PresentedKey) -> (AuthError, Duration) {
    let begin = Instant::now();
    loop {
        if let Err(error) = gateway.authenticator().authenticate(key).await {
            return (error, begin.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A platform with a second key, which both gateways have seen.
async fn platform(one: &Gateway, other: &Gateway, name: &str) -> (CreatedBy, PresentedKey) {
    let new = CreatePlatform {
        name: name.to_owned(),
        initial_balance: "1.00".parse().unwrap(),
        ..Default::default()
    };
    let operator = one.local_operator();
    let made = one.tenancy().run(&operator, (), new).await.unwrap();
    let platform = made.platform.id;
    let key = CreateKey {
        owner: KeyOwner::Platform,
        name: None,
        scopes: None,
        expires_at: None,
    };
    let key = one.keys().run(&operator, platform, key).await.unwrap();
    for gateway in [one, other] {
        for known in [&made.raw_key, &key.raw_key] {
            gateway.authenticator().authenticate(known).await.unwrap();
        }
    }
    let by = CreatedBy {
        platform,
        first: made.raw_key,
        second: key.key.id,
    };
    (by, key.raw_key)
}

struct CreatedBy {
    platform: assistiv_core::id::PlatformId,
    first: PresentedKey,
    second: assistiv_core::id::KeyId,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_one_revokes_the_other_refuses_within_a_second() {
    let database = TestPostgres::shared().database().await;
    let (one, other) = tokio::join!(gateway(&database), gateway(&database));
    let operator = one.local_operator();

    let (acme, key) = platform(&one, &other, "Acme").await;
    let off = UpdateKey {
        id: acme.second,
        name: None,
        is_active: Some(false),
        expires_at: None,
    };
    one.keys().run(&operator, acme.platform, off).await.unwrap();
    let (error, after) = refused_after(&other, &key).await;
    assert!(matches!(error, AuthError::Revoked), "{error:?}");
    assert!(after < SOON, "{after:?}");
    let first = other.authenticator().authenticate(&acme.first).await;
    first.unwrap();

    let (zeta, key) = platform(&one, &other, "Zeta").await;
    let gone = DeleteKey {
        id: zeta.second,
        end_user: None,
    };
    one.keys()
        .run(&operator, zeta.platform, gone)
        .await
        .unwrap();
    let (error, after) = refused_after(&other, &key).await;
    assert!(matches!(error, AuthError::InvalidKey), "{error:?}");
    assert!(after < SOON, "{after:?}");

    let off = SwitchPlatform {
        platform: zeta.platform,
        is_active: false,
    };
    other.tenancy().run(&operator, (), off).await.unwrap();
    let (error, after) = refused_after(&one, &zeta.first).await;
    assert!(matches!(error, AuthError::PlatformDisabled), "{error:?}");
    assert!(after < SOON, "{after:?}");

    one.shut_down(Duration::ZERO).await.unwrap();
    other.shut_down(Duration::ZERO).await.unwrap();
}

/// Without a word of the server a change costs a look, and still holds within a second.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_word_costs_a_look_alone() {
    let database = TestPostgres::shared().database().await;
    let (one, other) = tokio::join!(gateway(&database), gateway(&database));
    let (acme, key) = platform(&one, &other, "Acme").await;
    // Nobody is told: the row is all there is.
    let session = database.connect().await;
    let change = format!(
        "UPDATE api_keys SET is_active = false WHERE id = '{}';
         INSERT INTO changes (platform_id, what, created_at) VALUES
           ('{}', 1, (extract(epoch FROM now()) * 1000000)::bigint)",
        acme.second, acme.platform,
    );
    session.execute_unprepared(&change).await.unwrap();
    let (error, after) = refused_after(&other, &key).await;
    assert!(matches!(error, AuthError::Revoked), "{error:?}");
    assert!(after < SOON, "{after:?}");
    one.shut_down(Duration::ZERO).await.unwrap();
    other.shut_down(Duration::ZERO).await.unwrap();
}
