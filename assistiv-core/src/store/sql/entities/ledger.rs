//! `billing_ledger`: append only.

use std::sync::LazyLock;

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::OnConflict;
use sea_orm::{QueryOrder, QuerySelect, SelectGetableTuple, Selector, Set};

use super::{account, object_text, read_object};
use crate::auth::{OperatorScope, PlatformScope, SweeperScope};
use crate::billing::{
    AccountKind, Amounts, BudgetLegs, ChargeFlags, EntryKind, EntrySource, LedgerEntry, Metered,
};
use crate::clock::Timestamp;
use crate::id::{AccountId, EndUserId, EntryId, ModelId, NodeId, PlatformId, PriceId};
use crate::json::RawObject;
use crate::money::{Markup, NanoUsd};
use crate::store::StoreError;
use crate::store::sql::error::corrupt;
use crate::store::sql::query::Inserts;

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "billing_ledger")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    pub uid: Uuid,
    pub kind: i16,
    pub source: i16,
    pub platform_id: Uuid,
    pub end_user_id: Option<Uuid>,
    pub wallet_account_id: Option<i64>,
    pub wallet_usd: Option<i64>,
    pub budget_account_id: Option<i64>,
    pub rem_usd: Option<i64>,
    pub rem_tokens: Option<i64>,
    pub rem_display: Option<i64>,
    pub lim_usd: Option<i64>,
    pub lim_tokens: Option<i64>,
    pub lim_display: Option<i64>,
    pub ref_uid: Option<Uuid>,
    pub flags: i16,
    pub node_id: Option<i64>,
    pub lane_seq: Option<i64>,
    pub model_id: Option<Uuid>,
    pub price_id: Option<Uuid>,
    pub in_tokens: Option<i64>,
    pub cached_tokens: Option<i64>,
    pub out_tokens: Option<i64>,
    pub markup: Option<i64>,
    pub idempotency_key: Option<String>,
    pub reason: Option<String>,
    pub actor: Option<String>,
    pub metadata: Option<String>,
    pub created_at: i64,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Entity {
    /// The platform's entries.
    pub fn of(scope: &PlatformScope) -> Select<Self> {
        Self::find().filter(Column::PlatformId.eq(scope.platform_id().as_uuid()))
    }

    /// Entries that move an account. Who has the account's row has found it under a scope.
    pub fn of_account(account: &account::Model) -> Select<Self> {
        let of_platform = Self::find().filter(Column::PlatformId.eq(account.platform_id));
        of_platform.filter(column_of(account).eq(account.id))
    }

    /// Entries that move an account, newer than the entry `after`, newest first.
    pub fn newest_of_account(account: &account::Model, after: i64) -> Select<Self> {
        Self::of_account(account)
            .filter(Column::Id.gt(after))
            .order_by_desc(Column::Id)
    }

    /// Charges that batches of a node have posted, later than the entry `after`.
    pub fn charges_of_node(_: &SweeperScope, node: NodeId, after: i64) -> Select<Self> {
        Self::find()
            .filter(Column::Id.gt(after))
            .filter(Column::NodeId.eq(node.0))
            .filter(Column::Kind.eq(EntryKind::Charge as i16))
    }

    /// Charges of all platforms behind the entry `after`, in the order of their ids.
    pub fn charges_after(_: &SweeperScope, after: i64) -> Select<Self> {
        Self::find()
            .filter(Column::Id.gt(after))
            .filter(Column::Kind.eq(EntryKind::Charge as i16))
            .order_by_asc(Column::Id)
    }

    /// The id of the newest entry.
    pub fn last_id(_: &SweeperScope) -> Selector<SelectGetableTuple<i64>> {
        let newest = Self::find().order_by_desc(Column::Id).limit(1);
        newest.select_only().column(Column::Id).into_tuple()
    }

    /// Corrections and refunds of an entry.
    pub fn linked_to(scope: &PlatformScope, entry: EntryId) -> Select<Self> {
        let kinds = [EntryKind::Correction as i16, EntryKind::Refund as i16];
        Self::of(scope)
            .filter(Column::RefUid.eq(entry.as_uuid()))
            .filter(Column::Kind.is_in(kinds))
            .order_by_asc(Column::Id)
    }

    /// The charges of these calls.
    pub fn charges_of(_: &SweeperScope, calls: impl IntoIterator<Item = Uuid>) -> Select<Self> {
        Self::find().filter(Column::Uid.is_in(calls))
    }

    /// Entries that refer to these.
    pub fn referring_to(_: &SweeperScope, uids: impl IntoIterator<Item = Uuid>) -> Select<Self> {
        Self::find().filter(Column::RefUid.is_in(uids))
    }

    /// All entries.
    pub fn all(_: &OperatorScope) -> Select<Self> {
        Self::find()
    }
}

/// The column that names an account of this kind.
fn column_of(account: &account::Model) -> Column {
    if account.kind == AccountKind::Wallet as i16 {
        Column::WalletAccountId
    } else {
        Column::BudgetAccountId
    }
}

impl Model {
    /// The row as an entry.
    pub fn into_domain(self) -> Result<LedgerEntry, StoreError> {
        let metadata = self
            .metadata
            .as_deref()
            .map(|text| read_object(text, "billing_ledger.metadata"));
        let actor = self.actor.as_deref().map(str::parse).transpose();
        let actor = actor.map_err(|_| corrupt("billing_ledger.actor"))?;
        Ok(LedgerEntry {
            uid: EntryId::from_uuid(self.uid),
            kind: EntryKind::from_number(self.kind)
                .ok_or_else(|| corrupt("billing_ledger.kind"))?,
            source: EntrySource::from_number(self.source)
                .ok_or_else(|| corrupt("billing_ledger.source"))?,
            platform_id: PlatformId::from_uuid(self.platform_id),
            end_user_id: self.end_user_id.map(EndUserId::from_uuid),
            wallet: self
                .wallet_account_id
                .zip(self.wallet_usd)
                .map(|(id, usd)| (AccountId(id), NanoUsd::new(usd))),
            budget: self.budget_legs(),
            refers_to: self.ref_uid.map(EntryId::from_uuid),
            flags: ChargeFlags::from_bits(self.flags),
            posted_by: self
                .node_id
                .zip(self.lane_seq)
                .map(|(node, seq)| (NodeId(node), seq)),
            metered: self.metered()?,
            idempotency_key: self.idempotency_key,
            actor,
            reason: self.reason,
            metadata: metadata.transpose()?.unwrap_or_default(),
            created_at: Timestamp::from_micros(self.created_at),
        })
    }

    fn budget_legs(&self) -> Option<BudgetLegs> {
        let amounts = |usd: Option<i64>, tokens: Option<i64>, display: Option<i64>| {
            Amounts::from_raw(usd.unwrap_or(0), tokens.unwrap_or(0), display.unwrap_or(0))
        };
        Some(BudgetLegs {
            account: AccountId(self.budget_account_id?),
            remaining: amounts(self.rem_usd, self.rem_tokens, self.rem_display),
            limit: amounts(self.lim_usd, self.lim_tokens, self.lim_display),
        })
    }

    /// A crash charge has a model and a price, and no counts: nobody knows them.
    fn metered(&self) -> Result<Option<Metered>, StoreError> {
        let counts = self
            .in_tokens
            .zip(self.cached_tokens)
            .zip(self.out_tokens)
            .zip(self.markup);
        let Some(((model, price), (((input, cached), output), markup))) =
            self.model_id.zip(self.price_id).zip(counts)
        else {
            return Ok(None);
        };
        let count =
            |tokens: i64| u64::try_from(tokens).map_err(|_| corrupt("billing_ledger token counts"));
        Ok(Some(Metered {
            model_id: ModelId::from_uuid(model),
            price_id: PriceId::from_uuid(price),
            input_tokens: count(input)?,
            cached_tokens: count(cached)?,
            output_tokens: count(output)?,
            markup: Markup::new(markup),
        }))
    }
}

/// The entry as a row that is posted by `posted_by` at `now`.
pub fn row(
    entry: &LedgerEntry,
    posted_by: Option<(NodeId, i64)>,
    now: Timestamp,
) -> Result<ActiveModel, StoreError> {
    let budget = entry.budget.as_ref();
    let remaining = budget.map(|legs| legs.remaining);
    let limit = budget.map(|legs| legs.limit);
    let metered = entry.metered.as_ref();
    Ok(ActiveModel {
        id: sea_orm::NotSet,
        uid: Set(entry.uid.as_uuid()),
        kind: Set(entry.kind as i16),
        source: Set(entry.source as i16),
        platform_id: Set(entry.platform_id.as_uuid()),
        end_user_id: Set(entry.end_user_id.map(EndUserId::as_uuid)),
        wallet_account_id: Set(entry.wallet.map(|(account, _)| account.0)),
        wallet_usd: Set(entry.wallet.map(|(_, usd)| usd.get())),
        budget_account_id: Set(budget.map(|legs| legs.account.0)),
        rem_usd: Set(remaining.map(|amounts| amounts.usd.get())),
        rem_tokens: Set(remaining.map(|amounts| amounts.tokens.get())),
        rem_display: Set(remaining.map(|amounts| amounts.display.get())),
        lim_usd: Set(limit.map(|amounts| amounts.usd.get())),
        lim_tokens: Set(limit.map(|amounts| amounts.tokens.get())),
        lim_display: Set(limit.map(|amounts| amounts.display.get())),
        ref_uid: Set(entry.refers_to.map(EntryId::as_uuid)),
        flags: Set(entry.flags.bits()),
        node_id: Set(posted_by.map(|(node, _)| node.0)),
        lane_seq: Set(posted_by.map(|(_, seq)| seq)),
        model_id: Set(metered.map(|metered| metered.model_id.as_uuid())),
        price_id: Set(metered.map(|metered| metered.price_id.as_uuid())),
        in_tokens: Set(metered.map(|metered| count(metered.input_tokens))),
        cached_tokens: Set(metered.map(|metered| count(metered.cached_tokens))),
        out_tokens: Set(metered.map(|metered| count(metered.output_tokens))),
        markup: Set(metered.map(|metered| metered.markup.get())),
        idempotency_key: Set(entry.idempotency_key.clone()),
        reason: Set(entry.reason.clone()),
        actor: Set(entry.actor.map(|actor| actor.to_string())),
        metadata: Set(metadata(&entry.metadata)?),
        created_at: Set(now.as_micros()),
    })
}

/// Entries that are new.
pub(in crate::store::sql) static POST: LazyLock<Inserts<ActiveModel>> =
    LazyLock::new(|| Inserts::new(None));

/// An entry that was posted before stays as it is.
pub fn posted_before() -> OnConflict {
    OnConflict::column(Column::Uid).do_nothing().to_owned()
}

fn metadata(object: &RawObject) -> Result<Option<String>, StoreError> {
    if object.is_empty() {
        Ok(None)
    } else {
        object_text(object).map(Some)
    }
}

fn count(tokens: u64) -> i64 {
    i64::try_from(tokens).unwrap_or(i64::MAX)
}
