//! Low balances: told once for each crossing, with the debit that did it.

use serde_json::{Value, json};

use super::at_once;
use super::events::payload;
use crate::billing::{
    BudgetChanges, BudgetTerms, LeaseRequest, LedgerAct, LedgerEntry, Limits, Refund,
};
use crate::events::EventType;
use crate::id::{AccountId, EntryId};
use crate::money::{NanoUsd, Tokens};
use crate::store::EndUserChanges;
use crate::tenancy::{EndUser, EndUserRef};
use crate::testing::driver::Driver;
use crate::testing::fixtures;
use crate::testing::world::{Tenant, World};

/// A platform, and an end user whose budget of 10 dollars and 100 tokens is low at 4 and at 30.
struct Bench<'a> {
    world: &'a World,
    acme: Tenant,
    ann: EndUser,
    account: AccountId,
    node: Driver,
}

fn terms() -> BudgetTerms {
    BudgetTerms {
        low_balance: fixtures::limits(Some(4), Some(30)),
        ..fixtures::one_time(fixtures::limits(Some(10), Some(100)))
    }
}

impl<'a> Bench<'a> {
    async fn new(world: &'a World) -> Self {
        Self::with(world, terms()).await
    }

    async fn with(world: &'a World, terms: BudgetTerms) -> Self {
        let acme = world.tenant_with("acme", fixtures::dollars(1000)).await;
        let ann = world.end_user_with_budget(&acme, "ann", terms).await;
        let account = world.budget_account(&acme, &ann).await;
        let node = Driver::start(world).await;
        Self {
            world,
            acme,
            ann,
            account,
            node,
        }
    }

    /// Debits by hand; gives the entry.
    async fn debit(&self, usd: i64, tokens: i64) -> EntryId {
        self.world.tick();
        let amounts = fixtures::limits(Some(usd), Some(tokens));
        let applied = self.world.debit(&self.acme, &self.ann, amounts).await;
        applied.outcome.entries[0].id
    }

    /// Charges calls in one batch, each in whole dollars and tokens; gives their entries.
    async fn charge(&mut self, costs: &[(i64, i64)]) -> Vec<EntryId> {
        self.world.tick();
        let payers = self.world.payers(&self.acme, Some(&self.ann)).await;
        let charge = |(usd, tokens): &(i64, i64)| {
            fixtures::charge(&payers, fixtures::cost(*usd, *tokens), self.world.now())
        };
        let charges: Vec<LedgerEntry> = costs.iter().map(charge).collect();
        let ids = charges.iter().map(|entry| entry.uid).collect();
        let batch = self.node.charges(charges);
        self.node.settle(self.world, &batch).await;
        ids
    }

    async fn check(&mut self) {
        self.node.check(self.world, self.account).await;
    }

    async fn update(&self, changes: BudgetChanges) {
        let act = LedgerAct::UpdateBudget {
            end_user: self.ann.id,
            changes: Box::new(changes),
        };
        self.world.apply(&self.acme, act).await;
    }

    async fn top_up(&self, amounts: Limits) {
        let end_user = self.ann.id;
        let act = LedgerAct::TopUpBudget { end_user, amounts };
        self.world.apply(&self.acme, act).await;
    }

    /// Which debits were told, and which thresholds each of them crossed.
    async fn told(&self) -> Vec<(EntryId, Value)> {
        let events = self.world.events(&self.acme).await;
        let low = events
            .iter()
            .filter(|event| event.event_type() == EventType::BudgetLowBalance);
        low.map(|event| {
            let data = &payload(event)["data"];
            let id = EntryId::from_uuid(event.id.cause());
            assert_eq!(data["transaction_id"], id.to_string());
            assert_eq!(data["end_user_id"], self.ann.id.to_string());
            assert_eq!(data["type"], "debit");
            (id, data["low_limits"].clone())
        })
        .collect()
    }
}

/// The debit that leaves the budget at or below its threshold is told, and none after it.
pub async fn a_debit_that_crosses_is_told_once(world: &World) {
    let bench = Bench::new(world).await;
    bench.debit(5, 0).await;
    assert_eq!(bench.told().await, []);
    let crossing = bench.debit(1, 8).await;
    let told = [(crossing, json!(["usd"]))];
    assert_eq!(bench.told().await, told);
    bench.debit(1, 0).await;
    bench.debit(9, 0).await;
    assert_eq!(bench.told().await, told);

    let events = world.events(&bench.acme).await;
    let text = events.last().unwrap().data.get();
    for member in [
        r#""amount_usd":1.000000"#,
        r#""max_usd_after":10.000000"#,
        r#""used_usd_after":6.000000"#,
        r#""remaining_usd_after":4.000000"#,
        r#""amount_tokens":8"#,
        r#""max_tokens_after":100"#,
        r#""used_tokens_after":8"#,
        r#""remaining_tokens_after":92"#,
        r#""low_limits":["usd"]"#,
    ] {
        assert!(text.contains(member), "{member} in {text}");
    }
}

/// One debit, one event, whatever it crosses.
pub async fn both_limits_crossed_by_one_debit_are_one_event(world: &World) {
    let bench = Bench::new(world).await;
    let crossing = bench.debit(6, 70).await;
    assert_eq!(bench.told().await, [(crossing, json!(["usd", "tokens"]))]);
    let mut bench = Bench {
        ann: world
            .end_user_with_budget(&bench.acme, "bob", terms())
            .await,
        ..bench
    };
    bench.account = world.budget_account(&bench.acme, &bench.ann).await;
    let calls = bench.charge(&[(1, 1), (6, 70), (1, 1)]).await;
    bench.check().await;
    let events = world.events(&bench.acme).await;
    let newest = events.last().unwrap();
    assert_eq!(newest.id.cause(), calls[1].as_uuid());
    let crossed = &payload(newest)["data"]["low_limits"];
    assert_eq!(*crossed, json!(["usd", "tokens"]));
}

/// Thresholds are crossed each for itself.
pub async fn limits_crossed_apart_are_told_apart(world: &World) {
    let mut bench = Bench::new(world).await;
    let tokens = bench.debit(1, 80).await;
    let usd = bench.debit(6, 1).await;
    let told = [(tokens, json!(["tokens"])), (usd, json!(["usd"]))];
    assert_eq!(bench.told().await, told);
    bench.top_up(fixtures::limits(Some(100), Some(1000))).await;
    // One check may find two debits; it tells of each.
    let calls = bench.charge(&[(100, 1), (1, 1000), (1, 1)]).await;
    bench.check().await;
    let mut told = bench.told().await.split_off(2);
    told.sort_by_key(|(id, _)| calls.iter().position(|call| call == id));
    let expected = [(calls[0], json!(["usd"])), (calls[1], json!(["tokens"]))];
    assert_eq!(told, expected);
}

/// Charges of calls are found when the account is checked: the first that left it low.
pub async fn calls_cross_at_the_first_entry_that_did(world: &World) {
    let mut bench = Bench::new(world).await;
    bench.charge(&[(1, 1), (1, 1), (1, 1)]).await;
    bench.check().await;
    assert_eq!(bench.told().await, []);
    let calls = bench.charge(&[(2, 1), (2, 1), (2, 1), (2, 1)]).await;
    assert_eq!(bench.told().await, []);
    for _ in 0..2 {
        bench.check().await;
        assert_eq!(bench.told().await, [(calls[1], json!(["usd"]))]);
    }
    // Far more entries than a search reads at a time.
    bench.top_up(fixtures::limits(Some(1000), None)).await;
    let first = bench.charge(&[(1005, 0)]).await[0];
    bench.charge(&[(1, 0); 450]).await;
    bench.check().await;
    assert_eq!(bench.told().await[1..], [(first, json!(["usd"]))]);
}

/// What moves anything checks too; a request that moves nothing and asks for nothing does not.
pub async fn every_lease_checks(world: &World) {
    let mut bench = Bench::new(world).await;
    let nothing = LeaseRequest::giving_back(bench.account, fixtures::usd(0));
    let crossing = bench.charge(&[(7, 1)]).await[0];
    bench.node.lease(world, vec![nothing]).await;
    assert_eq!(bench.told().await, []);
    let demand = fixtures::usd(1);
    bench.node.demand(world, bench.account, demand).await;
    assert_eq!(bench.told().await, [(crossing, json!(["usd"]))]);
    bench.top_up(fixtures::limits(Some(10), None)).await;
    let crossing = bench.charge(&[(10, 1)]).await[0];
    bench.node.give_back(world, bench.account, demand).await;
    assert_eq!(bench.told().await[1..], [(crossing, json!(["usd"]))]);
    let grant = bench.node.demand(world, bench.account, demand).await;
    assert_eq!(grant.policy.thresholds, terms().low_balance);
}

/// A crossing that nobody has checked yet is not hidden by an act that raises what remains.
pub async fn an_act_checks_before_it_changes_anything(world: &World) {
    let mut bench = Bench::new(world).await;
    let first = bench.charge(&[(7, 1), (1, 1)]).await[0];
    bench.top_up(fixtures::limits(Some(50), None)).await;
    assert_eq!(bench.told().await, [(first, json!(["usd"]))]);
    bench.check().await;
    let second = bench.charge(&[(49, 1)]).await[0];
    // A debit below the threshold is not the one that crossed it.
    bench.debit(1, 1).await;
    let told = [(first, json!(["usd"])), (second, json!(["usd"]))];
    assert_eq!(bench.told().await, told);
}

/// A top-up or a changed limit arms a threshold that it lifts the budget above, and only such a one.
pub async fn what_raises_the_remainder_arms_again(world: &World) {
    let bench = Bench::new(world).await;
    let mut told = vec![bench.debit(9, 90).await];
    bench.top_up(fixtures::limits(Some(3), None)).await;
    bench.debit(1, 0).await;
    bench.top_up(fixtures::limits(Some(2), None)).await;
    told.push(bench.debit(1, 0).await);
    let raised = BudgetChanges {
        max_usd: Some(Some(fixtures::dollars(30))),
        max_tokens: Some(Some(Tokens::new(200))),
        ..BudgetChanges::default()
    };
    bench.update(raised).await;
    told.push(bench.debit(17, 100).await);
    let lower = BudgetChanges {
        threshold_usd: Some(Some(NanoUsd::ZERO)),
        threshold_tokens: Some(Some(Tokens::ZERO)),
        ..BudgetChanges::default()
    };
    bench.update(lower).await;
    told.push(bench.debit(40, 0).await);
    let (ids, crossed): (Vec<_>, Vec<_>) = bench.told().await.into_iter().unzip();
    assert_eq!(ids, told);
    let both = json!(["usd", "tokens"]);
    assert_eq!(
        crossed,
        [both.clone(), json!(["usd"]), both, json!(["usd"])]
    );
}

/// A limit that is lowered below a threshold is no debit. The next debit is told.
pub async fn a_lowered_limit_waits_for_the_next_debit(world: &World) {
    let mut bench = Bench::new(world).await;
    bench.charge(&[(1, 1)]).await;
    let lower = BudgetChanges {
        max_usd: Some(Some(fixtures::dollars(3))),
        ..BudgetChanges::default()
    };
    bench.update(lower).await;
    bench.check().await;
    assert_eq!(bench.told().await, []);
    let call = bench.charge(&[(1, 1), (1, 1)]).await[0];
    bench.check().await;
    assert_eq!(bench.told().await, [(call, json!(["usd"]))]);
}

/// The same of a threshold that is raised above what remains.
pub async fn a_raised_threshold_waits_for_the_next_debit(world: &World) {
    let mut bench = Bench::new(world).await;
    bench.charge(&[(1, 1)]).await;
    let raise = |low: i64| BudgetChanges {
        threshold_usd: Some(Some(fixtures::dollars(low))),
        ..BudgetChanges::default()
    };
    bench.update(raise(9)).await;
    bench.check().await;
    assert_eq!(bench.told().await, []);
    let debit = bench.debit(1, 1).await;
    assert_eq!(bench.told().await, [(debit, json!(["usd"]))]);
    bench.update(raise(20)).await;
    bench.debit(1, 1).await;
    assert_eq!(bench.told().await.len(), 1);
}

/// What is not limited has no remainder that could be low.
pub async fn a_threshold_without_limit_is_never_crossed(world: &World) {
    let limits = fixtures::limits(Some(10), None);
    let mut bench = Bench::with(world, BudgetTerms { limits, ..terms() }).await;
    bench.debit(1, 1000).await;
    bench.charge(&[(1, 1000)]).await;
    bench.check().await;
    assert_eq!(bench.told().await, []);
    let limit = BudgetChanges {
        max_tokens: Some(Some(Tokens::new(2100))),
        ..BudgetChanges::default()
    };
    bench.update(limit).await;
    let debit = bench.debit(1, 80).await;
    assert_eq!(bench.told().await, [(debit, json!(["tokens"]))]);
}

/// A new period begins with armed thresholds; what crossed one before it is told first.
pub async fn a_reset_arms_again(world: &World) {
    let mut bench = Bench::with(
        world,
        BudgetTerms {
            period: crate::billing::Period::Daily,
            ..terms()
        },
    )
    .await;
    let first = bench.charge(&[(7, 1)]).await[0];
    world.set_clock("2026-03-16T00:00:01Z");
    world.budget(&bench.acme, &bench.ann).await;
    assert_eq!(bench.told().await, [(first, json!(["usd"]))]);
    let second = bench.charge(&[(7, 1)]).await[0];
    bench.check().await;
    assert_eq!(bench.told().await[1..], [(second, json!(["usd"]))]);
}

/// A wallet has one threshold, crossed by calls.
pub async fn the_wallet_is_watched_too(world: &World) {
    let acme = world.tenant("acme").await;
    let mut node = Driver::start(world).await;
    let payers = world.payers(&acme, None).await;
    let mut charge = async |usd| {
        world.tick();
        let entry = fixtures::charge(&payers, fixtures::cost(usd, 1), world.now());
        let (id, batch) = (entry.uid, node.charges(vec![entry]));
        node.settle(world, &batch).await;
        node.check(world, acme.wallet).await;
        id
    };
    let set = async |threshold| {
        let threshold = Some(fixtures::dollars(threshold));
        let act = LedgerAct::SetWalletThreshold { threshold };
        world.apply(&acme, act).await;
    };
    let told = async || {
        let mut events = world.events(&acme).await;
        events.retain(|event| event.event_type() == EventType::WalletLowBalance);
        events
    };
    charge(1).await;
    set(5).await;
    charge(3).await;
    assert!(told().await.is_empty());
    let crossing = charge(1).await;
    charge(1).await;
    let events = told().await;
    assert_eq!(events.len(), 1);
    let data = payload(&events[0])["data"].clone();
    assert_eq!(data["transaction_id"], crossing.to_string());
    assert_eq!(data["type"], "llm_usage");
    let text = events[0].data.get();
    for member in [r#""amount":1.000000"#, r#""balance_after":5.000000"#] {
        assert!(text.contains(member), "{member} in {text}");
    }

    let amount = fixtures::dollars(10);
    world.apply(&acme, LedgerAct::TopUpWallet { amount }).await;
    let crossing = charge(12).await;
    assert_eq!(told().await[1].id.cause(), crossing.as_uuid());
    // Raised above the balance it waits for the next debit.
    set(1).await;
    set(3).await;
    assert_eq!(told().await.len(), 2);
    let crossing = charge(1).await;
    assert_eq!(told().await[2].id.cause(), crossing.as_uuid());
    assert_eq!(told().await.len(), 3);
}

/// What a refund of a call gives back to the wallet arms its threshold at once: the next crossing is told.
pub async fn a_refund_arms_the_wallet_again(world: &World) {
    let acme = world.tenant("acme").await;
    let terms = fixtures::one_time(fixtures::limits(Some(100), None));
    let ann = world.end_user_with_budget(&acme, "ann", terms).await;
    let payers = world.payers(&acme, Some(&ann)).await;
    let mut node = Driver::start(world).await;
    let mut charge = async |usd| {
        world.tick();
        let entry = fixtures::charge(&payers, fixtures::cost(usd, 1), world.now());
        let (id, batch) = (entry.uid, node.charges(vec![entry]));
        node.settle(world, &batch).await;
        id
    };
    let threshold = Some(fixtures::dollars(5));
    let act = LedgerAct::SetWalletThreshold { threshold };
    world.apply(&acme, act).await;
    let first = charge(6).await;
    let refund = LedgerAct::RefundDebit {
        end_user: ann.id,
        debit: first,
        refund: Refund::Rest,
    };
    world.apply(&acme, refund).await;
    let second = charge(6).await;
    let mut checker = Driver::start(world).await;
    checker.check(world, acme.wallet).await;
    let mut events = world.events(&acme).await;
    events.retain(|event| event.event_type() == EventType::WalletLowBalance);
    let causes: Vec<_> = events.iter().map(|event| event.id.cause()).collect();
    assert_eq!(causes, [first.as_uuid(), second.as_uuid()]);
}

/// Calls in flight settle after their user is gone; its budget is not low any more.
pub async fn nobody_is_told_of_what_is_gone(world: &World) {
    let mut bench = Bench::new(world).await;
    let switched_off = EndUserChanges {
        is_active: Some(false),
        ..EndUserChanges::default()
    };
    let (tenancy, ann) = (&world.stores.tenancy, EndUserRef::Id(bench.ann.id));
    let scope = &bench.acme.scope;
    tenancy
        .update_end_user(scope, &ann, &switched_off)
        .await
        .unwrap();
    let payers = world.payers(&bench.acme, Some(&bench.ann)).await;
    tenancy.delete_end_user(scope, bench.ann.id).await.unwrap();
    let charge = fixtures::charge(&payers, fixtures::cost(9, 90), world.now());
    let batch = bench.node.charges(vec![charge]);
    bench.node.settle(world, &batch).await;
    bench.check().await;
    assert_eq!(bench.told().await, []);
}

/// Of many debits at once one crosses.
pub async fn concurrent_debits_cross_once(world: &World) {
    let limits = fixtures::limits(Some(60), Some(600));
    let terms = BudgetTerms {
        limits,
        low_balance: fixtures::limits(Some(30), Some(200)),
        ..terms()
    };
    let bench = Bench::with(world, terms).await;
    at_once(50, |_| {
        let (world, acme, ann) = (world.clone(), bench.acme.clone(), bench.ann.clone());
        let amounts = fixtures::limits(Some(1), Some(10));
        async move { world.debit(&acme, &ann, amounts).await }
    })
    .await;
    let mut entries = world.budget_entries(&bench.acme, &bench.ann).await;
    entries.reverse();
    let first = |low: &dyn Fn(&crate::billing::Amounts) -> bool| {
        let row = entries.iter().find(|row| low(&row.remaining_after));
        row.unwrap().entry.uid
    };
    let usd = first(&|left| left.usd <= fixtures::dollars(30));
    let tokens = first(&|left| left.tokens <= Tokens::new(200));
    let mut told = bench.told().await;
    told.sort_by_key(|(id, _)| *id == tokens);
    assert_eq!(told, [(usd, json!(["usd"])), (tokens, json!(["tokens"]))]);
}

/// Of many charges at once, on two nodes that check beside each other, one crosses.
pub async fn concurrent_charges_cross_once(world: &World) {
    let limits = fixtures::limits(Some(60), Some(600));
    let terms = BudgetTerms {
        limits,
        low_balance: fixtures::limits(Some(30), Some(200)),
        ..terms()
    };
    let bench = Bench::with(world, terms).await;
    let payers = world.payers(&bench.acme, Some(&bench.ann)).await;
    let nodes = [bench.node.clone(), Driver::start(world).await];
    at_once(2, |index| {
        let (world, mut node, account) = (world.clone(), nodes[index].clone(), bench.account);
        async move {
            for _ in 0..25 {
                let charge = fixtures::charge(&payers, fixtures::cost(1, 10), world.now());
                let batch = node.charges(vec![charge]);
                node.settle(&world, &batch).await;
                node.check(&world, account).await;
            }
        }
    })
    .await;
    let told = bench.told().await;
    let crossed: Vec<_> = told.iter().map(|(_, crossed)| crossed).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    for name in ["usd", "tokens"] {
        assert!(crossed.contains(&&json!([name])), "{told:?}");
    }
}
