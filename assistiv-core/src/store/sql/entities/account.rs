//! `billing_accounts`.

use sea_orm::QueryOrder;
use std::sync::LazyLock;

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::OnConflict;

use crate::auth::{OperatorScope, PlatformScope, SweeperScope};
use crate::billing::{AccountKind, AccountPolicy, Amounts, Blocked, Dimensions, Limits};
use crate::clock::Timestamp;
use crate::events::Owner;
use crate::id::{AccountId, BudgetId, WalletId};
use crate::money::{NanoUsd, Tokens};
use crate::store::StoreError;
use crate::store::sql::error::corrupt;
use crate::store::sql::query::Inserts;

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "billing_accounts")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    pub kind: i16,
    pub platform_id: Uuid,
    pub owner_id: Uuid,
    pub free_usd: i64,
    pub free_tokens: i64,
    pub free_display: i64,
    pub enforce: i16,
    pub blocked: i16,
    pub armed: i16,
    pub low_usd: Option<i64>,
    pub low_tokens: Option<i64>,
    pub low_after: i64,
    pub period_end: Option<i64>,
    pub version: i64,
    pub created_at: i64,
    pub updated_at: i64,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Entity {
    /// The platform's accounts.
    pub fn of(scope: &PlatformScope) -> Select<Self> {
        Self::find().filter(Column::PlatformId.eq(scope.platform_id().as_uuid()))
    }

    /// One account of the platform.
    pub fn one_of(scope: &PlatformScope, account: AccountId) -> Select<Self> {
        Self::of(scope).filter(Column::Id.eq(account.0))
    }

    /// Accounts of any platform, in the order in which they are locked.
    pub fn any(_: &SweeperScope, accounts: impl IntoIterator<Item = AccountId>) -> Select<Self> {
        Self::find()
            .filter(Column::Id.is_in(accounts.into_iter().map(|account| account.0)))
            .order_by_asc(Column::Kind)
            .order_by_asc(Column::Id)
    }

    /// All accounts.
    pub fn all(_: &OperatorScope) -> Select<Self> {
        Self::find().order_by_asc(Column::Id)
    }
}

impl Model {
    /// What is unleased.
    pub fn free(&self) -> Amounts {
        Amounts::from_raw(self.free_usd, self.free_tokens, self.free_display)
    }

    /// Adds to what is unleased.
    pub fn add_free(&mut self, change: Amounts) -> Result<(), StoreError> {
        let free = self
            .free()
            .checked_add(change)
            .map_err(|_| corrupt("an account left its range"))?;
        (self.free_usd, self.free_tokens, self.free_display) =
            (free.usd.get(), free.tokens.get(), free.display.get());
        Ok(())
    }

    /// Wallet or budget.
    pub fn kind(&self) -> Result<AccountKind, StoreError> {
        AccountKind::from_number(self.kind).ok_or_else(|| corrupt("billing_accounts.kind"))
    }

    /// What a node must know beside its slot.
    pub fn policy(&self) -> Result<AccountPolicy, StoreError> {
        Ok(AccountPolicy {
            kind: self.kind()?,
            enforce: Dimensions::from_bits(self.enforce),
            blocked: Blocked::from_number(self.blocked)
                .ok_or_else(|| corrupt("billing_accounts.blocked"))?,
            period_end: self.period_end.map(Timestamp::from_micros),
            thresholds: self.thresholds(),
        })
    }

    /// At or below these remainders a low balance is told.
    pub fn thresholds(&self) -> Limits {
        Limits {
            usd: self.low_usd.map(NanoUsd::new),
            tokens: self.low_tokens.map(Tokens::new),
        }
    }

    /// Sets at or below which remainders a low balance is told.
    pub fn set_thresholds(&mut self, thresholds: &Limits) {
        self.low_usd = thresholds.usd.map(NanoUsd::get);
        self.low_tokens = thresholds.tokens.map(Tokens::get);
    }

    /// Whom the account belongs to.
    pub fn owner(&self) -> Result<Owner, StoreError> {
        Ok(match self.kind()? {
            AccountKind::Wallet => Owner::Wallet(WalletId::from_uuid(self.owner_id)),
            AccountKind::Budget => Owner::Budget(
                BudgetId::from_uuid(self.owner_id),
                Dimensions::from_bits(self.enforce),
            ),
        })
    }
}

/// Writes what changes of accounts: an insert of rows that exist, because it updates many of them in
/// one statement.
pub(in crate::store::sql) static CHANGE: LazyLock<Inserts<ActiveModel>> = LazyLock::new(|| {
    let changed = OnConflict::column(Column::Id)
        .update_columns([
            Column::FreeUsd,
            Column::FreeTokens,
            Column::FreeDisplay,
            Column::Enforce,
            Column::Blocked,
            Column::Armed,
            Column::LowUsd,
            Column::LowTokens,
            Column::LowAfter,
            Column::PeriodEnd,
            Column::Version,
            Column::UpdatedAt,
        ])
        .to_owned();
    Inserts::new(changed).numbered()
});
