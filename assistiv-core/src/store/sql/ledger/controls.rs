//! Messages between nodes.

use std::time::Duration;

use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DatabaseTransaction, DbBackend, EntityTrait,
    NotSet, QueryFilter, QueryOrder, Set, Statement,
};

use super::nodes::before;
use crate::auth::SweeperScope;
use crate::billing::{Control, ControlOp};
use crate::clock::Timestamp;
use crate::id::AccountId;
use crate::store::StoreError;
use crate::store::sql::entities::control;
use crate::store::sql::error::failed;
use crate::store::sql::{SqlStore, commit};

/// How long a message is shown.
const SHOWN: Duration = Duration::from_secs(30);
/// How long a message is kept.
const KEPT: Duration = Duration::from_secs(3_600);
/// How often one account is recalled at most.
const RECALLED: Duration = Duration::from_secs(1);

/// Where PostgreSQL tells listening nodes that there is a message; the payload is its number.
pub(in crate::store::sql) const CHANNEL: &str = "assistiv_control";
/// The lock under which PostgreSQL numbers messages.
const NUMBERING: i64 = 0x6173_7369_7374_6976;

/// Sends a message with the caller's transaction; returns its number.
///
/// Who sends has locked everything that it will lock.
pub(in crate::store::sql) async fn send(
    txn: &DatabaseTransaction,
    account: AccountId,
    op: ControlOp,
    now: Timestamp,
) -> Result<i64, StoreError> {
    number_in_order(txn).await?;
    insert(txn, account, op, now).await
}

/// Sends a recall, unless one was sent just before.
pub(super) async fn recall(
    store: &SqlStore,
    scope: &SweeperScope,
    account: AccountId,
) -> Result<i64, StoreError> {
    let txn = store.begin_write().await?;
    number_in_order(&txn).await?;
    let now = store.now();
    let recent = control::Entity::since(scope, before(now, RECALLED))
        .filter(control::Column::AccountId.eq(account.0))
        .filter(control::Column::Op.eq(ControlOp::Recall as i16))
        .order_by_desc(control::Column::Seq)
        .one(&txn)
        .await
        .map_err(failed)?;
    if let Some(recent) = recent {
        return Ok(recent.seq);
    }
    let seq = insert(&txn, account, ControlOp::Recall, now).await?;
    commit(txn).await?;
    Ok(seq)
}

/// What was sent lately.
pub(super) async fn shown(
    store: &SqlStore,
    scope: &SweeperScope,
) -> Result<Vec<Control>, StoreError> {
    let rows = control::Entity::since(scope, before(store.now(), SHOWN))
        .all(store.reader())
        .await
        .map_err(failed)?;
    rows.iter().map(control::Model::to_domain).collect()
}

/// Removes old messages; says how many.
pub(super) async fn prune(store: &SqlStore, _: &SweeperScope) -> Result<u64, StoreError> {
    let txn = store.begin_write().await?;
    let kept_since = before(store.now(), KEPT).as_micros();
    let pruned = control::Entity::delete_many()
        .filter(control::Column::CreatedAt.lt(kept_since))
        .exec(&txn)
        .await
        .map_err(failed)?;
    commit(txn).await?;
    Ok(pruned.rows_affected)
}

/// Lets nobody else number messages until the transaction ends. So messages become visible in the
/// order of their numbers, and a node that has acted on one has acted on all before it.
async fn number_in_order(txn: &DatabaseTransaction) -> Result<(), StoreError> {
    // SQLite has one writer anyway.
    if txn.get_database_backend() == DbBackend::Postgres {
        let lock = "SELECT pg_advisory_xact_lock($1)";
        run(txn, lock, [NUMBERING.into()]).await?;
    }
    Ok(())
}

async fn insert(
    txn: &DatabaseTransaction,
    account: AccountId,
    op: ControlOp,
    now: Timestamp,
) -> Result<i64, StoreError> {
    let row = control::ActiveModel {
        seq: NotSet,
        account_id: Set(account.0),
        op: Set(op as i16),
        created_at: Set(now.as_micros()),
    };
    let seq = row.insert(txn).await.map_err(failed)?.seq;
    if txn.get_database_backend() == DbBackend::Postgres {
        // Delivered when the transaction commits.
        let notify = "SELECT pg_notify($1, $2)";
        run(txn, notify, [CHANNEL.into(), seq.to_string().into()]).await?;
    }
    Ok(seq)
}

async fn run<const N: usize>(
    txn: &DatabaseTransaction,
    sql: &str,
    values: [sea_orm::Value; N],
) -> Result<(), StoreError> {
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, sql, values);
    txn.query_one_raw(statement).await.map_err(failed)?;
    Ok(())
}
