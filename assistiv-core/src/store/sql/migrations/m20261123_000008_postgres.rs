//! What only PostgreSQL needs: room for rows that are written over and over, and a function.

use sea_orm::{ConnectionTrait, DbBackend};
use sea_orm_migration::{DbErr, MigrationName, MigrationTrait, SchemaManager, async_trait};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m20261123_000008_postgres"
    }
}

/// Rows that change in place keep their pages when there is room on them; dead rows of small tables
/// that change with every batch are removed after a count, not a share, of them.
const STORAGE: [&str; 4] = [
    "ALTER TABLE billing_accounts SET (fillfactor = 50)",
    "ALTER TABLE billing_slots SET (fillfactor = 50,
       autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000)",
    "ALTER TABLE billing_lanes SET (fillfactor = 20,
       autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000)",
    "ALTER TABLE billing_streams SET (
       autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000)",
];

/// What nodes other than `node` hold of an account. Volatile, so that it sees what was committed
/// until it is called, and not only until the statement that calls it began: that statement may have
/// waited for the account's lock.
const ELSEWHERE: &str = "CREATE FUNCTION billing_elsewhere(node bigint, account bigint,
    OUT usd bigint, OUT tokens bigint, OUT display bigint) LANGUAGE sql VOLATILE AS
  $$ SELECT coalesce(sum(s.usd), 0)::bigint, coalesce(sum(s.tokens), 0)::bigint,
            coalesce(sum(s.display), 0)::bigint
       FROM billing_slots s WHERE s.account_id = $2 AND s.node_id <> $1 $$";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.get_database_backend() != DbBackend::Postgres {
            return Ok(());
        }
        for statement in STORAGE.into_iter().chain([ELSEWHERE]) {
            manager
                .get_connection()
                .execute_unprepared(statement)
                .await?;
        }
        Ok(())
    }
}
