//! Reconciliation: one runner, checkpoints, and what it is told.

use std::time::Duration;

use super::at_once;
use crate::billing::{ChargeFlags, LedgerAct, LedgerEntry, OpenStream, Refund, SettleBatch};
use crate::events::{EventType, OperatorEvent};
use crate::recon::{ReconOutcome, ReconRun, ReconSchedule, SETTLED_FOR, STREAM_STALE_AFTER};
use crate::testing::driver::Driver;
use crate::testing::world::World;
use crate::testing::{fixtures, scopes};

const HOUR: Duration = Duration::from_hours(1);
const SCHEDULE: ReconSchedule = ReconSchedule {
    full: Duration::from_hours(24),
    incremental: HOUR,
    lease: Duration::from_hours(2),
};

async fn begin(world: &World) -> Option<ReconRun> {
    let scope = scopes::operator();
    world
        .stores
        .recon
        .begin_recon(&scope, &SCHEDULE)
        .await
        .unwrap()
}

async fn finish(world: &World, run: ReconRun) {
    let outcome = ReconOutcome::default();
    let scope = scopes::operator();
    world
        .stores
        .recon
        .finish_recon(&scope, run, &outcome)
        .await
        .unwrap();
}

/// However many ask at once, one of them runs.
pub async fn one_of_many_reconciles(world: &World) {
    let runs = at_once(8, |_| {
        let world = world.clone();
        async move { begin(&world).await }
    })
    .await;
    let begun: Vec<_> = runs.into_iter().flatten().collect();
    assert_eq!(begun.len(), 1, "{begun:?}");
    assert!(begun[0].is_full);
    finish(world, begun[0]).await;
    assert_eq!(begin(world).await, None);
}

/// First everything, then what is new every hour, and everything again after a day.
pub async fn runs_are_due_by_their_schedule(world: &World) {
    let mut full = Vec::new();
    for _ in 0..49 {
        if let Some(run) = begin(world).await {
            full.push(run.is_full);
            finish(world, run).await;
        }
        world.pass(HOUR / 2);
    }
    assert_eq!(full.len(), 25);
    let of_all: Vec<_> = (0..25).filter(|index| full[*index]).collect();
    assert_eq!(of_all, [0, 24]);
    let never = ReconSchedule {
        full: Duration::ZERO,
        incremental: Duration::ZERO,
        ..SCHEDULE
    };
    let scope = scopes::operator();
    let begun = world
        .stores
        .recon
        .begin_recon(&scope, &never)
        .await
        .unwrap();
    assert_eq!(begun, None);
}

/// A runner that died keeps nobody from it for longer than its lease.
pub async fn a_run_that_is_left_makes_room(world: &World) {
    let left = begin(world).await.unwrap();
    world.pass(SCHEDULE.lease - Duration::from_secs(1));
    assert_eq!(begin(world).await, None);
    world.pass(Duration::from_secs(1));
    let run = begin(world).await.unwrap();
    assert!(run.is_full && run.id > left.id);
    // Who comes back late does not end the other's time.
    finish(world, left).await;
    assert_eq!(begin(world).await, None);
    finish(world, run).await;
}

/// The checkpoint goes over what is old enough, and the sums from it are those of everything.
pub async fn sums_go_on_from_the_checkpoint(world: &World) {
    let acme = world.tenant("acme").await;
    let terms = fixtures::daily(fixtures::limits(Some(5), Some(10_000)));
    let ann = world.end_user_with_budget(&acme, "ann", terms).await;
    let recon = &world.stores.recon;
    let scope = scopes::operator();
    let same = async || {
        let since = recon.audit_since_checkpoint(&scope).await.unwrap();
        assert_eq!(since, world.audit().await);
    };
    same().await;
    let young = begin(world).await.unwrap();
    finish(world, young).await;
    world.pass(HOUR);
    let first = begin(world).await.unwrap();
    assert_eq!(first.checkpoint, 0, "nothing was old enough");
    finish(world, first).await;
    same().await;

    world.pass(HOUR);
    world
        .debit(&acme, &ann, fixtures::limits(Some(1), None))
        .await;
    let top_up = LedgerAct::TopUpWallet {
        amount: fixtures::dollars(3),
    };
    world.apply(&acme, top_up).await;
    let second = begin(world).await.unwrap();
    assert!(second.checkpoint > 0);
    finish(world, second).await;
    same().await;
    world.pass(SETTLED_FOR + HOUR);
    let third = begin(world).await.unwrap();
    assert_eq!(
        third.checkpoint, second.checkpoint,
        "the new ones were too young"
    );
    finish(world, third).await;
    same().await;
    world.pass(HOUR);
    let fourth = begin(world).await.unwrap();
    assert!(fourth.checkpoint > third.checkpoint);
}

/// A difference is an event for operators, told with the end of the run.
pub async fn differences_are_told_to_operators(world: &World) {
    let run = begin(world).await.unwrap();
    let outcome = ReconOutcome {
        accounts: 3,
        mismatches: 2,
        details: Some("[\"two\"]".to_owned()),
    };
    let scope = scopes::operator();
    let recon = &world.stores.recon;
    recon.finish_recon(&scope, run, &outcome).await.unwrap();
    let events = world.all_events().await;
    assert_eq!(events.len(), 1);
    let event_type = events[0].event_type();
    assert_eq!(event_type, EventType::BillingReconciliationFailed);
    assert!(event_type.is_for_operators());
    for part in ["\"count\":2", "[\\\"two\\\"]"] {
        assert!(events[0].data.get().contains(part), "{part}");
    }
    world.pass(HOUR);
    let run = begin(world).await.unwrap();
    finish(world, run).await;
    assert_eq!(world.all_events().await.len(), 1);
}

/// What was refunded is read with all that was done about it, in parts.
pub async fn refunds_are_found_with_what_they_give_back(world: &World) {
    let acme = world.tenant("acme").await;
    let terms = fixtures::daily(fixtures::limits(Some(5), Some(10_000)));
    let ann = world.end_user_with_budget(&acme, "ann", terms).await;
    let mut refunded = Vec::new();
    for _ in 0..3 {
        let debit = world
            .debit(&acme, &ann, fixtures::limits(Some(1), None))
            .await;
        let debit = debit.outcome.entries[0].id;
        let refund = LedgerAct::RefundDebit {
            end_user: ann.id,
            debit,
            refund: Refund::Rest,
        };
        world.apply(&acme, refund).await;
        refunded.push(debit);
    }
    let (recon, scope) = (&world.stores.recon, scopes::operator());
    let (mut after, mut found) = (0, Vec::new());
    while let Some(part) = recon.refunded(&scope, after, 2).await.unwrap() {
        assert!(part.last > after);
        after = part.last;
        for history in part.entries {
            assert_eq!(history.linked.len(), 1);
            assert_eq!(history.contradiction(), None);
            // Given back twice it would be found.
            let mut twice = history.clone();
            twice.linked.push(history.linked[0].clone());
            assert!(twice.contradiction().is_some());
            found.push(history.charge.uid);
        }
    }
    found.sort_unstable();
    refunded.sort_unstable();
    assert_eq!(found, refunded);
}

/// Slots below zero that no overrun explains, and streams that do not end.
pub async fn what_ought_not_to_be_there_is_found(world: &World) {
    let acme = world.tenant("acme").await;
    let payers = world.payers(&acme, None).await;
    let ends = async || {
        let scope = scopes::operator();
        world.stores.recon.loose_ends(&scope).await.unwrap()
    };
    let mut node = Driver::start(world).await;
    let overran = LedgerEntry {
        flags: ChargeFlags::OVERRAN,
        ..fixtures::charge(&payers, fixtures::cost(1, 1), world.now())
    };
    node.settle(world, &node.charges(vec![overran])).await;
    assert!(ends().await.negative_slots.is_empty());
    let mut other = Driver::start(world).await;
    let charge = fixtures::charge(&payers, fixtures::cost(1, 1), world.now());
    other.settle(world, &other.charges(vec![charge])).await;
    let found = ends().await.negative_slots;
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].0, found[0].1), (other.node, acme.wallet));

    let stream: OpenStream = fixtures::stream(&payers, fixtures::cost(1, 1));
    let opening = SettleBatch {
        opened: vec![stream.clone()],
        ..node.settle_batch()
    };
    node.settle(world, &opening).await;
    world.pass(STREAM_STALE_AFTER);
    assert!(ends().await.stale_streams.is_empty());
    world.tick();
    assert_eq!(ends().await.stale_streams, [(stream.log_id, node.node)]);
    let closing = SettleBatch {
        closed: vec![stream.log_id],
        ..node.settle_batch()
    };
    node.settle(world, &closing).await;
    assert!(ends().await.stale_streams.is_empty());
}

/// What befell a node is told once.
pub async fn operators_are_told_once(world: &World) {
    let node = crate::id::NodeId(7);
    let fenced = OperatorEvent::of_node(EventType::BillingNodeFenced, node, Some("why"));
    for _ in 0..2 {
        let scope = scopes::engine();
        world
            .stores
            .events
            .tell_operators(&scope, &fenced)
            .await
            .unwrap();
        world.tick();
    }
    let events = world.all_events().await;
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].event_type().as_str(), "billing.node_fenced");
}
