//! Repeated requests: the key is taken, and what the request did is kept, in the transaction of the effect.

use sea_orm::sea_query::{Expr, OnConflict};
use sea_orm::{ColumnTrait, DatabaseTransaction, EntityTrait, QueryFilter, Select, Set};

use super::acts::Failure;
use crate::billing::{ActRefusal, Idempotency};
use crate::clock::Timestamp;
use crate::id::{AccountId, EntryId};
use crate::store::StoreError;
use crate::store::sql::entities::idempotency;
use crate::store::sql::error::{corrupt, failed};

/// Takes the request's key, or finds the row of whoever took it before; waits for one who is at it.
///
/// `of_request` selects the row under the scope of the request.
pub(in crate::store::sql) async fn claim(
    txn: &DatabaseTransaction,
    of_request: Select<idempotency::Entity>,
    request: &Idempotency,
    uid: EntryId,
    now: Timestamp,
) -> Result<Option<idempotency::Model>, Failure> {
    let row = idempotency::ActiveModel {
        scope_hash: Set(request.scope_hash.to_vec()),
        request_hash: Set(request.request_hash.to_vec()),
        body: Set(String::new()),
        account_id: Set(None),
        uid: Set(Some(uid.as_uuid())),
        created_at: Set(now.as_micros()),
    };
    let unless_taken = OnConflict::column(idempotency::Column::ScopeHash)
        .do_nothing()
        .to_owned();
    let inserted = idempotency::Entity::insert(row)
        .on_conflict(unless_taken)
        .exec_without_returning(txn)
        .await;
    if inserted.map_err(failed)? == 1 {
        return Ok(None);
    }
    let stored = of_request.one(txn).await.map_err(failed)?;
    let stored = stored.ok_or_else(|| corrupt("billing_idempotency"))?;
    if stored.request_hash != request.request_hash {
        return Err(ActRefusal::KeyReused.into());
    }
    Ok(Some(stored))
}

/// Keeps what a request did.
pub(super) async fn keep(
    txn: &DatabaseTransaction,
    request: &Idempotency,
    body: String,
    account: Option<AccountId>,
) -> Result<(), StoreError> {
    idempotency::Entity::update_many()
        .col_expr(idempotency::Column::Body, Expr::val(body))
        .col_expr(
            idempotency::Column::AccountId,
            Expr::val(account.map(|AccountId(id)| id)),
        )
        .filter(idempotency::Column::ScopeHash.eq(request.scope_hash.to_vec()))
        .exec(txn)
        .await
        .map_err(failed)?;
    Ok(())
}
