//! The entries that follow the end of a node, decided without I/O: every backend posts the same ones.

use super::amounts::{Amounts, Legs, Overflow};
use super::ledger::{BudgetLegs, ChargeFlags, EntryKind, EntrySource, LedgerEntry};
use super::store::OpenStream;
use crate::clock::Timestamp;
use crate::id::EntryId;
use crate::json::RawObject;
use crate::money::NanoUsd;
use crate::store::StoreError;

/// The record of a stream stands: a sweep, or the node itself, has yet to settle it.
#[derive(Debug, thiserror::Error)]
#[error("the stream is not swept yet")]
pub(crate) struct NotSwept;

// === impl OpenStream ===

impl OpenStream {
    /// The charge of a stream that nobody ended: what its last record said, never computed anew.
    ///
    /// It has no counts of tokens: nobody knows them.
    pub fn crash_charge(&self, now: Timestamp) -> LedgerEntry {
        LedgerEntry {
            uid: self.log_id,
            kind: EntryKind::Charge,
            source: EntrySource::Inference,
            platform_id: self.platform_id,
            end_user_id: self.end_user_id,
            wallet: Some((self.wallet, self.accrued.wallet.negated())),
            budget: self.budget.map(|account| BudgetLegs {
                account,
                remaining: self.accrued.budget.negated(),
                limit: Amounts::ZERO,
            }),
            refers_to: None,
            flags: ChargeFlags::CRASH.with(ChargeFlags::TRUNCATED),
            posted_by: None,
            metered: None,
            idempotency_key: None,
            actor: None,
            reason: None,
            metadata: RawObject::new(),
            created_at: now,
        }
    }
}

// === impl LedgerEntry ===

impl LedgerEntry {
    /// The id of the one correction that a charge may get.
    pub fn correction_uid(charge: EntryId) -> EntryId {
        EntryId::from_uuid(uuid::Uuid::new_v5(&charge.as_uuid(), b"correction"))
    }

    /// The id of the refund that a charge gets when its delivery cannot be proved.
    pub fn unconfirmed_refund_uid(charge: EntryId) -> EntryId {
        EntryId::from_uuid(uuid::Uuid::new_v5(&charge.as_uuid(), b"unconfirmed"))
    }

    /// The signed change of the wallet's balance and of what remains of the budget.
    pub fn change(&self) -> Legs {
        Legs {
            wallet: self.wallet.map_or(NanoUsd::ZERO, |(_, usd)| usd),
            budget: self.budget.map_or(Amounts::ZERO, |legs| legs.remaining),
        }
    }

    /// The accounts that the entry moves, with the signed change of each: the wallet's, then the budget's.
    pub fn changes(&self) -> impl Iterator<Item = (crate::id::AccountId, Amounts)> {
        let wallet = self
            .wallet
            .map(|(account, usd)| (account, Amounts::usd(usd)));
        let budget = self.budget.map(|legs| (legs.account, legs.remaining));
        wallet.into_iter().chain(budget)
    }

    /// The refund of what is left of this charge, whose delivery cannot be proved. `since` is the sum of the
    /// entries that refer to it. `None` when nothing is left on any leg.
    ///
    /// # Errors
    /// [`Overflow`].
    pub fn unconfirmed_refund(
        &self,
        since: Legs,
        now: Timestamp,
    ) -> Result<Option<Self>, Overflow> {
        let left = self.change().checked_add(since)?.negated().at_least_zero();
        if left.is_zero() {
            return Ok(None);
        }
        Ok(Some(Self {
            uid: Self::unconfirmed_refund_uid(self.uid),
            kind: EntryKind::Refund,
            source: EntrySource::System,
            reason: Some("the delivery of the answer cannot be proved".to_owned()),
            flags: ChargeFlags::default(),
            metered: None,
            metadata: RawObject::new(),
            ..self.moving(left, now)
        }))
    }

    /// The correction of this charge of a sweep to `exact`, the charge as it would have been posted. `since` is the
    /// sum of the entries that refer to it: a correction never gives back what was refunded before. `None` when the
    /// charge is exact.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when the two are charged to different accounts, or an amount is out of range.
    pub fn late_correction(
        &self,
        exact: &Self,
        since: Legs,
        now: Timestamp,
    ) -> Result<Option<Self>, StoreError> {
        let accounts = |entry: &Self| entry.changes().map(|(id, _)| id).collect::<Vec<_>>();
        if accounts(self) != accounts(exact) {
            return Err(StoreError::Corrupt(
                "a late settlement on other accounts than its charge".to_owned(),
            ));
        }
        let delta = (|| {
            let left = self.change().checked_add(since)?.negated().at_least_zero();
            let delta = exact.change().checked_add(self.change().negated())?;
            Ok(delta.min(left))
        })();
        let delta =
            delta.map_err(|overflow: Overflow| StoreError::Corrupt(overflow.to_string()))?;
        if delta.is_zero() {
            return Ok(None);
        }
        Ok(Some(Self {
            uid: Self::correction_uid(self.uid),
            kind: EntryKind::Correction,
            source: exact.source,
            flags: exact.flags,
            metered: exact.metered,
            metadata: exact.metadata.clone(),
            ..self.moving(delta, now)
        }))
    }

    /// An entry of the gateway that refers to this one and moves the same accounts by `change`.
    fn moving(&self, change: Legs, now: Timestamp) -> Self {
        Self {
            wallet: self.wallet.map(|(account, _)| (account, change.wallet)),
            budget: self.budget.map(|legs| BudgetLegs {
                account: legs.account,
                remaining: change.budget,
                limit: Amounts::ZERO,
            }),
            refers_to: Some(self.uid),
            posted_by: None,
            idempotency_key: None,
            reason: None,
            created_at: now,
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{AccountId, LogId, PlatformId};

    fn charge(wallet: i64, tokens: i64) -> LedgerEntry {
        LedgerEntry {
            uid: LogId::new(),
            kind: EntryKind::Charge,
            source: EntrySource::Inference,
            platform_id: PlatformId::new(),
            end_user_id: None,
            wallet: Some((AccountId(1), NanoUsd::new(-wallet))),
            budget: Some(BudgetLegs {
                account: AccountId(2),
                remaining: Amounts::from_raw(-wallet, -tokens, 0),
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

    fn legs(wallet: i64, tokens: i64) -> Legs {
        Legs {
            wallet: NanoUsd::new(wallet),
            budget: Amounts::from_raw(wallet, tokens, 0),
        }
    }

    fn now() -> Timestamp {
        Timestamp::from_micros(7)
    }

    #[test]
    fn a_correction_is_the_difference_on_each_leg() {
        let swept = charge(30, 5);
        let exact = charge(120, 3);
        let correction = swept.late_correction(&exact, Legs::ZERO, now());
        let correction = correction.unwrap().unwrap();
        assert_eq!(correction.change(), legs(-90, 2));
        assert_eq!(correction.uid, LedgerEntry::correction_uid(swept.uid));
        assert_eq!(correction.refers_to, Some(swept.uid));
        assert_eq!(correction.kind, EntryKind::Correction);
        let same = swept.late_correction(&swept.clone(), Legs::ZERO, now());
        assert_eq!(same.unwrap(), None);
    }

    #[test]
    fn a_correction_gives_nothing_back_twice() {
        let swept = charge(30, 5);
        let exact = charge(10, 5);
        let correction = |since| swept.late_correction(&exact, since, now()).unwrap();
        assert_eq!(correction(Legs::ZERO).unwrap().change(), legs(20, 0));
        assert_eq!(correction(legs(25, 0)).unwrap().change(), legs(5, 0));
        assert_eq!(correction(legs(30, 5)), None);
    }

    #[test]
    fn a_correction_of_other_accounts_is_refused() {
        let swept = charge(30, 5);
        let exact = LedgerEntry {
            budget: None,
            ..charge(30, 5)
        };
        let refused = swept.late_correction(&exact, Legs::ZERO, now());
        assert!(matches!(refused, Err(StoreError::Corrupt(_))));
    }

    #[test]
    fn a_refund_gives_back_what_is_left() {
        let charge = charge(30, 5);
        let refund = |since| charge.unconfirmed_refund(since, now()).unwrap();
        let whole = refund(Legs::ZERO).unwrap();
        assert_eq!(whole.change(), legs(30, 5));
        assert_eq!(whole.uid, LedgerEntry::unconfirmed_refund_uid(charge.uid));
        assert_eq!(whole.kind, EntryKind::Refund);
        assert_eq!(refund(legs(10, 5)).unwrap().change(), legs(20, 0));
        assert_eq!(refund(legs(30, 5)), None);
    }
}
