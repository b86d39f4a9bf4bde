//! The rules of re-rating: what is owed for a charge, and the entry that gives it back.

use super::super::{ActContext, Decision};
use super::refund::Charged;
use crate::billing::ActRefusal;
use crate::billing::account::BudgetRecord;
use crate::billing::amounts::Amounts;
use crate::billing::ledger::{BudgetLegs, EntryKind, EntrySource};
use crate::billing::rerate::{ChargeHistory, Compensation, UsdLeg};
use crate::clock::Timestamp;
use crate::json::{RawJson, RawObject};
use crate::money::NanoUsd;

impl ChargeHistory {
    /// What is owed for the charge on a leg that should have cost `cost`: given back when positive, charged when
    /// negative.
    ///
    /// Nothing is given back that a refund gave back before, and a charge of which nothing is left stays so.
    ///
    /// # Errors
    /// [`ActRefusal::OutOfRange`].
    pub fn owed(&self, leg: UsdLeg, cost: NanoUsd) -> Result<NanoUsd, ActRefusal> {
        let charged = Charged::of(&self.charge, &self.linked, self.compensated)?;
        let (stands, refunded) = charged.usd(leg);
        let left = stands.checked_sub(refunded).ok_or(ActRefusal::OutOfRange)?;
        if refunded.is_positive() && !left.is_positive() {
            return Ok(NanoUsd::ZERO);
        }
        let owed = stands.checked_sub(cost).ok_or(ActRefusal::OutOfRange)?;
        Ok(owed.min(left))
    }
}

impl ChargeHistory {
    /// What about the entry cannot be: more than one correction, or more given back on a leg than was taken
    /// (invariant of `docs/ledger.md`).
    pub fn contradiction(&self) -> Option<String> {
        let corrections = self.linked.iter();
        let corrections = corrections.filter(|entry| entry.kind == EntryKind::Correction);
        if corrections.count() > 1 {
            return Some("it was corrected more than once".to_owned());
        }
        match Charged::of(&self.charge, &self.linked, self.compensated) {
            Ok(charged) if charged.is_overrefunded() => {
                Some("more was given back than was taken".to_owned())
            }
            Ok(_) => None,
            Err(_) => Some("what was given back left its range".to_owned()),
        }
    }
}

/// Decides the entry that gives `owed` back to an account.
///
/// What is used of a budget does not fall below zero, as with refunds: what is owed beyond that is kept in the
/// entry's metadata, and is not given back again.
pub fn decide_compensation(
    compensation: &Compensation,
    owed: NanoUsd,
    budget: Option<(&BudgetRecord, Amounts)>,
    now: Timestamp,
) -> Result<Decision, ActRefusal> {
    let moved = match budget {
        Some((record, remaining)) if owed.is_positive() => {
            let used = record
                .terms
                .limits
                .amounts()
                .usd
                .checked_sub(remaining.usd)
                .ok_or(ActRefusal::OutOfRange)?;
            owed.min(used.max(NanoUsd::ZERO))
        }
        _ => owed,
    };
    let mut metadata = RawObject::new();
    metadata.insert("rerate_id".to_owned(), RawJson::of(&compensation.rerate));
    if moved != owed {
        metadata.insert("covered_usd".to_owned(), RawJson::of(&owed));
    }
    let context = ActContext {
        uid: compensation.uid(),
        idempotency_key: compensation.idempotency_key.clone(),
        actor: compensation.actor,
        reason: compensation.reason.clone(),
        metadata,
    };
    let kind = match compensation.leg() {
        UsdLeg::Wallet => EntryKind::WalletAdjustment,
        UsdLeg::Budget => EntryKind::Adjustment,
    };
    let platform = compensation.platform_id;
    let mut entry = context.entry(0, kind, platform, compensation.end_user_id, now);
    entry.source = EntrySource::System;
    entry.refers_to = Some(compensation.rerate);
    let change = Amounts::usd(moved);
    match compensation.leg() {
        UsdLeg::Wallet => entry.wallet = Some((compensation.account, moved)),
        UsdLeg::Budget => {
            entry.budget = Some(BudgetLegs {
                account: compensation.account,
                remaining: change,
                limit: Amounts::ZERO,
            });
        }
    }
    Ok(match budget {
        Some((record, _)) => {
            let mut record = record.clone();
            record.updated_at = now;
            Decision::on_budget(record, change, vec![entry])
        }
        None => Decision {
            free_change: change,
            entries: vec![entry],
            ..Decision::default()
        },
    })
}
