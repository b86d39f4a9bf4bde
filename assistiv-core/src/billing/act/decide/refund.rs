//! The rules of refunds: no leg gives back more than it took.

use super::super::{ActContext, ActRefusal, Decision, Refund, RefundState};
use crate::billing::amounts::{Amounts, Dimension, Legs};
use crate::billing::ledger::{BudgetLegs, EntryKind, LedgerEntry};
use crate::billing::price::round;
use crate::billing::rerate::UsdLeg;
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
    let charged = Charged::of(debit, state.linked, state.compensated)?;
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

/// What a debit took with its correction and by re-rating, and what refunds have given back of it. Magnitudes.
pub(super) struct Charged {
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
    /// `compensated` is what re-ratings have given back.
    pub(super) fn of(
        debit: &LedgerEntry,
        linked: &[LedgerEntry],
        compensated: Legs,
    ) -> Result<Self, ActRefusal> {
        let mut charged = Self {
            wallet: compensated.wallet.negated(),
            budget: compensated.budget.negated(),
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

    /// What stands on a leg, and what refunds have given back of it.
    pub(super) fn usd(&self, leg: UsdLeg) -> (NanoUsd, NanoUsd) {
        match leg {
            UsdLeg::Wallet => (self.wallet, self.to_wallet),
            UsdLeg::Budget => (self.budget.usd, self.refunded.usd),
        }
    }

    /// Whether refunds have given back more of a leg than stands on it.
    pub(super) fn is_overrefunded(&self) -> bool {
        let over = |given: i64, taken: i64| given > taken.max(0);
        let on_budget = |d: &Dimension| over(self.refunded.get(*d), self.budget.get(*d));
        over(self.to_wallet.get(), self.wallet.get()) || Dimension::ALL.iter().any(on_budget)
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::billing::ledger::{ChargeFlags, EntrySource};
    use crate::billing::{ActContext, Limits};
    use crate::id::{AccountId, EntryId, PlatformId};

    fn charge(wallet: i64, usd: i64, tokens: i64) -> LedgerEntry {
        LedgerEntry {
            uid: EntryId::new(),
            kind: EntryKind::Charge,
            source: EntrySource::Inference,
            platform_id: PlatformId::new(),
            end_user_id: None,
            wallet: Some((AccountId(1), NanoUsd::new(-wallet))),
            budget: Some(BudgetLegs {
                account: AccountId(2),
                remaining: Amounts::from_raw(-usd, -tokens, 0),
                limit: Amounts::ZERO,
            }),
            refers_to: None,
            flags: ChargeFlags::default(),
            posted_by: None,
            metered: None,
            idempotency_key: None,
            actor: None,
            reason: None,
            metadata: RawObject::new(),
            created_at: Timestamp::from_micros(0),
        }
    }

    fn decide(
        debit: &LedgerEntry,
        linked: &[LedgerEntry],
        refund: Refund,
    ) -> Result<LedgerEntry, ActRefusal> {
        let context = ActContext {
            uid: EntryId::new(),
            idempotency_key: None,
            actor: None,
            reason: None,
            metadata: RawObject::new(),
        };
        let state = RefundState {
            compensated: Legs::ZERO,
            debit,
            linked,
            budget: None,
        };
        let decision = decide_refund(&state, refund, &context, Timestamp::from_micros(0))?;
        Ok(decision.entries.into_iter().next().unwrap())
    }

    fn of(usd: i64, tokens: i64, to_wallet: bool) -> Refund {
        let some = |amount: i64| Some(amount).filter(|amount| *amount > 0);
        let amounts = Limits {
            usd: some(usd).map(NanoUsd::new),
            tokens: some(tokens).map(Tokens::new),
        };
        Refund::Of {
            amounts: Some(amounts),
            to_wallet,
        }
    }

    #[test]
    fn a_correction_changes_what_can_be_given_back() {
        let debit = charge(100, 200, 10);
        let mut correction = charge(50, 100, 5);
        correction.kind = EntryKind::Correction;
        let linked = [correction];
        assert_eq!(
            decide(&debit, &linked, of(301, 0, true)).unwrap_err(),
            ActRefusal::AlreadyRefunded
        );
        let entry = decide(&debit, &linked, of(300, 15, true)).unwrap();
        assert_eq!(
            legs_of(&entry),
            (NanoUsd::new(150), Amounts::from_raw(300, 15, 0))
        );
    }

    #[test]
    fn a_refund_that_the_gateway_made_counts() {
        let debit = charge(100, 200, 10);
        let mut refund = charge(-100, -200, -10);
        refund.kind = EntryKind::Refund;
        let refunded = decide(&debit, &[refund], Refund::Rest);
        assert_eq!(refunded.unwrap_err(), ActRefusal::AlreadyRefunded);
    }

    #[test]
    fn a_share_below_half_a_nano_dollar_is_one() {
        let debit = charge(1, 1_000, 0);
        let first = decide(&debit, &[], of(1, 0, true)).unwrap();
        assert_eq!(first.wallet.unwrap().1, NanoUsd::new(1));
        let rest = decide(&debit, &[first], of(999, 0, true)).unwrap();
        assert_eq!(rest.wallet, None);
    }

    proptest! {
        /// Whatever is asked for in whatever order, no leg gives back more than it took, and refunds that cover the
        /// whole budget give the wallet all of its charge that was not left out.
        #[test]
        fn refunds_never_exceed_the_charge(
            wallet in 1..1_000_000_i64,
            markup in 0..1_000_000_i64,
            tokens in 0..10_000_i64,
            asked in prop::collection::vec((0..400_000_i64, 0..4_000_i64, any::<bool>()), 1..12),
        ) {
            let debit = charge(wallet, wallet + markup, tokens);
            let mut linked = Vec::new();
            let mut left_out = false;
            for (usd, tokens, to_wallet) in asked {
                if let Ok(entry) = decide(&debit, &linked, of(usd, tokens, to_wallet)) {
                    left_out |= !to_wallet;
                    linked.push(entry);
                }
            }
            let whole = Refund::Of { amounts: None, to_wallet: true };
            if let Ok(entry) = decide(&debit, &linked, whole) {
                linked.push(entry);
            }
            let (mut to_wallet, mut to_budget) = (0, Amounts::ZERO);
            for entry in &linked {
                let (usd, budget) = legs_of(entry);
                prop_assert!(usd >= NanoUsd::ZERO);
                to_wallet += usd.get();
                to_budget = to_budget.checked_add(budget).unwrap();
            }
            prop_assert_eq!(to_budget, Amounts::from_raw(wallet + markup, tokens, 0));
            prop_assert!(to_wallet <= wallet);
            if !left_out {
                prop_assert_eq!(to_wallet, wallet);
            }
            let more = decide(&debit, &linked, Refund::Of { amounts: None, to_wallet: true });
            prop_assert_eq!(more.unwrap_err(), ActRefusal::AlreadyRefunded);
        }
    }
}
