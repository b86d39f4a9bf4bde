//! Changes of a budget's terms.

use super::super::{ActContext, ActRefusal, BudgetChanges, Decision};
use crate::billing::account::{BudgetRecord, BudgetTerms};
use crate::billing::amounts::Amounts;
use crate::billing::ledger::EntryKind;
use crate::billing::period::Period;
use crate::clock::Timestamp;

/// Applies changes to an active budget: an entry for a suspension, and one for everything else that changed.
pub(super) fn update(
    old: &BudgetRecord,
    changes: &BudgetChanges,
    context: &ActContext,
    now: Timestamp,
) -> Result<Decision, ActRefusal> {
    let mut record = old.clone();
    let terms = &mut record.terms;
    set(&mut terms.limits.usd, changes.max_usd);
    set(&mut terms.limits.tokens, changes.max_tokens);
    set(&mut terms.auto_replenish, changes.auto_replenish);
    set(&mut terms.replenish.usd, changes.replenish_usd);
    set(&mut terms.replenish.tokens, changes.replenish_tokens);
    set(&mut terms.low_balance.usd, changes.threshold_usd);
    set(&mut terms.low_balance.tokens, changes.threshold_tokens);
    set(&mut terms.period, changes.period);
    set(&mut terms.timezone, changes.timezone.clone());
    check_terms(terms)?;
    if (terms.period, &terms.timezone) != (old.terms.period, &old.terms.timezone) {
        let bounds = terms.period.bounds(now, &terms.timezone);
        (record.period_start, record.period_end) = (bounds.start, bounds.end);
    }
    set(&mut record.is_suspended, changes.is_suspended);
    set(&mut record.is_active, changes.is_active);

    let change = record
        .terms
        .limits
        .amounts()
        .checked_sub(old.terms.limits.amounts())
        .map_err(|_| ActRefusal::OutOfRange)?;
    let mut entries = Vec::new();
    let suspension = (record.is_suspended != old.is_suspended).then_some(if record.is_suspended {
        EntryKind::Suspend
    } else {
        EntryKind::Unsuspend
    });
    if let Some(kind) = suspension {
        entries.push(context.budget_entry(0, kind, old, Amounts::ZERO, Amounts::ZERO, now));
    }
    let names = changed_names(old, &record);
    if !names.is_empty() {
        let mut entry = context.budget_entry(
            entries.len(),
            EntryKind::Adjustment,
            old,
            change,
            change,
            now,
        );
        if let Ok(list) = serde_json::to_string(&names).and_then(|text| serde_json::from_str(&text))
        {
            entry.metadata.insert("changes".to_owned(), list);
        }
        entries.push(entry);
    }
    if !entries.is_empty() {
        record.updated_at = now;
    }
    Ok(Decision::on_budget(record, change, entries))
}

fn set<T>(field: &mut T, change: Option<T>) {
    if let Some(value) = change {
        *field = value;
    }
}

/// Terms that make no sense together are refused here, once, for creation and change alike.
pub(super) fn check_terms(terms: &BudgetTerms) -> Result<(), ActRefusal> {
    if terms.limits.usd.is_none() && terms.limits.tokens.is_none() {
        return Err(ActRefusal::NoLimit);
    }
    let replenishable = terms.period != Period::OneTime
        && (terms.limits.usd.is_none() || terms.replenish.usd.is_some())
        && (terms.limits.tokens.is_none() || terms.replenish.tokens.is_some());
    if terms.auto_replenish && !replenishable {
        Err(ActRefusal::Replenish)
    } else {
        Ok(())
    }
}

fn changed_names(old: &BudgetRecord, new: &BudgetRecord) -> Vec<&'static str> {
    let (a, b) = (&old.terms, &new.terms);
    let fields = [
        ("max_usd", a.limits.usd != b.limits.usd),
        ("max_tokens", a.limits.tokens != b.limits.tokens),
        ("period", a.period != b.period),
        ("timezone", a.timezone != b.timezone),
        ("auto_replenish", a.auto_replenish != b.auto_replenish),
        ("replenish_amount", a.replenish.usd != b.replenish.usd),
        ("replenish_tokens", a.replenish.tokens != b.replenish.tokens),
        (
            "low_balance_threshold",
            a.low_balance.usd != b.low_balance.usd,
        ),
        (
            "low_balance_threshold_tokens",
            a.low_balance.tokens != b.low_balance.tokens,
        ),
        ("is_active", old.is_active != new.is_active),
    ];
    fields
        .into_iter()
        .filter(|(_, changed)| *changed)
        .map(|(name, _)| name)
        .collect()
}
