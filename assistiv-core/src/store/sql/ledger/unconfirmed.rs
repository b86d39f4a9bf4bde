//! Charges whose delivery cannot be proved: listed, and resolved once.

use std::collections::HashMap;

use sea_orm::sea_query::Expr;
use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, PaginatorTrait, QueryFilter,
    QuerySelect,
};

use super::acts::Failure;
use super::{refund, repeat};
use crate::auth::OperatorScope;
use crate::billing::{
    ActContext, ActRefusal, Idempotency, LedgerEntry, Refund, Resolution, Resolved, Unconfirmed,
    UnconfirmedFilter, UnconfirmedStatus,
};
use crate::clock::Timestamp;
use crate::id::EntryId;
use crate::store::sql::entities::{idempotency, ledger, node, unconfirmed};
use crate::store::sql::error::{corrupt, failed};
use crate::store::sql::{SqlStore, commit};
use crate::store::{Listed, Page, StoreError};

/// Those that match, found last first.
pub(super) async fn list(
    store: &SqlStore,
    scope: &OperatorScope,
    filter: &UnconfirmedFilter,
    page: Page,
) -> Result<Listed<Unconfirmed>, StoreError> {
    let txn = store.begin_read().await?;
    let matching = unconfirmed::Entity::listed(scope, filter);
    let total = matching.clone().count(&txn).await.map_err(failed)?;
    let rows = matching
        .limit(u64::from(page.limit))
        .offset(page.offset())
        .all(&txn)
        .await
        .map_err(failed)?;
    let names = names(&txn, scope, rows.iter().map(|(item, _)| item.node_id)).await?;
    let rows = rows.into_iter().map(|(item, charge)| {
        let name = names.get(&item.node_id).cloned().unwrap_or_default();
        item.into_domain(charge, name)
    });
    Ok(Listed {
        rows: rows.collect::<Result<_, _>>()?,
        total,
    })
}

/// Resolves one, or finds that an earlier request did.
pub(super) async fn resolve(
    store: &SqlStore,
    scope: &OperatorScope,
    charge: EntryId,
    resolution: Resolution,
    context: &ActContext,
    request: Option<Idempotency>,
) -> Result<Result<Resolved, ActRefusal>, StoreError> {
    let txn = store.begin_write().await?;
    let resolving = Resolving {
        txn: &txn,
        scope,
        charge,
        now: store.now(),
    };
    match resolving.resolve(resolution, context, request).await {
        Ok(resolved) => {
            commit(txn).await?;
            Ok(Ok(resolved))
        }
        Err(Failure::Refused(refusal)) => Ok(Err(refusal)),
        Err(Failure::Store(error)) => Err(error),
    }
}

/// The resolution of one delivery, in a transaction.
struct Resolving<'a> {
    txn: &'a DatabaseTransaction,
    scope: &'a OperatorScope,
    charge: EntryId,
    now: Timestamp,
}

impl Resolving<'_> {
    async fn resolve(
        &self,
        resolution: Resolution,
        context: &ActContext,
        request: Option<Idempotency>,
    ) -> Result<Resolved, Failure> {
        let mut replayed = false;
        if let Some(request) = &request {
            let of_request = idempotency::Entity::of_operator(self.scope, request);
            let stored =
                repeat::claim(self.txn, of_request, request, context.uid, self.now).await?;
            replayed = stored.is_some();
        }
        // What was resolved stays so: a repeat finds in the item what the request was told.
        let row = unconfirmed::Entity::one(self.scope, self.charge)
            .lock_exclusive()
            .one(self.txn)
            .await
            .map_err(failed)?
            .ok_or(ActRefusal::TransactionNotFound)?;
        let mut resolved = Resolved {
            item: self.item(row).await?,
            accounts: Vec::new(),
            replayed,
        };
        if let Some(status) = resolved.item.next(resolution)? {
            if status == UnconfirmedStatus::Refunded {
                resolved.accounts = self.refund(&resolved.item, context).await?;
            }
            resolved.item.status = status;
            resolved.item.resolved_at = Some(self.now);
            resolved.item.actor = context.actor;
            resolved.item.reason = context.reason.clone();
            self.write(&resolved.item).await?;
        }
        if let Some(request) = request.filter(|_| !replayed) {
            repeat::keep(self.txn, &request, String::new(), None).await?;
        }
        Ok(resolved)
    }

    async fn item(&self, row: unconfirmed::Model) -> Result<Unconfirmed, StoreError> {
        let charge = ledger::Entity::all(self.scope)
            .filter(ledger::Column::Uid.eq(self.charge.as_uuid()))
            .one(self.txn)
            .await
            .map_err(failed)?;
        let mut names = names(self.txn, self.scope, [row.node_id]).await?;
        let name = names.remove(&row.node_id).unwrap_or_default();
        row.into_domain(charge, name)
    }

    async fn refund(
        &self,
        item: &Unconfirmed,
        context: &ActContext,
    ) -> Result<Vec<crate::id::AccountId>, Failure> {
        let scope = self.scope.over(item.platform_id);
        let charge = ledger::Entity::of(&scope)
            .filter(ledger::Column::Uid.eq(self.charge.as_uuid()))
            .one(self.txn)
            .await
            .map_err(failed)?
            .ok_or_else(|| corrupt("an unconfirmed delivery without a charge"))?
            .into_domain()?;
        let context = ActContext {
            uid: LedgerEntry::unconfirmed_refund_uid(self.charge),
            ..context.clone()
        };
        let given =
            refund::give_back(self.txn, &scope, &charge, Refund::Rest, &context, self.now).await?;
        Ok(given.accounts)
    }

    async fn write(&self, item: &Unconfirmed) -> Result<(), StoreError> {
        let resolved_at = item.resolved_at.map(Timestamp::as_micros);
        unconfirmed::Entity::update_many()
            .col_expr(
                unconfirmed::Column::Resolution,
                Expr::val(item.status as i16),
            )
            .col_expr(unconfirmed::Column::ResolvedAt, Expr::val(resolved_at))
            .col_expr(
                unconfirmed::Column::Actor,
                Expr::val(item.actor.map(|actor| actor.to_string())),
            )
            .col_expr(unconfirmed::Column::Reason, Expr::val(item.reason.clone()))
            .filter(unconfirmed::Column::Uid.eq(self.charge.as_uuid()))
            .exec(self.txn)
            .await
            .map_err(failed)?;
        Ok(())
    }
}

async fn names(
    db: &impl ConnectionTrait,
    scope: &OperatorScope,
    nodes: impl IntoIterator<Item = i64>,
) -> Result<HashMap<i64, String>, StoreError> {
    let nodes = node::Entity::named(scope, nodes).all(db).await;
    let named = |row: node::Model| (row.id, row.name);
    Ok(nodes.map_err(failed)?.into_iter().map(named).collect())
}
