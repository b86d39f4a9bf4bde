//! Lane A: open records, checkpoints and settlements. Touches no account.

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};

use super::nodes::Fence;
use crate::auth::SweeperScope;
use crate::billing::{Lane, SettleBatch};
use crate::store::StoreError;
use crate::store::sql::entities::{ledger, slot, stream};
use crate::store::sql::error::{conflict, failed};
use crate::store::sql::query::IN_VALUES_MAX;
use crate::store::sql::{SqlStore, commit};

/// Applies a batch whole, or not at all.
pub(super) async fn settle(
    store: &SqlStore,
    scope: &SweeperScope,
    batch: &SettleBatch,
) -> Result<(), StoreError> {
    #[cfg(feature = "postgres")]
    if let Some(server) = store.server() {
        return server.settle(batch, store.now()).await;
    }
    let txn = store.begin_write().await?;
    let now = store.now();
    let debits = batch
        .debits
        .iter()
        .map(|(account, amounts)| slot::change(batch.node, *account, amounts.negated()))
        .collect();
    let opened = batch
        .opened
        .iter()
        .map(|stream| stream::row(batch.node, stream, now))
        .collect();
    let posted_by = Some((batch.node, batch.seq));
    let entries = batch
        .entries
        .iter()
        .map(|entry| ledger::row(entry, posted_by, now));
    let entries = entries.collect::<Result<Vec<_>, _>>()?;
    let fence = Fence {
        node: batch.node,
        lane: Lane::Settle,
        seq: batch.seq,
        delivered_seq: Some(batch.delivered_seq),
    };
    fence.pass(&txn, scope).await?;
    slot::ADD.run(&txn, debits).await.map_err(failed)?;
    stream::OPEN.run(&txn, opened).await.map_err(failed)?;
    for closed in batch.closed.chunks(IN_VALUES_MAX) {
        let ids = closed.iter().map(|id| id.as_uuid());
        stream::Entity::delete_many()
            .filter(stream::Column::LogId.is_in(ids))
            .exec(&txn)
            .await
            .map_err(failed)?;
    }
    ledger::POST
        .run(&txn, entries)
        .await
        .map_err(|error| conflict(error, "ledger entry"))?;
    commit(txn).await
}
