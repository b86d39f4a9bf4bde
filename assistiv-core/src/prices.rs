//! Versions of prices: those that come with the catalogue, those that operators add, and what becomes of charges
//! when a price is corrected.
//!
//! A version is never changed or deleted: a correction is a new version, which may be in force from a time in the
//! past. Charges stay as they are until somebody has them re-rated ([`Rerate`]).

mod book;
mod commands;
mod rerate;

pub use book::{PriceBook, PriceFilter};
pub use commands::{AddPrice, ListPrices, PriceKeeper};
pub use rerate::Rerate;

use std::sync::Arc;

use async_trait::async_trait;

use crate::auth::{OperatorScope, SweeperScope};
use crate::billing::{ActRefusal, Idempotency, Price};
use crate::clock::Timestamp;
use crate::routing::ProviderSlug;
use crate::store::StoreError;

/// A version of a price, and what it is the price of.
#[derive(Clone, Debug, PartialEq)]
pub struct PriceVersion {
    /// Who is paid.
    pub provider: ProviderSlug,
    /// What the provider calls the model.
    pub provider_model_id: Arc<str>,
    /// The price.
    pub price: Arc<Price>,
    /// Where it comes from, for people.
    pub note: Option<String>,
    /// When it was added. Of versions that are in force from the same time the one that was added last counts.
    pub created_at: Timestamp,
}

/// The result of [`PriceStore::add_price`].
#[derive(Clone, Debug, PartialEq)]
pub struct AddedPrice {
    /// The version.
    pub version: PriceVersion,
    /// Whether an earlier request with the same key added it.
    pub replayed: bool,
}

/// Versions of prices that operators have added.
#[async_trait]
pub trait PriceStore: Send + Sync + 'static {
    /// All of them, those that were added first in front.
    async fn prices(&self, scope: &SweeperScope) -> Result<Vec<PriceVersion>, StoreError>;

    /// Adds a version, and tells other nodes. `created_at` is the store's own time.
    ///
    /// Repeats are handled as in [`crate::billing::LedgerStore::apply`].
    ///
    /// # Errors
    /// The inner error: [`ActRefusal::KeyReused`].
    async fn add_price(
        &self,
        scope: &OperatorScope,
        version: &PriceVersion,
        idempotency: Option<Idempotency>,
    ) -> Result<Result<AddedPrice, ActRefusal>, StoreError>;
}
