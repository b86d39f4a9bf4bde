//! The entries that an act writes, and how its outcome shows them.

use super::super::{ActContext, Decision, PostedEntry};
use crate::billing::account::BudgetRecord;
use crate::billing::amounts::Amounts;
use crate::billing::ledger::{BudgetLegs, EntryKind, EntrySource, LedgerEntry};
use crate::clock::Timestamp;
use crate::id::{EndUserId, EntryId, PlatformId};

impl ActContext {
    /// The `index`-th entry of the act, without legs.
    pub(super) fn entry(
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
            actor: self.actor,
            reason: self.reason.clone(),
            metadata: self.metadata.clone(),
            created_at: now,
        }
    }

    /// The `index`-th entry of the act, with these legs on the budget.
    pub(super) fn budget_entry(
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
    /// What changes a budget: its row, the account's free part and policy, and the entries.
    pub(super) fn on_budget(
        record: BudgetRecord,
        free_change: Amounts,
        entries: Vec<LedgerEntry>,
    ) -> Self {
        let policy = (record.enforced(), record.blocked());
        Self {
            budget: Some(record),
            free_change,
            policy: Some(policy),
            entries,
            ..Self::default()
        }
    }

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
                amount_display: change.display,
                limit_display: limit.display,
                remaining_display_after: after.display,
                remaining_usd_after: after.usd,
                remaining_tokens_after: after.tokens,
                reason: entry.reason.clone(),
                metadata: entry.metadata.clone(),
                idempotency_key: entry.idempotency_key.clone(),
                refers_to: entry.reverses(),
                created_at: entry.created_at,
            }
        };
        self.entries.iter().map(show).collect()
    }
}
