//! The end of nodes: graceful, or found dead.

use sea_orm::sea_query::LockBehavior::SkipLocked;
use sea_orm::sea_query::LockType;
use sea_orm::{ColumnTrait, DatabaseTransaction, QueryFilter, QuerySelect};

use super::nodes::before;
use super::retirement::Retirement;
use crate::auth::SweeperScope;
use crate::billing::{Sweep, Swept, UnconfirmedDelivery};
use crate::id::NodeId;
use crate::store::StoreError;
use crate::store::sql::entities::node;
use crate::store::sql::error::failed;
use crate::store::sql::{SqlStore, commit};

/// Marks a node as closed that ended in good order.
pub(super) async fn close(
    store: &SqlStore,
    scope: &SweeperScope,
    node: NodeId,
) -> Result<(), StoreError> {
    let txn = store.begin_write().await?;
    let found = node::Entity::one(scope, node)
        .lock_exclusive()
        .one(&txn)
        .await;
    let row = found.map_err(failed)?.ok_or(StoreError::NotFound)?;
    if row.state == node::CLOSED {
        return Ok(());
    }
    let retirement = Retirement::of(&txn, scope, &row, store.now());
    retirement.run(None).await?;
    commit(txn).await
}

/// Retires nodes that died, each in a transaction of its own.
///
/// A node that cannot be retired does not keep others from it; its error is told when there is
/// nothing else to tell.
pub(super) async fn sweep(
    store: &SqlStore,
    scope: &SweeperScope,
    which: Sweep,
    unconfirmed: UnconfirmedDelivery,
) -> Result<Vec<Swept>, StoreError> {
    let which = match which {
        // Another process's node may be alive.
        Sweep::All if store.is_shared() => Sweep::Expired {
            grace: std::time::Duration::ZERO,
        },
        which => which,
    };
    let mut swept = Vec::new();
    let mut failure = None;
    let mut after = NodeId(0);
    loop {
        let txn = store.begin_write().await?;
        let Some(row) = next(&txn, store, scope, which, after).await? else {
            break;
        };
        after = NodeId(row.id);
        let retirement = Retirement::of(&txn, scope, &row, store.now());
        let result = match retirement.run(Some(unconfirmed)).await {
            Ok(done) => commit(txn).await.map(|()| done),
            Err(error) => Err(error),
        };
        match result {
            Ok(done) => swept.push(done),
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    match failure {
        Some(error) if swept.is_empty() => Err(error),
        _ => Ok(swept),
    }
}

/// Locks the next dead node that no other sweeper has in its hands.
async fn next(
    txn: &DatabaseTransaction,
    store: &SqlStore,
    scope: &SweeperScope,
    which: Sweep,
    after: NodeId,
) -> Result<Option<node::Model>, StoreError> {
    let dead = match which {
        Sweep::All => node::Entity::not_closed(scope),
        Sweep::Expired { grace } => node::Entity::expired(scope, before(store.now(), grace)),
    };
    dead.filter(node::Column::Id.gt(after.0))
        .limit(1)
        .lock_with_behavior(LockType::Update, SkipLocked)
        .one(txn)
        .await
        .map_err(failed)
}
