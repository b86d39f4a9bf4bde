use super::ledger::{charge, new_budget, usd};
use super::*;
use crate::billing::{Amounts, Idempotency, LeaseBatch, LeaseRequest, LedgerAct, Limits, Period};
use crate::money::Tokens;
use crate::store::Page;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repeats_replay_and_take_effect_once() {
    let bench = Bench::new().await;
    let scope = bench.platform("acme", 0).await;
    let request = Idempotency {
        scope_hash: [1; 32],
        request_hash: [2; 32],
    };
    let act = LedgerAct::TopUpWallet {
        amount: NanoUsd::new(10),
    };
    let calls = (0..8).map(|_| {
        let (store, act) = (bench.store.clone(), act.clone());
        async move {
            store
                .apply(&scope, &act, &context(), Some(request))
                .await
                .unwrap()
                .unwrap()
        }
    });
    let applied = futures_util::future::join_all(calls).await;
    assert_eq!(
        applied.iter().filter(|applied| !applied.replayed).count(),
        1
    );
    assert!(applied.iter().all(|one| one.outcome == applied[0].outcome));
    assert_eq!(
        bench.store.wallet(&scope).await.unwrap().balance,
        NanoUsd::new(10)
    );
    let other = Idempotency {
        request_hash: [3; 32],
        ..request
    };
    let refused = bench
        .store
        .apply(&scope, &act, &context(), Some(other))
        .await
        .unwrap();
    assert_eq!(refused.unwrap_err(), crate::billing::ActRefusal::KeyReused);

    let end_user = bench.end_user(&scope, "u").await;
    let fresh = Idempotency {
        scope_hash: [9; 32],
        request_hash: [9; 32],
    };
    let debit = LedgerAct::RemoveBudget { end_user };
    for _ in 0..2 {
        let refused = bench
            .store
            .apply(&scope, &debit, &context(), Some(fresh))
            .await
            .unwrap();
        assert_eq!(
            refused.unwrap_err(),
            crate::billing::ActRefusal::BudgetNotFound
        );
    }
    bench
        .store
        .apply(&scope, &act, &context(), Some(fresh))
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn a_period_is_reset_once() {
    let bench = Bench::new().await;
    let scope = bench.platform("acme", 1000).await;
    let wallet = bench.wallet_account(&scope).await;
    let (end_user, account) = bench.budget(&scope, new_budget(100, Period::Daily)).await;
    let node = bench.node().await;
    bench
        .settle(
            node,
            1,
            vec![charge(&scope, (wallet, 30), Some((account, 30)))],
        )
        .await
        .unwrap();
    assert_eq!(
        bench
            .store
            .budget(&scope, end_user)
            .await
            .unwrap()
            .unwrap()
            .used_usd,
        NanoUsd::new(30)
    );
    assert!(!bench.store.reset_period(&engine(), account).await.unwrap());

    bench.clock.set("2026-11-25T00:00:05Z".parse().unwrap());
    let lease = LeaseBatch {
        node,
        seq: 1,
        requests: vec![LeaseRequest {
            account,
            demand: usd(10),
            target: usd(10),
            available: Amounts::ZERO,
            give_back: Amounts::ZERO,
            check: false,
        }],
    };
    let grants = bench.store.lease(&engine(), &lease).await.unwrap();
    assert_eq!(
        (grants[0].reset_due, grants[0].granted),
        (true, Amounts::ZERO)
    );
    // What is charged after the boundary and before the reset counts for the new period.
    bench
        .settle(
            node,
            2,
            vec![charge(&scope, (wallet, 7), Some((account, 7)))],
        )
        .await
        .unwrap();
    assert!(bench.store.reset_period(&engine(), account).await.unwrap());
    assert!(!bench.store.reset_period(&engine(), account).await.unwrap());
    let budget = bench.store.budget(&scope, end_user).await.unwrap().unwrap();
    assert_eq!(budget.used_usd, NanoUsd::new(7));
    assert_eq!(
        budget.period_end.unwrap().to_string(),
        "2026-11-26T00:00:00Z"
    );
    bench.assert_balanced().await;

    // A read and an act reset by themselves.
    bench.clock.set("2026-11-26T09:00:00Z".parse().unwrap());
    assert_eq!(
        bench
            .store
            .budget(&scope, end_user)
            .await
            .unwrap()
            .unwrap()
            .used_usd,
        NanoUsd::ZERO
    );
    bench.clock.set("2026-11-27T09:00:00Z".parse().unwrap());
    let amounts = Limits {
        usd: Some(NanoUsd::new(40)),
        tokens: None,
    };
    let debit = LedgerAct::DebitBudget { end_user, amounts };
    let outcome = bench
        .store
        .apply(&scope, &debit, &context(), None)
        .await
        .unwrap()
        .unwrap()
        .outcome;
    assert_eq!(outcome.budget.unwrap().used_usd, NanoUsd::new(40));
    assert_eq!(
        (
            outcome.entries.len(),
            outcome.entries[0].remaining_usd_after
        ),
        (1, NanoUsd::new(60))
    );
    bench.assert_balanced().await;
}

#[tokio::test]
async fn balances_of_a_statement_form_a_chain() {
    let bench = Bench::new().await;
    let scope = bench.platform("acme", 1000).await;
    let wallet = bench.wallet_account(&scope).await;
    let (end_user, account) = bench.budget(&scope, new_budget(100, Period::OneTime)).await;
    let node = bench.node().await;
    for seq in 1..=7 {
        bench
            .settle(
                node,
                seq,
                vec![charge(&scope, (wallet, seq), Some((account, 2 * seq)))],
            )
            .await
            .unwrap();
    }
    let amounts = Limits {
        usd: Some(NanoUsd::new(50)),
        tokens: None,
    };
    bench
        .store
        .apply(
            &scope,
            &LedgerAct::TopUpBudget { end_user, amounts },
            &context(),
            None,
        )
        .await
        .unwrap()
        .unwrap();

    let (mut of_wallet, mut of_budget) = (vec![], vec![]);
    for page in 1..=4 {
        let page = Page { page, limit: 3 };
        let listed = bench.store.wallet_entries(&scope, page).await.unwrap();
        assert_eq!(listed.total, 8);
        of_wallet.extend(listed.rows);
        let listed = bench
            .store
            .budget_entries(&scope, end_user, page)
            .await
            .unwrap();
        assert_eq!(listed.total, 9);
        of_budget.extend(listed.rows);
    }
    let balances: Vec<_> = of_wallet
        .iter()
        .map(|row| row.remaining_after.usd.get())
        .collect();
    assert_eq!(balances, [972, 979, 985, 990, 994, 997, 999, 1000]);
    let remaining: Vec<_> = of_budget
        .iter()
        .map(|row| row.remaining_after.usd.get())
        .collect();
    assert_eq!(remaining, [94, 44, 58, 70, 80, 88, 94, 98, 100]);
    let limits: Vec<_> = of_budget
        .iter()
        .map(|row| row.limit_after.usd.get())
        .collect();
    assert_eq!(limits, [150, 100, 100, 100, 100, 100, 100, 100, 100]);
}

#[tokio::test]
async fn removed_budgets_and_users_are_blocked() {
    let bench = Bench::new().await;
    let scope = bench.platform("acme", 1000).await;
    let (end_user, account) = bench.budget(&scope, new_budget(100, Period::Daily)).await;
    let remove = LedgerAct::RemoveBudget { end_user };
    bench
        .store
        .apply(&scope, &remove, &context(), None)
        .await
        .unwrap()
        .unwrap();
    assert!(
        bench
            .store
            .budget(&scope, end_user)
            .await
            .unwrap()
            .is_none()
    );
    assert!(
        bench
            .store
            .budget_account(&scope, end_user)
            .await
            .unwrap()
            .is_none()
    );
    let mut again = new_budget(70, Period::Daily);
    again.terms.limits.tokens = Some(Tokens::new(9));
    let act = LedgerAct::CreateBudget {
        end_user,
        budget: again,
    };
    let applied = bench
        .store
        .apply(&scope, &act, &context(), None)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(applied.account, Some(account));
    assert_eq!(
        applied.outcome.budget.unwrap().remaining_tokens(),
        Some(Tokens::new(9))
    );

    bench.store.delete_end_user(&scope, end_user).await.unwrap();
    bench.clock.set("2026-12-25T00:00:00Z".parse().unwrap());
    let node = bench.node().await;
    let mut request = LeaseRequest::giving_back(account, Amounts::ZERO);
    request.demand = usd(5);
    let batch = LeaseBatch {
        node,
        seq: 1,
        requests: vec![request],
    };
    let grants = bench.store.lease(&engine(), &batch).await.unwrap();
    assert_eq!(
        (grants[0].granted, grants[0].reset_due),
        (Amounts::ZERO, false)
    );
    assert!(!bench.store.reset_period(&engine(), account).await.unwrap());
    bench.assert_balanced().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_act_dropped_half_way_happens_whole_or_not_at_all() {
    let bench = Bench::new().await;
    let scope = bench.platform("acme", 0).await;
    let act = LedgerAct::TopUpWallet {
        amount: NanoUsd::new(1),
    };
    for step in 0..60 {
        let request = Idempotency {
            scope_hash: [step; 32],
            request_hash: [0; 32],
        };
        let patience = std::time::Duration::from_micros(40 * u64::from(step));
        let context = context();
        let act = bench.store.apply(&scope, &act, &context, Some(request));
        // Whether it was dropped or finished depends on the machine; both must do.
        drop(tokio::time::timeout(patience, act).await);
    }
    bench.assert_balanced().await;
    let entries = bench.store.wallet_entries(&scope, Page::default()).await;
    let balance = bench.store.wallet(&scope).await.unwrap().balance;
    assert_eq!(
        entries.unwrap().total,
        u64::try_from(balance.get()).unwrap()
    );
}
