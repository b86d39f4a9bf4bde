//! Limits on what may be spent, under load and to the last nano-dollar.

use assistiv_core::billing::ChargeFlags;
use serde_json::json;

use crate::charge::{Charge, body, counted, streamed, with, words};
use crate::client::{Connection, Request};
use crate::world::{Setup, World, dollars, run, until};

/// The prompt's tokens as they are held for: the gateway's count and a tenth more.
fn held_input(prompt: &str) -> u64 {
    (counted(prompt) * 11).div_ceil(10)
}

/// What so many tokens cost.
fn cost(input: u64, output: u64) -> i64 {
    Charge::reported(input, output).cost()
}

/// The prompt's tokens as the mock counts them.
fn mock_input(prompt: &str) -> u64 {
    (prompt.len() as u64).div_ceil(4) + 3
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_costs_exactly_what_was_used() {
    let world = World::new().await;
    let prompt = "mock:prompt_tokens=1234 mock:cached_tokens=1000 mock:completion_tokens=567";
    let answer = world.whole(prompt).await;
    assert_eq!(answer.status, 200);
    let charge = Charge {
        cached: 1000,
        ..Charge::reported(1234, 567)
    };
    assert_eq!(charge.cost(), 450_300);
    world.charged(&[charge]).await;
    // And so it is shown.
    let budget = world
        .manage("GET", &world.user_path("/budget"), json!({}), 200)
        .await;
    assert_eq!(
        (&budget["used_usd"], &budget["used_tokens"]),
        (&json!(0.000_450_3), &json!(1801))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_platforms_are_told_the_cost() {
    let world = World::new().await;
    let asked = body("mock:prompt_tokens=1000 mock:completion_tokens=2000");
    let told = world
        .send(&Request::chat(&world.platform.key, &asked))
        .await;
    assert_eq!(told.header("x-assistiv-cost-usd"), Some("0.001350"));
    let hidden = world
        .send(&Request::chat(&world.end_user.key, &asked))
        .await;
    assert_eq!(
        (hidden.status, hidden.header("x-assistiv-cost-usd")),
        (200, None)
    );
    let charge = Charge::reported(1000, 2000);
    world.charged(&[charge.of_platform(), charge]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_output_limit_is_lowered_to_what_the_wallet_can_pay() {
    let prompt = "mock:words=100";
    let wallet = cost(held_input(prompt), 30);
    let world = World::with(Setup {
        wallet,
        ..Setup::default()
    })
    .await;
    let answer = world.whole(prompt).await;
    lowered_to_thirty(&world, &answer);
    world
        .charged(&[Charge::reported(mock_input(prompt), 30)])
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_output_limit_is_lowered_to_what_the_budget_can_pay() {
    let prompt = "mock:words=100";
    for budget in [
        json!({"max_usd": dollars(cost(held_input(prompt), 30))}),
        json!({"max_tokens": held_input(prompt) + 30}),
    ] {
        let world = World::with(Setup {
            budget,
            ..Setup::default()
        })
        .await;
        let asked = with(body(prompt), json!({"max_tokens": 80}));
        let answer = world.send(&Request::chat(&world.end_user.key, asked)).await;
        lowered_to_thirty(&world, &answer);
        world
            .charged(&[Charge::reported(mock_input(prompt), 30)])
            .await;
    }
}

fn lowered_to_thirty(world: &World, answer: &crate::client::Answer) {
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("x-assistiv-max-tokens"), Some("30"));
    let upstream = world.mock.last_request().unwrap().json().unwrap();
    let limits: Vec<_> = ["max_tokens", "max_completion_tokens"]
        .iter()
        .filter_map(|name| upstream[name].as_u64())
        .collect();
    assert_eq!(limits, [30], "one member sets the limit: {upstream}");
    assert_eq!(answer.json()["choices"][0]["finish_reason"], "length");
}

/// The gateway counts text in more tokens than the provider does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_within_its_own_limit_is_never_cut_for_funds() {
    let prompt = "mock:words=100";
    let wallet = cost(held_input(prompt), 100);
    let world = World::with(Setup {
        wallet,
        ..Setup::default()
    })
    .await;
    let mut connection = Connection::open(world.address).await;
    let asked = with(streamed(prompt), json!({"max_tokens": 100}));
    connection
        .send(&Request::chat(&world.end_user.key, asked))
        .await;
    let rest = connection.stream().await.rest().await;
    rest.ended_well();
    world
        .charged(&[Charge::reported(mock_input(prompt), 100)])
        .await;
}

/// Many callers at once, funds for ten of them.
async fn ten_of_64_pass(setup: impl Fn(u64, i64) -> Setup, by_platform: bool, reason: &str) {
    let base = "mock:first_ms=5000 mock:completion_tokens=50 mock:prompt_tokens=";
    // The number must not change the length of the prompt that it counts.
    let input = held_input(&format!("{base}00"));
    let prompt = format!("{base}{input}");
    assert_eq!(held_input(&prompt), input);
    let world = World::with(setup(input, cost(input, 50))).await;
    let key = if by_platform {
        &world.platform.key
    } else {
        &world.end_user.key
    };
    let request = Request::chat(key, with(body(&prompt), json!({"max_tokens": 50})));
    let calls = (0..64).map(|_| {
        let (request, address) = (request.clone(), world.address);
        run(async move {
            let mut connection = Connection::open(address).await;
            connection.send(&request).await;
            connection.answer().await
        })
    });
    let calls: Vec<_> = calls.collect();
    until(|| calls.iter().filter(|call| call.is_finished()).count() == 54).await;
    world.wait_for_requests(10).await;
    let mut passed = 0;
    for call in calls {
        let answer = call.await.unwrap();
        if answer.status == 200 {
            passed += 1;
            continue;
        }
        let error = answer.refused(402, reason);
        assert_eq!(
            error["details"]["transient"], true,
            "the funds are held by calls in flight"
        );
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
    assert_eq!(passed, 10);
    world.provider_saw(10);
    let charge = Charge::reported(input, 50);
    let charge = if by_platform {
        charge.of_platform()
    } else {
        charge
    };
    world.charged(&[charge; 10]).await;
    let answer = world.send(&request).await;
    assert_eq!(answer.refused(402, reason)["details"]["transient"], false);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_64_calls_at_once_ten_pass_that_the_wallet_can_pay() {
    let setup = |_, one: i64| Setup {
        wallet: 10 * one,
        ..Setup::default()
    };
    ten_of_64_pass(setup, true, "wallet_insufficient").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_64_calls_at_once_ten_pass_that_the_dollar_budget_can_pay() {
    let setup = |_, one: i64| Setup {
        budget: json!({"max_usd": dollars(10 * one)}),
        ..Setup::default()
    };
    ten_of_64_pass(setup, false, "budget_exhausted").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_64_calls_at_once_ten_pass_that_the_token_budget_can_pay() {
    let setup = |input: u64, _| Setup {
        budget: json!({"max_tokens": 10 * (input + 50)}),
        ..Setup::default()
    };
    ten_of_64_pass(setup, false, "budget_exhausted").await;
}

/// A stream without a limit, with enough for its first hold and not enough to extend it.
async fn ends_with_the_funds(setup: Setup, by_platform: bool, reason: &str) {
    let world = World::with(setup).await;
    let tenant = if by_platform {
        &world.platform
    } else {
        &world.end_user
    };
    let mut connection = Connection::open(world.address).await;
    connection
        .send(&Request::chat(&tenant.key, streamed(ENDLESS)))
        .await;
    let rest = connection.stream().await.rest().await;
    let error = rest.failed(402, reason);
    assert_eq!(error["details"]["transient"], false);
    let delivered = rest.text();
    assert!(words(20_000).starts_with(&delivered));
    // It is cut at the piece that cost more than was held: charged in full, and marked so.
    let charge = Charge::cut(ENDLESS, &delivered);
    let charge = Charge {
        flags: charge.flags | ChargeFlags::OVERRAN.bits(),
        ..charge
    };
    let charge = if by_platform {
        charge.of_platform()
    } else {
        charge
    };
    // Upstream the call is over, too. What the sockets between hold may have been the whole answer.
    until(|| world.mock.stats().dropped + world.mock.stats().finished == 1).await;
    assert!(
        charge.cost() <= funds(),
        "not a nano-dollar more than there was"
    );
    world.charged(&[charge]).await;
}

const ENDLESS: &str = "mock:words=20000 mock:no_usage";

/// Enough for the first hold of a stream without a limit, not enough to extend it.
fn funds() -> i64 {
    cost(held_input(ENDLESS), 4096 + 900)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_ends_with_the_wallet() {
    let wallet = funds();
    ends_with_the_funds(
        Setup {
            wallet,
            ..Setup::default()
        },
        true,
        "wallet_insufficient",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_ends_with_the_budget() {
    let budget = json!({"max_usd": dollars(funds())});
    ends_with_the_funds(
        Setup {
            budget,
            ..Setup::default()
        },
        false,
        "budget_exhausted",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_ends_when_the_funds_do() {
    let prompt = "mock:words=20000 mock:no_usage";
    // Enough for the hold of a stream without a limit, not enough to extend it.
    let wallet = cost(held_input(prompt), 4096 + 900);
    let world = World::with(Setup {
        wallet,
        ..Setup::default()
    })
    .await;
    let mut stream = world.stream(prompt).await;
    assert_eq!(stream.status, 200);
    let rest = stream.rest().await;
    rest.failed(402, "wallet_insufficient");
    let delivered = rest.text();
    assert!(words(20_000).starts_with(&delivered));
    // Cut at the piece that exceeded the hold: charged in full, and marked so.
    let overran = Charge::cut(prompt, &delivered);
    world
        .charged(&[Charge {
            flags: overran.flags | 8,
            ..overran
        }])
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_ends_with_the_token_budget() {
    let budget = json!({"max_tokens": held_input(ENDLESS) + 4096 + 900});
    ends_with_the_funds(
        Setup {
            budget,
            ..Setup::default()
        },
        false,
        "budget_exhausted",
    )
    .await;
}
