//! Lane B: grants and returns.

use std::collections::{HashMap, HashSet};

use sea_orm::{DatabaseTransaction, PaginatorTrait};

use super::audit::{by_account, slot_sums};
use super::nodes::Fence;
use super::{locks, low_balance, write};
use crate::auth::SweeperScope;
use crate::billing::{Amounts, Lane, LeaseBatch, LeaseGrant, LeaseRequest, grant};
use crate::clock::Timestamp;
use crate::id::{AccountId, NodeId};
use crate::store::StoreError;
use crate::store::sql::entities::{account, node, slot};
use crate::store::sql::error::{corrupt, failed};
use crate::store::sql::query::IN_VALUES_MAX;
use crate::store::sql::{SqlStore, commit};

/// Moves what is granted from accounts to the node's slots, and what is given back the other way.
pub(super) async fn lease(
    store: &SqlStore,
    scope: &SweeperScope,
    batch: &LeaseBatch,
) -> Result<Vec<LeaseGrant>, StoreError> {
    #[cfg(feature = "postgres")]
    if let Some(server) = store.server() {
        let grants = server.lease(batch, store.now()).await?;
        check_thresholds(store, scope, batch, &grants).await;
        return Ok(grants);
    }
    let txn = store.begin_write().await?;
    let now = store.now();
    let fence = Fence {
        node: batch.node,
        lane: Lane::Lease,
        seq: batch.seq,
        delivered_seq: None,
    };
    fence.pass(&txn, scope).await?;

    let ids = || batch.requests.iter().map(|request| request.account);
    let mut accounts = locks::accounts(&txn, scope, ids()).await?;
    let others = if store.is_shared() {
        Others::read(&txn, scope, batch.node, ids(), now).await?
    } else {
        Others::none()
    };
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
        let grant = decide(account, request, &others, now)?;
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
    slot::ADD.run(&txn, moves).await.map_err(failed)?;
    commit(txn).await?;
    Ok(grants)
}

/// Takes what is given back, and what is granted out of what is then free.
fn decide(
    account: &mut account::Model,
    request: &LeaseRequest,
    others: &Others,
    now: Timestamp,
) -> Result<LeaseGrant, StoreError> {
    account.add_free(request.give_back)?;
    let policy = account.policy()?;
    let reset_due = policy.period_end.is_some_and(|end| end <= now);
    let granted = if reset_due {
        Amounts::ZERO
    } else {
        grant(account.free(), &policy, request, others.divisor)
    };
    account.add_free(granted.negated())?;
    Ok(LeaseGrant {
        account: request.account,
        granted,
        free: account.free(),
        elsewhere: others.hold_of(request.account),
        policy,
        reset_due,
    })
}

/// Checks the thresholds of accounts that a batch moved or asked to check, in transactions of their
/// own: a check that comes to nothing is made up for by the next, and must not hide what was granted.
#[cfg(feature = "postgres")]
async fn check_thresholds(
    store: &SqlStore,
    scope: &SweeperScope,
    batch: &LeaseBatch,
    grants: &[LeaseGrant],
) {
    let watched = grants
        .iter()
        .filter(|grant| !grant.policy.thresholds.is_none())
        .map(|grant| grant.account);
    for id in watched {
        let asked =
            |request: &&LeaseRequest| request.account == id && (request.moves() || request.check);
        if batch.requests.iter().any(|request| asked(&request))
            && let Err(error) = check_one(store, scope, id).await
        {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "thresholds were not checked"
            );
        }
    }
}

#[cfg(feature = "postgres")]
async fn check_one(
    store: &SqlStore,
    scope: &SweeperScope,
    account: AccountId,
) -> Result<(), StoreError> {
    let txn = store.begin_write().await?;
    let now = store.now();
    let mut accounts = locks::accounts(&txn, scope, std::iter::once(account)).await?;
    if let Some(row) = accounts.get_mut(&account.0)
        && low_balance::check(&txn, scope, row, now).await?
    {
        write::accounts(&txn, [row.clone()], now).await?;
        commit(txn).await?;
    }
    Ok(())
}

/// The nodes that a lease is beside.
struct Others {
    /// Into how many parts what is left over is divided: one where no other process can ask for
    /// some.
    divisor: i64,
    /// What they hold, by account.
    held: HashMap<i64, Amounts>,
}

impl Others {
    fn none() -> Self {
        Self {
            divisor: 1,
            held: HashMap::new(),
        }
    }

    async fn read(
        txn: &DatabaseTransaction,
        scope: &SweeperScope,
        node: NodeId,
        accounts: impl Iterator<Item = AccountId>,
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        let live = node::Entity::live(scope, now).count(txn).await;
        let live = i64::try_from(live.map_err(failed)?).unwrap_or(i64::MAX);
        let mut others = Self {
            divisor: live.saturating_mul(2),
            held: HashMap::new(),
        };
        let accounts: Vec<_> = accounts.collect();
        for accounts in accounts.chunks(IN_VALUES_MAX) {
            let select = slot::Entity::elsewhere(scope, node, accounts.iter().copied());
            others
                .held
                .extend(by_account(txn, select, slot_sums()).await?);
        }
        Ok(others)
    }

    fn hold_of(&self, account: AccountId) -> Amounts {
        self.held.get(&account.0).copied().unwrap_or_default()
    }
}
