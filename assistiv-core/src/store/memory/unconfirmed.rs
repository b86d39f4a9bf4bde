//! Charges whose delivery cannot be proved.

use super::books::Books;
use super::newest_first;
use crate::billing::{
    ActContext, ActRefusal, Idempotency, LedgerEntry, Refund, Resolution, Resolved, Unconfirmed,
    UnconfirmedFilter, UnconfirmedStatus,
};
use crate::clock::Timestamp;
use crate::id::EntryId;
use crate::store::{Listed, Page, StoreError};

// === impl Books ===

impl Books {
    /// Lists a charge for the operator; one that is listed already stays as it is.
    pub(super) fn list_unconfirmed(
        &mut self,
        charge: EntryId,
        node: &str,
        status: UnconfirmedStatus,
        now: Timestamp,
    ) {
        if let Some(entry) = self.entry(charge) {
            let item = Unconfirmed {
                status,
                resolved_at: (status != UnconfirmedStatus::Open).then_some(now),
                ..Unconfirmed::of(entry, node.to_owned(), now)
            };
            self.unconfirmed.entry(charge).or_insert(item);
        }
    }

    pub(super) fn unconfirmed(
        &self,
        filter: &UnconfirmedFilter,
        page: Page,
    ) -> Listed<Unconfirmed> {
        let matches = |item: &&Unconfirmed| {
            item.status == filter.status
                && filter.platform_id.is_none_or(|id| item.platform_id == id)
                && filter.from.is_none_or(|from| item.charged_at >= from)
                && filter.to.is_none_or(|to| item.charged_at < to)
        };
        let rows = self.unconfirmed.values().filter(matches).cloned().collect();
        newest_first(
            rows,
            |item: &Unconfirmed| (item.found_at, item.charge),
            page,
        )
    }

    pub(super) fn resolve_unconfirmed(
        &mut self,
        charge: EntryId,
        resolution: Resolution,
        context: &ActContext,
        idempotency: Option<Idempotency>,
        now: Timestamp,
    ) -> Result<Result<Resolved, ActRefusal>, StoreError> {
        // What was resolved stays so: a repeat finds in the item what the request was told.
        let replayed = match self.stored(idempotency) {
            Ok(stored) => stored.is_some(),
            Err(refusal) => return Ok(Err(refusal)),
        };
        let Some(item) = self.unconfirmed.get(&charge).cloned() else {
            return Ok(Err(ActRefusal::TransactionNotFound));
        };
        let next = match item.next(resolution) {
            Ok(next) => next,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let mut resolved = Resolved {
            item,
            accounts: Vec::new(),
            replayed,
        };
        if let Some(status) = next {
            if status == UnconfirmedStatus::Refunded {
                let entry = self.entry(charge).cloned().ok_or(StoreError::NotFound)?;
                let context = ActContext {
                    uid: LedgerEntry::unconfirmed_refund_uid(charge),
                    ..context.clone()
                };
                let decided = self.decide_refund(&entry, Refund::Rest, &context, now)?;
                let (decision, account, _) = match decided {
                    Ok(decided) => decided,
                    Err(refusal) => return Ok(Err(refusal)),
                };
                let wallet = decision.wallet_change.map(|(account, _)| account);
                resolved.accounts = wallet.into_iter().chain([account]).collect();
                self.commit(account, decision, now)?;
            }
            resolved.item.status = status;
            resolved.item.resolved_at = Some(now);
            resolved.item.actor = context.actor;
            resolved.item.reason = context.reason.clone();
            self.unconfirmed.insert(charge, resolved.item.clone());
        }
        if !replayed {
            self.keep(idempotency, &(), None)?;
        }
        Ok(Ok(resolved))
    }
}
