//! The books as they stand in the database, read beside the servers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use assistiv_core::billing::{
    AccountAudit, EntryKind, LedgerEntry, NodeAudit, Unconfirmed, UnconfirmedFilter,
    UnconfirmedStatus,
};
use assistiv_core::id::{EntryId, PlatformId};
use assistiv_core::logs::BillingStatus;
use assistiv_core::store::sql::SqlStore;
use assistiv_core::store::{Page, StoreError, Stores};
use assistiv_core::testing::scopes;
use tokio::time::Instant;

use crate::site::Site;

/// Longer than any recovery takes, on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Books(Stores);

/// What became of one call: its charge, and everything that refers to it.
#[derive(Clone, Debug)]
pub(crate) struct Charged {
    pub(crate) charge: LedgerEntry,
    pub(crate) since: Vec<LedgerEntry>,
}

impl Books {
    pub(crate) async fn open(site: &Site) -> Self {
        let begin = Instant::now();
        loop {
            match SqlStore::inspect(site.options()).await {
                Ok(inspection) => return Self(inspection.store.stores()),
                Err(error) => assert!(begin.elapsed() < PATIENCE, "{error:?}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// All entries of a platform's wallet, oldest first.
    pub(crate) async fn entries(
        &self,
        platform: PlatformId,
    ) -> Result<Vec<LedgerEntry>, StoreError> {
        let (mut entries, mut page) = (Vec::new(), 1);
        let scope = scopes::platform(platform);
        loop {
            let of = Page { page, limit: 100 };
            let rows = self.0.ledger.wallet_entries(&scope, of).await?.rows;
            if rows.is_empty() {
                break;
            }
            entries.extend(rows.into_iter().map(|row| row.entry));
            page += 1;
        }
        entries.reverse();
        // What came in between two pages is on both.
        let mut seen = BTreeSet::new();
        entries.retain(|entry| seen.insert(entry.uid));
        Ok(entries)
    }

    /// What became of every call of a platform. No call has two charges or two corrections, and nothing gives back
    /// more than was taken.
    pub(crate) async fn charged(&self, platform: PlatformId) -> BTreeMap<EntryId, Charged> {
        let mut charged: BTreeMap<EntryId, Charged> = BTreeMap::new();
        for entry in self.entries(platform).await.unwrap() {
            match entry.kind {
                EntryKind::Charge => {
                    let since = Vec::new();
                    let uid = entry.uid;
                    let charge = entry;
                    let before = charged.insert(uid, Charged { charge, since });
                    assert!(before.is_none(), "{uid} is charged twice");
                }
                EntryKind::Correction | EntryKind::Refund => {
                    let of = entry.refers_to.unwrap();
                    charged.get_mut(&of).unwrap().since.push(entry);
                }
                _ => {}
            }
        }
        for (uid, call) in &charged {
            let corrections = call
                .since
                .iter()
                .filter(|e| e.kind == EntryKind::Correction);
            assert!(corrections.count() <= 1, "{uid} is corrected twice");
            let refunds = call.since.iter().filter(|e| e.kind == EntryKind::Refund);
            assert!(refunds.count() <= 1, "{uid} is refunded twice");
            assert!(
                call.net() >= 0,
                "{uid}: more was given back than taken: {call:?}"
            );
        }
        charged
    }

    pub(crate) async fn balance(&self, platform: PlatformId) -> i64 {
        let wallet = self.0.ledger.wallet(&scopes::platform(platform)).await;
        wallet.unwrap().balance.get()
    }

    /// Checks that every account balances and that nothing is open; gives the accounts.
    pub(crate) async fn audit(&self) -> Vec<AccountAudit> {
        let accounts = self.0.ledger.audit(&scopes::operator()).await.unwrap();
        for account in &accounts {
            assert!(account.balances(), "{account:?}");
            assert_eq!(account.open_streams, 0, "{account:?}");
        }
        accounts
    }

    pub(crate) async fn nodes(&self) -> Result<Vec<NodeAudit>, StoreError> {
        self.0.ledger.nodes(&scopes::operator()).await
    }

    /// The charges that a sweep has listed, in whatever state.
    pub(crate) async fn unconfirmed(&self, status: UnconfirmedStatus) -> Vec<Unconfirmed> {
        let filter = UnconfirmedFilter {
            status,
            ..UnconfirmedFilter::default()
        };
        let (mut all, mut page) = (Vec::new(), 1);
        loop {
            let of = Page { page, limit: 100 };
            let listed = self
                .0
                .ledger
                .unconfirmed(&scopes::operator(), &filter, of)
                .await;
            let rows = listed.unwrap().rows;
            if rows.is_empty() {
                return all;
            }
            all.extend(rows);
            page += 1;
        }
    }

    /// Waits until the request log says of every call what the ledger says.
    pub(crate) async fn logged(&self, calls: &BTreeMap<EntryId, Charged>) {
        let ids: Vec<_> = calls.keys().copied().collect();
        let begin = Instant::now();
        loop {
            let states = self.0.logs.states(&scopes::engine(), &ids).await.unwrap();
            let agrees = states.iter().all(|state| {
                let charge = calls[&state.id].charge.wallet.unwrap().1;
                state.billing_status == BillingStatus::Billed && state.cost == charge.negated()
            });
            if agrees && states.len() == ids.len() {
                return;
            }
            assert!(begin.elapsed() < PATIENCE, "{states:?} against {calls:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until so many nodes are left, nothing of dead ones is, and nothing comes in any more.
    pub(crate) async fn settled(&self, nodes: usize, platforms: &[PlatformId]) {
        let begin = Instant::now();
        let (mut quiet_since, mut before) = (begin, None);
        loop {
            let now = self.state(platforms).await;
            let is_well = matches!(&now, Ok((open, streams, _)) if *open == nodes && *streams == 0);
            let now = now.ok();
            if !is_well || now != before {
                quiet_since = Instant::now();
            }
            // Longer than the pause between two attempts of a late settlement.
            if quiet_since.elapsed() > Duration::from_millis(1_300) {
                return;
            }
            assert!(
                begin.elapsed() < PATIENCE,
                "it does not come to rest: {now:?}"
            );
            before = now;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn state(&self, platforms: &[PlatformId]) -> Result<(usize, u64, u64), StoreError> {
        let nodes = self.nodes().await?;
        let mut entries = 0;
        for platform in platforms {
            let one = Page { page: 1, limit: 1 };
            let scope = scopes::platform(*platform);
            entries += self.0.ledger.wallet_entries(&scope, one).await?.total;
        }
        let streams = nodes.iter().map(|node| node.streams).sum();
        Ok((
            nodes.iter().filter(|node| node.is_open).count(),
            streams,
            entries,
        ))
    }
}

impl Charged {
    /// What the call cost the wallet in the end.
    pub(crate) fn net(&self) -> i64 {
        let on_wallet = |entry: &LedgerEntry| entry.wallet.map_or(0, |(_, usd)| usd.get());
        let since: i64 = self.since.iter().map(on_wallet).sum();
        -(on_wallet(&self.charge) + since)
    }

    /// What it cost the budget in the end: nano-dollars and tokens.
    pub(crate) fn net_on_budget(&self) -> Option<(i64, i64)> {
        let legs = |entry: &LedgerEntry| {
            let legs = entry.budget?;
            Some((legs.remaining.usd.get(), legs.remaining.tokens.get()))
        };
        legs(&self.charge)?;
        let all = std::iter::once(&self.charge)
            .chain(&self.since)
            .filter_map(legs);
        let sum = all.fold((0, 0), |sum, legs| (sum.0 + legs.0, sum.1 + legs.1));
        Some((-sum.0, -sum.1))
    }
}
