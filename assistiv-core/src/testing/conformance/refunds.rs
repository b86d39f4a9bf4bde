//! Refunds: what was taken is given back once, on budget and wallet together.

use super::at_once;
use crate::billing::{
    ActRefusal, Amounts, Applied, EntryKind, EntrySource, LedgerAct, LedgerEntry, Legs, Limits,
    Refund,
};
use crate::id::EntryId;
use crate::money::{NanoUsd, Tokens};
use crate::tenancy::EndUser;
use crate::testing::driver::Driver;
use crate::testing::fixtures;
use crate::testing::world::{Tenant, World};

/// The charge of example E1 of the book: the wallet pays less than the budget, which has a markup.
fn e1() -> Legs {
    Legs {
        wallet: NanoUsd::new(9_507_000),
        budget: Amounts::from_raw(10_695_375, 1_801, 0),
    }
}

async fn acme_and_ann(world: &World) -> (Tenant, EndUser) {
    let acme = world.tenant("acme").await;
    let terms = fixtures::daily(fixtures::limits(Some(5), Some(10_000)));
    let ann = world.end_user_with_budget(&acme, "ann", terms).await;
    (acme, ann)
}

/// Charges a call.
async fn charged(world: &World, tenant: &Tenant, end_user: &EndUser, cost: Legs) -> LedgerEntry {
    let payers = world.payers(tenant, Some(end_user)).await;
    let mut node = Driver::start(world).await;
    node.demand(world, tenant.wallet, fixtures::usd(1)).await;
    let charge = fixtures::charge(&payers, cost, world.now());
    node.settle(world, &node.charges(vec![charge.clone()]))
        .await;
    charge
}

fn refund(end_user: &EndUser, debit: EntryId, amounts: Option<Limits>) -> LedgerAct {
    LedgerAct::RefundDebit {
        end_user: end_user.id,
        debit,
        refund: Refund::Of {
            amounts,
            to_wallet: true,
        },
    }
}

fn usd(nano: i64) -> Option<Limits> {
    Some(Limits {
        usd: Some(NanoUsd::new(nano)),
        tokens: None,
    })
}

fn legs(entry: &LedgerEntry) -> (i64, Amounts) {
    (
        entry.wallet.map_or(0, |(_, usd)| usd.get()),
        entry.budget.unwrap().remaining,
    )
}

/// The entry that an act wrote, as the budget's list has it.
async fn written(world: &World, tenant: &Tenant, user: &EndUser, applied: &Applied) -> LedgerEntry {
    let entries = world.budget_entries(tenant, user).await;
    let id = applied.outcome.entries[0].id;
    let found = entries.into_iter().find(|row| row.entry.uid == id);
    found.unwrap().entry
}

/// Example E11: parts of a charge are given back in the same proportion to the wallet, and the last part takes what
/// rounding left. Then nothing is left.
pub async fn a_charge_is_given_back_in_parts(world: &World) {
    let (acme, ann) = acme_and_ann(world).await;
    let charge = charged(world, &acme, &ann, e1()).await;
    let before = world.balance(&acme).await;

    let applied = world
        .apply(&acme, refund(&ann, charge.uid, usd(4_278_000)))
        .await;
    assert_eq!(applied.wallet_account, Some(acme.wallet));
    assert_eq!(
        applied.outcome.budget.as_ref(),
        Some(&world.budget(&acme, &ann).await)
    );
    let entry = written(world, &acme, &ann, &applied).await;
    assert_eq!(
        (entry.kind, entry.source, entry.refers_to),
        (EntryKind::Refund, EntrySource::Manual, Some(charge.uid))
    );
    assert_eq!(
        legs(&entry),
        (3_802_667, Amounts::from_raw(4_278_000, 0, 0))
    );
    let too_much = refund(&ann, charge.uid, usd(6_417_376));
    assert_eq!(
        world.try_apply(&acme, &too_much).await,
        Err(ActRefusal::AlreadyRefunded)
    );

    let applied = world.apply(&acme, refund(&ann, charge.uid, None)).await;
    let entry = written(world, &acme, &ann, &applied).await;
    assert_eq!(
        legs(&entry),
        (5_704_333, Amounts::from_raw(6_417_375, 1_801, 0))
    );
    let budget = world.budget(&acme, &ann).await;
    assert_eq!(
        (budget.used_usd, budget.used_tokens),
        (NanoUsd::ZERO, Tokens::ZERO)
    );
    let given_back = world.balance(&acme).await.checked_sub(before).unwrap();
    assert_eq!(given_back, NanoUsd::new(9_507_000));
    for amounts in [None, usd(1)] {
        let again = refund(&ann, charge.uid, amounts);
        assert_eq!(
            world.try_apply(&acme, &again).await,
            Err(ActRefusal::AlreadyRefunded)
        );
    }
}

/// A debit by hand is given back without the wallet, each limit for itself.
pub async fn a_debit_by_hand_is_given_back(world: &World) {
    let (acme, ann) = acme_and_ann(world).await;
    let debit = world
        .debit(&acme, &ann, fixtures::limits(Some(2), Some(7)))
        .await;
    let debit = debit.outcome.entries[0].id;
    let part = Some(fixtures::limits(None, Some(3)));
    let applied = world.apply(&acme, refund(&ann, debit, part)).await;
    let entry = written(world, &acme, &ann, &applied).await;
    assert_eq!(legs(&entry), (0, Amounts::from_raw(0, 3, 0)));
    assert_eq!(entry.wallet, None);
    let applied = world.apply(&acme, refund(&ann, debit, None)).await;
    let entry = written(world, &acme, &ann, &applied).await;
    assert_eq!(legs(&entry), (0, Amounts::from_raw(2_000_000_000, 4, 0)));
    assert_eq!(applied.outcome.entries[0].refers_to, Some(debit));
    assert_eq!(world.balance(&acme).await, fixtures::dollars(10));
}

/// What the wallet is to keep is not given to it later either.
pub async fn a_refund_may_leave_the_wallet_out(world: &World) {
    let (acme, ann) = acme_and_ann(world).await;
    let charge = charged(world, &acme, &ann, e1()).await;
    let before = world.balance(&acme).await;
    let act = LedgerAct::RefundDebit {
        end_user: ann.id,
        debit: charge.uid,
        refund: Refund::Of {
            amounts: usd(4_278_000),
            to_wallet: false,
        },
    };
    let applied = world.apply(&acme, act).await;
    assert_eq!(applied.wallet_account, None);
    assert_eq!(world.balance(&acme).await, before);
    world.apply(&acme, refund(&ann, charge.uid, None)).await;
    let given_back = world.balance(&acme).await.checked_sub(before).unwrap();
    assert_eq!(given_back, NanoUsd::new(5_704_333));
    assert_eq!(
        world
            .try_apply(&acme, &refund(&ann, charge.uid, None))
            .await,
        Err(ActRefusal::AlreadyRefunded)
    );
}

/// After a reset there is nothing used to take away: the wallet gets its share, the budget stays, and what was
/// covered is not covered again.
pub async fn a_refund_of_another_period_uses_nothing_below_zero(world: &World) {
    let (acme, ann) = acme_and_ann(world).await;
    let charge = charged(world, &acme, &ann, e1()).await;
    world.set_clock("2026-03-16T00:00:01Z");
    world
        .debit(
            &acme,
            &ann,
            Limits {
                usd: Some(NanoUsd::new(1_000_000)),
                tokens: None,
            },
        )
        .await;
    let before = world.balance(&acme).await;
    let applied = world
        .apply(&acme, refund(&ann, charge.uid, usd(4_278_000)))
        .await;
    let entry = written(world, &acme, &ann, &applied).await;
    assert_eq!(
        legs(&entry),
        (3_802_667, Amounts::from_raw(1_000_000, 0, 0))
    );
    assert_eq!(world.budget(&acme, &ann).await.used_usd, NanoUsd::ZERO);
    let applied = world.apply(&acme, refund(&ann, charge.uid, None)).await;
    let entry = written(world, &acme, &ann, &applied).await;
    assert_eq!(legs(&entry), (5_704_333, Amounts::ZERO));
    let given_back = world.balance(&acme).await.checked_sub(before).unwrap();
    assert_eq!(given_back, NanoUsd::new(9_507_000));
    assert_eq!(
        world
            .try_apply(&acme, &refund(&ann, charge.uid, None))
            .await,
        Err(ActRefusal::AlreadyRefunded)
    );
}

/// The display leg goes back with a refund of everything, and only with that.
pub async fn the_display_leg_is_given_back(world: &World) {
    let (acme, ann) = acme_and_ann(world).await;
    let mut cost = e1();
    cost.budget = Amounts::from_raw(10_695_375, 1_801, 2_500_000);
    let charge = charged(world, &acme, &ann, cost).await;
    let part = Some(fixtures::limits(None, Some(1)));
    let applied = world.apply(&acme, refund(&ann, charge.uid, part)).await;
    let entry = written(world, &acme, &ann, &applied).await;
    assert_eq!(legs(&entry), (0, Amounts::from_raw(0, 1, 0)));
    let applied = world.apply(&acme, refund(&ann, charge.uid, None)).await;
    let entry = written(world, &acme, &ann, &applied).await;
    assert_eq!(
        legs(&entry),
        (9_507_000, Amounts::from_raw(10_695_375, 1_800, 2_500_000))
    );
}

/// Only debits and charges of the same end user are given back.
pub async fn what_is_no_debit_of_the_user_is_not_found(world: &World) {
    let (acme, ann) = acme_and_ann(world).await;
    let terms = fixtures::one_time(fixtures::limits(Some(5), None));
    let bob = world.end_user_with_budget(&acme, "bob", terms).await;
    let charge = charged(world, &acme, &ann, e1()).await;
    let opening = world.budget_entries(&acme, &ann).await[1].entry.uid;
    let refunded = world
        .apply(&acme, refund(&ann, charge.uid, usd(1)))
        .await
        .outcome
        .entries[0]
        .id;
    let before = world.audit().await;
    for (user, entry) in [
        (&bob, charge.uid),
        (&ann, opening),
        (&ann, refunded),
        (&ann, EntryId::new()),
    ] {
        let refused = world.try_apply(&acme, &refund(user, entry, None)).await;
        assert_eq!(refused, Err(ActRefusal::TransactionNotFound));
    }
    assert_eq!(world.audit().await, before);
}

/// Of many refunds of the same money at once one takes effect.
pub async fn concurrent_refunds_give_back_once(world: &World) {
    let (acme, ann) = acme_and_ann(world).await;
    let charge = charged(world, &acme, &ann, e1()).await;
    let before = world.balance(&acme).await;
    let refunds = at_once(16, |_| {
        let (world, acme, act) = (world.clone(), acme.clone(), refund(&ann, charge.uid, None));
        async move { world.try_apply(&acme, &act).await }
    })
    .await;
    assert_eq!(refunds.iter().filter(|refund| refund.is_ok()).count(), 1);
    let given_back = world.balance(&acme).await.checked_sub(before).unwrap();
    assert_eq!(given_back, NanoUsd::new(9_507_000));
    assert_eq!(world.budget(&acme, &ann).await.used_usd, NanoUsd::ZERO);
}

/// A budget that is out of force gets its money back, too.
pub async fn a_removed_budget_is_refunded(world: &World) {
    let (acme, ann) = acme_and_ann(world).await;
    let charge = charged(world, &acme, &ann, e1()).await;
    world
        .apply(&acme, LedgerAct::RemoveBudget { end_user: ann.id })
        .await;
    let applied = world.apply(&acme, refund(&ann, charge.uid, None)).await;
    let budget = applied.outcome.budget.unwrap();
    assert_eq!((budget.is_active, budget.used_usd), (false, NanoUsd::ZERO));
}
