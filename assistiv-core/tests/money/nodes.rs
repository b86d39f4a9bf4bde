//! Several nodes on one database: what they share, and what they take over from each other.

mod cluster;

use std::time::Duration;

use assistiv_core::Error;
use assistiv_core::billing::{
    BillingOptions, ChargeFlags, EntryKind, FundError, Lane, OnExhausted, SuspendInflight,
};
use assistiv_core::logs::BillingStatus;
use assistiv_core::money::NanoUsd;
use http_body_util::BodyExt;

pub use self::cluster::Cluster;
use crate::provider::Answer;
use crate::world::{World, cost_of, prompt_tokens, spawn};

const DOLLAR: NanoUsd = NanoUsd::new(1_000_000_000);

/// What is held for a call with a limit of 50.
fn one_hold() -> i64 {
    cost_of(prompt_tokens() * 11 / 10 + 1, 50)
}

fn transient(error: &Error) -> bool {
    match error {
        Error::Fund(FundError::WalletInsufficient { shortfall }) => shortfall.transient,
        other => panic!("{other}"),
    }
}

/// Worked example E4, with ten times the hold instead of a dollar: the funds of one node's idle slice serve the
/// other, to the last hold, and the eleventh call is told that funds may come back.
#[tokio::test(start_paused = true)]
async fn two_nodes_share_a_wallet_to_the_last_hold() {
    let cluster = Cluster::new(NanoUsd::new(10 * one_hold())).await;
    let Cluster { a, b, .. } = &cluster;
    let answer = Answer::whole(prompt_tokens() * 11 / 10 + 1, 50);
    a.answers(answer.held_back());
    let mut calls = Vec::new();
    for (n, node) in [a, b, a, a, b, b, a, b, a, a].into_iter().enumerate() {
        calls.push(node.spawn_call(&a.platform, false, 50));
        node.provider.wait_for_requests(n + 1).await;
    }
    for node in [a, b] {
        assert!(transient(
            &node.call(&a.platform, false, 50).await.unwrap_err()
        ));
    }
    a.provider.let_go();
    for call in calls {
        let response = call.await.unwrap().unwrap();
        assert!(
            response.headers().get("x-assistiv-max-tokens").is_none(),
            "none was lowered"
        );
    }
    assert_eq!(a.balance().await, NanoUsd::ZERO);
    for node in [a, b] {
        assert!(!transient(
            &node.call(&a.platform, false, 50).await.unwrap_err()
        ));
    }
    cluster.audit().await;
}

#[tokio::test(start_paused = true)]
async fn one_call_of_all_nodes_takes_the_rest() {
    let cluster = Cluster::new(NanoUsd::new(1_000)).await;
    let Cluster { a, b, .. } = &cluster;
    a.answers(Answer::whole(1, 0).held_back());
    let calls: Vec<_> = (0..40)
        .map(|n| [a, b][n % 2].spawn_call(&a.platform, false, 50))
        .collect();
    let (refused, passed) = a.wait_for_refusals(calls, 39).await;
    assert!(refused.iter().all(transient));
    assert_eq!(a.provider.requests(), 1);
    a.provider.let_go();
    for call in passed {
        call.await.unwrap().unwrap();
    }
    assert_eq!(a.balance().await, NanoUsd::new(1_000 - cost_of(1, 0)));
    cluster.audit().await;
}

#[tokio::test(start_paused = true)]
async fn what_one_node_does_not_use_any_more_serves_the_other() {
    let cluster = Cluster::new(NanoUsd::new(2 * one_hold())).await;
    let Cluster { a, b, .. } = &cluster;
    a.answers(Answer::whole(1, 1));
    a.call(&a.platform, false, 50).await.unwrap();
    let response = b.call(&a.platform, false, 50).await.unwrap();
    assert!(response.headers().get("x-assistiv-max-tokens").is_none());
    drop(response);
    cluster.audit().await;
}

#[tokio::test(start_paused = true)]
async fn a_suspension_on_one_node_stops_the_other() {
    let cluster = Cluster::new(DOLLAR).await;
    let Cluster { a, b, .. } = &cluster;
    let payer = a.end_user(Some(100_000_000), None).await;
    a.answers(Answer::whole(1, 1));
    b.call(&payer, false, 10).await.unwrap();
    a.suspend(&payer, true).await;
    assert!(matches!(
        b.call(&payer, false, 10).await,
        Err(Error::Fund(FundError::BudgetSuspended))
    ));
    assert_eq!(a.provider.requests(), 1);
    a.suspend(&payer, false).await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    b.call(&payer, false, 10).await.unwrap();
    cluster.audit().await;
}

#[tokio::test(start_paused = true)]
async fn a_budget_made_or_removed_on_one_node_counts_on_the_other() {
    let cluster = Cluster::new(DOLLAR).await;
    let Cluster { a, b, .. } = &cluster;
    let payer = a.end_user_without_budget().await;
    a.answers(Answer::whole(10, 10));
    b.call(&payer, false, 10).await.unwrap();
    a.give_budget(&payer, Some(cost_of(10, 10)), None).await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    b.call(&payer, false, 10).await.unwrap();
    assert!(matches!(
        b.call(&payer, false, 10).await,
        Err(Error::Fund(FundError::BudgetExhausted { .. }))
    ));
    cluster.audit().await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_a_suspended_user_is_cut_where_the_operator_wants_it() {
    let options = BillingOptions {
        suspend_inflight: SuspendInflight::Cut,
        ..BillingOptions::default()
    };
    let cluster = Cluster::with(options, DOLLAR).await;
    let Cluster { a, b, .. } = &cluster;
    let payer = a.end_user(Some(100_000_000), None).await;
    a.answers(Answer::stream(10, 50).waiting_after(3));
    let body = b.call(&payer, true, 100).await.unwrap().into_body();
    let text = spawn(async move { body.collect().await.unwrap().to_bytes() });
    a.suspend(&payer, true).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    a.provider.let_go();
    let text = String::from_utf8(text.await.unwrap().to_vec()).unwrap();
    assert!(
        text.contains("budget_suspended") && !text.contains("[DONE]"),
        "{text}"
    );
    cluster.audit().await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_without_funds_runs_on_where_the_operator_wants_it() {
    let options = BillingOptions {
        on_exhausted: OnExhausted::Finish,
        ..BillingOptions::default()
    };
    let cluster = Cluster::with(options, NanoUsd::new(cost_of(100, 10_000))).await;
    let a = &cluster.a;
    a.answers(Answer::stream(10, 20_000).pausing());
    let text = a.stream_without_limit(&a.platform).await;
    assert!(text.ends_with("data: [DONE]\n\n"));
    let left = cost_of(100, 10_000) - cost_of(10, 20_000);
    assert_eq!(a.balance().await, NanoUsd::new(left));
    assert!(a.newest_charge().await.flags.contains(ChargeFlags::OVERRAN));
    cluster.audit().await;
}

/// A node that lost the database for so long that another one swept it: its stream reaches its client, is charged
/// exactly, and the process goes on as a new node.
#[tokio::test(start_paused = true)]
async fn a_fenced_node_settles_late_and_registers_anew() {
    let cluster = Cluster::new(DOLLAR).await;
    let Cluster { a, b, to_a, .. } = &cluster;
    a.answers_in_turn([
        Answer::stream(10, 50).waiting_after(2),
        Answer::whole(10, 10).held_back(),
        Answer::whole(1, 1),
    ]);
    let body = a.call(&a.platform, true, 100).await.unwrap().into_body();
    let text = spawn(async move { body.collect().await.unwrap().to_bytes() });
    let whole = a.spawn_call(&a.platform, false, 100);
    a.provider.wait_for_requests(2).await;
    to_a.cut();
    tokio::time::sleep(Duration::from_secs(14)).await;
    let charge = b.newest_charge().await;
    assert!(
        charge
            .flags
            .contains(ChargeFlags::CRASH.with(ChargeFlags::TRUNCATED))
    );
    assert_eq!(
        charge.wallet.unwrap().1,
        NanoUsd::new(-cost_of(prompt_tokens(), 0))
    );

    to_a.mend();
    // What had delivered nothing is aborted, and costs nothing.
    let aborted = whole.await.unwrap().unwrap_err();
    assert!(
        matches!(aborted, Error::Fund(FundError::Uncertain { .. })),
        "{aborted}"
    );
    tokio::time::sleep(Duration::from_secs(2)).await;
    a.provider.let_go();
    let text = String::from_utf8(text.await.unwrap().to_vec()).unwrap();
    assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
    let entries = b.entries().await;
    let kinds: Vec<_> = entries.iter().map(|entry| entry.kind).collect();
    assert_eq!(
        kinds,
        [EntryKind::Correction, EntryKind::Charge, EntryKind::TopUp]
    );
    assert_eq!(
        b.balance().await,
        NanoUsd::new(DOLLAR.get() - cost_of(10, 50))
    );
    // The row of the call shows its charge; the correction leaves it as it is.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(
        b.logged(charge.uid).await,
        Some((BillingStatus::Billed, cost_of(prompt_tokens(), 0)))
    );

    a.call(&a.platform, false, 10).await.unwrap();
    cluster.audit().await;
}

/// The stream ends before the node can be told that it was fenced.
#[tokio::test(start_paused = true)]
async fn a_late_settlement_waits_for_the_database() {
    let cluster = Cluster::new(DOLLAR).await;
    let Cluster { a, b, to_a, .. } = &cluster;
    a.answers(Answer::stream(10, 50).waiting_after(2));
    let body = a.call(&a.platform, true, 100).await.unwrap().into_body();
    to_a.cut();
    a.provider.let_go();
    let text = body.collect().await.unwrap().to_bytes();
    let text = String::from_utf8(text.to_vec()).unwrap();
    assert!(
        text.contains("service_unavailable") && !text.contains("[DONE]"),
        "{text}"
    );
    tokio::time::sleep(Duration::from_secs(14)).await;
    assert_eq!(
        b.entries().await.len(),
        2,
        "the top-up, and the charge of the sweep"
    );
    to_a.mend();
    cluster.audit().await;
    assert_eq!(
        b.balance().await,
        NanoUsd::new(DOLLAR.get() - cost_of(10, 50))
    );
    assert_eq!(b.entries().await.len(), 3);
}

/// A stream that was recorded and then released: the sweep has charged its prompt, and gives it back.
#[tokio::test(start_paused = true)]
async fn what_a_sweep_charged_for_nothing_is_given_back() {
    let cluster = Cluster::new(DOLLAR).await;
    let Cluster { a, b, to_a, .. } = &cluster;
    // Accepted and recorded, and then it fails before its first word.
    a.answers(Answer::stream(5, 5).failing_first().waiting_after(0));
    let call = a.spawn_call(&a.platform, true, 10);
    a.provider.wait_for_requests(1).await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    to_a.cut();
    tokio::time::sleep(Duration::from_secs(14)).await;
    assert_eq!(b.newest_charge().await.kind, EntryKind::Charge);
    a.provider.let_go();
    call.await.unwrap().unwrap_err();
    to_a.mend();
    cluster.audit().await;
    assert_eq!(b.balance().await, DOLLAR);
}

/// A node that died gives what it held to the others, and its stream is charged once.
#[tokio::test(start_paused = true)]
async fn a_dead_node_is_swept_by_its_neighbour() {
    let cluster = Cluster::new(NanoUsd::new(2 * one_hold())).await;
    let Cluster { a, b, to_a, .. } = &cluster;
    a.answers(Answer::stream(10, 50).stalling_after(2));
    let response = a.call(&a.platform, true, 50).await.unwrap();
    to_a.cut();
    a.answers(Answer::whole(1, 1));
    tokio::time::sleep(Duration::from_secs(14)).await;
    let left = 2 * one_hold() - cost_of(prompt_tokens(), 0);
    assert_eq!(b.balance().await, NanoUsd::new(left));
    let whole = b.call(&a.platform, false, 50).await.unwrap();
    assert!(whole.headers().get("x-assistiv-max-tokens").is_none());
    std::mem::forget(response);
}

#[tokio::test(start_paused = true)]
async fn a_lost_reply_to_a_lease_is_made_up_for() {
    let cluster = Cluster::new(NanoUsd::new(one_hold())).await;
    let Cluster { a, to_a, .. } = &cluster;
    a.answers(Answer::whole(1, 1));
    to_a.lose_replies(Lane::Lease, 1);
    let response = a.call(&a.platform, false, 50).await.unwrap();
    assert!(
        response.headers().get("x-assistiv-max-tokens").is_none(),
        "all was found again"
    );
    drop(response);
    cluster.audit().await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_reply_to_a_settlement_charges_once() {
    let cluster = Cluster::new(DOLLAR).await;
    let Cluster { a, to_a, .. } = &cluster;
    a.answers(Answer::whole(10, 10));
    to_a.lose_replies(Lane::Settle, 1);
    a.call(&a.platform, false, 50).await.unwrap();
    assert_eq!(
        a.balance().await,
        NanoUsd::new(DOLLAR.get() - cost_of(10, 10))
    );
    assert_eq!(a.entries().await.len(), 2);
    cluster.audit().await;
}

/// Closing leaves neither slots nor streams behind, and nothing for a sweep to find.
#[tokio::test(start_paused = true)]
async fn a_node_that_closes_leaves_nothing() {
    let cluster = Cluster::new(DOLLAR).await;
    let Cluster { a, b, .. } = &cluster;
    a.answers(Answer::stream(10, 50));
    for node in [a, b, a, b] {
        let response = node.call(&a.platform, true, 50).await.unwrap();
        response.into_body().collect().await.unwrap();
    }
    let close = |node: &World| node.gateway.clone();
    close(a).shut_down(Duration::from_secs(5)).await.unwrap();
    assert!(a.call(&a.platform, false, 50).await.is_err());
    b.call(&a.platform, false, 50).await.unwrap();
    close(b).shut_down(Duration::from_secs(5)).await.unwrap();
    for account in cluster.audit().await {
        assert!(account.slots.is_zero(), "{account:?}");
    }
    assert_eq!(b.entries().await.len(), 6);
}
