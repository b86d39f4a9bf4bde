//! What is PostgreSQL's own: which servers are taken, several nodes that start at once, and a server
//! that goes away and comes back.

use std::error::Error;

use assistiv_core::store::StoreError;
use assistiv_core::store::sql::{SqlOptions, SqlStore};
use assistiv_core::testing::postgres::{TestDatabase, TestPostgres};
use sea_orm::ConnectionTrait;

async fn open(database: &TestDatabase) -> Result<SqlStore, StoreError> {
    SqlStore::open(database.options()).await
}

async fn refusal(options: SqlOptions) -> String {
    let error = SqlStore::open(options).await.unwrap_err();
    error.source().unwrap().to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_nodes_may_make_the_schema_at_once() {
    let database = TestPostgres::shared().empty_database().await;
    let nodes = (0..4).map(|_| open(&database));
    for store in futures_util::future::join_all(nodes).await {
        let store = store.unwrap();
        store.ping().await.unwrap();
        store.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let database = TestPostgres::shared().database().await;
    let session = database.connect().await;
    session
        .execute_unprepared("INSERT INTO seaql_migrations VALUES ('m20991231_000001_later', 0)")
        .await
        .unwrap();
    assert!(refusal(database.options()).await.contains("newer schema"));
}

#[tokio::test]
async fn a_database_that_may_lose_commits_is_refused() {
    let database = TestPostgres::shared().database().await;
    let session = database.connect().await;
    session
        .execute_unprepared(
            "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET synchronous_commit = off',
             current_database()); END $$",
        )
        .await
        .unwrap();
    let refusal = refusal(database.options()).await;
    assert!(refusal.contains("synchronous_commit"), "{refusal}");
}

#[tokio::test]
async fn a_database_with_another_encoding_is_refused() {
    let database = TestPostgres::shared().empty_database().await;
    let session = database.connect().await;
    session
        .execute_unprepared("CREATE DATABASE latin TEMPLATE template0 ENCODING LATIN1 LOCALE 'C'")
        .await
        .unwrap();
    let name = database.url().split(['/', '?']).nth(3).unwrap().to_owned();
    let latin = database.url().replace(&name, "latin");
    let refusal = refusal(SqlOptions::postgres(latin)).await;
    assert!(refusal.contains("ENCODING 'UTF8'"), "{refusal}");
    session
        .execute_unprepared("DROP DATABASE latin WITH (FORCE)")
        .await
        .unwrap();
}

#[tokio::test]
async fn an_address_that_is_none_is_refused_without_showing_it() {
    for url in [
        "mysql://u:hidden@localhost/a",
        "postgres://u:hidden@local host/a",
        "hidden",
    ] {
        let refusal = refusal(SqlOptions::postgres(url)).await;
        assert!(refusal.contains("postgres://user"), "{refusal}");
        assert!(!refusal.contains("hidden"), "{refusal}");
        assert!(!format!("{:?}", SqlOptions::postgres(url)).contains("hidden"));
    }
}

/// Sessions that were open when the server died are replaced, and what was acknowledged is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_comes_back_is_used_again() {
    let server = TestPostgres::start();
    let database = server.database().await;
    let store = open(&database).await.unwrap();
    store.set_master_key_check(b"sealed").await.unwrap();
    server.crash();
    assert!(matches!(
        store.ping().await,
        Err(StoreError::Unavailable(_))
    ));
    server.start_again();
    // Each session of a pool that died with the server may cost one failure.
    let mut tries = 0;
    while store.ping().await.is_err() {
        tries += 1;
        assert!(tries < 20, "the database is back");
    }
    let check = store.master_key_check().await.unwrap();
    assert_eq!(check.as_deref(), Some(&b"sealed"[..]));
    let over_the_network = SqlStore::open(SqlOptions::postgres(database.tcp_url()))
        .await
        .unwrap();
    over_the_network.ping().await.unwrap();
}
