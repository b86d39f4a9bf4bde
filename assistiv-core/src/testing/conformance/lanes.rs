//! Lane A: numbered batches of streams, charges and debits, each applied whole and once, or not.

use super::{assert_conflict, assert_lost};
use crate::billing::{Amounts, EntryKind, Lane, LedgerEntry, Metered, OpenStream, SettleBatch};
use crate::id::{EntryId, LogId, ModelId, NodeId, PriceId};
use crate::json::RawObject;
use crate::money::{Markup, NanoUsd, Tokens};
use crate::testing::driver::Driver;
use crate::testing::fixtures::Payers;
use crate::testing::world::{Tenant, World};
use crate::testing::{fixtures, scopes};

async fn acme_with_lease(world: &World) -> (Tenant, Payers, Driver) {
    let acme = world.tenant("acme").await;
    let mut node = Driver::start(world).await;
    node.demand(world, acme.wallet, fixtures::usd(8)).await;
    let payers = world.payers(&acme, None).await;
    (acme, payers, node)
}

async fn seq(world: &World, node: NodeId, lane: Lane) -> i64 {
    world
        .stores
        .ledger
        .lane(&scopes::engine(), node, lane)
        .await
        .unwrap()
        .seq
}

/// Charges are entries of their platform, taken out of the node's slot; the free part stays.
pub async fn settling_posts_entries_and_debits_slots(world: &World) {
    let (acme, payers, mut node) = acme_with_lease(world).await;
    let charges: Vec<LedgerEntry> = [1, 2]
        .map(|dollars| fixtures::charge(&payers, fixtures::cost(dollars, 0), world.now()))
        .to_vec();
    node.settle(world, &node.charges(charges.clone())).await;
    let audit = world.account(acme.wallet).await;
    assert_eq!(
        (audit.free, audit.slots),
        (fixtures::usd(2), fixtures::usd(5))
    );
    assert_eq!(audit.ledger, fixtures::usd(7));
    assert_eq!(world.balance(&acme).await, fixtures::dollars(7));
    let entries = world.wallet_entries(&acme).await;
    let uids: Vec<EntryId> = entries.iter().map(|row| row.entry.uid).collect();
    assert_eq!(uids[..2], [charges[1].uid, charges[0].uid]);
    assert_eq!(seq(world, node.node, Lane::Settle).await, 1);

    // An empty batch is a batch.
    node.settle(world, &node.settle_batch()).await;
    assert_eq!(seq(world, node.node, Lane::Settle).await, 2);
}

/// A charge with budget legs counts as used, in dimensions without limit too.
pub async fn a_budget_charge_counts_as_used(world: &World) {
    let (acme, _, mut node) = acme_with_lease(world).await;
    let terms = fixtures::one_time(fixtures::limits(Some(5), None));
    let ann = world.end_user_with_budget(&acme, "ann", terms).await;
    let account = world.budget_account(&acme, &ann).await;
    node.demand(world, account, fixtures::usd(4)).await;
    let payers = world.payers(&acme, Some(&ann)).await;
    let mut charge = fixtures::charge(&payers, fixtures::cost(2, 150), world.now());
    // The wallet pays less than the budget is charged: the difference is the markup.
    charge.wallet = Some((acme.wallet, fixtures::dollars(-1)));
    node.settle(world, &node.charges(vec![charge.clone()]))
        .await;
    let budget = world.budget(&acme, &ann).await;
    assert_eq!(
        (budget.used_usd, budget.used_tokens),
        (fixtures::dollars(2), Tokens::new(150))
    );
    assert_eq!(world.balance(&acme).await, fixtures::dollars(9));
    let audit = world.account(account).await;
    assert_eq!(audit.slots, Amounts::from_raw(2_000_000_000, -150, 0));
    assert_eq!(audit.free, fixtures::usd(1));
    let newest = &world.budget_entries(&acme, &ann).await[0];
    assert_eq!(
        (newest.entry.uid, newest.entry.end_user_id),
        (charge.uid, Some(ann.id))
    );
    assert_eq!(
        newest.remaining_after,
        Amounts::from_raw(3_000_000_000, -150, 0)
    );
}

/// A number that is not the next one applies nothing, whatever the batch holds.
pub async fn a_wrong_number_is_lost_and_nothing_applies(world: &World) {
    let (acme, payers, mut node) = acme_with_lease(world).await;
    let charge = fixtures::charge(&payers, fixtures::cost(1, 0), world.now());
    let stream = fixtures::stream(&payers, fixtures::cost(1, 0));
    let right = SettleBatch {
        opened: vec![stream],
        ..node.charges(vec![charge.clone()])
    };
    let before = world.audit().await;
    for seq in [-1, 0, 2, 99] {
        let wrong = SettleBatch {
            seq,
            ..right.clone()
        };
        assert_lost(node.clone().try_settle(world, &wrong).await);
    }
    assert_eq!(world.audit().await, before);
    assert_eq!(seq(world, node.node, Lane::Settle).await, 0);
    assert!(
        world
            .stores
            .ledger
            .charge(&acme.scope, charge.uid)
            .await
            .unwrap()
            .is_none()
    );
    node.settle(world, &right).await;
}

/// A batch that is sent again after a lost reply is refused, and the lane tells that it applied.
pub async fn a_resent_batch_is_lost_and_was_applied(world: &World) {
    let (acme, payers, mut node) = acme_with_lease(world).await;
    let charge = fixtures::charge(&payers, fixtures::cost(1, 0), world.now());
    let batch = node.charges(vec![charge]);
    node.settle(world, &batch).await;
    let before = world.audit().await;
    assert_lost(node.try_settle(world, &batch).await);
    let position = world
        .stores
        .ledger
        .lane(&scopes::engine(), node.node, Lane::Settle)
        .await
        .unwrap();
    assert_eq!((position.seq, position.fenced), (batch.seq, false));
    assert_eq!(world.audit().await, before);
    assert_eq!(world.balance(&acme).await, fixtures::dollars(9));
    node.settle(world, &node.settle_batch()).await;
}

/// A batch with an entry that is posted already fails whole and does not use its number up.
pub async fn an_entry_is_posted_once(world: &World) {
    let (acme, payers, mut node) = acme_with_lease(world).await;
    let charge = || fixtures::charge(&payers, fixtures::cost(1, 0), world.now());
    let first = charge();
    node.settle(world, &node.charges(vec![first.clone()])).await;
    let before = world.audit().await;
    let stream = fixtures::stream(&payers, fixtures::cost(1, 0));
    let fresh = charge();
    let twice = SettleBatch {
        opened: vec![stream],
        ..node.charges(vec![fresh.clone(), first])
    };
    assert_conflict(node.try_settle(world, &twice).await, "ledger entry");
    assert_eq!(world.audit().await, before);
    assert_eq!(seq(world, node.node, Lane::Settle).await, 1);
    node.settle(world, &node.charges(vec![fresh])).await;
    assert_eq!(world.balance(&acme).await, fixtures::dollars(8));
}

/// The same entry twice in one batch is refused like one that is posted already.
pub async fn a_repeated_entry_in_one_batch_is_refused(world: &World) {
    let (acme, payers, mut node) = acme_with_lease(world).await;
    let charge = fixtures::charge(&payers, fixtures::cost(1, 0), world.now());
    let twice = node.charges(vec![charge.clone(), charge]);
    assert_conflict(node.try_settle(world, &twice).await, "ledger entry");
    assert_eq!(world.balance(&acme).await, fixtures::dollars(10));
    assert_eq!(seq(world, node.node, Lane::Settle).await, 0);
}

/// Streams are inserted, brought up to date, and taken out; unknown ones are passed over.
pub async fn streams_open_update_and_close(world: &World) {
    let (acme, payers, mut node) = acme_with_lease(world).await;
    let first = fixtures::stream(&payers, fixtures::cost(1, 5));
    let second = fixtures::stream(&payers, fixtures::cost(2, 5));
    let open = SettleBatch {
        opened: vec![first.clone(), second.clone()],
        ..node.settle_batch()
    };
    node.settle(world, &open).await;
    assert_eq!(world.account(acme.wallet).await.open_streams, 2);
    let more = OpenStream {
        accrued: fixtures::cost(3, 9),
        ..first.clone()
    };
    node.settle(
        world,
        &SettleBatch {
            opened: vec![more],
            ..node.settle_batch()
        },
    )
    .await;
    assert_eq!(world.account(acme.wallet).await.open_streams, 2);

    let charge = fixtures::charge(&payers, fixtures::cost(2, 5), world.now());
    let end = SettleBatch {
        closed: vec![second.log_id, LogId::new()],
        ..node.charges(vec![LedgerEntry {
            uid: second.log_id,
            ..charge
        }])
    };
    node.settle(world, &end).await;
    assert_eq!(world.account(acme.wallet).await.open_streams, 1);
    // A stream that is only open has cost nothing yet.
    assert_eq!(world.balance(&acme).await, fixtures::dollars(8));
    let abandon = SettleBatch {
        closed: vec![first.log_id],
        ..node.settle_batch()
    };
    node.settle(world, &abandon).await;
    let audit = world.account(acme.wallet).await;
    assert_eq!((audit.open_streams, audit.ledger), (0, fixtures::usd(8)));
}

/// The lanes of a node count apart, and so do those of two nodes.
pub async fn lanes_are_numbered_apart(world: &World) {
    let (acme, _, mut node) = acme_with_lease(world).await;
    let mut other = Driver::start(world).await;
    node.demand(world, acme.wallet, fixtures::usd(1)).await;
    node.settle(world, &node.settle_batch()).await;
    other.settle(world, &other.settle_batch()).await;
    for (id, lane, expected) in [
        (node.node, Lane::Settle, 1),
        (node.node, Lane::Lease, 2),
        (other.node, Lane::Settle, 1),
        (other.node, Lane::Lease, 0),
    ] {
        assert_eq!(seq(world, id, lane).await, expected);
    }
}

/// A node that was never registered cannot write.
pub async fn an_unknown_node_is_lost(world: &World) {
    let (acme, payers, node) = acme_with_lease(world).await;
    let charge = fixtures::charge(&payers, fixtures::cost(1, 0), world.now());
    let stranger = SettleBatch {
        node: NodeId(i64::MAX),
        ..node.charges(vec![charge])
    };
    assert_lost(
        world
            .stores
            .ledger
            .settle(&scopes::engine(), &stranger)
            .await,
    );
    assert_eq!(world.balance(&acme).await, fixtures::dollars(10));
}

/// The entry of a call is read back whole, with the batch that posted it.
pub async fn a_charge_is_found_by_its_call(world: &World) {
    let (acme, _, mut node) = acme_with_lease(world).await;
    let terms = fixtures::one_time(fixtures::limits(Some(5), Some(1000)));
    let ann = world.end_user_with_budget(&acme, "ann", terms).await;
    let payers = world.payers(&acme, Some(&ann)).await;
    let metadata: RawObject = fixtures::from_json(r#"{"cache_write_5m": 12}"#);
    let charge = LedgerEntry {
        flags: crate::billing::ChargeFlags::ESTIMATED.with(crate::billing::ChargeFlags::OVERRAN),
        metered: Some(Metered {
            model_id: ModelId::new(),
            price_id: PriceId::new(),
            input_tokens: 1_234,
            cached_tokens: 1_000,
            output_tokens: 567,
            markup: Markup::new(125_000),
        }),
        metadata,
        posted_by: Some((node.node, 1)),
        ..fixtures::charge(&payers, fixtures::cost(1, 1_801), world.now())
    };
    node.settle(world, &node.charges(vec![charge.clone()]))
        .await;
    let ledger = &world.stores.ledger;
    let found = ledger
        .charge(&acme.scope, charge.uid)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found, charge);
    assert!(
        ledger
            .charge(&acme.scope, EntryId::new())
            .await
            .unwrap()
            .is_none()
    );
    // A top-up is an entry, but nobody's charge.
    let entries = world.wallet_entries(&acme).await;
    let top_up = entries
        .iter()
        .find(|row| row.entry.kind == EntryKind::TopUp)
        .unwrap();
    assert!(
        ledger
            .charge(&acme.scope, top_up.entry.uid)
            .await
            .unwrap()
            .is_none()
    );
    assert_eq!(
        top_up.entry.wallet.map(|(_, usd)| usd > NanoUsd::ZERO),
        Some(true)
    );
}

/// All charges of all platforms, and nothing else, in the order in which they were posted.
pub async fn charges_are_read_in_parts(world: &World) {
    let (acme, payers, mut node) = acme_with_lease(world).await;
    let mut posted = Vec::new();
    for round in 0..3 {
        let charges: Vec<LedgerEntry> = (0..2)
            .map(|_| fixtures::charge(&payers, fixtures::cost(1, 0), world.now()))
            .collect();
        posted.extend(charges.iter().map(|charge| charge.uid));
        node.settle(world, &node.charges(charges)).await;
        if round == 0 {
            let act = crate::billing::LedgerAct::TopUpWallet {
                amount: fixtures::dollars(1),
            };
            world.apply(&acme, act).await;
        }
    }
    let ledger = &world.stores.ledger;
    let mut found = Vec::new();
    let mut after = 0;
    loop {
        let part = ledger.charges(&scopes::engine(), after, 4).await.unwrap();
        for charge in &part {
            assert!(charge.number > after, "numbers grow");
            after = charge.number;
            assert_eq!(charge.cost(), fixtures::dollars(1));
        }
        let is_last = part.len() < 4;
        found.extend(part.into_iter().map(|charge| charge.entry.uid));
        if is_last {
            break;
        }
    }
    assert_eq!(found, posted);
}
