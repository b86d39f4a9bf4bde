//! `response_turns`: turns that run on threads.

use sea_orm::Set;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, ExprTrait, OnConflict};

use crate::auth::CallerScope;
use crate::clock::Timestamp;
use crate::responses::NewTurn;

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "response_turns")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub platform_id: Uuid,
    /// Nil for a platform's own key.
    #[sea_orm(primary_key, auto_increment = false)]
    pub end_user_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub thread: String,
    pub holder: Uuid,
    pub held_until: i64,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// The turn as a row.
pub fn row(scope: &CallerScope, turn: &NewTurn) -> ActiveModel {
    let end_user = scope.end_user_id().map(|id| id.as_uuid());
    ActiveModel {
        platform_id: Set(scope.platform_id().as_uuid()),
        end_user_id: Set(end_user.unwrap_or(Uuid::nil())),
        thread: Set(turn.thread.clone()),
        holder: Set(turn.id.as_uuid()),
        held_until: Set(turn.until.as_micros()),
    }
}

/// A turn takes the place of one that has ended by itself, and of no other.
pub fn instead_of_ended(now: Timestamp) -> OnConflict {
    OnConflict::columns([Column::PlatformId, Column::EndUserId, Column::Thread])
        .update_columns([Column::Holder, Column::HeldUntil])
        .action_and_where(Expr::col((Entity, Column::HeldUntil)).lte(now.as_micros()))
        .to_owned()
}
