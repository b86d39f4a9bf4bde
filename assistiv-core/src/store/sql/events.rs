//! [`EventStore`] in SQL, and how acts write the events that they cause.

use async_trait::async_trait;
use sea_orm::{ColumnTrait, DatabaseTransaction, EntityTrait, QueryFilter, QuerySelect};

use super::entities::event;
use super::error::failed;
use super::{SqlStore, commit};
use crate::auth::SweeperScope;
use crate::events::{Event, EventCursor, EventStore, oldest_kept};
use crate::store::StoreError;

#[async_trait]
impl EventStore for SqlStore {
    async fn events(
        &self,
        scope: &SweeperScope,
        after: Option<EventCursor>,
        most: u32,
    ) -> Result<Vec<Event>, StoreError> {
        let rows = event::Entity::after(scope, after)
            .limit(u64::from(most))
            .all(self.reader())
            .await
            .map_err(failed)?;
        rows.into_iter().map(event::Model::into_domain).collect()
    }

    async fn prune_events(&self, _scope: &SweeperScope) -> Result<u64, StoreError> {
        let txn = self.begin_write().await?;
        let oldest = oldest_kept(self.now()).as_micros();
        let pruned = event::Entity::delete_many()
            .filter(event::Column::CreatedAt.lt(oldest))
            .exec(&txn)
            .await
            .map_err(failed)?;
        commit(txn).await?;
        Ok(pruned.rows_affected)
    }
}

/// Writes events in the transaction of what caused them.
pub(super) async fn insert(
    txn: &DatabaseTransaction,
    events: impl IntoIterator<Item = Event>,
) -> Result<(), StoreError> {
    let rows: Vec<_> = events.into_iter().map(|event| event::row(&event)).collect();
    event::NEW.run(txn, rows).await.map_err(failed)
}
