//! Prices that operators have added, and re-ratings.

use std::collections::BTreeMap;

use async_trait::async_trait;
use uuid::Uuid;

use super::books::{Books, out_of_range};
use super::{MemoryStore, State, before};
use crate::auth::{OperatorScope, SweeperScope};
use crate::billing::{
    ActRefusal, CallInterval, ChargeHistory, Compensation, EntryKind, Idempotency, LedgerEntry,
    Legs, RerateReport, Rerating, SETTLED_AFTER, UsdLeg, decide_compensation, on_leg, sum_of_owed,
};
use crate::clock::Timestamp;
use crate::id::{AccountId, EntryId, PlatformId, PriceId};
use crate::money::NanoUsd;
use crate::prices::{AddedPrice, PriceStore, PriceVersion};
use crate::store::{Changed, StoreError};

/// What was given back for charges: by charge, account and re-rating.
pub(super) type Compensations = BTreeMap<(EntryId, AccountId, EntryId), NanoUsd>;

/// A re-rating with its report, once it is finished.
pub(super) type Reratings = BTreeMap<EntryId, (Rerating, Option<RerateReport>)>;

#[async_trait]
impl PriceStore for MemoryStore {
    async fn prices(&self, _: &SweeperScope) -> Result<Vec<PriceVersion>, StoreError> {
        Ok(self.lock().prices.clone())
    }

    async fn add_price(
        &self,
        _: &OperatorScope,
        version: &PriceVersion,
        idempotency: Option<Idempotency>,
    ) -> Result<Result<AddedPrice, ActRefusal>, StoreError> {
        let now = self.now();
        let mut state = self.lock();
        let added_before = match state.books.stored(idempotency) {
            Ok(stored) => stored.map(|stored| stored.read::<PriceId>()).transpose()?,
            Err(refusal) => return Ok(Err(refusal)),
        };
        if let Some(id) = added_before {
            let version = state.prices.iter().find(|version| version.price.id == id);
            let version = version.cloned().ok_or(StoreError::NotFound)?;
            return Ok(Ok(AddedPrice {
                version,
                replayed: true,
            }));
        }
        let version = PriceVersion {
            created_at: now,
            ..version.clone()
        };
        state.books.keep(idempotency, &version.price.id, None)?;
        state.prices.push(version.clone());
        self.tell(
            &mut state,
            PlatformId::from_uuid(Uuid::nil()),
            Changed::Prices,
        );
        Ok(Ok(AddedPrice {
            version,
            replayed: false,
        }))
    }
}

// === impl State ===

impl State {
    pub(super) fn is_settling(&self, interval: &CallInterval, now: Timestamp) -> bool {
        let mut streams = self.nodes.streams.values();
        let is_open = streams.any(|(_, stream)| {
            interval.contains(stream.log_id.as_uuid())
                && interval
                    .platform_id
                    .is_none_or(|id| stream.platform_id == id)
        });
        is_open || interval.to > before(now, SETTLED_AFTER)
    }

    pub(super) fn compensate(
        &mut self,
        compensation: &Compensation,
        now: Timestamp,
    ) -> Result<NanoUsd, StoreError> {
        if let Some(entry) = self.books.entry(compensation.uid()) {
            return Ok(moved_by(entry));
        }
        if let Some(end_user) = compensation.end_user_id {
            self.reset_due(end_user, now)?;
        }
        self.books.compensate(compensation, now)
    }
}

// === impl Books ===

impl Books {
    /// What re-ratings other than `besides` have given back for a charge.
    pub(super) fn compensated(
        &self,
        charge: &LedgerEntry,
        besides: Option<EntryId>,
    ) -> Result<Legs, StoreError> {
        let own = (
            charge.uid,
            AccountId(i64::MIN),
            EntryId::from_uuid(Uuid::nil()),
        )
            ..=(
                charge.uid,
                AccountId(i64::MAX),
                EntryId::from_uuid(Uuid::max()),
            );
        let wallet = charge.wallet.map(|(account, _)| account);
        let others = self
            .compensations
            .range(own)
            .filter(|((_, _, rerate), _)| Some(*rerate) != besides);
        others
            .map(|((_, account, _), usd)| {
                let leg = if Some(*account) == wallet {
                    UsdLeg::Wallet
                } else {
                    UsdLeg::Budget
                };
                on_leg(leg, *usd)
            })
            .try_fold(Legs::ZERO, Legs::checked_add)
            .map_err(out_of_range)
    }

    fn history(
        &self,
        charge: &LedgerEntry,
        besides: Option<EntryId>,
    ) -> Result<ChargeHistory, StoreError> {
        let linked = self
            .ledger()
            .iter()
            .filter(|entry| entry.refers_to == Some(charge.uid))
            .filter(|entry| matches!(entry.kind, EntryKind::Correction | EntryKind::Refund))
            .cloned()
            .collect();
        Ok(ChargeHistory {
            charge: charge.clone(),
            priced: charge
                .metered
                .map(|metered| (metered.model_id, metered.price_id)),
            linked,
            compensated: self.compensated(charge, besides)?,
        })
    }

    pub(super) fn calls_charged(
        &self,
        interval: &CallInterval,
        besides: EntryId,
        after: Option<EntryId>,
        most: u32,
    ) -> Result<Vec<ChargeHistory>, StoreError> {
        let mut charges: Vec<&LedgerEntry> = self
            .ledger()
            .iter()
            .filter(|entry| entry.kind == EntryKind::Charge)
            .filter(|entry| interval.contains(entry.uid.as_uuid()))
            .filter(|entry| {
                interval
                    .platform_id
                    .is_none_or(|id| entry.platform_id == id)
            })
            .filter(|entry| after.is_none_or(|after| entry.uid > after))
            .collect();
        charges.sort_by_key(|entry| entry.uid);
        let charges = charges.into_iter().take(most as usize);
        charges
            .map(|charge| self.history(charge, Some(besides)))
            .collect()
    }

    fn compensate(
        &mut self,
        compensation: &Compensation,
        now: Timestamp,
    ) -> Result<NanoUsd, StoreError> {
        let account = compensation.account;
        let mut owed = Vec::with_capacity(compensation.costs.len());
        for (uid, cost) in &compensation.costs {
            let charge = self.entry(*uid).ok_or(StoreError::NotFound)?;
            let history = self.history(charge, None)?;
            let usd = history.owed(compensation.leg(), *cost).map_err(refused)?;
            owed.push((*uid, usd));
        }
        let sum = sum_of_owed(owed.iter().map(|(_, usd)| *usd)).map_err(out_of_range)?;
        let remaining = self.total(account)?;
        let record = compensation
            .end_user_id
            .and_then(|end_user| self.budgets.get(&end_user))
            .filter(|record| record.account == account);
        let budget = record.map(|record| (record, remaining));
        let decision = decide_compensation(compensation, sum, budget, now).map_err(refused)?;
        let moved = decision.free_change.usd;
        if compensation.is_dry_run {
            return Ok(moved);
        }
        self.commit_act(account, decision, now)?;
        for (uid, usd) in owed.into_iter().filter(|(_, usd)| !usd.is_zero()) {
            self.compensations
                .insert((uid, account, compensation.rerate), usd);
        }
        Ok(moved)
    }

    pub(super) fn begin_rerate(
        &mut self,
        rerating: &Rerating,
    ) -> Result<Option<RerateReport>, ActRefusal> {
        let recorded = self
            .reratings
            .entry(rerating.id)
            .or_insert_with(|| (rerating.clone(), None));
        let (first, report) = recorded;
        let request = |rerating: &Rerating| rerating.request.as_ref().map(|(_, hash)| *hash);
        if request(first) != request(rerating) {
            return Err(ActRefusal::KeyReused);
        }
        Ok(report.clone())
    }

    pub(super) fn finish_rerate(
        &mut self,
        report: &RerateReport,
    ) -> Result<RerateReport, StoreError> {
        let recorded = self.reratings.get_mut(&report.id);
        let (_, kept) = recorded.ok_or(StoreError::NotFound)?;
        Ok(kept.get_or_insert_with(|| report.clone()).clone())
    }
}

/// What the entry of a re-rating has moved.
fn moved_by(entry: &LedgerEntry) -> NanoUsd {
    match (entry.wallet, entry.budget) {
        (Some((_, usd)), _) => usd,
        (None, Some(legs)) => legs.remaining.usd,
        (None, None) => NanoUsd::ZERO,
    }
}

fn refused(refusal: ActRefusal) -> StoreError {
    StoreError::Corrupt(refusal.to_string())
}
