//! Acts on wallets and budgets in the audit log.

use serde_json::{Value, json};

use super::AuditEntry;
use super::shown::OfBudget;
use crate::auth::PlatformScope;
use crate::billing::{ActOutcome, BudgetRecord, LedgerAct, Wallet};
use crate::clock::Timestamp;

/// What stood before an act.
#[derive(Debug, Default)]
pub(crate) struct Before {
    /// The budget, if there was one.
    pub(crate) budget: Option<BudgetRecord>,
    /// The wallet.
    pub(crate) wallet: Option<Wallet>,
}

// === impl Before ===

impl Before {
    /// What is written down of an act that was performed.
    pub(crate) fn entry(
        &self,
        scope: &PlatformScope,
        act: &LedgerAct,
        outcome: &ActOutcome,
        now: Timestamp,
    ) -> Option<AuditEntry> {
        let verb = act.verb();
        let mut entry = match (&outcome.budget, &outcome.wallet) {
            (Some(after), _) => {
                let before = self.budget.as_ref().map(OfBudget::from);
                AuditEntry::about(scope, verb, before.as_ref(), &OfBudget::from(after), now)
            }
            (None, Some(after)) => AuditEntry::about(scope, verb, self.wallet.as_ref(), after, now),
            (None, None) => return None,
        };
        if act.moves() {
            let sum = outcome
                .entries
                .iter()
                .find(|entry| !entry.amount_usd.is_zero());
            if let Some(moved) = sum {
                entry = entry.with(
                    "amount_usd",
                    Value::Null,
                    json!(moved.amount_usd.to_string()),
                );
            }
            let tokens = outcome
                .entries
                .iter()
                .map(|entry| entry.amount_tokens.get());
            let tokens: i64 = tokens.sum();
            if tokens != 0 {
                entry = entry.with("amount_tokens", Value::Null, json!(tokens));
            }
        }
        // What changes nothing is no change.
        (!entry.changes.is_empty()).then_some(entry)
    }
}
