//! Who pays, without a call: for what drives the billing engine alone.

use crate::auth::Identity;
use crate::billing::{Billing, FundError, Payer};

/// The payer behind an identity, as [`crate::billing::Fund`] finds it.
///
/// # Errors
/// [`FundError::BudgetRequired`], or [`FundError::Uncertain`] when the budget cannot be looked up.
pub async fn payer_of(billing: &Billing, identity: &Identity) -> Result<Payer, FundError> {
    Payer::of(billing, identity).await
}
