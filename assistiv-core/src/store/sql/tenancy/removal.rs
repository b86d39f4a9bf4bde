//! Platforms and end users that go, with what belongs to them. The ledger stays.

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QuerySelect};

use super::lock_end_user;
use crate::audit::AuditEntry;
use crate::auth::PlatformScope;
use crate::billing::AccountKind;
use crate::events::{EventType, about_end_user};
use crate::id::EndUserId;
use crate::store::sql::audit::record;
use crate::store::sql::entities::{account, budget, end_user, platform, wallet};
use crate::store::sql::error::failed;
use crate::store::sql::ledger::write;
use crate::store::sql::{SqlStore, changes, commit, events, keys, responses};
use crate::store::{Changed, StoreError};

/// Deletes a platform.
pub(super) async fn platform(store: &SqlStore, scope: &PlatformScope) -> Result<(), StoreError> {
    let txn = store.begin_write().await?;
    let row = keys::lock_platform(&txn, scope).await?;
    // Budgets and wallet go before the accounts are touched: that is the order of their locks.
    // End users, keys and configs go with the platform's row.
    let platform_id = scope.platform_id().as_uuid();
    budget::Entity::delete_many()
        .filter(budget::Column::PlatformId.eq(platform_id))
        .exec(&txn)
        .await
        .map_err(failed)?;
    wallet::Entity::delete_many()
        .filter(wallet::Column::PlatformId.eq(platform_id))
        .exec(&txn)
        .await
        .map_err(failed)?;
    let mut retired = write::retire_accounts(&txn, account::Entity::of(scope), store.now()).await?;
    platform::Entity::delete_by_id(row.id)
        .exec(&txn)
        .await
        .map_err(failed)?;
    // Without the wallet nothing is paid: there is no need to tell of every budget.
    retired.retain(|account| account.kind == AccountKind::Wallet as i16);
    write::tell_retired(&txn, retired, store.now()).await?;
    responses::forget(&txn, scope.platform_id(), None).await?;
    let entry = AuditEntry::deleted(scope, &row.into_domain()?, store.now());
    record(&txn, entry).await?;
    for what in [Changed::Holders, Changed::Configs] {
        changes::tell(&txn, scope.platform_id(), what, store.now()).await?;
    }
    commit(txn).await
}

/// Deletes an end user.
pub(super) async fn end_user(
    store: &SqlStore,
    scope: &PlatformScope,
    id: EndUserId,
) -> Result<(), StoreError> {
    let txn = store.begin_write().await?;
    let row = lock_end_user(&txn, scope, id).await?;
    let of_user = budget::Entity::of_end_user(scope, id).lock_exclusive();
    let mut retired = Vec::new();
    if let Some(budget) = of_user.one(&txn).await.map_err(failed)? {
        budget::Entity::delete_by_id(budget.id)
            .exec(&txn)
            .await
            .map_err(failed)?;
        let account = account::Entity::of(scope).filter(account::Column::Id.eq(budget.account_id));
        retired = write::retire_accounts(&txn, account, store.now()).await?;
    }
    end_user::Entity::delete_by_id(row.id)
        .exec(&txn)
        .await
        .map_err(failed)?;
    responses::forget(&txn, scope.platform_id(), Some(id)).await?;
    let row = row.into_domain()?;
    let gone = about_end_user(EventType::EndUserDeleted, &row, store.now());
    let entry = AuditEntry::deleted(scope, &row, store.now());
    record(&txn, entry).await?;
    events::insert(&txn, [gone]).await?;
    write::tell_retired(&txn, retired, store.now()).await?;
    changes::tell(&txn, scope.platform_id(), Changed::Holders, store.now()).await?;
    commit(txn).await
}
