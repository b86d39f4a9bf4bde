//! Messages between nodes: what is told, to whom, for how long, and who has heard it.

use std::time::Duration;

use super::at_once;
use crate::billing::{Applied, BudgetChanges, Control, ControlOp, LedgerAct, NewBudget};
use crate::id::{AccountId, EndUserId, NodeId};
use crate::store::PlatformFilter;
use crate::testing::driver::{Driver, TTL};
use crate::testing::world::World;
use crate::testing::{fixtures, scopes};

const SECOND: Duration = Duration::from_secs(1);
const MOMENT: Duration = Duration::from_micros(1);

async fn controls(world: &World) -> Vec<Control> {
    let ledger = &world.stores.ledger;
    ledger.controls(&scopes::engine()).await.unwrap()
}

async fn recall(world: &World, account: AccountId) -> i64 {
    let ledger = &world.stores.ledger;
    ledger.recall(&scopes::engine(), account).await.unwrap()
}

async fn is_acked(world: &World, seq: i64, except: Option<NodeId>) -> bool {
    let ledger = &world.stores.ledger;
    let acked = ledger.is_acked(&scopes::engine(), seq, except).await;
    acked.unwrap()
}

async fn ack(world: &World, node: &Driver, seq: i64) {
    let ledger = &world.stores.ledger;
    ledger
        .heartbeat(&scopes::engine(), node.node, TTL, seq)
        .await
        .unwrap();
}

fn update(end_user: EndUserId, changes: BudgetChanges) -> LedgerAct {
    LedgerAct::UpdateBudget {
        end_user,
        changes: Box::new(changes),
    }
}

fn suspended(end_user: EndUserId, is_suspended: bool) -> LedgerAct {
    let changes = BudgetChanges {
        is_suspended: Some(is_suspended),
        ..BudgetChanges::default()
    };
    update(end_user, changes)
}

/// An account is recalled once a second, whoever asks.
pub async fn an_account_is_recalled_once_a_second(world: &World) {
    let (acme, other) = (world.tenant("acme").await, world.tenant("other").await);
    world.pass(Duration::from_secs(60));
    let first = recall(world, acme.wallet).await;
    assert_eq!(recall(world, acme.wallet).await, first);
    world.pass(SECOND - MOMENT);
    assert_eq!(recall(world, acme.wallet).await, first);
    let of_other = recall(world, other.wallet).await;
    world.pass(MOMENT);
    let second = recall(world, acme.wallet).await;
    assert!(first < of_other && of_other < second);
    let message = |seq, account| Control {
        seq,
        account,
        op: ControlOp::Recall,
    };
    assert_eq!(
        controls(world).await,
        [
            message(first, acme.wallet),
            message(of_other, other.wallet),
            message(second, acme.wallet),
        ]
    );
}

/// Nodes that recall an account at once send one message.
pub async fn recalls_at_once_are_one(world: &World) {
    let acme = world.tenant("acme").await;
    let mut sent = at_once(8, |_| {
        let (world, account) = (world.clone(), acme.wallet);
        async move { recall(&world, account).await }
    })
    .await;
    sent.dedup();
    assert_eq!(sent.len(), 1);
    let recalls = controls(world).await;
    let recalls = recalls.iter().filter(|sent| sent.op == ControlOp::Recall);
    assert_eq!(recalls.count(), 1);
}

/// A message is shown for half a minute and kept for an hour.
pub async fn messages_grow_old(world: &World) {
    let acme = world.tenant("acme").await;
    world.pass(Duration::from_secs(3_601));
    let ledger = &world.stores.ledger;
    ledger.prune_controls(&scopes::engine()).await.unwrap();
    recall(world, acme.wallet).await;
    world.pass(Duration::from_secs(30) - MOMENT);
    assert_eq!(controls(world).await.len(), 1);
    world.pass(MOMENT);
    assert!(controls(world).await.is_empty());
    world.pass(Duration::from_secs(3_600 - 30));
    let prune = async || ledger.prune_controls(&scopes::engine()).await.unwrap();
    assert_eq!(prune().await, 0);
    world.pass(MOMENT);
    assert_eq!(prune().await, 1);
    assert_eq!(prune().await, 0);
    // Numbers go on growing.
    let later = recall(world, acme.wallet).await;
    assert_eq!(controls(world).await[0].seq, later);
}

/// Acts that change what a node may do or has to give are told with the act; others are not.
pub async fn acts_tell_what_changed(world: &World) {
    let acme = world.tenant("acme").await;
    let terms = fixtures::one_time(fixtures::limits(Some(5), None));
    let ann = world
        .end_user_with_budget(&acme, "ann", terms.clone())
        .await;
    let budget = world.budget_account(&acme, &ann).await;
    let end_user = ann.id;
    let limit = |dollars| BudgetChanges {
        max_usd: Some(Some(fixtures::dollars(dollars))),
        ..BudgetChanges::default()
    };
    let threshold = BudgetChanges {
        threshold_usd: Some(Some(fixtures::dollars(1))),
        ..BudgetChanges::default()
    };
    let told = [
        (
            LedgerAct::TopUpWallet {
                amount: fixtures::dollars(1),
            },
            acme.wallet,
        ),
        (suspended(end_user, true), budget),
        (suspended(end_user, false), budget),
        (update(end_user, limit(4)), budget),
        (update(end_user, limit(6)), budget),
        (
            LedgerAct::TopUpBudget {
                end_user,
                amounts: fixtures::limits(Some(1), None),
            },
            budget,
        ),
        (LedgerAct::RemoveBudget { end_user }, budget),
        (
            LedgerAct::CreateBudget {
                end_user,
                budget: NewBudget {
                    terms,
                    ..fixtures::new_budget(fixtures::one_time(fixtures::limits(Some(5), None)))
                },
            },
            budget,
        ),
        // Thresholds are part of the policy: a node looks at its own view of what is left.
        (
            LedgerAct::SetWalletThreshold {
                threshold: Some(fixtures::dollars(1)),
            },
            acme.wallet,
        ),
        (update(end_user, threshold), budget),
    ];
    for (act, account) in told {
        let applied = world.apply(&acme, act.clone()).await;
        let seq = applied.control.unwrap_or_else(|| panic!("{act:?} is told"));
        let message = Control {
            seq,
            account,
            op: ControlOp::Policy,
        };
        assert_eq!(controls(world).await.last(), Some(&message), "{act:?}");
    }
    let untold = [LedgerAct::DebitBudget {
        end_user,
        amounts: fixtures::limits(Some(1), None),
    }];
    let before = controls(world).await;
    for act in untold {
        assert_eq!(
            world.apply(&acme, act.clone()).await.control,
            None,
            "{act:?}"
        );
    }
    assert_eq!(controls(world).await, before);
}

/// A debit of what nodes hold calls it back.
pub async fn a_debit_of_what_is_leased_recalls_it(world: &World) {
    let acme = world.tenant("acme").await;
    let terms = fixtures::one_time(fixtures::limits(Some(5), None));
    let ann = world.end_user_with_budget(&acme, "ann", terms).await;
    let budget = world.budget_account(&acme, &ann).await;
    let mut node = Driver::start(world).await;
    node.demand(world, budget, fixtures::usd(4)).await;
    // A dollar is free; tokens are counted and have no limit.
    let debit = async |amounts| world.debit(&acme, &ann, amounts).await.control;
    assert_eq!(debit(fixtures::limits(Some(1), Some(9))).await, None);
    let seq = debit(fixtures::limits(Some(1), None)).await.unwrap();
    let message = Control {
        seq,
        account: budget,
        op: ControlOp::Recall,
    };
    assert_eq!(controls(world).await.last(), Some(&message));
}

/// Nodes that hold something of a payer who is gone hear of it.
pub async fn deletions_are_told(world: &World) {
    let acme = world.tenant("acme").await;
    let terms = fixtures::one_time(fixtures::limits(Some(5), None));
    let ann = world
        .end_user_with_budget(&acme, "ann", terms.clone())
        .await;
    world.end_user_with_budget(&acme, "bob", terms).await;
    let of_ann = world.budget_account(&acme, &ann).await;
    let told = async |before: &[Control]| {
        let messages = controls(world).await.into_iter();
        let new = messages.filter(|message| !before.contains(message));
        let mut accounts: Vec<_> = new
            .map(|message| {
                assert_eq!(message.op, ControlOp::Policy);
                message.account
            })
            .collect();
        accounts.sort_unstable();
        accounts
    };
    let before = controls(world).await;
    let tenancy = &world.stores.tenancy;
    tenancy.delete_end_user(&acme.scope, ann.id).await.unwrap();
    assert_eq!(told(&before).await, [of_ann]);
    let before = controls(world).await;
    tenancy.delete_platform(&acme.scope).await.unwrap();
    // Without the wallet nothing is paid, so of other budgets nothing need be said.
    assert_eq!(told(&before).await, [acme.wallet]);
    let filter = PlatformFilter::default();
    let left = tenancy
        .platforms(&scopes::operator(), &filter, Default::default())
        .await;
    assert_eq!(left.unwrap().total, 0);
}

/// A repeat and a refused act have no effect, and tell nothing.
pub async fn what_has_no_effect_is_not_told(world: &World) {
    let acme = world.tenant("acme").await;
    let top_up = LedgerAct::TopUpWallet {
        amount: fixtures::dollars(1),
    };
    let ledger = &world.stores.ledger;
    let apply = async |act: &LedgerAct| -> Option<Applied> {
        let (context, key) = (fixtures::context(), fixtures::repeatable(1, 1));
        ledger
            .apply(&acme.scope, act, &context, Some(key))
            .await
            .unwrap()
            .ok()
    };
    assert!(apply(&top_up).await.unwrap().control.is_some());
    let before = controls(world).await;
    let repeat = apply(&top_up).await.unwrap();
    assert_eq!((repeat.replayed, repeat.control), (true, None));
    let bob = world.end_user(&acme, "bob").await;
    let refused = world.try_apply(&acme, &suspended(bob.id, true)).await;
    assert!(refused.is_err());
    assert_eq!(controls(world).await, before);
}

/// A message is acknowledged when every node that may authorise calls has acted on it.
pub async fn a_message_waits_for_every_live_node(world: &World) {
    let acme = world.tenant("acme").await;
    let seq = recall(world, acme.wallet).await;
    assert!(
        is_acked(world, seq, None).await,
        "nobody is there to wait for"
    );
    let [one, two] = [Driver::start(world).await, Driver::start(world).await];
    assert!(!is_acked(world, seq, None).await);
    ack(world, &one, seq).await;
    assert!(!is_acked(world, seq, None).await);
    assert!(is_acked(world, seq, Some(two.node)).await);
    assert!(!is_acked(world, seq, Some(one.node)).await);
    ack(world, &two, seq - 1).await;
    assert!(!is_acked(world, seq, None).await);
    ack(world, &two, seq + 1).await;
    assert!(is_acked(world, seq, None).await);

    // Whoever drains, is silent for too long or has closed is not waited for.
    let [draining, silent, closed] = [
        Driver::start(world).await,
        Driver::start(world).await,
        Driver::start(world).await,
    ];
    let ledger = &world.stores.ledger;
    ledger
        .drain_node(&scopes::engine(), draining.node)
        .await
        .unwrap();
    ledger
        .close_node(&scopes::engine(), closed.node)
        .await
        .unwrap();
    assert!(!is_acked(world, seq, None).await);
    assert!(is_acked(world, seq, Some(silent.node)).await);
    world.pass(TTL);
    ack(world, &one, seq).await;
    ack(world, &two, seq).await;
    assert!(!is_acked(world, seq, None).await);
    world.pass(MOMENT);
    assert!(is_acked(world, seq, None).await);
}
