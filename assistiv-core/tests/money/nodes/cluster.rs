//! Two gateways on one store, each behind a connection of its own, in paused time.

use std::sync::Arc;

use assistiv_core::billing::{AccountAudit, BillingOptions, LedgerStore};
use assistiv_core::clock::{Clock, Timestamp};
use assistiv_core::money::NanoUsd;
use assistiv_core::store::Stores;
use assistiv_core::store::memory::MemoryStore;
use assistiv_core::testing::link::Link;
use tokio::time::Instant;

use crate::world::World;

pub struct Cluster {
    pub a: World,
    pub b: World,
    pub to_a: Link,
}

/// The wall clock of paused time.
struct Paused {
    start: Instant,
}

impl Clock for Paused {
    fn now(&self) -> Timestamp {
        let micros = i64::try_from(self.start.elapsed().as_micros()).unwrap();
        // 2026-11-23
        Timestamp::from_micros(1_795_392_000_000_000 + micros)
    }
}

impl Cluster {
    pub async fn new(balance: NanoUsd) -> Self {
        Self::with(BillingOptions::default(), balance).await
    }

    pub async fn with(options: BillingOptions, balance: NanoUsd) -> Self {
        let start = Instant::now();
        let store = MemoryStore::shared(Arc::new(Paused { start }));
        let to_a = Link::new(Arc::new(store.clone()));
        let through = |link: Link| Stores {
            ledger: Arc::new(link) as Arc<dyn LedgerStore>,
            ..store.clone().into()
        };
        let a = World::on(through(to_a.clone()), options.clone(), balance).await;
        let b = a.beside(store.clone().into(), options).await;
        Self { a, b, to_a }
    }

    /// Nothing is held on either node, and the books balance.
    pub async fn audit(&self) -> Vec<AccountAudit> {
        self.a.no_hold_is_left().await;
        self.b.audit().await
    }
}
