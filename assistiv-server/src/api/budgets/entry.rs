//! Ledger entries of a budget on the wire (`docs/api-design.md`).

use assistiv_core::billing::{Budget, EntryKind, PostedEntry};
use assistiv_core::clock::Timestamp;
use assistiv_core::id::EntryId;
use assistiv_core::json::RawObject;
use assistiv_core::money::{NanoUsd, Tokens};
use serde::Serialize;

/// An entry with the figures that it left.
#[derive(Serialize)]
pub(super) struct EntryView<'a> {
    id: EntryId,
    r#type: &'static str,
    ledger: &'static str,
    source: &'static str,
    amount_usd: NanoUsd,
    max_usd_after: Option<NanoUsd>,
    used_usd_after: NanoUsd,
    remaining_usd_after: Option<NanoUsd>,
    amount_tokens: Tokens,
    max_tokens_after: Option<Tokens>,
    used_tokens_after: Tokens,
    remaining_tokens_after: Option<Tokens>,
    reason: Option<&'a str>,
    metadata: &'a RawObject,
    idempotency_key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reversed_transaction_id: Option<EntryId>,
    created_at: Timestamp,
}

/// One dimension of an entry, in its base unit.
#[derive(Clone, Copy)]
pub(in crate::api) struct Leg {
    /// Signed change of what remains.
    pub(in crate::api) change: i64,
    /// Signed change of the limit.
    pub(in crate::api) limit_change: i64,
    /// What remained right after it; counted from zero where there is no limit.
    pub(in crate::api) remaining_after: i64,
}

/// One dimension of an entry as it is shown.
pub(in crate::api) struct ShownLeg {
    pub(in crate::api) amount: i64,
    pub(in crate::api) max_after: Option<i64>,
    pub(in crate::api) used_after: i64,
    pub(in crate::api) remaining_after: Option<i64>,
}

impl<'a> EntryView<'a> {
    /// Shows the entries of one act in their order, given the budget that they left.
    pub(super) fn all(entries: &'a [PostedEntry], budget: &Budget) -> Vec<Self> {
        // The limits are known after the last entry; going backwards, each entry tells those before it.
        let limits = &budget.terms.limits;
        let mut max_usd = limits.usd.map(NanoUsd::get);
        let mut max_tokens = limits.tokens.map(Tokens::get);
        let mut views: Vec<_> = entries
            .iter()
            .rev()
            .map(|entry| {
                let usd = Leg {
                    change: entry.amount_usd.get(),
                    limit_change: entry.limit_usd.get(),
                    remaining_after: entry.remaining_usd_after.get(),
                };
                let tokens = Leg {
                    change: entry.amount_tokens.get(),
                    limit_change: entry.limit_tokens.get(),
                    remaining_after: entry.remaining_tokens_after.get(),
                };
                let view = Self::of(
                    entry,
                    usd.shown(entry.kind, max_usd),
                    tokens.shown(entry.kind, max_tokens),
                );
                max_usd = usd.limit_before(max_usd);
                max_tokens = tokens.limit_before(max_tokens);
                view
            })
            .collect();
        views.reverse();
        views
    }

    fn of(entry: &'a PostedEntry, usd: ShownLeg, tokens: ShownLeg) -> Self {
        Self {
            id: entry.id,
            r#type: entry.kind.budget_type(),
            ledger: "budget",
            source: if entry.kind == EntryKind::PeriodReset {
                "system"
            } else {
                "manual"
            },
            amount_usd: NanoUsd::new(usd.amount),
            max_usd_after: usd.max_after.map(NanoUsd::new),
            used_usd_after: NanoUsd::new(usd.used_after),
            remaining_usd_after: usd.remaining_after.map(NanoUsd::new),
            amount_tokens: Tokens::new(tokens.amount),
            max_tokens_after: tokens.max_after.map(Tokens::new),
            used_tokens_after: Tokens::new(tokens.used_after),
            remaining_tokens_after: tokens.remaining_after.map(Tokens::new),
            reason: entry.reason.as_deref(),
            metadata: &entry.metadata,
            idempotency_key: entry.idempotency_key.as_deref(),
            reversed_transaction_id: entry.refers_to,
            created_at: entry.created_at,
        }
    }
}

impl Leg {
    pub(in crate::api) fn shown(self, kind: EntryKind, max_after: Option<i64>) -> ShownLeg {
        let amount = match kind {
            // A debit is shown as the magnitude of what was used.
            EntryKind::Debit | EntryKind::Charge | EntryKind::DisplayDebit => {
                self.change.saturating_neg()
            }
            // A limit that went away changed by no amount; `metadata.changes` names it.
            EntryKind::Adjustment if max_after.is_none() && self.limit_change != 0 => 0,
            _ => self.change,
        };
        ShownLeg {
            amount,
            max_after,
            used_after: max_after.unwrap_or(0).saturating_sub(self.remaining_after),
            remaining_after: max_after.map(|_| self.remaining_after),
        }
    }

    /// The limit before the entry, given the one after it. A limit that appears or goes away changes from or to
    /// zero, and a limit of zero before a change looks like none.
    fn limit_before(self, after: Option<i64>) -> Option<i64> {
        if self.limit_change == 0 {
            return after;
        }
        Some(after.unwrap_or(0).saturating_sub(self.limit_change)).filter(|before| *before != 0)
    }
}
