use super::*;
use crate::billing::{
    AccountKind, Amounts, BudgetLegs, BudgetTerms, EntryKind, EntrySource, Lane, LeaseBatch,
    LeaseRequest, LedgerAct, LedgerEntry, Legs, Limits, NewBudget, OpenStream, Period, SettleBatch,
    Sweep, UnconfirmedDelivery,
};
use crate::id::{AccountId, BudgetId, ModelId, NodeId, PriceId};

pub(super) fn usd(amount: i64) -> Amounts {
    Amounts::from_raw(amount, 0, 0)
}

pub(super) fn new_budget(usd: i64, period: Period) -> NewBudget {
    let limits = Limits {
        usd: Some(NanoUsd::new(usd)),
        tokens: None,
    };
    NewBudget {
        id: BudgetId::new(),
        opening: EntryId::new(),
        terms: BudgetTerms {
            limits,
            period,
            timezone: Default::default(),
            auto_replenish: false,
            replenish: Limits::default(),
            low_balance: Limits::default(),
        },
        max_display: None,
    }
}

pub(super) fn charge(
    scope: &PlatformScope,
    wallet: (AccountId, i64),
    budget: Option<(AccountId, i64)>,
) -> LedgerEntry {
    LedgerEntry {
        uid: EntryId::new(),
        kind: EntryKind::Charge,
        source: EntrySource::Inference,
        platform_id: scope.platform_id(),
        end_user_id: None,
        wallet: Some((wallet.0, NanoUsd::new(-wallet.1))),
        budget: budget.map(|(account, spent)| BudgetLegs {
            account,
            remaining: usd(-spent),
            limit: Amounts::ZERO,
        }),
        refers_to: None,
        flags: Default::default(),
        posted_by: None,
        metered: None,
        idempotency_key: None,
        actor: None,
        reason: None,
        metadata: RawObject::new(),
        created_at: Timestamp::from_micros(0),
    }
}

impl Bench {
    pub(super) async fn node(&self) -> NodeId {
        self.store
            .open_node(
                &engine(),
                uuid::Uuid::now_v7(),
                "test",
                std::time::Duration::from_secs(10),
            )
            .await
            .unwrap()
    }

    pub(super) async fn wallet_account(&self, scope: &PlatformScope) -> AccountId {
        let audit = self.store.audit(&operator()).await.unwrap();
        let of_platform = |a: &&crate::billing::AccountAudit| a.platform_id == scope.platform_id();
        audit
            .iter()
            .filter(of_platform)
            .find(|a| a.kind == AccountKind::Wallet)
            .unwrap()
            .account
    }

    pub(super) async fn budget(
        &self,
        scope: &PlatformScope,
        budget: NewBudget,
    ) -> (EndUserId, AccountId) {
        let end_user = self.end_user(scope, "u").await;
        let act = LedgerAct::CreateBudget { end_user, budget };
        let applied = self
            .store
            .apply(scope, &act, &context(), None)
            .await
            .unwrap()
            .unwrap();
        (end_user, applied.account.unwrap())
    }

    pub(super) async fn settle(
        &self,
        node: NodeId,
        seq: i64,
        entries: Vec<LedgerEntry>,
    ) -> Result<(), StoreError> {
        let mut debits = std::collections::BTreeMap::<AccountId, Amounts>::new();
        for entry in &entries {
            let wallet = entry.wallet.map(|(id, amount)| (id, Amounts::usd(amount)));
            for (id, change) in wallet
                .into_iter()
                .chain(entry.budget.map(|legs| (legs.account, legs.remaining)))
            {
                let sum = debits.entry(id).or_default();
                *sum = sum.checked_sub(change).unwrap();
            }
        }
        let batch = SettleBatch {
            node,
            seq,
            delivered_seq: seq - 1,
            opened: vec![],
            closed: vec![],
            entries,
            debits: debits.into_iter().collect(),
        };
        self.store.settle(&engine(), &batch).await
    }
}

#[tokio::test]
async fn a_batch_applies_once_and_in_order() {
    let bench = Bench::new().await;
    let scope = bench.platform("acme", 1000).await;
    let wallet = bench.wallet_account(&scope).await;
    let node = bench.node().await;
    let entries: Vec<_> = (0..200)
        .map(|_| charge(&scope, (wallet, 1), None))
        .collect();
    let lost = |result: Result<(), StoreError>| {
        assert!(matches!(result, Err(StoreError::Lost { .. })), "{result:?}")
    };
    lost(bench.settle(node, 2, entries.clone()).await);
    bench.settle(node, 1, entries.clone()).await.unwrap();
    lost(bench.settle(node, 1, entries.clone()).await);
    lost(bench.settle(NodeId(99), 1, entries.clone()).await);
    let again = bench.settle(node, 2, entries[..1].to_vec()).await;
    assert!(
        matches!(again, Err(StoreError::Conflict("ledger entry"))),
        "{again:?}"
    );
    let position = bench
        .store
        .lane(&engine(), node, Lane::Settle)
        .await
        .unwrap();
    assert_eq!((position.seq, position.fenced), (1, false));
    assert_eq!(
        bench.store.wallet(&scope).await.unwrap().balance,
        NanoUsd::new(800)
    );
    let stored = bench
        .store
        .charge(&scope, entries[7].uid)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (stored.posted_by, stored.created_at),
        (Some((node, 1)), bench.now())
    );
    let other = bench.platform("other", 0).await;
    assert!(
        bench
            .store
            .charge(&other, entries[7].uid)
            .await
            .unwrap()
            .is_none()
    );
    bench.assert_balanced().await;
}

#[tokio::test]
async fn a_lease_moves_what_is_free() {
    let bench = Bench::new().await;
    let scope = bench.platform("acme", 1000).await;
    let wallet = bench.wallet_account(&scope).await;
    let node = bench.node().await;
    let ask = |account, demand, target| LeaseRequest {
        account,
        demand: usd(demand),
        target: usd(target),
        available: Amounts::ZERO,
        give_back: Amounts::ZERO,
        check: false,
    };
    let lease = async |seq, requests| {
        bench
            .store
            .lease(
                &engine(),
                &LeaseBatch {
                    node,
                    seq,
                    requests,
                },
            )
            .await
    };
    let grants = lease(1, vec![ask(wallet, 100, 300), ask(AccountId(77), 5, 5)])
        .await
        .unwrap();
    assert_eq!(grants.len(), 1, "an unknown account gets nothing");
    assert_eq!((grants[0].granted, grants[0].free), (usd(300), usd(700)));
    assert!(matches!(
        lease(1, vec![]).await,
        Err(StoreError::Lost { .. })
    ));
    let grants = lease(2, vec![LeaseRequest::giving_back(wallet, usd(250))])
        .await
        .unwrap();
    assert_eq!(
        (grants[0].granted, grants[0].free),
        (Amounts::ZERO, usd(950))
    );
    let audit = bench.store.audit(&operator()).await.unwrap();
    assert_eq!((audit[0].free, audit[0].slots), (usd(950), usd(50)));
    bench.store.close_node(&engine(), node).await.unwrap();
    bench.store.close_node(&engine(), node).await.unwrap();
    assert!(matches!(
        lease(3, vec![]).await,
        Err(StoreError::Lost { .. })
    ));
    let audit = bench.store.audit(&operator()).await.unwrap();
    assert_eq!((audit[0].free, audit[0].slots), (usd(1000), Amounts::ZERO));
    assert!(
        bench
            .store
            .sweep(&engine(), Sweep::All, UnconfirmedDelivery::Stands)
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn a_dead_node_is_charged_what_was_recorded() {
    let bench = Bench::new().await;
    let scope = bench.platform("acme", 1000).await;
    let wallet = bench.wallet_account(&scope).await;
    let (_, budget) = bench.budget(&scope, new_budget(500, Period::OneTime)).await;
    let node = bench.node().await;
    let mut stream = OpenStream {
        log_id: EntryId::new(),
        platform_id: scope.platform_id(),
        end_user_id: None,
        wallet,
        budget: Some(budget),
        accrued: Legs {
            wallet: NanoUsd::new(1),
            budget: usd(2),
        },
        held: Legs {
            wallet: NanoUsd::new(50),
            budget: usd(60),
        },
        price_id: PriceId::new(),
        model_id: ModelId::new(),
    };
    let mut batch = SettleBatch {
        node,
        seq: 1,
        delivered_seq: 0,
        opened: vec![stream.clone()],
        closed: vec![],
        entries: vec![],
        debits: vec![],
    };
    bench.store.settle(&engine(), &batch).await.unwrap();
    stream.accrued = Legs {
        wallet: NanoUsd::new(10),
        budget: usd(20),
    };
    (batch.seq, batch.opened) = (2, vec![stream.clone()]);
    bench.store.settle(&engine(), &batch).await.unwrap();
    bench
        .settle(
            node,
            3,
            vec![charge(&scope, (wallet, 5), Some((budget, 6)))],
        )
        .await
        .unwrap();
    bench
        .settle(node, 4, vec![charge(&scope, (wallet, 5), None)])
        .await
        .unwrap();
    let open = bench.store.audit(&operator()).await.unwrap();
    assert!(open.iter().all(|account| account.open_streams == 1));

    let swept = bench
        .store
        .sweep(&engine(), Sweep::All, UnconfirmedDelivery::Stands)
        .await
        .unwrap();
    assert_eq!(swept.len(), 1);
    assert_eq!(
        (swept[0].streams, swept[0].slots, swept[0].unconfirmed),
        (1, 2, 1)
    );
    assert!(
        bench
            .store
            .sweep(&engine(), Sweep::All, UnconfirmedDelivery::Stands)
            .await
            .unwrap()
            .is_empty()
    );
    assert!(
        bench
            .store
            .lane(&engine(), node, Lane::Settle)
            .await
            .unwrap()
            .fenced
    );
    let crash = bench
        .store
        .charge(&scope, stream.log_id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(crash.wallet, Some((wallet, NanoUsd::new(-10))));
    assert_eq!(crash.budget.unwrap().remaining, usd(-20));
    assert_eq!(crash.flags.bits(), 6);
    let audit = bench.store.audit(&operator()).await.unwrap();
    assert!(
        audit
            .iter()
            .all(|account| account.slots.is_zero() && account.open_streams == 0)
    );
    assert_eq!(audit[0].free, usd(980));
    assert_eq!(audit[1].free, usd(474));
    bench.assert_balanced().await;
}
