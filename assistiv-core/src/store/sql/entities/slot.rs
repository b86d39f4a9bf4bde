//! `billing_slots`: what nodes hold of accounts.

use std::sync::LazyLock;

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{ExprTrait, OnConflict};
use sea_orm::{QueryOrder, Set};

use crate::auth::{OperatorScope, SweeperScope};
use crate::billing::Amounts;
use crate::id::{AccountId, NodeId};
use crate::store::sql::query::Inserts;

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "billing_slots")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub node_id: i64,
    #[sea_orm(primary_key, auto_increment = false)]
    pub account_id: i64,
    pub usd: i64,
    pub tokens: i64,
    pub display: i64,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Entity {
    /// The node's slots, in the order of accounts.
    pub fn of_node(_: &SweeperScope, node: NodeId) -> Select<Self> {
        Self::find()
            .filter(Column::NodeId.eq(node.0))
            .order_by_asc(Column::AccountId)
    }

    /// What nodes hold of an account. Who has the account's row has found it under a scope.
    pub fn of_account(account: &super::account::Model) -> Select<Self> {
        Self::find().filter(Column::AccountId.eq(account.id))
    }

    /// What the node holds of an account.
    pub fn one(_: &SweeperScope, node: NodeId, account: AccountId) -> Select<Self> {
        Self::find()
            .filter(Column::NodeId.eq(node.0))
            .filter(Column::AccountId.eq(account.0))
    }

    /// What other nodes hold of accounts.
    pub fn elsewhere(
        _: &SweeperScope,
        node: NodeId,
        accounts: impl IntoIterator<Item = AccountId>,
    ) -> Select<Self> {
        Self::find()
            .filter(Column::AccountId.is_in(accounts.into_iter().map(|account| account.0)))
            .filter(Column::NodeId.ne(node.0))
    }

    /// All slots.
    pub fn all(_: &OperatorScope) -> Select<Self> {
        Self::find()
    }
}

impl Model {
    /// What the slot holds.
    pub fn amounts(&self) -> Amounts {
        Amounts::from_raw(self.usd, self.tokens, self.display)
    }
}

/// A change of a slot, as the row that is added to it.
pub fn change(node: NodeId, account: AccountId, change: Amounts) -> ActiveModel {
    ActiveModel {
        node_id: Set(node.0),
        account_id: Set(account.0),
        usd: Set(change.usd.get()),
        tokens: Set(change.tokens.get()),
        display: Set(change.display.get()),
    }
}

/// Adds rows to those that exist.
pub(in crate::store::sql) static ADD: LazyLock<Inserts<ActiveModel>> =
    LazyLock::new(|| Inserts::new(added()));

fn added() -> OnConflict {
    let sum = |column: Column| {
        let old = Expr::col((Entity, column));
        (column, old.add(Expr::col(("excluded", column))))
    };
    OnConflict::columns([Column::NodeId, Column::AccountId])
        .values([sum(Column::Usd), sum(Column::Tokens), sum(Column::Display)])
        .to_owned()
}
