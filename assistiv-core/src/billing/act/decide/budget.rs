//! The rules of acts on a budget.

use super::super::{ActContext, ActRefusal, BudgetChanges, BudgetState, Decision, LedgerAct};
use super::display::{adjust_display, remove_display, set_display, top_up_display};
use super::terms::{check_terms, update};
use crate::billing::account::BudgetRecord;
use crate::billing::amounts::{Amounts, Dimension};
use crate::billing::ledger::{BudgetLegs, EntryKind};
use crate::clock::Timestamp;
use crate::id::{AccountId, PlatformId};
use crate::money::{NanoUsd, Tokens};

/// Decides an act on a budget. `new_account` is the account that a budget which is new is counted in.
///
/// # Errors
/// [`ActRefusal`]; then nothing is to be written.
pub fn decide_budget(
    act: &LedgerAct,
    context: &ActContext,
    platform: PlatformId,
    state: &BudgetState<'_>,
    new_account: impl FnOnce() -> AccountId,
    now: Timestamp,
) -> Result<Decision, ActRefusal> {
    let active = state
        .record
        .filter(|record| record.is_active)
        .ok_or(ActRefusal::BudgetNotFound);
    match act {
        LedgerAct::CreateBudget { end_user, budget } => {
            if active.is_ok() {
                return Err(ActRefusal::BudgetExists);
            }
            check_terms(&budget.terms)?;
            let account = state
                .record
                .map_or_else(new_account, |record| record.account);
            let mut record = BudgetRecord::new(budget, platform, *end_user, account, now);
            if let Some(old) = state.record {
                (record.id, record.created_at) = (old.id, old.created_at);
            }
            let old_limit = state.record.map_or(Amounts::ZERO, BudgetRecord::limits);
            let new_limit = record.limits();
            // An inactive budget starts afresh: the entry takes back what was left and grants the new limits.
            let remaining = new_limit
                .checked_sub(state.remaining)
                .map_err(|_| ActRefusal::OutOfRange)?;
            let limit = new_limit
                .checked_sub(old_limit)
                .map_err(|_| ActRefusal::OutOfRange)?;
            let mut entry =
                context.entry(0, EntryKind::OpeningBalance, platform, Some(*end_user), now);
            entry.uid = budget.opening;
            entry.budget = Some(BudgetLegs {
                account,
                remaining,
                limit,
            });
            Ok(Decision::on_budget(record, remaining, vec![entry]))
        }
        LedgerAct::UpdateBudget { changes, .. } => update(active?, changes, context, now),
        LedgerAct::RemoveBudget { .. } => {
            let changes = BudgetChanges {
                is_active: Some(false),
                ..BudgetChanges::default()
            };
            update(active?, &changes, context, now)
        }
        LedgerAct::TopUpBudget { amounts, .. } => {
            let mut record = active?.clone();
            let limits = &mut record.terms.limits;
            limits.usd = raised(limits.usd, amounts.usd, Dimension::Usd, |a, b| {
                a.checked_add(b).filter(|sum| *sum <= NanoUsd::MAX_INPUT)
            })?;
            limits.tokens = raised(limits.tokens, amounts.tokens, Dimension::Tokens, |a, b| {
                a.checked_add(b).filter(|sum| *sum <= Tokens::MAX_INPUT)
            })?;
            let change = amounts.amounts();
            state
                .remaining
                .checked_add(change)
                .map_err(|_| ActRefusal::OutOfRange)?;
            let entry =
                context.budget_entry(0, EntryKind::BudgetTopUp, &record, change, change, now);
            record.updated_at = now;
            Ok(Decision::on_budget(record, change, vec![entry]))
        }
        LedgerAct::DebitBudget { amounts, .. } => {
            let mut record = active?.clone();
            let change = amounts.amounts().negated();
            state
                .remaining
                .checked_add(change)
                .map_err(|_| ActRefusal::OutOfRange)?;
            let entry =
                context.budget_entry(0, EntryKind::Debit, &record, change, Amounts::ZERO, now);
            record.updated_at = now;
            Ok(Decision::on_budget(record, change, vec![entry]))
        }
        LedgerAct::SetDisplay { max, used, .. } => {
            set_display(active?, *max, *used, state.remaining, context, now)
        }
        LedgerAct::TopUpDisplay { amount, .. } => top_up_display(active?, *amount, context, now),
        LedgerAct::AdjustDisplay { amount, .. } => {
            adjust_display(active?, *amount, state.remaining, context, now)
        }
        LedgerAct::RemoveDisplay { .. } => {
            Ok(remove_display(active?, state.remaining, context, now))
        }
        // A refund is decided with the debit at hand, by `decide_refund`.
        LedgerAct::RefundDebit { .. }
        | LedgerAct::TopUpWallet { .. }
        | LedgerAct::AdjustWallet { .. }
        | LedgerAct::SetWalletThreshold { .. } => Err(ActRefusal::BudgetNotFound),
    }
}

fn raised<T>(
    limit: Option<T>,
    by: Option<T>,
    dimension: Dimension,
    add: impl FnOnce(T, T) -> Option<T>,
) -> Result<Option<T>, ActRefusal> {
    match (limit, by) {
        (limit, None) => Ok(limit),
        (None, Some(_)) => Err(ActRefusal::LimitNotSet(dimension)),
        (Some(limit), Some(by)) => add(limit, by).map(Some).ok_or(ActRefusal::OutOfRange),
    }
}
