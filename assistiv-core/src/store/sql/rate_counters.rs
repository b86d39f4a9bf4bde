//! [`RateCounters`] on PostgreSQL, where nodes share them: one statement a call, and no wait for the disk.

use async_trait::async_trait;
use sea_orm::{ConnectionTrait, DbBackend, QueryResult, Statement, Value};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::SqlStore;
use super::error::{corrupt, failed};
use crate::clock::Timestamp;
use crate::limits::{LimitType, RateCounters, Take, Taken, Window};
use crate::store::StoreError;

/// A window and an amount, as the functions of the database read it.
#[derive(Serialize)]
struct Row {
    subject: Uuid,
    limit_type: i16,
    start: i64,
    amount: i64,
    /// The most that may be used.
    ceiling: i64,
}

#[derive(Deserialize)]
struct Answer {
    used: Vec<u64>,
    /// Counted from 1.
    refused: Option<usize>,
}

#[async_trait]
impl RateCounters for SqlStore {
    async fn take(&self, wanted: &[Take]) -> Result<Taken, StoreError> {
        let rows = wanted
            .iter()
            .map(|take| Row::of(take.window, signed(take.amount), signed(take.limit)));
        let answer = self.call("SELECT rate_limit_take($1)", rows).await?;
        let answer = answer.ok_or_else(|| corrupt("no answer of rate_limit_take"))?;
        let answer: String = answer.try_get_by_index(0).map_err(failed)?;
        let answer: Answer =
            serde_json::from_str(&answer).map_err(|_| corrupt("an answer of rate_limit_take"))?;
        if answer.used.len() != wanted.len() {
            return Err(corrupt("counters that were pruned while they were used"));
        }
        Ok(Taken {
            used: answer.used,
            refused: answer.refused.map(|index| index - 1),
        })
    }

    async fn add(&self, amounts: &[(Window, i64)]) -> Result<(), StoreError> {
        let rows = amounts
            .iter()
            .map(|(window, amount)| Row::of(*window, *amount, i64::MAX));
        self.call("SELECT rate_limit_add($1)", rows).await?;
        Ok(())
    }

    async fn prune(&self, now: Timestamp) -> Result<(), StoreError> {
        let now = Timestamp::from_micros(now.as_micros() - GRACE);
        // Of each kind, what began before the windows that `now` is in.
        for limit_type in LimitType::ALL {
            let statement = "DELETE FROM rate_counters WHERE limit_type = $1 AND start < $2";
            let values: [Value; 2] = [
                (limit_type as i16).into(),
                limit_type.window_start(now).as_micros().into(),
            ];
            let statement = Statement::from_sql_and_values(DbBackend::Postgres, statement, values);
            let deleted = self.0.writer.execute_raw(statement).await;
            deleted.map_err(failed)?;
        }
        Ok(())
    }
}

/// Nodes whose clocks are behind still count, in microseconds.
const GRACE: i64 = 60_000_000;

// === impl SqlStore ===

impl SqlStore {
    async fn call(
        &self,
        statement: &str,
        rows: impl Iterator<Item = Row>,
    ) -> Result<Option<QueryResult>, StoreError> {
        let rows = serde_json::to_string(&rows.collect::<Vec<_>>());
        let rows: Value = rows.map_err(|_| corrupt("windows"))?.into();
        let statement = Statement::from_sql_and_values(DbBackend::Postgres, statement, [rows]);
        let answer = self.0.writer.query_one_raw(statement).await;
        answer.map_err(failed)
    }
}

// === impl Row ===

impl Row {
    fn of(window: Window, amount: i64, ceiling: i64) -> Self {
        Self {
            subject: window.subject.as_uuid(),
            limit_type: window.limit_type as i16,
            start: window.start.as_micros(),
            amount,
            ceiling,
        }
    }
}

fn signed(amount: u64) -> i64 {
    // Sums of two stay in range.
    i64::try_from(amount).unwrap_or(i64::MAX).min(i64::MAX / 4)
}
