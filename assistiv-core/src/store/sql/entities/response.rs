//! `responses`: responses that may be fetched and continued.

use std::sync::LazyLock;

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::OnConflict;
use sea_orm::{Condition, QuerySelect, QueryTrait, Set};

use crate::auth::{CallerScope, SweeperScope};
use crate::clock::Timestamp;
use crate::id::{EndUserId, PlatformId};
use crate::responses::{ResponseId, StoredResponse};
use crate::store::sql::query::Inserts;

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "responses")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub platform_id: Uuid,
    pub end_user_id: Option<Uuid>,
    pub conversation: Uuid,
    pub previous: Option<Uuid>,
    pub thread: Option<String>,
    pub created_at: i64,
    pub expires_at: i64,
    pub payload: Vec<u8>,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Entity {
    /// What the caller has made itself.
    pub fn own(scope: &CallerScope) -> Select<Self> {
        Self::find().filter(is_own(scope))
    }

    /// One response that the caller may see.
    pub fn seen(scope: &CallerScope, id: ResponseId) -> Select<Self> {
        Self::find().filter(is_seen(scope, id))
    }

    /// Expired ones, but for those that one which has not expired continues from.
    pub fn expired(_: &SweeperScope, now: Timestamp) -> Select<Self> {
        let now = now.as_micros();
        let live = Self::find()
            .select_only()
            .column(Column::Conversation)
            .filter(Column::ExpiresAt.gt(now))
            .into_query();
        Self::find()
            .filter(Column::ExpiresAt.lte(now))
            .filter(Column::Conversation.not_in_subquery(live))
    }
}

/// Whether a row is one that the caller may see.
pub fn is_seen(scope: &CallerScope, id: ResponseId) -> Condition {
    let seen = Condition::all()
        .add(Column::Id.eq(id.as_uuid()))
        .add(Column::PlatformId.eq(scope.platform_id().as_uuid()));
    match scope.end_user_id() {
        Some(end_user) => seen.add(Column::EndUserId.eq(end_user.as_uuid())),
        None => seen,
    }
}

fn is_own(scope: &CallerScope) -> Condition {
    let own = Condition::all().add(Column::PlatformId.eq(scope.platform_id().as_uuid()));
    own.add(match scope.end_user_id() {
        Some(end_user) => Column::EndUserId.eq(end_user.as_uuid()),
        None => Column::EndUserId.is_null(),
    })
}

impl Model {
    /// The row as a response.
    pub fn into_domain(self) -> StoredResponse {
        StoredResponse {
            id: ResponseId::from_uuid(self.id),
            platform_id: PlatformId::from_uuid(self.platform_id),
            end_user_id: self.end_user_id.map(EndUserId::from_uuid),
            conversation: ResponseId::from_uuid(self.conversation),
            previous: self.previous.map(ResponseId::from_uuid),
            thread: self.thread,
            created_at: Timestamp::from_micros(self.created_at),
            expires_at: Timestamp::from_micros(self.expires_at),
            payload: self.payload,
        }
    }
}

/// The response as a row.
pub fn row(response: &StoredResponse) -> ActiveModel {
    ActiveModel {
        id: Set(response.id.as_uuid()),
        platform_id: Set(response.platform_id.as_uuid()),
        end_user_id: Set(response.end_user_id.map(EndUserId::as_uuid)),
        conversation: Set(response.conversation.as_uuid()),
        previous: Set(response.previous.map(ResponseId::as_uuid)),
        thread: Set(response.thread.clone()),
        created_at: Set(response.created_at.as_micros()),
        expires_at: Set(response.expires_at.as_micros()),
        payload: Set(response.payload.clone()),
    }
}

/// New rows. A response that is stored already stays as it is.
pub(in crate::store::sql) static NEW: LazyLock<Inserts<ActiveModel>> =
    LazyLock::new(|| Inserts::new(OnConflict::column(Column::Id).do_nothing().to_owned()));
