//! Lists of entries with the balances that they left.
//!
//! Balances are not stored: they are running sums over all entries in ledger order, whatever a
//! filter leaves out, in one snapshot.

mod export;
mod rows;
mod sums;

pub(super) use self::export::{open, read};

use std::collections::HashMap;

use sea_orm::{ColumnTrait, ConnectionTrait, QueryFilter};

use self::rows::Rows;
use super::{account_of, total};
use crate::auth::PlatformScope;
use crate::billing::{Amounts, EntriesOf, EntryFilter, EntryWithBalance, LedgerEntry, Standing};
use crate::id::AccountId;
use crate::store::sql::SqlStore;
use crate::store::sql::entities::{account, budget, end_user, ledger, wallet};
use crate::store::sql::error::{corrupt, failed};
use crate::store::{Listed, Page, StoreError};
use crate::tenancy::EndUserRef;

/// An account whose entries are shown.
pub(super) struct Holder {
    of: EntriesOf,
    account: account::Model,
    /// The limits as they are now.
    limits: Amounts,
}

/// One page of the entries that match.
pub(super) async fn entries(
    store: &SqlStore,
    scope: &PlatformScope,
    of: EntriesOf,
    filter: &EntryFilter,
    page: Page,
) -> Result<Listed<EntryWithBalance>, StoreError> {
    let txn = store.begin_read().await?;
    let Some(holder) = Holder::find(&txn, scope, of).await? else {
        return Ok(Listed {
            rows: Vec::new(),
            total: 0,
        });
    };
    let rows = Rows::new(&holder, filter);
    let count = rows.count(&txn).await?;
    let shown = rows.page(&txn, page).await?;
    let ids: Vec<i64> = shown.iter().map(|(id, _)| *id).collect();
    let mut standings = holder.standings(&txn, &ids).await?;
    let mut listed = Vec::with_capacity(shown.len());
    for (id, part) in shown {
        let (entry, standing) = standings
            .get_mut(&id)
            .ok_or_else(|| corrupt("an entry that went away"))?;
        listed.push(EntryWithBalance {
            entry: entry.clone(),
            part,
            remaining_after: standing.remaining,
            limit_after: standing.limit,
        });
    }
    Ok(Listed {
        rows: listed,
        total: count,
    })
}

/// What an entry changed on the account: what remains, and the limit.
pub(super) fn changes(account: &account::Model, entry: &LedgerEntry) -> (Amounts, Amounts) {
    let of_wallet = entry.wallet.filter(|(id, _)| id.0 == account.id);
    let of_budget = entry.budget.filter(|legs| legs.account.0 == account.id);
    match (of_wallet, of_budget) {
        (Some((_, usd)), _) => (Amounts::usd(usd), Amounts::ZERO),
        (None, Some(legs)) => (legs.remaining, legs.limit),
        (None, None) => (Amounts::ZERO, Amounts::ZERO),
    }
}

// === impl Holder ===

impl Holder {
    /// The account; `None` of an end user who never had a budget.
    async fn find(
        db: &impl ConnectionTrait,
        scope: &PlatformScope,
        of: EntriesOf,
    ) -> Result<Option<Self>, StoreError> {
        let (account, limits) = match of {
            EntriesOf::Wallet => {
                let row = wallet::Entity::of(scope).one(db).await.map_err(failed)?;
                (row.ok_or(StoreError::NotFound)?.account_id, Amounts::ZERO)
            }
            EntriesOf::Budget(end_user) => {
                let named = end_user::Entity::one_of(scope, &EndUserRef::Id(end_user));
                named
                    .one(db)
                    .await
                    .map_err(failed)?
                    .ok_or(StoreError::NotFound)?;
                let row = budget::Entity::of_end_user(scope, end_user).one(db).await;
                match row.map_err(failed)? {
                    Some(row) => (row.account_id, row.limits()),
                    None => return Ok(None),
                }
            }
        };
        let account = account_of(db, account::Entity::one_of(scope, AccountId(account))).await?;
        Ok(Some(Self {
            of,
            account,
            limits,
        }))
    }

    /// These entries, each with what stood after it.
    async fn standings(
        &self,
        db: &impl ConnectionTrait,
        ids: &[i64],
    ) -> Result<HashMap<i64, (LedgerEntry, Standing)>, StoreError> {
        let Some(lowest) = ids.iter().min() else {
            return Ok(HashMap::new());
        };
        let now = Standing {
            remaining: total(db, &self.account).await?,
            limit: self.limits,
        };
        let moved_since = sums::since_each(db, &self.account, ids, *lowest).await?;
        let rows = ledger::Entity::of_account(&self.account)
            .filter(ledger::Column::Id.is_in(ids.iter().copied()))
            .all(db)
            .await
            .map_err(failed)?;
        let mut standings = HashMap::with_capacity(rows.len());
        for row in rows {
            let id = row.id;
            let entry = row.into_domain()?;
            // The sum from an entry on holds its own change, too.
            let since = moved_since
                .get(&id)
                .ok_or_else(|| corrupt("an entry that went away"))?;
            let standing = now
                .before(since)
                .and_then(|before| before.after(&entry.change_of(self.of)));
            standings.insert(id, (entry, standing.map_err(out_of_range)?));
        }
        Ok(standings)
    }
}

fn out_of_range(_: crate::billing::Overflow) -> StoreError {
    corrupt("a balance left its range")
}
