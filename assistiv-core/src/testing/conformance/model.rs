//! Random steps against plain sums: a wallet, a budget and two nodes, beside a model that only adds
//! and subtracts.
//!
//! The nodes have the slices of the billing engine in memory, and no task, no timer and no network: what the engine's
//! tasks do is a step each. After every step the books balance and are what the model says; what a node has in memory
//! is what its slot holds, less or more by what lane B has half done; what all nodes hold and owe is covered; nothing
//! was given back that was not charged.
//!
//! A step is a number; whatever number it is, it means something. So a property test can generate
//! and shrink lists of numbers, and a failure is repeated by its list.

mod acts;
mod calls;
mod leases;
mod memory;
mod nodes;
mod play;
mod sums;
mod terms;

use self::play::Play;
use self::terms::Terms;
use crate::testing::world::World;

/// Sequences of the suite's own check, and steps in each.
const SEQUENCES: u64 = 6;
const STEPS: usize = 50;

/// Plays a few random sequences, the same ones each time.
pub async fn random_steps_agree_with_plain_sums(world: &World) {
    for seed in 0..SEQUENCES {
        let mut state = seed;
        let numbers: Vec<u64> = (0..STEPS).map(|_| next_random(&mut state)).collect();
        replay(world, &numbers).await;
    }
}

/// Plays one sequence on a platform of its own, comparing every balance after each step.
///
/// Meant for a property test of the caller's: lists of any numbers are sequences of steps. Nodes of
/// other sequences in the same world are swept along, so sequences follow each other.
pub async fn replay(world: &World, numbers: &[u64]) {
    let limits_tokens = numbers.first().is_some_and(|number| number % 2 == 1);
    let mut play = Play::begin(world, Terms { limits_tokens }).await;
    for number in numbers {
        play.step(*number).await;
        play.compare().await;
    }
    play.end().await;
}

/// SplitMix64: small, well mixed, and the same everywhere.
fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
