//! Commands on API keys.

use std::sync::Arc;
use std::time::Duration;

use super::ApiKey;
use crate::auth::{
    AuthError, Authenticator, KeyKind, KeyScope, KeyScopes, PlatformScope, PresentedKey, Principal,
};
use crate::clock::{Clock, Timestamp};
use crate::command::{Authority, Command, CommandError, all_valid, check_text};
use crate::error::{FieldError, Reason};
use crate::id::{KeyId, PlatformId};
use crate::store::{KeyChanges, KeyFilter, Listed, Page, StoreError, Stores};
use crate::tenancy::EndUserRef;
use crate::tenancy::commands::end_users::{ACTIVE_KEYS_MAX, not_found};
use crate::tenancy::commands::platforms::generate;

const NAME_MAX: usize = 100;
const PLATFORM_KEYS_MAX: u32 = 50;
const GRACE_MAX: Duration = Duration::from_hours(24);

/// The domain of API keys.
pub struct Keys {
    pub(crate) stores: Stores,
    pub(crate) authenticator: Authenticator,
    pub(crate) clock: Arc<dyn Clock>,
}

/// Authority to issue keys: over a platform, and how wide their scopes may be.
#[derive(Clone, Debug)]
pub struct Issuer {
    scope: PlatformScope,
    grantable: KeyScopes,
}

/// Whose key to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyOwner {
    /// The platform's own.
    Platform,
    /// An end user's.
    EndUser(EndUserRef),
}

/// Issues a key.
#[derive(Clone, Debug)]
pub struct CreateKey {
    /// Whose.
    pub owner: KeyOwner,
    /// For people; 1 to 100 characters.
    pub name: Option<String>,
    /// What it may do; by default inference, and management for platform keys.
    pub scopes: Option<KeyScopes>,
    /// When it stops working; in the future.
    pub expires_at: Option<Timestamp>,
}

/// Issues a key of an end user and takes all its others out of use.
#[derive(Clone, Debug)]
pub struct RotateKeys {
    /// What the new key is; it must be an end user's.
    pub new: CreateKey,
    /// How long the others still work: up to a day, and not longer than they would have.
    pub grace: Duration,
}

/// What [`CreateKey`] or [`RotateKeys`] made.
#[derive(Debug)]
pub struct IssuedKey {
    /// The key's record.
    pub key: ApiKey,
    /// The key itself: shown this once.
    pub raw_key: PresentedKey,
}

/// Lists keys, never their text.
#[derive(Clone, Debug)]
pub struct ListKeys {
    /// Which ones. An end user named here need not exist: an unknown one has no keys.
    pub filter: KeyFilter,
    /// Instead of whom the filter names: keys of this end user alone, who must exist.
    pub end_user: Option<EndUserRef>,
    /// Which page.
    pub page: Page,
}

/// Changes a key; fields that are `None` stay. Scopes are fixed at creation.
#[derive(Clone, Debug)]
pub struct UpdateKey {
    /// Which.
    pub id: KeyId,
    /// For people.
    pub name: Option<String>,
    /// Whether it works.
    pub is_active: Option<bool>,
    /// When it stops working; the inner `None` is never.
    pub expires_at: Option<Option<Timestamp>>,
}

/// Revokes a key for good. With an end user, only a key of that user.
#[derive(Clone, Debug)]
pub struct DeleteKey {
    /// Which.
    pub id: KeyId,
    /// Whose it must be.
    pub end_user: Option<EndUserRef>,
}

impl Authority for Issuer {
    type Over = PlatformId;

    fn of(principal: &Principal, over: &PlatformId) -> Result<Self, AuthError> {
        Ok(Self {
            scope: principal.manage(*over)?,
            grantable: principal.grantable(),
        })
    }
}

impl Command<Keys> for CreateKey {
    const NAME: &'static str = "create_key";
    type Authority = Issuer;
    type Output = IssuedKey;

    async fn run(self, domain: &Keys, issuer: Issuer) -> Result<IssuedKey, CommandError> {
        let active_max = self.owner.active_keys_max();
        let issued = self.prepare(domain, &issuer).await?;
        let key = issued.key.clone();
        let created = domain.stores.keys.create(&issuer.scope, key, active_max);
        created
            .await
            .map_err(|error| key_limit(error, active_max))?;
        Ok(issued)
    }
}

impl Command<Keys> for RotateKeys {
    const NAME: &'static str = "rotate_keys";
    type Authority = Issuer;
    type Output = IssuedKey;

    async fn run(self, domain: &Keys, issuer: Issuer) -> Result<IssuedKey, CommandError> {
        let is_too_long = self.grace > GRACE_MAX;
        all_valid(is_too_long.then(|| FieldError {
            param: "grace_seconds".to_owned(),
            message: format!("must be at most {}", GRACE_MAX.as_secs()),
        }))?;
        let active_max = self.new.owner.active_keys_max();
        let issued = self.new.prepare(domain, &issuer).await?;
        let key = issued.key.clone();
        let rotated = domain
            .stores
            .keys
            .rotate(&issuer.scope, key, self.grace, active_max);
        rotated
            .await
            .map_err(|error| key_limit(error, active_max))?;
        domain.authenticator.forget(issuer.scope.platform_id());
        Ok(issued)
    }
}

// === impl KeyOwner ===

impl KeyOwner {
    fn active_keys_max(&self) -> u32 {
        match self {
            Self::Platform => PLATFORM_KEYS_MAX,
            Self::EndUser(_) => ACTIVE_KEYS_MAX,
        }
    }
}

// === impl CreateKey ===

impl CreateKey {
    /// The key, checked and made, and not stored yet.
    async fn prepare(self, domain: &Keys, issuer: &Issuer) -> Result<IssuedKey, CommandError> {
        let now = domain.clock.now();
        let kind = match self.owner {
            KeyOwner::Platform => KeyKind::Platform,
            KeyOwner::EndUser(_) => KeyKind::EndUser,
        };
        let scopes = self
            .scopes
            .unwrap_or_else(|| default_scopes(kind, &issuer.grantable));
        let misplaced =
            kind == KeyKind::EndUser && scopes.iter().any(|scope| scope == KeyScope::Management);
        let errors = [
            self.name
                .as_ref()
                .and_then(|name| check_text("name", name, NAME_MAX)),
            self.expires_at.filter(|at| *at <= now).map(|_| FieldError {
                param: "expires_at".to_owned(),
                message: "must be in the future".to_owned(),
            }),
            misplaced.then(|| FieldError {
                param: "scopes".to_owned(),
                message: "an end-user key cannot have `management`".to_owned(),
            }),
        ];
        all_valid(errors.into_iter().flatten())?;
        check_covered(kind, &issuer.grantable, &scopes)?;
        let end_user_id = match &self.owner {
            KeyOwner::Platform => None,
            KeyOwner::EndUser(end_user) => {
                let user = domain
                    .stores
                    .tenancy
                    .end_user(&issuer.scope, end_user)
                    .await
                    .map_err(not_found)?;
                if !user.is_active {
                    return Err(CommandError::refused(
                        Reason::END_USER_DISABLED,
                        "this end user is disabled",
                    ));
                }
                Some(user.id)
            }
        };
        let raw_key = generate(kind)?;
        let key = ApiKey {
            id: KeyId::new(),
            platform_id: Some(issuer.scope.platform_id()),
            end_user_id,
            kind,
            digest: raw_key.digest(),
            key_prefix: raw_key.shown_prefix(),
            name: self.name.unwrap_or_else(|| "API key".to_owned()),
            scopes,
            is_active: true,
            last_used_at: None,
            expires_at: self.expires_at,
            created_at: now,
        };
        Ok(IssuedKey { key, raw_key })
    }
}

impl Command<Keys> for ListKeys {
    const NAME: &'static str = "list_keys";
    type Authority = PlatformScope;
    type Output = Listed<ApiKey>;

    async fn run(
        self,
        domain: &Keys,
        scope: PlatformScope,
    ) -> Result<Listed<ApiKey>, CommandError> {
        let mut filter = self.filter;
        if let Some(end_user) = &self.end_user {
            let user = domain
                .stores
                .tenancy
                .end_user(&scope, end_user)
                .await
                .map_err(not_found)?;
            filter.end_user_id = Some(user.id);
        }
        Ok(domain.stores.keys.list(&scope, &filter, self.page).await?)
    }
}

impl Command<Keys> for UpdateKey {
    const NAME: &'static str = "update_key";
    type Authority = PlatformScope;
    type Output = ApiKey;

    async fn run(self, domain: &Keys, scope: PlatformScope) -> Result<ApiKey, CommandError> {
        all_valid(
            self.name
                .as_ref()
                .and_then(|name| check_text("name", name, NAME_MAX)),
        )?;
        let changes = KeyChanges {
            name: self.name,
            is_active: self.is_active,
            expires_at: self.expires_at,
        };
        let key = domain
            .stores
            .keys
            .update(&scope, self.id, &changes)
            .await
            .map_err(key_not_found)?;
        domain.authenticator.forget(scope.platform_id());
        Ok(key)
    }
}

impl Command<Keys> for DeleteKey {
    const NAME: &'static str = "delete_key";
    type Authority = PlatformScope;
    type Output = ();

    async fn run(self, domain: &Keys, scope: PlatformScope) -> Result<(), CommandError> {
        if let Some(end_user) = &self.end_user {
            let user = domain
                .stores
                .tenancy
                .end_user(&scope, end_user)
                .await
                .map_err(not_found)?;
            let key = domain
                .stores
                .keys
                .key(&scope, self.id)
                .await
                .map_err(key_not_found)?;
            if key.end_user_id != Some(user.id) {
                return Err(key_not_found(StoreError::NotFound));
            }
        }
        domain
            .stores
            .keys
            .delete(&scope, self.id)
            .await
            .map_err(key_not_found)?;
        domain.authenticator.forget(scope.platform_id());
        Ok(())
    }
}

fn default_scopes(kind: KeyKind, grantable: &KeyScopes) -> KeyScopes {
    let both = KeyScopes::new([KeyScope::Management, KeyScope::Inference]);
    match kind {
        KeyKind::EndUser => KeyScopes::new([KeyScope::Inference]),
        // A key that may only manage cannot pass on what it lacks.
        _ if grantable.cover(&both) => both,
        _ => grantable.clone(),
    }
}

/// No key issues wider scopes than its own. An end-user key is narrower than any platform key, whatever its
/// scopes: it is the kind that limits it.
fn check_covered(
    kind: KeyKind,
    grantable: &KeyScopes,
    scopes: &KeyScopes,
) -> Result<(), CommandError> {
    if kind == KeyKind::EndUser || grantable.cover(scopes) {
        return Ok(());
    }
    let missing = scopes
        .iter()
        .find(|scope| !grantable.iter().any(|own| own == *scope));
    Err(AuthError::InsufficientScope {
        required: missing.unwrap_or(KeyScope::Management),
    }
    .into())
}

fn key_limit(error: StoreError, active_max: u32) -> CommandError {
    match error {
        StoreError::Conflict(_) => CommandError::refused(
            Reason::KEY_LIMIT_REACHED,
            format!("at most {active_max} active keys are allowed; revoke one first"),
        ),
        other => not_found(other),
    }
}

fn key_not_found(error: StoreError) -> CommandError {
    match error {
        StoreError::Conflict(_) => CommandError::refused(
            Reason::LAST_PLATFORM_KEY,
            "this is the last active platform key that may manage; create another one first",
        ),
        other => CommandError::or_not_found(other, Reason::API_KEY_NOT_FOUND, "API key"),
    }
}
