//! Prices and re-rating: what was charged too much is given back once, whatever else happens to the charge.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::at_once;
use crate::billing::{
    AccountKind, ActRefusal, Amounts, CallInterval, ChargeHistory, Compensation, EntryKind,
    EntrySource, LedgerAct, LedgerEntry, Legs, Limits, Price, Rate, Rates, Refund, RerateReport,
    Rerating,
};
use crate::clock::Timestamp;
use crate::id::{EntryId, PriceId};
use crate::money::NanoUsd;
use crate::prices::PriceVersion;
use crate::store::Changed;
use crate::tenancy::EndUser;
use crate::testing::driver::Driver;
use crate::testing::world::{Tenant, World};
use crate::testing::{fixtures, scopes};

fn version(note: &str) -> PriceVersion {
    PriceVersion {
        provider: "openai".parse().unwrap(),
        provider_model_id: "gpt-test-1".into(),
        price: Arc::new(Price {
            id: PriceId::new(),
            service_tier: "standard".to_owned(),
            effective_from: "2026-03-01T00:00:00Z".parse().unwrap(),
            per_call: NanoUsd::new(7),
            rates: Rates {
                input: Some(Rate::new(37_500)),
                output: Some(Rate::new(15_000_000)),
                ..Rates::default()
            },
            long_context: None,
        }),
        note: Some(note.to_owned()),
        created_at: Timestamp::from_micros(0),
    }
}

/// Versions are kept as they were given, in their order, and none twice.
pub async fn prices_are_kept_in_order(world: &World) {
    let store = &world.stores.prices;
    let (first, second) = (version("first"), version("second"));
    for version in [&first, &second] {
        let added = store.add_price(&scopes::operator(), version, None).await;
        let added = added.unwrap().unwrap();
        assert_eq!(added.version.created_at, world.now());
        world.tick();
    }
    let kept = store.prices(&scopes::engine()).await.unwrap();
    let notes: Vec<_> = kept.iter().filter_map(|v| v.note.as_deref()).collect();
    assert_eq!(notes, ["first", "second"]);
    assert_eq!(kept[0].price, first.price);
    let told = world
        .stores
        .changes
        .recent(&scopes::engine())
        .await
        .unwrap();
    let told = told.iter().filter(|change| change.what == Changed::Prices);
    let wanted = if world.stores.changes.is_shared() {
        2
    } else {
        0
    };
    assert_eq!(told.count(), wanted);
}

/// A repeat gets the version that the first request added.
pub async fn a_repeated_price_is_added_once(world: &World) {
    let version = version("once");
    let added = at_once(8, |_| {
        let (store, version) = (world.stores.prices.clone(), version.clone());
        async move {
            let key = fixtures::repeatable(1, 1);
            let operator = scopes::operator();
            let added = store.add_price(&operator, &version, Some(key)).await;
            added.unwrap().unwrap()
        }
    })
    .await;
    assert_eq!(added.iter().filter(|added| !added.replayed).count(), 1);
    assert!(added.iter().all(|one| one.version == added[0].version));
    let store = &world.stores.prices;
    let other = store
        .add_price(
            &scopes::operator(),
            &version,
            Some(fixtures::repeatable(1, 2)),
        )
        .await;
    assert_eq!(other.unwrap(), Err(ActRefusal::KeyReused));
    let kept = store.prices(&scopes::engine()).await.unwrap();
    assert_eq!(kept.len(), 1);
}

/// Ann of acme with a charge of a call that began at `at`: 9,507,000 on the wallet, 10,695,375 on the budget.
async fn charged(world: &World, at: &str) -> (Tenant, EndUser, LedgerEntry) {
    let acme = world.tenant("acme").await;
    let terms = fixtures::daily(fixtures::limits(Some(5), Some(10_000)));
    let ann = world.end_user_with_budget(&acme, "ann", terms).await;
    let charge = charge(world, &acme, &ann, at).await;
    (acme, ann, charge)
}

async fn charge(world: &World, acme: &Tenant, ann: &EndUser, at: &str) -> LedgerEntry {
    let payers = world.payers(acme, Some(ann)).await;
    let cost = Legs {
        wallet: NanoUsd::new(9_507_000),
        budget: Amounts::from_raw(10_695_375, 1_801, 0),
    };
    let charge = LedgerEntry {
        uid: call_at(at),
        ..fixtures::charge(&payers, cost, world.now())
    };
    let mut node = Driver::start(world).await;
    node.demand(world, acme.wallet, fixtures::usd(1)).await;
    let batch = node.charges(vec![charge.clone()]);
    node.settle(world, &batch).await;
    charge
}

/// The id of a call that began then.
fn call_at(at: &str) -> EntryId {
    let at: Timestamp = at.parse().unwrap();
    let millis = at.as_micros().unsigned_abs() / 1_000;
    let random = *Uuid::new_v4().as_bytes();
    let mut tail = [0; 10];
    tail.copy_from_slice(&random[..10]);
    EntryId::from_uuid(uuid::Builder::from_unix_timestamp_millis(millis, &tail).into_uuid())
}

const ONE: &str = "2026-03-15T01:00:00Z";
const TWO: &str = "2026-03-15T02:00:00Z";
const THREE: &str = "2026-03-15T03:00:00Z";

fn interval(from: &str, to: &str) -> CallInterval {
    CallInterval {
        from: from.parse().unwrap(),
        to: to.parse().unwrap(),
        platform_id: None,
    }
}

async fn histories(world: &World, interval: &CallInterval) -> Vec<ChargeHistory> {
    let (ledger, mut found) = (&world.stores.ledger, Vec::new());
    let mut after = None;
    loop {
        let page = ledger
            .calls_charged(&scopes::operator(), interval, EntryId::new(), after, 1)
            .await
            .unwrap();
        let Some(last) = page.last() else {
            return found;
        };
        after = Some(last.charge.uid);
        found.extend(page);
    }
}

/// What the charge should have cost: on the wallet, and on the budget.
async fn compensation(
    world: &World,
    (acme, ann): (&Tenant, &EndUser),
    kind: AccountKind,
    costs: &[(&LedgerEntry, i64)],
) -> Compensation {
    let is_wallet = kind == AccountKind::Wallet;
    let account = if is_wallet {
        acme.wallet
    } else {
        world.budget_account(acme, ann).await
    };
    let cost = |(charge, nano): &(&LedgerEntry, i64)| (charge.uid, NanoUsd::new(*nano));
    Compensation {
        rerate: EntryId::new(),
        account,
        kind,
        platform_id: acme.platform.id,
        end_user_id: (!is_wallet).then_some(ann.id),
        costs: costs.iter().map(cost).collect(),
        reason: Some("list price was wrong".to_owned()),
        idempotency_key: None,
        actor: None,
        is_dry_run: false,
    }
}

async fn compensate(world: &World, compensation: &Compensation) -> i64 {
    let ledger = &world.stores.ledger;
    let moved = ledger.compensate(&scopes::operator(), compensation).await;
    moved.unwrap().get()
}

/// Charges are found by the time at which their calls began, in parts, and by platform.
pub async fn calls_are_found_by_their_beginning(world: &World) {
    let (acme, ann, first) = charged(world, ONE).await;
    let second = charge(world, &acme, &ann, TWO).await;
    let found = |found: Vec<ChargeHistory>| -> Vec<EntryId> {
        found.iter().map(|history| history.charge.uid).collect()
    };
    let both = histories(world, &interval(ONE, THREE)).await;
    assert_eq!(both[0].charge.budget, first.budget);
    assert_eq!(found(both), [first.uid, second.uid]);
    assert_eq!(
        found(histories(world, &interval(ONE, TWO)).await),
        [first.uid]
    );
    assert_eq!(
        found(histories(world, &interval(TWO, THREE)).await),
        [second.uid]
    );
    let other = world.tenant("other").await;
    for (platform, count) in [(other.platform.id, 0), (acme.platform.id, 2)] {
        let of_platform = CallInterval {
            platform_id: Some(platform),
            ..interval(ONE, THREE)
        };
        assert_eq!(histories(world, &of_platform).await.len(), count);
    }
}

/// A time is settled when it is over for five seconds and no stream of it is open.
pub async fn an_open_stream_keeps_its_time_unsettled(world: &World) {
    let acme = world.tenant("acme").await;
    let ledger = &world.stores.ledger;
    let is_settling = async |from: &str, to: &str| {
        let interval = interval(from, to);
        let scope = scopes::operator();
        ledger.is_settling(&scope, &interval).await.unwrap()
    };
    assert!(!is_settling(ONE, TWO).await);
    assert!(is_settling(ONE, "2026-03-15T12:00:00Z").await);
    assert!(!is_settling(ONE, "2026-03-15T11:59:55Z").await);
    let payers = world.payers(&acme, None).await;
    let mut node = Driver::start(world).await;
    let stream = crate::billing::OpenStream {
        log_id: call_at(ONE),
        ..fixtures::stream(&payers, fixtures::cost(1, 1))
    };
    let opening = crate::billing::SettleBatch {
        opened: vec![stream.clone()],
        ..node.settle_batch()
    };
    node.settle(world, &opening).await;
    assert!(is_settling(ONE, TWO).await);
    assert!(!is_settling(TWO, THREE).await);
    let closing = crate::billing::SettleBatch {
        closed: vec![stream.log_id],
        ..node.settle_batch()
    };
    node.settle(world, &closing).await;
    assert!(!is_settling(ONE, TWO).await);
}

/// What was charged too much goes back in one entry, and a second re-rating by the same prices finds nothing.
pub async fn an_overcharge_is_given_back_once(world: &World) {
    let (acme, ann, charge) = charged(world, ONE).await;
    let who = (&acme, &ann);
    let wallet = compensation(world, who, AccountKind::Wallet, &[(&charge, 9_000_000)]).await;
    let dry = Compensation {
        is_dry_run: true,
        ..wallet.clone()
    };
    let before = world.audit().await;
    assert_eq!(compensate(world, &dry).await, 507_000);
    assert_eq!(world.audit().await, before);
    let moved = at_once(8, |_| {
        let (world, wallet) = (world.clone(), wallet.clone());
        async move { compensate(&world, &wallet).await }
    })
    .await;
    assert_eq!(moved, [507_000; 8]);
    let budget = compensation(world, who, AccountKind::Budget, &[(&charge, 10_000_000)]).await;
    assert_eq!(compensate(world, &budget).await, 695_375);

    let balance = fixtures::dollars(10).get() - 9_000_000;
    assert_eq!(world.balance(&acme).await.get(), balance);
    assert_eq!(world.budget(&acme, &ann).await.used_usd.get(), 10_000_000);
    let entries = world.wallet_entries(&acme).await;
    let newest = &entries[0].entry;
    assert_eq!(newest.uid, wallet.uid());
    assert_eq!(newest.kind, EntryKind::WalletAdjustment);
    assert_eq!(newest.source, EntrySource::System);
    assert_eq!(newest.refers_to, Some(wallet.rerate));
    assert_eq!(newest.reverses(), None);
    let id = newest.metadata.get("rerate_id").unwrap();
    assert_eq!(id.read::<EntryId>().unwrap(), wallet.rerate);
    let entries = world.budget_entries(&acme, &ann).await;
    assert_eq!(entries[0].entry.kind, EntryKind::Adjustment);
    assert_eq!(entries[0].entry.end_user_id, Some(ann.id));

    let history = histories(world, &interval(ONE, TWO)).await.remove(0);
    assert_eq!(history.compensated.wallet.get(), 507_000);
    assert_eq!(history.compensated.budget.usd.get(), 695_375);
    let again = compensation(world, who, AccountKind::Wallet, &[(&charge, 9_000_000)]).await;
    assert_eq!(compensate(world, &again).await, 0);
    // Its own part is left out for who takes the re-rating up again.
    let scope = scopes::operator();
    let interval = interval(ONE, TWO);
    let ledger = &world.stores.ledger;
    let own = ledger.calls_charged(&scope, &interval, wallet.rerate, None, 9);
    assert!(own.await.unwrap()[0].compensated.wallet.is_zero());
}

/// What was charged too little is charged, below zero if need be.
pub async fn an_undercharge_is_charged(world: &World) {
    let (acme, ann, charge) = charged(world, ONE).await;
    let who = (&acme, &ann);
    let dear = fixtures::dollars(11).get();
    let wallet = compensation(world, who, AccountKind::Wallet, &[(&charge, dear)]).await;
    assert_eq!(compensate(world, &wallet).await, 9_507_000 - dear);
    assert_eq!(world.balance(&acme).await, fixtures::dollars(-1));
    let back = compensation(world, who, AccountKind::Wallet, &[(&charge, 9_507_000)]).await;
    assert_eq!(compensate(world, &back).await, dear - 9_507_000);
}

/// Refunds and re-ratings together never give back more than was charged, in whatever order they come.
pub async fn refunds_and_reratings_share_a_charge(world: &World) {
    let (acme, ann, charge) = charged(world, ONE).await;
    let who = (&acme, &ann);
    let refund = |amounts: Option<Limits>| LedgerAct::RefundDebit {
        end_user: ann.id,
        debit: charge.uid,
        refund: Refund::Of {
            amounts,
            to_wallet: true,
        },
    };
    let half = Limits {
        usd: Some(NanoUsd::new(8_000_000)),
        tokens: None,
    };
    world.apply(&acme, refund(Some(half))).await;
    // Of 10,695,375 there are 2,695,375 left, and the charge comes to nothing at all now.
    let budget = compensation(world, who, AccountKind::Budget, &[(&charge, 0)]).await;
    assert_eq!(compensate(world, &budget).await, 2_695_375);
    let wallet = compensation(world, who, AccountKind::Wallet, &[(&charge, 0)]).await;
    assert!(compensate(world, &wallet).await > 0);
    assert_eq!(world.budget(&acme, &ann).await.used_usd, NanoUsd::ZERO);
    assert_eq!(world.balance(&acme).await, fixtures::dollars(10));
    let more = world.try_apply(&acme, &refund(Some(half))).await;
    assert_eq!(more.unwrap_err(), ActRefusal::AlreadyRefunded);
    // What is left are the tokens.
    let rest = world.apply(&acme, refund(None)).await;
    assert_eq!(rest.outcome.entries[0].amount_usd, NanoUsd::ZERO);
    assert_eq!(world.balance(&acme).await, fixtures::dollars(10));

    // A charge that was given back whole stays so, whatever it comes to.
    let second = self::charge(world, &acme, &ann, TWO).await;
    let whole = LedgerAct::RefundDebit {
        end_user: ann.id,
        debit: second.uid,
        refund: Refund::Rest,
    };
    world.apply(&acme, whole).await;
    for cost in [0, 20_000_000] {
        for kind in [AccountKind::Wallet, AccountKind::Budget] {
            let nothing = compensation(world, who, kind, &[(&second, cost)]).await;
            assert_eq!(compensate(world, &nothing).await, 0);
        }
    }
}

/// A dearer charge can be refunded as dear as it is.
pub async fn what_was_charged_later_is_refunded_too(world: &World) {
    let (acme, ann, charge) = charged(world, ONE).await;
    let who = (&acme, &ann);
    for (kind, cost) in [
        (AccountKind::Wallet, 19_014_000),
        (AccountKind::Budget, 21_390_750),
    ] {
        let dearer = compensation(world, who, kind, &[(&charge, cost)]).await;
        compensate(world, &dearer).await;
    }
    let whole = LedgerAct::RefundDebit {
        end_user: ann.id,
        debit: charge.uid,
        refund: Refund::Rest,
    };
    let refunded = world.apply(&acme, whole).await;
    assert_eq!(refunded.outcome.entries[0].amount_usd.get(), 21_390_750);
    assert_eq!(world.balance(&acme).await, fixtures::dollars(10));
    assert_eq!(world.budget(&acme, &ann).await.used_usd, NanoUsd::ZERO);
}

/// What was used in another period is not used any more: nothing falls below zero, and nothing is given back later.
pub async fn an_overcharge_of_another_period_uses_nothing_below_zero(world: &World) {
    let (acme, ann, charge) = charged(world, ONE).await;
    world.pass(Duration::from_secs(24 * 3_600));
    let who = (&acme, &ann);
    let budget = compensation(world, who, AccountKind::Budget, &[(&charge, 10_000_000)]).await;
    assert_eq!(compensate(world, &budget).await, 0);
    assert_eq!(world.budget(&acme, &ann).await.used_usd, NanoUsd::ZERO);
    let newest = world.budget_entries(&acme, &ann).await.remove(0).entry;
    let covered = newest.metadata.get("covered_usd").unwrap();
    assert_eq!(covered.get(), "0.000695375");
    world
        .debit(&acme, &ann, fixtures::limits(Some(1), None))
        .await;
    let again = compensation(world, who, AccountKind::Budget, &[(&charge, 10_000_000)]).await;
    assert_eq!(compensate(world, &again).await, 0);
}

/// Charges of an end user who is gone still go back to the wallet.
pub async fn a_removed_end_user_is_compensated(world: &World) {
    let (acme, ann, charge) = charged(world, ONE).await;
    let who = (&acme, &ann);
    let budget = compensation(world, who, AccountKind::Budget, &[(&charge, 10_000_000)]).await;
    let wallet = compensation(world, who, AccountKind::Wallet, &[(&charge, 9_000_000)]).await;
    let tenancy = &world.stores.tenancy;
    tenancy.delete_end_user(&acme.scope, ann.id).await.unwrap();
    assert_eq!(compensate(world, &budget).await, 695_375);
    assert_eq!(compensate(world, &wallet).await, 507_000);
}

/// A re-rating is recorded once for each request, and its report stands.
pub async fn a_rerating_is_recorded_once(world: &World) {
    let rerating = |hash| Rerating {
        id: EntryId::from_uuid(Uuid::from_u128(7)),
        interval: interval(ONE, TWO),
        provider: Some("openai".to_owned()),
        provider_model_id: None,
        reason: Some("why".to_owned()),
        request: Some(("key".to_owned(), [hash; 32])),
    };
    let (ledger, scope) = (&world.stores.ledger, scopes::operator());
    let begin = async |hash| ledger.begin_rerate(&scope, &rerating(hash)).await.unwrap();
    assert_eq!(begin(1).await, Ok(None));
    assert_eq!(begin(1).await, Ok(None));
    assert_eq!(begin(2).await, Err(ActRefusal::KeyReused));
    let report = RerateReport {
        changed_rows: 3,
        wallet_delta: NanoUsd::new(-5),
        ..RerateReport::new(&rerating(1), false)
    };
    let kept = ledger.finish_rerate(&scope, &report).await.unwrap();
    assert_eq!(kept, report);
    let other = RerateReport {
        changed_rows: 4,
        ..report.clone()
    };
    let kept = ledger.finish_rerate(&scope, &other).await.unwrap();
    assert_eq!(kept, report);
    assert_eq!(begin(1).await, Ok(Some(report)));
}
