//! The rules of refunds: no leg gives back more than it took.

use super::super::{ActContext, ActRefusal, Decision, Refund, RefundState};
use crate::billing::amounts::{Amounts, Dimension};
use crate::billing::ledger::{BudgetLegs, EntryKind, LedgerEntry};
use crate::billing::price::round;
use crate::clock::Timestamp;
use crate::json::RawObject;
use crate::money::{DisplayUnits, NanoUsd, Tokens, parse_scaled};

/// Decides the refund of a debit by hand or of a charge. The entry is one: a leg on the budget and, of a charge,
/// one on the wallet.
///
/// The wallet gets the share of its charge that the budget gets of its own, rounded once; the refund that
/// completes the budget's leg takes the remainder. What is used never falls below zero: what a refund covers
/// beyond that is kept in the entry's metadata, and is not given back again.
///
/// # Errors
/// [`ActRefusal`]; then nothing is to be written.
pub fn decide_refund(
    state: &RefundState<'_>,
    refund: Refund,
    context: &ActContext,
    now: Timestamp,
) -> Result<Decision, ActRefusal> {
    let debit = state.debit;
    if !matches!(debit.kind, EntryKind::Charge | EntryKind::Debit) {
        return Err(ActRefusal::TransactionNotFound);
    }
    let charged = Charged::of(debit, state.linked)?;
    let covered = charged.covered_by(refund)?;
    let to_wallet = charged.wallet_share(refund, covered)?;
    if covered.is_zero() && to_wallet.is_zero() {
        return Err(ActRefusal::AlreadyRefunded);
    }

    let mut entry = context.entry(
        0,
        EntryKind::Refund,
        debit.platform_id,
        debit.end_user_id,
        now,
    );
    entry.refers_to = Some(debit.uid);
    entry.wallet = debit
        .wallet
        .filter(|_| !to_wallet.is_zero())
        .map(|(account, _)| (account, to_wallet));
    let Some(legs) = debit.budget else {
        return Ok(Decision {
            free_change: Amounts::usd(to_wallet),
            entries: vec![entry],
            ..Decision::default()
        });
    };
    let moved = match state.budget {
        Some((record, remaining)) => {
            let used = used(record.terms.limits.amounts(), remaining)?;
            Amounts::from_fn(|d| covered.get(d).min(used.get(d).max(0)))
        }
        None => covered,
    };
    note_covered(&mut entry.metadata, covered, moved);
    entry.budget = Some(BudgetLegs {
        account: legs.account,
        remaining: moved,
        limit: Amounts::ZERO,
    });
    let wallet_change = entry.wallet;
    let decision = match state.budget {
        Some((record, _)) => {
            let mut record = record.clone();
            record.updated_at = now;
            Decision::on_budget(record, moved, vec![entry])
        }
        None => Decision {
            free_change: moved,
            entries: vec![entry],
            ..Decision::default()
        },
    };
    Ok(Decision {
        wallet_change,
        ..decision
    })
}

/// What a debit took with its correction, and what refunds have given back of it. Magnitudes.
struct Charged {
    wallet: NanoUsd,
    budget: Amounts,
    /// What refunds cover on the budget's legs, whether or not they could move it.
    refunded: Amounts,
    /// What the wallet got back.
    to_wallet: NanoUsd,
    /// The wallet's shares of all refunds, those included that were to leave the wallet out.
    shares: NanoUsd,
}

impl Charged {
    fn of(debit: &LedgerEntry, linked: &[LedgerEntry]) -> Result<Self, ActRefusal> {
        let mut charged = Self {
            wallet: NanoUsd::ZERO,
            budget: Amounts::ZERO,
            refunded: Amounts::ZERO,
            to_wallet: NanoUsd::ZERO,
            shares: NanoUsd::ZERO,
        };
        let corrections = linked.iter().filter(|e| e.kind == EntryKind::Correction);
        for entry in std::iter::once(debit).chain(corrections) {
            let (wallet, budget) = legs_of(entry);
            charged.wallet = less(charged.wallet, wallet)?;
            charged.budget = charged
                .budget
                .checked_sub(budget)
                .map_err(|_| ActRefusal::OutOfRange)?;
        }
        for entry in linked.iter().filter(|e| e.kind == EntryKind::Refund) {
            let covered = covered(entry);
            let share = match entry.wallet {
                Some((_, amount)) => {
                    charged.to_wallet = plus(charged.to_wallet, amount)?;
                    amount
                }
                None => charged.share_of(covered.usd)?,
            };
            charged.shares = plus(charged.shares, share)?;
            charged.refunded = charged
                .refunded
                .checked_add(covered)
                .map_err(|_| ActRefusal::OutOfRange)?;
        }
        Ok(charged)
    }

    /// What a refund covers on the budget's legs.
    fn covered_by(&self, refund: Refund) -> Result<Amounts, ActRefusal> {
        let left = self
            .budget
            .checked_sub(self.refunded)
            .map_err(|_| ActRefusal::OutOfRange)?;
        let left = Amounts::from_fn(|d| left.get(d).max(0));
        let Refund::Of {
            amounts: Some(amounts),
            ..
        } = refund
        else {
            return Ok(left);
        };
        let asked = amounts.amounts();
        if Dimension::ALL.iter().any(|d| asked.get(*d) > left.get(*d)) {
            return Err(ActRefusal::AlreadyRefunded);
        }
        Ok(asked)
    }

    fn wallet_share(&self, refund: Refund, covered: Amounts) -> Result<NanoUsd, ActRefusal> {
        let left = less(self.wallet, self.to_wallet)?.max(NanoUsd::ZERO);
        match refund {
            Refund::Rest => Ok(left),
            Refund::Of {
                to_wallet: false, ..
            } => Ok(NanoUsd::ZERO),
            Refund::Of { amounts, .. } => {
                let completes = plus(self.refunded.usd, covered.usd)? >= self.budget.usd;
                let share = if completes && (amounts.is_none() || covered.usd.is_positive()) {
                    less(self.wallet, self.shares)?.max(NanoUsd::ZERO)
                } else {
                    self.share_of(covered.usd)?
                };
                Ok(share.min(left))
            }
        }
    }

    /// The part of the wallet's charge that goes with this part of the budget's.
    fn share_of(&self, usd: NanoUsd) -> Result<NanoUsd, ActRefusal> {
        if !self.budget.usd.is_positive() {
            return Ok(NanoUsd::ZERO);
        }
        let exact = i128::from(self.wallet.get()) * i128::from(usd.get());
        round(exact, i128::from(self.budget.usd.get())).map_err(|_| ActRefusal::OutOfRange)
    }
}

fn legs_of(entry: &LedgerEntry) -> (NanoUsd, Amounts) {
    (
        entry.wallet.map(|(_, usd)| usd).unwrap_or_default(),
        entry.budget.map(|legs| legs.remaining).unwrap_or_default(),
    )
}

fn used(limits: Amounts, remaining: Amounts) -> Result<Amounts, ActRefusal> {
    limits
        .checked_sub(remaining)
        .map_err(|_| ActRefusal::OutOfRange)
}

fn plus(a: NanoUsd, b: NanoUsd) -> Result<NanoUsd, ActRefusal> {
    a.checked_add(b).ok_or(ActRefusal::OutOfRange)
}

fn less(a: NanoUsd, b: NanoUsd) -> Result<NanoUsd, ActRefusal> {
    a.checked_sub(b).ok_or(ActRefusal::OutOfRange)
}

const COVERED_USD: &str = "covered_usd";
const COVERED_TOKENS: &str = "covered_tokens";
const COVERED_DISPLAY: &str = "covered_display";

/// Keeps what a refund covers where that is more than it moves.
fn note_covered(metadata: &mut RawObject, covered: Amounts, moved: Amounts) {
    let texts = [
        (COVERED_USD, covered.usd.to_string(), Dimension::Usd),
        (
            COVERED_TOKENS,
            covered.tokens.to_string(),
            Dimension::Tokens,
        ),
        (
            COVERED_DISPLAY,
            covered.display.to_string(),
            Dimension::Display,
        ),
    ];
    for (name, text, dimension) in texts {
        if covered.get(dimension) != moved.get(dimension)
            && let Ok(value) = serde_json::from_str(&text)
        {
            metadata.insert(name.to_owned(), value);
        }
    }
}

/// What an earlier refund covers: what it moved, but for what is noted.
fn covered(refund: &LedgerEntry) -> Amounts {
    let moved = refund.budget.map(|legs| legs.remaining).unwrap_or_default();
    let noted = |name: &str| refund.metadata.get(name).map(|value| value.get());
    Amounts {
        usd: noted(COVERED_USD)
            .and_then(|text| text.parse().ok())
            .unwrap_or(moved.usd),
        tokens: noted(COVERED_TOKENS)
            .and_then(|text| text.parse().ok().map(Tokens::new))
            .unwrap_or(moved.tokens),
        display: noted(COVERED_DISPLAY)
            .and_then(|text| parse_scaled(text, 6, i64::MAX, "").ok())
            .map_or(moved.display, DisplayUnits::new),
    }
}
