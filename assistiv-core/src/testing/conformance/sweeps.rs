//! Dead nodes: what they left open is charged as recorded, what they held returns, and they are
//! heard no more.

use std::time::Duration;

use super::assert_lost;
use crate::billing::{
    Amounts, ChargeFlags, EntryKind, EntrySource, Lane, LeaseRequest, SettleBatch, Sweep, Swept,
    UnconfirmedDelivery,
};
use crate::id::NodeId;
use crate::testing::driver::{Driver, TTL};
use crate::testing::world::World;
use crate::testing::{fixtures, scopes};

/// Sweeps everything, once every node's time has run out: only a process that alone has the store
/// may sweep a node that could be alive.
async fn sweep(world: &World) -> Vec<Swept> {
    world.pass(TTL + Duration::from_secs(1));
    world
        .stores
        .ledger
        .sweep(&scopes::engine(), Sweep::All, UnconfirmedDelivery::Stands)
        .await
        .unwrap()
}

async fn is_fenced(world: &World, node: NodeId, lane: Lane) -> bool {
    world
        .stores
        .ledger
        .lane(&scopes::engine(), node, lane)
        .await
        .unwrap()
        .fenced
}

/// Example E6 of `docs/ledger.md`: what was recorded is charged, what was only held or
/// not durable is not, and a second sweep finds nothing.
pub async fn a_sweep_charges_streams_once_and_returns_slots(world: &World) {
    let acme = world.tenant("acme").await;
    let terms = fixtures::one_time(fixtures::limits(Some(9), None));
    let ann = world.end_user_with_budget(&acme, "ann", terms).await;
    let account = world.budget_account(&acme, &ann).await;
    let mut node = Driver::start(world).await;
    node.demand(world, acme.wallet, fixtures::usd(5)).await;
    node.demand(world, account, fixtures::usd(4)).await;
    let payers = world.payers(&acme, Some(&ann)).await;
    let mut stream = fixtures::stream(&payers, fixtures::cost(2, 30));
    stream.accrued.wallet = fixtures::dollars(1);
    let open = SettleBatch {
        opened: vec![stream.clone()],
        ..node.settle_batch()
    };
    node.settle(world, &open).await;
    assert_eq!(world.account(account).await.open_streams, 1);

    let swept = Swept {
        node: Some(node.node),
        streams: 1,
        slots: 2,
        unconfirmed: 0,
    };
    assert_eq!(sweep(world).await, [swept]);
    assert_eq!(world.balance(&acme).await, fixtures::dollars(9));
    let wallet = world.account(acme.wallet).await;
    assert_eq!(
        (wallet.free, wallet.slots),
        (fixtures::usd(9), Amounts::ZERO)
    );
    assert_eq!(wallet.open_streams, 0);
    let budget = world.account(account).await;
    assert_eq!(budget.free, Amounts::from_raw(7_000_000_000, -30, 0));
    assert_eq!((budget.slots, budget.open_streams), (Amounts::ZERO, 0));

    let charge = world
        .stores
        .ledger
        .charge(&acme.scope, stream.log_id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (charge.kind, charge.source),
        (EntryKind::Charge, EntrySource::Inference)
    );
    assert_eq!(
        charge.flags,
        ChargeFlags::CRASH.with(ChargeFlags::TRUNCATED)
    );
    assert_eq!(charge.wallet, Some((acme.wallet, fixtures::dollars(-1))));
    assert_eq!(
        charge.budget.unwrap().remaining,
        stream.accrued.budget.negated()
    );
    assert_eq!(charge.budget.unwrap().limit, Amounts::ZERO);
    assert_eq!(
        (charge.platform_id, charge.end_user_id),
        (acme.platform.id, Some(ann.id))
    );

    let before = world.audit().await;
    assert!(sweep(world).await.is_empty());
    assert_eq!(world.audit().await, before);
}

/// A stream that no budget pays for is charged to the wallet, even beyond the node's slot.
pub async fn a_swept_stream_without_budget_charges_the_wallet(world: &World) {
    let acme = world.tenant("acme").await;
    let mut node = Driver::start(world).await;
    node.demand(world, acme.wallet, fixtures::usd(1)).await;
    let payers = world.payers(&acme, None).await;
    let streams = [2, 3].map(|dollars| fixtures::stream(&payers, fixtures::cost(dollars, 1)));
    let open = SettleBatch {
        opened: streams.to_vec(),
        ..node.settle_batch()
    };
    node.settle(world, &open).await;
    let swept = sweep(world).await;
    assert_eq!((swept.len(), swept[0].streams, swept[0].slots), (1, 2, 1));
    let wallet = world.account(acme.wallet).await;
    assert_eq!(
        (wallet.free, wallet.slots),
        (fixtures::usd(5), Amounts::ZERO)
    );
    for stream in streams {
        let charge = world
            .stores
            .ledger
            .charge(&acme.scope, stream.log_id)
            .await
            .unwrap();
        assert_eq!(charge.unwrap().budget, None);
    }
}

/// A node that was swept and is still alive writes nothing more on either lane.
pub async fn a_swept_node_is_fenced(world: &World) {
    let acme = world.tenant("acme").await;
    let mut node = Driver::start(world).await;
    node.demand(world, acme.wallet, fixtures::usd(5)).await;
    node.settle(world, &node.settle_batch()).await;
    sweep(world).await;
    let before = world.audit().await;
    let payers = world.payers(&acme, None).await;
    let charge = fixtures::charge(&payers, fixtures::cost(1, 0), world.now());
    let late = node.charges(vec![charge]);
    assert_lost(node.try_settle(world, &late).await);
    let request = LeaseRequest::giving_back(acme.wallet, fixtures::usd(5));
    assert_lost(node.try_lease(world, vec![request]).await);
    for lane in [Lane::Settle, Lane::Lease] {
        assert!(is_fenced(world, node.node, lane).await);
    }
    assert_eq!(world.audit().await, before);
    // A new run of the process is a new node.
    let mut next = Driver::start(world).await;
    assert_ne!(next.node, node.node);
    assert_eq!(
        next.demand(world, acme.wallet, fixtures::usd(10))
            .await
            .granted,
        fixtures::usd(10)
    );
}

/// Charges of batches that were not all handed over are counted as doubtful.
pub async fn a_sweep_counts_charges_of_doubtful_delivery(world: &World) {
    let acme = world.tenant("acme").await;
    let mut node = Driver::start(world).await;
    node.demand(world, acme.wallet, fixtures::usd(9)).await;
    let payers = world.payers(&acme, None).await;
    let charge = || fixtures::charge(&payers, fixtures::cost(1, 0), world.now());
    // Each batch says that all before it were delivered; the last one's two charges are in doubt.
    for charges in [vec![charge()], vec![charge()], vec![charge(), charge()]] {
        node.settle(world, &node.charges(charges)).await;
    }
    let swept = Swept {
        node: Some(node.node),
        streams: 0,
        slots: 1,
        unconfirmed: 2,
    };
    assert_eq!(sweep(world).await, [swept]);
    assert_eq!(world.balance(&acme).await, fixtures::dollars(6));
}

/// One sweep takes every node that is not closed, each on its own account.
pub async fn a_sweep_takes_every_open_node(world: &World) {
    let acme = world.tenant("acme").await;
    let payers = world.payers(&acme, None).await;
    let mut ids = Vec::new();
    for dollars in [1, 2, 3] {
        let mut node = Driver::start(world).await;
        node.demand(world, acme.wallet, fixtures::usd(3)).await;
        let stream = fixtures::stream(&payers, fixtures::cost(dollars, 0));
        node.settle(
            world,
            &SettleBatch {
                opened: vec![stream],
                ..node.settle_batch()
            },
        )
        .await;
        ids.push(node.node);
    }
    let idle = Driver::start(world).await;
    ids.push(idle.node);
    let swept = sweep(world).await;
    let mut swept_ids: Vec<NodeId> = swept.iter().filter_map(|swept| swept.node).collect();
    swept_ids.sort_unstable();
    assert_eq!(swept_ids, ids);
    assert_eq!(swept.iter().map(|swept| swept.streams).sum::<u64>(), 3);
    assert_eq!(world.balance(&acme).await, fixtures::dollars(4));
    assert_eq!(world.account(acme.wallet).await.slots, Amounts::ZERO);
}

/// A node that leaves in good order gives back the rest of its slots and writes nothing more.
pub async fn closing_returns_slots(world: &World) {
    let acme = world.tenant("acme").await;
    let mut node = Driver::start(world).await;
    let mut other = Driver::start(world).await;
    node.demand(world, acme.wallet, fixtures::usd(5)).await;
    other.demand(world, acme.wallet, fixtures::usd(2)).await;
    let payers = world.payers(&acme, None).await;
    let charge = fixtures::charge(&payers, fixtures::cost(1, 0), world.now());
    node.settle(world, &node.charges(vec![charge.clone()]))
        .await;
    world
        .stores
        .ledger
        .close_node(&scopes::engine(), node.node)
        .await
        .unwrap();
    let wallet = world.account(acme.wallet).await;
    assert_eq!(
        (wallet.free, wallet.slots),
        (fixtures::usd(7), fixtures::usd(2))
    );
    assert_lost(node.clone().try_settle(world, &node.settle_batch()).await);
    assert_lost(node.try_lease(world, Vec::new()).await);
    other.settle(world, &other.settle_batch()).await;
}

/// There is nothing to sweep of a node that closed.
pub async fn a_closed_node_is_not_swept(world: &World) {
    let acme = world.tenant("acme").await;
    let mut node = Driver::start(world).await;
    node.demand(world, acme.wallet, fixtures::usd(5)).await;
    let payers = world.payers(&acme, None).await;
    let charge = fixtures::charge(&payers, fixtures::cost(1, 0), world.now());
    node.settle(world, &node.charges(vec![charge])).await;
    world
        .stores
        .ledger
        .close_node(&scopes::engine(), node.node)
        .await
        .unwrap();
    assert!(sweep(world).await.is_empty());
    assert_eq!(world.balance(&acme).await, fixtures::dollars(9));
}
