//! `billing_streams`: calls whose answers are being delivered.

use std::sync::LazyLock;

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::OnConflict;
use sea_orm::{QueryOrder, Set};

use crate::auth::{OperatorScope, SweeperScope};
use crate::billing::{Amounts, Legs, OpenStream};
use crate::clock::Timestamp;
use crate::id::{AccountId, EndUserId, EntryId, LogId, ModelId, NodeId, PlatformId, PriceId};
use crate::money::NanoUsd;
use crate::store::sql::query::Inserts;

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "billing_streams")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub log_id: Uuid,
    pub node_id: i64,
    pub platform_id: Uuid,
    pub end_user_id: Option<Uuid>,
    pub wallet_account_id: i64,
    pub budget_account_id: Option<i64>,
    pub accrued_wallet: i64,
    pub accrued_usd: i64,
    pub accrued_tokens: i64,
    pub accrued_display: i64,
    pub hold_wallet: i64,
    pub hold_usd: i64,
    pub hold_tokens: i64,
    pub hold_display: i64,
    pub price_id: Uuid,
    pub model_id: Uuid,
    pub opened_at: i64,
    pub checkpoint_at: i64,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Entity {
    /// The node's streams.
    pub fn of_node(_: &SweeperScope, node: NodeId) -> Select<Self> {
        Self::find()
            .filter(Column::NodeId.eq(node.0))
            .order_by_asc(Column::LogId)
    }

    /// The stream of one call.
    pub fn one(_: &SweeperScope, call: LogId) -> Select<Self> {
        Self::find().filter(Column::LogId.eq(call.as_uuid()))
    }

    /// All streams.
    pub fn all(_: &OperatorScope) -> Select<Self> {
        Self::find()
    }
}

impl Model {
    /// The row as a stream.
    pub fn to_domain(&self) -> OpenStream {
        OpenStream {
            log_id: EntryId::from_uuid(self.log_id),
            platform_id: PlatformId::from_uuid(self.platform_id),
            end_user_id: self.end_user_id.map(EndUserId::from_uuid),
            wallet: AccountId(self.wallet_account_id),
            budget: self.budget_account_id.map(AccountId),
            accrued: Legs {
                wallet: NanoUsd::new(self.accrued_wallet),
                budget: Amounts::from_raw(
                    self.accrued_usd,
                    self.accrued_tokens,
                    self.accrued_display,
                ),
            },
            held: Legs {
                wallet: NanoUsd::new(self.hold_wallet),
                budget: Amounts::from_raw(self.hold_usd, self.hold_tokens, self.hold_display),
            },
            price_id: PriceId::from_uuid(self.price_id),
            model_id: ModelId::from_uuid(self.model_id),
        }
    }
}

/// The stream as a row of the node.
pub fn row(node: NodeId, stream: &OpenStream, now: Timestamp) -> ActiveModel {
    let (accrued, held) = (&stream.accrued, &stream.held);
    ActiveModel {
        log_id: Set(stream.log_id.as_uuid()),
        node_id: Set(node.0),
        platform_id: Set(stream.platform_id.as_uuid()),
        end_user_id: Set(stream.end_user_id.map(EndUserId::as_uuid)),
        wallet_account_id: Set(stream.wallet.0),
        budget_account_id: Set(stream.budget.map(|AccountId(id)| id)),
        accrued_wallet: Set(accrued.wallet.get()),
        accrued_usd: Set(accrued.budget.usd.get()),
        accrued_tokens: Set(accrued.budget.tokens.get()),
        accrued_display: Set(accrued.budget.display.get()),
        hold_wallet: Set(held.wallet.get()),
        hold_usd: Set(held.budget.usd.get()),
        hold_tokens: Set(held.budget.tokens.get()),
        hold_display: Set(held.budget.display.get()),
        price_id: Set(stream.price_id.as_uuid()),
        model_id: Set(stream.model_id.as_uuid()),
        opened_at: Set(now.as_micros()),
        checkpoint_at: Set(now.as_micros()),
    }
}

/// What a checkpoint renews: everything that changes while a stream runs.
pub const RENEWED: [Column; 11] = [
    Column::AccruedWallet,
    Column::AccruedUsd,
    Column::AccruedTokens,
    Column::AccruedDisplay,
    Column::HoldWallet,
    Column::HoldUsd,
    Column::HoldTokens,
    Column::HoldDisplay,
    Column::PriceId,
    Column::ModelId,
    Column::CheckpointAt,
];

/// A checkpoint is the same insert again.
pub(in crate::store::sql) static OPEN: LazyLock<Inserts<ActiveModel>> =
    LazyLock::new(|| Inserts::new(checkpointed()));

fn checkpointed() -> OnConflict {
    OnConflict::column(Column::LogId)
        .update_columns(RENEWED)
        .to_owned()
}
