//! The reset of a budget at the end of its period.

use super::super::{ActContext, Decision};
use crate::billing::account::BudgetRecord;
use crate::billing::amounts::Amounts;
use crate::billing::display::DisplayReset;
use crate::billing::ledger::{EntryKind, EntrySource};
use crate::clock::Timestamp;
use crate::id::EntryId;
use crate::json::RawObject;
use crate::money::DisplayUnits;

/// The reset of a budget whose period is over: a signed change, never "set to zero".
///
/// `used_since` is what ledger entries since the current boundary used; `display` says whether the display ledger is
/// reset too. `None` when no reset is due.
pub fn decide_reset(
    record: &BudgetRecord,
    remaining: Amounts,
    used_since: impl FnOnce(Timestamp) -> Amounts,
    display: DisplayReset,
    now: Timestamp,
) -> Option<Decision> {
    record.period_end.filter(|end| *end <= now)?;
    let bounds = record.terms.period.bounds(now, &record.terms.timezone);
    let mut next = record.clone();
    (next.period_start, next.period_end, next.updated_at) = (bounds.start, bounds.end, now);
    let old_limit = record.limits();
    if record.terms.auto_replenish {
        let limits = &mut next.terms.limits;
        limits.usd = limits
            .usd
            .map(|old| record.terms.replenish.usd.unwrap_or(old));
        limits.tokens = limits
            .tokens
            .map(|old| record.terms.replenish.tokens.unwrap_or(old));
    }
    let limit_change = next.limits().checked_sub(old_limit).ok()?;
    let used_since = used_since(bounds.start);
    let mut restored = old_limit
        .checked_sub(remaining)
        .ok()?
        .checked_sub(used_since)
        .ok()?;
    if display == DisplayReset::Never {
        restored.display = DisplayUnits::ZERO;
    }
    let change = restored.checked_add(limit_change).ok()?;
    let context = ActContext {
        uid: reset_uid(record, bounds.start),
        idempotency_key: None,
        actor: None,
        reason: None,
        metadata: RawObject::new(),
    };
    let mut entry =
        context.budget_entry(0, EntryKind::PeriodReset, record, change, limit_change, now);
    entry.source = EntrySource::System;
    Some(Decision::on_budget(next, change, vec![entry]))
}

/// One reset for each budget and boundary, whoever makes it.
fn reset_uid(record: &BudgetRecord, boundary: Timestamp) -> EntryId {
    EntryId::from_uuid(uuid::Uuid::new_v5(
        &record.id.as_uuid(),
        &boundary.as_micros().to_be_bytes(),
    ))
}
