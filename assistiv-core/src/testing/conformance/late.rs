//! Late settlements: a stream that a sweep has charged gets its exact cost, once.

use std::time::Duration;

use super::at_once;
use crate::billing::{
    Amounts, EntryKind, LateSettlement, LedgerEntry, OpenStream, SettleBatch, Sweep,
    UnconfirmedDelivery,
};
use crate::id::AccountId;
use crate::store::StoreError;
use crate::testing::driver::{Driver, TTL};
use crate::testing::fixtures::Payers;
use crate::testing::world::{Tenant, World};
use crate::testing::{fixtures, scopes};

/// A platform with an end user, a node that delivers a stream to it, and the stream, which has cost
/// two dollars and 30 tokens.
struct Scene<'w> {
    world: &'w World,
    acme: Tenant,
    budget: AccountId,
    payers: Payers,
    stream: OpenStream,
}

impl<'w> Scene<'w> {
    async fn set(world: &'w World) -> Self {
        let acme = world.tenant("acme").await;
        let terms = fixtures::one_time(fixtures::limits(Some(9), None));
        let ann = world.end_user_with_budget(&acme, "ann", terms).await;
        let budget = world.budget_account(&acme, &ann).await;
        let payers = world.payers(&acme, Some(&ann)).await;
        let mut node = Driver::start(world).await;
        node.demand(world, acme.wallet, fixtures::usd(5)).await;
        node.demand(world, budget, fixtures::usd(5)).await;
        let stream = fixtures::stream(&payers, fixtures::cost(2, 30));
        let open = SettleBatch {
            opened: vec![stream.clone()],
            ..node.settle_batch()
        };
        node.settle(world, &open).await;
        Self {
            world,
            acme,
            budget,
            payers,
            stream,
        }
    }

    async fn sweep(&self) {
        self.world.pass(TTL + Duration::from_secs(1));
        let grace = Duration::ZERO;
        let ledger = &self.world.stores.ledger;
        let swept = ledger
            .sweep(
                &scopes::engine(),
                Sweep::Expired { grace },
                UnconfirmedDelivery::Stands,
            )
            .await
            .unwrap();
        assert_eq!((swept.len(), swept[0].streams), (1, 1));
    }

    /// The stream's charge, had its node been able to post it.
    fn exact(&self, dollars: i64, tokens: i64) -> LedgerEntry {
        LedgerEntry {
            uid: self.stream.log_id,
            ..fixtures::charge(
                &self.payers,
                fixtures::cost(dollars, tokens),
                self.world.now(),
            )
        }
    }

    async fn settle(&self, exact: &LedgerEntry) -> Result<LateSettlement, StoreError> {
        let ledger = &self.world.stores.ledger;
        ledger.settle_late(&scopes::engine(), exact).await
    }

    async fn corrections(&self) -> Vec<LedgerEntry> {
        let entries = self.world.wallet_entries(&self.acme).await.into_iter();
        entries
            .map(|row| row.entry)
            .filter(|entry| entry.kind == EntryKind::Correction)
            .collect()
    }

    /// What the wallet and the budget have left, free of every node.
    async fn assert_left(&self, wallet: i64, budget: Amounts) {
        let of = async |account| {
            let audit = self.world.account(account).await;
            (audit.free, audit.slots)
        };
        assert_eq!(
            of(self.acme.wallet).await,
            (fixtures::usd(wallet), Amounts::ZERO)
        );
        assert_eq!(of(self.budget).await, (budget, Amounts::ZERO));
    }
}

/// Example E7 of `docs/ledger.md`: the difference is posted on every leg, and once.
pub async fn the_difference_is_posted_once(world: &World) {
    let scene = Scene::set(world).await;
    scene.sweep().await;
    let exact = scene.exact(5, 20);
    assert_eq!(
        scene.settle(&exact).await.unwrap(),
        LateSettlement::Corrected
    );
    let left = Amounts::from_raw(4_000_000_000, -20, 0);
    scene.assert_left(5, left).await;

    let corrections = scene.corrections().await;
    assert_eq!(corrections.len(), 1);
    let correction = &corrections[0];
    let charge = scene.stream.log_id;
    assert_eq!(correction.uid, LedgerEntry::correction_uid(charge));
    assert_eq!(correction.refers_to, Some(charge));
    assert_eq!(correction.wallet.unwrap().1, fixtures::dollars(-3));
    let legs = correction.budget.unwrap();
    assert_eq!(legs.remaining, Amounts::from_raw(-3_000_000_000, 10, 0));
    assert_eq!(legs.limit, Amounts::ZERO);
    assert_eq!(correction.end_user_id, scene.payers.end_user_id);

    // Not even with another cost: what was said first stands.
    for exact in [exact, scene.exact(7, 70)] {
        assert_eq!(scene.settle(&exact).await.unwrap(), LateSettlement::Exact);
    }
    scene.assert_left(5, left).await;
}

/// A call that cost less than was recorded gets the difference back.
pub async fn what_was_charged_too_much_returns(world: &World) {
    let scene = Scene::set(world).await;
    scene.sweep().await;
    let exact = scene.exact(1, 30);
    assert_eq!(
        scene.settle(&exact).await.unwrap(),
        LateSettlement::Corrected
    );
    let left = Amounts::from_raw(8_000_000_000, -30, 0);
    scene.assert_left(9, left).await;
}

/// A charge that is right needs no correction.
pub async fn an_exact_charge_is_left_alone(world: &World) {
    let scene = Scene::set(world).await;
    scene.sweep().await;
    let exact = scene.exact(2, 30);
    assert_eq!(scene.settle(&exact).await.unwrap(), LateSettlement::Exact);
    assert!(scene.corrections().await.is_empty());
    let left = Amounts::from_raw(7_000_000_000, -30, 0);
    scene.assert_left(8, left).await;
}

/// Before the sweep nothing can be corrected, and nothing changes.
pub async fn nothing_is_late_before_the_sweep(world: &World) {
    let scene = Scene::set(world).await;
    let before = world.audit().await;
    let early = scene.settle(&scene.exact(5, 20)).await;
    assert!(
        matches!(early, Err(StoreError::Unavailable(_))),
        "{early:?}"
    );
    assert_eq!(world.audit().await, before);
    scene.sweep().await;
    let late = scene.settle(&scene.exact(5, 20)).await;
    assert_eq!(late.unwrap(), LateSettlement::Corrected);
}

/// A call that was never recorded is not charged.
pub async fn what_was_not_recorded_is_not_charged(world: &World) {
    let scene = Scene::set(world).await;
    scene.sweep().await;
    let before = world.audit().await;
    let unknown = fixtures::charge(&scene.payers, fixtures::cost(1, 1), world.now());
    let late = scene.settle(&unknown).await.unwrap();
    assert_eq!(late, LateSettlement::Uncharged);
    assert_eq!(world.audit().await, before);
}

/// A charge is not corrected on accounts that it was not on.
pub async fn a_correction_stays_on_its_accounts(world: &World) {
    let scene = Scene::set(world).await;
    let other = world.tenant("other").await;
    scene.sweep().await;
    let before = world.audit().await;
    let exact = scene.exact(5, 20);
    let elsewhere = LedgerEntry {
        wallet: Some((other.wallet, fixtures::dollars(-5))),
        ..exact.clone()
    };
    let without_budget = LedgerEntry {
        budget: None,
        ..exact
    };
    for wrong in [elsewhere, without_budget] {
        let refused = scene.settle(&wrong).await;
        assert!(
            matches!(refused, Err(StoreError::Corrupt(_))),
            "{refused:?}"
        );
    }
    assert_eq!(world.audit().await, before);
}

/// What was refunded meanwhile is not given back again by a correction.
pub async fn a_correction_gives_nothing_back_twice(world: &World) {
    let scene = Scene::set(world).await;
    scene.sweep().await;
    let payers = Payers {
        budget: None,
        ..scene.payers
    };
    let refund = LedgerEntry {
        kind: EntryKind::Refund,
        refers_to: Some(scene.stream.log_id),
        ..fixtures::charge(&payers, fixtures::cost(-1, 0), world.now())
    };
    let mut node = Driver::start(world).await;
    node.settle(world, &node.charges(vec![refund])).await;
    node.give_back(world, scene.acme.wallet, fixtures::usd(1))
        .await;
    // The call was free, says its node; the wallet has one of its two dollars back already.
    let exact = scene.exact(0, 30);
    let late = scene.settle(&exact).await.unwrap();
    assert_eq!(late, LateSettlement::Corrected);
    let left = Amounts::from_raw(9_000_000_000, -30, 0);
    scene.assert_left(10, left).await;
}

/// However often it is said at once, one correction is posted.
pub async fn late_settlements_at_once_correct_once(world: &World) {
    let scene = Scene::set(world).await;
    scene.sweep().await;
    let exact = scene.exact(5, 20);
    let results = at_once(8, |_| {
        let (ledger, exact) = (world.stores.ledger.clone(), exact.clone());
        async move { ledger.settle_late(&scopes::engine(), &exact).await.unwrap() }
    })
    .await;
    let corrected = results
        .iter()
        .filter(|result| **result == LateSettlement::Corrected);
    assert_eq!(corrected.count(), 1);
    assert_eq!(scene.corrections().await.len(), 1);
    let left = Amounts::from_raw(4_000_000_000, -20, 0);
    scene.assert_left(5, left).await;
}

/// A late settlement beside the sweep waits for it or corrects it, and is never taken for a call
/// that was not recorded.
pub async fn a_late_settlement_beside_the_sweep_corrects_it(world: &World) {
    let scene = Scene::set(world).await;
    let exact = scene.exact(5, 20);
    let settling = async {
        loop {
            match scene.settle(&exact).await {
                Err(StoreError::Unavailable(_)) => tokio::task::yield_now().await,
                other => return other.unwrap(),
            }
        }
    };
    let (late, ()) = tokio::join!(settling, scene.sweep());
    assert_eq!(late, LateSettlement::Corrected);
    let left = Amounts::from_raw(4_000_000_000, -20, 0);
    scene.assert_left(5, left).await;
}
