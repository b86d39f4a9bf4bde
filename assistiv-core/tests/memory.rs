//! The in-memory store against the contract.

#![cfg(feature = "testing")]

use assistiv_core::store::memory::MemoryStore;
use assistiv_core::testing::conformance::{model, run};
use proptest::prelude::*;

assistiv_core::store_conformance!(memory, |clock| async move { MemoryStore::stores(clock) });

assistiv_core::store_conformance!(shared_memory, |clock| async move {
    MemoryStore::shared(clock).into()
});

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_steps_agree_with_plain_sums(numbers in prop::collection::vec(any::<u64>(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(run(
            async |clock| MemoryStore::stores(clock),
            async |world| model::replay(world, &numbers).await,
        ));
    }
}
