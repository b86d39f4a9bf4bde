//! Sessions and the clock.

use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, Statement};

use super::*;
use crate::testing::postgres::{TestDatabase, TestPostgres};

async fn store() -> (SqlStore, TestDatabase) {
    let database = TestPostgres::shared().database().await;
    (SqlStore::open(database.options()).await.unwrap(), database)
}

async fn setting(db: &DatabaseConnection, name: &str) -> String {
    let show = format!("SELECT current_setting('{name}') AS value");
    let row = db.query_one_raw(Statement::from_string(DbBackend::Postgres, show));
    row.await.unwrap().unwrap().try_get("", "value").unwrap()
}

#[tokio::test]
async fn sessions_are_set_for_what_they_do() {
    let (store, _database) = store().await;
    let (writer, reader) = (&store.0.writer, &store.0.reader);
    let delete = "DELETE FROM platforms";
    let error = reader.execute_unprepared(delete).await.unwrap_err();
    assert!(error.to_string().contains("read-only"), "{error}");
    writer.execute_unprepared(delete).await.unwrap();
    for (db, isolation) in [(writer, "read committed"), (reader, "repeatable read")] {
        let txn = setting(db, "transaction_isolation").await;
        assert_eq!(txn, isolation);
        assert_eq!(setting(db, "jit").await, "off");
    }
    assert_eq!(setting(writer, "lock_timeout").await, "4s");
    assert_eq!(setting(reader, "application_name").await, "assistiv reads");
}

#[tokio::test]
async fn the_time_is_the_servers() {
    let (store, _database) = store().await;
    let before = micros_at(&store.0.writer).await;
    let txn = store.begin_write().await.unwrap();
    let now = store.now().as_micros();
    drop(txn);
    let after = micros_at(&store.0.writer).await;
    // The clock is behind the server's by at most the way of one answer.
    assert!(
        before - 1_000_000 < now && now <= after,
        "{before} {now} {after}"
    );
}

async fn micros_at(db: &DatabaseConnection) -> i64 {
    let now = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS now";
    let row = db.query_one_raw(Statement::from_string(DbBackend::Postgres, now));
    row.await.unwrap().unwrap().try_get("", "now").unwrap()
}
