//! What a node does while the database is away.

use std::time::Duration;

use assistiv_core::Error;
use assistiv_core::billing::{BillingOptions, FundError, GateTimeoutAction, OutagePolicy};
use assistiv_core::money::NanoUsd;
use http_body_util::BodyExt;

use crate::nodes::Cluster;
use crate::provider::Answer;
use crate::world::{World, cost_of};

const DOLLAR: NanoUsd = NanoUsd::new(1_000_000_000);

fn with(on_outage: OutagePolicy, on_timeout: GateTimeoutAction) -> BillingOptions {
    BillingOptions {
        outage_policy: on_outage,
        gate_timeout_action: on_timeout,
        ..BillingOptions::default()
    }
}

fn uncertain(error: Error) -> bool {
    matches!(error, Error::Fund(FundError::Uncertain { .. }))
}

/// Gives the node a slice to spend from.
async fn warmed(node: &World) {
    node.answers(Answer::whole(10, 10));
    node.call(&node.platform, false, 10).await.unwrap();
}

async fn sleep(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
}

#[tokio::test(start_paused = true)]
async fn calls_are_refused_soon_after_the_database_went_away() {
    let cluster = Cluster::new(DOLLAR).await;
    let a = &cluster.a;
    warmed(a).await;
    cluster.to_a.cut();
    // The next heartbeat is a second away, and then half a second passes.
    sleep(1_600).await;
    assert!(uncertain(a.call(&a.platform, false, 10).await.unwrap_err()));
    assert_eq!(a.provider.requests(), 1, "nothing was sent");
    cluster.to_a.mend();
    sleep(2_000).await;
    a.call(&a.platform, false, 10).await.unwrap();
    assert_eq!(
        a.balance().await,
        NanoUsd::new(DOLLAR.get() - 2 * cost_of(10, 10))
    );
    cluster.audit().await;
}

/// An answer that cannot be charged is dropped, and its charge taken back.
#[tokio::test(start_paused = true)]
async fn an_answer_in_one_piece_is_dropped_with_its_charge() {
    let cluster = Cluster::new(DOLLAR).await;
    let a = &cluster.a;
    warmed(a).await;
    a.answers(Answer::whole(10, 10).held_back());
    let call = a.spawn_call(&a.platform, false, 10);
    a.provider.wait_for_requests(2).await;
    cluster.to_a.cut();
    a.provider.let_go();
    assert!(uncertain(call.await.unwrap().unwrap_err()));
    cluster.to_a.mend();
    cluster.audit().await;
    assert_eq!(
        a.balance().await,
        NanoUsd::new(DOLLAR.get() - cost_of(10, 10))
    );
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_let_out_where_the_operator_wants_it() {
    let options = with(OutagePolicy::FailClosed, GateTimeoutAction::Release);
    let cluster = Cluster::with(options, DOLLAR).await;
    let a = &cluster.a;
    warmed(a).await;
    for stream in [false, true] {
        a.answers(Answer::whole(10, 10).held_back());
        let call = a.spawn_call(&a.platform, stream, 10);
        a.provider
            .wait_for_requests(if stream { 3 } else { 2 })
            .await;
        cluster.to_a.cut();
        a.provider.let_one_go();
        let response = call.await.unwrap().unwrap();
        let text = response.into_body().collect().await.unwrap().to_bytes();
        assert!(!stream || text.ends_with(b"data: [DONE]\n\n"));
        cluster.to_a.mend();
        cluster.audit().await;
        sleep(2_000).await;
    }
    assert_eq!(
        a.balance().await,
        NanoUsd::new(DOLLAR.get() - 3 * cost_of(10, 10))
    );
}

/// With grace a node goes on with what it leased, and stops before another may take it.
#[tokio::test(start_paused = true)]
async fn grace_ends_at_the_deadline() {
    let options = with(OutagePolicy::Grace, GateTimeoutAction::FailClosed);
    let cluster = Cluster::with(options, DOLLAR).await;
    let a = &cluster.a;
    warmed(a).await;
    sleep(100).await;
    cluster.to_a.cut();
    sleep(2_000).await;
    // Its charge cannot be written, so its gate times out, and lets it out.
    a.call(&a.platform, false, 10).await.unwrap();
    sleep(2_000).await;
    assert!(uncertain(a.call(&a.platform, false, 10).await.unwrap_err()));
    assert_eq!(a.provider.requests(), 2);
    // Back before anybody swept it.
    cluster.to_a.mend();
    cluster.audit().await;
    assert_eq!(
        a.balance().await,
        NanoUsd::new(DOLLAR.get() - 2 * cost_of(10, 10))
    );
}

/// A call was authorised in time, and its second attempt comes after the node's time has run out: another node may
/// own the money by then.
#[tokio::test(start_paused = true)]
async fn nothing_is_sent_after_the_deadline() {
    let cluster = Cluster::new(DOLLAR).await;
    let Cluster { a, to_a, .. } = &cluster;
    a.answers_in_turn([Answer::status(503).held_back(), Answer::whole(1, 1)]);
    let call = async {
        let error = a
            .call_model(&a.platform, "two-ways", false, 10)
            .await
            .unwrap_err();
        assert!(uncertain(error));
    };
    let outage = async {
        a.provider.wait_for_requests(1).await;
        to_a.cut();
        sleep(9_000).await;
        a.provider.let_go();
    };
    tokio::join!(call, outage);
    assert_eq!(a.provider.requests(), 1);
    to_a.mend();
    cluster.audit().await;
    assert_eq!(a.balance().await, DOLLAR);
}
