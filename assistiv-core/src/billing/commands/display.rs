//! Commands on end users' display ledgers.

use std::sync::Arc;

use super::{BudgetOf, RequestKey, Wallets, no_budget, plain};
use crate::auth::PlatformScope;
use crate::billing::account::Budget;
use crate::billing::act::{ActContext, LedgerAct};
use crate::billing::display::EndUserWallet;
use crate::command::{Command, CommandError};
use crate::json::RawObject;
use crate::money::DisplayUnits;

/// Reads the ledgers of an active budget.
#[derive(Clone, Copy, Debug)]
pub struct ReadEndUserWallet;

/// Switches the display ledger on, or sets its limit.
#[derive(Clone, Debug)]
pub struct SetDisplay {
    /// The limit.
    pub max: DisplayUnits,
    /// What counts as used; `None` leaves it.
    pub used: Option<DisplayUnits>,
    /// Why, for people.
    pub reason: Option<String>,
    /// Makes the request repeatable.
    pub request: Option<RequestKey>,
}

/// Raises the limit of the display ledger.
#[derive(Clone, Debug)]
pub struct TopUpDisplay {
    /// By how much; above zero.
    pub amount: DisplayUnits,
    /// Why, for people.
    pub reason: Option<String>,
    /// Kept on the entry.
    pub metadata: RawObject,
    /// Makes the request repeatable.
    pub request: Option<RequestKey>,
}

/// Counts display units as used, or gives them back.
#[derive(Clone, Debug)]
pub struct AdjustDisplay {
    /// What is used more; below zero it is given back, down to nothing used.
    pub amount: DisplayUnits,
    /// Why, for people.
    pub reason: Option<String>,
    /// Kept on the entry.
    pub metadata: RawObject,
    /// Makes the request repeatable.
    pub request: Option<RequestKey>,
}

/// Switches the display ledger off.
#[derive(Clone, Debug, Default)]
pub struct RemoveDisplay {
    /// Makes the request repeatable.
    pub request: Option<RequestKey>,
}

/// The ledgers of an end user.
#[derive(Clone, Debug, PartialEq)]
pub struct EndUserLedgers {
    /// The budget, whose display ledger is on or off.
    pub budget: Budget,
    /// Unit and rules of the platform's display ledgers, as they are now.
    pub settings: Arc<EndUserWallet>,
    /// Whether this was done by an earlier request with the same key.
    pub replayed: bool,
}

impl Command<Wallets> for BudgetOf<ReadEndUserWallet> {
    const NAME: &'static str = "read_end_user_wallet";
    type Authority = PlatformScope;
    type Output = EndUserLedgers;

    async fn run(
        self,
        domain: &Wallets,
        scope: PlatformScope,
    ) -> Result<EndUserLedgers, CommandError> {
        let end_user = domain.end_user(&scope, &self.end_user).await?;
        let budget = domain.stores.ledger.budget(&scope, end_user).await?;
        Ok(EndUserLedgers {
            budget: budget.ok_or_else(no_budget)?,
            settings: display_settings(domain, &scope).await?,
            replayed: false,
        })
    }
}

impl Command<Wallets> for BudgetOf<SetDisplay> {
    const NAME: &'static str = "set_display_ledger";
    type Authority = PlatformScope;
    type Output = EndUserLedgers;

    async fn run(
        self,
        domain: &Wallets,
        scope: PlatformScope,
    ) -> Result<EndUserLedgers, CommandError> {
        let SetDisplay {
            max,
            used,
            reason,
            request,
        } = self.command;
        let end_user = domain.end_user(&scope, &self.end_user).await?;
        let act = LedgerAct::SetDisplay {
            end_user,
            max,
            used,
        };
        let context = ActContext { reason, ..plain() };
        act_on_display(domain, &scope, Self::NAME, act, context, request).await
    }
}

impl Command<Wallets> for BudgetOf<TopUpDisplay> {
    const NAME: &'static str = "top_up_display_ledger";
    type Authority = PlatformScope;
    type Output = EndUserLedgers;

    async fn run(
        self,
        domain: &Wallets,
        scope: PlatformScope,
    ) -> Result<EndUserLedgers, CommandError> {
        let TopUpDisplay {
            amount,
            reason,
            metadata,
            request,
        } = self.command;
        let end_user = domain.end_user(&scope, &self.end_user).await?;
        let act = LedgerAct::TopUpDisplay { end_user, amount };
        let context = ActContext {
            reason,
            metadata,
            ..plain()
        };
        act_on_display(domain, &scope, Self::NAME, act, context, request).await
    }
}

impl Command<Wallets> for BudgetOf<AdjustDisplay> {
    const NAME: &'static str = "adjust_display_ledger";
    type Authority = PlatformScope;
    type Output = EndUserLedgers;

    async fn run(
        self,
        domain: &Wallets,
        scope: PlatformScope,
    ) -> Result<EndUserLedgers, CommandError> {
        let AdjustDisplay {
            amount,
            reason,
            metadata,
            request,
        } = self.command;
        let end_user = domain.end_user(&scope, &self.end_user).await?;
        let act = LedgerAct::AdjustDisplay { end_user, amount };
        let context = ActContext {
            reason,
            metadata,
            ..plain()
        };
        act_on_display(domain, &scope, Self::NAME, act, context, request).await
    }
}

impl Command<Wallets> for BudgetOf<RemoveDisplay> {
    const NAME: &'static str = "remove_display_ledger";
    type Authority = PlatformScope;
    type Output = EndUserLedgers;

    async fn run(
        self,
        domain: &Wallets,
        scope: PlatformScope,
    ) -> Result<EndUserLedgers, CommandError> {
        let end_user = domain.end_user(&scope, &self.end_user).await?;
        let act = LedgerAct::RemoveDisplay { end_user };
        let request = self.command.request;
        act_on_display(domain, &scope, Self::NAME, act, plain(), request).await
    }
}

async fn act_on_display(
    domain: &Wallets,
    scope: &PlatformScope,
    operation: &str,
    act: LedgerAct,
    context: ActContext,
    request: Option<RequestKey>,
) -> Result<EndUserLedgers, CommandError> {
    let performed = domain
        .perform(scope, operation, act, context, request)
        .await?;
    Ok(EndUserLedgers {
        budget: performed.outcome.budget.ok_or_else(no_budget)?,
        settings: display_settings(domain, scope).await?,
        replayed: performed.replayed,
    })
}

/// Unit and rules of the platform's display ledgers.
pub(super) async fn display_settings(
    domain: &Wallets,
    scope: &PlatformScope,
) -> Result<Arc<EndUserWallet>, CommandError> {
    let platform = domain.stores.tenancy.platform(scope).await?;
    let settings = platform.settings.end_user_wallet().cloned();
    Ok(settings.unwrap_or_default())
}
