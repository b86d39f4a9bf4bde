//! Money by machine: random sequences of what nodes do with accounts, and every order in which two nodes and their
//! database can do it, with a fault at every point.

#![cfg(feature = "testing")]
#![expect(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test and its helpers"
)]

mod cluster;
mod explorer;
mod hub;
mod run;
mod schedules;
mod sequences;
