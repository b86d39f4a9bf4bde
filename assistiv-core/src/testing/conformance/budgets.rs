//! Budgets: made, raised, debited, changed, paused, removed, and made again.

use super::at_once;
use crate::billing::{
    AccountKind, ActRefusal, Amounts, Blocked, BudgetChanges, Dimension, EntryKind, LedgerAct,
};
use crate::money::{NanoUsd, Tokens};
use crate::tenancy::EndUser;
use crate::testing::driver::Driver;
use crate::testing::fixtures;
use crate::testing::world::{Tenant, World, assert_chained, every};

async fn acme_and_ann(world: &World) -> (Tenant, EndUser) {
    let acme = world.tenant("acme").await;
    let terms = fixtures::one_time(fixtures::limits(Some(5), None));
    let ann = world.end_user_with_budget(&acme, "ann", terms).await;
    (acme, ann)
}

fn update(end_user: &EndUser, changes: BudgetChanges) -> LedgerAct {
    LedgerAct::UpdateBudget {
        end_user: end_user.id,
        changes: Box::new(changes),
    }
}

async fn kinds(world: &World, tenant: &Tenant, end_user: &EndUser) -> Vec<EntryKind> {
    let mut entries = world.budget_entries(tenant, end_user).await;
    entries.reverse();
    entries.iter().map(|row| row.entry.kind).collect()
}

/// A budget is made with an opening entry; while it is in force there is no second one.
pub async fn a_budget_is_made_once(world: &World) {
    let acme = world.tenant("acme").await;
    let ann = world.end_user(&acme, "ann").await;
    let terms = fixtures::daily(fixtures::limits(Some(5), Some(1000)));
    let budget = fixtures::new_budget(terms.clone());
    let create = LedgerAct::CreateBudget {
        end_user: ann.id,
        budget: budget.clone(),
    };
    let applied = world.apply(&acme, create).await;
    let stored = world.budget(&acme, &ann).await;
    assert_eq!((stored.id, &stored.terms), (budget.id, &terms));
    assert_eq!(
        (stored.used_usd, stored.used_tokens),
        (NanoUsd::ZERO, Tokens::ZERO)
    );
    assert_eq!(stored.period_start.to_string(), "2026-03-15T00:00:00Z");
    assert_eq!(
        stored.period_end.map(|end| end.to_string()).unwrap(),
        "2026-03-16T00:00:00Z"
    );
    assert_eq!((stored.is_active, stored.is_suspended), (true, false));
    assert_eq!(applied.outcome.budget.as_ref(), Some(&stored));
    assert_eq!(
        applied.account,
        Some(world.budget_account(&acme, &ann).await)
    );
    assert_eq!(applied.outcome.entries[0].id, budget.opening);

    let audit = world.account(applied.account.unwrap()).await;
    assert_eq!(
        (audit.kind, audit.free),
        (AccountKind::Budget, terms.limits.amounts())
    );
    let budget = fixtures::new_budget(terms);
    let again = LedgerAct::CreateBudget {
        end_user: ann.id,
        budget,
    };
    assert_eq!(
        world.try_apply(&acme, &again).await,
        Err(ActRefusal::BudgetExists)
    );
    assert_eq!(world.budget(&acme, &ann).await, stored);
    assert_eq!(kinds(world, &acme, &ann).await, [EntryKind::OpeningBalance]);
}

/// A budget that was removed can be made again: same id and account, new limits, nothing used.
pub async fn a_removed_budget_starts_afresh(world: &World) {
    let (acme, ann) = acme_and_ann(world).await;
    let account = world.budget_account(&acme, &ann).await;
    let old = world.budget(&acme, &ann).await;
    world
        .debit(&acme, &ann, fixtures::limits(Some(2), Some(7)))
        .await;
    let mut node = Driver::start(world).await;
    node.demand(world, account, fixtures::usd(1)).await;
    world
        .apply(&acme, LedgerAct::RemoveBudget { end_user: ann.id })
        .await;
    let ledger = &world.stores.ledger;
    assert!(ledger.budget(&acme.scope, ann.id).await.unwrap().is_none());
    assert!(
        ledger
            .budget_account(&acme.scope, ann.id)
            .await
            .unwrap()
            .is_none()
    );
    let grant = node.demand(world, account, fixtures::usd(1)).await;
    assert_eq!(
        (grant.granted, grant.policy.blocked),
        (Amounts::ZERO, Blocked::Inactive)
    );

    world.tick();
    let terms = fixtures::one_time(fixtures::limits(Some(20), Some(100)));
    let budget = fixtures::new_budget(terms.clone());
    world
        .apply(
            &acme,
            LedgerAct::CreateBudget {
                end_user: ann.id,
                budget,
            },
        )
        .await;
    let new = world.budget(&acme, &ann).await;
    assert_eq!((new.id, new.created_at), (old.id, old.created_at));
    assert_eq!((new.terms, new.used_usd), (terms, NanoUsd::ZERO));
    assert_eq!((new.used_tokens, new.is_active), (Tokens::ZERO, true));
    assert_eq!(world.budget_account(&acme, &ann).await, account);
    let audit = world.account(account).await;
    assert_eq!(
        (audit.slots, audit.free.usd),
        (fixtures::usd(1), fixtures::dollars(19))
    );
    let expected = [
        EntryKind::OpeningBalance,
        EntryKind::Debit,
        EntryKind::Adjustment,
        EntryKind::OpeningBalance,
    ];
    assert_eq!(kinds(world, &acme, &ann).await, expected);
}

/// A top-up raises what is granted and leaves what is used.
pub async fn a_top_up_raises_limit_and_remainder(world: &World) {
    let (acme, ann) = acme_and_ann(world).await;
    world
        .debit(&acme, &ann, fixtures::limits(Some(2), None))
        .await;
    let amounts = fixtures::limits(Some(3), None);
    let applied = world
        .apply(
            &acme,
            LedgerAct::TopUpBudget {
                end_user: ann.id,
                amounts,
            },
        )
        .await;
    let budget = world.budget(&acme, &ann).await;
    assert_eq!(budget.terms.limits, fixtures::limits(Some(8), None));
    assert_eq!(budget.used_usd, fixtures::dollars(2));
    assert_eq!(budget.remaining_usd(), Some(fixtures::dollars(6)));
    let posted = &applied.outcome.entries[0];
    assert_eq!(posted.kind, EntryKind::BudgetTopUp);
    assert_eq!(
        (posted.amount_usd, posted.limit_usd),
        (fixtures::dollars(3), fixtures::dollars(3))
    );
    assert_eq!(posted.remaining_usd_after, fixtures::dollars(6));
}

/// A limit that is not set cannot be raised, and then the other one is not raised either.
pub async fn a_top_up_of_an_unset_limit_is_refused(world: &World) {
    let (acme, ann) = acme_and_ann(world).await;
    let before = world.audit().await;
    let amounts = fixtures::limits(Some(1), Some(1));
    let act = LedgerAct::TopUpBudget {
        end_user: ann.id,
        amounts,
    };
    let refused = world.try_apply(&acme, &act).await;
    assert_eq!(refused, Err(ActRefusal::LimitNotSet(Dimension::Tokens)));
    assert_eq!(world.audit().await, before);
    assert_eq!(kinds(world, &acme, &ann).await, [EntryKind::OpeningBalance]);
}

/// A debit counts as used whatever remains, also in what has no limit and while suspended.
pub async fn a_debit_may_exceed_what_remains(world: &World) {
    let (acme, ann) = acme_and_ann(world).await;
    let suspend = BudgetChanges {
        is_suspended: Some(true),
        ..BudgetChanges::default()
    };
    world.apply(&acme, update(&ann, suspend)).await;
    let applied = world
        .debit(&acme, &ann, fixtures::limits(Some(8), Some(7)))
        .await;
    let budget = world.budget(&acme, &ann).await;
    assert_eq!(
        (budget.used_usd, budget.used_tokens),
        (fixtures::dollars(8), Tokens::new(7))
    );
    assert_eq!(budget.remaining_usd(), Some(fixtures::dollars(-3)));
    assert_eq!(budget.remaining_tokens(), None);
    assert_eq!(
        applied.outcome.entries[0].remaining_usd_after,
        fixtures::dollars(-3)
    );
    let account = world.account(world.budget_account(&acme, &ann).await).await;
    assert_eq!(account.free, Amounts::from_raw(-3_000_000_000, -7, 0));
}

/// Pausing and resuming leave an entry each, and stop grants at once.
pub async fn suspension_is_recorded_and_blocks(world: &World) {
    let (acme, ann) = acme_and_ann(world).await;
    let account = world.budget_account(&acme, &ann).await;
    let mut node = Driver::start(world).await;
    for (is_suspended, blocked) in [(true, Blocked::Suspended), (false, Blocked::No)] {
        let changes = BudgetChanges {
            is_suspended: Some(is_suspended),
            ..BudgetChanges::default()
        };
        let applied = world.apply(&acme, update(&ann, changes)).await;
        assert_eq!(applied.outcome.entries.len(), 1);
        assert_eq!(world.budget(&acme, &ann).await.is_suspended, is_suspended);
        let grant = node.demand(world, account, fixtures::usd(1)).await;
        assert_eq!(grant.policy.blocked, blocked);
        assert_eq!(grant.granted.is_zero(), is_suspended);
    }
    let expected = [
        EntryKind::OpeningBalance,
        EntryKind::Suspend,
        EntryKind::Unsuspend,
    ];
    assert_eq!(kinds(world, &acme, &ann).await, expected);
}

/// An update to what already is posts no entry.
pub async fn an_update_that_changes_nothing_posts_nothing(world: &World) {
    let (acme, ann) = acme_and_ann(world).await;
    let before = world.budget(&acme, &ann).await;
    world.tick();
    let same = BudgetChanges {
        is_suspended: Some(false),
        max_usd: Some(Some(fixtures::dollars(5))),
        max_tokens: Some(None),
        ..BudgetChanges::default()
    };
    for changes in [BudgetChanges::default(), same] {
        let applied = world.apply(&acme, update(&ann, changes)).await;
        assert!(applied.outcome.entries.is_empty());
        assert_eq!(applied.outcome.budget.as_ref(), Some(&before));
    }
    assert_eq!(world.budget(&acme, &ann).await, before);
    assert_eq!(kinds(world, &acme, &ann).await, [EntryKind::OpeningBalance]);
}

/// A limit may be set, lowered below what is used, and lifted; each change is an adjustment, and
/// what is used stays.
pub async fn a_changed_limit_is_recorded(world: &World) {
    let (acme, ann) = acme_and_ann(world).await;
    let account = world.budget_account(&acme, &ann).await;
    world
        .debit(&acme, &ann, fixtures::limits(Some(4), Some(10)))
        .await;
    let mut node = Driver::start(world).await;
    let steps = [
        (Some(3), None, -1, None),
        (Some(6), Some(100), 2, Some(90)),
        (None, Some(50), 0, Some(40)),
    ];
    for (max_usd, max_tokens, remaining_usd, remaining_tokens) in steps {
        let limits = fixtures::limits(max_usd, max_tokens);
        let changes = BudgetChanges {
            max_usd: Some(limits.usd),
            max_tokens: Some(limits.tokens),
            ..BudgetChanges::default()
        };
        world.apply(&acme, update(&ann, changes)).await;
        let budget = world.budget(&acme, &ann).await;
        assert_eq!(
            (budget.used_usd, budget.used_tokens),
            (fixtures::dollars(4), Tokens::new(10))
        );
        let expected = max_usd.map(|_| fixtures::dollars(remaining_usd));
        assert_eq!(budget.remaining_usd(), expected);
        assert_eq!(budget.remaining_tokens(), remaining_tokens.map(Tokens::new));
        let grant = node.demand(world, account, Amounts::ZERO).await;
        assert_eq!(grant.policy.enforce, limits.enforced());
    }
    let (ledger, scope, id) = (&world.stores.ledger, &acme.scope, ann.id);
    let entries = every(1, async |page| ledger.budget_entries(scope, id, page).await).await;
    assert_eq!(entries.len(), 5);
    assert_chained(&entries, AccountKind::Budget);
    assert!(entries[0].entry.metadata.contains_key("changes"));
}

/// One limit must remain.
pub async fn an_update_that_leaves_no_limit_is_refused(world: &World) {
    let (acme, ann) = acme_and_ann(world).await;
    let before = world.budget(&acme, &ann).await;
    let changes = BudgetChanges {
        max_usd: Some(None),
        is_suspended: Some(true),
        ..BudgetChanges::default()
    };
    let refused = world.try_apply(&acme, &update(&ann, changes)).await;
    assert_eq!(refused, Err(ActRefusal::NoLimit));
    assert_eq!(world.budget(&acme, &ann).await, before);
}

/// Without an active budget every act but making one is refused.
pub async fn acts_without_a_budget_are_refused(world: &World) {
    let (acme, ann) = acme_and_ann(world).await;
    let bob = world.end_user(&acme, "bob").await;
    world
        .apply(&acme, LedgerAct::RemoveBudget { end_user: ann.id })
        .await;
    let before = world.audit().await;
    for user in [&ann, &bob] {
        let (end_user, amounts) = (user.id, fixtures::limits(Some(1), None));
        let acts = [
            update(
                user,
                BudgetChanges {
                    is_active: Some(true),
                    ..BudgetChanges::default()
                },
            ),
            LedgerAct::RemoveBudget { end_user },
            LedgerAct::TopUpBudget { end_user, amounts },
            LedgerAct::DebitBudget { end_user, amounts },
        ];
        for act in acts {
            let refused = world.try_apply(&acme, &act).await;
            assert_eq!(refused, Err(ActRefusal::BudgetNotFound), "{act:?}");
        }
    }
    assert_eq!(world.audit().await, before);
    assert!(world.budget_entries(&acme, &bob).await.is_empty());
}

/// No concurrent debit is lost.
pub async fn concurrent_debits_add_up(world: &World) {
    let (acme, ann) = acme_and_ann(world).await;
    at_once(16, |_| {
        let (world, acme, ann) = (world.clone(), acme.clone(), ann.clone());
        async move {
            world
                .debit(&acme, &ann, fixtures::limits(Some(1), Some(3)))
                .await
        }
    })
    .await;
    let budget = world.budget(&acme, &ann).await;
    assert_eq!(
        (budget.used_usd, budget.used_tokens),
        (fixtures::dollars(16), Tokens::new(48))
    );
}
