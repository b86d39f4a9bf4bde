//! What the benches of this package share: load, counters and a longer network.
//!
//! The benches themselves are in `benches/`; what they measure is in `docs/performance.md`.

pub mod counted;
pub mod delay;
pub mod echo;
pub mod load;
pub mod machine;
pub mod naive;
pub mod node;
pub mod samples;
