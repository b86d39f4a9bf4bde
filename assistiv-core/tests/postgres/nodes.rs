//! Several nodes on one server: what happens when they meet.

use std::time::Duration;

use assistiv_core::billing::{
    Amounts, Lane, LeaseBatch, LeaseGrant, LeaseRequest, LedgerAct, LedgerStore, SettleBatch,
};
use assistiv_core::clock::ManualClock;
use assistiv_core::id::{AccountId, NodeId};
use assistiv_core::money::NanoUsd;
use assistiv_core::store::StoreError;
use assistiv_core::store::sql::SqlStore;
use assistiv_core::testing::driver::{TTL, debits_of};
use assistiv_core::testing::postgres::{TestDatabase, TestPostgres};
use assistiv_core::testing::world::{BEGIN, World};
use assistiv_core::testing::{fixtures, scopes};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, Statement};
use uuid::Uuid;

/// A database and a clock that all its nodes share.
struct Site {
    database: TestDatabase,
    clock: ManualClock,
}

/// A node in a process of its own, as far as the database can tell.
struct Process {
    store: SqlStore,
    world: World,
    node: NodeId,
    leased: i64,
    settled: i64,
}

impl Site {
    async fn new() -> Self {
        Self {
            database: TestPostgres::shared().database().await,
            clock: ManualClock::new(BEGIN.parse().unwrap()),
        }
    }

    async fn process(&self) -> Process {
        let options = self
            .database
            .options()
            .clock(std::sync::Arc::new(self.clock.clone()));
        let store = SqlStore::open(options).await.unwrap();
        let world = World {
            stores: store.stores(),
            clock: self.clock.clone(),
        };
        let instance = Uuid::now_v7();
        let scope = scopes::engine();
        let node = store.open_node(&scope, instance, "process", TTL).await;
        Process {
            node: node.unwrap(),
            store,
            world,
            leased: 0,
            settled: 0,
        }
    }
}

impl Process {
    /// Leases as the engine does: a batch whose outcome is unknown is asked after, and sent again if
    /// it was not applied. Nothing is known of grants whose reply was lost.
    async fn lease(&mut self, requests: Vec<LeaseRequest>) -> Vec<LeaseGrant> {
        self.leased += 1;
        let batch = LeaseBatch {
            node: self.node,
            seq: self.leased,
            requests,
        };
        loop {
            match self.store.lease(&scopes::engine(), &batch).await {
                Ok(grants) => return grants,
                Err(StoreError::Unavailable(_)) => {}
                Err(error) => panic!("{error:?}"),
            }
            if self.position(Lane::Lease).await == batch.seq {
                return Vec::new();
            }
        }
    }

    async fn settle(&mut self, batch: SettleBatch) {
        self.settled = batch.seq;
        loop {
            match self.store.settle(&scopes::engine(), &batch).await {
                Ok(()) => return,
                Err(StoreError::Unavailable(_)) => {}
                Err(error) => panic!("{error:?}"),
            }
            if self.position(Lane::Settle).await == batch.seq {
                return;
            }
        }
    }

    fn batch(&self) -> SettleBatch {
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

    async fn position(&self, lane: Lane) -> i64 {
        loop {
            if let Ok(position) = self.store.lane(&scopes::engine(), self.node, lane).await {
                return position.seq;
            }
        }
    }
}

fn demand(account: AccountId, demand: Amounts) -> LeaseRequest {
    LeaseRequest {
        demand,
        ..LeaseRequest::giving_back(account, Amounts::ZERO)
    }
}

fn nano(usd: i64) -> Amounts {
    Amounts::usd(NanoUsd::new(usd))
}

async fn count(session: &DatabaseConnection, query: &str) -> i64 {
    let select = Statement::from_string(
        DbBackend::Postgres,
        format!("SELECT ({query})::bigint AS n"),
    );
    let row = session.query_one_raw(select).await.unwrap().unwrap();
    row.try_get("", "n").unwrap()
}

/// Leases, settlements, acts and resets of many nodes at once leave books that balance, and nobody
/// waits for anybody in a circle.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_meet_keep_the_books() {
    let site = Site::new().await;
    let first = site.process().await;
    let acme = first
        .world
        .tenant_with("acme", fixtures::dollars(1000))
        .await;
    let terms = fixtures::one_time(fixtures::limits(Some(500), Some(1_000_000)));
    let ann = first.world.end_user_with_budget(&acme, "ann", terms).await;
    let payers = first.world.payers(&acme, Some(&ann)).await;
    let budget = payers.budget.unwrap();
    let session = site.database.connect().await;
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    let before = count(&session, deadlocks).await;

    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..6 {
        let mut process = site.process().await;
        let (acme, payers) = (acme.clone(), payers);
        tasks.spawn(async move {
            for round in 0..15 {
                let asked = vec![
                    demand(payers.wallet, fixtures::usd(1)),
                    demand(budget, Amounts::from_raw(1_000_000_000, 10, 0)),
                ];
                let grants = process.lease(asked).await;
                if grants
                    .iter()
                    .any(|grant| grant.granted.usd != fixtures::dollars(1))
                {
                    continue;
                }
                let charges = vec![fixtures::charge(
                    &payers,
                    fixtures::cost(1, 10),
                    process.world.now(),
                )];
                let batch = SettleBatch {
                    debits: debits_of(&charges),
                    entries: charges,
                    ..process.batch()
                };
                process.settle(batch).await;
                if round % 3 == number % 3 {
                    let amount = fixtures::dollars(1);
                    process
                        .world
                        .apply(&acme, LedgerAct::TopUpWallet { amount })
                        .await;
                }
                process
                    .lease(vec![LeaseRequest::giving_back(payers.wallet, nano(0))])
                    .await;
            }
            let ledger = &process.store;
            ledger
                .close_node(&scopes::engine(), process.node)
                .await
                .unwrap();
            assert_eq!(process.store.retries(), 0, "acts gave way");
            process.store.close().await.unwrap();
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    let audit = first.world.account(payers.wallet).await;
    assert!(audit.balances(), "{audit:?}");
    assert_eq!(audit.slots, Amounts::ZERO);
    first.world.assert_consistent().await;
    assert_eq!(count(&session, deadlocks).await, before, "deadlocks");
}

/// A lease that waited for an account's lock goes by what was committed meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_that_waited_sees_what_it_waited_for() {
    let site = Site::new().await;
    let mut process = site.process().await;
    let acme = process.world.tenant("acme").await;
    let account = acme.wallet.0;
    let session = site.database.connect().await;
    // Another node takes seven of the ten dollars, and holds the lock until the lease waits for it.
    let other = sea_orm::TransactionTrait::begin(&session).await.unwrap();
    let take = format!(
        "UPDATE billing_accounts SET free_usd = free_usd - 7000000000 WHERE id = {account};
         INSERT INTO billing_slots (node_id, account_id, usd) VALUES (4711, {account}, 7000000000)"
    );
    other.execute_unprepared(&take).await.unwrap();
    let watch = site.database.connect().await;
    let (grants, ()) = tokio::join!(
        process.lease(vec![demand(acme.wallet, fixtures::usd(5))]),
        async {
            let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'
                AND application_name = 'assistiv lane B' AND datname = current_database()";
            while count(&watch, waiting).await == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            other.commit().await.unwrap();
        }
    );
    assert_eq!(grants[0].granted, fixtures::usd(3));
    assert_eq!(grants[0].free, Amounts::ZERO);
    assert_eq!(grants[0].elsewhere, fixtures::usd(7));
    let audit = process.world.account(acme.wallet).await;
    assert_eq!(
        (audit.free, audit.slots),
        (Amounts::ZERO, fixtures::usd(10))
    );
}

/// A lock that is not given in time leaves the batch to be sent again, and it applies once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_that_cannot_get_its_lock_is_sent_again() {
    let site = Site::new().await;
    let mut process = site.process().await;
    let acme = process.world.tenant("acme").await;
    let session = site.database.connect().await;
    let other = sea_orm::TransactionTrait::begin(&session).await.unwrap();
    let lock = format!(
        "SELECT 1 FROM billing_accounts WHERE id = {} FOR UPDATE",
        acme.wallet.0
    );
    other.execute_unprepared(&lock).await.unwrap();
    let batch = LeaseBatch {
        node: process.node,
        seq: 1,
        requests: vec![demand(acme.wallet, fixtures::usd(1))],
    };
    let refused = process.store.lease(&scopes::engine(), &batch).await;
    assert!(
        matches!(refused, Err(StoreError::Unavailable(_))),
        "{refused:?}"
    );
    assert_eq!(process.position(Lane::Lease).await, 0);
    other.rollback().await.unwrap();
    let grants = process.lease(batch.requests).await;
    assert_eq!(grants[0].granted, fixtures::usd(1));
}

/// A session that was ended costs a batch one more try, and nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lane_outlives_its_session() {
    let site = Site::new().await;
    let mut process = site.process().await;
    let acme = process.world.tenant("acme").await;
    let session = site.database.connect().await;
    let payers = process.world.payers(&acme, None).await;
    for _ in 0..3 {
        let granted = process
            .lease(vec![demand(acme.wallet, fixtures::usd(1))])
            .await;
        let charges = vec![fixtures::charge(
            &payers,
            fixtures::cost(1, 0),
            process.world.now(),
        )];
        let batch = SettleBatch {
            debits: debits_of(&charges),
            entries: charges,
            ..process.batch()
        };
        process.settle(batch).await;
        assert_eq!(granted[0].granted, fixtures::usd(1));
        let ended = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
            WHERE application_name LIKE 'assistiv lane%' AND datname = current_database()";
        assert_eq!(count(&session, ended).await, 2, "both lanes have a session");
    }
    let audit = process.world.account(acme.wallet).await;
    assert!(audit.balances(), "{audit:?}");
    assert_eq!(process.world.balance(&acme).await, fixtures::dollars(7));
}

/// An act that the database undoes for the sake of another one is performed all the same, once.
#[tokio::test]
async fn an_act_that_gave_way_is_tried_again() {
    let site = Site::new().await;
    let process = site.process().await;
    let acme = process.world.tenant("acme").await;
    let session = site.database.connect().await;
    session
        .execute_unprepared(
            "CREATE SEQUENCE troubles;
             CREATE FUNCTION trouble() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
               IF nextval('troubles') <= 2 THEN
                 RAISE EXCEPTION 'give way' USING ERRCODE = '40P01';
               END IF;
               RETURN NEW;
             END $$;
             CREATE TRIGGER trouble BEFORE INSERT ON billing_ledger
               FOR EACH ROW EXECUTE FUNCTION trouble()",
        )
        .await
        .unwrap();
    let amount = fixtures::dollars(5);
    process
        .world
        .apply(&acme, LedgerAct::TopUpWallet { amount })
        .await;
    assert_eq!(process.store.retries(), 2);
    assert_eq!(process.world.balance(&acme).await, fixtures::dollars(15));
}
