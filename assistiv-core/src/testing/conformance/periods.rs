//! Period resets: signed changes, once for each boundary, whoever comes first.

use super::at_once;
use crate::billing::{
    Amounts, Budget, BudgetTerms, EntryKind, EntryWithBalance, LeaseRequest, LedgerAct,
};
use crate::clock::Timestamp;
use crate::id::AccountId;
use crate::money::{NanoUsd, Tokens};
use crate::tenancy::EndUser;
use crate::testing::driver::Driver;
use crate::testing::world::{Tenant, World};
use crate::testing::{fixtures, scopes};

const BOUNDARY: &str = "2026-03-16T00:00:00Z";

async fn acme_and_ann(world: &World, terms: BudgetTerms) -> (Tenant, EndUser, AccountId) {
    let acme = world.tenant("acme").await;
    let ann = world.end_user_with_budget(&acme, "ann", terms).await;
    let account = world.budget_account(&acme, &ann).await;
    (acme, ann, account)
}

fn five_dollars_daily() -> BudgetTerms {
    fixtures::daily(fixtures::limits(Some(5), None))
}

async fn resets(world: &World, tenant: &Tenant, end_user: &EndUser) -> Vec<EntryWithBalance> {
    let mut entries = world.budget_entries(tenant, end_user).await;
    entries.retain(|row| row.entry.kind == EntryKind::PeriodReset);
    entries
}

fn bounds(budget: &Budget) -> (Timestamp, Option<Timestamp>) {
    (budget.period_start, budget.period_end)
}

/// The first look at or after the boundary restores what was used, and no further look does.
pub async fn a_reset_comes_at_the_boundary_once(world: &World) {
    let (acme, ann, account) = acme_and_ann(world, five_dollars_daily()).await;
    world
        .debit(&acme, &ann, fixtures::limits(Some(3), Some(9)))
        .await;
    world.set_clock("2026-03-15T23:59:59.999999Z");
    assert_eq!(
        world.budget(&acme, &ann).await.used_usd,
        fixtures::dollars(3)
    );
    world.set_clock(BOUNDARY);
    for _ in 0..3 {
        let budget = world.budget(&acme, &ann).await;
        assert_eq!(
            (budget.used_usd, budget.used_tokens),
            (NanoUsd::ZERO, Tokens::ZERO)
        );
        let end = "2026-03-17T00:00:00Z".parse().unwrap();
        assert_eq!(bounds(&budget), (world.now(), Some(end)));
        assert!(
            !world
                .stores
                .ledger
                .reset_period(&scopes::engine(), account)
                .await
                .unwrap()
        );
    }
    let resets = resets(world, &acme, &ann).await;
    assert_eq!(resets.len(), 1);
    let legs = resets[0].entry.budget.unwrap();
    assert_eq!(
        (legs.remaining, legs.limit),
        (Amounts::from_raw(3_000_000_000, 9, 0), Amounts::ZERO)
    );

    // The next boundary is another reset.
    world
        .debit(&acme, &ann, fixtures::limits(Some(1), None))
        .await;
    world.set_clock("2026-03-17T08:00:00Z");
    assert!(
        world
            .stores
            .ledger
            .reset_period(&scopes::engine(), account)
            .await
            .unwrap()
    );
    assert_eq!(world.budget(&acme, &ann).await.used_usd, NanoUsd::ZERO);
}

/// Readers that find the same boundary passed make one reset together.
pub async fn concurrent_reads_reset_once(world: &World) {
    let (acme, ann, account) = acme_and_ann(world, five_dollars_daily()).await;
    world
        .debit(&acme, &ann, fixtures::limits(Some(3), None))
        .await;
    world.set_clock(BOUNDARY);
    let used = at_once(16, |index| {
        let (world, acme, ann) = (world.clone(), acme.clone(), ann.clone());
        async move {
            if index % 4 == 0 {
                world
                    .stores
                    .ledger
                    .reset_period(&scopes::engine(), account)
                    .await
                    .unwrap();
            }
            world.budget(&acme, &ann).await.used_usd
        }
    })
    .await;
    assert!(
        used.iter().all(|used| used.is_zero()),
        "somebody saw the old period: {used:?}"
    );
    assert_eq!(resets(world, &acme, &ann).await.len(), 1);
}

/// Whatever number of boundaries nobody looked at, there is one reset, to the latest.
pub async fn missed_boundaries_are_one_reset(world: &World) {
    let (acme, ann, _) = acme_and_ann(world, five_dollars_daily()).await;
    world
        .debit(&acme, &ann, fixtures::limits(Some(7), None))
        .await;
    world.set_clock("2026-03-20T06:30:00Z");
    let budget = world.budget(&acme, &ann).await;
    let start = "2026-03-20T00:00:00Z".parse().unwrap();
    let end = "2026-03-21T00:00:00Z".parse().unwrap();
    assert_eq!(
        (bounds(&budget), budget.used_usd),
        ((start, Some(end)), NanoUsd::ZERO)
    );
    assert_eq!(resets(world, &acme, &ann).await.len(), 1);
}

/// With `auto_replenish` the limits become the replenish values, and the entry says by how much.
pub async fn replenishing_sets_the_limits_anew(world: &World) {
    let terms = BudgetTerms {
        auto_replenish: true,
        replenish: fixtures::limits(Some(8), Some(50)),
        ..fixtures::daily(fixtures::limits(Some(5), Some(100)))
    };
    let (acme, ann, _) = acme_and_ann(world, terms).await;
    world
        .debit(&acme, &ann, fixtures::limits(Some(3), Some(30)))
        .await;
    world.set_clock(BOUNDARY);
    let budget = world.budget(&acme, &ann).await;
    assert_eq!(budget.terms.limits, fixtures::limits(Some(8), Some(50)));
    assert_eq!(
        (budget.used_usd, budget.used_tokens),
        (NanoUsd::ZERO, Tokens::ZERO)
    );
    let legs = resets(world, &acme, &ann).await[0].entry.budget.unwrap();
    assert_eq!(legs.limit, Amounts::from_raw(3_000_000_000, -50, 0));
    assert_eq!(legs.remaining, Amounts::from_raw(6_000_000_000, -20, 0));
}

/// What was charged between the boundary and the reset is used of the new period.
pub async fn charges_after_the_boundary_count_for_the_new_period(world: &World) {
    let (acme, ann, account) = acme_and_ann(world, five_dollars_daily()).await;
    let mut node = Driver::start(world).await;
    node.demand(world, acme.wallet, fixtures::usd(5)).await;
    node.demand(world, account, fixtures::usd(4)).await;
    let payers = world.payers(&acme, Some(&ann)).await;
    let mut charge = async |dollars, tokens| {
        let charge = fixtures::charge(&payers, fixtures::cost(dollars, tokens), world.now());
        node.settle(world, &node.charges(vec![charge])).await;
    };
    charge(1, 10).await;
    world.set_clock("2026-03-16T00:00:01Z");
    charge(2, 20).await;
    // Example E9 of `docs/ledger.md`: used is what came since the boundary.
    let budget = world.budget(&acme, &ann).await;
    assert_eq!(
        (budget.used_usd, budget.used_tokens),
        (fixtures::dollars(2), Tokens::new(20))
    );
    charge(1, 5).await;
    let budget = world.budget(&acme, &ann).await;
    assert_eq!(
        (budget.used_usd, budget.used_tokens),
        (fixtures::dollars(3), Tokens::new(25))
    );
    assert_eq!(resets(world, &acme, &ann).await.len(), 1);
    let legs = resets(world, &acme, &ann).await[0].entry.budget.unwrap();
    assert_eq!(legs.remaining, Amounts::from_raw(1_000_000_000, 10, 0));
}

/// An act finds the new period: the reset is posted before it.
pub async fn an_act_after_the_boundary_comes_after_the_reset(world: &World) {
    let (acme, ann, _) = acme_and_ann(world, five_dollars_daily()).await;
    world
        .debit(&acme, &ann, fixtures::limits(Some(3), None))
        .await;
    world.set_clock(BOUNDARY);
    let amounts = fixtures::limits(Some(1), None);
    let applied = world
        .apply(
            &acme,
            LedgerAct::DebitBudget {
                end_user: ann.id,
                amounts,
            },
        )
        .await;
    assert_eq!(
        applied.outcome.budget.unwrap().used_usd,
        fixtures::dollars(1)
    );
    assert_eq!(
        applied.outcome.entries[0].remaining_usd_after,
        fixtures::dollars(4)
    );
    let entries = world.budget_entries(&acme, &ann).await;
    let kinds: Vec<EntryKind> = entries.iter().rev().map(|row| row.entry.kind).collect();
    let expected = [
        EntryKind::OpeningBalance,
        EntryKind::Debit,
        EntryKind::PeriodReset,
        EntryKind::Debit,
    ];
    assert_eq!(kinds, expected);
}

/// A lease past the boundary grants nothing and says why; returns are taken; after the reset
/// there is everything to have.
pub async fn a_due_account_grants_nothing_until_reset(world: &World) {
    let (acme, ann, account) = acme_and_ann(world, five_dollars_daily()).await;
    let mut node = Driver::start(world).await;
    node.demand(world, account, fixtures::usd(2)).await;
    world
        .debit(&acme, &ann, fixtures::limits(Some(3), None))
        .await;
    world.set_clock(BOUNDARY);
    let requests = vec![
        LeaseRequest {
            demand: fixtures::usd(1),
            ..LeaseRequest::giving_back(acme.wallet, Amounts::ZERO)
        },
        LeaseRequest {
            demand: fixtures::usd(1),
            ..LeaseRequest::giving_back(account, fixtures::usd(2))
        },
    ];
    let grants = node.lease(world, requests).await;
    assert_eq!(
        (grants[0].granted, grants[0].reset_due),
        (fixtures::usd(1), false)
    );
    assert_eq!(
        (grants[1].granted, grants[1].reset_due),
        (Amounts::ZERO, true)
    );
    assert_eq!(grants[1].free, fixtures::usd(2));
    assert!(
        world
            .stores
            .ledger
            .reset_period(&scopes::engine(), account)
            .await
            .unwrap()
    );
    let grant = node.demand(world, account, fixtures::usd(5)).await;
    assert_eq!((grant.granted, grant.reset_due), (fixtures::usd(5), false));
    assert_eq!(
        grant.policy.period_end,
        Some("2026-03-17T00:00:00Z".parse().unwrap())
    );
}

/// Nothing is reset before its boundary, nor what has none.
pub async fn nothing_is_reset_before_its_time(world: &World) {
    let (acme, _, account) = acme_and_ann(world, five_dollars_daily()).await;
    let terms = fixtures::one_time(fixtures::limits(Some(5), None));
    let bob = world.end_user_with_budget(&acme, "bob", terms).await;
    world
        .debit(&acme, &bob, fixtures::limits(Some(1), None))
        .await;
    let one_time = world.budget_account(&acme, &bob).await;
    let reset = async |account| {
        world
            .stores
            .ledger
            .reset_period(&scopes::engine(), account)
            .await
            .unwrap()
    };
    assert!(!reset(account).await);
    world.set_clock("2036-01-01T00:00:00Z");
    assert!(!reset(one_time).await);
    assert!(!reset(acme.wallet).await);
    assert!(!reset(AccountId(i64::MAX)).await);
    assert_eq!(
        world.budget(&acme, &bob).await.used_usd,
        fixtures::dollars(1)
    );
}

/// Budgets whose period is over are found, the one that waits for longest first; a reset, or the end
/// of the budget, takes them off the list.
pub async fn due_budgets_are_found(world: &World) {
    let acme = world.tenant("acme").await;
    let mut accounts = Vec::new();
    for (name, zone) in [
        ("ann", "UTC"),
        ("bob", "Asia/Tokyo"),
        ("eve", "UTC"),
        ("joe", "Pacific/Honolulu"),
    ] {
        let terms = BudgetTerms {
            timezone: zone.parse().unwrap(),
            ..five_dollars_daily()
        };
        let user = world.end_user_with_budget(&acme, name, terms).await;
        accounts.push(world.budget_account(&acme, &user).await);
        if name == "eve" {
            let end_user = user.id;
            world
                .apply(&acme, LedgerAct::RemoveBudget { end_user })
                .await;
        }
    }
    let forever = fixtures::one_time(fixtures::limits(Some(5), None));
    world.end_user_with_budget(&acme, "max", forever).await;
    let [ann, bob, _, _] = accounts[..] else {
        unreachable!("four were made")
    };
    let ledger = &world.stores.ledger;
    let due = async |most| ledger.due_periods(&scopes::engine(), most).await.unwrap();
    assert!(due(9).await.is_empty());
    world.set_clock("2026-03-15T23:59:59.999999Z");
    assert_eq!(due(9).await, [bob]);
    world.set_clock(BOUNDARY);
    assert_eq!(due(9).await, [bob, ann]);
    assert_eq!(due(1).await, [bob]);
    assert!(ledger.reset_period(&scopes::engine(), bob).await.unwrap());
    assert_eq!(due(9).await, [ann]);
}
