//! The rules of acts on the display ledger.

use super::super::{ActContext, ActRefusal, Decision};
use crate::billing::account::BudgetRecord;
use crate::billing::amounts::Amounts;
use crate::billing::ledger::{EntryKind, LedgerEntry};
use crate::clock::Timestamp;
use crate::json::RawJson;
use crate::money::DisplayUnits;

type Decided = Result<Decision, ActRefusal>;

/// Switches the ledger on, or sets its limit and what is used of it.
pub(super) fn set_display(
    old: &BudgetRecord,
    max: DisplayUnits,
    used: Option<DisplayUnits>,
    remaining: Amounts,
    context: &ActContext,
    now: Timestamp,
) -> Decided {
    let mut record = old.clone();
    record.max_display = Some(max);
    // A ledger that was off begins with nothing used, whatever settled on it meanwhile.
    let kept = match old.max_display {
        Some(_) => used_of(old, remaining)?,
        None => DisplayUnits::ZERO,
    };
    let left = max
        .checked_sub(used.unwrap_or(kept))
        .ok_or(ActRefusal::OutOfRange)?;
    let change = difference(left, remaining.display)?;
    let limit = difference(max, old.max_display.unwrap_or_default())?;
    let mut entry = display_entry(EntryKind::Display, old, change, limit, context, now);
    let changes: &[&str] = match used {
        Some(_) => &["max_display", "used_display"],
        None => &["max_display"],
    };
    name_changes(&mut entry, changes);
    record.updated_at = now;
    Ok(Decision::on_budget(record, only(change), vec![entry]))
}

/// Raises the limit.
pub(super) fn top_up_display(
    old: &BudgetRecord,
    amount: DisplayUnits,
    context: &ActContext,
    now: Timestamp,
) -> Decided {
    let mut record = old.clone();
    let max = old.max_display.ok_or(ActRefusal::DisplayDisabled)?;
    let raised = max
        .checked_add(amount)
        .filter(|max| *max <= DisplayUnits::MAX_INPUT);
    record.max_display = Some(raised.ok_or(ActRefusal::OutOfRange)?);
    record.updated_at = now;
    let kind = EntryKind::DisplayTopUp;
    let entry = display_entry(kind, old, amount, amount, context, now);
    Ok(Decision::on_budget(record, only(amount), vec![entry]))
}

/// Counts units as used. What is given back is never more than what was used.
pub(super) fn adjust_display(
    old: &BudgetRecord,
    amount: DisplayUnits,
    remaining: Amounts,
    context: &ActContext,
    now: Timestamp,
) -> Decided {
    old.max_display.ok_or(ActRefusal::DisplayDisabled)?;
    let used = used_of(old, remaining)?;
    let more = amount.max(used.negated().min(DisplayUnits::ZERO));
    used.checked_add(more).ok_or(ActRefusal::OutOfRange)?;
    let change = more.negated();
    let none = DisplayUnits::ZERO;
    let kind = if amount < DisplayUnits::ZERO {
        EntryKind::DisplayGiveBack
    } else {
        EntryKind::DisplayDebit
    };
    let entry = display_entry(kind, old, change, none, context, now);
    let mut record = old.clone();
    record.updated_at = now;
    Ok(Decision::on_budget(record, only(change), vec![entry]))
}

/// Switches the ledger off; one that is off stays so.
pub(super) fn remove_display(
    old: &BudgetRecord,
    remaining: Amounts,
    context: &ActContext,
    now: Timestamp,
) -> Decision {
    let mut record = old.clone();
    let Some(max) = record.max_display.take() else {
        return Decision::on_budget(record, Amounts::ZERO, Vec::new());
    };
    let (change, limit) = (remaining.display.negated(), max.negated());
    let mut entry = display_entry(EntryKind::Display, old, change, limit, context, now);
    name_changes(&mut entry, &["max_display", "used_display"]);
    record.updated_at = now;
    Decision::on_budget(record, only(change), vec![entry])
}

fn used_of(record: &BudgetRecord, remaining: Amounts) -> Result<DisplayUnits, ActRefusal> {
    difference(record.max_display.unwrap_or_default(), remaining.display)
}

fn difference(a: DisplayUnits, b: DisplayUnits) -> Result<DisplayUnits, ActRefusal> {
    a.checked_sub(b).ok_or(ActRefusal::OutOfRange)
}

fn only(display: DisplayUnits) -> Amounts {
    Amounts {
        display,
        ..Amounts::ZERO
    }
}

fn display_entry(
    kind: EntryKind,
    record: &BudgetRecord,
    change: DisplayUnits,
    limit: DisplayUnits,
    context: &ActContext,
    now: Timestamp,
) -> LedgerEntry {
    context.budget_entry(0, kind, record, only(change), only(limit), now)
}

fn name_changes(entry: &mut LedgerEntry, names: &[&str]) {
    let names = RawJson::of(&names);
    entry.metadata.insert("changes".to_owned(), names);
}
