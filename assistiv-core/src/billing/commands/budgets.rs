//! Commands on end users' budgets.

use super::{Performed, RequestKey, Wallets, context, no_budget, plain};
use crate::auth::PlatformScope;
use crate::billing::account::{Budget, BudgetTerms, Limits, NewBudget};
use crate::billing::act::{BudgetChanges, LedgerAct};
use crate::command::{Command, CommandError};
use crate::id::{BudgetId, EntryId};
use crate::json::RawObject;
use crate::tenancy::EndUserRef;

/// A command on one end user's budget.
#[derive(Clone, Debug)]
pub struct BudgetOf<C> {
    /// Whose.
    pub end_user: EndUserRef,
    /// What.
    pub command: C,
}

/// Reads the active budget.
#[derive(Clone, Copy, Debug)]
pub struct ReadBudget;

/// Makes a budget.
#[derive(Clone, Debug)]
pub struct CreateBudget {
    /// What it is set to.
    pub terms: BudgetTerms,
}

/// Changes a budget.
#[derive(Clone, Debug)]
pub struct UpdateBudget {
    /// What.
    pub changes: BudgetChanges,
    /// Why, for people.
    pub reason: Option<String>,
    /// Kept on the entry.
    pub metadata: RawObject,
    /// Makes the request repeatable.
    pub request: Option<RequestKey>,
}

/// Puts a budget out of force.
#[derive(Clone, Copy, Debug)]
pub struct RemoveBudget;

/// Raises a budget's limits.
#[derive(Clone, Debug)]
pub struct TopUpBudget {
    /// By how much; at least one.
    pub amounts: Limits,
    /// Why, for people.
    pub reason: Option<String>,
    /// Kept on the entry.
    pub metadata: RawObject,
    /// Makes the request repeatable.
    pub request: Option<RequestKey>,
}

/// Counts something as used.
#[derive(Clone, Debug)]
pub struct DebitBudget {
    /// How much; at least one.
    pub amounts: Limits,
    /// Why, for people.
    pub reason: Option<String>,
    /// Kept on the entry.
    pub metadata: RawObject,
    /// Makes the request repeatable.
    pub request: Option<RequestKey>,
}

impl Command<Wallets> for BudgetOf<ReadBudget> {
    const NAME: &'static str = "read_budget";
    type Authority = PlatformScope;
    type Output = Budget;

    async fn run(self, domain: &Wallets, scope: PlatformScope) -> Result<Budget, CommandError> {
        let end_user = domain.end_user(&scope, &self.end_user).await?;
        domain
            .stores
            .ledger
            .budget(&scope, end_user)
            .await?
            .ok_or_else(no_budget)
    }
}

impl Command<Wallets> for BudgetOf<CreateBudget> {
    const NAME: &'static str = "create_budget";
    type Authority = PlatformScope;
    type Output = Budget;

    async fn run(self, domain: &Wallets, scope: PlatformScope) -> Result<Budget, CommandError> {
        let end_user = domain.end_user(&scope, &self.end_user).await?;
        let platform = domain.stores.tenancy.platform(&scope).await?;
        let budget = NewBudget {
            id: BudgetId::new(),
            opening: EntryId::new(),
            terms: self.command.terms,
            max_display: platform.settings.default_max_display(),
        };
        let act = LedgerAct::CreateBudget { end_user, budget };
        let performed = domain
            .perform(&scope, Self::NAME, act, plain(), None)
            .await?;
        performed.outcome.budget.ok_or_else(no_budget)
    }
}

impl Command<Wallets> for BudgetOf<UpdateBudget> {
    const NAME: &'static str = "update_budget";
    type Authority = PlatformScope;
    type Output = Performed;

    async fn run(self, domain: &Wallets, scope: PlatformScope) -> Result<Performed, CommandError> {
        let UpdateBudget {
            changes,
            reason,
            metadata,
            request,
        } = self.command;
        let end_user = domain.end_user(&scope, &self.end_user).await?;
        let act = LedgerAct::UpdateBudget {
            end_user,
            changes: Box::new(changes),
        };
        let context = context(reason, metadata);
        domain
            .perform(&scope, Self::NAME, act, context, request)
            .await
    }
}

impl Command<Wallets> for BudgetOf<RemoveBudget> {
    const NAME: &'static str = "remove_budget";
    type Authority = PlatformScope;
    type Output = ();

    async fn run(self, domain: &Wallets, scope: PlatformScope) -> Result<(), CommandError> {
        let end_user = domain.end_user(&scope, &self.end_user).await?;
        let act = LedgerAct::RemoveBudget { end_user };
        domain
            .perform(&scope, Self::NAME, act, plain(), None)
            .await
            .map(drop)
    }
}

impl Command<Wallets> for BudgetOf<TopUpBudget> {
    const NAME: &'static str = "top_up_budget";
    type Authority = PlatformScope;
    type Output = Performed;

    async fn run(self, domain: &Wallets, scope: PlatformScope) -> Result<Performed, CommandError> {
        let TopUpBudget {
            amounts,
            reason,
            metadata,
            request,
        } = self.command;
        let end_user = domain.end_user(&scope, &self.end_user).await?;
        let act = LedgerAct::TopUpBudget { end_user, amounts };
        let context = context(reason, metadata);
        domain
            .perform(&scope, Self::NAME, act, context, request)
            .await
    }
}

impl Command<Wallets> for BudgetOf<DebitBudget> {
    const NAME: &'static str = "debit_budget";
    type Authority = PlatformScope;
    type Output = Performed;

    async fn run(self, domain: &Wallets, scope: PlatformScope) -> Result<Performed, CommandError> {
        let DebitBudget {
            amounts,
            reason,
            metadata,
            request,
        } = self.command;
        let end_user = domain.end_user(&scope, &self.end_user).await?;
        let act = LedgerAct::DebitBudget { end_user, amounts };
        let context = context(reason, metadata);
        domain
            .perform(&scope, Self::NAME, act, context, request)
            .await
    }
}
