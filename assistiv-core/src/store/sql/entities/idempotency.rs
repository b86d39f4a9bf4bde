//! `billing_idempotency`: outcomes of repeatable requests. Rows live as long as the ledger.

use sea_orm::entity::prelude::*;

use crate::auth::{OperatorScope, PlatformScope};
use crate::billing::Idempotency;

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "billing_idempotency")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub scope_hash: Vec<u8>,
    pub request_hash: Vec<u8>,
    pub body: String,
    pub account_id: Option<i64>,
    pub uid: Option<Uuid>,
    pub created_at: i64,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Entity {
    /// The row of a request. The platform is part of the hash.
    pub fn of(_: &PlatformScope, request: &Idempotency) -> Select<Self> {
        Self::find().filter(Column::ScopeHash.eq(request.scope_hash.to_vec()))
    }

    /// The row of a request of the operator's.
    pub fn of_operator(_: &OperatorScope, request: &Idempotency) -> Select<Self> {
        Self::find().filter(Column::ScopeHash.eq(request.scope_hash.to_vec()))
    }
}
