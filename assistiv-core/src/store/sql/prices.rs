//! [`PriceStore`] in SQL.

use async_trait::async_trait;
use sea_orm::EntityTrait;
use uuid::Uuid;

use super::changes::tell;
use super::entities::{idempotency, price};
use super::error::{conflict, corrupt, failed};
use super::ledger::acts::Failure;
use super::ledger::repeat;
use super::{SqlStore, commit};
use crate::auth::{OperatorScope, SweeperScope};
use crate::billing::{ActRefusal, Idempotency};
use crate::id::{EntryId, PlatformId};
use crate::prices::{AddedPrice, PriceStore, PriceVersion};
use crate::store::{Changed, StoreError};

#[async_trait]
impl PriceStore for SqlStore {
    async fn prices(&self, scope: &SweeperScope) -> Result<Vec<PriceVersion>, StoreError> {
        let rows = price::Entity::in_order(scope)
            .all(self.reader())
            .await
            .map_err(failed)?;
        rows.into_iter().map(price::Model::into_domain).collect()
    }

    async fn add_price(
        &self,
        scope: &OperatorScope,
        version: &PriceVersion,
        idempotency: Option<Idempotency>,
    ) -> Result<Result<AddedPrice, ActRefusal>, StoreError> {
        let added = self
            .retrying(|| async {
                match add(self, scope, version, idempotency.as_ref()).await {
                    Ok(added) => Ok(Ok(added)),
                    Err(Failure::Refused(refusal)) => Ok(Err(refusal)),
                    Err(Failure::Store(error)) => Err(error),
                }
            })
            .await?;
        Ok(added)
    }
}

async fn add(
    store: &SqlStore,
    scope: &OperatorScope,
    version: &PriceVersion,
    request: Option<&Idempotency>,
) -> Result<AddedPrice, Failure> {
    let txn = store.begin_write().await?;
    let now = store.now();
    let id = version.price.id.as_uuid();
    if let Some(request) = request {
        let of_request = idempotency::Entity::of_operator(scope, request);
        let uid = EntryId::from_uuid(id);
        if repeat::claim(&txn, of_request, request, uid, now)
            .await?
            .is_some()
        {
            // The id of the version comes from the request.
            let row = price::Entity::one(id).one(&txn).await.map_err(failed)?;
            let row = row.ok_or_else(|| corrupt("a request without its price"))?;
            return Ok(AddedPrice {
                version: row.into_domain()?,
                replayed: true,
            });
        }
    }
    price::Entity::insert(price::row(version, now)?)
        .exec_without_returning(&txn)
        .await
        .map_err(|error| conflict(error, "price"))?;
    tell(
        &txn,
        PlatformId::from_uuid(Uuid::nil()),
        Changed::Prices,
        now,
    )
    .await?;
    commit(txn).await?;
    Ok(AddedPrice {
        version: PriceVersion {
            created_at: now,
            ..version.clone()
        },
        replayed: false,
    })
}
