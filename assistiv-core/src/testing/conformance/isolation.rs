//! Tenancy: what one platform owns is, for every other one, as if it were not there.

use super::assert_not_found;
use crate::billing::{ActRefusal, BudgetChanges, LedgerAct, Refund};
use crate::id::EntryId;
use crate::store::{
    EndUserChanges, EndUserFilter, KeyChanges, KeyFilter, LlmConfigChanges, LlmConfigFilter, Page,
    StoredSecret,
};
use crate::tenancy::{EndUser, EndUserRef};
use crate::testing::driver::Driver;
use crate::testing::fixtures;
use crate::testing::world::{Tenant, World};

async fn owner_and_stranger(world: &World) -> (Tenant, EndUser, Tenant) {
    let owner = world.tenant("owner").await;
    let stranger = world.tenant("stranger").await;
    let terms = fixtures::one_time(fixtures::limits(Some(5), Some(100)));
    let ann = world.end_user_with_budget(&owner, "ann", terms).await;
    (owner, ann, stranger)
}

/// End users of another platform are neither read, listed, changed nor removed; the same
/// `external_id` is another user there.
pub async fn another_platform_reaches_no_end_users(world: &World) {
    let (owner, ann, stranger) = owner_and_stranger(world).await;
    let (tenancy, scope) = (&world.stores.tenancy, &stranger.scope);
    assert_not_found(tenancy.end_user(scope, &EndUserRef::Id(ann.id)).await);
    assert_not_found(
        tenancy
            .end_user(scope, &EndUserRef::External("ann".into()))
            .await,
    );
    let filters = [
        EndUserFilter::default(),
        EndUserFilter {
            external_id: Some("ann".into()),
            ..EndUserFilter::default()
        },
        EndUserFilter {
            query: Some("ann".into()),
            ..EndUserFilter::default()
        },
    ];
    for filter in filters {
        let listed = tenancy
            .end_users(scope, &filter, Page::default())
            .await
            .unwrap();
        assert_eq!((listed.total, listed.rows.len()), (0, 0));
    }
    let changes = EndUserChanges {
        is_active: Some(false),
        ..EndUserChanges::default()
    };
    for who in [EndUserRef::Id(ann.id), EndUserRef::External("ann".into())] {
        assert_not_found(tenancy.update_end_user(scope, &who, &changes).await);
    }
    assert_not_found(tenancy.delete_end_user(scope, ann.id).await);
    assert_eq!(
        tenancy
            .end_user(&owner.scope, &EndUserRef::Id(ann.id))
            .await
            .unwrap(),
        ann
    );

    let theirs = world.end_user(&stranger, "ann").await;
    assert_ne!(theirs.id, ann.id);
    tenancy.delete_platform(scope).await.unwrap();
    assert_eq!(
        tenancy
            .end_user(&owner.scope, &EndUserRef::Id(ann.id))
            .await
            .unwrap(),
        ann
    );
}

/// Keys of another platform are neither read, listed, changed nor removed, and none is added for
/// its end users.
pub async fn another_platform_reaches_no_keys(world: &World) {
    let (owner, ann, stranger) = owner_and_stranger(world).await;
    let (keys, scope) = (&world.stores.keys, &stranger.scope);
    let second = fixtures::platform_key(owner.platform.id, world.now());
    keys.create(&owner.scope, second.clone(), 50).await.unwrap();
    let of_ann = fixtures::end_user_key(&ann, world.now());
    keys.create(&owner.scope, of_ann.clone(), 50).await.unwrap();
    for key in [second, of_ann] {
        assert_not_found(keys.key(scope, key.id).await);
        let changes = KeyChanges {
            name: Some("taken".into()),
            is_active: Some(false),
            ..KeyChanges::default()
        };
        assert_not_found(keys.update(scope, key.id, &changes).await);
        assert_not_found(keys.delete(scope, key.id).await);
        assert_eq!(keys.key(&owner.scope, key.id).await.unwrap(), key);
    }
    for end_user_id in [None, Some(ann.id)] {
        let filter = KeyFilter {
            of_end_users: true,
            end_user_id,
            is_active: None,
        };
        assert_eq!(
            keys.list(scope, &filter, Page::default())
                .await
                .unwrap()
                .total,
            0
        );
    }
    let stray = fixtures::end_user_key(&ann, world.now());
    assert_not_found(keys.create(scope, stray.clone(), 50).await);
    assert_not_found(keys.key(&owner.scope, stray.id).await);
}

/// LLM configs of another platform are neither read, listed, changed nor removed.
pub async fn another_platform_reaches_no_llm_configs(world: &World) {
    let (owner, _, stranger) = owner_and_stranger(world).await;
    let (configs, scope) = (&world.stores.llm_configs, &stranger.scope);
    let config = fixtures::llm_config(owner.platform.id, "openai", world.now());
    let secret = StoredSecret(vec![1, 2, 3]);
    let config = configs
        .create(&owner.scope, config, secret.clone())
        .await
        .unwrap();
    assert_not_found(configs.config(scope, config.id).await);
    let filter = LlmConfigFilter::default();
    let listed = configs.list(scope, &filter, Page::default()).await;
    assert_eq!(listed.unwrap().total, 0);
    assert!(configs.active(scope).await.unwrap().is_empty());
    let changes = LlmConfigChanges {
        is_active: Some(false),
        ..LlmConfigChanges::default()
    };
    let stolen = Some(StoredSecret(vec![6, 6, 6]));
    assert_not_found(configs.update(scope, config.id, &changes, stolen).await);
    assert_not_found(configs.delete(scope, config.id).await);
    assert_eq!(
        configs.active(&owner.scope).await.unwrap(),
        [(config, secret)]
    );
}

/// Balances, budgets, entries and charges of another platform cannot be read.
pub async fn another_platform_reaches_no_ledger(world: &World) {
    let (owner, ann, stranger) = owner_and_stranger(world).await;
    let (ledger, scope) = (&world.stores.ledger, &stranger.scope);
    let mut node = Driver::start(world).await;
    node.demand(world, owner.wallet, fixtures::usd(2)).await;
    let payers = world.payers(&owner, Some(&ann)).await;
    let charge = fixtures::charge(&payers, fixtures::cost(1, 10), world.now());
    node.settle(world, &node.charges(vec![charge.clone()]))
        .await;

    assert!(
        ledger
            .charge(&owner.scope, charge.uid)
            .await
            .unwrap()
            .is_some()
    );
    assert!(ledger.charge(scope, charge.uid).await.unwrap().is_none());
    assert!(
        ledger
            .budget_account(scope, ann.id)
            .await
            .unwrap()
            .is_none()
    );
    // Whether the user is told to be unknown or to have nothing is the backend's choice.
    let budget = ledger.budget(scope, ann.id).await;
    assert!(
        budget.is_err() || matches!(budget, Ok(None)),
        "read {budget:?}"
    );
    let entries = ledger.budget_entries(scope, ann.id, Page::default()).await;
    assert!(entries.is_err() || entries.is_ok_and(|listed| listed.total == 0));
    assert_eq!(
        ledger.wallet(scope).await.unwrap().platform_id,
        stranger.platform.id
    );
    assert_eq!(world.balance(&stranger).await, fixtures::dollars(10));
    let entries = world.wallet_entries(&stranger).await;
    assert_eq!(
        entries.len(),
        1,
        "a stranger's wallet shows another's charges"
    );
}

/// No act of one platform reaches a budget of another, nor does its key there.
pub async fn another_platform_cannot_act(world: &World) {
    let (owner, ann, stranger) = owner_and_stranger(world).await;
    let (ledger, end_user) = (&world.stores.ledger, ann.id);
    let amounts = fixtures::limits(Some(1), Some(1));
    let budget = fixtures::new_budget(fixtures::one_time(amounts));
    let changes = Box::new(BudgetChanges {
        is_suspended: Some(true),
        ..BudgetChanges::default()
    });
    let acts = [
        LedgerAct::CreateBudget { end_user, budget },
        LedgerAct::UpdateBudget { end_user, changes },
        LedgerAct::RemoveBudget { end_user },
        LedgerAct::TopUpBudget { end_user, amounts },
        LedgerAct::DebitBudget { end_user, amounts },
        LedgerAct::RefundDebit {
            end_user,
            debit: EntryId::new(),
            refund: Refund::Rest,
        },
    ];
    let before = (world.budget(&owner, &ann).await, world.audit().await);
    for (number, act) in acts.into_iter().enumerate() {
        let key = fixtures::repeatable(number as u8, 0);
        let applied = ledger
            .apply(&stranger.scope, &act, &fixtures::context(), Some(key))
            .await;
        assert_not_found(applied);
    }
    assert_eq!(
        (world.budget(&owner, &ann).await, world.audit().await),
        before
    );

    let act = LedgerAct::RemoveBudget {
        end_user: world.end_user(&stranger, "ann").await.id,
    };
    let refused = world.try_apply(&stranger, &act).await;
    assert_eq!(refused, Err(ActRefusal::BudgetNotFound));
    world.budget(&owner, &ann).await;
}
