//! What an end user may know of its own budget.

use super::{EndUserLedgers, Wallets, no_budget};
use crate::auth::EndUserScope;
use crate::command::{Command, CommandError};
use crate::tenancy::BudgetView;

/// Reads the budget of the end user that the key belongs to.
#[derive(Clone, Copy, Debug)]
pub struct OwnBudget;

impl Command<Wallets> for OwnBudget {
    const NAME: &'static str = "read_own_budget";
    type Authority = EndUserScope;
    type Output = (EndUserLedgers, BudgetView);

    async fn run(
        self,
        domain: &Wallets,
        scope: EndUserScope,
    ) -> Result<(EndUserLedgers, BudgetView), CommandError> {
        ledgers(domain, &scope).await
    }
}

/// An end user's own ledgers, and what its platform lets it see of them.
pub(super) async fn ledgers(
    domain: &Wallets,
    scope: &EndUserScope,
) -> Result<(EndUserLedgers, BudgetView), CommandError> {
    let budget = domain
        .stores
        .ledger
        .budget(scope.platform(), scope.end_user_id())
        .await?
        .ok_or_else(no_budget)?;
    let settings = domain
        .stores
        .tenancy
        .platform(scope.platform())
        .await?
        .settings;
    let view = match settings.end_user_budget_view() {
        BudgetView::Auto if budget.max_display.is_some() => BudgetView::Display,
        BudgetView::Auto if budget.terms.limits.usd.is_some() => BudgetView::Usd,
        BudgetView::Auto => BudgetView::Tokens,
        chosen => chosen,
    };
    let ledgers = EndUserLedgers {
        budget,
        settings: settings.end_user_wallet().cloned().unwrap_or_default(),
        replayed: false,
    };
    Ok((ledgers, view))
}
