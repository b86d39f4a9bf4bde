//! The SQL store on SQLite against the contract.

#![cfg(all(feature = "testing", feature = "sqlite"))]
#![expect(clippy::unwrap_used, reason = "a test and its helpers")]

use std::sync::Arc;

use assistiv_core::clock::Clock;
use assistiv_core::store::Stores;
use assistiv_core::store::sql::{SqlOptions, SqlStore};
use assistiv_core::testing::conformance::{model, run};
use proptest::prelude::*;

assistiv_core::store_conformance!(sqlite, open);

/// A store in a directory that goes away with the test's runtime.
async fn open(clock: Arc<dyn Clock>) -> Stores {
    let directory = tempfile::tempdir().unwrap();
    let options = SqlOptions::sqlite(directory.path().join("assistiv.db")).clock(clock);
    #[expect(
        clippy::disallowed_methods,
        reason = "the task does nothing but hold the directory until the runtime ends"
    )]
    tokio::spawn(async move {
        let _directory = directory;
        std::future::pending::<()>().await;
    });
    SqlStore::open(options).await.unwrap().stores()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

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
