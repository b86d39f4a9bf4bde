//! Commands on versions of prices.

use std::sync::Arc;

use super::{AddedPrice, PriceBook, PriceFilter, PriceVersion};
use crate::auth::OperatorScope;
use crate::billing::{Billing, LongContext, Price, Rates, RequestKey};
use crate::clock::{Clock, Timestamp};
use crate::command::{Command, CommandError};
use crate::error::FieldError;
use crate::id::PriceId;
use crate::money::NanoUsd;
use crate::routing::{ProviderSlug, Router};
use crate::store::{Listed, Page, Stores};

/// The domain of prices.
pub struct PriceKeeper {
    pub(crate) stores: Stores,
    pub(crate) router: Router,
    pub(crate) billing: Billing,
    pub(crate) clock: Arc<dyn Clock>,
}

/// Lists versions.
#[derive(Clone, Debug)]
pub struct ListPrices {
    /// Which.
    pub filter: PriceFilter,
    /// Which page of them.
    pub page: Page,
}

/// Adds a version of a price.
#[derive(Clone, Debug)]
pub struct AddPrice {
    /// Who is paid; a provider of the catalogue.
    pub provider: ProviderSlug,
    /// What the provider calls the model: 1 to 255 characters. The catalogue need not have a route to it yet.
    pub provider_model_id: String,
    /// The tier: 1 to 64 characters.
    pub service_tier: String,
    /// From when on it is in force, which may lie in the past; `None` for now.
    pub effective_from: Option<Timestamp>,
    /// A fixed amount per call.
    pub per_call: NanoUsd,
    /// The rates. Input and output are needed.
    pub rates: Rates,
    /// Other rates for long prompts.
    pub long_context: Option<LongContext>,
    /// Where it comes from, for people; up to 500 characters.
    pub note: Option<String>,
    /// Makes the request repeatable.
    pub request: Option<RequestKey>,
}

impl Command<PriceKeeper> for ListPrices {
    const NAME: &'static str = "list_prices";
    type Authority = OperatorScope;
    type Output = Listed<PriceVersion>;

    async fn run(
        self,
        domain: &PriceKeeper,
        _scope: OperatorScope,
    ) -> Result<Listed<PriceVersion>, CommandError> {
        // What another node has added a moment ago is listed, too.
        domain.router.read_prices(&*domain.stores.prices).await?;
        Ok(PriceBook::of(&domain.router.catalogue()).list(&self.filter, self.page))
    }
}

impl Command<PriceKeeper> for AddPrice {
    const NAME: &'static str = "add_price";
    type Authority = OperatorScope;
    type Output = AddedPrice;

    async fn run(
        self,
        domain: &PriceKeeper,
        scope: OperatorScope,
    ) -> Result<AddedPrice, CommandError> {
        if domain.router.catalogue().provider(&self.provider).is_none() {
            return Err(CommandError::Fields(vec![FieldError {
                param: "provider".to_owned(),
                message: format!("there is no provider `{}`", self.provider),
            }]));
        }
        let mut id = PriceId::new();
        let idempotency = self.request.map(|request| {
            let (hashes, uid) = request.hashed(None, None, Self::NAME);
            id = PriceId::from_uuid(uid.as_uuid());
            hashes
        });
        let now = domain.clock.now();
        let version = PriceVersion {
            provider: self.provider,
            provider_model_id: self.provider_model_id.into(),
            price: Arc::new(Price {
                id,
                service_tier: self.service_tier,
                effective_from: self.effective_from.unwrap_or(now),
                per_call: self.per_call,
                rates: self.rates,
                long_context: self.long_context,
            }),
            note: self.note,
            created_at: now,
        };
        let store = &domain.stores.prices;
        let added = store.add_price(&scope, &version, idempotency).await??;
        // This node charges by it before it is acknowledged, the others within a second.
        domain.router.read_prices(&**store).await?;
        Ok(added)
    }
}

impl std::fmt::Debug for PriceKeeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PriceKeeper").finish_non_exhaustive()
    }
}
