//! [`ResponseStore`] in SQL.

use async_trait::async_trait;
use sea_orm::{
    ColumnTrait, DatabaseTransaction, DbErr, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
};
use uuid::Uuid;

use super::entities::{response, response_turn};
use super::error::failed;
use super::query::IN_VALUES_MAX;
use super::{SqlStore, commit};
use crate::auth::{CallerScope, SweeperScope};
use crate::clock::Timestamp;
use crate::id::{EndUserId, PlatformId};
use crate::responses::{Keep, NewTurn, ResponseId, ResponseStore, StoredResponse};
use crate::store::StoreError;

#[async_trait]
impl ResponseStore for SqlStore {
    async fn keep(&self, _scope: &SweeperScope, batch: &[Keep]) -> Result<(), StoreError> {
        self.retrying(async || {
            let txn = self.begin_write().await?;
            let mut rows = Vec::new();
            let mut ended = Vec::new();
            for keep in batch {
                match keep {
                    Keep::Response(row) => rows.push(response::row(row)),
                    Keep::TurnEnded(id) => ended.push(id.as_uuid()),
                }
            }
            response::NEW.run(&txn, rows).await.map_err(failed)?;
            for ended in ended.chunks(IN_VALUES_MAX) {
                response_turn::Entity::delete_many()
                    .filter(response_turn::Column::Holder.is_in(ended.iter().copied()))
                    .exec(&txn)
                    .await
                    .map_err(failed)?;
            }
            commit(txn).await
        })
        .await
    }

    async fn response(
        &self,
        scope: &CallerScope,
        id: ResponseId,
    ) -> Result<Option<StoredResponse>, StoreError> {
        let found = response::Entity::seen(scope, id).one(self.reader()).await;
        Ok(found.map_err(failed)?.map(response::Model::into_domain))
    }

    async fn chain(
        &self,
        scope: &CallerScope,
        id: ResponseId,
    ) -> Result<Vec<StoredResponse>, StoreError> {
        let txn = self.begin_read().await?;
        let newest = response::Entity::own(scope)
            .filter(response::Column::Id.eq(id.as_uuid()))
            .one(&txn)
            .await
            .map_err(failed)?;
        let Some(newest) = newest else {
            return Ok(Vec::new());
        };
        // A conversation may have many branches: only their ids are read, and of those on the way to its
        // beginning the rest.
        let ids = ancestors(&txn, scope, &newest).await?;
        let mut chain = Vec::with_capacity(ids.len() + 1);
        for ids in ids.chunks(IN_VALUES_MAX) {
            let rows = response::Entity::own(scope)
                .filter(response::Column::Id.is_in(ids.iter().copied()))
                .all(&txn)
                .await
                .map_err(failed)?;
            chain.extend(rows.into_iter().map(response::Model::into_domain));
        }
        let place = |row: &StoredResponse| ids.iter().position(|id| *id == row.id.as_uuid());
        chain.sort_by_cached_key(|row| std::cmp::Reverse(place(row)));
        chain.push(newest.into_domain());
        Ok(chain)
    }

    async fn remove_response(
        &self,
        scope: &CallerScope,
        id: ResponseId,
    ) -> Result<bool, StoreError> {
        let txn = self.begin_write().await?;
        let removed = response::Entity::delete_many()
            .filter(response::is_seen(scope, id))
            .exec(&txn)
            .await
            .map_err(failed)?;
        commit(txn).await?;
        Ok(removed.rows_affected > 0)
    }

    async fn begin_turn(&self, scope: &CallerScope, turn: &NewTurn) -> Result<bool, StoreError> {
        self.retrying(async || {
            let txn = self.begin_write().await?;
            let insert = response_turn::Entity::insert(response_turn::row(scope, turn))
                .on_conflict(response_turn::instead_of_ended(turn.now));
            let begun = match insert.exec_without_returning(&txn).await {
                Ok(rows) => rows > 0,
                Err(DbErr::RecordNotInserted) => false,
                Err(error) => return Err(failed(error)),
            };
            commit(txn).await?;
            Ok(begun)
        })
        .await
    }

    async fn newest_of_thread(
        &self,
        scope: &CallerScope,
        thread: &str,
    ) -> Result<Option<ResponseId>, StoreError> {
        let newest: Option<Uuid> = response::Entity::own(scope)
            .filter(response::Column::Thread.eq(thread))
            .select_only()
            .column(response::Column::Id)
            .order_by_desc(response::Column::Id)
            .into_tuple()
            .one(self.reader())
            .await
            .map_err(failed)?;
        Ok(newest.map(ResponseId::from_uuid))
    }

    async fn expire_responses(
        &self,
        scope: &SweeperScope,
        now: Timestamp,
        most: u32,
    ) -> Result<u64, StoreError> {
        let txn = self.begin_write().await?;
        let expired: Vec<Uuid> = response::Entity::expired(scope, now)
            .select_only()
            .column(response::Column::Id)
            .limit(u64::from(most))
            .into_tuple()
            .all(&txn)
            .await
            .map_err(failed)?;
        for expired in expired.chunks(IN_VALUES_MAX) {
            response::Entity::delete_many()
                .filter(response::Column::Id.is_in(expired.iter().copied()))
                .exec(&txn)
                .await
                .map_err(failed)?;
        }
        response_turn::Entity::delete_many()
            .filter(response_turn::Column::HeldUntil.lte(now.as_micros()))
            .exec(&txn)
            .await
            .map_err(failed)?;
        commit(txn).await?;
        Ok(expired.len() as u64)
    }
}

/// The responses before one, newest first, as far as they are there.
async fn ancestors(
    txn: &DatabaseTransaction,
    scope: &CallerScope,
    newest: &response::Model,
) -> Result<Vec<Uuid>, StoreError> {
    if newest.previous.is_none() {
        return Ok(Vec::new());
    }
    let links: Vec<(Uuid, Option<Uuid>)> = response::Entity::own(scope)
        .filter(response::Column::Conversation.eq(newest.conversation))
        .select_only()
        .column(response::Column::Id)
        .column(response::Column::Previous)
        .into_tuple()
        .all(txn)
        .await
        .map_err(failed)?;
    let links: std::collections::HashMap<_, _> = links.into_iter().collect();
    let mut ids = Vec::new();
    let mut next = newest.previous;
    while let Some(id) = next
        && let Some(previous) = links.get(&id)
        && ids.len() <= links.len()
    {
        ids.push(id);
        next = *previous;
    }
    Ok(ids)
}

/// Removes the responses of a platform, or of one of its end users.
pub(super) async fn forget(
    txn: &DatabaseTransaction,
    platform: PlatformId,
    end_user: Option<EndUserId>,
) -> Result<(), StoreError> {
    let mut delete =
        response::Entity::delete_many().filter(response::Column::PlatformId.eq(platform.as_uuid()));
    if let Some(end_user) = end_user {
        delete = delete.filter(response::Column::EndUserId.eq(end_user.as_uuid()));
    }
    delete.exec(txn).await.map_err(failed)?;
    Ok(())
}
