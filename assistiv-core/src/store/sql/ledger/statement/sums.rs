//! Running sums over an account's entries.

use std::collections::HashMap;

use sea_orm::sea_query::{Expr, ExprTrait, Query, SelectStatement, WindowStatement};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, FromQueryResult, Order, QueryFilter, QuerySelect,
    QueryTrait,
};

use crate::billing::{AccountKind, Amounts, Standing};
use crate::store::StoreError;
use crate::store::sql::entities::account;
use crate::store::sql::entities::ledger::{self, Column};
use crate::store::sql::error::{corrupt, failed};
use crate::store::sql::query::sum;

/// What entries together changed.
#[derive(FromQueryResult)]
struct Moved {
    rem_usd: i64,
    rem_tokens: i64,
    rem_display: i64,
    lim_usd: i64,
    lim_tokens: i64,
    lim_display: i64,
}

#[derive(FromQueryResult)]
struct MovedSince {
    id: i64,
    #[sea_orm(nested)]
    moved: Moved,
}

/// For each of these entries what it and all later ones changed. `lowest` is the first of them.
pub(super) async fn since_each(
    db: &impl ConnectionTrait,
    account: &account::Model,
    ids: &[i64],
    lowest: i64,
) -> Result<HashMap<i64, Standing>, StoreError> {
    let mut running = ledger::Entity::of_account(account)
        .filter(Column::Id.gte(lowest))
        .select_only()
        .column(Column::Id)
        .into_query();
    for (column, name) in legs(account) {
        let newest_first = WindowStatement::new()
            .order_by((ledger::Entity, Column::Id), Order::Desc)
            .take();
        let column = Expr::col((ledger::Entity, column)).sum();
        running.expr_window_as(column, newest_first, name);
    }
    let mut of_ids = Query::select()
        .column("id")
        .from_subquery(running, "running")
        .and_where(Expr::col("id").is_in(ids.iter().copied()))
        .take();
    // Some databases widen a sum.
    with_legs(&mut of_ids, account, |_, name| Expr::col(name));
    let rows = db.query_all(&of_ids).await.map_err(failed)?;
    let read = |row| {
        let since = MovedSince::from_query_result(row, "").map_err(failed)?;
        Ok((since.id, since.moved.into()))
    };
    rows.iter().map(read).collect()
}

/// What the entries that match changed together.
pub(super) async fn of(
    db: &impl ConnectionTrait,
    account: &account::Model,
    which: Condition,
) -> Result<Standing, StoreError> {
    let mut sums = ledger::Entity::of_account(account)
        .filter(which)
        .select_only()
        .into_query();
    with_legs(&mut sums, account, |column, _| {
        sum(Expr::col((ledger::Entity, column)))
    });
    let row = db
        .query_one(&sums)
        .await
        .map_err(failed)?
        .ok_or_else(|| corrupt("sums over no rows"))?;
    let moved = Moved::from_query_result(&row, "").map_err(failed)?;
    Ok(moved.into())
}

const NAMES: [&str; 6] = [
    "rem_usd",
    "rem_tokens",
    "rem_display",
    "lim_usd",
    "lim_tokens",
    "lim_display",
];

/// The columns of an account's legs, with the names of their sums; a wallet has one leg.
fn legs(account: &account::Model) -> impl Iterator<Item = (Column, &'static str)> {
    let of_wallet = account.kind == AccountKind::Wallet as i16;
    let columns: &[Column] = if of_wallet {
        &[Column::WalletUsd]
    } else {
        &[
            Column::RemUsd,
            Column::RemTokens,
            Column::RemDisplay,
            Column::LimUsd,
            Column::LimTokens,
            Column::LimDisplay,
        ]
    };
    columns.iter().copied().zip(NAMES)
}

/// Adds a value for each leg, and zero for legs that the account has not.
fn with_legs(
    select: &mut SelectStatement,
    account: &account::Model,
    value: impl Fn(Column, &'static str) -> Expr,
) {
    let mut names = NAMES.into_iter();
    for (column, name) in legs(account) {
        select.expr_as(value(column, name).cast_as("BIGINT"), name);
        names.next();
    }
    for name in names {
        select.expr_as(Expr::val(0_i64).cast_as("BIGINT"), name);
    }
}

impl From<Moved> for Standing {
    fn from(moved: Moved) -> Self {
        Self {
            remaining: Amounts::from_raw(moved.rem_usd, moved.rem_tokens, moved.rem_display),
            limit: Amounts::from_raw(moved.lim_usd, moved.lim_tokens, moved.lim_display),
        }
    }
}
