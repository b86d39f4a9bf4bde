//! Every order in which two nodes and their database can do what a few calls need, with a fault at every point.
//!
//! The lanes, heartbeats, sweepers and late settlements are the engine's own; the store is the one in memory. Each call
//! to it waits twice, and the order in which calls go on is chosen by a depth-first search ([`crate::explorer`] says
//! which orders count as one). Time passes only where the search wants it to. Heartbeats, messages and sweeps are not
//! reordered among each other; they stop and go on with the connection of their node.
//!
//! `ASSISTIV_SIMULATION_FULL` puts one fault more into each schedule.
//!
//! A failure prints the choices that led to it. They are the same in every run.

use std::time::Duration;

use assistiv_core::billing::{BillingOptions, LastRequest};

use crate::cluster::{Job, cost_of};
use crate::explorer::Explorer;
use crate::hub::How;
use crate::run::{Scenario, play};

/// Set to anything: one fault more in each schedule.
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
    let twice = Scenario {
        faults: 2,
        ..scenario("one whole answer", &[WHOLE_A])
    };
    explore(twice, 3);
}

#[test]
fn one_stream() {
    explore(scenario("one stream", &[STREAM_A]), 2);
}

#[test]
fn a_stream_that_fails() {
    let settling = Scenario {
        held: SETTLEMENTS,
        ..scenario("a stream that fails", &[FAILING])
    };
    explore(settling, 2);
}

#[test]
fn one_stream_with_a_budget() {
    let with_budget = Scenario {
        budget: Some(50 * one_hold()),
        held: SETTLEMENTS,
        ..scenario("one stream with a budget", &[STREAM_A])
    };
    explore(with_budget, 2);
}

/// The second call needs what the first one's node has at hand, and no more than that.
#[test]
fn two_nodes_and_one_call_s_worth() {
    let scarce = Scenario {
        wallet: 2 * one_hold(),
        held: &["lease", "lane", "slot", "recall"],
        ..scenario("two nodes and two holds", &[WHOLE_A, WHOLE_B])
    };
    explore(scarce, 2);
}

#[test]
fn two_answers_of_two_nodes() {
    let settling = Scenario {
        held: SETTLEMENTS,
        ..scenario("two answers of two nodes", &[WHOLE_A, WHOLE_B])
    };
    explore(settling, 2);
}

#[test]
fn two_streams_of_two_nodes() {
    let settling = Scenario {
        held: SETTLEMENTS,
        ..scenario("two streams of two nodes", &[STREAM_A, STREAM_B])
    };
    explore(settling, 2);
}

#[test]
fn two_answers_of_one_node() {
    let settling = Scenario {
        held: SETTLEMENTS,
        ..scenario("two answers of one node", &[WHOLE_A, STREAM_A])
    };
    explore(settling, 2);
}

/// A refund that has to wait for a batch of its own.
#[test]
fn two_answers_in_batches_of_one() {
    let mut one_by_one = Scenario {
        held: SETTLEMENTS,
        faults: 2,
        kinds: &[How::Slow, How::LoseReply, How::Die],
        ..scenario("two answers in batches of one", &[WHOLE_A, WHOLE_A])
    };
    one_by_one.options.batch_max = 1;
    explore(one_by_one, 3);
}

/// Gates that wait for longer than a node may be silent: as if its process had stood still.
#[test]
fn two_answers_that_outlast_their_node() {
    let mut patient = Scenario {
        held: SETTLEMENTS,
        kinds: &[
            How::LoseReply,
            How::CutOff,
            How::CutOffLateFirst,
            How::CutOffBriefly,
        ],
        ..scenario("two answers that outlast their node", &[WHOLE_A, STREAM_A])
    };
    patient.options.gate_timeout = Duration::from_secs(60);
    explore(patient, 2);
}

/// Here leases pass at once: their orders are those of [`two_nodes_and_one_call_s_worth`].
#[test]
fn three_calls_of_two_nodes() {
    let settling = Scenario {
        held: SETTLEMENTS,
        ..scenario("three calls of two nodes", &[STREAM_A, WHOLE_A, WHOLE_B])
    };
    explore(settling, 2);
}
