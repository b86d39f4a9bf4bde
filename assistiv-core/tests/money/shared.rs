//! Several nodes on one PostgreSQL database, in real time: what [`nodes`](super::nodes) shows in paused time in
//! memory, and what only a real server can show.

mod crowd;

use std::time::Duration;

use assistiv_core::Error;
use assistiv_core::billing::{BillingOptions, ChargeFlags, FundError};
use assistiv_core::money::NanoUsd;
use assistiv_core::store::sql::SqlStore;
use assistiv_core::testing::postgres::{TestDatabase, TestPostgres};
use tokio::time::{Instant, sleep};

use crate::provider::Answer;
use crate::world::{World, cost_of, prompt_tokens};

const DOLLAR: NanoUsd = NanoUsd::new(1_000_000_000);

/// Far more than what is promised to take a second or two: the machine may do much else.
const SOON: Duration = Duration::from_secs(10);

/// Two nodes.
struct Two {
    a: World,
    b: World,
    _database: TestDatabase,
}

impl Two {
    async fn new(balance: NanoUsd) -> Self {
        let database = TestPostgres::shared().database().await;
        let open = async || SqlStore::open(database.options()).await.unwrap().into();
        let options = BillingOptions::default();
        let a = World::on(open().await, options.clone(), balance).await;
        let b = a.beside(open().await, options).await;
        Self {
            a,
            b,
            _database: database,
        }
    }

    async fn end(self) {
        self.a.no_hold_is_left().await;
        self.b.audit().await;
        for world in [self.a, self.b] {
            world.gateway.shut_down(SOON).await.unwrap();
        }
    }
}

/// Whether it is worth asking again.
fn transient(error: &Error) -> bool {
    match error {
        Error::Fund(FundError::WalletInsufficient { shortfall }) => shortfall.transient,
        other => panic!("{other}"),
    }
}

/// What is held for a call with a limit of 1.
fn one_hold() -> i64 {
    cost_of((prompt_tokens() * 11 + 9) / 10, 1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suspension_on_one_node_holds_on_the_other_when_it_is_acknowledged() {
    let two = Two::new(DOLLAR).await;
    let Two { a, b, .. } = &two;
    let payer = a.end_user(Some(500_000_000), None).await;
    a.answers(Answer::whole(1, 1));
    for round in 0..5 {
        // It has something at hand that it could spend.
        b.call(&payer, false, 10).await.unwrap();
        let begin = Instant::now();
        a.suspend(&payer, true).await;
        assert!(begin.elapsed() < SOON, "{:?}", begin.elapsed());
        for node in [b, a] {
            let refused = node.call(&payer, false, 10).await.unwrap_err();
            let is_suspended = matches!(refused, Error::Fund(FundError::BudgetSuspended));
            assert!(is_suspended, "round {round}: {refused}");
        }
        a.suspend(&payer, false).await;
        let begin = Instant::now();
        while let Err(error) = b.call(&payer, false, 10).await {
            let is_known = matches!(error, Error::Fund(FundError::BudgetSuspended));
            assert!(is_known && begin.elapsed() < SOON, "{error}");
            sleep(Duration::from_millis(20)).await;
        }
    }
    two.end().await;
}

/// What one node holds for calls in flight, and what it merely has at hand, serves the other one as soon as it is
/// free.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_is_taken_back_when_the_other_node_has_come_to_rest() {
    let two = Two::new(NanoUsd::new(one_hold())).await;
    let Two { a, b, .. } = &two;
    a.answers_in_turn([Answer::whole(1, 0).held_back(), Answer::whole(1, 0)]);
    let first = a.spawn_call(&a.platform, false, 1);
    a.provider.wait_for_requests(1).await;
    let refused = b.call(&a.platform, false, 1).await.unwrap_err();
    assert!(transient(&refused), "{refused}");
    a.provider.let_go();
    first.await.unwrap().unwrap();
    // It cost less than it held, so there is something left; not enough for another one.
    let more = assistiv_core::billing::TopUpWallet {
        amount: NanoUsd::new(cost_of(1, 0)),
        description: None,
        request: None,
    };
    let local = a.gateway.local_operator();
    a.gateway
        .wallets()
        .run(&local, a.platform_id, more)
        .await
        .unwrap();
    let begin = Instant::now();
    let served = b.call(&a.platform, false, 1).await.unwrap();
    assert!(begin.elapsed() < SOON, "{:?}", begin.elapsed());
    let lowered = served.headers().get("x-assistiv-max-tokens");
    assert!(lowered.is_none(), "it was not the last one");
    drop(served);
    assert_eq!(a.balance().await.get(), one_hold() - cost_of(1, 0));
    two.end().await;
}

/// Funds for twelve calls and a half, fifty of them at once on two nodes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_fifty_calls_for_the_last_dollar_one_alone_takes_what_is_too_little() {
    let (one, half) = (one_hold(), one_hold() / 2);
    let two = Two::new(NanoUsd::new(12 * one + half)).await;
    let Two { a, b, .. } = &two;
    // As much as is held, to the nano-dollar.
    let input = (prompt_tokens() * 11 + 9) / 10;
    a.answers(Answer::whole(input, 1).held_back());
    let calls: Vec<_> = (0..50)
        .map(|n| [a, b][n % 2].spawn_call(&a.platform, false, 1))
        .collect();
    let begin = Instant::now();
    let refused = || calls.iter().filter(|call| call.is_finished()).count();
    while refused() + a.provider.requests() < 50 {
        assert!(
            begin.elapsed() < SOON,
            "{} with the provider",
            a.provider.requests()
        );
        sleep(Duration::from_millis(5)).await;
    }
    // Twelve that can pay, and at most one that cannot.
    let at_once = a.provider.requests();
    assert!((12..=13).contains(&at_once), "{at_once}");
    a.provider.let_go();
    for call in calls {
        if let Err(error) = call.await.unwrap() {
            assert!(transient(&error), "{error}");
        }
    }
    // Who is told that it may come back does, on either node, until nothing is left.
    let begin = Instant::now();
    for node in [a, b].into_iter().cycle() {
        match node.call(&a.platform, false, 1).await {
            Err(error) if !transient(&error) => break,
            _ => assert!(begin.elapsed() < SOON),
        }
    }
    assert_eq!(a.provider.requests(), 13);
    assert_eq!(
        a.balance().await.get(),
        half - one,
        "what one call cost beyond its hold"
    );
    let overran = |flags: ChargeFlags| flags.contains(ChargeFlags::OVERRAN);
    let entries = a.entries().await;
    assert_eq!(
        entries.iter().filter(|entry| overran(entry.flags)).count(),
        1
    );
    two.end().await;
}
