//! Money through the inference stack: what is held, charged and given back, on every backend.

#![expect(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test and its helpers"
)]

#[cfg(feature = "testing")]
mod nodes;
#[cfg(feature = "testing")]
mod outages;
mod provider;
#[cfg(all(feature = "testing", feature = "postgres"))]
mod shared;
mod world;

use std::time::Duration;

use assistiv_core::Error;
use assistiv_core::billing::{ChargeFlags, EntryKind, FundError};
use assistiv_core::money::NanoUsd;
use assistiv_core::provider::ProviderErrorKind;
use futures_util::StreamExt;
use http_body_util::{BodyExt, BodyStream};

use self::provider::Answer;
use self::world::{Backend, World, cost_of, prompt_tokens};

/// One test for each backend.
macro_rules! on_every_backend {
    ($($name:ident)*) => {
        mod memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { super::$name(super::Backend::Memory).await; })*
        }
        #[cfg(feature = "sqlite")]
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { super::$name(super::Backend::Sqlite).await; })*
        }
        on_postgres! { $($name)* }
    };
}

/// The same on PostgreSQL, on a server that nodes share. A test that makes up the death of a node is not among them:
/// there a node whose process goes on lives on in its heartbeats. `assistiv-server/tests/rounds` kills processes.
macro_rules! on_postgres {
    (@a_node_that_dies_charges_open_streams_once) => {};
    (@$name:ident) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() { super::$name(super::Backend::Postgres).await; }
    };
    ($($name:ident)*) => {
        #[cfg(all(feature = "testing", feature = "postgres"))]
        mod postgres {
            $(on_postgres! { @$name })*
        }
    };
}

on_every_backend! {
    a_call_costs_exactly_what_was_used
    parallel_calls_never_overspend_the_wallet
    parallel_calls_never_overspend_a_token_limit
    the_output_limit_is_lowered_to_what_can_be_paid
    the_last_call_takes_all_that_is_left
    an_exhausted_budget_is_told_before_an_empty_wallet
    a_suspended_user_is_refused_at_once
    a_failed_provider_costs_nothing
    a_client_that_leaves_midstream_pays_what_was_produced
    a_client_that_leaves_before_acceptance_pays_nothing
    a_stream_that_breaks_charges_what_was_delivered
    a_stream_that_outgrows_its_hold_goes_on
    a_stream_ends_when_the_funds_end
    an_explicit_zero_is_a_report
    missing_usage_is_estimated_and_flagged
    another_target_is_tried_before_the_first_byte_only
    a_node_that_dies_charges_open_streams_once
    shutting_down_returns_everything
}

async fn a_call_costs_exactly_what_was_used(backend: Backend) {
    let world = World::new(backend, NanoUsd::new(1_000_000_000)).await;
    world.answers(Answer::whole(10, 20));
    let payer = world.end_user(Some(1_000_000_000), None).await;
    let response = world.call(&payer, false, 50).await.unwrap();
    assert!(
        response.headers().get("x-assistiv-cost-usd").is_none(),
        "cost is hidden from end users"
    );
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert!(body.starts_with(b"{"));
    assert_eq!(
        world.balance().await,
        NanoUsd::new(1_000_000_000 - cost_of(10, 20))
    );
    let budget = world.budget(&payer).await;
    assert_eq!(
        (budget.used_usd.get(), budget.used_tokens.get()),
        (cost_of(10, 20), 30)
    );
    let response = world.call(&world.platform, false, 50).await.unwrap();
    let cost = response.headers()["x-assistiv-cost-usd"]
        .to_str()
        .unwrap()
        .to_owned();
    assert_eq!(cost, NanoUsd::new(cost_of(10, 20)).to_string());
    drop(response);
    world.audit().await;
}

/// Exactly as many calls reach the provider as funds allow, while all of them are in flight at once.
async fn parallel_calls_never_overspend_the_wallet(backend: Backend) {
    let input = prompt_tokens() * 11 / 10 + 1;
    let one = cost_of(input, 50);
    let world = World::new(backend, NanoUsd::new(10 * one)).await;
    world.answers(Answer::whole(input, 50).held_back());
    let calls: Vec<_> = (0..64)
        .map(|_| world.spawn_call(&world.platform, false, 50))
        .collect();
    let (refused, passed) = world.wait_for_refusals(calls, 54).await;
    for error in refused {
        let Error::Fund(FundError::WalletInsufficient { shortfall }) = error else {
            panic!("{error}")
        };
        assert!(
            shortfall.transient,
            "the funds are only held by calls in flight"
        );
    }
    assert_eq!(world.provider.requests(), 10);
    world.provider.let_go();
    for call in passed {
        call.await.unwrap().unwrap();
    }
    assert_eq!(world.balance().await, NanoUsd::ZERO);
    assert!(matches!(
        world.call(&world.platform, false, 50).await,
        Err(Error::Fund(FundError::WalletInsufficient { shortfall })) if !shortfall.transient
    ));
    world.audit().await;
}

async fn parallel_calls_never_overspend_a_token_limit(backend: Backend) {
    let input = prompt_tokens() * 11 / 10 + 1;
    let world = World::new(backend, NanoUsd::new(i64::MAX / 100)).await;
    let payer = world.end_user(None, Some((input + 50) * 7)).await;
    world.answers(Answer::stream(input, 50).held_back());
    let calls: Vec<_> = (0..40)
        .map(|_| world.spawn_call(&payer, true, 50))
        .collect();
    let (refused, passed) = world.wait_for_refusals(calls, 33).await;
    assert!(
        refused
            .iter()
            .all(|e| matches!(e, Error::Fund(FundError::BudgetExhausted { .. })))
    );
    world.provider.let_go();
    for call in passed {
        call.await
            .unwrap()
            .unwrap()
            .into_body()
            .collect()
            .await
            .unwrap();
    }
    assert_eq!(
        world.budget(&payer).await.remaining_tokens().unwrap().get(),
        0
    );
    world.audit().await;
}

async fn the_output_limit_is_lowered_to_what_can_be_paid(backend: Backend) {
    let input = prompt_tokens() * 11 / 10 + 1;
    let world = World::new(backend, NanoUsd::new(cost_of(input, 30))).await;
    world.answers(Answer::whole(input, 30));
    let response = world.call(&world.platform, false, 1000).await.unwrap();
    assert_eq!(response.headers()["x-assistiv-max-tokens"], "30");
    assert_eq!(world.provider.last_limit(), Some(30));
    drop(response);
    assert_eq!(world.balance().await, NanoUsd::ZERO);
    world.audit().await;
}

async fn the_last_call_takes_all_that_is_left(backend: Backend) {
    let world = World::new(backend, NanoUsd::new(1)).await;
    world.answers(Answer::whole(10, 16));
    let response = world.call(&world.platform, false, 1000).await.unwrap();
    assert_eq!(response.headers()["x-assistiv-max-tokens"], "16");
    drop(response);
    assert_eq!(
        world.balance().await,
        NanoUsd::new(1 - cost_of(10, 16)),
        "the overrun is charged in full"
    );
    let charge = world.newest_charge().await;
    assert!(charge.flags.contains(ChargeFlags::OVERRAN));
    assert!(world.call(&world.platform, false, 1000).await.is_err());
    world.audit().await;
}

async fn an_exhausted_budget_is_told_before_an_empty_wallet(backend: Backend) {
    let world = World::new(backend, NanoUsd::ZERO).await;
    let payer = world.end_user(Some(1_000), None).await;
    world.debit(&payer, 1_000).await;
    let error = world.call(&payer, false, 10).await.unwrap_err();
    assert!(
        matches!(error, Error::Fund(FundError::BudgetExhausted { .. })),
        "{error}"
    );
    let error = world.call(&world.platform, false, 10).await.unwrap_err();
    assert!(
        matches!(error, Error::Fund(FundError::WalletInsufficient { .. })),
        "{error}"
    );
    assert_eq!(world.provider.requests(), 0);
}

async fn a_suspended_user_is_refused_at_once(backend: Backend) {
    let world = World::new(backend, NanoUsd::new(1_000_000_000)).await;
    let payer = world.end_user(Some(1_000_000_000), None).await;
    world.answers(Answer::whole(1, 1));
    world.call(&payer, false, 10).await.unwrap();
    world.suspend(&payer, true).await;
    assert!(matches!(
        world.call(&payer, false, 10).await,
        Err(Error::Fund(FundError::BudgetSuspended))
    ));
    world.suspend(&payer, false).await;
    world.call(&payer, false, 10).await.unwrap();
    world.audit().await;
}

async fn a_failed_provider_costs_nothing(backend: Backend) {
    let world = World::new(backend, NanoUsd::new(1_000_000_000)).await;
    for stream in [false, true] {
        world.answers(Answer::status(500));
        let error = world.call(&world.platform, stream, 10).await.unwrap_err();
        assert!(matches!(error, Error::Provider(e) if e.kind() == ProviderErrorKind::Failed));
        world.answers(Answer::stream(5, 5).failing_first());
        world.call(&world.platform, true, 10).await.unwrap_err();
    }
    assert_eq!(world.balance().await, NanoUsd::new(1_000_000_000));
    world.no_hold_is_left().await;
    world.audit().await;
}

async fn a_client_that_leaves_midstream_pays_what_was_produced(backend: Backend) {
    let world = World::new(backend, NanoUsd::new(1_000_000_000)).await;
    world.answers(Answer::stream(10, 5).stalling_after(3));
    let mut body = BodyStream::new(
        world
            .call(&world.platform, true, 100)
            .await
            .unwrap()
            .into_body(),
    );
    let mut received = 0;
    while received < 3 {
        received += body
            .next()
            .await
            .unwrap()
            .unwrap()
            .into_data()
            .unwrap()
            .split(|b| *b == b'\n')
            .filter(|l| !l.is_empty())
            .count();
    }
    drop(body);
    world.no_hold_is_left().await;
    // Nothing was reported, so the prompt and the words that were received are counted by their bytes.
    let expected = cost_of(prompt_tokens(), (3 * "word ".len() as i64 + 2) / 3);
    assert_eq!(
        world.balance().await,
        NanoUsd::new(1_000_000_000 - expected)
    );
    let charge = world.newest_charge().await;
    assert!(
        charge
            .flags
            .contains(ChargeFlags::TRUNCATED.with(ChargeFlags::ESTIMATED))
    );
    assert!(world.provider.was_dropped());
    world.audit().await;
}

async fn a_client_that_leaves_before_acceptance_pays_nothing(backend: Backend) {
    let world = World::new(backend, NanoUsd::new(1_000_000_000)).await;
    world.answers(Answer::whole(10, 10).held_back());
    let call = world.spawn_call(&world.platform, false, 100);
    world.provider.wait_for_requests(1).await;
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    world.no_hold_is_left().await;
    assert_eq!(world.balance().await, NanoUsd::new(1_000_000_000));
    world.audit().await;
}

async fn a_stream_that_breaks_charges_what_was_delivered(backend: Backend) {
    let world = World::new(backend, NanoUsd::new(1_000_000_000)).await;
    world.answers(Answer::stream(10, 5).breaking_after(2));
    let body = world
        .call(&world.platform, true, 100)
        .await
        .unwrap()
        .into_body();
    let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
    assert!(
        text.contains("provider_stream_interrupted") && !text.contains("[DONE]"),
        "{text}"
    );
    let expected = cost_of(prompt_tokens(), (2 * "word ".len() as i64 + 2) / 3);
    assert_eq!(
        world.balance().await,
        NanoUsd::new(1_000_000_000 - expected)
    );
    world.no_hold_is_left().await;
    world.audit().await;
}

/// The hold counts 4096 output tokens; the answer has ten times as many.
async fn a_stream_that_outgrows_its_hold_goes_on(backend: Backend) {
    let world = World::new(backend, NanoUsd::new(10_000_000_000)).await;
    let payer = world.end_user(Some(9_000_000_000), Some(1_000_000)).await;
    world.answers(Answer::stream(10, 40_000));
    let text = world.stream_without_limit(&payer).await;
    assert!(text.ends_with("data: [DONE]\n\n"));
    assert_eq!(
        world.balance().await,
        NanoUsd::new(10_000_000_000 - cost_of(10, 40_000))
    );
    assert_eq!(world.budget(&payer).await.used_tokens.get(), 40_010);
    world.audit().await;
}

async fn a_stream_ends_when_the_funds_end(backend: Backend) {
    let balance = cost_of(100, 10_000);
    let world = World::new(backend, NanoUsd::new(balance)).await;
    world.answers(Answer::stream(10, 100_000).pausing());
    let text = world.stream_without_limit(&world.platform).await;
    assert!(
        text.contains("wallet_insufficient") && !text.contains("[DONE]"),
        "no clean end"
    );
    let left = world.balance().await.get();
    // Cut at the first chunk that the hold does not cover: within one word of nothing.
    assert!((-cost_of(0, 10)..balance / 10).contains(&left), "{left}");
    let charge = world.newest_charge().await;
    assert!(charge.flags.contains(ChargeFlags::TRUNCATED));
    world.audit().await;
}

async fn an_explicit_zero_is_a_report(backend: Backend) {
    let world = World::new(backend, NanoUsd::new(1_000_000_000)).await;
    world.answers(Answer::whole(0, 0));
    world.call(&world.platform, false, 100).await.unwrap();
    assert_eq!(world.balance().await, NanoUsd::new(1_000_000_000));
    world.no_hold_is_left().await;
    world.audit().await;
}

async fn missing_usage_is_estimated_and_flagged(backend: Backend) {
    let world = World::new(backend, NanoUsd::new(1_000_000_000)).await;
    world.answers(Answer::stream(10, 6).without_usage());
    world
        .call(&world.platform, true, 100)
        .await
        .unwrap()
        .into_body()
        .collect()
        .await
        .unwrap();
    let expected = cost_of(prompt_tokens(), (6 * "word ".len() as i64 + 2) / 3);
    assert_eq!(
        world.balance().await,
        NanoUsd::new(1_000_000_000 - expected)
    );
    let charge = world.newest_charge().await;
    assert!(
        charge.flags.contains(ChargeFlags::ESTIMATED)
            && !charge.flags.contains(ChargeFlags::TRUNCATED)
    );
    world.audit().await;
}

async fn another_target_is_tried_before_the_first_byte_only(backend: Backend) {
    let world = World::new(backend, NanoUsd::new(1_000_000_000)).await;
    world.answers_in_turn([Answer::status(503), Answer::whole(7, 7)]);
    let response = world
        .call_model(&world.platform, "two-ways", false, 100)
        .await
        .unwrap();
    drop(response);
    assert_eq!(world.provider.requests(), 2);
    assert_eq!(
        world.balance().await,
        NanoUsd::new(1_000_000_000 - cost_of(7, 7)),
        "charged once"
    );
    world.answers_in_turn([Answer::status(400), Answer::whole(7, 7)]);
    world
        .call_model(&world.platform, "two-ways", false, 100)
        .await
        .unwrap_err();
    assert_eq!(
        world.provider.requests(),
        3,
        "a request that is wrong is wrong everywhere"
    );
    world.audit().await;
}

async fn a_node_that_dies_charges_open_streams_once(backend: Backend) {
    let world = World::new(backend, NanoUsd::new(1_000_000_000)).await;
    world.answers(Answer::stream(10, 50).stalling_after(2));
    let response = world.call(&world.platform, true, 100).await.unwrap();
    // The engine is forgotten with everything it holds in memory, as a killed process forgets it.
    let world = world.killed(response).await;
    assert_eq!(
        world.balance().await,
        NanoUsd::new(1_000_000_000 - cost_of(prompt_tokens(), 0))
    );
    let charge = world.newest_charge().await;
    assert_eq!(charge.kind, EntryKind::Charge);
    assert!(
        charge
            .flags
            .contains(ChargeFlags::CRASH.with(ChargeFlags::TRUNCATED))
    );
    world.audit().await;
    world.answers(Answer::whole(1, 1));
    world.call(&world.platform, false, 10).await.unwrap();
    world.audit().await;
}

async fn shutting_down_returns_everything(backend: Backend) {
    let world = World::new(backend, NanoUsd::new(1_000_000_000)).await;
    let payer = world.end_user(Some(500_000_000), Some(1_000_000)).await;
    world.answers(Answer::whole(10, 10));
    for _ in 0..5 {
        world.call(&payer, false, 100).await.unwrap();
    }
    world
        .gateway
        .shut_down(Duration::from_secs(5))
        .await
        .unwrap();
    for account in world.audit().await {
        assert!(account.slots.is_zero(), "{account:?}");
    }
    assert!(
        world.call(&payer, false, 100).await.is_err(),
        "a closed gateway authorises nothing"
    );
}
