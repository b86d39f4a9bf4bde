//! Lists and statements of ledger entries.

use super::{Wallets, no_budget, own};
use crate::auth::{EndUserScope, PlatformScope};
use crate::billing::ledger::EntryWithBalance;
use crate::billing::statement::{
    EntriesOf, EntryFilter, LedgerPart, Statement, StatementCursor, StatementPage,
};
use crate::command::{Command, CommandError};
use crate::id::{BudgetId, EndUserId};
use crate::store::{Listed, Page};
use crate::tenancy::{BudgetView, EndUserRef};

/// Entries that are looked at for one page of a statement.
const STATEMENT_PAGE: u32 = 500;

/// Whose entries are asked for.
#[derive(Clone, Debug)]
pub enum HolderRef {
    /// The platform's wallet.
    Wallet,
    /// An end user's budget, in force or not.
    Budget(EndUserRef),
}

/// Whose entries are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// The platform's wallet.
    Wallet,
    /// An end user's budget.
    Budget(EndUserId, BudgetId),
}

/// Lists entries.
#[derive(Clone, Debug)]
pub struct ListEntries {
    /// Whose.
    pub of: HolderRef,
    /// Which.
    pub filter: EntryFilter,
    /// Which page of them.
    pub page: Page,
}

/// A page of entries.
#[derive(Clone, Debug, PartialEq)]
pub struct EntriesPage {
    /// Whose.
    pub holder: Holder,
    /// The rows, newest first, with the names of their models.
    pub listed: Listed<(EntryWithBalance, Option<String>)>,
}

/// Lists the entries of the budget of the end user that the key belongs to.
#[derive(Clone, Debug)]
pub struct OwnEntries {
    /// Which.
    pub filter: EntryFilter,
    /// Which page of them.
    pub page: Page,
}

/// What an end user may see of its own entries.
#[derive(Clone, Debug, PartialEq)]
pub struct OwnEntriesPage {
    /// The end user and its budget.
    pub holder: Holder,
    /// The rows, newest first.
    pub listed: Listed<EntryWithBalance>,
    /// What of them may be shown; never [`BudgetView::Auto`].
    pub view: BudgetView,
}

/// Fixes what an export covers.
#[derive(Clone, Debug)]
pub struct OpenStatement {
    /// Whose entries.
    pub of: HolderRef,
    /// Which.
    pub filter: EntryFilter,
}

/// Reads on in an export.
#[derive(Clone, Debug)]
pub struct ReadStatement {
    /// Whose entries, as [`OpenStatement`] found.
    pub of: Holder,
    /// Which, as [`OpenStatement`] was told.
    pub filter: EntryFilter,
    /// From where on.
    pub cursor: StatementCursor,
}

impl Command<Wallets> for ListEntries {
    const NAME: &'static str = "list_entries";
    type Authority = PlatformScope;
    type Output = EntriesPage;

    async fn run(
        self,
        domain: &Wallets,
        scope: PlatformScope,
    ) -> Result<EntriesPage, CommandError> {
        let holder = domain.holder(&scope, &self.of).await?;
        let ledger = &domain.stores.ledger;
        let listed = ledger
            .entries(&scope, holder.of(), &self.filter, self.page)
            .await?;
        let rows = listed.rows.into_iter().map(|row| domain.named(row));
        Ok(EntriesPage {
            holder,
            listed: Listed {
                rows: rows.collect(),
                total: listed.total,
            },
        })
    }
}

impl Command<Wallets> for OwnEntries {
    const NAME: &'static str = "list_own_entries";
    type Authority = EndUserScope;
    type Output = OwnEntriesPage;

    async fn run(
        mut self,
        domain: &Wallets,
        scope: EndUserScope,
    ) -> Result<OwnEntriesPage, CommandError> {
        let (ledgers, view) = own::ledgers(domain, &scope).await?;
        let end_user = scope.end_user_id();
        let holder = Holder::Budget(end_user, ledgers.budget.id);
        if view == BudgetView::Display {
            if self.filter.part == Some(LedgerPart::Main) {
                self.filter.kinds = Some(Vec::new());
            }
            self.filter.part = Some(LedgerPart::Display);
        }
        let ledger = &domain.stores.ledger;
        let listed = ledger
            .entries(scope.platform(), holder.of(), &self.filter, self.page)
            .await?;
        Ok(OwnEntriesPage {
            holder,
            listed,
            view,
        })
    }
}

impl Command<Wallets> for OpenStatement {
    const NAME: &'static str = "open_statement";
    type Authority = PlatformScope;
    type Output = (Holder, Statement);

    async fn run(
        self,
        domain: &Wallets,
        scope: PlatformScope,
    ) -> Result<(Holder, Statement), CommandError> {
        let holder = domain.holder(&scope, &self.of).await?;
        let ledger = &domain.stores.ledger;
        let statement = ledger
            .open_statement(&scope, holder.of(), &self.filter)
            .await?;
        Ok((holder, statement))
    }
}

impl Command<Wallets> for ReadStatement {
    const NAME: &'static str = "read_statement";
    type Authority = PlatformScope;
    type Output = StatementPage;

    async fn run(
        self,
        domain: &Wallets,
        scope: PlatformScope,
    ) -> Result<StatementPage, CommandError> {
        let (ledger, of) = (&domain.stores.ledger, self.of.of());
        Ok(ledger
            .read_statement(&scope, of, &self.filter, self.cursor, STATEMENT_PAGE)
            .await?)
    }
}

// === impl Holder ===

impl Holder {
    const fn of(self) -> EntriesOf {
        match self {
            Self::Wallet => EntriesOf::Wallet,
            Self::Budget(end_user, _) => EntriesOf::Budget(end_user),
        }
    }
}

// === impl Wallets ===

impl Wallets {
    async fn holder(&self, scope: &PlatformScope, of: &HolderRef) -> Result<Holder, CommandError> {
        let HolderRef::Budget(end_user) = of else {
            return Ok(Holder::Wallet);
        };
        let end_user = self.end_user(scope, end_user).await?;
        let budget = self.stores.ledger.budget_id(scope, end_user).await?;
        Ok(Holder::Budget(end_user, budget.ok_or_else(no_budget)?))
    }

    /// An entry with the name of its model.
    pub(super) fn named(&self, row: EntryWithBalance) -> (EntryWithBalance, Option<String>) {
        let catalogue = self.router.catalogue();
        let model = row
            .entry
            .metered
            .and_then(|metered| catalogue.model_by_id(metered.model_id));
        let name = model.map(|model| model.slug.to_string());
        (row, name)
    }
}
