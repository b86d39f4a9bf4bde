//! Commands on platforms.

use super::Tenancy;
use crate::auth::{KeyKind, KeyScopes, OperatorScope, PlatformScope, PresentedKey, Principal};
use crate::billing::{NewWallet, Wallet};
use crate::command::{Command, CommandError, all_valid, check_text};
use crate::error::{FieldError, Reason};
use crate::id::{EntryId, KeyId, PlatformId, WalletId};
use crate::json::{RawJson, RawObject};
use crate::keys::ApiKey;
use crate::money::NanoUsd;
use crate::store::{Listed, NewPlatform, Page, PlatformChanges, PlatformFilter, StoreError};
use crate::tenancy::{Platform, PlatformSettings, PlatformSlug};

const NAME_MAX: usize = 100;
const SLUG_TRIES: u16 = 50;

/// Makes a platform with its wallet and a first key.
#[derive(Clone, Debug, Default)]
pub struct CreatePlatform {
    /// For people; 1 to 100 characters.
    pub name: String,
    /// Unique; derived from the name when absent.
    pub slug: Option<PlatformSlug>,
    /// See [`PlatformSettings`].
    pub settings: RawObject,
    /// Put into the wallet as a first top-up, when above zero.
    pub initial_balance: NanoUsd,
}

/// What [`CreatePlatform`] made.
#[derive(Debug)]
pub struct CreatedPlatform {
    /// The platform.
    pub platform: Platform,
    /// Its first key.
    pub key: ApiKey,
    /// The key itself: shown this once.
    pub raw_key: PresentedKey,
    /// Its wallet.
    pub wallet: Wallet,
}

/// Lists the platforms that the principal may act for.
#[derive(Clone, Debug, Default)]
pub struct ListPlatforms {
    /// Which ones.
    pub filter: PlatformFilter,
    /// Which page.
    pub page: Page,
}

/// Reads a platform.
#[derive(Clone, Copy, Debug)]
pub struct ReadPlatform;

/// Changes a platform; fields that are `None` stay.
#[derive(Clone, Debug, Default)]
pub struct UpdatePlatform {
    /// For people.
    pub name: Option<String>,
    /// Unique.
    pub slug: Option<PlatformSlug>,
    /// Laid over the settings, key by key; null removes a key.
    pub settings: Option<RawObject>,
}

/// Switches a platform off or on again. While it is off, none of its keys and of its end users' keys works.
#[derive(Clone, Copy, Debug)]
pub struct SwitchPlatform {
    /// Which.
    pub platform: PlatformId,
    /// Whether its keys work.
    pub is_active: bool,
}

/// Removes a platform and everything under it. Ledger entries stay.
#[derive(Clone, Copy, Debug)]
pub struct DeletePlatform;

impl Command<Tenancy> for CreatePlatform {
    const NAME: &'static str = "create_platform";
    type Authority = OperatorScope;
    type Output = CreatedPlatform;

    async fn run(
        self,
        domain: &Tenancy,
        operator: OperatorScope,
    ) -> Result<CreatedPlatform, CommandError> {
        let negative = self.initial_balance < NanoUsd::ZERO;
        let balance_error = negative.then(|| FieldError {
            param: "initial_balance_usd".to_owned(),
            message: "must be 0 or more".to_owned(),
        });
        let settings = PlatformSettings::new(self.settings);
        let settings_errors = settings.as_ref().err().cloned().unwrap_or_default();
        all_valid(
            check_text("name", &self.name, NAME_MAX)
                .into_iter()
                .chain(balance_error)
                .chain(settings_errors),
        )?;

        let now = domain.clock.now();
        let raw_key = generate(KeyKind::Platform)?;
        let id = PlatformId::new();
        let mut platform = Platform {
            id,
            slug: self
                .slug
                .clone()
                .unwrap_or_else(|| PlatformSlug::derived_from(&self.name)),
            name: self.name,
            settings: settings.unwrap_or_default(),
            is_active: true,
            created_at: now,
            updated_at: now,
        };
        let key = ApiKey {
            id: KeyId::new(),
            platform_id: Some(id),
            end_user_id: None,
            kind: KeyKind::Platform,
            digest: raw_key.digest(),
            key_prefix: raw_key.shown_prefix(),
            name: "Default key".to_owned(),
            scopes: KeyScopes::UNRESTRICTED,
            is_active: true,
            last_used_at: None,
            expires_at: None,
            created_at: now,
        };
        let plain = platform.slug.clone();
        for attempt in 2.. {
            let wallet = NewWallet {
                id: WalletId::new(),
                opening: (EntryId::new(), self.initial_balance),
            };
            let new = NewPlatform {
                platform: platform.clone(),
                key: key.clone(),
                wallet,
            };
            match domain.stores.tenancy.create_platform(&operator, new).await {
                // A slug that was asked for is taken or not; one that was derived gives way.
                Err(StoreError::Conflict(_)) if self.slug.is_none() && attempt <= SLUG_TRIES => {
                    platform.slug = plain.numbered(attempt);
                }
                Err(StoreError::Conflict(_)) => return Err(slug_taken(&platform.slug)),
                Err(error) => return Err(error.into()),
                Ok(created) => {
                    platform = created;
                    break;
                }
            }
        }
        let wallet = domain.stores.ledger.wallet(&operator.over(id)).await?;
        Ok(CreatedPlatform {
            platform,
            key,
            raw_key,
            wallet,
        })
    }
}

impl Command<Tenancy> for ListPlatforms {
    const NAME: &'static str = "list_platforms";
    type Authority = Principal;
    type Output = Listed<Platform>;

    async fn run(
        self,
        domain: &Tenancy,
        principal: Principal,
    ) -> Result<Listed<Platform>, CommandError> {
        let own = principal
            .identity()
            .and_then(|identity| identity.platform_id());
        match own {
            None => {
                let operator = principal.operate()?;
                Ok(domain
                    .stores
                    .tenancy
                    .platforms(&operator, &self.filter, self.page)
                    .await?)
            }
            Some(id) => {
                let scope = principal.manage(id)?;
                let platform = domain.stores.tenancy.platform(&scope).await?;
                let rows = if self.page.page == 1 {
                    vec![platform]
                } else {
                    Vec::new()
                };
                Ok(Listed { rows, total: 1 })
            }
        }
    }
}

impl Command<Tenancy> for ReadPlatform {
    const NAME: &'static str = "read_platform";
    type Authority = PlatformScope;
    type Output = Platform;

    async fn run(self, domain: &Tenancy, scope: PlatformScope) -> Result<Platform, CommandError> {
        Ok(domain.stores.tenancy.platform(&scope).await?)
    }
}

impl Command<Tenancy> for UpdatePlatform {
    const NAME: &'static str = "update_platform";
    type Authority = PlatformScope;
    type Output = Platform;

    async fn run(self, domain: &Tenancy, scope: PlatformScope) -> Result<Platform, CommandError> {
        let settings = self.settings.unwrap_or_default();
        // Keys are valid or not by themselves, so what is laid over valid settings is checked alone; a key
        // that is taken away may have been anything.
        let laid_over = PlatformSettings::default().merged(settings.clone());
        let name_error = self
            .name
            .as_ref()
            .and_then(|name| check_text("name", name, NAME_MAX));
        all_valid(
            name_error
                .into_iter()
                .chain(laid_over.err().unwrap_or_default()),
        )?;
        let changes = PlatformChanges {
            name: self.name,
            slug: self.slug,
            is_active: None,
            settings: settings.into_iter().map(set_or_removed).collect(),
        };
        let updated = domain
            .stores
            .tenancy
            .update_platform(&scope, &changes)
            .await;
        let platform = match (updated, &changes.slug) {
            (Err(StoreError::Conflict(_)), Some(slug)) => return Err(slug_taken(slug)),
            (updated, _) => updated?,
        };
        domain.authenticator.forget(scope.platform_id());
        Ok(platform)
    }
}

impl Command<Tenancy> for SwitchPlatform {
    const NAME: &'static str = "switch_platform";
    type Authority = OperatorScope;
    type Output = Platform;

    async fn run(
        self,
        domain: &Tenancy,
        operator: OperatorScope,
    ) -> Result<Platform, CommandError> {
        let changes = PlatformChanges {
            is_active: Some(self.is_active),
            ..PlatformChanges::default()
        };
        let platform = domain
            .stores
            .tenancy
            .update_platform(&operator.over(self.platform), &changes)
            .await?;
        domain.authenticator.forget(self.platform);
        Ok(platform)
    }
}

impl Command<Tenancy> for DeletePlatform {
    const NAME: &'static str = "delete_platform";
    type Authority = PlatformScope;
    type Output = ();

    async fn run(self, domain: &Tenancy, scope: PlatformScope) -> Result<(), CommandError> {
        domain.stores.tenancy.delete_platform(&scope).await?;
        domain.authenticator.forget(scope.platform_id());
        domain.router.forget(scope.platform_id());
        Ok(())
    }
}

/// A change of a settings key as it was written: null takes the key away.
fn set_or_removed((key, value): (String, RawJson)) -> (String, Option<RawJson>) {
    let value = (!value.is_null()).then_some(value);
    (key, value)
}

fn slug_taken(slug: &PlatformSlug) -> CommandError {
    CommandError::refused(
        Reason::SLUG_TAKEN,
        format!("the slug `{slug}` is taken; choose another"),
    )
}

pub(crate) fn generate(kind: KeyKind) -> Result<PresentedKey, CommandError> {
    PresentedKey::generate(kind).map_err(|error| CommandError::Internal(Box::new(error)))
}
