//! Refunds of debits and charges.

use super::{BudgetOf, Performed, RequestKey, Wallets, context};
use crate::auth::PlatformScope;
use crate::billing::account::Limits;
use crate::billing::act::{LedgerAct, Refund};
use crate::command::{Command, CommandError};
use crate::id::EntryId;
use crate::json::RawObject;

/// Gives back a debit by hand, or the charge of a call, whole or in part.
#[derive(Clone, Debug)]
pub struct RefundDebit {
    /// The debit or charge.
    pub debit: EntryId,
    /// How much of it; `None` for all that is left.
    pub amounts: Option<Limits>,
    /// Whether the platform's wallet gets back its share of what the call cost.
    pub to_wallet: bool,
    /// Why, for people; up to 500 characters.
    pub reason: Option<String>,
    /// Makes the request repeatable.
    pub request: Option<RequestKey>,
}

impl Command<Wallets> for BudgetOf<RefundDebit> {
    const NAME: &'static str = "refund_debit";
    type Authority = PlatformScope;
    type Output = Performed;

    async fn run(self, domain: &Wallets, scope: PlatformScope) -> Result<Performed, CommandError> {
        let RefundDebit {
            debit,
            amounts,
            to_wallet,
            reason,
            request,
        } = self.command;
        let end_user = domain.end_user(&scope, &self.end_user).await?;
        let act = LedgerAct::RefundDebit {
            end_user,
            debit,
            refund: Refund::Of { amounts, to_wallet },
        };
        let context = context(reason, RawObject::new());
        let request = request.map(|request| request.about(debit));
        domain
            .perform(&scope, Self::NAME, act, context, request)
            .await
    }
}
