//! Charges whose delivery cannot be proved: listed by sweeps, resolved once.

use std::time::Duration;

use super::at_once;
use crate::billing::{
    ActRefusal, EntryKind, EntrySource, LedgerAct, LedgerEntry, Refund, Resolution, Resolved,
    Sweep, Unconfirmed, UnconfirmedDelivery, UnconfirmedFilter, UnconfirmedStatus,
};
use crate::id::EntryId;
use crate::money::NanoUsd;
use crate::store::Page;
use crate::tenancy::EndUser;
use crate::testing::driver::{Driver, TTL};
use crate::testing::world::{Tenant, World};
use crate::testing::{fixtures, scopes};

/// A platform, an end user with a budget, and a charge of two dollars and ten tokens whose node died before anybody
/// could tell whether its answer was delivered.
async fn doubtful(world: &World) -> (Tenant, EndUser, LedgerEntry) {
    let acme = world.tenant("acme").await;
    let terms = fixtures::one_time(fixtures::limits(Some(5), Some(100)));
    let ann = world.end_user_with_budget(&acme, "ann", terms).await;
    let payers = world.payers(&acme, Some(&ann)).await;
    let charge = fixtures::charge(&payers, fixtures::cost(2, 10), world.now());
    die_after(world, &acme, charge.clone()).await;
    (acme, ann, charge)
}

async fn die_after(world: &World, tenant: &Tenant, charge: LedgerEntry) {
    let mut node = Driver::start(world).await;
    node.demand(world, tenant.wallet, fixtures::usd(3)).await;
    node.settle(world, &node.charges(vec![charge])).await;
    world.pass(TTL + Duration::from_secs(1));
    let policy = UnconfirmedDelivery::Stands;
    let ledger = &world.stores.ledger;
    let swept = ledger.sweep(&scopes::engine(), Sweep::All, policy).await;
    assert_eq!(swept.unwrap()[0].unconfirmed, 1);
}

async fn listed(world: &World, filter: UnconfirmedFilter) -> Vec<Unconfirmed> {
    let ledger = &world.stores.ledger;
    let listed = ledger
        .unconfirmed(&scopes::operator(), &filter, Page::default())
        .await
        .unwrap();
    assert_eq!(listed.total, listed.rows.len() as u64);
    listed.rows
}

fn with(status: UnconfirmedStatus) -> UnconfirmedFilter {
    UnconfirmedFilter {
        status,
        ..UnconfirmedFilter::default()
    }
}

async fn resolve(
    world: &World,
    charge: EntryId,
    resolution: Resolution,
) -> Result<Resolved, ActRefusal> {
    let ledger = &world.stores.ledger;
    ledger
        .resolve_unconfirmed(
            &scopes::operator(),
            charge,
            resolution,
            &fixtures::context(),
            None,
        )
        .await
        .unwrap()
}

/// An item says whose charge it is and when it was found; it is open until it is resolved.
pub async fn a_doubtful_charge_is_listed(world: &World) {
    let (acme, ann, charge) = doubtful(world).await;
    let items = listed(world, UnconfirmedFilter::default()).await;
    assert_eq!(items.len(), 1);
    let item = &items[0];
    assert_eq!(
        (item.charge, item.platform_id, item.end_user_id),
        (charge.uid, acme.platform.id, Some(ann.id))
    );
    assert_eq!(item.source, EntrySource::Inference);
    assert_eq!(item.wallet, Some(fixtures::dollars(2)));
    assert_eq!(item.budget, Some(fixtures::cost(2, 10).budget));
    assert_eq!(item.charged_at.to_string(), "2026-03-15T12:00:00Z");
    assert_eq!(item.found_at.to_string(), "2026-03-15T12:00:11Z");
    assert_eq!(item.node, "driver");
    assert_eq!(
        (item.status, item.resolved_at, &item.reason),
        (UnconfirmedStatus::Open, None, &None)
    );
}

/// Items are filtered by platform, by the time of their charge, and by where they stand.
pub async fn doubtful_charges_are_filtered(world: &World) {
    let (acme, _, charge) = doubtful(world).await;
    let other = world.tenant("other").await;
    let payers = world.payers(&other, None).await;
    let later = fixtures::charge(&payers, fixtures::cost(1, 1), world.now());
    die_after(world, &other, later.clone()).await;

    let all = listed(world, UnconfirmedFilter::default()).await;
    let uids: Vec<_> = all.iter().map(|item| item.charge).collect();
    assert_eq!(uids, [later.uid, charge.uid]);
    assert_eq!((all[0].end_user_id, all[0].budget), (None, None));
    let of_acme = UnconfirmedFilter {
        platform_id: Some(acme.platform.id),
        ..UnconfirmedFilter::default()
    };
    assert_eq!(listed(world, of_acme).await[0].charge, charge.uid);
    let second = Some("2026-03-15T12:00:11Z".parse().unwrap());
    let from = UnconfirmedFilter {
        from: second,
        ..UnconfirmedFilter::default()
    };
    let to = UnconfirmedFilter {
        to: second,
        ..UnconfirmedFilter::default()
    };
    assert_eq!(listed(world, from).await[0].charge, later.uid);
    assert_eq!(listed(world, to).await[0].charge, charge.uid);
    assert!(
        listed(world, with(UnconfirmedStatus::Stands))
            .await
            .is_empty()
    );
}

/// A charge that stands moves nothing, and is not given back later.
pub async fn a_charge_that_stands_moves_nothing(world: &World) {
    let (_, _, charge) = doubtful(world).await;
    let before = world.audit().await;
    let first = resolve(world, charge.uid, Resolution::Stands)
        .await
        .unwrap();
    assert_eq!(first.item.status, UnconfirmedStatus::Stands);
    assert_eq!(first.item.resolved_at, Some(world.now()));
    assert!(first.item.actor.is_some());
    assert_eq!(first.item.reason.as_deref(), Some("a reason"));
    world.tick();
    let again = resolve(world, charge.uid, Resolution::Stands)
        .await
        .unwrap();
    assert_eq!(again.item, first.item);
    assert_eq!(
        resolve(world, charge.uid, Resolution::Refund).await,
        Err(ActRefusal::AlreadyResolved)
    );
    assert_eq!(world.audit().await, before);
    assert!(listed(world, UnconfirmedFilter::default()).await.is_empty());
    let items = listed(world, with(UnconfirmedStatus::Stands)).await;
    assert_eq!(items, [first.item]);
}

/// What is left of a charge goes back on every leg, in one entry, however many ask for it at once.
pub async fn a_refund_gives_back_what_is_left_once(world: &World) {
    let (acme, ann, charge) = doubtful(world).await;
    let part = LedgerAct::RefundDebit {
        end_user: ann.id,
        debit: charge.uid,
        refund: Refund::Of {
            amounts: Some(fixtures::limits(Some(1), None)),
            to_wallet: true,
        },
    };
    world.apply(&acme, part).await;
    let resolved = at_once(16, |_| {
        let world = world.clone();
        async move {
            resolve(&world, charge.uid, Resolution::Refund)
                .await
                .unwrap()
        }
    })
    .await;
    assert!(resolved.iter().all(|one| one.item == resolved[0].item));
    assert_eq!(resolved[0].item.status, UnconfirmedStatus::Refunded);
    assert_eq!(world.balance(&acme).await, fixtures::dollars(10));
    assert_eq!(world.budget(&acme, &ann).await.used_usd, NanoUsd::ZERO);
    let entries = world.budget_entries(&acme, &ann).await;
    let refunds: Vec<_> = entries
        .iter()
        .filter(|row| row.entry.kind == EntryKind::Refund)
        .collect();
    assert_eq!(refunds.len(), 2);
    let uid = LedgerEntry::unconfirmed_refund_uid(charge.uid);
    assert_eq!(
        (refunds[0].entry.uid, refunds[0].entry.refers_to),
        (uid, Some(charge.uid))
    );
    assert_eq!(
        resolve(world, charge.uid, Resolution::Stands).await,
        Err(ActRefusal::AlreadyResolved)
    );
}

/// Where nothing is left, nothing is given back, and the item stays open.
pub async fn what_was_given_back_is_not_given_back_again(world: &World) {
    let (acme, ann, charge) = doubtful(world).await;
    let whole = LedgerAct::RefundDebit {
        end_user: ann.id,
        debit: charge.uid,
        refund: Refund::Of {
            amounts: None,
            to_wallet: true,
        },
    };
    world.apply(&acme, whole).await;
    assert_eq!(
        resolve(world, charge.uid, Resolution::Refund).await,
        Err(ActRefusal::AlreadyRefunded)
    );
    assert_eq!(listed(world, UnconfirmedFilter::default()).await.len(), 1);
    resolve(world, charge.uid, Resolution::Stands)
        .await
        .unwrap();
}

/// Only what a sweep listed is resolved.
pub async fn an_unlisted_charge_is_not_resolved(world: &World) {
    doubtful(world).await;
    for resolution in [Resolution::Stands, Resolution::Refund] {
        assert_eq!(
            resolve(world, EntryId::new(), resolution).await,
            Err(ActRefusal::TransactionNotFound)
        );
    }
}

/// A charge without a budget, and one whose end user is gone, go back to the wallet.
pub async fn charges_without_a_budget_are_given_back(world: &World) {
    let (acme, ann, charge) = doubtful(world).await;
    let payers = world.payers(&acme, None).await;
    let bare = fixtures::charge(&payers, fixtures::cost(1, 1), world.now());
    die_after(world, &acme, bare.clone()).await;
    let tenancy = &world.stores.tenancy;
    tenancy.delete_end_user(&acme.scope, ann.id).await.unwrap();
    for uid in [charge.uid, bare.uid] {
        resolve(world, uid, Resolution::Refund).await.unwrap();
    }
    assert_eq!(world.balance(&acme).await, fixtures::dollars(10));
}

/// A repeat with the same key gets the item, the same key for another decision is refused, and a refusal does not use
/// the key up.
pub async fn a_repeated_resolution_takes_effect_once(world: &World) {
    let (_, _, charge) = doubtful(world).await;
    let ledger = &world.stores.ledger;
    let ask = async |uid, resolution, request| {
        let key = fixtures::repeatable(1, request);
        ledger
            .resolve_unconfirmed(
                &scopes::operator(),
                uid,
                resolution,
                &fixtures::context(),
                Some(key),
            )
            .await
            .unwrap()
    };
    assert_eq!(
        ask(EntryId::new(), Resolution::Refund, 9).await,
        Err(ActRefusal::TransactionNotFound)
    );
    let first = ask(charge.uid, Resolution::Refund, 1).await.unwrap();
    world.tick();
    let again = ask(charge.uid, Resolution::Refund, 1).await.unwrap();
    assert_eq!((first.replayed, again.replayed), (false, true));
    assert_eq!(again.item, first.item);
    assert_eq!(
        ask(charge.uid, Resolution::Stands, 2).await,
        Err(ActRefusal::KeyReused)
    );
}
