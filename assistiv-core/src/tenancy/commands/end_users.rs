//! Commands on end users.

use super::Tenancy;
use super::platforms::generate;
use crate::auth::{EndUserScope, KeyKind, KeyScopes, PlatformScope, PresentedKey};
use crate::billing::{Budget, BudgetTerms, Limits, NewBudget, Period, ZoneName};
use crate::command::{Command, CommandError, all_valid, check_text};
use crate::error::{FieldError, Reason};
use crate::id::{BudgetId, EndUserId, EntryId, KeyId};
use crate::json::RawObject;
use crate::keys::ApiKey;
use crate::store::{EndUserChanges, EndUserFilter, Listed, NewEndUser, Page, StoreError, Upsert};
use crate::tenancy::{EndUser, EndUserRef, PlatformSettings};

const EXTERNAL_ID_MAX: usize = 255;
const DISPLAY_NAME_MAX: usize = 100;
const METADATA_BYTES_MAX: usize = 16 << 10;
/// Active keys of one end user; on a repeated creation the one unused for longest gives way.
pub(crate) const ACTIVE_KEYS_MAX: u32 = 20;

/// Makes an end user with a key; repeated, gives the existing user a fresh key.
#[derive(Clone, Debug, Default)]
pub struct CreateEndUser {
    /// The platform's own name for the user: 1 to 255 characters.
    pub external_id: String,
    /// For people; 1 to 100 characters.
    pub display_name: Option<String>,
    /// Any object of at most 16 KiB.
    pub metadata: RawObject,
}

/// What [`CreateEndUser`] made or found.
#[derive(Debug)]
pub struct CreatedEndUser {
    /// The user; whether it is new.
    pub end_user: Upsert<EndUser>,
    /// The fresh key.
    pub key: ApiKey,
    /// The key itself: shown this once.
    pub raw_key: PresentedKey,
    /// The user's active budget.
    pub budget: Option<Budget>,
}

/// Lists end users.
#[derive(Clone, Debug, Default)]
pub struct ListEndUsers {
    /// Which ones.
    pub filter: EndUserFilter,
    /// Which page.
    pub page: Page,
}

/// Reads an end user.
#[derive(Clone, Debug)]
pub struct ReadEndUser(pub EndUserRef);

/// Reads the end user that the key belongs to.
#[derive(Clone, Copy, Debug)]
pub struct ReadOwnUser;

/// Changes an end user; fields that are `None` stay.
#[derive(Clone, Debug)]
pub struct UpdateEndUser {
    /// Whom.
    pub end_user: EndUserRef,
    /// For people; the inner `None` clears it.
    pub display_name: Option<Option<String>>,
    /// Replaced whole; the inner `None` clears it.
    pub metadata: Option<Option<RawObject>>,
    /// Whether its keys work.
    pub is_active: Option<bool>,
}

/// Removes an end user with its keys and budget. Ledger entries stay.
#[derive(Clone, Debug)]
pub struct DeleteEndUser(pub EndUserRef);

impl Command<Tenancy> for CreateEndUser {
    const NAME: &'static str = "create_end_user";
    type Authority = PlatformScope;
    type Output = CreatedEndUser;

    async fn run(
        self,
        domain: &Tenancy,
        scope: PlatformScope,
    ) -> Result<CreatedEndUser, CommandError> {
        let errors = [
            check_text("external_id", &self.external_id, EXTERNAL_ID_MAX),
            self.display_name
                .as_ref()
                .and_then(|name| check_text("display_name", name, DISPLAY_NAME_MAX)),
            check_metadata(&self.metadata),
        ];
        all_valid(errors.into_iter().flatten())?;
        let platform = domain.stores.tenancy.platform(&scope).await?;
        let now = domain.clock.now();
        let raw_key = generate(KeyKind::EndUser)?;
        let end_user = EndUser {
            id: EndUserId::new(),
            platform_id: scope.platform_id(),
            external_id: self.external_id,
            display_name: self.display_name,
            metadata: self.metadata,
            is_active: true,
            created_at: now,
            updated_at: now,
        };
        let mut key = ApiKey {
            id: KeyId::new(),
            platform_id: Some(scope.platform_id()),
            end_user_id: Some(end_user.id),
            kind: KeyKind::EndUser,
            digest: raw_key.digest(),
            key_prefix: raw_key.shown_prefix(),
            name: "Default key".to_owned(),
            scopes: KeyScopes::UNRESTRICTED,
            is_active: true,
            last_used_at: None,
            expires_at: None,
            created_at: now,
        };
        let budget = default_budget(&platform.settings);
        let new = NewEndUser {
            end_user,
            key: key.clone(),
            budget,
            active_keys_max: ACTIVE_KEYS_MAX,
        };
        let end_user = match domain.stores.tenancy.create_end_user(&scope, new).await {
            Err(StoreError::Conflict(_)) => {
                let message =
                    "this end user is disabled; enable it with PATCH {\"is_active\": true} first";
                return Err(CommandError::refused(Reason::END_USER_DISABLED, message));
            }
            other => other?,
        };
        let id = match &end_user {
            Upsert::Created(user) => user.id,
            Upsert::Existing(user) => {
                // A key may have been revoked to make room.
                domain.authenticator.forget(scope.platform_id());
                user.id
            }
        };
        key.end_user_id = Some(id);
        domain.billing.engine().forget_budget(id);
        let budget = domain.stores.ledger.budget(&scope, id).await?;
        Ok(CreatedEndUser {
            end_user,
            key,
            raw_key,
            budget,
        })
    }
}

impl Command<Tenancy> for ListEndUsers {
    const NAME: &'static str = "list_end_users";
    type Authority = PlatformScope;
    type Output = Listed<EndUser>;

    async fn run(
        self,
        domain: &Tenancy,
        scope: PlatformScope,
    ) -> Result<Listed<EndUser>, CommandError> {
        Ok(domain
            .stores
            .tenancy
            .end_users(&scope, &self.filter, self.page)
            .await?)
    }
}

impl Command<Tenancy> for ReadEndUser {
    const NAME: &'static str = "read_end_user";
    type Authority = PlatformScope;
    type Output = EndUser;

    async fn run(self, domain: &Tenancy, scope: PlatformScope) -> Result<EndUser, CommandError> {
        domain.find(&scope, &self.0).await
    }
}

impl Command<Tenancy> for ReadOwnUser {
    const NAME: &'static str = "read_own_user";
    type Authority = EndUserScope;
    type Output = EndUser;

    async fn run(self, domain: &Tenancy, scope: EndUserScope) -> Result<EndUser, CommandError> {
        domain
            .find(scope.platform(), &EndUserRef::Id(scope.end_user_id()))
            .await
    }
}

impl Command<Tenancy> for UpdateEndUser {
    const NAME: &'static str = "update_end_user";
    type Authority = PlatformScope;
    type Output = EndUser;

    async fn run(self, domain: &Tenancy, scope: PlatformScope) -> Result<EndUser, CommandError> {
        let name = self.display_name.as_ref().and_then(Option::as_ref);
        let metadata = self.metadata.as_ref().and_then(Option::as_ref);
        let errors = [
            name.and_then(|name| check_text("display_name", name, DISPLAY_NAME_MAX)),
            metadata.and_then(check_metadata),
        ];
        all_valid(errors.into_iter().flatten())?;
        let changes = EndUserChanges {
            display_name: self.display_name,
            metadata: self.metadata.map(Option::unwrap_or_default),
            is_active: self.is_active,
        };
        let end_user = domain
            .stores
            .tenancy
            .update_end_user(&scope, &self.end_user, &changes)
            .await
            .map_err(not_found)?;
        domain.authenticator.forget(scope.platform_id());
        Ok(end_user)
    }
}

impl Command<Tenancy> for DeleteEndUser {
    const NAME: &'static str = "delete_end_user";
    type Authority = PlatformScope;
    type Output = ();

    async fn run(self, domain: &Tenancy, scope: PlatformScope) -> Result<(), CommandError> {
        let end_user = domain.find(&scope, &self.0).await?;
        let account = domain
            .stores
            .ledger
            .budget_account(&scope, end_user.id)
            .await?;
        domain
            .stores
            .tenancy
            .delete_end_user(&scope, end_user.id)
            .await
            .map_err(not_found)?;
        domain.authenticator.forget(scope.platform_id());
        domain.billing.engine().forget_budget(end_user.id);
        if let Some(account) = account {
            domain.billing.engine().refresh(account).await;
        }
        Ok(())
    }
}

impl Tenancy {
    async fn find(
        &self,
        scope: &PlatformScope,
        end_user: &EndUserRef,
    ) -> Result<EndUser, CommandError> {
        self.stores
            .tenancy
            .end_user(scope, end_user)
            .await
            .map_err(not_found)
    }
}

pub(crate) fn not_found(error: StoreError) -> CommandError {
    CommandError::or_not_found(error, Reason::END_USER_NOT_FOUND, "end user")
}

fn check_metadata(metadata: &RawObject) -> Option<FieldError> {
    let bytes = serde_json::to_string(metadata).map_or(usize::MAX, |text| text.len());
    (bytes > METADATA_BYTES_MAX).then(|| FieldError {
        param: "metadata".to_owned(),
        message: format!("must be an object of at most {METADATA_BYTES_MAX} bytes"),
    })
}

/// The monthly budget that a platform's settings give to new end users.
fn default_budget(settings: &PlatformSettings) -> Option<NewBudget> {
    let limits = Limits {
        usd: settings.default_budget_usd(),
        tokens: settings.default_budget_tokens(),
    };
    (limits != Limits::default()).then(|| NewBudget {
        id: BudgetId::new(),
        opening: EntryId::new(),
        terms: BudgetTerms {
            limits,
            period: Period::Monthly,
            timezone: ZoneName::default(),
            auto_replenish: false,
            replenish: Limits::default(),
            low_balance: Limits::default(),
        },
        max_display: settings.default_max_display(),
    })
}
