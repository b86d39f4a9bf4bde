//! Repeated requests: one effect for each key, however often and however concurrently.

use super::{assert_conflict, at_once};
use crate::billing::{ActContext, ActRefusal, Applied, Idempotency, LedgerAct};
use crate::testing::fixtures;
use crate::testing::world::{Tenant, World};

async fn apply(
    world: &World,
    tenant: &Tenant,
    act: &LedgerAct,
    key: Idempotency,
) -> Result<Applied, ActRefusal> {
    let context = ActContext {
        idempotency_key: Some("k".into()),
        actor: None,
        ..fixtures::context()
    };
    world
        .stores
        .ledger
        .apply(&tenant.scope, act, &context, Some(key))
        .await
        .unwrap()
}

/// The same request under the same key gives what it gave, also after the balance has moved on.
pub async fn a_repeat_replays_the_outcome(world: &World) {
    let acme = world.tenant("acme").await;
    let terms = fixtures::daily(fixtures::limits(Some(5), Some(100)));
    let ann = world.end_user_with_budget(&acme, "ann", terms).await;
    let acts = [
        LedgerAct::TopUpWallet {
            amount: fixtures::dollars(1),
        },
        LedgerAct::SetWalletThreshold {
            threshold: Some(fixtures::dollars(2)),
        },
        LedgerAct::TopUpBudget {
            end_user: ann.id,
            amounts: fixtures::limits(Some(1), None),
        },
        LedgerAct::DebitBudget {
            end_user: ann.id,
            amounts: fixtures::limits(Some(1), Some(1)),
        },
        LedgerAct::RemoveBudget { end_user: ann.id },
    ];
    for (number, act) in acts.iter().enumerate() {
        let key = fixtures::repeatable(number as u8, 1);
        let first = apply(world, &acme, act, key).await.unwrap();
        assert!(!first.replayed);
        world.tick();
        let more = LedgerAct::TopUpWallet {
            amount: fixtures::dollars(7),
        };
        world.apply(&acme, more).await;
        let before = world.audit().await;
        let again = apply(world, &acme, act, key).await.unwrap();
        assert!(again.replayed);
        assert_eq!(again.outcome, first.outcome);
        assert_eq!(world.audit().await, before);
    }
}

/// The same key with another request is refused; another key is another request.
pub async fn another_request_with_the_key_is_refused(world: &World) {
    let acme = world.tenant("acme").await;
    let act = LedgerAct::TopUpWallet {
        amount: fixtures::dollars(1),
    };
    apply(world, &acme, &act, fixtures::repeatable(1, 1))
        .await
        .unwrap();
    let other = LedgerAct::TopUpWallet {
        amount: fixtures::dollars(2),
    };
    let refused = apply(world, &acme, &other, fixtures::repeatable(1, 2)).await;
    assert_eq!(refused, Err(ActRefusal::KeyReused));
    assert_eq!(world.balance(&acme).await, fixtures::dollars(11));
    apply(world, &acme, &act, fixtures::repeatable(2, 1))
        .await
        .unwrap();
    assert_eq!(world.balance(&acme).await, fixtures::dollars(12));
    // The refusal has not taken the key from the first request.
    assert!(
        apply(world, &acme, &act, fixtures::repeatable(1, 1))
            .await
            .unwrap()
            .replayed
    );
}

/// Of concurrent repeats one takes effect, and all give the same outcome.
pub async fn concurrent_repeats_take_effect_once(world: &World) {
    let acme = world.tenant("acme").await;
    let results = at_once(16, |_| {
        let (world, acme) = (world.clone(), acme.clone());
        let act = LedgerAct::TopUpWallet {
            amount: fixtures::dollars(1),
        };
        async move {
            apply(&world, &acme, &act, fixtures::repeatable(1, 1))
                .await
                .unwrap()
        }
    })
    .await;
    assert_eq!(
        results.iter().filter(|applied| !applied.replayed).count(),
        1
    );
    assert!(
        results
            .iter()
            .all(|applied| applied.outcome == results[0].outcome)
    );
    assert_eq!(world.balance(&acme).await, fixtures::dollars(11));
    assert_eq!(world.wallet_entries(&acme).await.len(), 2);
}

/// A request that was refused may be sent again, even with another body, and then takes effect.
pub async fn a_refused_act_does_not_consume_the_key(world: &World) {
    let acme = world.tenant("acme").await;
    let ann = world.end_user(&acme, "ann").await;
    let top_up = LedgerAct::TopUpBudget {
        end_user: ann.id,
        amounts: fixtures::limits(Some(1), None),
    };
    let key = fixtures::repeatable(1, 1);
    let refused = apply(world, &acme, &top_up, key).await;
    assert_eq!(refused, Err(ActRefusal::BudgetNotFound));
    let terms = fixtures::one_time(fixtures::limits(Some(5), None));
    let create = LedgerAct::CreateBudget {
        end_user: ann.id,
        budget: fixtures::new_budget(terms),
    };
    world.apply(&acme, create).await;
    let applied = apply(world, &acme, &top_up, fixtures::repeatable(1, 2))
        .await
        .unwrap();
    assert!(!applied.replayed);
    assert_eq!(
        world.budget(&acme, &ann).await.terms.limits.usd,
        Some(fixtures::dollars(6))
    );
}

/// Even without a key, an entry's id is posted once: the second act fails whole.
pub async fn an_entry_is_posted_once_without_a_key_too(world: &World) {
    let acme = world.tenant("acme").await;
    let context = fixtures::context();
    let act = LedgerAct::TopUpWallet {
        amount: fixtures::dollars(1),
    };
    let ledger = &world.stores.ledger;
    ledger
        .apply(&acme.scope, &act, &context, None)
        .await
        .unwrap()
        .unwrap();
    let again = ledger.apply(&acme.scope, &act, &context, None).await;
    assert_conflict(again, "ledger entry");
    assert_eq!(world.balance(&acme).await, fixtures::dollars(11));
    assert_eq!(world.wallet_entries(&acme).await.len(), 2);
}
