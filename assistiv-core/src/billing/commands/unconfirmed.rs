//! The operator's review of charges whose delivery cannot be proved.

use super::{RequestKey, Wallets, context};
use crate::auth::OperatorScope;
use crate::billing::unconfirmed::{Resolution, Resolved, Unconfirmed, UnconfirmedFilter};
use crate::command::{Command, CommandError};
use crate::id::EntryId;
use crate::json::RawObject;
use crate::store::{Listed, Page};

/// Lists unconfirmed deliveries.
#[derive(Clone, Copy, Debug)]
pub struct ListUnconfirmed {
    /// Which.
    pub filter: UnconfirmedFilter,
    /// Which page of them.
    pub page: Page,
}

/// Resolves an unconfirmed delivery.
#[derive(Clone, Debug)]
pub struct ResolveUnconfirmed {
    /// The charge.
    pub charge: EntryId,
    /// How.
    pub resolution: Resolution,
    /// Why, for people; up to 500 characters.
    pub reason: Option<String>,
    /// Makes the request repeatable.
    pub request: Option<RequestKey>,
}

impl Command<Wallets> for ListUnconfirmed {
    const NAME: &'static str = "list_unconfirmed";
    type Authority = OperatorScope;
    type Output = Listed<Unconfirmed>;

    async fn run(
        self,
        domain: &Wallets,
        scope: OperatorScope,
    ) -> Result<Listed<Unconfirmed>, CommandError> {
        let ledger = &domain.stores.ledger;
        Ok(ledger.unconfirmed(&scope, &self.filter, self.page).await?)
    }
}

impl Command<Wallets> for ResolveUnconfirmed {
    const NAME: &'static str = "resolve_unconfirmed";
    type Authority = OperatorScope;
    type Output = Resolved;

    async fn run(self, domain: &Wallets, scope: OperatorScope) -> Result<Resolved, CommandError> {
        let mut context = context(self.reason, RawObject::new());
        context.actor = Some(scope.actor());
        let request = self.request.map(|request| request.about(self.charge));
        let idempotency = request.map(|request| {
            let (hashes, uid) = request.hashed(None, None, Self::NAME);
            context.uid = uid;
            context.idempotency_key = Some(request.key);
            hashes
        });
        let resolved = domain
            .stores
            .ledger
            .resolve_unconfirmed(&scope, self.charge, self.resolution, &context, idempotency)
            .await??;
        for account in &resolved.accounts {
            domain.billing.engine().refresh(*account).await;
        }
        Ok(resolved)
    }
}
