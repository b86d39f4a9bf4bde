//! Locks on many accounts, in the order of all locks.

use std::collections::BTreeMap;

use sea_orm::{DatabaseTransaction, QuerySelect};

use crate::auth::SweeperScope;
use crate::id::AccountId;
use crate::store::StoreError;
use crate::store::sql::entities::account;
use crate::store::sql::error::failed;
use crate::store::sql::query::IN_VALUES_MAX;

/// Locks those of the accounts that exist: wallets before budgets, each by id.
pub(super) async fn accounts(
    txn: &DatabaseTransaction,
    scope: &SweeperScope,
    ids: impl IntoIterator<Item = AccountId>,
) -> Result<BTreeMap<i64, account::Model>, StoreError> {
    let mut ids: Vec<AccountId> = ids.into_iter().collect();
    ids.sort_unstable();
    ids.dedup();
    if ids.len() > IN_VALUES_MAX {
        ids = in_order(txn, scope, &ids).await?;
    }
    let mut accounts = BTreeMap::new();
    for ids in ids.chunks(IN_VALUES_MAX) {
        let select = account::Entity::any(scope, ids.iter().copied());
        let rows = select.lock_exclusive().all(txn).await.map_err(failed)?;
        accounts.extend(rows.into_iter().map(|row| (row.id, row)));
    }
    Ok(accounts)
}

/// More accounts than one statement locks, in the order of locks: an account never changes its kind.
async fn in_order(
    txn: &DatabaseTransaction,
    scope: &SweeperScope,
    ids: &[AccountId],
) -> Result<Vec<AccountId>, StoreError> {
    let mut kinds: Vec<(i16, i64)> = Vec::with_capacity(ids.len());
    for ids in ids.chunks(IN_VALUES_MAX) {
        let rows: Vec<(i16, i64)> = account::Entity::any(scope, ids.iter().copied())
            .select_only()
            .column(account::Column::Kind)
            .column(account::Column::Id)
            .into_tuple()
            .all(txn)
            .await
            .map_err(failed)?;
        kinds.extend(rows);
    }
    kinds.sort_unstable();
    Ok(kinds.into_iter().map(|(_, id)| AccountId(id)).collect())
}
