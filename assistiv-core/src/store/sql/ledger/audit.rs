//! The sums of every account.

use std::collections::HashMap;

use sea_orm::sea_query::Expr;
use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, FromQueryResult, QueryFilter,
    QuerySelect, Select,
};

use crate::auth::OperatorScope;
use crate::billing::{AccountAudit, Amounts};
use crate::id::{AccountId, PlatformId};
use crate::store::StoreError;
use crate::store::sql::SqlStore;
use crate::store::sql::entities::{account, budget, ledger, recon_mark, slot, stream};
use crate::store::sql::error::{corrupt, failed};
use crate::store::sql::query::sum;

/// One row of sums for each account.
#[derive(FromQueryResult)]
struct OfAccount {
    account_id: i64,
    usd: i64,
    tokens: i64,
    display: i64,
}

/// Amounts by account.
pub(super) type ByAccount = HashMap<i64, Amounts>;

/// Sums of entries: what remains, and the limits.
type EntrySums = HashMap<i64, (Amounts, Amounts)>;

/// Sums of the entries up to a checkpoint, by account.
#[derive(Default)]
pub(in crate::store::sql) struct Marks {
    sums: EntrySums,
    checkpoint: i64,
}

impl Marks {
    pub(in crate::store::sql) fn new(
        rows: impl IntoIterator<Item = recon_mark::Model>,
        checkpoint: i64,
    ) -> Self {
        let sums = rows.into_iter().map(|row| {
            let remaining = Amounts::from_raw(row.rem_usd, row.rem_tokens, row.rem_display);
            let limit = Amounts::from_raw(row.lim_usd, row.lim_tokens, row.lim_display);
            (row.account_id, (remaining, limit))
        });
        Self {
            sums: sums.collect(),
            checkpoint,
        }
    }
}

/// The sums of the entries after `from`, up to `to`.
pub(in crate::store::sql) async fn entry_sums(
    db: &impl ConnectionTrait,
    scope: &OperatorScope,
    from: i64,
    to: Option<i64>,
) -> Result<EntrySums, StoreError> {
    use ledger::Column;
    let entries = || {
        let mut entries = ledger::Entity::all(scope);
        if from > 0 {
            entries = entries.filter(Column::Id.gt(from));
        }
        match to {
            Some(to) => entries.filter(Column::Id.lte(to)),
            None => entries,
        }
    };
    let of_wallets = (
        Column::WalletAccountId,
        [Some(Column::WalletUsd), None, None],
    );
    let mut remains = by_account(db, entries(), of_wallets).await?;
    let remaining = [Column::RemUsd, Column::RemTokens, Column::RemDisplay].map(Some);
    let of_budgets = |columns| (Column::BudgetAccountId, columns);
    remains.extend(by_account(db, entries(), of_budgets(remaining)).await?);
    let limit = [Column::LimUsd, Column::LimTokens, Column::LimDisplay].map(Some);
    let limits = by_account(db, entries(), of_budgets(limit)).await?;
    let limit_of = |id: &i64| limits.get(id).copied().unwrap_or_default();
    let sums = remains.into_iter();
    Ok(sums.map(|(id, sum)| (id, (sum, limit_of(&id)))).collect())
}

/// The sums of every account, in one snapshot.
pub(super) async fn audit(
    store: &SqlStore,
    scope: &OperatorScope,
) -> Result<Vec<AccountAudit>, StoreError> {
    let txn = store.begin_read().await?;
    audit_in(&txn, scope, &Marks::default()).await
}

/// The sums of every account, as the snapshot has them, with the entries up to a checkpoint as they were summed
/// before.
pub(in crate::store::sql) async fn audit_in(
    txn: &DatabaseTransaction,
    scope: &OperatorScope,
    marks: &Marks,
) -> Result<Vec<AccountAudit>, StoreError> {
    let accounts = account::Entity::all(scope).all(txn).await.map_err(failed)?;
    let slots = by_account(txn, slot::Entity::all(scope), slot_sums()).await?;
    let in_ledger = entry_sums(txn, scope, marks.checkpoint, None).await?;
    let budgets = budget::Entity::all(scope).all(txn).await.map_err(failed)?;
    let limits: ByAccount = budgets
        .iter()
        .map(|row| (row.account_id, row.limits()))
        .collect();
    let open_streams = open_streams(txn, scope).await?;

    let of = |sums: &ByAccount, id: i64| sums.get(&id).copied().unwrap_or_default();
    let line = |row: account::Model| {
        let sums_of = |sums: &EntrySums| sums.get(&row.id).copied().unwrap_or_default();
        let ((marked, marked_limits), (new, new_limits)) =
            (sums_of(&marks.sums), sums_of(&in_ledger));
        let plus = |a: Amounts, b: Amounts| {
            let sum = a.checked_add(b);
            sum.map_err(|_| corrupt("the sum of an account's entries left its range"))
        };
        let ledger_limits = plus(marked_limits, new_limits)?;
        Ok(AccountAudit {
            account: AccountId(row.id),
            kind: row.kind()?,
            platform_id: PlatformId::from_uuid(row.platform_id),
            free: row.free(),
            slots: of(&slots, row.id),
            ledger: plus(marked, new)?,
            ledger_limits,
            // Of a budget that was removed with its end user nothing is left to compare with.
            limits: limits.get(&row.id).copied().unwrap_or(ledger_limits),
            open_streams: open_streams.get(&row.id).copied().unwrap_or(0),
        })
    };
    accounts.into_iter().map(line).collect()
}

/// The column that names the account, and what is summed in each dimension.
pub(super) type SumColumns<C> = (C, [Option<C>; 3]);

/// What nodes hold.
pub(super) fn slot_sums() -> SumColumns<slot::Column> {
    use slot::Column;
    let amounts = [Column::Usd, Column::Tokens, Column::Display].map(Some);
    (Column::AccountId, amounts)
}

/// Sums the rows of each account.
pub(super) async fn by_account<E: EntityTrait>(
    db: &impl ConnectionTrait,
    select: Select<E>,
    (account, [usd, tokens, display]): SumColumns<E::Column>,
) -> Result<ByAccount, StoreError> {
    let total = |column: Option<E::Column>| {
        column.map_or(Expr::val(0_i64), |column| sum(column.into_expr()))
    };
    let rows = select
        .filter(account.is_not_null())
        .select_only()
        .column_as(account, "account_id")
        .column_as(total(usd), "usd")
        .column_as(total(tokens), "tokens")
        .column_as(total(display), "display")
        .group_by(account)
        .into_model::<OfAccount>()
        .all(db)
        .await
        .map_err(failed)?;
    Ok(rows
        .into_iter()
        .map(|row| {
            (
                row.account_id,
                Amounts::from_raw(row.usd, row.tokens, row.display),
            )
        })
        .collect())
}

async fn open_streams(
    db: &impl ConnectionTrait,
    scope: &OperatorScope,
) -> Result<HashMap<i64, u64>, StoreError> {
    let streams: Vec<(i64, Option<i64>)> = stream::Entity::all(scope)
        .select_only()
        .column(stream::Column::WalletAccountId)
        .column(stream::Column::BudgetAccountId)
        .into_tuple()
        .all(db)
        .await
        .map_err(failed)?;
    let mut open = HashMap::new();
    for account in streams
        .into_iter()
        .flat_map(|(wallet, budget)| [Some(wallet), budget])
        .flatten()
    {
        *open.entry(account).or_insert(0) += 1;
    }
    Ok(open)
}
