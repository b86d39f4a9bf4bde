//! Commands on wallets and budgets.

mod budgets;
mod display;
mod entries;
mod own;
mod refunds;
mod unconfirmed;
mod wallets;

pub use self::budgets::{
    BudgetOf, CreateBudget, DebitBudget, ReadBudget, RemoveBudget, TopUpBudget, UpdateBudget,
};
pub use self::display::{
    AdjustDisplay, EndUserLedgers, ReadEndUserWallet, RemoveDisplay, SetDisplay, TopUpDisplay,
};
pub use self::entries::{
    EntriesPage, Holder, HolderRef, ListEntries, OpenStatement, OwnEntries, OwnEntriesPage,
    ReadStatement,
};
pub use self::own::OwnBudget;
pub use self::refunds::RefundDebit;
pub use self::unconfirmed::{ListUnconfirmed, ResolveUnconfirmed};
pub use self::wallets::{
    AdjustWallet, ReadWallet, TopUpBy, TopUpWallet, UpdateWallet, WalletKeeper, WalletWithEntries,
};

use sha2::{Digest, Sha256};

use super::act::{ActContext, ActOutcome, ActRefusal, Idempotency, LedgerAct};
use super::engine::Billing;
use crate::auth::PlatformScope;
use crate::command::CommandError;
use crate::id::{EndUserId, EntryId, PlatformId};
use crate::json::RawObject;
use crate::routing::Router;
use crate::store::{StoreError, Stores};
use crate::tenancy::EndUserRef;

/// The domain of wallets and budgets.
pub struct Wallets {
    pub(crate) stores: Stores,
    pub(crate) billing: Billing,
    pub(crate) router: Router,
    pub(crate) topup_by: TopUpBy,
}

/// The key that makes a request repeatable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestKey {
    /// The `Idempotency-Key`: 1 to 255 printable ASCII characters.
    pub key: String,
    /// SHA-256 of the canonical body.
    pub request_hash: [u8; 32],
}

/// What an act did, and whether it was done by an earlier request with the same key.
#[derive(Clone, Debug, PartialEq)]
pub struct Performed {
    /// What it did.
    pub outcome: ActOutcome,
    /// Whether this is a repeat.
    pub replayed: bool,
}

// === impl RequestKey ===

impl RequestKey {
    /// A request that its path makes a request about this entry: the same key and body about another entry are
    /// another request.
    #[must_use]
    pub fn about(self, entry: EntryId) -> Self {
        let mut hash = Sha256::new();
        hash.update(self.request_hash);
        hash.update(entry.as_uuid().as_bytes());
        Self {
            request_hash: hash.finalize().into(),
            ..self
        }
    }

    /// What is stored of the request, and the id of its entry: a second effect is impossible even if the stored
    /// answer were lost.
    pub(crate) fn hashed(
        &self,
        platform: Option<PlatformId>,
        end_user: Option<EndUserId>,
        operation: &str,
    ) -> (Idempotency, EntryId) {
        let platform = platform.map_or(uuid::Uuid::nil(), PlatformId::as_uuid);
        let mut hash = Sha256::new();
        hash.update(platform.as_bytes());
        hash.update(end_user.map_or([0; 16], |id| *id.as_uuid().as_bytes()));
        hash.update(operation.as_bytes());
        hash.update([0]);
        hash.update(self.key.as_bytes());
        let hashes = Idempotency {
            scope_hash: hash.finalize().into(),
            request_hash: self.request_hash,
        };
        let uid = uuid::Uuid::new_v5(&platform, &hashes.scope_hash);
        (hashes, EntryId::from_uuid(uid))
    }
}

// === impl Wallets ===

impl Wallets {
    async fn end_user(
        &self,
        scope: &PlatformScope,
        end_user: &EndUserRef,
    ) -> Result<EndUserId, CommandError> {
        let found = self.stores.tenancy.end_user(scope, end_user).await;
        Ok(found
            .map_err(crate::tenancy::commands::end_users::not_found)?
            .id)
    }

    /// Performs an act, and makes this node see its effect before it is acknowledged.
    async fn perform(
        &self,
        scope: &PlatformScope,
        operation: &str,
        act: LedgerAct,
        mut context: ActContext,
        request: Option<RequestKey>,
    ) -> Result<Performed, CommandError> {
        let idempotency = request.map(|request| {
            let platform = Some(scope.platform_id());
            let (hashes, uid) = request.hashed(platform, act.end_user(), operation);
            context.uid = uid;
            context.idempotency_key = Some(request.key);
            hashes
        });
        context.actor = Some(scope.actor());
        let applied = self
            .stores
            .ledger
            .apply(scope, &act, &context, idempotency)
            .await;
        let applied = applied.map_err(|error| match (error, act.end_user()) {
            (StoreError::NotFound, Some(_)) => {
                crate::tenancy::commands::end_users::not_found(StoreError::NotFound)
            }
            (error, _) => error.into(),
        })?;
        let applied = applied?;
        let engine = self.billing.engine();
        if let Some(end_user) = act.end_user() {
            engine.forget_budget(end_user);
        }
        for account in applied.account.into_iter().chain(applied.wallet_account) {
            engine.refresh(account).await;
        }
        Ok(Performed {
            outcome: applied.outcome,
            replayed: applied.replayed,
        })
    }
}

/// The context of a request; its key is added when it is performed.
fn context(reason: Option<String>, metadata: RawObject) -> ActContext {
    ActContext {
        uid: EntryId::new(),
        idempotency_key: None,
        actor: None,
        reason,
        metadata,
    }
}

fn plain() -> ActContext {
    context(None, RawObject::new())
}

fn no_budget() -> CommandError {
    ActRefusal::BudgetNotFound.into()
}

impl std::fmt::Debug for Wallets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wallets").finish_non_exhaustive()
    }
}
