//! Lists of entries with the balances that they left.
//!
//! Balances are not stored: they are running sums in ledger order, counted back from what the
//! account holds now, in one snapshot.

use sea_orm::sea_query::{Expr, Query};
use sea_orm::{
    ConnectionTrait, DatabaseTransaction, FromQueryResult, PaginatorTrait, QueryOrder, QuerySelect,
    QueryTrait,
};

use super::{account_of, total};
use crate::auth::PlatformScope;
use crate::billing::{AccountKind, Amounts, EntryWithBalance, LedgerEntry};
use crate::id::{AccountId, EndUserId};
use crate::store::sql::SqlStore;
use crate::store::sql::entities::{account, budget, end_user, ledger, wallet};
use crate::store::sql::error::{corrupt, failed};
use crate::store::sql::query::sum;
use crate::store::{Listed, Page, StoreError};
use crate::tenancy::EndUserRef;

/// Entries of the platform's wallet.
pub(super) async fn of_wallet(
    store: &SqlStore,
    scope: &PlatformScope,
    page: Page,
) -> Result<Listed<EntryWithBalance>, StoreError> {
    let txn = store.begin_read().await?;
    let row = wallet::Entity::of(scope)
        .one(&txn)
        .await
        .map_err(failed)?
        .ok_or(StoreError::NotFound)?;
    let account = account_of(
        &txn,
        account::Entity::one_of(scope, AccountId(row.account_id)),
    )
    .await?;
    entries(&txn, &account, Amounts::ZERO, page).await
}

/// Entries of an end user's budget, active or not; none where there never was one.
pub(super) async fn of_budget(
    store: &SqlStore,
    scope: &PlatformScope,
    end_user: EndUserId,
    page: Page,
) -> Result<Listed<EntryWithBalance>, StoreError> {
    let txn = store.begin_read().await?;
    let named = end_user::Entity::one_of(scope, &EndUserRef::Id(end_user));
    named
        .one(&txn)
        .await
        .map_err(failed)?
        .ok_or(StoreError::NotFound)?;
    let row = budget::Entity::of_end_user(scope, end_user)
        .one(&txn)
        .await
        .map_err(failed)?;
    let Some(row) = row else {
        return Ok(Listed {
            rows: Vec::new(),
            total: 0,
        });
    };
    let account = account_of(
        &txn,
        account::Entity::one_of(scope, AccountId(row.account_id)),
    )
    .await?;
    entries(&txn, &account, row.limits(), page).await
}

async fn entries(
    txn: &DatabaseTransaction,
    account: &account::Model,
    limits: Amounts,
    page: Page,
) -> Result<Listed<EntryWithBalance>, StoreError> {
    let newest = ledger::Entity::of_account(account).order_by_desc(ledger::Column::Id);
    let count = newest.clone().count(txn).await.map_err(failed)?;
    let rows = newest
        .limit(u64::from(page.limit))
        .offset(page.offset())
        .all(txn)
        .await
        .map_err(failed)?;

    let newer = Moved::newest(txn, account, page.offset()).await?;
    let mut remaining = less(total(txn, account).await?, newer.remaining())?;
    let mut limit = less(limits, newer.limit())?;
    let mut listed = Vec::with_capacity(rows.len());
    for row in rows {
        let entry = row.into_domain()?;
        let (remaining_change, limit_change) = changes(account, &entry);
        listed.push(EntryWithBalance {
            entry,
            remaining_after: remaining,
            limit_after: limit,
        });
        remaining = less(remaining, remaining_change)?;
        limit = less(limit, limit_change)?;
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

fn less(total: Amounts, change: Amounts) -> Result<Amounts, StoreError> {
    total
        .checked_sub(change)
        .map_err(|_| corrupt("a balance left its range"))
}

/// What entries together changed.
#[derive(Default, FromQueryResult)]
struct Moved {
    rem_usd: i64,
    rem_tokens: i64,
    rem_display: i64,
    lim_usd: i64,
    lim_tokens: i64,
    lim_display: i64,
}

impl Moved {
    /// What the newest `count` entries of the account changed.
    async fn newest(
        txn: &DatabaseTransaction,
        account: &account::Model,
        count: u64,
    ) -> Result<Self, StoreError> {
        use ledger::Column;
        if count == 0 {
            return Ok(Self::default());
        }
        let newest = ledger::Entity::of_account(account)
            .order_by_desc(Column::Id)
            .limit(count);
        let of_wallet = account.kind == AccountKind::Wallet as i16;
        let usd = if of_wallet {
            Column::WalletUsd
        } else {
            Column::RemUsd
        };
        let mut sums = Query::select();
        sums.expr_as(sum(Expr::col(("newest", usd))), "rem_usd");
        for (column, name) in [
            (Column::RemTokens, "rem_tokens"),
            (Column::RemDisplay, "rem_display"),
            (Column::LimUsd, "lim_usd"),
            (Column::LimTokens, "lim_tokens"),
            (Column::LimDisplay, "lim_display"),
        ] {
            let value = if of_wallet {
                Expr::val(0_i64)
            } else {
                sum(Expr::col(("newest", column)))
            };
            sums.expr_as(value, name);
        }
        sums.from_subquery(newest.into_query(), "newest");
        let row = txn
            .query_one(&sums)
            .await
            .map_err(failed)?
            .ok_or_else(|| corrupt("sums over no rows"))?;
        Self::from_query_result(&row, "").map_err(failed)
    }

    fn remaining(&self) -> Amounts {
        Amounts::from_raw(self.rem_usd, self.rem_tokens, self.rem_display)
    }

    fn limit(&self) -> Amounts {
        Amounts::from_raw(self.lim_usd, self.lim_tokens, self.lim_display)
    }
}
