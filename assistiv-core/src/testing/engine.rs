//! The billing engine alone, without a gateway around it: for what drives its tasks step by step.

use std::sync::Arc;

use super::fixtures::Payers;
use crate::billing::{Amounts, Billing, BillingOptions, Hold, Payer};
use crate::clock::Clock;
use crate::id::{AccountId, NodeId};
use crate::provider::Output;
use crate::store::{StoreError, Stores};

/// Starts an engine as a gateway does.
///
/// # Errors
/// When the store fails.
pub async fn start(
    stores: &Stores,
    clock: Arc<dyn Clock>,
    options: BillingOptions,
) -> Result<Billing, StoreError> {
    Billing::start(stores.ledger.clone(), stores.events.clone(), clock, options).await
}

/// Who pays, with the slices of the registration that is in force now.
pub fn payer(billing: &Billing, payers: &Payers) -> Payer {
    Payer::of_accounts(billing, payers)
}

/// Tells a hold what a decoder has found out; its funds are not asked for more.
pub fn observe(hold: &mut Hold, output: &Output) {
    let _ = hold.observe(output);
}

/// The node that the engine is now.
pub fn node(billing: &Billing) -> NodeId {
    billing.node()
}

/// What is at hand or held by calls, of each account that the engine knows. Never more than the node's slots hold.
pub fn spendable(billing: &Billing) -> Vec<(AccountId, Amounts)> {
    let slices = billing.slices();
    let of = slices
        .iter()
        .map(|slice| (slice.account(), slice.spendable()));
    of.collect()
}

/// Whether the engine has lost a reply about an account and has not made up for it yet.
pub fn is_dirty(billing: &Billing) -> bool {
    billing.slices().iter().any(|slice| slice.is_dirty())
}
