//! `api_keys`.

use sea_orm::entity::prelude::*;
use sea_orm::{QueryOrder, Set};

use crate::auth::{DigestScope, KeyDigest, KeyKind, KeyScopes, OperatorScope, PlatformScope};
use crate::clock::Timestamp;
use crate::id::{EndUserId, KeyId, PlatformId};
use crate::keys::ApiKey;
use crate::store::StoreError;
use crate::store::sql::error::corrupt;

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "api_keys")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub platform_id: Option<Uuid>,
    pub end_user_id: Option<Uuid>,
    pub kind: i16,
    pub digest: Vec<u8>,
    pub key_prefix: String,
    pub name: String,
    pub scopes: i32,
    pub is_active: bool,
    pub last_used_at: Option<i64>,
    pub expires_at: Option<i64>,
    pub created_at: i64,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
    #[sea_orm(
        belongs_to = "super::platform::Entity",
        from = "Column::PlatformId",
        to = "super::platform::Column::Id"
    )]
    Platform,
    #[sea_orm(
        belongs_to = "super::wallet::Entity",
        from = "Column::PlatformId",
        to = "super::wallet::Column::PlatformId"
    )]
    Wallet,
    #[sea_orm(
        belongs_to = "super::end_user::Entity",
        from = "Column::EndUserId",
        to = "super::end_user::Column::Id"
    )]
    EndUser,
}

impl Related<super::platform::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::Platform.def()
    }
}

impl Related<super::wallet::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::Wallet.def()
    }
}

impl Related<super::end_user::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::EndUser.def()
    }
}

impl ActiveModelBehavior for ActiveModel {}

impl Entity {
    /// Keys of the platform and of its end users.
    pub fn of(scope: &PlatformScope) -> Select<Self> {
        Self::find().filter(Column::PlatformId.eq(scope.platform_id().as_uuid()))
    }

    /// One key of the platform or of one of its end users.
    pub fn one_of(scope: &PlatformScope, id: KeyId) -> Select<Self> {
        Self::of(scope).filter(Column::Id.eq(id.as_uuid()))
    }

    /// The platform's own keys.
    pub fn of_platform(scope: &PlatformScope) -> Select<Self> {
        Self::of(scope).filter(Column::Kind.eq(number(KeyKind::Platform)))
    }

    /// Keys of one end user of the platform.
    pub fn of_end_user(scope: &PlatformScope, end_user: EndUserId) -> Select<Self> {
        Self::of(scope).filter(Column::EndUserId.eq(end_user.as_uuid()))
    }

    /// Operator keys.
    pub fn of_operator(_: &OperatorScope) -> Select<Self> {
        Self::find().filter(Column::Kind.eq(number(KeyKind::Operator)))
    }

    /// The key with this digest.
    pub fn by_digest(_: &DigestScope, digest: &KeyDigest) -> Select<Self> {
        Self::find().filter(Column::Digest.eq(digest.as_bytes().to_vec()))
    }
}

/// Newest first.
pub fn newest_first(select: Select<Entity>) -> Select<Entity> {
    select
        .order_by_desc(Column::CreatedAt)
        .order_by_desc(Column::Id)
}

impl Model {
    /// The row as a key.
    pub fn into_domain(self) -> Result<ApiKey, StoreError> {
        let kind = [KeyKind::Platform, KeyKind::EndUser, KeyKind::Operator]
            .into_iter()
            .find(|kind| number(*kind) == self.kind)
            .ok_or_else(|| corrupt("api_keys.kind"))?;
        let digest = self
            .digest
            .try_into()
            .map_err(|_| corrupt("api_keys.digest"))?;
        Ok(ApiKey {
            id: KeyId::from_uuid(self.id),
            platform_id: self.platform_id.map(PlatformId::from_uuid),
            end_user_id: self.end_user_id.map(EndUserId::from_uuid),
            kind,
            digest: KeyDigest::from_bytes(digest),
            key_prefix: self.key_prefix,
            name: self.name,
            scopes: KeyScopes::from_bits(self.scopes),
            is_active: self.is_active,
            last_used_at: self.last_used_at.map(Timestamp::from_micros),
            expires_at: self.expires_at.map(Timestamp::from_micros),
            created_at: Timestamp::from_micros(self.created_at),
        })
    }
}

/// The key as a row of `platform`, or of the operator.
pub fn row(platform: Option<PlatformId>, key: &ApiKey) -> ActiveModel {
    ActiveModel {
        id: Set(key.id.as_uuid()),
        platform_id: Set(platform.map(PlatformId::as_uuid)),
        end_user_id: Set(key.end_user_id.map(EndUserId::as_uuid)),
        kind: Set(number(key.kind)),
        digest: Set(key.digest.as_bytes().to_vec()),
        key_prefix: Set(key.key_prefix.clone()),
        name: Set(key.name.clone()),
        scopes: Set(key.scopes.bits()),
        is_active: Set(key.is_active),
        last_used_at: Set(key.last_used_at.map(Timestamp::as_micros)),
        expires_at: Set(key.expires_at.map(Timestamp::as_micros)),
        created_at: Set(key.created_at.as_micros()),
    }
}

/// The number under which a kind is stored.
pub const fn number(kind: KeyKind) -> i16 {
    match kind {
        KeyKind::Platform => 1,
        KeyKind::EndUser => 2,
        KeyKind::Operator => 3,
    }
}
