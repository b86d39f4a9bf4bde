//! Rate limits beside what they limit; on PostgreSQL the counters that nodes share.

use sea_orm::sea_query::Table;
use sea_orm::{ConnectionTrait, DbBackend};
use sea_orm_migration::{DbErr, MigrationName, MigrationTrait, SchemaManager, async_trait};

use super::text_or_null;

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m20261124_000060_rate_limits"
    }
}

/// Rows change in place many times and are gone soon.
const COUNTERS: &str = "CREATE TABLE rate_counters (
    subject uuid NOT NULL, limit_type smallint NOT NULL, start bigint NOT NULL, used bigint NOT NULL,
    PRIMARY KEY (subject, limit_type, start)
  ) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000)";

/// Both functions are volatile, so that each of their statements sees what was committed until it runs: they wait
/// for rows, and count on from what they find then. Rows are locked in the order in which they are named. A
/// count is not worth a wait for the disk.
const TAKE: &str = "CREATE FUNCTION rate_limit_take(wanted text, OUT answer text)
  LANGUAGE plpgsql VOLATILE AS $$
  DECLARE
    found bigint[];
    amounts bigint[];
    refused bigint;
  BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    INSERT INTO rate_counters
      SELECT w.subject, w.limit_type, w.start, 0
        FROM jsonb_to_recordset(wanted::jsonb) AS w(subject uuid, limit_type smallint, start bigint)
      ON CONFLICT DO NOTHING;
    SELECT array_agg(c.used ORDER BY c.n), array_agg(c.amount ORDER BY c.n),
           min(c.n) FILTER (WHERE c.used + c.amount > c.ceiling)
      INTO found, amounts, refused
      FROM (
        SELECT r.used, w.n, (w.item->>'amount')::bigint AS amount, (w.item->>'ceiling')::bigint AS ceiling
          FROM jsonb_array_elements(wanted::jsonb) WITH ORDINALITY AS w(item, n)
          JOIN rate_counters r ON r.subject = (w.item->>'subject')::uuid
            AND r.limit_type = (w.item->>'limit_type')::smallint AND r.start = (w.item->>'start')::bigint
          ORDER BY w.n FOR UPDATE OF r
      ) AS c;
    IF refused IS NULL THEN
      UPDATE rate_counters r SET used = r.used + w.amount
        FROM jsonb_to_recordset(wanted::jsonb)
          AS w(subject uuid, limit_type smallint, start bigint, amount bigint)
        WHERE r.subject = w.subject AND r.limit_type = w.limit_type AND r.start = w.start AND w.amount > 0;
      found := ARRAY(SELECT f + a FROM unnest(found, amounts) AS t(f, a));
    END IF;
    answer := json_build_object('used', to_json(found), 'refused', refused)::text;
  END $$";

const ADD: &str = "CREATE FUNCTION rate_limit_add(amounts text) RETURNS void
  LANGUAGE plpgsql VOLATILE AS $$
  BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    INSERT INTO rate_counters
      SELECT w.subject, w.limit_type, w.start, 0
        FROM jsonb_to_recordset(amounts::jsonb) AS w(subject uuid, limit_type smallint, start bigint)
      ON CONFLICT DO NOTHING;
    PERFORM r.used
      FROM jsonb_array_elements(amounts::jsonb) WITH ORDINALITY AS w(item, n)
      JOIN rate_counters r ON r.subject = (w.item->>'subject')::uuid
        AND r.limit_type = (w.item->>'limit_type')::smallint AND r.start = (w.item->>'start')::bigint
      ORDER BY w.n FOR UPDATE OF r;
    UPDATE rate_counters r SET used = greatest(0, r.used + w.amount)
      FROM jsonb_to_recordset(amounts::jsonb)
        AS w(subject uuid, limit_type smallint, start bigint, amount bigint)
      WHERE r.subject = w.subject AND r.limit_type = w.limit_type AND r.start = w.start;
  END $$";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in ["platforms", "end_users"] {
            let table = Table::alter()
                .table(table)
                .add_column(text_or_null("rate_limits"))
                .take();
            manager.alter_table(table).await?;
        }
        if manager.get_database_backend() == DbBackend::Postgres {
            for statement in [COUNTERS, TAKE, ADD] {
                manager
                    .get_connection()
                    .execute_unprepared(statement)
                    .await?;
            }
        }
        Ok(())
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}
