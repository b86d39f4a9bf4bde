//! What an end user sees of its own entries.

use assistiv_core::billing::{EntryWithBalance, Holder, OwnEntries};
use assistiv_core::tenancy::BudgetView;
use axum::extract::State;
use serde::Serialize;

use super::filter;
use super::row::{BudgetRow, DisplayFigures, Plain, TokenFigures};
use crate::api::caller::OwnUser;
use crate::api::query::Query;
use crate::api::refusal::Handled;
use crate::api::{ApiState, answer};

/// No USD amount may be in here, so what the platform keeps for itself is not either.
#[derive(Serialize)]
struct TokensRow<'a> {
    #[serde(flatten)]
    plain: Plain<'a>,
    #[serde(flatten)]
    tokens: TokenFigures,
    #[serde(flatten)]
    display: DisplayFigures,
}

/// Neither USD nor tokens may be in here.
#[derive(Serialize)]
struct DisplayRow<'a> {
    #[serde(flatten)]
    plain: Plain<'a>,
    #[serde(flatten)]
    display: DisplayFigures,
}

/// `GET /v1/me/budget/transactions`
pub(in crate::api) async fn list(
    State(state): State<ApiState>,
    OwnUser(principal): OwnUser,
    mut query: Query,
) -> Handled {
    let filter = filter::of_budget(&mut query);
    let page = query.page();
    query.finish()?;
    let command = OwnEntries { filter, page };
    let found = state.gateway.wallets().run(&principal, (), command).await?;
    let holder = found.holder;
    match found.view {
        BudgetView::Usd => answer::list(&found.listed, page, |row| BudgetRow::of(row, holder)),
        BudgetView::Display => answer::list(&found.listed, page, |row| display_row(row, holder)),
        BudgetView::Tokens | BudgetView::Auto => {
            answer::list(&found.listed, page, |row| tokens_row(row, holder))
        }
    }
}

fn tokens_row(row: &EntryWithBalance, holder: Holder) -> TokensRow<'_> {
    TokensRow {
        plain: Plain::of(row, holder),
        tokens: TokenFigures::of(row),
        display: DisplayFigures::of(row),
    }
}

fn display_row(row: &EntryWithBalance, holder: Holder) -> DisplayRow<'_> {
    DisplayRow {
        plain: Plain::of(row, holder),
        display: DisplayFigures::of(row),
    }
}
