//! A node as the billing engine would drive it: two lanes with numbered batches.

use std::time::Duration;

use uuid::Uuid;

use super::scopes;
use super::world::World;
use crate::billing::{Amounts, LeaseBatch, LeaseGrant, LeaseRequest, LedgerEntry, SettleBatch};
use crate::id::{AccountId, NodeId};
use crate::store::StoreError;

/// How long a driver's node counts as alive after a heartbeat.
pub const TTL: Duration = Duration::from_secs(10);

/// A registered node and the numbers of its last batches.
#[derive(Clone, Debug)]
pub struct Driver {
    /// The node.
    pub node: NodeId,
    settled: i64,
    leased: i64,
}

// === impl Driver ===

impl Driver {
    /// Registers a node.
    pub async fn start(world: &World) -> Self {
        let instance = Uuid::now_v7();
        let node = world
            .stores
            .ledger
            .open_node(&scopes::engine(), instance, "driver", TTL)
            .await;
        Self {
            node: node.unwrap(),
            settled: 0,
            leased: 0,
        }
    }

    /// The next batch of lane A, empty.
    pub fn settle_batch(&self) -> SettleBatch {
        SettleBatch {
            node: self.node,
            seq: self.settled + 1,
            delivered_seq: self.settled,
            opened: Vec::new(),
            closed: Vec::new(),
            entries: Vec::new(),
            debits: Vec::new(),
        }
    }

    /// The next batch of lane A, posting charges and debiting the node's slots with them.
    pub fn charges(&self, charges: Vec<LedgerEntry>) -> SettleBatch {
        SettleBatch {
            debits: debits_of(&charges),
            entries: charges,
            ..self.settle_batch()
        }
    }

    /// Sends a batch of lane A.
    ///
    /// # Errors
    /// The store's.
    pub async fn try_settle(
        &mut self,
        world: &World,
        batch: &SettleBatch,
    ) -> Result<(), StoreError> {
        world.stores.ledger.settle(&scopes::engine(), batch).await?;
        self.settled = batch.seq;
        Ok(())
    }

    /// Sends a batch of lane A that must be applied.
    pub async fn settle(&mut self, world: &World, batch: &SettleBatch) {
        self.try_settle(world, batch).await.unwrap();
    }

    /// Sends requests as a batch of lane B.
    ///
    /// # Errors
    /// The store's.
    pub async fn try_lease(
        &mut self,
        world: &World,
        requests: Vec<LeaseRequest>,
    ) -> Result<Vec<LeaseGrant>, StoreError> {
        let batch = LeaseBatch {
            node: self.node,
            seq: self.leased + 1,
            requests,
        };
        let grants = world.stores.ledger.lease(&scopes::engine(), &batch).await?;
        self.leased = batch.seq;
        Ok(grants)
    }

    /// Sends requests that must be applied.
    pub async fn lease(&mut self, world: &World, requests: Vec<LeaseRequest>) -> Vec<LeaseGrant> {
        self.try_lease(world, requests).await.unwrap()
    }

    /// Asks one account for what waiting calls lack.
    pub async fn demand(
        &mut self,
        world: &World,
        account: AccountId,
        demand: Amounts,
    ) -> LeaseGrant {
        let none = LeaseRequest::giving_back(account, Amounts::ZERO);
        let mut grants = self
            .lease(world, vec![LeaseRequest { demand, ..none }])
            .await;
        assert_eq!(grants.len(), 1, "one request, one grant");
        grants.remove(0)
    }

    /// Has one account's thresholds checked.
    pub async fn check(&mut self, world: &World, account: AccountId) {
        self.lease(world, vec![LeaseRequest::checking(account)])
            .await;
    }

    /// Gives back to one account.
    pub async fn give_back(
        &mut self,
        world: &World,
        account: AccountId,
        amounts: Amounts,
    ) -> LeaseGrant {
        let mut grants = self
            .lease(world, vec![LeaseRequest::giving_back(account, amounts)])
            .await;
        assert_eq!(grants.len(), 1, "one request, one grant");
        grants.remove(0)
    }
}

/// What entries take from each account's slot, in the order of accounts.
pub fn debits_of(entries: &[LedgerEntry]) -> Vec<(AccountId, Amounts)> {
    let mut debits = std::collections::BTreeMap::new();
    for (account, change) in entries.iter().flat_map(LedgerEntry::changes) {
        let debit: &mut Amounts = debits.entry(account).or_default();
        *debit = debit.checked_sub(change).unwrap();
    }
    debits.into_iter().collect()
}
