//! What a backend keeps of platforms, end users, keys and LLM configs.

use std::time::Duration;

use async_trait::async_trait;

use super::{
    EndUserChanges, KeyChanges, Listed, LlmConfigChanges, Page, PlatformChanges, StoreError,
};
use crate::auth::{DigestScope, KeyDigest, OperatorScope, PlatformScope};
use crate::billing::{NewBudget, NewWallet};
use crate::clock::Timestamp;
use crate::id::{AccountId, EndUserId, KeyId, LlmConfigId};
use crate::keys::ApiKey;
use crate::limits::{PlatformRateLimits, RateLimits};
use crate::llm_configs::LlmConfig;
use crate::routing::ProviderSlug;
use crate::tenancy::{EndUser, EndUserRef, Platform};

/// A platform with what is made together with it.
#[derive(Clone, Debug)]
pub struct NewPlatform {
    /// The platform.
    pub platform: Platform,
    /// Its first key.
    pub key: ApiKey,
    /// Its wallet, with the first top-up if there is one.
    pub wallet: NewWallet,
}

/// An end user with what is made together with it.
#[derive(Clone, Debug)]
pub struct NewEndUser {
    /// The end user.
    pub end_user: EndUser,
    /// A key. On a repeat it is added to the existing user.
    pub key: ApiKey,
    /// The default budget, for a user that is new.
    pub budget: Option<NewBudget>,
    /// How many active keys a user may have; the one unused for longest gives way.
    pub active_keys_max: u32,
}

/// Whether a row was made or found.
#[derive(Clone, Debug, PartialEq)]
pub enum Upsert<T> {
    /// It is new.
    Created(T),
    /// It was there.
    Existing(T),
}

/// Which platforms to list.
#[derive(Clone, Debug, Default)]
pub struct PlatformFilter {
    /// Literal, case-insensitive substring of name or slug.
    pub query: Option<String>,
}

/// Which end users to list.
#[derive(Clone, Debug, Default)]
pub struct EndUserFilter {
    /// Exactly this `external_id`.
    pub external_id: Option<String>,
    /// Literal, case-insensitive substring of `external_id` or `display_name`; an exact `external_id` comes first.
    pub query: Option<String>,
    /// Only active or only inactive ones.
    pub is_active: Option<bool>,
}

/// Which keys to list.
#[derive(Clone, Debug)]
pub struct KeyFilter {
    /// Keys of end users instead of the platform's own.
    pub of_end_users: bool,
    /// Keys of this end user alone, whatever `of_end_users` says.
    pub end_user_id: Option<EndUserId>,
    /// Only active or only inactive ones.
    pub is_active: Option<bool>,
}

/// Which LLM configs to list.
#[derive(Clone, Debug, Default)]
pub struct LlmConfigFilter {
    /// Only those for this provider.
    pub provider: Option<ProviderSlug>,
    /// Only active or only inactive ones.
    pub is_active: Option<bool>,
}

/// All that authentication needs, found in one look-up.
#[derive(Clone, Debug)]
pub struct KeyRecord {
    /// The key.
    pub key: ApiKey,
    /// Its platform with the account of its wallet; an operator key has none.
    pub platform: Option<(Platform, AccountId)>,
    /// Whether its end user is active, for an end-user key.
    pub end_user_is_active: Option<bool>,
    /// The rate limits that its platform has set.
    pub platform_rate_limits: PlatformRateLimits,
    /// The rate limits that its end user has of its own.
    pub end_user_rate_limits: Option<RateLimits>,
}

/// A provider key as it is stored: sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSecret(pub Vec<u8>);

/// Platforms and end users.
#[async_trait]
pub trait TenancyStore: Send + Sync + 'static {
    /// Makes a platform, its wallet with an account, and its first key, in one act.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] (`slug`) when the slug is taken.
    async fn create_platform(
        &self,
        scope: &OperatorScope,
        new: NewPlatform,
    ) -> Result<Platform, StoreError>;

    /// Platforms, newest first.
    async fn platforms(
        &self,
        scope: &OperatorScope,
        filter: &PlatformFilter,
        page: Page,
    ) -> Result<Listed<Platform>, StoreError>;

    /// The scope's platform.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    async fn platform(&self, scope: &PlatformScope) -> Result<Platform, StoreError>;

    /// Lays changes over the scope's platform as it stands, in one act, and gives what it became;
    /// `updated_at` is the backend's own time.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::Conflict`] (`slug`).
    async fn update_platform(
        &self,
        scope: &PlatformScope,
        changes: &PlatformChanges,
    ) -> Result<Platform, StoreError>;

    /// Removes the scope's platform with its end users, keys, LLM configs, budgets and wallet. Accounts are
    /// blocked; ledger entries stay.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    async fn delete_platform(&self, scope: &PlatformScope) -> Result<(), StoreError>;

    /// Makes an end user with key and budget in one act; when the `external_id` exists, only adds the key to
    /// the existing user. Concurrent first calls make one user.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when the platform is gone; [`StoreError::Conflict`] (`inactive end user`) when
    /// the existing user is inactive, and then nothing changes.
    async fn create_end_user(
        &self,
        scope: &PlatformScope,
        new: NewEndUser,
    ) -> Result<Upsert<EndUser>, StoreError>;

    /// End users of the platform, newest first.
    async fn end_users(
        &self,
        scope: &PlatformScope,
        filter: &EndUserFilter,
        page: Page,
    ) -> Result<Listed<EndUser>, StoreError>;

    /// One end user of the platform.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    async fn end_user(
        &self,
        scope: &PlatformScope,
        end_user: &EndUserRef,
    ) -> Result<EndUser, StoreError>;

    /// Lays changes over an end user as it stands, in one act, and gives what it became; `updated_at` is
    /// the backend's own time.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    async fn update_end_user(
        &self,
        scope: &PlatformScope,
        end_user: &EndUserRef,
        changes: &EndUserChanges,
    ) -> Result<EndUser, StoreError>;

    /// Removes an end user with its keys and budget. Its account is blocked; ledger entries stay.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    async fn delete_end_user(&self, scope: &PlatformScope, id: EndUserId)
    -> Result<(), StoreError>;
}

/// API keys.
#[async_trait]
pub trait KeyStore: Send + Sync + 'static {
    /// Finds a key by its digest, with what authentication needs of its holder.
    async fn find_by_digest(
        &self,
        scope: &DigestScope,
        digest: &KeyDigest,
    ) -> Result<Option<KeyRecord>, StoreError>;

    /// Stamps keys as used. Unknown ones are passed over.
    async fn touch(
        &self,
        scope: &DigestScope,
        used: &[(KeyId, Timestamp)],
    ) -> Result<(), StoreError>;

    /// Adds a platform or end-user key, unless `active_max` active ones of its holder exist.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] (`key limit`); [`StoreError::NotFound`] when the end user is not the platform's.
    async fn create(
        &self,
        scope: &PlatformScope,
        key: ApiKey,
        active_max: u32,
    ) -> Result<(), StoreError>;

    /// Adds an end-user key and takes the user's others out of use, in one act: at once without `grace`, else when
    /// it is over. A key that would have expired before expires as it would have.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] (`key limit`) when `active_max` keys would go on working; [`StoreError::NotFound`]
    /// when the end user is not the platform's.
    async fn rotate(
        &self,
        scope: &PlatformScope,
        key: ApiKey,
        grace: Duration,
        active_max: u32,
    ) -> Result<(), StoreError>;

    /// Adds an operator key.
    async fn create_operator(&self, scope: &OperatorScope, key: ApiKey) -> Result<(), StoreError>;

    /// Whether any operator key exists.
    async fn has_operator(&self, scope: &OperatorScope) -> Result<bool, StoreError>;

    /// Keys of the platform, newest first.
    async fn list(
        &self,
        scope: &PlatformScope,
        filter: &KeyFilter,
        page: Page,
    ) -> Result<Listed<ApiKey>, StoreError>;

    /// One key of the platform, of either kind.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    async fn key(&self, scope: &PlatformScope, id: KeyId) -> Result<ApiKey, StoreError>;

    /// Lays changes over a key as it stands, in one act, and gives what it became.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::Conflict`] (`last platform key`) when it would leave the platform
    /// without an active key that may manage.
    async fn update(
        &self,
        scope: &PlatformScope,
        id: KeyId,
        changes: &KeyChanges,
    ) -> Result<ApiKey, StoreError>;

    /// Removes a key.
    ///
    /// # Errors
    /// As [`KeyStore::update`].
    async fn delete(&self, scope: &PlatformScope, id: KeyId) -> Result<(), StoreError>;
}

/// Platforms' provider keys.
#[async_trait]
pub trait LlmConfigStore: Send + Sync + 'static {
    /// Adds a config. The first active one of a provider becomes its default; one that is made the default
    /// takes that from its siblings in the same act.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when the platform is gone.
    async fn create(
        &self,
        scope: &PlatformScope,
        config: LlmConfig,
        secret: StoredSecret,
    ) -> Result<LlmConfig, StoreError>;

    /// Configs of the platform, newest first.
    async fn list(
        &self,
        scope: &PlatformScope,
        filter: &LlmConfigFilter,
        page: Page,
    ) -> Result<Listed<LlmConfig>, StoreError>;

    /// All active configs of the platform with their secrets, oldest first: what routing needs.
    async fn active(
        &self,
        scope: &PlatformScope,
    ) -> Result<Vec<(LlmConfig, StoredSecret)>, StoreError>;

    /// Sealed secrets of all platforms, active or not, behind the config `after` in the order of ids, at most
    /// `most`: for checking and for sealing anew.
    async fn secrets(
        &self,
        scope: &OperatorScope,
        after: Option<LlmConfigId>,
        most: u32,
    ) -> Result<Vec<(LlmConfigId, StoredSecret)>, StoreError>;

    /// One config.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    async fn config(&self, scope: &PlatformScope, id: LlmConfigId)
    -> Result<LlmConfig, StoreError>;

    /// Lays changes over a config as it stands, replaces its secret when one is given, and gives what it
    /// became, in one act; `updated_at` is the backend's own time. Defaults follow as in
    /// [`LlmConfigStore::create`].
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    async fn update(
        &self,
        scope: &PlatformScope,
        id: LlmConfigId,
        changes: &LlmConfigChanges,
        secret: Option<StoredSecret>,
    ) -> Result<LlmConfig, StoreError>;

    /// Removes a config; when it was the default, the newest remaining active one of its provider becomes it.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    async fn delete(&self, scope: &PlatformScope, id: LlmConfigId) -> Result<(), StoreError>;
}
