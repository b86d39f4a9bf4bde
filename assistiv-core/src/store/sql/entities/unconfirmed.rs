//! `billing_unconfirmed`: charges whose delivery cannot be proved.

use std::sync::LazyLock;

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::OnConflict;
use sea_orm::{QueryOrder, SelectTwo, Set};

use super::ledger;
use crate::auth::OperatorScope;
use crate::billing::{Unconfirmed, UnconfirmedFilter, UnconfirmedStatus};
use crate::clock::Timestamp;
use crate::id::{EntryId, NodeId};
use crate::store::StoreError;
use crate::store::sql::error::corrupt;
use crate::store::sql::query::Inserts;

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "billing_unconfirmed")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub uid: Uuid,
    pub node_id: i64,
    pub resolution: i16,
    pub resolved_at: Option<i64>,
    pub actor: Option<String>,
    pub reason: Option<String>,
    pub created_at: i64,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
    /// The charge.
    #[sea_orm(
        belongs_to = "super::ledger::Entity",
        from = "Column::Uid",
        to = "super::ledger::Column::Uid"
    )]
    Charge,
}

impl Related<ledger::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::Charge.def()
    }
}

impl ActiveModelBehavior for ActiveModel {}

impl Entity {
    /// One item.
    pub fn one(_: &OperatorScope, charge: EntryId) -> Select<Self> {
        Self::find().filter(Column::Uid.eq(charge.as_uuid()))
    }

    /// Items with their charges, those that were found last first.
    pub fn listed(
        _: &OperatorScope,
        filter: &UnconfirmedFilter,
    ) -> SelectTwo<Self, ledger::Entity> {
        let mut select = Self::find()
            .find_also_related(ledger::Entity)
            .filter(Column::Resolution.eq(filter.status as i16));
        if let Some(platform) = filter.platform_id {
            select = select.filter(ledger::Column::PlatformId.eq(platform.as_uuid()));
        }
        if let Some(from) = filter.from {
            select = select.filter(ledger::Column::CreatedAt.gte(from.as_micros()));
        }
        if let Some(to) = filter.to {
            select = select.filter(ledger::Column::CreatedAt.lt(to.as_micros()));
        }
        select
            .order_by_desc(Column::CreatedAt)
            .order_by_desc(Column::Uid)
    }
}

impl Model {
    /// The row as an item, given its charge and the name of its node.
    pub fn into_domain(
        self,
        charge: Option<ledger::Model>,
        node: String,
    ) -> Result<Unconfirmed, StoreError> {
        let charge = charge.ok_or_else(|| corrupt("an unconfirmed delivery without a charge"))?;
        let found_at = Timestamp::from_micros(self.created_at);
        let actor = self.actor.as_deref().map(str::parse).transpose();
        Ok(Unconfirmed {
            status: UnconfirmedStatus::from_number(self.resolution)
                .ok_or_else(|| corrupt("billing_unconfirmed.resolution"))?,
            resolved_at: self.resolved_at.map(Timestamp::from_micros),
            actor: actor.map_err(|_| corrupt("billing_unconfirmed.actor"))?,
            reason: self.reason,
            ..Unconfirmed::of(&charge.into_domain()?, node, found_at)
        })
    }
}

/// A charge that a sweep has found, and what became of it.
pub fn row(uid: Uuid, node: NodeId, status: UnconfirmedStatus, now: Timestamp) -> ActiveModel {
    let is_open = status == UnconfirmedStatus::Open;
    ActiveModel {
        uid: Set(uid),
        node_id: Set(node.0),
        resolution: Set(status as i16),
        resolved_at: Set((!is_open).then_some(now.as_micros())),
        actor: Set(None),
        reason: Set(None),
        created_at: Set(now.as_micros()),
    }
}

/// What is listed stays as it is.
pub(in crate::store::sql) static NEW: LazyLock<Inserts<ActiveModel>> =
    LazyLock::new(|| Inserts::new(OnConflict::column(Column::Uid).do_nothing().to_owned()));
