//! Lane B: grants and returns, in one statement.

use std::sync::LazyLock;

use sqlx::postgres::PgRow;
use sqlx::{Error, Row};

use super::rows::Binding;
use crate::billing::{
    AccountKind, AccountPolicy, Amounts, Blocked, Dimension, Dimensions, LeaseBatch, LeaseGrant,
    LeaseRequest, Limits,
};
use crate::clock::Timestamp;
use crate::id::AccountId;
use crate::money::{NanoUsd, Tokens};
use crate::store::StoreError;
use crate::store::sql::error::corrupt;
use crate::store::sql::postgres::Server;

/// What [`crate::billing::grant`] computes, for one dimension: `free` with what is given back
/// counted in.
const GRANT: &str = "CASE
    WHEN a.blocked <> 0 OR a.enforce & {bit} = 0 OR coalesce(a.period_end <= $3::bigint, false) THEN 0
    WHEN a.free_{d} + q.back_{d} <= greatest(q.need_{d}, 0) THEN greatest(a.free_{d} + q.back_{d}, 0)
    ELSE greatest(q.need_{d}, 0) + least(
      greatest(q.target_{d} - q.has_{d} - greatest(q.need_{d}, 0), 0),
      (a.free_{d} + q.back_{d} - greatest(q.need_{d}, 0)) / (SELECT divisor FROM sharing))
  END AS grant_{d}";

/// Node, number, the time; then arrays: accounts, and what is needed, wanted, at hand and given back
/// of each dimension.
///
/// Accounts are written by an upsert that never inserts: it takes the rows as they are after their
/// locks were waited for, whatever the statement's snapshot shows. Their slots elsewhere are read by
/// a function for the same reason: its look is a later one.
pub(super) static STATEMENT: LazyLock<String> = LazyLock::new(|| {
    let each = |text: &str| {
        let one = |dimension: &Dimension| {
            let name = name(*dimension);
            let bit = Dimensions::NONE.with(*dimension).bits().to_string();
            text.replace("{d}", name).replace("{bit}", &bit)
        };
        Dimension::ALL
            .iter()
            .map(one)
            .collect::<Vec<_>>()
            .join(", ")
    };
    format!(
        "WITH fence AS (
           UPDATE billing_lanes SET seq = $2::bigint
            WHERE node_id = $1::bigint AND lane = 1 AND seq = $2::bigint - 1 AND state = 0
           RETURNING 1),
         q AS (
           SELECT * FROM unnest($4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[],
             $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[],
             $13::bigint[], $14::bigint[], $15::bigint[], $16::bigint[])
           WITH ORDINALITY AS t(id, {columns}, position)),
         a AS (
           SELECT b.* FROM billing_accounts b
            WHERE b.id = ANY($4::bigint[]) AND EXISTS (SELECT 1 FROM fence)
            ORDER BY b.kind, b.id FOR UPDATE),
         sharing AS (
           SELECT greatest(2 * count(*), 1) AS divisor FROM billing_nodes
            WHERE state = 0 AND expires_at >= $3::bigint),
         decided AS MATERIALIZED (
           SELECT q.position, a.*, {back}, {grant} FROM q JOIN a USING (id)),
         g AS MATERIALIZED (
           SELECT d.*, {free}, {moved}, billing_elsewhere($1::bigint, d.id) AS elsewhere
             FROM decided d),
         accounts AS (
           INSERT INTO billing_accounts (id, kind, platform_id, owner_id, enforce, {free_columns},
             created_at, updated_at)
           SELECT g.id, g.kind, g.platform_id, g.owner_id, g.enforce, {left}, g.created_at, $3::bigint
             FROM g WHERE {has_moved} ORDER BY g.kind, g.id
           ON CONFLICT (id) DO UPDATE SET {set_free}, updated_at = excluded.updated_at),
         slots AS (
           INSERT INTO billing_slots (node_id, account_id, {names})
           SELECT $1::bigint, g.id, {moved_columns} FROM g WHERE {has_moved} ORDER BY g.id
           ON CONFLICT (node_id, account_id) DO UPDATE SET {add_slot})
         SELECT passed.passed, g.id, g.kind, g.enforce, g.blocked, g.period_end, g.low_usd, g.low_tokens,
                {granted}, {left}, {elsewhere},
                coalesce(g.period_end <= $3::bigint, false) AS reset_due
           FROM (SELECT EXISTS (SELECT 1 FROM fence) AS passed) passed LEFT JOIN g ON true
          ORDER BY g.position",
        columns = [
            each("need_{d}"),
            each("target_{d}"),
            each("has_{d}"),
            each("back_{d}")
        ]
        .join(", "),
        back = each("q.back_{d}"),
        grant = each(GRANT),
        free = each("d.free_{d} + d.back_{d} - d.grant_{d} AS left_{d}"),
        moved = each("d.grant_{d} - d.back_{d} AS moved_{d}"),
        free_columns = each("free_{d}"),
        left = each("g.left_{d}"),
        has_moved = "(g.moved_usd <> 0 OR g.moved_tokens <> 0 OR g.moved_display <> 0)",
        set_free = each("free_{d} = excluded.free_{d}"),
        names = each("{d}"),
        moved_columns = each("g.moved_{d}"),
        add_slot = each("{d} = billing_slots.{d} + excluded.{d}"),
        granted = each("g.grant_{d}"),
        elsewhere = each("(g.elsewhere).{d} AS elsewhere_{d}"),
    )
});

impl Server {
    /// Applies a batch of lane B.
    pub(in crate::store::sql) async fn lease(
        &self,
        batch: &LeaseBatch,
        now: Timestamp,
    ) -> Result<Vec<LeaseGrant>, StoreError> {
        let query = bind(sqlx::query(STATEMENT.as_str()), batch, now);
        let rows = self
            .lease
            .run(async |session: &mut _| query.fetch_all(session).await);
        let rows = rows.await?;
        let passed = rows.first().map(|row| row.try_get::<bool, _>("passed"));
        if !passed.transpose().map_err(super::failed)?.unwrap_or(false) {
            return Err(StoreError::Lost { node: batch.node });
        }
        let mut grants = Vec::with_capacity(rows.len());
        for row in &rows {
            // Of a batch whose accounts are all unknown there is one row, with nothing in it.
            let id: Option<i64> = row.try_get("id").map_err(super::failed)?;
            if let Some(id) = id {
                grants.push(read(AccountId(id), row).map_err(super::failed)??);
            }
        }
        Ok(grants)
    }
}

pub(super) fn bind<'q>(query: Binding<'q>, batch: &LeaseBatch, now: Timestamp) -> Binding<'q> {
    let ids: Vec<_> = batch.requests.iter().map(|r| r.account.0).collect();
    let mut query = query
        .bind(batch.node.0)
        .bind(batch.seq)
        .bind(now.as_micros())
        .bind(ids);
    let parts: [fn(&LeaseRequest) -> Amounts; 4] = [
        |request| request.demand,
        |request| request.target,
        |request| request.available,
        |request| request.give_back,
    ];
    for part in parts {
        for dimension in Dimension::ALL {
            let amounts = batch.requests.iter().map(|r| part(r).get(dimension));
            query = query.bind(amounts.collect::<Vec<_>>());
        }
    }
    query
}

fn read(account: AccountId, row: &PgRow) -> Result<Result<LeaseGrant, StoreError>, Error> {
    let amounts = |prefix: &str| {
        let get = |d: Dimension| row.try_get::<i64, _>(format!("{prefix}_{}", name(d)).as_str());
        Ok::<_, Error>(Amounts::from_raw(
            get(Dimension::Usd)?,
            get(Dimension::Tokens)?,
            get(Dimension::Display)?,
        ))
    };
    let (granted, free, elsewhere) = (amounts("grant")?, amounts("left")?, amounts("elsewhere")?);
    let kind = AccountKind::from_number(row.try_get("kind")?);
    let blocked = Blocked::from_number(row.try_get("blocked")?);
    let enforce = Dimensions::from_bits(row.try_get("enforce")?);
    let period_end: Option<i64> = row.try_get("period_end")?;
    let thresholds = Limits {
        usd: row.try_get::<Option<i64>, _>("low_usd")?.map(NanoUsd::new),
        tokens: row
            .try_get::<Option<i64>, _>("low_tokens")?
            .map(Tokens::new),
    };
    let reset_due = row.try_get("reset_due")?;
    let (Some(kind), Some(blocked)) = (kind, blocked) else {
        return Ok(Err(corrupt("billing_accounts")));
    };
    Ok(Ok(LeaseGrant {
        account,
        granted,
        free,
        elsewhere,
        policy: AccountPolicy {
            kind,
            enforce,
            blocked,
            period_end: period_end.map(Timestamp::from_micros),
            thresholds,
        },
        reset_due,
    }))
}

fn name(dimension: Dimension) -> &'static str {
    match dimension {
        Dimension::Usd => "usd",
        Dimension::Tokens => "tokens",
        Dimension::Display => "display",
    }
}
