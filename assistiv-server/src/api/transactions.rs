//! Lists and exports of ledger entries (`docs/api-design.md`).

mod filter;
mod own;
mod row;

pub(super) use self::own::list as list_own;

use assistiv_core::auth::Principal;
use assistiv_core::billing::{
    EntryFilter, EntryWithBalance, Holder, HolderRef, ListEntries, OpenStatement, ReadStatement,
    Standing, Statement, StatementCursor,
};
use assistiv_core::id::PlatformId;
use assistiv_core::tenancy::EndUserRef;
use axum::extract::State;
use futures_util::stream::{self, Stream};

use self::row::BudgetRow;
use super::caller::OnPlatform;
use super::export::{Export, Wanted, line};
use super::path::Named;
use super::query::Query;
use super::refusal::{Handled, Refusal};
use super::wallets::entry::EntryView;
use super::{ApiState, answer};

/// `GET …/wallet/transactions`
pub(super) async fn of_wallet(
    State(state): State<ApiState>,
    on: OnPlatform,
    Wanted(format): Wanted,
    mut query: Query,
) -> Handled {
    let filter = filter::of_wallet(&mut query);
    let of = HolderRef::Wallet;
    if let Some(format) = format {
        query.finish()?;
        let opened = Opened::open(state, on, of, filter).await?;
        let export = Export {
            format,
            name: format!("wallet-transactions-{}", opened.platform),
            columns: &WALLET_COLUMNS,
            rows: opened.statement.rows,
            standings: Some((
                wallet_standing(&opened.statement.opening),
                wallet_standing(&opened.statement.closing),
            )),
        };
        let write = move |row: &EntryWithBalance| line(&EntryView::listed(row, None));
        return export.answer(opened.pages(write)).await;
    }
    let page = query.page();
    query.finish()?;
    let command = ListEntries { of, filter, page };
    let found = state
        .gateway
        .wallets()
        .run(&on.principal, on.platform, command)
        .await?;
    answer::list(&found.listed, page, |(row, model)| {
        EntryView::listed(row, model.as_deref())
    })
}

/// `GET …/budget/transactions`
pub(super) async fn of_budget(
    State(state): State<ApiState>,
    on: OnPlatform,
    Named(end_user): Named<EndUserRef>,
    Wanted(format): Wanted,
    mut query: Query,
) -> Handled {
    let filter = filter::of_budget(&mut query);
    let of = HolderRef::Budget(end_user);
    if let Some(format) = format {
        query.finish()?;
        let opened = Opened::open(state, on, of, filter).await?;
        let holder = opened.holder;
        let export = Export {
            format,
            name: format!("budget-transactions-{}", user_of(holder)?),
            columns: &BUDGET_COLUMNS,
            rows: opened.statement.rows,
            standings: Some((
                budget_standing(&opened.statement.opening),
                budget_standing(&opened.statement.closing),
            )),
        };
        let write = move |row: &EntryWithBalance| line(&BudgetRow::of(row, holder));
        return export.answer(opened.pages(write)).await;
    }
    let page = query.page();
    query.finish()?;
    let command = ListEntries { of, filter, page };
    let found = state
        .gateway
        .wallets()
        .run(&on.principal, on.platform, command)
        .await?;
    answer::list(&found.listed, page, |(row, _)| {
        BudgetRow::of(row, found.holder)
    })
}

const WALLET_COLUMNS: [&str; 10] = [
    "id",
    "type",
    "amount",
    "balance_after",
    "description",
    "created_at",
    "log_id",
    "end_user_id",
    "reversed_transaction_id",
    "metadata",
];

const BUDGET_COLUMNS: [&str; 24] = [
    "id",
    "platform_id",
    "end_user_id",
    "budget_id",
    "type",
    "source",
    "ledger",
    "amount_usd",
    "max_usd_after",
    "used_usd_after",
    "remaining_usd_after",
    "amount_tokens",
    "max_tokens_after",
    "used_tokens_after",
    "remaining_tokens_after",
    "amount_display",
    "max_display_after",
    "used_display_after",
    "reason",
    "metadata",
    "idempotency_key",
    "log_id",
    "reversed_transaction_id",
    "created_at",
];

/// A statement that is being exported.
struct Opened {
    state: ApiState,
    principal: Principal,
    platform: PlatformId,
    holder: Holder,
    filter: EntryFilter,
    statement: Statement,
}

impl Opened {
    async fn open(
        state: ApiState,
        on: OnPlatform,
        of: HolderRef,
        filter: EntryFilter,
    ) -> Result<Self, Refusal> {
        let command = OpenStatement {
            of,
            filter: filter.clone(),
        };
        let (holder, statement) = state
            .gateway
            .wallets()
            .run(&on.principal, on.platform, command)
            .await?;
        Ok(Self {
            state,
            principal: on.principal,
            platform: on.platform,
            holder,
            filter,
            statement,
        })
    }

    /// The lines of the export, a page of the statement at a time.
    fn pages(
        self,
        write: impl Fn(&EntryWithBalance) -> Result<String, Refusal> + Send + Sync + 'static,
    ) -> impl Stream<Item = Result<Vec<String>, Refusal>> + Send + 'static {
        let begin = self.statement.begin;
        stream::try_unfold((self, write, begin), |(opened, write, cursor)| async move {
            let Some(cursor) = cursor else {
                return Ok(None);
            };
            let (rows, next) = opened.read(cursor).await?;
            let lines = rows.iter().map(&write).collect::<Result<Vec<_>, _>>()?;
            Ok(Some((lines, (opened, write, next))))
        })
    }

    async fn read(
        &self,
        cursor: StatementCursor,
    ) -> Result<(Vec<EntryWithBalance>, Option<StatementCursor>), Refusal> {
        let command = ReadStatement {
            of: self.holder,
            filter: self.filter.clone(),
            cursor,
        };
        let page = self
            .state
            .gateway
            .wallets()
            .run(&self.principal, self.platform, command)
            .await?;
        Ok((page.rows, page.next))
    }
}

fn user_of(holder: Holder) -> Result<String, Refusal> {
    match holder {
        Holder::Budget(end_user, _) => Ok(end_user.to_string()),
        Holder::Wallet => Err(Refusal::internal("a budget's statement of a wallet")),
    }
}

fn wallet_standing(standing: &Standing) -> String {
    format!("balance=\"{}\"", standing.remaining.usd)
}

fn budget_standing(standing: &Standing) -> String {
    let (limit, remaining) = (standing.limit, standing.remaining);
    let used = limit.checked_sub(remaining).unwrap_or_default();
    format!(
        "used_usd=\"{}\", max_usd=\"{}\", used_tokens=\"{}\", max_tokens=\"{}\", used_display=\"{}\", max_display=\"{}\"",
        used.usd, limit.usd, used.tokens, limit.tokens, used.display, limit.display
    )
}
