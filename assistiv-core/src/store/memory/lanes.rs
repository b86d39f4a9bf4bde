//! The two lanes: numbered batches of charges, and of grants and returns.

use super::State;
use super::books::{Account, Books, out_of_range};
use crate::billing::{
    Amounts, Lane, LeaseBatch, LeaseGrant, LeaseRequest, LedgerEntry, Overflow, SettleBatch, grant,
};
use crate::clock::Timestamp;
use crate::id::{AccountId, NodeId};
use crate::store::StoreError;

// === impl State ===

impl State {
    pub(super) fn settle(&mut self, batch: &SettleBatch, now: Timestamp) -> Result<(), StoreError> {
        let node = self.nodes.fence(batch.node, Lane::Settle, batch.seq)?;
        self.books.check_unposted(&batch.entries)?;
        let debited = |(id, debit): &(AccountId, Amounts)| {
            let slot = self.books.account(*id)?.slot(batch.node);
            Ok((*id, slot.checked_sub(*debit).map_err(out_of_range)?))
        };
        let slots: Vec<_> = batch
            .debits
            .iter()
            .map(debited)
            .collect::<Result<_, StoreError>>()?;

        (node.seq[Lane::Settle as usize], node.delivered_seq) = (batch.seq, batch.delivered_seq);
        for stream in &batch.opened {
            self.nodes.opened_at.entry(stream.log_id).or_insert(now);
            self.nodes
                .streams
                .insert(stream.log_id, (batch.node, stream.clone()));
        }
        for log_id in &batch.closed {
            self.nodes.streams.remove(log_id);
            self.nodes.opened_at.remove(log_id);
        }
        for entry in &batch.entries {
            let posted_by = Some((batch.node, batch.seq));
            self.books.post(LedgerEntry {
                posted_by,
                created_at: now,
                ..entry.clone()
            });
        }
        for (id, slot) in slots {
            self.books.set_slot(id, batch.node, slot);
        }
        Ok(())
    }

    pub(super) fn lease(
        &mut self,
        batch: &LeaseBatch,
        is_shared: bool,
        now: Timestamp,
    ) -> Result<Vec<LeaseGrant>, StoreError> {
        let live = i64::try_from(self.nodes.live(now)).unwrap_or(i64::MAX);
        let sharing = Sharing {
            node: batch.node,
            is_shared,
            // One process holds all slots: it may lease whatever is free.
            divisor: if is_shared { live.saturating_mul(2) } else { 1 },
        };
        let node = self.nodes.fence(batch.node, Lane::Lease, batch.seq)?;
        let mut grants = Vec::with_capacity(batch.requests.len());
        for request in &batch.requests {
            if let Some(account) = self.books.accounts.get(&request.account) {
                grants.push(leased(account, request, &sharing, now).map_err(out_of_range)?);
            }
        }

        node.seq[Lane::Lease as usize] = batch.seq;
        for (grant, slot) in &grants {
            if let Some(account) = self.books.accounts.get_mut(&grant.account) {
                account.free = grant.free;
                account.slots.insert(batch.node, *slot);
            }
        }
        for request in &batch.requests {
            if request.moves() || request.check {
                self.books.check_thresholds(request.account, now)?;
            }
        }
        Ok(grants.into_iter().map(|(grant, _)| grant).collect())
    }
}

// === impl Books ===

impl Books {
    fn set_slot(&mut self, id: AccountId, node: NodeId, slot: Amounts) {
        if let Some(account) = self.accounts.get_mut(&id) {
            account.slots.insert(node, slot);
        }
    }
}

/// Who leases, and beside whom.
struct Sharing {
    node: NodeId,
    is_shared: bool,
    /// Into how many parts what is left over is divided.
    divisor: i64,
}

/// What a request does to an account, and the slot that it leaves. Returns are taken whatever the
/// account's state; grants are not given out of a blocked account, nor out of a period that is
/// over.
fn leased(
    account: &Account,
    request: &LeaseRequest,
    sharing: &Sharing,
    now: Timestamp,
) -> Result<(LeaseGrant, Amounts), Overflow> {
    let returned = account.free.checked_add(request.give_back)?;
    let reset_due = account.reset_due(now);
    let granted = if reset_due {
        Amounts::ZERO
    } else {
        grant(returned, &account.policy, request, sharing.divisor)
    };
    let free = returned.checked_sub(granted)?;
    let slot = account
        .slot(sharing.node)
        .checked_sub(request.give_back)?
        .checked_add(granted)?;
    let policy = account.policy;
    let elsewhere = if sharing.is_shared {
        account.slots_except(sharing.node)?
    } else {
        Amounts::ZERO
    };
    Ok((
        LeaseGrant {
            account: request.account,
            granted,
            free,
            elsewhere,
            policy,
            reset_due,
        },
        slot,
    ))
}
