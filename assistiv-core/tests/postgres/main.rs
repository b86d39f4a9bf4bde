//! The SQL store on PostgreSQL against the contract.

#![cfg(all(feature = "testing", feature = "postgres"))]
#![expect(clippy::unwrap_used, reason = "a test and its helpers")]

mod gateways;
mod nodes;
mod server;

use std::sync::Arc;

use assistiv_core::clock::Clock;
use assistiv_core::store::Stores;
use assistiv_core::store::sql::SqlStore;
use assistiv_core::testing::conformance::{model, run};
use assistiv_core::testing::postgres::TestPostgres;
use proptest::prelude::*;

assistiv_core::store_conformance!(postgres, open);

/// A store in a database that goes away with the test's runtime.
async fn open(clock: Arc<dyn Clock>) -> Stores {
    let database = TestPostgres::shared().database().await;
    let options = database.options().clock(clock);
    #[expect(
        clippy::disallowed_methods,
        reason = "the task does nothing but hold the database until the runtime ends"
    )]
    tokio::spawn(async move {
        let _database = database;
        std::future::pending::<()>().await;
    });
    SqlStore::open(options).await.unwrap().stores()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn any_steps_agree_with_plain_sums(numbers in prop::collection::vec(any::<u64>(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(run(open, async |world| model::replay(world, &numbers).await));
    }
}
