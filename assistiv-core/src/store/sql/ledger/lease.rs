//! Lane B: grants and returns.

use std::collections::{HashMap, HashSet};

use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, PaginatorTrait, QuerySelect};

use super::nodes::Fence;
use super::{low_balance, write};
use crate::auth::SweeperScope;
use crate::billing::{Amounts, Lane, LeaseBatch, LeaseGrant, LeaseRequest, grant};
use crate::clock::Timestamp;
use crate::store::StoreError;
use crate::store::sql::entities::{account, node, slot};
use crate::store::sql::error::{corrupt, failed};
use crate::store::sql::query::{IN_VALUES_MAX, insert_rows};
use crate::store::sql::{SqlStore, commit};

/// Moves what is granted from accounts to the node's slots, and what is given back the other way.
pub(super) async fn lease(
    store: &SqlStore,
    scope: &SweeperScope,
    batch: &LeaseBatch,
) -> Result<Vec<LeaseGrant>, StoreError> {
    let txn = store.begin_write().await?;
    let now = store.now();
    let fence = Fence {
        node: batch.node,
        lane: Lane::Lease,
        seq: batch.seq,
        delivered_seq: None,
    };
    fence.pass(&txn, scope).await?;

    let divisor = divisor(&txn, scope).await?;
    let mut accounts = lock_accounts(&txn, scope, &batch.requests).await?;
    let mut grants = Vec::with_capacity(batch.requests.len());
    let mut moves = Vec::with_capacity(batch.requests.len());
    let mut changed = HashSet::with_capacity(batch.requests.len());
    for request in &batch.requests {
        let Some(account) = accounts.get_mut(&request.account.0) else {
            continue;
        };
        if (request.moves() || request.check)
            && low_balance::check(&txn, scope, account, now).await?
        {
            changed.insert(request.account.0);
        }
        let grant = decide(account, request, divisor, now)?;
        let moved = grant
            .granted
            .checked_sub(request.give_back)
            .map_err(|_| corrupt("a lease left its range"))?;
        if !moved.is_zero() {
            moves.push(slot::change(batch.node, request.account, moved));
            changed.insert(request.account.0);
        }
        grants.push(grant);
    }
    accounts.retain(|id, _| changed.contains(id));
    let mut rows: Vec<_> = accounts.into_values().collect();
    rows.sort_unstable_by_key(|row| (row.kind, row.id));
    write::accounts(&txn, rows, now).await?;
    insert_rows(&txn, moves, Some(&slot::added()))
        .await
        .map_err(failed)?;
    commit(txn).await?;
    Ok(grants)
}

/// Takes what is given back, and what is granted out of what is then free.
fn decide(
    account: &mut account::Model,
    request: &LeaseRequest,
    divisor: i64,
    now: Timestamp,
) -> Result<LeaseGrant, StoreError> {
    account.add_free(request.give_back)?;
    let policy = account.policy()?;
    let reset_due = policy.period_end.is_some_and(|end| end <= now);
    let granted = if reset_due {
        Amounts::ZERO
    } else {
        grant(account.free(), &policy, request, divisor)
    };
    account.add_free(granted.negated())?;
    Ok(LeaseGrant {
        account: request.account,
        granted,
        free: account.free(),
        elsewhere: Amounts::ZERO,
        policy,
        reset_due,
    })
}

async fn lock_accounts(
    txn: &DatabaseTransaction,
    scope: &SweeperScope,
    requests: &[LeaseRequest],
) -> Result<HashMap<i64, account::Model>, StoreError> {
    let mut accounts = HashMap::with_capacity(requests.len());
    for requests in requests.chunks(IN_VALUES_MAX) {
        let select = account::Entity::any(scope, requests.iter().map(|request| request.account));
        let rows = select.lock_exclusive().all(txn).await.map_err(failed)?;
        accounts.extend(rows.into_iter().map(|row| (row.id, row)));
    }
    Ok(accounts)
}

/// Into how many parts what is left over is divided: one where no other process can ask for some.
async fn divisor(txn: &DatabaseTransaction, scope: &SweeperScope) -> Result<i64, StoreError> {
    if txn.get_database_backend() == DbBackend::Sqlite {
        return Ok(1);
    }
    let live = node::Entity::live(scope).count(txn).await.map_err(failed)?;
    Ok(i64::try_from(live).unwrap_or(i64::MAX).saturating_mul(2))
}
