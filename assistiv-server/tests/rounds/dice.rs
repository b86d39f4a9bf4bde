//! Chance that can be had again.

use std::sync::atomic::{AtomicU64, Ordering};

/// Numbers that follow from a seed. Clones draw from the same sequence.
#[derive(Debug)]
pub(crate) struct Dice(AtomicU64);

impl Dice {
    /// From `ASSISTIV_TEST_SEED`, or else another sequence each time. Prints which.
    pub(crate) fn new(what: &str) -> Self {
        let seed = match std::env::var("ASSISTIV_TEST_SEED") {
            Ok(seed) => seed.parse().unwrap(),
            Err(_) => uuid::Uuid::new_v4().as_u64_pair().0,
        };
        eprintln!("{what}: ASSISTIV_TEST_SEED={seed}");
        Self(AtomicU64::new(seed))
    }

    /// A sequence of its own that follows from this one.
    pub(crate) fn split(&self) -> Self {
        Self(AtomicU64::new(self.next()))
    }

    /// A number below `bound`.
    pub(crate) fn below(&self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// Whether something happens that happens so often in a thousand times.
    pub(crate) fn per_mille(&self, often: u64) -> bool {
        self.below(1_000) < often
    }

    /// SplitMix64.
    fn next(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut z = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
