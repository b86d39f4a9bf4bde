//! How the database runs the statements: the same way on empty and on large tables.

use serde_json::Value;
use sqlx::Row;
use sqlx::postgres::PgConnection;

use super::super::{lease, settle};
use super::*;
use crate::store::sql::postgres::Server;

/// Rows in a table that is large.
const MANY: u32 = 50_000;

fn server(store: &SqlStore) -> &Server {
    store.server().unwrap()
}

/// The plan of a statement on a session like that of a lane.
async fn plan(
    session: &mut PgConnection,
    name: &str,
    statement: &str,
) -> Result<Value, sqlx::Error> {
    let last = (1..)
        .find(|number| !statement.contains(&format!("${number}::")))
        .unwrap();
    let nothing = vec!["NULL"; last - 1].join(", ");
    for text in [format!("PREPARE {name} AS {statement}")] {
        sqlx::raw_sql(sqlx::AssertSqlSafe(text))
            .execute(&mut *session)
            .await?;
    }
    let explain = format!("EXPLAIN (FORMAT JSON, COSTS OFF) EXECUTE {name}({nothing})");
    let row = sqlx::raw_sql(sqlx::AssertSqlSafe(explain))
        .fetch_one(&mut *session)
        .await?;
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("DEALLOCATE {name}")))
        .execute(session)
        .await?;
    let text: String = row.try_get_unchecked(0)?;
    let plan: Value = serde_json::from_str(&text).unwrap();
    Ok(plan[0]["Plan"].clone())
}

/// Every node of a plan.
fn nodes(plan: &Value) -> Vec<&Value> {
    let inner = plan["Plans"].as_array().into_iter().flatten();
    std::iter::once(plan).chain(inner.flat_map(nodes)).collect()
}

/// The tables that a node reads by itself, without the parts of the statement that run before it.
fn tables(plan: &Value) -> Vec<String> {
    let own = plan["Relation Name"].as_str().map(str::to_owned);
    let inner = plan["Plans"].as_array().into_iter().flatten();
    let below = inner.filter(|inner| {
        matches!(
            inner["Parent Relationship"].as_str(),
            Some("Outer" | "Inner")
        )
    });
    own.into_iter().chain(below.flat_map(tables)).collect()
}

fn kind(node: &Value) -> &str {
    node["Node Type"].as_str().unwrap()
}

fn assert_keyed(plan: &Value, what: &str) {
    for node in nodes(plan) {
        assert_ne!(kind(node), "Seq Scan", "{what}: {node:#}");
        if kind(node).contains("Join") || kind(node) == "Nested Loop" {
            assert_eq!(tables(node), [""; 0], "{what} joins a table: {node:#}");
        }
    }
}

async fn plans(store: &SqlStore) -> Vec<Value> {
    let mut plans = Vec::new();
    let server = server(store);
    let elsewhere = "SELECT sum(s.usd) FROM billing_slots s
        WHERE s.account_id = $2::bigint AND s.node_id <> $1::bigint";
    for (lane, name, statement, read) in [
        (
            &server.settle,
            "settle",
            settle::STATEMENT.as_str(),
            &["billing_lanes", "billing_streams"][..],
        ),
        (
            &server.lease,
            "lease",
            lease::STATEMENT.as_str(),
            &["billing_accounts", "billing_lanes", "billing_nodes"],
        ),
        (&server.lease, "elsewhere", elsewhere, &["billing_slots"]),
    ] {
        let found = lane.run(async |session| plan(session, name, statement).await);
        let found = found.await.unwrap();
        assert_keyed(&found, name);
        let scans = nodes(&found)
            .into_iter()
            .filter(|node| kind(node).contains("Scan"));
        let mut scanned: Vec<_> = scans
            .filter_map(|node| node["Relation Name"].as_str())
            .collect();
        scanned.sort_unstable();
        assert_eq!(scanned, read, "{name}");
        plans.push(found);
    }
    plans
}

async fn fill(store: &SqlStore) {
    let from = format!("FROM generate_series(1, {MANY}) AS i");
    let statements = [
        format!(
            "INSERT INTO billing_accounts (kind, platform_id, owner_id, enforce, created_at,
               updated_at) SELECT 1, gen_random_uuid(), gen_random_uuid(), 1, 0, 0 {from}"
        ),
        format!("INSERT INTO billing_slots (node_id, account_id) SELECT i % 5, i {from}"),
        format!(
            "INSERT INTO billing_nodes (instance, name, state, created_at, updated_at)
             SELECT gen_random_uuid(), 'n', 3, 0, 0 {from}"
        ),
        format!(
            "INSERT INTO billing_lanes (node_id, lane) SELECT i, l {from}, generate_series(0, 1) l"
        ),
        format!(
            "INSERT INTO billing_streams SELECT gen_random_uuid(), i % 5, gen_random_uuid(), NULL, i,
               NULL, 0, 0, 0, 0, 0, 0, 0, 0, gen_random_uuid(), gen_random_uuid(), 0, 0 {from}"
        ),
        format!(
            "INSERT INTO billing_ledger (uid, kind, source, platform_id, wallet_account_id,
               wallet_usd, created_at)
             SELECT gen_random_uuid(), 1, 2, gen_random_uuid(), i, -1, 0 {from}"
        ),
        "ANALYZE".to_owned(),
    ];
    for statement in statements {
        store.0.writer.execute_unprepared(&statement).await.unwrap();
    }
}

#[tokio::test]
async fn lanes_find_rows_by_keys_in_empty_and_in_large_tables() {
    let (store, _database) = store().await;
    let empty = plans(&store).await;
    fill(&store).await;
    let large = plans(&store).await;
    assert_eq!(empty.len(), large.len());
}
