//! What an end user may know of itself (`docs/api-design.md`).

use assistiv_core::billing::{Budget, EndUserLedgers, OwnBudget, Period};
use assistiv_core::clock::Timestamp;
use assistiv_core::id::{BudgetId, EndUserId, PlatformId};
use assistiv_core::json::RawObject;
use assistiv_core::money::{DisplayUnits, NanoUsd, Tokens};
use assistiv_core::tenancy::{BudgetView, ReadOwnUser};
use axum::extract::State;
use http::StatusCode;
use serde::Serialize;

use super::caller::OwnUser;
use super::refusal::Handled;
use super::{ApiState, answer};

#[derive(Serialize)]
struct UserView<'a> {
    id: EndUserId,
    platform_id: PlatformId,
    external_id: &'a str,
    display_name: Option<&'a str>,
    metadata: &'a RawObject,
    is_active: bool,
    created_at: Timestamp,
}

/// What every view of a budget begins with.
#[derive(Serialize)]
struct Whose {
    id: BudgetId,
    platform_id: PlatformId,
    end_user_id: EndUserId,
}

#[derive(Serialize)]
struct UsdView {
    #[serde(flatten)]
    whose: Whose,
    max_usd: Option<NanoUsd>,
    used_usd: NanoUsd,
    remaining_usd: Option<NanoUsd>,
    #[serde(flatten)]
    tokens: TokenFigures,
    #[serde(flatten)]
    terms: TermsShown,
}

/// No USD amount may be in here.
#[derive(Serialize)]
struct TokensView {
    #[serde(flatten)]
    whose: Whose,
    #[serde(flatten)]
    tokens: TokenFigures,
    #[serde(flatten)]
    terms: TermsShown,
    is_exhausted: bool,
}

/// No USD amount may be in here. While the display ledger is off, its figures are null.
#[derive(Serialize)]
struct DisplayView<'a> {
    #[serde(flatten)]
    whose: Whose,
    unit: Option<&'a str>,
    max: Option<DisplayUnits>,
    used: Option<DisplayUnits>,
    /// Not below zero, whatever is used.
    remaining: Option<DisplayUnits>,
    period: Period,
    period_start: Timestamp,
    period_end: Option<Timestamp>,
    is_active: bool,
    is_suspended: bool,
    is_exhausted: bool,
}

#[derive(Serialize)]
struct TokenFigures {
    max_tokens: Option<Tokens>,
    used_tokens: Tokens,
    remaining_tokens: Option<Tokens>,
}

#[derive(Serialize)]
struct TermsShown {
    period: Period,
    period_start: Timestamp,
    period_end: Option<Timestamp>,
    auto_replenish: bool,
    is_active: bool,
    is_suspended: bool,
}

/// `GET /v1/me`
pub(super) async fn read(State(state): State<ApiState>, OwnUser(principal): OwnUser) -> Handled {
    let user = state
        .gateway
        .tenancy()
        .run(&principal, (), ReadOwnUser)
        .await?;
    let view = UserView {
        id: user.id,
        platform_id: user.platform_id,
        external_id: &user.external_id,
        display_name: user.display_name.as_deref(),
        metadata: &user.metadata,
        is_active: user.is_active,
        created_at: user.created_at,
    };
    answer::one(StatusCode::OK, view)
}

/// `GET /v1/me/budget`
pub(super) async fn budget(State(state): State<ApiState>, OwnUser(principal): OwnUser) -> Handled {
    let (ledgers, view) = state
        .gateway
        .wallets()
        .run(&principal, (), OwnBudget)
        .await?;
    let budget = &ledgers.budget;
    match view {
        BudgetView::Usd => answer::one(StatusCode::OK, usd_view(budget)),
        BudgetView::Display => answer::one(StatusCode::OK, display_view(&ledgers)),
        BudgetView::Tokens | BudgetView::Auto => answer::one(StatusCode::OK, tokens_view(budget)),
    }
}

fn usd_view(budget: &Budget) -> UsdView {
    UsdView {
        whose: whose(budget),
        max_usd: budget.terms.limits.usd,
        used_usd: budget.used_usd,
        remaining_usd: budget.remaining_usd(),
        tokens: tokens(budget),
        terms: terms(budget),
    }
}

fn tokens_view(budget: &Budget) -> TokensView {
    TokensView {
        whose: whose(budget),
        tokens: tokens(budget),
        terms: terms(budget),
        is_exhausted: is_exhausted(budget),
    }
}

fn display_view(ledgers: &EndUserLedgers) -> DisplayView<'_> {
    let budget = &ledgers.budget;
    let max = budget.max_display;
    DisplayView {
        whose: whose(budget),
        unit: max.map(|_| ledgers.settings.unit.as_str()),
        max,
        used: max.map(|_| budget.used_display),
        remaining: budget
            .remaining_display()
            .map(|left| left.max(DisplayUnits::ZERO)),
        period: budget.terms.period,
        period_start: budget.period_start,
        period_end: budget.period_end,
        is_active: budget.is_active,
        is_suspended: budget.is_suspended,
        is_exhausted: is_exhausted(budget),
    }
}

fn whose(budget: &Budget) -> Whose {
    Whose {
        id: budget.id,
        platform_id: budget.platform_id,
        end_user_id: budget.end_user_id,
    }
}

fn tokens(budget: &Budget) -> TokenFigures {
    TokenFigures {
        max_tokens: budget.terms.limits.tokens,
        used_tokens: budget.used_tokens,
        remaining_tokens: budget.remaining_tokens(),
    }
}

fn terms(budget: &Budget) -> TermsShown {
    TermsShown {
        period: budget.terms.period,
        period_start: budget.period_start,
        period_end: budget.period_end,
        auto_replenish: budget.terms.auto_replenish,
        is_active: budget.is_active,
        is_suspended: budget.is_suspended,
    }
}

/// Whether any limit is used up.
fn is_exhausted(budget: &Budget) -> bool {
    budget
        .remaining_usd()
        .is_some_and(|left| !left.is_positive())
        || budget
            .remaining_tokens()
            .is_some_and(|left| !left.is_positive())
        || budget
            .remaining_display()
            .is_some_and(|left| !left.is_positive())
}
