//! What lists of entries are filtered by.

use assistiv_core::billing::{EntryFilter, EntryKind, EntrySource, LedgerPart};

use crate::api::query::Query;

/// Types of a wallet's entries that no entry has: they belong to what this gateway does not charge for.
const WALLET_TYPES: [&str; 2] = ["mcp_usage", "agent_usage"];
/// Causes that no entry has.
const SOURCES: [&str; 4] = ["mcp", "agent", "capability", "skill"];

/// The filter of a wallet's entries.
pub(super) fn of_wallet(query: &mut Query) -> EntryFilter {
    EntryFilter {
        kinds: query.read("type", |text| {
            kinds(text, EntryKind::wallet_type, &WALLET_TYPES)
        }),
        end_user: query.parsed("end_user_id"),
        from: query.parsed("from"),
        to: query.parsed("to"),
        ..EntryFilter::default()
    }
}

/// The filter of a budget's entries.
pub(super) fn of_budget(query: &mut Query) -> EntryFilter {
    EntryFilter {
        kinds: query.read("type", |text| kinds(text, EntryKind::budget_type, &[])),
        sources: query.read("source", sources),
        part: query.read("ledger", |text| match text {
            "budget" => Ok(LedgerPart::Main),
            "display" => Ok(LedgerPart::Display),
            _ => Err("must be `budget` or `display`".to_owned()),
        }),
        idempotency_key: query.text("idempotency_key"),
        from: query.parsed("from"),
        to: query.parsed("to"),
        ..EntryFilter::default()
    }
}

/// The kinds that are shown as this type.
fn kinds(
    text: &str,
    shown: impl Fn(EntryKind) -> &'static str,
    without_entries: &[&str],
) -> Result<Vec<EntryKind>, String> {
    let kinds: Vec<_> = EntryKind::ALL
        .into_iter()
        .filter(|kind| shown(*kind) == text)
        .collect();
    if kinds.is_empty() && !without_entries.contains(&text) {
        let mut names: Vec<_> = EntryKind::ALL.into_iter().map(shown).collect();
        names.extend(without_entries);
        names.sort_unstable();
        names.dedup();
        return Err(format!("must be one of `{}`", names.join("`, `")));
    }
    Ok(kinds)
}

fn sources(text: &str) -> Result<Vec<EntrySource>, String> {
    let all = [
        EntrySource::Manual,
        EntrySource::Inference,
        EntrySource::System,
    ];
    match all.into_iter().find(|source| source.as_str() == text) {
        Some(source) => Ok(vec![source]),
        None if SOURCES.contains(&text) => Ok(Vec::new()),
        None => Err(
            "must be `manual`, `inference`, `mcp`, `agent`, `capability`, `skill` or `system`"
                .to_owned(),
        ),
    }
}
