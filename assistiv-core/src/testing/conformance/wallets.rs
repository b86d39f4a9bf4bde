//! Wallets: money comes in by top-ups, each with its entry.

use super::at_once;
use crate::billing::{AccountKind, ActRefusal, EntryKind, EntrySource, LedgerAct};
use crate::money::NanoUsd;
use crate::testing::driver::Driver;
use crate::testing::fixtures;
use crate::testing::world::{World, assert_chained, every};

/// A top-up raises the balance by its amount and is recorded with what the caller said.
pub async fn a_top_up_changes_balance_and_entry(world: &World) {
    let acme = world.tenant("acme").await;
    let context = fixtures::context();
    let act = LedgerAct::TopUpWallet {
        amount: fixtures::dollars(5),
    };
    let ledger = &world.stores.ledger;
    let applied = ledger
        .apply(&acme.scope, &act, &context, None)
        .await
        .unwrap()
        .unwrap();
    assert!(!applied.replayed);
    assert_eq!(applied.account, Some(acme.wallet));
    let wallet = ledger.wallet(&acme.scope).await.unwrap();
    assert_eq!(wallet.balance, fixtures::dollars(15));
    assert_eq!(applied.outcome.wallet, Some(wallet));
    assert_eq!(applied.outcome.budget, None);

    let posted = &applied.outcome.entries[0];
    assert_eq!((posted.id, posted.kind), (context.uid, EntryKind::TopUp));
    assert_eq!(posted.amount_usd, fixtures::dollars(5));
    assert_eq!(posted.remaining_usd_after, fixtures::dollars(15));
    let newest = &world.wallet_entries(&acme).await[0];
    let entry = &newest.entry;
    assert_eq!((entry.uid, entry.kind), (context.uid, EntryKind::TopUp));
    assert_eq!(
        (entry.source, entry.platform_id),
        (EntrySource::Manual, acme.platform.id)
    );
    assert_eq!(entry.wallet, Some((acme.wallet, fixtures::dollars(5))));
    assert_eq!(
        (&entry.actor, &entry.reason, &entry.metadata),
        (&context.actor, &context.reason, &context.metadata)
    );
    assert_eq!(newest.remaining_after, fixtures::usd(15));
}

/// A top-up past the largest balance is refused and changes nothing.
pub async fn a_top_up_out_of_range_is_refused(world: &World) {
    let acme = world.tenant_with("acme", NanoUsd::MAX_INPUT).await;
    let act = LedgerAct::TopUpWallet {
        amount: NanoUsd::new(1),
    };
    assert_eq!(
        world.try_apply(&acme, &act).await,
        Err(ActRefusal::OutOfRange)
    );
    assert_eq!(world.balance(&acme).await, NanoUsd::MAX_INPUT);
    assert_eq!(world.wallet_entries(&acme).await.len(), 1);
}

/// The threshold is a setting: it moves no money and leaves no entry.
pub async fn the_threshold_is_set_and_cleared(world: &World) {
    let acme = world.tenant("acme").await;
    for threshold in [Some(fixtures::dollars(2)), Some(NanoUsd::ZERO), None] {
        let applied = world
            .apply(&acme, LedgerAct::SetWalletThreshold { threshold })
            .await;
        let wallet = world.stores.ledger.wallet(&acme.scope).await.unwrap();
        assert_eq!(wallet.low_balance_threshold, threshold);
        assert_eq!(applied.outcome.wallet, Some(wallet));
        assert!(applied.outcome.entries.is_empty());
    }
    assert_eq!(world.wallet_entries(&acme).await.len(), 1);
}

/// What nodes hold is still the wallet's; only charges reduce it.
pub async fn leases_do_not_change_the_balance(world: &World) {
    let acme = world.tenant("acme").await;
    let mut node = Driver::start(world).await;
    node.demand(world, acme.wallet, fixtures::usd(6)).await;
    assert_eq!(world.balance(&acme).await, fixtures::dollars(10));
    let payers = world.payers(&acme, None).await;
    let charge = fixtures::charge(&payers, fixtures::cost(1, 0), world.now());
    node.settle(world, &node.charges(vec![charge])).await;
    assert_eq!(world.balance(&acme).await, fixtures::dollars(9));
    let act = LedgerAct::TopUpWallet {
        amount: fixtures::dollars(1),
    };
    let applied = world.apply(&acme, act).await;
    assert_eq!(
        applied.outcome.entries[0].remaining_usd_after,
        fixtures::dollars(10)
    );
}

/// Running balances fit together across the borders of pages.
pub async fn wallet_entries_chain_over_pages(world: &World) {
    let acme = world.tenant("acme").await;
    let mut node = Driver::start(world).await;
    node.demand(world, acme.wallet, fixtures::usd(8)).await;
    let payers = world.payers(&acme, None).await;
    for number in 1..6 {
        let amount = NanoUsd::new(number);
        world.apply(&acme, LedgerAct::TopUpWallet { amount }).await;
        let charge = fixtures::charge(&payers, fixtures::cost(1, 0), world.now());
        node.settle(world, &node.charges(vec![charge])).await;
    }
    let (ledger, scope) = (&world.stores.ledger, &acme.scope);
    let whole = world.wallet_entries(&acme).await;
    assert_eq!(whole.len(), 11);
    assert_chained(&whole, AccountKind::Wallet);
    for limit in [1, 2, 3, 11] {
        let paged = every(limit, async |page| ledger.wallet_entries(scope, page).await).await;
        assert_eq!(paged, whole);
    }
}

/// No concurrent top-up is lost.
pub async fn concurrent_top_ups_add_up(world: &World) {
    let acme = world.tenant("acme").await;
    at_once(16, |_| {
        let (world, acme) = (world.clone(), acme.clone());
        let act = LedgerAct::TopUpWallet {
            amount: fixtures::dollars(1),
        };
        async move { world.apply(&acme, act).await }
    })
    .await;
    assert_eq!(world.balance(&acme).await, fixtures::dollars(26));
    assert_eq!(world.wallet_entries(&acme).await.len(), 17);
}

/// The operator corrects a balance in either direction, with an entry of its own.
pub async fn an_adjustment_moves_the_balance(world: &World) {
    let acme = world.tenant("acme").await;
    for (amount, after) in [(-4, 6), (3, 9), (-9, 0)] {
        let amount = fixtures::dollars(amount);
        let applied = world.apply(&acme, LedgerAct::AdjustWallet { amount }).await;
        let posted = &applied.outcome.entries[0];
        assert_eq!(posted.kind, EntryKind::WalletAdjustment);
        assert_eq!(
            (posted.amount_usd, posted.remaining_usd_after),
            (amount, fixtures::dollars(after))
        );
        assert_eq!(world.balance(&acme).await, fixtures::dollars(after));
    }
}

/// An adjustment leaves at least nothing, and takes nothing out of the slots of nodes.
pub async fn an_adjustment_takes_only_what_is_free(world: &World) {
    let acme = world.tenant("acme").await;
    let mut node = Driver::start(world).await;
    let granted = node.demand(world, acme.wallet, fixtures::usd(4)).await;
    assert_eq!(granted.granted, fixtures::usd(4));
    let before = world.audit().await;
    let adjust = |amount| LedgerAct::AdjustWallet { amount };
    for (amount, refusal) in [
        (fixtures::dollars(-11), ActRefusal::InsufficientBalance),
        (fixtures::dollars(-7), ActRefusal::FundsLeased(acme.wallet)),
        (NanoUsd::MAX_INPUT, ActRefusal::OutOfRange),
    ] {
        assert_eq!(world.try_apply(&acme, &adjust(amount)).await, Err(refusal));
    }
    assert_eq!(world.audit().await, before);
    world.apply(&acme, adjust(fixtures::dollars(-6))).await;
    node.give_back(world, acme.wallet, fixtures::usd(4)).await;
    world.apply(&acme, adjust(fixtures::dollars(-4))).await;
    assert_eq!(world.balance(&acme).await, NanoUsd::ZERO);
}
