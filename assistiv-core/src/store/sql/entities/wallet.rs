//! `wallets`.

use sea_orm::entity::prelude::*;

use crate::auth::PlatformScope;
use crate::billing::Wallet;
use crate::clock::Timestamp;
use crate::id::{PlatformId, WalletId};
use crate::money::NanoUsd;

/// A row. The balance lives in the account.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "wallets")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub platform_id: Uuid,
    pub account_id: i64,
    pub low_balance_threshold: Option<i64>,
    pub is_active: bool,
    pub version: i64,
    pub created_at: i64,
    pub updated_at: i64,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Entity {
    /// The platform's wallet.
    pub fn of(scope: &PlatformScope) -> Select<Self> {
        Self::find().filter(Column::PlatformId.eq(scope.platform_id().as_uuid()))
    }
}

impl Model {
    /// The row as a wallet that holds `balance`.
    pub fn with_balance(&self, balance: NanoUsd) -> Wallet {
        Wallet {
            id: WalletId::from_uuid(self.id),
            platform_id: PlatformId::from_uuid(self.platform_id),
            balance,
            low_balance_threshold: self.low_balance_threshold.map(NanoUsd::new),
            is_active: self.is_active,
            created_at: Timestamp::from_micros(self.created_at),
            updated_at: Timestamp::from_micros(self.updated_at),
        }
    }
}
