//! Events: written with their causes, read in order, kept for a while.

use serde_json::Value;

use crate::billing::{BudgetChanges, LedgerAct};
use crate::events::{Event, EventType};
use crate::money::NanoUsd;
use crate::store::Upsert;
use crate::testing::world::{BEGIN, Tenant, World};
use crate::testing::{fixtures, scopes};

/// The types of a platform's events, oldest first.
pub(super) async fn types(world: &World, tenant: &Tenant) -> Vec<EventType> {
    let events = world.events(tenant).await;
    events.iter().map(Event::event_type).collect()
}

/// The payload of an event, as receivers read it.
pub(super) fn payload(event: &Event) -> Value {
    serde_json::to_value(event).unwrap()
}

/// Every act that somebody may want to hear of is told, with the entry's id and what it left.
pub async fn acts_tell_what_they_did(world: &World) {
    let acme = world.tenant("acme").await;
    let terms = fixtures::one_time(fixtures::limits(Some(5), None));
    let ann = world.end_user_with_budget(&acme, "ann", terms).await;
    let end_user = ann.id;
    let suspend = |is_suspended| LedgerAct::UpdateBudget {
        end_user,
        changes: Box::new(BudgetChanges {
            is_suspended: Some(is_suspended),
            ..BudgetChanges::default()
        }),
    };
    let acts = [
        LedgerAct::TopUpWallet {
            amount: fixtures::dollars(2),
        },
        LedgerAct::DebitBudget {
            end_user,
            amounts: fixtures::limits(Some(1), Some(7)),
        },
        LedgerAct::TopUpBudget {
            end_user,
            amounts: fixtures::limits(Some(3), None),
        },
        suspend(true),
        suspend(true),
        suspend(false),
    ];
    let mut told = Vec::new();
    for act in acts {
        world.tick();
        let applied = world.apply(&acme, act).await;
        told.push(applied.outcome.entries.first().map(|entry| entry.id));
    }
    let events = world.events(&acme).await;
    let expected = [
        EventType::WalletToppedUp,
        EventType::EndUserCreated,
        EventType::WalletToppedUp,
        EventType::BudgetToppedUp,
        EventType::BudgetSuspended,
        EventType::BudgetUnsuspended,
    ];
    // The first two were written at the same instant.
    assert_eq!(types(world, &acme).await[2..], expected[2..]);
    assert_eq!(events.len(), expected.len());
    for (event, entry) in events[2..].iter().zip([told[0], told[2], told[3], told[5]]) {
        assert_eq!(event.id.cause(), entry.unwrap().as_uuid());
    }

    let wallet = payload(&events[2]);
    assert_eq!(wallet["event_type"], "wallet.topped_up");
    assert_eq!(wallet["event_id"], events[2].id.to_string());
    assert_eq!(wallet["api_version"], "2026-04-11");
    assert_eq!(wallet["created_at"], events[2].created_at.to_string());
    assert_eq!(wallet["data"]["amount"].to_string(), "2.0");
    let budget = payload(&events[3]);
    let data = &budget["data"];
    assert_eq!(data["platform_id"], acme.platform.id.to_string());
    assert_eq!(data["end_user_id"], end_user.to_string());
    assert_eq!(data["transaction_id"], told[2].unwrap().to_string());
    assert_eq!(data["type"], "topup");
    let text = events[3].data.get();
    for member in [
        r#""amount_usd":3.000000"#,
        r#""max_usd_after":8.000000"#,
        r#""used_usd_after":1.000000"#,
        r#""remaining_usd_after":7.000000"#,
        r#""amount_tokens":0"#,
        r#""max_tokens_after":null"#,
        r#""used_tokens_after":7"#,
        r#""remaining_tokens_after":null"#,
        r#""reason":"a reason""#,
        r#""metadata":{"ticket":7}"#,
    ] {
        assert!(text.contains(member), "{member} in {text}");
    }
    assert!(data.get("low_limits").is_none(), "{text}");
}

/// End users that are made and removed are told of, once.
pub async fn users_are_told_of(world: &World) {
    let acme = world.tenant("acme").await;
    world.tick();
    let new = fixtures::new_end_user(acme.platform.id, "ann", world.now());
    let again = fixtures::new_end_user(acme.platform.id, "ann", world.now());
    let tenancy = &world.stores.tenancy;
    let made = tenancy.create_end_user(&acme.scope, new).await.unwrap();
    let Upsert::Created(ann) = made else {
        panic!("{made:?} was there already")
    };
    tenancy.create_end_user(&acme.scope, again).await.unwrap();
    world.tick();
    tenancy.delete_end_user(&acme.scope, ann.id).await.unwrap();
    let events = &world.events(&acme).await[1..];
    let told: Vec<_> = events.iter().map(Event::event_type).collect();
    assert_eq!(told, [EventType::EndUserCreated, EventType::EndUserDeleted]);
    for event in events {
        assert_eq!(event.id.cause(), ann.id.as_uuid());
        let data = &payload(event)["data"];
        assert_eq!(data["end_user_id"], ann.id.to_string());
        assert_eq!(data["external_id"], "ann");
    }
}

/// An act that is refused, or that repeats an earlier one, tells nothing.
pub async fn nothing_done_is_nothing_told(world: &World) {
    let acme = world.tenant_with("acme", NanoUsd::ZERO).await;
    let ann = world.end_user(&acme, "ann").await;
    let before = world.events(&acme).await;
    let end_user = ann.id;
    let amounts = fixtures::limits(Some(1), None);
    for act in [
        LedgerAct::TopUpBudget { end_user, amounts },
        LedgerAct::TopUpWallet {
            amount: NanoUsd::new(i64::MAX),
        },
    ] {
        assert!(world.try_apply(&acme, &act).await.is_err());
    }
    assert_eq!(world.events(&acme).await, before);

    let act = LedgerAct::TopUpWallet {
        amount: fixtures::dollars(1),
    };
    let key = Some(fixtures::repeatable(1, 1));
    for _ in 0..3 {
        let context = fixtures::context();
        let ledger = &world.stores.ledger;
        let applied = ledger.apply(&acme.scope, &act, &context, key).await;
        applied.unwrap().unwrap();
    }
    assert_eq!(world.events(&acme).await.len(), before.len() + 1);
}

/// Pages begin where the last one ended, also among events of one instant.
pub async fn events_are_read_in_order(world: &World) {
    let (acme, other) = (world.tenant("acme").await, world.tenant("other").await);
    for tenant in [&acme, &other, &acme] {
        for number in 0..4 {
            let amount = NanoUsd::new(1 + number);
            world.apply(tenant, LedgerAct::TopUpWallet { amount }).await;
        }
        world.tick();
    }
    let (store, scope) = (&world.stores.events, scopes::engine());
    let all = store.events(&scope, None, 1000).await.unwrap();
    assert_eq!(all.len(), 2 + 12);
    assert!(all.is_sorted_by_key(|event| event.created_at));
    assert_eq!(world.events(&acme).await.len(), 1 + 8);
    for size in [1, 3, 14, 15] {
        let mut paged: Vec<Event> = Vec::new();
        loop {
            let after = paged.last().map(Event::cursor);
            let page = store.events(&scope, after, size).await.unwrap();
            assert!(page.len() <= size as usize);
            if page.is_empty() {
                break;
            }
            paged.extend(page);
        }
        assert_eq!(paged, all);
    }
}

/// Events are kept for seven days, whether anybody has read them or not.
pub async fn old_events_are_pruned(world: &World) {
    let acme = world.tenant("acme").await;
    world.set_clock("2026-03-16T12:00:00Z");
    let amount = fixtures::dollars(1);
    world.apply(&acme, LedgerAct::TopUpWallet { amount }).await;
    let events = world.events(&acme).await;
    let (store, scope) = (&world.stores.events, scopes::engine());
    assert_eq!(events[0].created_at.to_string(), BEGIN);
    for (at, pruned, kept) in [
        ("2026-03-22T12:00:00Z", 0, 2),
        ("2026-03-22T12:00:00.000001Z", 1, 1),
        ("2026-03-22T12:00:01Z", 0, 1),
        ("2026-03-24T00:00:00Z", 1, 0),
    ] {
        world.set_clock(at);
        assert_eq!(store.prune_events(&scope).await.unwrap(), pruned, "{at}");
        assert_eq!(world.events(&acme).await, events[2 - kept..], "{at}");
    }
}
