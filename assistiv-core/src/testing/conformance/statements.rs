//! Lists and statements: whatever is left out, every row shows what stood after its entry.

use std::time::Duration;

use super::assert_not_found;
use crate::billing::{
    AccountKind, ActContext, Amounts, EntriesOf, EntryFilter, EntryKind, EntrySource,
    EntryWithBalance, LedgerAct, LedgerPart, Legs, Refund, Standing, Statement,
};
use crate::clock::Timestamp;
use crate::id::EntryId;
use crate::money::NanoUsd;
use crate::store::{Listed, Page};
use crate::tenancy::EndUser;
use crate::testing::driver::Driver;
use crate::testing::fixtures;
use crate::testing::world::{Tenant, World, assert_chained, every};

/// A platform with two end users, and an entry of every common kind a second apart. Returns when each second began.
async fn history(world: &World) -> (Tenant, EndUser, Vec<Timestamp>) {
    let acme = world.tenant("acme").await;
    let terms = fixtures::one_time(fixtures::limits(Some(50), Some(1_000)));
    let ann = world
        .end_user_with_budget(&acme, "ann", terms.clone())
        .await;
    let bob = world.end_user_with_budget(&acme, "bob", terms).await;
    let mut node = Driver::start(world).await;
    node.demand(world, acme.wallet, fixtures::usd(5)).await;
    let mut seconds = Vec::new();
    for round in 1..=3 {
        for user in [&ann, &bob] {
            world.tick();
            seconds.push(world.now());
            let payers = world.payers(&acme, Some(user)).await;
            let cost = Legs {
                wallet: NanoUsd::new(round * 1_001),
                budget: Amounts::from_raw(round * 2_003, round, 0),
            };
            let charge = fixtures::charge(&payers, cost, world.now());
            let uid = charge.uid;
            node.settle(world, &node.charges(vec![charge])).await;
            let act = LedgerAct::RefundDebit {
                end_user: user.id,
                debit: uid,
                refund: Refund::Of {
                    amounts: Some(fixtures::limits(None, Some(1))),
                    to_wallet: true,
                },
            };
            world.apply(&acme, act).await;
            world.tick();
            seconds.push(world.now());
            keyed_top_up(world, &acme, user, round).await;
        }
        let amount = fixtures::dollars(round);
        world.apply(&acme, LedgerAct::TopUpWallet { amount }).await;
    }
    (acme, ann, seconds)
}

async fn keyed_top_up(world: &World, tenant: &Tenant, user: &EndUser, number: i64) {
    let act = LedgerAct::TopUpBudget {
        end_user: user.id,
        amounts: fixtures::limits(Some(number), Some(number)),
    };
    let context = ActContext {
        uid: EntryId::new(),
        idempotency_key: Some(format!("key {number}")),
        actor: None,
        ..fixtures::context()
    };
    let ledger = &world.stores.ledger;
    let applied = ledger.apply(&tenant.scope, &act, &context, None).await;
    applied.unwrap().unwrap();
}

async fn list(
    world: &World,
    tenant: &Tenant,
    of: EntriesOf,
    filter: &EntryFilter,
    page: Page,
) -> Listed<EntryWithBalance> {
    let ledger = &world.stores.ledger;
    ledger
        .entries(&tenant.scope, of, filter, page)
        .await
        .unwrap()
}

async fn all(world: &World, tenant: &Tenant, of: EntriesOf, limit: u32) -> Vec<EntryWithBalance> {
    let ledger = &world.stores.ledger;
    let filter = EntryFilter::default();
    every(limit, async |page| {
        ledger.entries(&tenant.scope, of, &filter, page).await
    })
    .await
}

fn filters(seconds: &[Timestamp], user: &EndUser) -> Vec<EntryFilter> {
    let none = EntryFilter::default();
    vec![
        none.clone(),
        EntryFilter {
            kinds: Some(vec![EntryKind::Charge, EntryKind::Debit]),
            ..none.clone()
        },
        EntryFilter {
            kinds: Some(vec![EntryKind::Refund]),
            sources: Some(vec![EntrySource::Manual]),
            ..none.clone()
        },
        EntryFilter {
            sources: Some(vec![EntrySource::Inference]),
            end_user: Some(user.id),
            ..none.clone()
        },
        EntryFilter {
            idempotency_key: Some("key 2".to_owned()),
            ..none.clone()
        },
        EntryFilter {
            from: Some(seconds[3]),
            to: Some(seconds[8]),
            ..none.clone()
        },
        EntryFilter {
            kinds: Some(Vec::new()),
            ..none.clone()
        },
        EntryFilter {
            part: Some(LedgerPart::Main),
            from: Some(seconds[10]),
            ..none
        },
    ]
}

/// A filter leaves rows out, and changes nothing about those that remain.
pub async fn filtered_entries_keep_their_balances(world: &World) {
    let (acme, ann, seconds) = history(world).await;
    let mut found = 0;
    for of in [EntriesOf::Wallet, EntriesOf::Budget(ann.id)] {
        let unfiltered = all(world, &acme, of, 100).await;
        for filter in filters(&seconds, &ann) {
            let expected: Vec<_> = unfiltered
                .iter()
                .filter(|row| filter.matches(&row.entry))
                .cloned()
                .collect();
            let page = Page {
                page: 1,
                limit: 100,
            };
            let listed = list(world, &acme, of, &filter, page).await;
            assert_eq!(listed.total, expected.len() as u64, "{filter:?}");
            assert_eq!(listed.rows, expected, "{filter:?}");
            found += expected.len();
        }
    }
    assert!(found > 40, "the filters leave too little to check");
}

/// Pages of a filtered list have no gap and no repetition, and the same balances.
pub async fn pages_of_filtered_entries_are_whole(world: &World) {
    let (acme, ann, seconds) = history(world).await;
    for of in [EntriesOf::Wallet, EntriesOf::Budget(ann.id)] {
        for filter in filters(&seconds, &ann) {
            let whole = Page {
                page: 1,
                limit: 100,
            };
            let whole = list(world, &acme, of, &filter, whole).await;
            let ledger = &world.stores.ledger;
            let paged = every(2, async |page| {
                ledger.entries(&acme.scope, of, &filter, page).await
            })
            .await;
            assert_eq!(paged, whole.rows);
        }
    }
}

/// The display leg of a call is a row of its own; a call that moves nothing else has that row alone.
pub async fn display_units_are_rows_of_their_own(world: &World) {
    let acme = world.tenant("acme").await;
    let terms = fixtures::one_time(fixtures::limits(Some(5), Some(100)));
    let ann = world.end_user_with_budget(&acme, "ann", terms).await;
    let payers = world.payers(&acme, Some(&ann)).await;
    let mut node = Driver::start(world).await;
    node.demand(world, acme.wallet, fixtures::usd(5)).await;
    let mut both = fixtures::cost(1, 10);
    both.budget = Amounts::from_raw(1_000_000_000, 10, 2_500_000);
    let only = Legs {
        wallet: NanoUsd::ZERO,
        budget: Amounts::from_raw(0, 0, 1_000_000),
    };
    let plain = fixtures::cost(2, 20);
    let charges = [both, only, plain].map(|cost| fixtures::charge(&payers, cost, world.now()));
    let uids = charges.clone().map(|charge| charge.uid);
    node.settle(world, &node.charges(charges.to_vec())).await;

    let of = EntriesOf::Budget(ann.id);
    let shown = |rows: &[EntryWithBalance]| -> Vec<_> {
        rows.iter().map(|row| (row.entry.uid, row.part)).collect()
    };
    let opening = world.budget_entries(&acme, &ann).await;
    let opening = opening.last().unwrap().entry.uid;
    for limit in [1, 2, 3, 100] {
        let rows = all(world, &acme, of, limit).await;
        assert_eq!(
            shown(&rows),
            [
                (uids[2], LedgerPart::Main),
                (uids[1], LedgerPart::Display),
                (uids[0], LedgerPart::Display),
                (uids[0], LedgerPart::Main),
                (opening, LedgerPart::Main),
            ]
        );
        assert_chained(&rows, AccountKind::Budget);
        assert_eq!(
            rows[1].remaining_after.display.get(),
            -3_500_000,
            "{:?}",
            rows[1]
        );
    }
    let display = EntryFilter {
        part: Some(LedgerPart::Display),
        ..EntryFilter::default()
    };
    let listed = list(world, &acme, of, &display, Page::default()).await;
    assert_eq!(listed.total, 2);
    assert_eq!(
        shown(&listed.rows),
        [
            (uids[1], LedgerPart::Display),
            (uids[0], LedgerPart::Display)
        ]
    );
    let listed = list(world, &acme, EntriesOf::Wallet, &display, Page::default()).await;
    assert_eq!(listed.total, 0);
}

async fn open(world: &World, tenant: &Tenant, of: EntriesOf, filter: &EntryFilter) -> Statement {
    let ledger = &world.stores.ledger;
    ledger
        .open_statement(&tenant.scope, of, filter)
        .await
        .unwrap()
}

/// Reads a statement to its end, `most` entries at a time.
async fn read(
    world: &World,
    tenant: &Tenant,
    of: EntriesOf,
    filter: &EntryFilter,
    statement: &Statement,
    most: u32,
) -> Vec<EntryWithBalance> {
    let ledger = &world.stores.ledger;
    let mut rows = Vec::new();
    let mut next = statement.begin;
    while let Some(cursor) = next {
        let page = ledger
            .read_statement(&tenant.scope, of, filter, cursor, most)
            .await
            .unwrap();
        rows.extend(page.rows);
        next = page.next;
    }
    assert_eq!(statement.rows, rows.len() as u64);
    rows
}

/// A statement has the rows of the list, in the same order and with the same balances, and begins and ends with what
/// stood before and after its period.
pub async fn a_statement_is_the_list_of_its_period(world: &World) {
    let (acme, ann, seconds) = history(world).await;
    world.pass(Duration::from_secs(6));
    for of in [EntriesOf::Wallet, EntriesOf::Budget(ann.id)] {
        for filter in filters(&seconds, &ann) {
            let page = Page {
                page: 1,
                limit: 100,
            };
            let listed = list(world, &acme, of, &filter, page).await;
            let statement = open(world, &acme, of, &filter).await;
            for most in [1, 3, 500] {
                let rows = read(world, &acme, of, &filter, &statement, most).await;
                assert_eq!(rows, listed.rows, "{filter:?}");
            }
            let period = EntryFilter {
                from: filter.from,
                to: filter.to,
                ..EntryFilter::default()
            };
            let rows = list(world, &acme, of, &period, page).await.rows;
            let (Some(newest), Some(oldest)) = (rows.first(), rows.last()) else {
                continue;
            };
            let after = |row: &EntryWithBalance| Standing {
                remaining: row.remaining_after,
                limit: row.limit_after,
            };
            assert_eq!(statement.closing, after(newest));
            let change = oldest.entry.change_of(of);
            assert_eq!(statement.opening, after(oldest).before(&change).unwrap());
        }
    }
}

/// The last five seconds are not in a statement: they may still be joined by entries before them.
pub async fn a_statement_ends_where_entries_are_settled(world: &World) {
    let acme = world.tenant("acme").await;
    let amount = fixtures::dollars(1);
    world.pass(Duration::from_secs(4));
    world.apply(&acme, LedgerAct::TopUpWallet { amount }).await;
    world.pass(Duration::from_secs(2));
    let filter = EntryFilter::default();
    let statement = open(world, &acme, EntriesOf::Wallet, &filter).await;
    assert_eq!(
        (statement.rows, statement.closing.remaining),
        (1, fixtures::usd(10))
    );
    world.pass(Duration::from_secs(4));
    let statement = open(world, &acme, EntriesOf::Wallet, &filter).await;
    assert_eq!(
        (statement.rows, statement.closing.remaining),
        (2, fixtures::usd(11))
    );
}

/// What happens later changes nothing about a period that is over, nor about a statement that is being read.
pub async fn a_period_that_is_over_has_one_statement(world: &World) {
    let (acme, ann, seconds) = history(world).await;
    world.pass(Duration::from_secs(6));
    let of = EntriesOf::Budget(ann.id);
    let filter = EntryFilter {
        from: Some(seconds[2]),
        to: Some(seconds[9]),
        ..EntryFilter::default()
    };
    let first = open(world, &acme, of, &filter).await;
    let rows = read(world, &acme, of, &filter, &first, 100).await;
    assert!(!rows.is_empty());
    let open_ended = EntryFilter::default();
    let running = open(world, &acme, of, &open_ended).await;
    let expected = read(world, &acme, of, &open_ended, &running, 100).await;
    world
        .debit(&acme, &ann, fixtures::limits(Some(3), None))
        .await;
    world.pass(Duration::from_secs(60));
    let again = open(world, &acme, of, &filter).await;
    assert_eq!(again, first);
    assert_eq!(read(world, &acme, of, &filter, &again, 100).await, rows);
    assert_eq!(
        read(world, &acme, of, &open_ended, &running, 1).await,
        expected
    );
}

/// A period without entries has a statement, too.
pub async fn a_statement_without_entries_says_what_stood(world: &World) {
    let acme = world.tenant("acme").await;
    world.pass(Duration::from_secs(60));
    let later = EntryFilter {
        from: Some(world.now()),
        ..EntryFilter::default()
    };
    let standing = Standing {
        remaining: fixtures::usd(10),
        limit: Amounts::ZERO,
    };
    let expected = Statement {
        opening: standing,
        closing: standing,
        rows: 0,
        begin: None,
    };
    assert_eq!(
        open(world, &acme, EntriesOf::Wallet, &later).await,
        expected
    );
    let earlier = EntryFilter {
        to: Some("2026-01-01T00:00:00Z".parse().unwrap()),
        ..EntryFilter::default()
    };
    let expected = Statement {
        opening: Standing::default(),
        closing: Standing::default(),
        ..expected
    };
    assert_eq!(
        open(world, &acme, EntriesOf::Wallet, &earlier).await,
        expected
    );
}

/// Another platform has no statement of an end user, and no id of the budget.
pub async fn statements_belong_to_a_platform(world: &World) {
    let (_, ann, _) = history(world).await;
    world.pass(Duration::from_secs(6));
    let other = world.tenant("other").await;
    let (ledger, scope) = (&world.stores.ledger, &other.scope);
    let (of, filter) = (EntriesOf::Budget(ann.id), EntryFilter::default());
    assert_not_found(ledger.open_statement(scope, of, &filter).await);
    assert_not_found(ledger.entries(scope, of, &filter, Page::default()).await);
    assert_eq!(ledger.budget_id(scope, ann.id).await.unwrap(), None);
}
