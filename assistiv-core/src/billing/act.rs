//! Administrative acts on wallets and budgets, decided without I/O.
//!
//! A backend locks the rows, hands their state to [`decide`], and writes what comes out in the same
//! transaction. So every backend applies one set of rules.

use serde::{Deserialize, Serialize};

use super::account::{Blocked, Budget, BudgetRecord, BudgetTerms, Limits, NewBudget, Wallet};
use super::amounts::{Amounts, Dimension, Dimensions};
use super::ledger::{BudgetLegs, EntryKind, EntrySource, LedgerEntry};
use super::period::{Period, ZoneName};
use crate::clock::Timestamp;
use crate::id::{AccountId, EndUserId, EntryId, PlatformId};
use crate::json::RawObject;
use crate::money::{NanoUsd, Tokens};

/// An act on a platform's wallet or on an end user's budget.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum LedgerAct {
    /// Puts money into the wallet.
    TopUpWallet {
        /// How much; above zero.
        amount: NanoUsd,
    },
    /// Sets or clears the wallet's threshold.
    SetWalletThreshold {
        /// At or below this the wallet counts as low.
        threshold: Option<NanoUsd>,
    },
    /// Makes a budget, or makes an inactive one active again with new terms.
    CreateBudget {
        /// Whose.
        end_user: EndUserId,
        /// What.
        budget: NewBudget,
    },
    /// Changes a budget.
    UpdateBudget {
        /// Whose.
        end_user: EndUserId,
        /// What; a field that is `None` stays.
        changes: Box<BudgetChanges>,
    },
    /// Puts a budget out of force.
    RemoveBudget {
        /// Whose.
        end_user: EndUserId,
    },
    /// Raises a budget's limits.
    TopUpBudget {
        /// Whose.
        end_user: EndUserId,
        /// By how much.
        amounts: Limits,
    },
    /// Counts something as used.
    DebitBudget {
        /// Whose.
        end_user: EndUserId,
        /// How much.
        amounts: Limits,
    },
}

/// Changes of a budget. The outer `None` leaves a field; the inner one clears it.
#[derive(Clone, Debug, Default)]
pub struct BudgetChanges {
    /// Pauses or resumes the end user.
    pub is_suspended: Option<bool>,
    /// Puts the budget in or out of force.
    pub is_active: Option<bool>,
    /// The USD limit.
    pub max_usd: Option<Option<NanoUsd>>,
    /// The token limit.
    pub max_tokens: Option<Option<Tokens>>,
    /// How long limits last.
    pub period: Option<Period>,
    /// Where boundaries lie.
    pub timezone: Option<ZoneName>,
    /// Whether limits are set anew.
    pub auto_replenish: Option<bool>,
    /// What the USD limit is then set to.
    pub replenish_usd: Option<Option<NanoUsd>>,
    /// What the token limit is then set to.
    pub replenish_tokens: Option<Option<Tokens>>,
    /// The USD threshold.
    pub threshold_usd: Option<Option<NanoUsd>>,
    /// The token threshold.
    pub threshold_tokens: Option<Option<Tokens>>,
}

/// What goes with an act onto its ledger entry.
#[derive(Clone, Debug)]
pub struct ActContext {
    /// The id of the first entry; further ones are derived from it.
    pub uid: EntryId,
    /// The `Idempotency-Key`, when one was given.
    pub idempotency_key: Option<String>,
    /// Why, for people.
    pub reason: Option<String>,
    /// Whatever the caller wants kept.
    pub metadata: RawObject,
}

/// A repeatable request: which one it is, and what it said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Idempotency {
    /// SHA-256 of platform, end user, operation and key.
    pub scope_hash: [u8; 32],
    /// SHA-256 of the canonical body.
    pub request_hash: [u8; 32],
}

/// What an act did, as it is stored for repeats of the request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ActOutcome {
    /// The wallet afterwards, of an act on the wallet.
    pub wallet: Option<Wallet>,
    /// The budget afterwards, of an act on a budget.
    pub budget: Option<Budget>,
    /// The entries written, with the balances they left.
    pub entries: Vec<PostedEntry>,
}

/// An entry that an act wrote.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PostedEntry {
    /// Its id.
    pub id: EntryId,
    /// What it records.
    pub kind: EntryKind,
    /// Signed change of the wallet's balance, or of what remains of the budget.
    #[serde(with = "crate::money::stored")]
    pub amount_usd: NanoUsd,
    /// Signed change of the remaining tokens.
    #[serde(with = "crate::money::stored")]
    pub amount_tokens: Tokens,
    /// Signed change of the USD limit.
    #[serde(with = "crate::money::stored")]
    pub limit_usd: NanoUsd,
    /// Signed change of the token limit.
    #[serde(with = "crate::money::stored")]
    pub limit_tokens: Tokens,
    /// The wallet's balance, or what remains in USD, right after it.
    #[serde(with = "crate::money::stored")]
    pub remaining_usd_after: NanoUsd,
    /// What remains in tokens right after it.
    #[serde(with = "crate::money::stored")]
    pub remaining_tokens_after: Tokens,
    /// Why, for people.
    pub reason: Option<String>,
    /// Whatever the caller wants kept.
    pub metadata: RawObject,
    /// The `Idempotency-Key`.
    pub idempotency_key: Option<String>,
    /// When.
    pub created_at: Timestamp,
}

/// The result of [`crate::billing::LedgerStore::apply`].
#[derive(Clone, Debug, PartialEq)]
pub struct Applied {
    /// What the act did.
    pub outcome: ActOutcome,
    /// Whether this is the stored outcome of an earlier request with the same key.
    pub replayed: bool,
    /// The account whose policy or balance changed.
    pub account: Option<AccountId>,
}

/// Why an act is refused. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ActRefusal {
    /// There is no active budget.
    #[error("the end user has no active budget")]
    BudgetNotFound,
    /// There is an active budget already.
    #[error("the end user has an active budget; change it with PATCH")]
    BudgetExists,
    /// A top-up of a limit that is not set.
    #[error("the budget has no {} limit to top up; set one with PATCH", .0.as_str())]
    LimitNotSet(Dimension),
    /// No limit would remain.
    #[error("at least one of `max_usd` and `max_tokens` must remain")]
    NoLimit,
    /// A replenish value is missing.
    #[error("`auto_replenish` needs a recurring period and a replenish value for each limit")]
    Replenish,
    /// An amount would leave its range.
    #[error("the amount would exceed the largest possible balance")]
    OutOfRange,
    /// The key was used with another body.
    #[error("this Idempotency-Key was used with another body")]
    KeyReused,
}

/// What a backend must write for a decided act, in one transaction.
#[derive(Clone, Debug, Default)]
pub struct Decision {
    /// The wallet's row, when it changes (its balance lives in the account).
    pub wallet_threshold: Option<Option<NanoUsd>>,
    /// The budget's row, when it changes.
    pub budget: Option<BudgetRecord>,
    /// To be added to the account's free part.
    pub free_change: Amounts,
    /// The account's policy afterwards, when it changes.
    pub policy: Option<(Dimensions, Blocked)>,
    /// The entries, in order.
    pub entries: Vec<LedgerEntry>,
}

/// The locked state that an act on a budget is decided on.
#[derive(Clone, Debug)]
pub struct BudgetState<'a> {
    /// The row; `None` when the end user never had a budget.
    pub record: Option<&'a BudgetRecord>,
    /// What remains on its account: free part and slots.
    pub remaining: Amounts,
}

impl ActRefusal {
    /// The stable reason for callers.
    pub const fn reason(self) -> crate::error::Reason {
        use crate::error::Reason;
        match self {
            Self::BudgetNotFound => Reason::BUDGET_NOT_FOUND,
            Self::BudgetExists => Reason::BUDGET_EXISTS,
            Self::LimitNotSet(_) => Reason::BUDGET_LIMIT_NOT_SET,
            Self::NoLimit | Self::Replenish | Self::OutOfRange => Reason::VALIDATION_FAILED,
            Self::KeyReused => Reason::IDEMPOTENCY_KEY_REUSED,
        }
    }
}

impl LedgerAct {
    /// The end user whose budget it is about.
    pub fn end_user(&self) -> Option<EndUserId> {
        match self {
            Self::TopUpWallet { .. } | Self::SetWalletThreshold { .. } => None,
            Self::CreateBudget { end_user, .. }
            | Self::UpdateBudget { end_user, .. }
            | Self::RemoveBudget { end_user }
            | Self::TopUpBudget { end_user, .. }
            | Self::DebitBudget { end_user, .. } => Some(*end_user),
        }
    }
}

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
