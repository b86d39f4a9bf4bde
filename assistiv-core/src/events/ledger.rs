//! Events about entries of the ledger.

use serde::Serialize;

use super::{Event, EventType};
use crate::billing::{Amounts, Dimension, Dimensions, EntryKind, EntryWithBalance};
use crate::clock::Timestamp;
use crate::id::{BudgetId, EndUserId, EntryId, PlatformId, WalletId};
use crate::json::RawObject;
use crate::money::{NanoUsd, Tokens};

/// Whom an account belongs to, as events name it.
#[derive(Clone, Copy, Debug)]
pub enum Owner {
    /// A platform's wallet.
    Wallet(WalletId),
    /// An end user's budget, with the dimensions that have a limit.
    Budget(BudgetId, Dimensions),
}

#[derive(Serialize)]
struct OnWallet<'a> {
    platform_id: PlatformId,
    wallet_id: WalletId,
    transaction_id: EntryId,
    r#type: &'a str,
    amount: NanoUsd,
    balance_after: NanoUsd,
    reason: Option<&'a str>,
    metadata: &'a RawObject,
}

#[derive(Serialize)]
struct OnBudget<'a> {
    platform_id: PlatformId,
    end_user_id: Option<EndUserId>,
    budget_id: BudgetId,
    transaction_id: EntryId,
    r#type: &'a str,
    amount_usd: NanoUsd,
    max_usd_after: Option<NanoUsd>,
    used_usd_after: NanoUsd,
    remaining_usd_after: Option<NanoUsd>,
    amount_tokens: Tokens,
    max_tokens_after: Option<Tokens>,
    used_tokens_after: Tokens,
    remaining_tokens_after: Option<Tokens>,
    #[serde(skip_serializing_if = "Option::is_none")]
    low_limits: Option<Vec<&'a str>>,
    reason: Option<&'a str>,
    metadata: &'a RawObject,
}

/// The event of this type that an entry caused, written at `now`. `low` are the thresholds that it crossed, for
/// events that say so.
pub(crate) fn about_entry(
    event_type: EventType,
    owner: Owner,
    row: &EntryWithBalance,
    low: Dimensions,
    now: Timestamp,
) -> Event {
    let entry = &row.entry;
    let (cause, platform_id) = (entry.uid.as_uuid(), entry.platform_id);
    match owner {
        Owner::Wallet(wallet_id) => {
            let kind = entry.kind.wallet_type();
            let change = entry.wallet.map_or(0, |(_, amount)| amount.get());
            let data = OnWallet {
                platform_id,
                wallet_id,
                transaction_id: entry.uid,
                r#type: kind,
                amount: NanoUsd::new(if kind == "adjustment" {
                    change
                } else {
                    change.saturating_abs()
                }),
                balance_after: row.remaining_after.usd,
                reason: entry.reason.as_deref(),
                metadata: &entry.metadata,
            };
            Event::new(cause, event_type, platform_id, now, &data)
        }
        Owner::Budget(budget_id, limited) => {
            let change = entry.budget.map_or(Amounts::ZERO, |legs| match entry.kind {
                EntryKind::Debit | EntryKind::Charge => legs.remaining.negated(),
                _ => legs.remaining,
            });
            let used = |d| (row.limit_after.get(d)).saturating_sub(row.remaining_after.get(d));
            let of = |amounts: &Amounts, d| limited.contains(d).then(|| amounts.get(d));
            let names = |low: Dimensions| {
                let crossed = Dimension::ALL.into_iter().filter(|d| low.contains(*d));
                crossed.map(Dimension::as_str).collect()
            };
            let data = OnBudget {
                platform_id,
                end_user_id: entry.end_user_id,
                budget_id,
                transaction_id: entry.uid,
                r#type: entry.kind.budget_type(),
                amount_usd: change.usd,
                max_usd_after: of(&row.limit_after, Dimension::Usd).map(NanoUsd::new),
                used_usd_after: NanoUsd::new(used(Dimension::Usd)),
                remaining_usd_after: of(&row.remaining_after, Dimension::Usd).map(NanoUsd::new),
                amount_tokens: change.tokens,
                max_tokens_after: of(&row.limit_after, Dimension::Tokens).map(Tokens::new),
                used_tokens_after: Tokens::new(used(Dimension::Tokens)),
                remaining_tokens_after: of(&row.remaining_after, Dimension::Tokens)
                    .map(Tokens::new),
                low_limits: (low != Dimensions::NONE).then(|| names(low)),
                reason: entry.reason.as_deref(),
                metadata: &entry.metadata,
            };
            Event::new(cause, event_type, platform_id, now, &data)
        }
    }
}
