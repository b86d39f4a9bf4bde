//! Conformance suites: what a storage backend must do, as checks that anybody can run.
//!
//! [`store_conformance!`](crate::store_conformance) expands to one test for each check. A single
//! check is run by [`conformance::run`]. The calling crate needs `tokio` with `macros` and
//! `rt-multi-thread`.
//!
//! Everything here panics when a store misbehaves: it is code of tests, exported so that a backend
//! from outside can prove itself.

#![expect(
    clippy::unwrap_used,
    reason = "a check that cannot go on is a check that failed"
)]

pub mod conformance;
pub mod driver;
pub mod engine;
pub mod fixtures;
pub mod link;
pub mod payer;
#[cfg(feature = "postgres")]
pub mod postgres;
pub mod scopes;
pub mod world;
