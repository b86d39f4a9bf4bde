//! Money from end to end, with real server processes: what parallel calls may spend, what is charged when nodes, the
//! database and the connections between them fail, and what a node does that is asked for more than it can do.
//!
//! `ASSISTIV_TEST_ROUNDS` sets how many rounds of faults there are, `ASSISTIV_TEST_SEED` which ones: every run prints
//! its seed. `ASSISTIV_TEST_FULL` makes all tests larger.

#![cfg(feature = "postgres")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test and its helpers"
)]

mod books;
mod call;
mod dice;
mod faults;
mod http;
mod overload;
mod parallel;
mod proxy;
mod server;
mod site;
