//! A budget's entry as a row of a list or an export.

use assistiv_core::billing::{
    Dimension, EntryKind, EntryWithBalance, Holder, LedgerEntry, LedgerPart,
};
use assistiv_core::clock::Timestamp;
use assistiv_core::id::{BudgetId, EndUserId, EntryId, LogId, PlatformId};
use assistiv_core::json::RawObject;
use assistiv_core::money::{DisplayUnits, NanoUsd, Tokens};
use serde::Serialize;

use crate::api::budgets::entry::{Leg, ShownLeg};

/// A row, for the platform.
#[derive(Serialize)]
pub(super) struct BudgetRow<'a> {
    id: EntryId,
    platform_id: PlatformId,
    end_user_id: Option<EndUserId>,
    budget_id: Option<BudgetId>,
    r#type: &'static str,
    source: &'static str,
    ledger: &'static str,
    #[serde(flatten)]
    usd: UsdFigures,
    #[serde(flatten)]
    tokens: TokenFigures,
    #[serde(flatten)]
    display: DisplayFigures,
    reason: Option<&'a str>,
    metadata: &'a RawObject,
    idempotency_key: Option<&'a str>,
    log_id: Option<LogId>,
    reversed_transaction_id: Option<EntryId>,
    created_at: Timestamp,
}

/// What a row says whatever its holder may see.
#[derive(Serialize)]
pub(super) struct Plain<'a> {
    id: EntryId,
    platform_id: PlatformId,
    end_user_id: Option<EndUserId>,
    budget_id: Option<BudgetId>,
    r#type: &'static str,
    source: &'static str,
    ledger: &'static str,
    reason: Option<&'a str>,
    log_id: Option<LogId>,
    reversed_transaction_id: Option<EntryId>,
    created_at: Timestamp,
}

#[derive(Serialize)]
struct UsdFigures {
    amount_usd: NanoUsd,
    max_usd_after: Option<NanoUsd>,
    used_usd_after: NanoUsd,
    remaining_usd_after: Option<NanoUsd>,
}

#[derive(Serialize)]
pub(super) struct TokenFigures {
    amount_tokens: Tokens,
    max_tokens_after: Option<Tokens>,
    used_tokens_after: Tokens,
    remaining_tokens_after: Option<Tokens>,
}

/// All null but in rows of the display ledger.
#[derive(Serialize)]
pub(super) struct DisplayFigures {
    amount_display: Option<DisplayUnits>,
    max_display_after: Option<DisplayUnits>,
    used_display_after: Option<DisplayUnits>,
}

impl<'a> BudgetRow<'a> {
    pub(super) fn of(row: &'a EntryWithBalance, holder: Holder) -> Self {
        let plain = Plain::of(row, holder);
        let usd = leg(row, Dimension::Usd);
        Self {
            id: plain.id,
            platform_id: plain.platform_id,
            end_user_id: plain.end_user_id,
            budget_id: plain.budget_id,
            r#type: plain.r#type,
            source: plain.source,
            ledger: plain.ledger,
            usd: UsdFigures {
                amount_usd: NanoUsd::new(usd.amount),
                max_usd_after: usd.max_after.map(NanoUsd::new),
                used_usd_after: NanoUsd::new(usd.used_after),
                remaining_usd_after: usd.remaining_after.map(NanoUsd::new),
            },
            tokens: TokenFigures::of(row),
            display: DisplayFigures::of(row),
            reason: plain.reason,
            metadata: &row.entry.metadata,
            idempotency_key: row.entry.idempotency_key.as_deref(),
            log_id: plain.log_id,
            reversed_transaction_id: plain.reversed_transaction_id,
            created_at: plain.created_at,
        }
    }
}

impl<'a> Plain<'a> {
    pub(super) fn of(row: &'a EntryWithBalance, holder: Holder) -> Self {
        let entry = &row.entry;
        let shown = |id: EntryId| match row.part {
            LedgerPart::Main => id,
            LedgerPart::Display => LedgerEntry::display_uid(id),
        };
        Self {
            id: shown(entry.uid),
            platform_id: entry.platform_id,
            end_user_id: entry.end_user_id,
            budget_id: match holder {
                Holder::Budget(_, budget) => Some(budget),
                Holder::Wallet => None,
            },
            r#type: entry.kind.budget_type(),
            source: entry.source.as_str(),
            ledger: match row.part {
                LedgerPart::Main => "budget",
                LedgerPart::Display => "display",
            },
            reason: entry.reason.as_deref(),
            // A charge and its log row share their id.
            log_id: (entry.kind == EntryKind::Charge).then_some(entry.uid),
            reversed_transaction_id: entry.reverses().map(shown),
            created_at: entry.created_at,
        }
    }
}

impl TokenFigures {
    pub(super) fn of(row: &EntryWithBalance) -> Self {
        let tokens = leg(row, Dimension::Tokens);
        Self {
            amount_tokens: Tokens::new(tokens.amount),
            max_tokens_after: tokens.max_after.map(Tokens::new),
            used_tokens_after: Tokens::new(tokens.used_after),
            remaining_tokens_after: tokens.remaining_after.map(Tokens::new),
        }
    }
}

impl DisplayFigures {
    pub(super) fn of(row: &EntryWithBalance) -> Self {
        if row.part == LedgerPart::Main {
            return Self {
                amount_display: None,
                max_display_after: None,
                used_display_after: None,
            };
        }
        let display = leg(row, Dimension::Display);
        Self {
            amount_display: Some(DisplayUnits::new(display.amount)),
            max_display_after: display.max_after.map(DisplayUnits::new),
            used_display_after: Some(DisplayUnits::new(display.used_after)),
        }
    }
}

/// One dimension of a row. What the row does not show did not change in it.
///
/// The ledger knows no difference between a limit of zero and none: both are shown as none.
fn leg(row: &EntryWithBalance, dimension: Dimension) -> ShownLeg {
    let is_shown = (row.part == LedgerPart::Display) == (dimension == Dimension::Display);
    let legs = row.entry.budget.filter(|_| is_shown);
    let (change, limit_change) = legs.map_or((0, 0), |legs| {
        (legs.remaining.get(dimension), legs.limit.get(dimension))
    });
    let leg = Leg {
        change,
        limit_change,
        remaining_after: row.remaining_after.get(dimension),
    };
    let max_after = Some(row.limit_after.get(dimension)).filter(|limit| *limit != 0);
    leg.shown(row.entry.kind, max_after)
}
