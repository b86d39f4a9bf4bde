//! The rules of administrative acts, without I/O.

use super::{ActContext, ActRefusal, BudgetChanges, BudgetState, Decision, LedgerAct, PostedEntry};
use crate::billing::account::{BudgetRecord, BudgetTerms};
use crate::billing::amounts::{Amounts, Dimension};
use crate::billing::ledger::{BudgetLegs, EntryKind, EntrySource, LedgerEntry};
use crate::billing::period::Period;
use crate::clock::Timestamp;
use crate::id::{AccountId, EndUserId, EntryId, PlatformId};
use crate::json::RawObject;
use crate::money::{NanoUsd, Tokens};

/// Decides an act on a wallet whose account holds `balance`.
///
/// # Errors
/// [`ActRefusal`]; then nothing is to be written.
pub fn decide_wallet(
    act: &LedgerAct,
    context: &ActContext,
    platform: PlatformId,
    account: AccountId,
    balance: NanoUsd,
    now: Timestamp,
) -> Result<Decision, ActRefusal> {
    match act {
        LedgerAct::TopUpWallet { amount } => {
            balance
                .checked_add(*amount)
                .filter(|after| *after <= NanoUsd::MAX_INPUT)
                .ok_or(ActRefusal::OutOfRange)?;
            let mut entry = context.entry(0, EntryKind::TopUp, platform, None, now);
            entry.wallet = Some((account, *amount));
            Ok(Decision {
                free_change: Amounts::usd(*amount),
                entries: vec![entry],
                ..Decision::default()
            })
        }
        LedgerAct::SetWalletThreshold { threshold } => Ok(Decision {
            wallet_threshold: Some(*threshold),
            ..Decision::default()
        }),
        _ => Err(ActRefusal::BudgetNotFound),
    }
}

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
            let old_limit = state
                .record
                .map_or(Amounts::ZERO, |old| old.terms.limits.amounts());
            let new_limit = record.terms.limits.amounts();
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
            Ok(decision(record, remaining, vec![entry]))
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
            Ok(decision(record, change, vec![entry]))
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
            Ok(decision(record, change, vec![entry]))
        }
        LedgerAct::TopUpWallet { .. } | LedgerAct::SetWalletThreshold { .. } => {
            Err(ActRefusal::BudgetNotFound)
        }
    }
}

/// The reset of a budget whose period is over: a signed change, never "set to zero".
///
/// `used_since` is what ledger entries since the current boundary used. `None` when no reset is due.
pub fn decide_reset(
    record: &BudgetRecord,
    remaining: Amounts,
    used_since: impl FnOnce(Timestamp) -> Amounts,
    now: Timestamp,
) -> Option<Decision> {
    record.period_end.filter(|end| *end <= now)?;
    let bounds = record.terms.period.bounds(now, &record.terms.timezone);
    let mut next = record.clone();
    (next.period_start, next.period_end, next.updated_at) = (bounds.start, bounds.end, now);
    let old_limit = record.terms.limits.amounts();
    if record.terms.auto_replenish {
        let limits = &mut next.terms.limits;
        limits.usd = limits
            .usd
            .map(|old| record.terms.replenish.usd.unwrap_or(old));
        limits.tokens = limits
            .tokens
            .map(|old| record.terms.replenish.tokens.unwrap_or(old));
    }
    let limit_change = next.terms.limits.amounts().checked_sub(old_limit).ok()?;
    let used_since = used_since(bounds.start);
    let restored = old_limit
        .checked_sub(remaining)
        .ok()?
        .checked_sub(used_since)
        .ok()?;
    let change = restored.checked_add(limit_change).ok()?;
    let context = ActContext {
        uid: reset_uid(record, bounds.start),
        idempotency_key: None,
        reason: None,
        metadata: RawObject::new(),
    };
    let mut entry =
        context.budget_entry(0, EntryKind::PeriodReset, record, change, limit_change, now);
    entry.source = EntrySource::System;
    Some(decision(next, change, vec![entry]))
}

/// One reset for each budget and boundary, whoever makes it.
fn reset_uid(record: &BudgetRecord, boundary: Timestamp) -> EntryId {
    EntryId::from_uuid(uuid::Uuid::new_v5(
        &record.id.as_uuid(),
        &boundary.as_micros().to_be_bytes(),
    ))
}

fn update(
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
    Ok(decision(record, change, entries))
}

fn decision(record: BudgetRecord, free_change: Amounts, entries: Vec<LedgerEntry>) -> Decision {
    let policy = (record.terms.limits.enforced(), record.blocked());
    Decision {
        wallet_threshold: None,
        budget: Some(record),
        free_change,
        policy: Some(policy),
        entries,
    }
}

fn set<T>(field: &mut T, change: Option<T>) {
    if let Some(value) = change {
        *field = value;
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

/// Terms that make no sense together are refused here, once, for creation and change alike.
fn check_terms(terms: &BudgetTerms) -> Result<(), ActRefusal> {
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

impl ActContext {
    fn entry(
        &self,
        index: usize,
        kind: EntryKind,
        platform_id: PlatformId,
        end_user_id: Option<EndUserId>,
        now: Timestamp,
    ) -> LedgerEntry {
        let uid = match index {
            0 => self.uid,
            _ => EntryId::from_uuid(uuid::Uuid::new_v5(
                &self.uid.as_uuid(),
                &index.to_be_bytes(),
            )),
        };
        LedgerEntry {
            uid,
            kind,
            source: EntrySource::Manual,
            platform_id,
            end_user_id,
            wallet: None,
            budget: None,
            refers_to: None,
            flags: Default::default(),
            posted_by: None,
            metered: None,
            idempotency_key: self.idempotency_key.clone(),
            reason: self.reason.clone(),
            metadata: self.metadata.clone(),
            created_at: now,
        }
    }

    fn budget_entry(
        &self,
        index: usize,
        kind: EntryKind,
        record: &BudgetRecord,
        remaining: Amounts,
        limit: Amounts,
        now: Timestamp,
    ) -> LedgerEntry {
        let mut entry = self.entry(
            index,
            kind,
            record.platform_id,
            Some(record.end_user_id),
            now,
        );
        entry.budget = Some(BudgetLegs {
            account: record.account,
            remaining,
            limit,
        });
        entry
    }
}

impl Decision {
    /// The entries as the outcome shows them, given what stood on the account before.
    pub fn posted(&self, before: Amounts) -> Vec<PostedEntry> {
        let mut after = before;
        let show = |entry: &LedgerEntry| {
            let wallet = entry.wallet.map(|(_, amount)| Amounts::usd(amount));
            let (change, limit) = match &entry.budget {
                Some(legs) => (legs.remaining, legs.limit),
                None => (wallet.unwrap_or_default(), Amounts::ZERO),
            };
            after = after.checked_add(change).unwrap_or(after);
            PostedEntry {
                id: entry.uid,
                kind: entry.kind,
                amount_usd: change.usd,
                amount_tokens: change.tokens,
                limit_usd: limit.usd,
                limit_tokens: limit.tokens,
                remaining_usd_after: after.usd,
                remaining_tokens_after: after.tokens,
                reason: entry.reason.clone(),
                metadata: entry.metadata.clone(),
                idempotency_key: entry.idempotency_key.clone(),
                created_at: entry.created_at,
            }
        };
        self.entries.iter().map(show).collect()
    }
}
