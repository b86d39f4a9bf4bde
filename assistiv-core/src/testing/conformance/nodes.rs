//! Nodes beside each other: heartbeats, their time, and who sweeps whom.

use std::time::Duration;

use super::{assert_lost, at_once};
use crate::billing::{
    Amounts, EntryKind, Lane, LedgerEntry, SettleBatch, Sweep, Swept, UnconfirmedDelivery,
};
use crate::id::NodeId;
use crate::store::StoreError;
use crate::testing::driver::{Driver, TTL};
use crate::testing::world::{Tenant, World};
use crate::testing::{fixtures, scopes};

const GRACE: Duration = Duration::from_secs(2);

async fn sweep_expired(world: &World) -> Vec<Swept> {
    sweep_with(world, UnconfirmedDelivery::Stands).await
}

async fn sweep_with(world: &World, unconfirmed: UnconfirmedDelivery) -> Vec<Swept> {
    let ledger = &world.stores.ledger;
    ledger
        .sweep(
            &scopes::engine(),
            Sweep::Expired { grace: GRACE },
            unconfirmed,
        )
        .await
        .unwrap()
}

async fn heartbeat(world: &World, node: &Driver) -> Result<(), StoreError> {
    let ledger = &world.stores.ledger;
    ledger.heartbeat(&scopes::engine(), node.node, TTL, 0).await
}

async fn is_fenced(world: &World, node: NodeId) -> bool {
    let ledger = &world.stores.ledger;
    let position = ledger.lane(&scopes::engine(), node, Lane::Settle).await;
    position.unwrap().fenced
}

fn nodes_of(swept: &[Swept]) -> Vec<NodeId> {
    swept.iter().filter_map(|swept| swept.node).collect()
}

/// A node that holds three dollars of the wallet and delivers a stream that has cost one.
async fn node_with_stream(world: &World, acme: &Tenant) -> Driver {
    let mut node = Driver::start(world).await;
    node.demand(world, acme.wallet, fixtures::usd(3)).await;
    let payers = world.payers(acme, None).await;
    let stream = fixtures::stream(&payers, fixtures::cost(1, 0));
    let open = SettleBatch {
        opened: vec![stream],
        ..node.settle_batch()
    };
    node.settle(world, &open).await;
    node
}

/// A node is dead once its time and the grace have run out, and not a moment before.
pub async fn a_silent_node_is_swept_after_its_time(world: &World) {
    let acme = world.tenant("acme").await;
    let node = node_with_stream(world, &acme).await;
    world.pass(TTL + GRACE);
    assert!(sweep_expired(world).await.is_empty());
    assert!(!is_fenced(world, node.node).await);
    world.pass(Duration::from_micros(1));
    let swept = Swept {
        node: Some(node.node),
        streams: 1,
        slots: 1,
        unconfirmed: 0,
    };
    assert_eq!(sweep_expired(world).await, [swept]);
    assert!(is_fenced(world, node.node).await);
    let wallet = world.account(acme.wallet).await;
    assert_eq!(
        (wallet.free, wallet.slots),
        (fixtures::usd(9), Amounts::ZERO)
    );
    assert!(sweep_expired(world).await.is_empty());
}

/// A heartbeat counts from when it was sent; only the silent node is swept.
pub async fn a_heartbeat_keeps_a_node_alive(world: &World) {
    let acme = world.tenant("acme").await;
    let alive = node_with_stream(world, &acme).await;
    let silent = node_with_stream(world, &acme).await;
    world.pass(TTL - Duration::from_secs(1));
    heartbeat(world, &alive).await.unwrap();
    world.pass(TTL);
    assert_eq!(nodes_of(&sweep_expired(world).await), [silent.node]);
    assert!(!is_fenced(world, alive.node).await);
    // A node that was late, and that nobody has swept, is alive again.
    heartbeat(world, &alive).await.unwrap();
    world.pass(TTL + GRACE + Duration::from_secs(1));
    heartbeat(world, &alive).await.unwrap();
    assert!(sweep_expired(world).await.is_empty());
}

/// A node that was swept or closed is told so.
pub async fn a_node_that_is_out_hears_so(world: &World) {
    let swept = Driver::start(world).await;
    world.pass(TTL + GRACE + Duration::from_secs(1));
    assert_eq!(nodes_of(&sweep_expired(world).await), [swept.node]);
    let closed = Driver::start(world).await;
    let ledger = &world.stores.ledger;
    ledger
        .close_node(&scopes::engine(), closed.node)
        .await
        .unwrap();
    for node in [&swept, &closed] {
        assert_lost(heartbeat(world, node).await);
        assert_lost(ledger.drain_node(&scopes::engine(), node.node).await);
    }
    let unknown = Driver::start(world).await.node.0 + 1_000;
    assert_lost(
        ledger
            .heartbeat(&scopes::engine(), NodeId(unknown), TTL, 0)
            .await,
    );
}

/// A node that drains settles and gives back as before, and is swept when it dies before its end.
pub async fn a_draining_node_settles_and_may_die(world: &World) {
    let acme = world.tenant("acme").await;
    let mut node = node_with_stream(world, &acme).await;
    let ledger = &world.stores.ledger;
    ledger
        .drain_node(&scopes::engine(), node.node)
        .await
        .unwrap();
    ledger
        .drain_node(&scopes::engine(), node.node)
        .await
        .unwrap();
    heartbeat(world, &node).await.unwrap();
    node.give_back(world, acme.wallet, fixtures::usd(1)).await;
    node.settle(world, &node.settle_batch()).await;
    world.pass(TTL + GRACE + Duration::from_secs(1));
    assert_eq!(nodes_of(&sweep_expired(world).await), [node.node]);
    assert_eq!(world.balance(&acme).await, fixtures::dollars(9));
}

/// All that is not closed is swept where one process alone has the store; where others may have it
/// too, nodes that are alive are spared.
pub async fn sweeping_all_spares_who_may_be_alive(world: &World) {
    let ledger = &world.stores.ledger;
    let silent = Driver::start(world).await;
    world.pass(TTL);
    let alive = Driver::start(world).await;
    world.pass(Duration::from_micros(1));
    let swept = ledger
        .sweep(&scopes::engine(), Sweep::All, UnconfirmedDelivery::Stands)
        .await
        .unwrap();
    let mut expected = vec![silent.node];
    if !ledger.is_shared() {
        expected.push(alive.node);
    }
    assert_eq!(nodes_of(&swept), expected);
    assert_eq!(is_fenced(world, alive.node).await, !ledger.is_shared());
}

/// However many sweepers there are, each dead node is swept by one of them.
pub async fn sweepers_at_once_sweep_once(world: &World) {
    let acme = world.tenant("acme").await;
    let mut dead = Vec::new();
    for _ in 0..3 {
        dead.push(node_with_stream(world, &acme).await.node);
    }
    world.pass(TTL + GRACE + Duration::from_secs(1));
    let swept = at_once(6, |_| {
        let world = world.clone();
        async move { sweep_expired(&world).await }
    })
    .await;
    let mut nodes = nodes_of(&swept.concat());
    // Sweepers that came at once pass over what another has in its hands; nothing is left after it.
    nodes.extend(nodes_of(&sweep_expired(world).await));
    nodes.sort_unstable();
    assert_eq!(nodes, dead);
    assert_eq!(world.balance(&acme).await, fixtures::dollars(7));
    assert_eq!(world.account(acme.wallet).await.slots, Amounts::ZERO);
}

/// A late heartbeat and a sweep: one of them wins, and both say so.
pub async fn a_late_heartbeat_or_a_sweep_wins(world: &World) {
    let acme = world.tenant("acme").await;
    for _ in 0..8 {
        let node = node_with_stream(world, &acme).await;
        world.pass(TTL + GRACE + Duration::from_secs(1));
        let (alive, swept) = tokio::join!(heartbeat(world, &node), sweep_expired(world));
        match alive {
            Ok(()) => assert!(swept.is_empty(), "swept, and told that it is alive"),
            Err(StoreError::Lost { .. }) => assert_eq!(nodes_of(&swept), [node.node]),
            Err(error) => panic!("{error}"),
        }
        assert_eq!(is_fenced(world, node.node).await, !swept.is_empty());
        let ledger = &world.stores.ledger;
        ledger
            .close_node(&scopes::engine(), node.node)
            .await
            .unwrap();
    }
}

/// A batch that comes beside the sweep is applied before it, or not at all.
pub async fn a_batch_beside_a_sweep_counts_or_is_lost(world: &World) {
    let acme = world.tenant("acme").await;
    let payers = world.payers(&acme, None).await;
    let mut balance = fixtures::dollars(10);
    for _ in 0..4 {
        let node = node_with_stream(world, &acme).await;
        world.pass(TTL + GRACE + Duration::from_secs(1));
        let charge = fixtures::charge(&payers, fixtures::cost(1, 0), world.now());
        let batch = node.charges(vec![charge]);
        let mut sender = node.clone();
        let settling = sender.try_settle(world, &batch);
        let (settled, swept) = tokio::join!(settling, sweep_expired(world));
        assert_eq!(nodes_of(&swept), [node.node]);
        // The stream's dollar, and the batch's if it was applied.
        let mut spent = fixtures::dollars(1);
        match settled {
            Ok(()) => {
                assert_eq!(swept[0].unconfirmed, 1);
                spent = fixtures::dollars(2);
            }
            Err(StoreError::Lost { .. }) => assert_eq!(swept[0].unconfirmed, 0),
            Err(error) => panic!("{error}"),
        }
        balance = balance.checked_sub(spent).unwrap();
        assert_eq!(world.balance(&acme).await, balance);
        let act = crate::billing::LedgerAct::TopUpWallet { amount: spent };
        world.apply(&acme, act).await;
        balance = fixtures::dollars(10);
    }
}

/// With the policy to refund, charges in doubt are given back with the sweep, once; the others stand.
pub async fn charges_in_doubt_are_refunded(world: &World) {
    let acme = world.tenant("acme").await;
    let terms = fixtures::one_time(fixtures::limits(Some(9), None));
    let ann = world.end_user_with_budget(&acme, "ann", terms).await;
    let account = world.budget_account(&acme, &ann).await;
    let payers = world.payers(&acme, Some(&ann)).await;
    let mut node = Driver::start(world).await;
    node.demand(world, acme.wallet, fixtures::usd(5)).await;
    node.demand(world, account, fixtures::usd(5)).await;
    let charge =
        |dollars| fixtures::charge(&payers, fixtures::cost(dollars, 7 * dollars), world.now());
    let (delivered, in_doubt) = (charge(1), charge(2));
    node.settle(world, &node.charges(vec![delivered.clone()]))
        .await;
    node.settle(world, &node.charges(vec![in_doubt.clone()]))
        .await;
    world.pass(TTL + GRACE + Duration::from_secs(1));
    let swept = sweep_with(world, UnconfirmedDelivery::Refund).await;
    assert_eq!((swept.len(), swept[0].unconfirmed), (1, 1));

    assert_eq!(world.balance(&acme).await, fixtures::dollars(9));
    let budget = world.account(account).await;
    assert_eq!(budget.free, Amounts::from_raw(8_000_000_000, -7, 0));
    assert_eq!(budget.slots, Amounts::ZERO);
    let refunds: Vec<_> = refunds(world, &acme).await;
    assert_eq!(refunds.len(), 1);
    let refund = &refunds[0];
    assert_eq!(
        refund.uid,
        LedgerEntry::unconfirmed_refund_uid(in_doubt.uid)
    );
    assert_eq!(refund.refers_to, Some(in_doubt.uid));
    assert_eq!(refund.change(), in_doubt.change().negated());
    assert_eq!(
        (refund.platform_id, refund.end_user_id),
        (acme.platform.id, Some(ann.id))
    );
    assert!(
        sweep_with(world, UnconfirmedDelivery::Refund)
            .await
            .is_empty()
    );
    assert_eq!(world.balance(&acme).await, fixtures::dollars(9));
}

/// What was given back before is not given back again.
pub async fn a_refund_of_doubt_gives_back_the_rest(world: &World) {
    let acme = world.tenant("acme").await;
    let payers = world.payers(&acme, None).await;
    let mut node = Driver::start(world).await;
    node.demand(world, acme.wallet, fixtures::usd(9)).await;
    let charges =
        [3, 2].map(|dollars| fixtures::charge(&payers, fixtures::cost(dollars, 0), world.now()));
    let give_back = |charge: &LedgerEntry, dollars: i64| LedgerEntry {
        kind: EntryKind::Refund,
        refers_to: Some(charge.uid),
        ..fixtures::charge(&payers, fixtures::cost(-dollars, 0), world.now())
    };
    // A dollar of three, and the whole of two.
    let refunds_before = charges
        .iter()
        .zip([1, 2])
        .map(|(charge, dollars)| give_back(charge, dollars));
    let refunds_before = refunds_before.collect();
    node.settle(world, &node.charges(charges.to_vec())).await;
    let batch = SettleBatch {
        delivered_seq: 0,
        ..node.charges(refunds_before)
    };
    node.settle(world, &batch).await;
    world.pass(TTL + GRACE + Duration::from_secs(1));
    let swept = sweep_with(world, UnconfirmedDelivery::Refund).await;
    assert_eq!(swept[0].unconfirmed, 2);
    assert_eq!(world.balance(&acme).await, fixtures::dollars(10));
    let of_sweep: Vec<_> = refunds(world, &acme)
        .await
        .into_iter()
        .filter(|entry| entry.posted_by.is_none())
        .collect();
    assert_eq!(of_sweep.len(), 1);
    assert_eq!(of_sweep[0].refers_to, Some(charges[0].uid));
    assert_eq!(of_sweep[0].wallet.unwrap().1, fixtures::dollars(2));
}

/// A node's slot can be read; who holds nothing holds zero.
pub async fn a_slot_is_read(world: &World) {
    let acme = world.tenant("acme").await;
    let mut node = Driver::start(world).await;
    let other = Driver::start(world).await;
    node.demand(world, acme.wallet, fixtures::usd(3)).await;
    let payers = world.payers(&acme, None).await;
    let charge = fixtures::charge(&payers, fixtures::cost(1, 0), world.now());
    node.settle(world, &node.charges(vec![charge])).await;
    let ledger = &world.stores.ledger;
    let slot = async |node| {
        ledger
            .slot(&scopes::engine(), node, acme.wallet)
            .await
            .unwrap()
    };
    assert_eq!(slot(node.node).await, fixtures::usd(2));
    assert_eq!(slot(other.node).await, Amounts::ZERO);
}

async fn refunds(world: &World, acme: &Tenant) -> Vec<LedgerEntry> {
    let entries = world.wallet_entries(acme).await.into_iter();
    entries
        .map(|row| row.entry)
        .filter(|entry| entry.kind == EntryKind::Refund)
        .collect()
}
