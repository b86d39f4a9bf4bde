//! Lane B: what accounts give to nodes and get back.

use std::time::Duration;

use super::{assert_lost, at_once};
use crate::billing::{Amounts, Blocked, BudgetChanges, Lane, LeaseBatch, LeaseRequest, LedgerAct};
use crate::id::AccountId;
use crate::money::NanoUsd;
use crate::testing::driver::{Driver, TTL};
use crate::testing::world::World;
use crate::testing::{fixtures, scopes};

fn asking(account: AccountId, demand: Amounts) -> LeaseRequest {
    LeaseRequest {
        demand,
        ..LeaseRequest::giving_back(account, Amounts::ZERO)
    }
}

/// Demand is met as far as there is something; then nothing is left and nothing more is given.
pub async fn a_grant_never_exceeds_what_is_free(world: &World) {
    let acme = world.tenant("acme").await;
    let mut node = Driver::start(world).await;
    for (demand, granted, free) in [(4, 4, 6), (5, 5, 1), (3, 1, 0), (1, 0, 0)] {
        let grant = node.demand(world, acme.wallet, fixtures::usd(demand)).await;
        assert_eq!(
            (grant.granted, grant.free),
            (fixtures::usd(granted), fixtures::usd(free))
        );
        assert_eq!(grant.account, acme.wallet);
        let audit = world.account(acme.wallet).await;
        assert_eq!(audit.free, fixtures::usd(free));
        assert_eq!(audit.slots, fixtures::usd(10 - free));
    }
    // A free part below zero gives nothing either.
    let terms = fixtures::one_time(fixtures::limits(Some(5), None));
    let ann = world.end_user_with_budget(&acme, "ann", terms).await;
    world
        .debit(&acme, &ann, fixtures::limits(Some(8), None))
        .await;
    let account = world.budget_account(&acme, &ann).await;
    let grant = node.demand(world, account, fixtures::usd(1)).await;
    assert_eq!(
        (grant.granted, grant.free),
        (Amounts::ZERO, fixtures::usd(-3))
    );
}

/// A node gets what brings it to its target, beside what it demands; what it has at hand counts. Of
/// what is left over it gets no more than its share.
pub async fn a_grant_fills_up_to_the_target(world: &World) {
    let acme = world.tenant("acme").await;
    let mut node = Driver::start(world).await;
    let none = asking(acme.wallet, Amounts::ZERO);
    let mut ask = async |target, available| {
        let request = LeaseRequest {
            target: fixtures::usd(target),
            available: fixtures::usd(available),
            ..none
        };
        node.lease(world, vec![request]).await[0].granted
    };
    assert_eq!(ask(4, 0).await, fixtures::usd(4));
    assert_eq!(ask(4, 4).await, Amounts::ZERO);
    assert_eq!(ask(4, 3).await, fixtures::usd(1));
    let share = fixtures::dollars(5).get() / divisor(world, 1);
    let granted = ask(100, 0).await;
    assert_eq!(granted, Amounts::usd(NanoUsd::new(share)));
}

/// Into how many parts a store divides what is left over, among so many live nodes.
fn divisor(world: &World, nodes: i64) -> i64 {
    if world.stores.ledger.is_shared() {
        2 * nodes
    } else {
        1
    }
}

/// What is left over is shared among the nodes that may ask for some: not those that drain, or were
/// silent for too long.
pub async fn what_is_left_over_is_shared(world: &World) {
    let acme = world.tenant("acme").await;
    let mut node = Driver::start(world).await;
    let _other = Driver::start(world).await;
    let draining = Driver::start(world).await;
    let (ledger, scope) = (&world.stores.ledger, scopes::engine());
    ledger.drain_node(&scope, draining.node).await.unwrap();
    let request = LeaseRequest {
        target: fixtures::usd(100),
        ..asking(acme.wallet, fixtures::usd(1))
    };
    let share = |nodes| {
        let left_over = fixtures::dollars(9).get() / divisor(world, nodes);
        Amounts::usd(NanoUsd::new(fixtures::dollars(1).get() + left_over))
    };
    let grant = node.lease(world, vec![request]).await[0];
    assert_eq!(grant.granted, share(2));
    node.give_back(world, acme.wallet, grant.granted).await;

    world.pass(TTL + Duration::from_micros(1));
    ledger.heartbeat(&scope, node.node, TTL, 0).await.unwrap();
    let grant = node.lease(world, vec![request]).await[0];
    assert_eq!(grant.granted, share(1));
}

/// A grant says what other nodes hold, where others may hold something.
pub async fn a_grant_says_what_others_hold(world: &World) {
    let acme = world.tenant("acme").await;
    let mut nodes = [
        Driver::start(world).await,
        Driver::start(world).await,
        Driver::start(world).await,
    ];
    let held = |dollars| {
        if world.stores.ledger.is_shared() {
            fixtures::usd(dollars)
        } else {
            Amounts::ZERO
        }
    };
    for (index, demand, elsewhere) in [(0, 4, 0), (1, 3, 4), (2, 5, 7), (0, 1, 6)] {
        let demand = fixtures::usd(demand);
        let grant = nodes[index].demand(world, acme.wallet, demand).await;
        assert_eq!(grant.elsewhere, held(elsewhere), "node {index}");
    }
    let grant = nodes[1].give_back(world, acme.wallet, fixtures::usd(3));
    assert_eq!(grant.await.elsewhere, held(7));
}

/// A dimension without limit is counted and not leased.
pub async fn what_is_not_enforced_is_not_granted(world: &World) {
    let acme = world.tenant("acme").await;
    let terms = fixtures::one_time(fixtures::limits(None, Some(100)));
    let ann = world.end_user_with_budget(&acme, "ann", terms).await;
    let account = world.budget_account(&acme, &ann).await;
    let mut node = Driver::start(world).await;
    let demand = Amounts::from_raw(1_000, 30, 5);
    let grant = node.demand(world, account, demand).await;
    assert_eq!(grant.granted, Amounts::from_raw(0, 30, 0));
    assert_eq!(
        grant.policy.enforce,
        fixtures::limits(None, Some(1)).enforced()
    );
    let grant = node.demand(world, acme.wallet, demand).await;
    assert_eq!(grant.granted, Amounts::from_raw(1_000, 0, 0));
}

/// A paused budget leases nothing out; what nodes hold of it returns.
pub async fn a_blocked_account_gives_nothing_but_takes_back(world: &World) {
    let acme = world.tenant("acme").await;
    let terms = fixtures::one_time(fixtures::limits(Some(5), None));
    let ann = world.end_user_with_budget(&acme, "ann", terms).await;
    let account = world.budget_account(&acme, &ann).await;
    let mut node = Driver::start(world).await;
    node.demand(world, account, fixtures::usd(3)).await;
    let changes = BudgetChanges {
        is_suspended: Some(true),
        ..BudgetChanges::default()
    };
    let suspend = LedgerAct::UpdateBudget {
        end_user: ann.id,
        changes: Box::new(changes),
    };
    world.apply(&acme, suspend).await;
    let grant = node.demand(world, account, fixtures::usd(1)).await;
    assert_eq!(
        (grant.granted, grant.policy.blocked),
        (Amounts::ZERO, Blocked::Suspended)
    );
    let grant = node.give_back(world, account, fixtures::usd(2)).await;
    assert_eq!(
        (grant.free, grant.granted),
        (fixtures::usd(4), Amounts::ZERO)
    );
    assert_eq!(world.account(account).await.slots, fixtures::usd(1));
}

/// What is given back may be leased again.
pub async fn what_is_given_back_is_free_again(world: &World) {
    let acme = world.tenant("acme").await;
    let mut node = Driver::start(world).await;
    let mut other = Driver::start(world).await;
    node.demand(world, acme.wallet, fixtures::usd(10)).await;
    assert!(
        other
            .demand(world, acme.wallet, fixtures::usd(1))
            .await
            .granted
            .is_zero()
    );
    node.give_back(world, acme.wallet, fixtures::usd(4)).await;
    let grant = other.demand(world, acme.wallet, fixtures::usd(3)).await;
    assert_eq!(
        (grant.granted, grant.free),
        (fixtures::usd(3), fixtures::usd(1))
    );
    let audit = world.account(acme.wallet).await;
    assert_eq!(
        (audit.free, audit.slots),
        (fixtures::usd(1), fixtures::usd(9))
    );
}

/// There is one grant for each request whose account exists, in the order of requests.
pub async fn unknown_accounts_are_passed_over(world: &World) {
    let acme = world.tenant("acme").await;
    let other = world.tenant("other").await;
    let mut node = Driver::start(world).await;
    let unknown = AccountId(i64::MAX);
    let mut requests = vec![
        asking(acme.wallet, fixtures::usd(1)),
        asking(other.wallet, fixtures::usd(2)),
        asking(unknown, fixtures::usd(3)),
    ];
    requests.sort_by_key(|request| request.account);
    let grants = node.lease(world, requests).await;
    let granted: Vec<_> = grants
        .iter()
        .map(|grant| (grant.account, grant.granted))
        .collect();
    let mut expected = [
        (acme.wallet, fixtures::usd(1)),
        (other.wallet, fixtures::usd(2)),
    ];
    expected.sort_by_key(|(account, _)| *account);
    assert_eq!(granted, expected);
    assert!(node.lease(world, Vec::new()).await.is_empty());
}

/// Each node has a slot of its own; together they hold no more than the account.
pub async fn nodes_share_an_account(world: &World) {
    let acme = world.tenant("acme").await;
    let mut nodes = [Driver::start(world).await, Driver::start(world).await];
    assert_ne!(nodes[0].node, nodes[1].node);
    for (index, demand, granted) in [(0, 6, 6), (1, 3, 3), (0, 2, 1), (1, 1, 0)] {
        let grant = nodes[index]
            .demand(world, acme.wallet, fixtures::usd(demand))
            .await;
        assert_eq!(grant.granted, fixtures::usd(granted));
    }
    let payers = world.payers(&acme, None).await;
    for node in &mut nodes {
        let charge = fixtures::charge(&payers, fixtures::cost(2, 0), world.now());
        node.settle(world, &node.charges(vec![charge])).await;
    }
    let audit = world.account(acme.wallet).await;
    assert_eq!((audit.free, audit.slots), (Amounts::ZERO, fixtures::usd(6)));
}

/// However many nodes ask at once, no more is granted than there is.
pub async fn concurrent_leases_never_grant_too_much(world: &World) {
    let acme = world.tenant("acme").await;
    let mut nodes = Vec::new();
    for _ in 0..16 {
        nodes.push(Driver::start(world).await);
    }
    let granted = at_once(16, |index| {
        let (world, account, mut node) = (world.clone(), acme.wallet, nodes[index].clone());
        async move { node.demand(&world, account, fixtures::usd(3)).await.granted }
    })
    .await;
    let sum: i64 = granted.iter().map(|granted| granted.usd.get()).sum();
    assert_eq!(sum, fixtures::dollars(10).get());
    let audit = world.account(acme.wallet).await;
    assert_eq!(
        (audit.free, audit.slots),
        (Amounts::ZERO, fixtures::usd(10))
    );
}

/// A batch of lane B applies under its own number alone, and once.
pub async fn a_wrong_lease_number_is_lost(world: &World) {
    let acme = world.tenant("acme").await;
    let node = Driver::start(world).await;
    let ledger = &world.stores.ledger;
    let batch = |seq| LeaseBatch {
        node: node.node,
        seq,
        requests: vec![asking(acme.wallet, fixtures::usd(1))],
    };
    for seq in [0, 2, -1] {
        assert_lost(ledger.lease(&scopes::engine(), &batch(seq)).await);
    }
    assert_eq!(world.account(acme.wallet).await.slots, Amounts::ZERO);
    ledger.lease(&scopes::engine(), &batch(1)).await.unwrap();
    assert_lost(ledger.lease(&scopes::engine(), &batch(1)).await);
    let position = ledger
        .lane(&scopes::engine(), node.node, Lane::Lease)
        .await
        .unwrap();
    assert_eq!((position.seq, position.fenced), (1, false));
    assert_eq!(world.account(acme.wallet).await.slots, fixtures::usd(1));
}
