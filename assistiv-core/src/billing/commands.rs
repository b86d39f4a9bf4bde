//! Commands on wallets and budgets.

mod display;

pub use self::display::{
    AdjustDisplay, EndUserLedgers, ReadEndUserWallet, RemoveDisplay, SetDisplay, TopUpDisplay,
};

use sha2::{Digest, Sha256};

use super::account::{Budget, BudgetTerms, Limits, NewBudget, Wallet};
use super::act::{ActContext, ActOutcome, ActRefusal, BudgetChanges, Idempotency, LedgerAct};
use super::engine::Billing;
use super::ledger::EntryWithBalance;
use crate::auth::{AuthError, EndUserScope, KeyKind, PlatformScope, Principal};
use crate::command::{Authority, Command, CommandError};
use crate::error::Reason;
use crate::id::{BudgetId, EndUserId, EntryId, PlatformId};
use crate::json::RawObject;
use crate::money::NanoUsd;
use crate::routing::Router;
use crate::store::{Page, StoreError, Stores};
use crate::tenancy::{BudgetView, EndUserRef};

/// The domain of wallets and budgets.
pub struct Wallets {
    pub(crate) stores: Stores,
    pub(crate) billing: Billing,
    pub(crate) router: Router,
    pub(crate) topup_by: TopUpBy,
}

/// Who may put money into a wallet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TopUpBy {
    /// Platform keys, too.
    #[default]
    Platform,
    /// The operator alone.
    Operator,
}

/// The key that makes a request repeatable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestKey {
    /// The `Idempotency-Key`: 1 to 255 printable ASCII characters.
    pub key: String,
    /// SHA-256 of the canonical body.
    pub request_hash: [u8; 32],
}

/// Authority to put money into a wallet, and whether it is the operator's.
#[derive(Clone, Copy, Debug)]
pub struct WalletKeeper {
    scope: PlatformScope,
    is_operator: bool,
}

/// Reads the wallet with its newest entries.
#[derive(Clone, Copy, Debug)]
pub struct ReadWallet {
    /// How many entries.
    pub recent: u32,
}

/// A wallet with its newest entries, as callers see it.
#[derive(Clone, Debug, PartialEq)]
pub struct WalletWithEntries {
    /// The wallet.
    pub wallet: Wallet,
    /// Its newest entries, with the names of their models.
    pub recent: Vec<(EntryWithBalance, Option<String>)>,
}

/// Puts money into the wallet.
#[derive(Clone, Debug)]
pub struct TopUpWallet {
    /// How much; above zero.
    pub amount: NanoUsd,
    /// For people; up to 500 characters.
    pub description: Option<String>,
    /// Makes the request repeatable.
    pub request: Option<RequestKey>,
}

/// Changes the wallet's settings.
#[derive(Clone, Copy, Debug)]
pub struct UpdateWallet {
    /// At or below this the wallet counts as low.
    pub low_balance_threshold: Option<NanoUsd>,
}

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

/// Reads the budget of the end user that the key belongs to.
#[derive(Clone, Copy, Debug)]
pub struct OwnBudget;

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

/// What an act did, and whether it was done by an earlier request with the same key.
#[derive(Clone, Debug, PartialEq)]
pub struct Performed {
    /// What it did.
    pub outcome: ActOutcome,
    /// Whether this is a repeat.
    pub replayed: bool,
}

impl Authority for WalletKeeper {
    type Over = PlatformId;

    fn of(principal: &Principal, over: &PlatformId) -> Result<Self, AuthError> {
        let is_operator = principal
            .identity()
            .is_none_or(|identity| identity.kind() == KeyKind::Operator);
        Ok(Self {
            scope: principal.manage(*over)?,
            is_operator,
        })
    }
}

impl Command<Wallets> for ReadWallet {
    const NAME: &'static str = "read_wallet";
    type Authority = PlatformScope;
    type Output = WalletWithEntries;

    async fn run(
        self,
        domain: &Wallets,
        scope: PlatformScope,
    ) -> Result<WalletWithEntries, CommandError> {
        let wallet = domain.stores.ledger.wallet(&scope).await?;
        let page = Page {
            page: 1,
            limit: self.recent,
        };
        let entries = domain.stores.ledger.wallet_entries(&scope, page).await?;
        let catalogue = domain.router.catalogue();
        let named = |row: EntryWithBalance| {
            let model = row
                .entry
                .metered
                .and_then(|metered| catalogue.model_by_id(metered.model_id));
            let name = model.map(|model| model.slug.to_string());
            (row, name)
        };
        Ok(WalletWithEntries {
            wallet,
            recent: entries.rows.into_iter().map(named).collect(),
        })
    }
}

impl Command<Wallets> for TopUpWallet {
    const NAME: &'static str = "top_up_wallet";
    type Authority = WalletKeeper;
    type Output = Performed;

    async fn run(self, domain: &Wallets, keeper: WalletKeeper) -> Result<Performed, CommandError> {
        if domain.topup_by == TopUpBy::Operator && !keeper.is_operator {
            let message = "wallets of this gateway are topped up by its operator";
            return Err(CommandError::refused(Reason::FORBIDDEN, message));
        }
        let context = ActContext {
            uid: EntryId::new(),
            idempotency_key: None,
            reason: self.description,
            metadata: RawObject::new(),
        };
        let act = LedgerAct::TopUpWallet {
            amount: self.amount,
        };
        domain
            .perform(&keeper.scope, Self::NAME, act, context, self.request)
            .await
    }
}

impl Command<Wallets> for UpdateWallet {
    const NAME: &'static str = "update_wallet";
    type Authority = PlatformScope;
    type Output = Performed;

    async fn run(self, domain: &Wallets, scope: PlatformScope) -> Result<Performed, CommandError> {
        let act = LedgerAct::SetWalletThreshold {
            threshold: self.low_balance_threshold,
        };
        domain.perform(&scope, Self::NAME, act, plain(), None).await
    }
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

impl Command<Wallets> for OwnBudget {
    const NAME: &'static str = "read_own_budget";
    type Authority = EndUserScope;
    type Output = (EndUserLedgers, BudgetView);

    async fn run(
        self,
        domain: &Wallets,
        scope: EndUserScope,
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
        let context = ActContext {
            uid: EntryId::new(),
            idempotency_key: None,
            reason,
            metadata,
        };
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
        let context = ActContext {
            uid: EntryId::new(),
            idempotency_key: None,
            reason,
            metadata,
        };
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
        let context = ActContext {
            uid: EntryId::new(),
            idempotency_key: None,
            reason,
            metadata,
        };
        domain
            .perform(&scope, Self::NAME, act, context, request)
            .await
    }
}

impl Wallets {
    async fn end_user(
        &self,
        scope: &PlatformScope,
        end_user: &EndUserRef,
    ) -> Result<EndUserId, CommandError> {
        let found = self.stores.tenancy.end_user(scope, end_user).await;
        Ok(found
            .map_err(crate::tenancy::commands::end_users::not_found)?
            .id)
    }

    /// Performs an act, and makes this node see its effect before it is acknowledged.
    async fn perform(
        &self,
        scope: &PlatformScope,
        operation: &str,
        act: LedgerAct,
        mut context: ActContext,
        request: Option<RequestKey>,
    ) -> Result<Performed, CommandError> {
        let idempotency = request.map(|request| {
            let hashes = Idempotency {
                scope_hash: scope_hash(scope, act.end_user(), operation, &request.key),
                request_hash: request.request_hash,
            };
            // A second effect is impossible even if the stored answer were lost.
            let uid = uuid::Uuid::new_v5(&scope.platform_id().as_uuid(), &hashes.scope_hash);
            context.uid = EntryId::from_uuid(uid);
            context.idempotency_key = Some(request.key);
            hashes
        });
        let applied = self
            .stores
            .ledger
            .apply(scope, &act, &context, idempotency)
            .await;
        let applied = applied.map_err(|error| match (error, act.end_user()) {
            (StoreError::NotFound, Some(_)) => {
                crate::tenancy::commands::end_users::not_found(StoreError::NotFound)
            }
            (error, _) => error.into(),
        })?;
        let applied = applied?;
        let engine = self.billing.engine();
        if let Some(end_user) = act.end_user() {
            engine.forget_budget(end_user);
        }
        if let Some(account) = applied.account {
            engine.refresh(account).await;
        }
        Ok(Performed {
            outcome: applied.outcome,
            replayed: applied.replayed,
        })
    }
}

fn plain() -> ActContext {
    ActContext {
        uid: EntryId::new(),
        idempotency_key: None,
        reason: None,
        metadata: RawObject::new(),
    }
}

fn scope_hash(
    scope: &PlatformScope,
    end_user: Option<EndUserId>,
    operation: &str,
    key: &str,
) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(scope.platform_id().as_uuid().as_bytes());
    hash.update(end_user.map_or([0; 16], |id| *id.as_uuid().as_bytes()));
    hash.update(operation.as_bytes());
    hash.update([0]);
    hash.update(key.as_bytes());
    hash.finalize().into()
}

fn no_budget() -> CommandError {
    ActRefusal::BudgetNotFound.into()
}

impl std::fmt::Debug for Wallets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wallets").finish_non_exhaustive()
    }
}
