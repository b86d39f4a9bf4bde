//! Random sequences of steps against the model of the conformance suite, in memory.
//!
//! A failure is shrunk and printed as the list of its numbers; `model::replay` repeats it.

use assistiv_core::store::memory::MemoryStore;
use assistiv_core::testing::conformance::{model, run};
use proptest::prelude::*;
use proptest::test_runner::{TestCaseError, TestRunner};

/// Sequences in all, unless [`MORE`] asks for more.
const SEQUENCES: u32 = 100_000;
/// A greater number of sequences. A smaller one counts for nothing.
const MORE: &str = "ASSISTIV_SEQUENCES";
/// Tests that share them, so that they run beside each other.
const PARTS: u32 = 8;
const STEPS_MAX: usize = 60;

fn sequences() -> u32 {
    let more = std::env::var(MORE).ok().and_then(|n| n.parse().ok());
    more.unwrap_or(0).max(SEQUENCES)
}

fn play_some() {
    let cases = sequences().div_ceil(PARTS);
    let mut config = ProptestConfig::with_cases(cases);
    config.failure_persistence = None;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let numbers = prop::collection::vec(any::<u64>(), 1..STEPS_MAX);
    let outcome = TestRunner::new(config).run(&numbers, |numbers| {
        let played = run(
            async |clock| MemoryStore::shared(clock).into(),
            async |world| model::replay(world, &numbers).await,
        );
        runtime.block_on(played);
        Ok::<_, TestCaseError>(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
    println!("{cases} sequences");
}

macro_rules! parts {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            play_some();
        })*
    };
}

parts! { part_1 part_2 part_3 part_4 part_5 part_6 part_7 part_8 }
