//! Settlements of nodes that were fenced and are still alive.

use super::State;
use super::books::{Books, out_of_range};
use crate::billing::{LateSettlement, LedgerEntry, Legs, NotSwept};
use crate::clock::Timestamp;
use crate::id::EntryId;
use crate::store::StoreError;

impl State {
    /// Corrects the charge of a sweep to what the call really cost, once.
    pub(super) fn settle_late(
        &mut self,
        exact: &LedgerEntry,
        now: Timestamp,
    ) -> Result<LateSettlement, StoreError> {
        if self.nodes.streams.contains_key(&exact.uid) {
            return Err(StoreError::unavailable(NotSwept));
        }
        let Some(charge) = self.books.entry(exact.uid) else {
            return Ok(LateSettlement::Uncharged);
        };
        if self
            .books
            .entry(LedgerEntry::correction_uid(exact.uid))
            .is_some()
        {
            return Ok(LateSettlement::Exact);
        }
        let since = self.books.changes_since(charge.uid)?;
        let Some(correction) = charge.late_correction(exact, since, now)? else {
            return Ok(LateSettlement::Exact);
        };
        let mut frees = Vec::new();
        for (id, change) in correction.changes() {
            let free = self.books.account(id)?.free;
            frees.push((id, free.checked_add(change).map_err(out_of_range)?));
        }
        for (id, free) in frees {
            if let Some(account) = self.books.accounts.get_mut(&id) {
                account.free = free;
            }
        }
        self.books.post(correction);
        Ok(LateSettlement::Corrected)
    }
}

impl Books {
    /// What entries that refer to another one have changed together.
    pub(super) fn changes_since(&self, uid: EntryId) -> Result<Legs, StoreError> {
        let rerated = match self.entry(uid) {
            Some(charge) => self.compensated(charge, None)?,
            None => Legs::ZERO,
        };
        self.ledger()
            .iter()
            .filter(|entry| entry.refers_to == Some(uid))
            .try_fold(rerated, |sum, entry| sum.checked_add(entry.change()))
            .map_err(out_of_range)
    }
}
