//! Lane A: open records, checkpoints and settlements, in one statement that touches no account.

use std::collections::HashSet;
use std::sync::LazyLock;

use sea_orm::Iden;
use sqlx::Row;
use uuid::Uuid;

use super::rows::{self, Binding};
use crate::billing::SettleBatch;
use crate::clock::Timestamp;
use crate::store::StoreError;
use crate::store::sql::entities::{ledger, slot, stream};
use crate::store::sql::postgres::Server;
use crate::store::sql::query::columns;

/// The parameters before those of the rows.
const FIXED: usize = 4;

/// Columns of the rows that a batch inserts.
struct Columns {
    slots: Vec<slot::Column>,
    streams: Vec<stream::Column>,
    entries: Vec<ledger::Column>,
}

static COLUMNS: LazyLock<Columns> = LazyLock::new(|| Columns {
    slots: columns::<slot::Entity>(),
    streams: columns::<stream::Entity>(),
    entries: columns::<ledger::Entity>(),
});

/// Node, number, number up to which answers were delivered, streams that closed; then the arrays of
/// slots, streams and entries.
pub(super) static STATEMENT: LazyLock<String> = LazyLock::new(|| {
    let columns = &*COLUMNS;
    let streams_from = FIXED + 1 + columns.slots.len();
    let entries_from = streams_from + columns.streams.len();
    let renewed: Vec<_> = stream::RENEWED
        .iter()
        .map(|column| format!("{0} = excluded.{0}", column.to_string()))
        .collect();
    format!(
        "WITH fence AS (
           UPDATE billing_lanes SET seq = $2::bigint, delivered_seq = $3::bigint
            WHERE node_id = $1::bigint AND lane = 0 AND seq = $2::bigint - 1 AND state = 0
           RETURNING 1),
         slots AS (
           {slots} WHERE EXISTS (SELECT 1 FROM fence) ORDER BY t.account_id
           ON CONFLICT (node_id, account_id) DO UPDATE
             SET usd = billing_slots.usd + excluded.usd,
                 tokens = billing_slots.tokens + excluded.tokens,
                 display = billing_slots.display + excluded.display
           RETURNING (xmax = 0) AS is_new),
         opened AS (
           {streams} WHERE EXISTS (SELECT 1 FROM fence) ORDER BY t.log_id
           ON CONFLICT (log_id) DO UPDATE SET {renewed}),
         closed AS (
           DELETE FROM billing_streams
            WHERE log_id = ANY($4::uuid[]) AND EXISTS (SELECT 1 FROM fence)),
         posted AS (
           {entries} WHERE EXISTS (SELECT 1 FROM fence))
         SELECT EXISTS (SELECT 1 FROM fence) AS passed,
                (SELECT count(*) FROM slots WHERE is_new) AS new_slots",
        slots = rows::insert("billing_slots", &columns.slots, FIXED + 1),
        streams = rows::insert("billing_streams", &columns.streams, streams_from),
        entries = rows::insert("billing_ledger", &columns.entries, entries_from),
        renewed = renewed.join(", "),
    )
});

struct Applied {
    passed: bool,
    new_slots: i64,
}

impl Server {
    /// Applies a batch of lane A.
    pub(in crate::store::sql) async fn settle(
        &self,
        batch: &SettleBatch,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let query = bind(sqlx::query(STATEMENT.as_str()), batch, now)?;
        let run = async |session: &mut _| {
            let row = query.fetch_one(session).await?;
            Ok(Applied {
                passed: row.try_get("passed")?,
                new_slots: row.try_get("new_slots")?,
            })
        };
        let applied = self.settle.run(run).await?;
        if !applied.passed {
            return Err(StoreError::Lost { node: batch.node });
        }
        if applied.new_slots > 0 {
            // The books balance all the same: what was made is below zero by what was charged.
            tracing::warn!(
                node = batch.node.0,
                seq = batch.seq,
                slots = applied.new_slots,
                "calls were charged to slots that were never leased"
            );
        }
        Ok(())
    }
}

pub(super) fn bind<'q>(
    query: Binding<'q>,
    batch: &SettleBatch,
    now: Timestamp,
) -> Result<Binding<'q>, StoreError> {
    let closed: Vec<Uuid> = batch.closed.iter().map(|id| id.as_uuid()).collect();
    // One statement cannot both write and remove a row.
    let gone: HashSet<_> = batch.closed.iter().collect();
    let opened = batch.opened.iter();
    let opened: Vec<_> = opened
        .filter(|stream| !gone.contains(&stream.log_id))
        .map(|stream| stream::row(batch.node, stream, now))
        .collect();
    let debits = batch.debits.iter();
    let debits: Vec<_> = debits
        .map(|(account, amounts)| slot::change(batch.node, *account, amounts.negated()))
        .collect();
    let posted_by = Some((batch.node, batch.seq));
    let entries = batch.entries.iter();
    let entries = entries
        .map(|entry| ledger::row(entry, posted_by, now))
        .collect::<Result<Vec<_>, _>>()?;
    let query = query
        .bind(batch.node.0)
        .bind(batch.seq)
        .bind(batch.delivered_seq)
        .bind(closed);
    let query = rows::bind(query, &COLUMNS.slots, &debits)?;
    let query = rows::bind(query, &COLUMNS.streams, &opened)?;
    rows::bind(query, &COLUMNS.entries, &entries)
}
