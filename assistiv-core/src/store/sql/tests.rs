//! What is the SQL backend's own: the file, its lock, its schema, and statements at their limits.
//! What every backend must do is tested by the conformance suite.

#![cfg(feature = "sqlite")]

mod acts;
mod ledger;
mod recon;
mod tenancy;

use std::path::Path;
use std::sync::Arc;

use sea_orm::{ConnectionTrait, Database, DatabaseConnection};
use tempfile::TempDir;

use super::{SqlOptions, SqlStore};
use crate::auth::{
    KeyDigest, KeyKind, KeyScopes, OperatorScope, PlatformScope, Principal, SweeperScope,
};
use crate::billing::{ActContext, LedgerStore, NewWallet};
use crate::clock::{ManualClock, Timestamp};
use crate::id::{EndUserId, EntryId, KeyId, PlatformId, WalletId};
use crate::json::RawObject;
use crate::keys::ApiKey;
use crate::money::NanoUsd;
use crate::store::{NewEndUser, NewPlatform, StoreError, TenancyStore, Upsert};
use crate::tenancy::{EndUser, Platform, PlatformSettings};

/// A store in a directory that goes away with it.
struct Bench {
    store: SqlStore,
    clock: ManualClock,
    directory: TempDir,
}

impl Bench {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let clock = ManualClock::new("2026-11-23T12:00:00Z".parse().unwrap());
        let store = SqlStore::open(options(directory.path(), &clock))
            .await
            .unwrap();
        Self {
            store,
            clock,
            directory,
        }
    }

    /// A platform whose wallet holds `opening` nano-dollars.
    async fn platform(&self, slug: &str, opening: i64) -> PlatformScope {
        let now = self.now();
        let platform = Platform {
            id: PlatformId::new(),
            name: format!("The {slug}"),
            slug: slug.parse().unwrap(),
            settings: PlatformSettings::default(),
            is_active: true,
            created_at: now,
            updated_at: now,
        };
        let scope = operator().over(platform.id);
        let wallet = NewWallet {
            id: WalletId::new(),
            opening: (EntryId::new(), NanoUsd::new(opening)),
        };
        let key = key(KeyKind::Platform, &scope, now);
        self.store
            .create_platform(
                &operator(),
                NewPlatform {
                    platform,
                    key,
                    wallet,
                },
            )
            .await
            .unwrap();
        scope
    }

    async fn end_user(&self, scope: &PlatformScope, external_id: &str) -> EndUserId {
        match self
            .store
            .create_end_user(scope, self.new_end_user(scope, external_id))
            .await
            .unwrap()
        {
            Upsert::Created(end_user) | Upsert::Existing(end_user) => end_user.id,
        }
    }

    fn new_end_user(&self, scope: &PlatformScope, external_id: &str) -> NewEndUser {
        let now = self.now();
        let end_user = EndUser {
            id: EndUserId::new(),
            platform_id: scope.platform_id(),
            external_id: external_id.to_owned(),
            display_name: None,
            metadata: RawObject::new(),
            is_active: true,
            created_at: now,
            updated_at: now,
        };
        let key = key(KeyKind::EndUser, scope, now);
        NewEndUser {
            end_user,
            key,
            budget: None,
            active_keys_max: 3,
        }
    }

    fn now(&self) -> Timestamp {
        self.store.now()
    }

    async fn assert_balanced(&self) {
        for account in self.store.audit(&operator()).await.unwrap() {
            assert!(account.balances(), "{account:?}");
        }
    }
}

fn options(directory: &Path, clock: &ManualClock) -> SqlOptions {
    SqlOptions::sqlite(directory.join("assistiv.db")).clock(Arc::new(clock.clone()))
}

fn operator() -> OperatorScope {
    Principal::local().operate().unwrap()
}

fn engine() -> SweeperScope {
    SweeperScope::engine()
}

fn key(kind: KeyKind, scope: &PlatformScope, now: Timestamp) -> ApiKey {
    let mut digest = [0; 32];
    getrandom::fill(&mut digest).unwrap();
    ApiKey {
        id: KeyId::new(),
        platform_id: Some(scope.platform_id()),
        end_user_id: None,
        kind,
        digest: KeyDigest::from_bytes(digest),
        key_prefix: format!("{}00000000", kind.prefix()),
        name: "A key".to_owned(),
        scopes: KeyScopes::UNRESTRICTED,
        is_active: true,
        last_used_at: None,
        expires_at: None,
        created_at: now,
    }
}

fn context() -> ActContext {
    ActContext {
        uid: EntryId::new(),
        idempotency_key: None,
        actor: None,
        reason: None,
        metadata: RawObject::new(),
    }
}

async fn raw(directory: &Path) -> DatabaseConnection {
    Database::connect(format!(
        "sqlite:{}",
        directory.join("assistiv.db").display()
    ))
    .await
    .unwrap()
}

fn cause(error: &StoreError) -> String {
    std::error::Error::source(error)
        .map(ToString::to_string)
        .unwrap_or_default()
}

#[tokio::test]
async fn a_second_opener_is_refused_until_the_first_is_gone() {
    let bench = Bench::new().await;
    let again = || SqlStore::open(options(bench.directory.path(), &bench.clock));
    let error = again().await.unwrap_err();
    assert_eq!(error.to_string(), "the database is unavailable");
    assert_eq!(cause(&error), "another process uses this database");

    let scope = bench.platform("kept", 5).await;
    let Bench {
        store,
        clock,
        directory,
    } = bench;
    let clone = store.clone();
    drop(store);
    assert!(
        SqlStore::open(options(directory.path(), &clock))
            .await
            .is_err()
    );
    clone.close().await.unwrap();
    drop(clone);
    let reopened = SqlStore::open(options(directory.path(), &clock))
        .await
        .unwrap();
    assert_eq!(
        reopened.wallet(&scope).await.unwrap().balance,
        NanoUsd::new(5)
    );
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let Bench {
        store,
        clock,
        directory,
    } = Bench::new().await;
    store.close().await.unwrap();
    drop(store);
    let db = raw(directory.path()).await;
    db.execute_unprepared("INSERT INTO seaql_migrations VALUES ('m20991231_000001_later', 0)")
        .await
        .unwrap();
    db.close().await.unwrap();
    let error = SqlStore::open(options(directory.path(), &clock))
        .await
        .unwrap_err();
    assert!(cause(&error).contains("newer schema"), "{error:?}");
}

#[tokio::test]
async fn the_database_is_durable_and_strict() {
    let bench = Bench::new().await;
    for (pragma, value) in [
        ("journal_mode", "wal"),
        ("synchronous", "2"),
        ("foreign_keys", "1"),
        ("busy_timeout", "5000"),
    ] {
        let sql = format!("SELECT CAST({pragma} AS TEXT) AS v FROM pragma_{pragma}");
        let column = if pragma == "busy_timeout" {
            sql.replace("CAST(busy_timeout", "CAST(timeout")
        } else {
            sql
        };
        let row = bench
            .store
            .0
            .writer
            .query_one_raw(sea_orm::Statement::from_string(
                sea_orm::DbBackend::Sqlite,
                column,
            ));
        let found: String = row.await.unwrap().unwrap().try_get("", "v").unwrap();
        assert_eq!(found, value, "{pragma}");
    }
    assert!(
        bench
            .store
            .0
            .reader
            .execute_unprepared("DELETE FROM platforms")
            .await
            .is_err()
    );
}

#[tokio::test]
async fn entries_are_never_changed_or_removed() {
    let bench = Bench::new().await;
    bench.platform("acme", 5).await;
    for statement in [
        "UPDATE billing_ledger SET wallet_usd = 6",
        "DELETE FROM billing_ledger",
    ] {
        let error = bench
            .store
            .0
            .writer
            .execute_unprepared(statement)
            .await
            .unwrap_err();
        assert!(error.to_string().contains("append only"), "{error}");
    }
}
