//! Every order in which two nodes and their database can do what a few calls need, with a fault at every point.
//!
//! The lanes, heartbeats, sweepers and late settlements are the engine's own; the store is the one in memory. Each call
//! to it waits twice, and the order in which calls go on is chosen by a depth-first search ([`crate::explorer`] says
//! which orders count as one). Time passes only where the search wants it to. Heartbeats, messages and sweeps are not
//! reordered among each other; they stop and go on with the connection of their node.
//!
//! A failure prints the choices that led to it. They are the same in every run.

use assistiv_core::billing::{BillingOptions, LastRequest};

use crate::cluster::{Job, cost_of};
use crate::explorer::Explorer;
use crate::hub::How;
use crate::run::{Scenario, play};

/// Set to anything: more faults in each schedule.
const FULL: &str = "ASSISTIV_SIMULATION_FULL";

const EVERY_FAULT: &[How] = &[
    How::LoseRequest,
    How::Twice,
    How::LoseReply,
    How::Slow,
    How::Die,
    How::CutOff,
    How::CutOffLateFirst,
    How::CutOffBriefly,
];
const LANES: &[&str] = &["settle", "lease", "lane", "slot", "settle_late"];
const SETTLEMENTS: &[&str] = &["settle", "lane", "settle_late"];

const WHOLE_A: Job = Job {
    node: 0,
    is_stream: false,
    estimate: (10, 50),
    used: (8, 20),
    fails: false,
};
const WHOLE_B: Job = Job { node: 1, ..WHOLE_A };
const STREAM_A: Job = Job {
    is_stream: true,
    ..WHOLE_A
};
const STREAM_B: Job = Job {
    node: 1,
    ..STREAM_A
};
const FAILING: Job = Job {
    fails: true,
    ..STREAM_A
};

/// What is held for one call.
fn one_hold() -> i64 {
    cost_of((10, 50))
}

fn scenario(name: &'static str, jobs: &'static [Job]) -> Scenario {
    Scenario {
        name,
        jobs,
        wallet: 100 * one_hold(),
        budget: None,
        options: BillingOptions {
            last_request: LastRequest::Refuse,
            ..BillingOptions::default()
        },
        held: LANES,
        faults: 1,
        kinds: EVERY_FAULT,
    }
}

fn explore(scenario: Scenario, full_faults: usize) {
    let scenario = match std::env::var_os(FULL) {
        Some(_) => Scenario {
            faults: full_faults,
            ..scenario
        },
        None => scenario,
    };
    let mut explorer = Explorer::default();
    loop {
        if play(&scenario, &mut explorer) {
            explorer.runs += 1;
        } else {
            explorer.pruned += 1;
        }
        if !explorer.advance() {
            break;
        }
    }
    println!(
        "{}: {} schedules with up to {} faults, {} cut short",
        scenario.name, explorer.runs, scenario.faults, explorer.pruned
    );
}

#[test]
fn one_whole_answer() {
    explore(scenario("one whole answer", &[WHOLE_A]), 3);
}

#[test]
fn one_stream() {
    explore(scenario("one stream", &[STREAM_A]), 3);
}

#[test]
fn one_stream_with_a_budget() {
    let with_budget = Scenario {
        budget: Some(50 * one_hold()),
        ..scenario("one stream with a budget", &[STREAM_A])
    };
    explore(with_budget, 2);
}

#[test]
fn a_stream_that_fails() {
    explore(scenario("a stream that fails", &[FAILING]), 3);
}
