//! The statements of the lanes: the formula of grants, and how the database runs them.

mod plans;

use std::time::Duration;

use proptest::prelude::*;
use sea_orm::{ConnectionTrait, Iterable};

use super::super::super::SqlStore;
use crate::auth::SweeperScope;
use crate::billing::{
    AccountKind, AccountPolicy, Amounts, Blocked, Dimensions, LeaseBatch, LeaseRequest,
    LedgerStore, grant,
};
use crate::clock::Timestamp;
use crate::id::{AccountId, NodeId};
use crate::testing::postgres::{TestDatabase, TestPostgres};

async fn store() -> (SqlStore, TestDatabase) {
    let database = TestPostgres::shared().database().await;
    (SqlStore::open(database.options()).await.unwrap(), database)
}

/// An account and what is asked of it.
#[derive(Clone, Debug)]
struct Case {
    free: Amounts,
    enforce: i16,
    blocked: i16,
    due: bool,
    request: LeaseRequest,
}

fn amounts(range: std::ops::Range<i64>) -> impl Strategy<Value = Amounts> {
    (range.clone(), range.clone(), range).prop_map(|(u, t, d)| Amounts::from_raw(u, t, d))
}

fn case() -> impl Strategy<Value = Case> {
    let asked = (
        amounts(-10..60),
        amounts(-10..200),
        amounts(-30..100),
        amounts(0..40),
    );
    let request = asked.prop_map(|(demand, target, available, give_back)| LeaseRequest {
        account: AccountId(0),
        demand,
        target,
        available,
        give_back,
        check: false,
    });
    // Most accounts are neither blocked nor due.
    let blocked = prop_oneof![8 => Just(0i16), 1 => Just(1i16), 1 => Just(2i16)];
    (
        amounts(-100..300),
        0i16..8,
        blocked,
        prop::bool::weighted(0.1),
        request,
    )
        .prop_map(|(free, enforce, blocked, due, request)| Case {
            free,
            enforce,
            blocked,
            due,
            request,
        })
}

/// Writes the cases' accounts, numbered from 1.
async fn write(store: &SqlStore, cases: &[Case], now: Timestamp) {
    let rows: Vec<_> = cases
        .iter()
        .enumerate()
        .map(|(index, case)| {
            let Amounts {
                usd,
                tokens,
                display,
            } = case.free;
            let end = now.as_micros() + if case.due { 0 } else { 1_000_000_000 };
            format!(
                "({}, {}, gen_random_uuid(), gen_random_uuid(), {}, {}, {}, {}, {}, {end}, 0, 0)",
                index + 1,
                1 + index % 2,
                usd.get(),
                tokens.get(),
                display.get(),
                case.enforce,
                case.blocked,
            )
        })
        .collect();
    let statement = format!(
        "TRUNCATE billing_accounts, billing_slots;
         INSERT INTO billing_accounts (id, kind, platform_id, owner_id, free_usd, free_tokens,
           free_display, enforce, blocked, period_end, created_at, updated_at) VALUES {}",
        rows.join(", ")
    );
    store.0.writer.execute_unprepared(&statement).await.unwrap();
}

/// What the statement grants is what the function grants, whatever is asked of whatever account.
#[test]
fn the_statement_grants_what_the_function_grants() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let (store, database) = runtime.block_on(store());
    let open = |instance: u128| {
        let instance = uuid::Uuid::from_u128(instance);
        let (scope, ttl) = (SweeperScope::engine(), Duration::from_secs(600));
        runtime
            .block_on(async { store.open_node(&scope, instance, "n", ttl).await })
            .unwrap()
    };
    // Three nodes that live: what is left over is divided by six.
    let nodes: Vec<NodeId> = (0..3).map(open).collect();
    let seq = std::cell::Cell::new(0);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 24,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let checked = runner.run(&prop::collection::vec(case(), 1..200), |cases| {
        seq.set(seq.get() + 1);
        let batch = LeaseBatch {
            node: nodes[0],
            seq: seq.get(),
            requests: cases
                .iter()
                .zip(1..)
                .map(|(case, id)| LeaseRequest {
                    account: AccountId(id),
                    ..case.request
                })
                .collect(),
        };
        let grants = runtime.block_on(async {
            write(&store, &cases, store.now()).await;
            store.lease(&SweeperScope::engine(), &batch).await.unwrap()
        });
        prop_assert_eq!(grants.len(), cases.len());
        for (index, (case, granted)) in cases.iter().zip(&grants).enumerate() {
            let kind = if index % 2 == 0 {
                AccountKind::Wallet
            } else {
                AccountKind::Budget
            };
            let policy = AccountPolicy {
                kind,
                enforce: Dimensions::from_bits(case.enforce),
                blocked: Blocked::from_number(case.blocked).unwrap(),
                period_end: granted.policy.period_end,
                thresholds: granted.policy.thresholds,
            };
            let returned = case.free.checked_add(case.request.give_back).unwrap();
            let expected = if case.due {
                Amounts::ZERO
            } else {
                grant(returned, &policy, &case.request, 6)
            };
            prop_assert_eq!(granted.granted, expected, "{:?}", case);
            prop_assert_eq!(granted.free, returned.checked_sub(expected).unwrap());
            prop_assert_eq!(granted.policy, policy);
            prop_assert_eq!(granted.reset_due, case.due);
            prop_assert_eq!(granted.elsewhere, Amounts::ZERO);
            prop_assert_eq!(granted.account.0, i64::try_from(index).unwrap() + 1);
        }
        Ok(())
    });
    checked.unwrap();
    runtime.block_on(store.close()).unwrap();
    drop(database);
}

/// A batch in which an amount leaves its range changes nothing, and is refused for good.
#[tokio::test]
async fn an_amount_out_of_range_is_refused_for_good() {
    let (store, _database) = store().await;
    let scope = SweeperScope::engine();
    let ttl = Duration::from_secs(600);
    let node = store
        .open_node(&scope, uuid::Uuid::from_u128(1), "n", ttl)
        .await
        .unwrap();
    let case = Case {
        free: Amounts::from_raw(i64::MAX, 0, 0),
        enforce: 1,
        blocked: 0,
        due: false,
        request: LeaseRequest::giving_back(AccountId(1), Amounts::from_raw(1, 0, 0)),
    };
    write(&store, std::slice::from_ref(&case), store.now()).await;
    let batch = LeaseBatch {
        node,
        seq: 1,
        requests: vec![case.request],
    };
    let refused = store.lease(&scope, &batch).await.unwrap_err();
    assert!(
        matches!(refused, crate::store::StoreError::Corrupt(_)),
        "{refused:?}"
    );
    let position = store
        .lane(&scope, node, crate::billing::Lane::Lease)
        .await
        .unwrap();
    assert_eq!((position.seq, position.fenced), (0, false));
}

/// Every column of an entity's table is one that arrays can carry.
#[test]
fn columns_have_types_that_arrays_carry() {
    use sea_orm::ColumnTrait;
    use sea_orm::sea_query::ColumnType;

    use crate::store::sql::entities::{ledger, slot, stream};

    fn check<C: ColumnTrait + Iterable>() {
        for column in C::iter() {
            let kind = column.def().get_column_type().clone();
            let carried = matches!(
                kind,
                ColumnType::BigInteger
                    | ColumnType::SmallInteger
                    | ColumnType::Uuid
                    | ColumnType::String(_)
                    | ColumnType::Text
            );
            assert!(carried, "{column:?} is {kind:?}");
        }
    }
    check::<ledger::Column>();
    check::<slot::Column>();
    check::<stream::Column>();
}
