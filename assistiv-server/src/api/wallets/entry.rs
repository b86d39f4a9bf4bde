//! Ledger entries of a wallet on the wire (`docs/api-design.md`).

use assistiv_core::billing::{EntryKind, EntryWithBalance, PostedEntry};
use assistiv_core::clock::Timestamp;
use assistiv_core::id::{EndUserId, EntryId, LogId};
use assistiv_core::json::RawObject;
use assistiv_core::money::NanoUsd;
use serde::Serialize;

/// An entry of a wallet on the wire.
#[derive(Serialize)]
pub(in crate::api) struct EntryView<'a> {
    id: EntryId,
    r#type: &'static str,
    /// A magnitude, but for `adjustment`, which is signed.
    amount: NanoUsd,
    balance_after: NanoUsd,
    description: Option<String>,
    created_at: Timestamp,
    log_id: Option<LogId>,
    end_user_id: Option<EndUserId>,
    reversed_transaction_id: Option<EntryId>,
    metadata: &'a RawObject,
}

impl<'a> EntryView<'a> {
    pub(in crate::api) fn listed(row: &'a EntryWithBalance, model: Option<&str>) -> Self {
        let entry = &row.entry;
        let change = entry.wallet.map(|(_, amount)| amount).unwrap_or_default();
        let description = match &entry.metered {
            Some(metered) if entry.kind == EntryKind::Charge => {
                let tokens = metered.input_tokens.saturating_add(metered.output_tokens);
                let model = model.map(|slug| format!(" ({slug})")).unwrap_or_default();
                Some(format!("Inference: {tokens} tokens{model}"))
            }
            _ => entry.reason.clone(),
        };
        Self {
            id: entry.uid,
            r#type: entry.kind.wallet_type(),
            amount: shown(entry.kind, change),
            balance_after: row.remaining_after.usd,
            description,
            created_at: entry.created_at,
            // A charge and its log row share their id.
            log_id: (entry.kind == EntryKind::Charge).then_some(entry.uid),
            end_user_id: entry.end_user_id,
            reversed_transaction_id: entry.reverses(),
            metadata: &entry.metadata,
        }
    }

    pub(in crate::api) fn posted(entry: &'a PostedEntry) -> Self {
        Self {
            id: entry.id,
            r#type: entry.kind.wallet_type(),
            amount: shown(entry.kind, entry.amount_usd),
            balance_after: entry.remaining_usd_after,
            description: entry.reason.clone(),
            created_at: entry.created_at,
            log_id: None,
            end_user_id: None,
            reversed_transaction_id: None,
            metadata: &entry.metadata,
        }
    }
}

fn shown(entry: EntryKind, change: NanoUsd) -> NanoUsd {
    if entry.wallet_type() != "adjustment" && change < NanoUsd::ZERO {
        change.negated()
    } else {
        change
    }
}

#[cfg(test)]
mod tests {
    use assistiv_core::billing::{
        Amounts, ChargeFlags, EntrySource, LedgerEntry, LedgerPart, Metered,
    };
    use assistiv_core::id::{AccountId, ModelId, PlatformId, PriceId};
    use assistiv_core::money::Markup;

    use super::*;

    fn entry(kind: EntryKind, change: i64) -> EntryWithBalance {
        let metered = Metered {
            model_id: ModelId::new(),
            price_id: PriceId::new(),
            input_tokens: 100,
            cached_tokens: 40,
            output_tokens: 65,
            markup: Markup::NONE,
        };
        let entry = LedgerEntry {
            uid: EntryId::new(),
            kind,
            source: EntrySource::Inference,
            platform_id: PlatformId::new(),
            end_user_id: None,
            wallet: Some((AccountId(1), NanoUsd::new(change))),
            budget: None,
            refers_to: None,
            flags: ChargeFlags::default(),
            posted_by: None,
            metered: (kind == EntryKind::Charge).then_some(metered),
            idempotency_key: None,
            actor: None,
            reason: Some("why".to_owned()),
            metadata: RawObject::new(),
            created_at: Timestamp::from_micros(0),
        };
        let remaining_after = Amounts::usd(NanoUsd::new(187_412_955_000));
        EntryWithBalance {
            entry,
            part: LedgerPart::Main,
            remaining_after,
            limit_after: Amounts::ZERO,
        }
    }

    fn json(row: &EntryWithBalance, model: Option<&str>) -> String {
        serde_json::to_string(&EntryView::listed(row, model)).unwrap()
    }

    #[test]
    fn a_charge_is_a_magnitude_that_names_tokens_and_model() {
        let row = entry(EntryKind::Charge, -45_000);
        let text = json(&row, Some("gpt-4o-mini"));
        let shown = "\"type\":\"llm_usage\",\"amount\":0.000045,\"balance_after\":187.412955,\
            \"description\":\"Inference: 165 tokens (gpt-4o-mini)\"";
        assert!(text.contains(shown), "{text}");
        assert!(
            text.contains(&format!("\"log_id\":\"{}\"", row.entry.uid)),
            "{text}"
        );
        assert!(json(&row, None).contains("\"Inference: 165 tokens\""));
    }

    #[test]
    fn adjustments_alone_are_signed() {
        for (kind, change, shown) in [
            (
                EntryKind::Correction,
                -1_000,
                "\"type\":\"adjustment\",\"amount\":-0.000001",
            ),
            (
                EntryKind::Refund,
                1_000,
                "\"type\":\"refund\",\"amount\":0.000001",
            ),
            (
                EntryKind::TopUp,
                1_000,
                "\"type\":\"top_up\",\"amount\":0.000001",
            ),
        ] {
            let text = json(&entry(kind, change), None);
            assert!(
                text.contains(shown) && text.contains("\"description\":\"why\""),
                "{text}"
            );
        }
    }
}
