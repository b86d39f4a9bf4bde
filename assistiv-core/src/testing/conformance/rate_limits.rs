//! Rate limits: what is set, and what is counted.

use std::sync::Arc;
use std::time::Duration;

use super::{assert_not_found, at_once};
use crate::clock::Timestamp;
use crate::id::EndUserId;
use crate::limits::{
    LimitType, PlatformRateLimitChanges, PlatformRateLimits, RateLimits, Subject, Take, Taken,
    Window,
};
use crate::store::Changed;
use crate::testing::scopes;
use crate::testing::world::{Tenant, World};

const FEW: RateLimits = RateLimits {
    rpm: Some(2),
    tpm: None,
    rpd: Some(0),
};

fn window(tenant: &Tenant, limit_type: LimitType, now: Timestamp) -> Window {
    Window::at(Subject::Platform(tenant.platform.id), limit_type, now)
}

async fn take(world: &World, wanted: &[(Window, u64, u64)]) -> Taken {
    let wanted = wanted.iter().map(|(window, amount, limit)| Take {
        window: *window,
        amount: *amount,
        limit: *limit,
    });
    let wanted: Vec<_> = wanted.collect();
    world.stores.rate_counters.take(&wanted).await.unwrap()
}

fn taken(used: &[u64], refused: Option<usize>) -> Taken {
    Taken {
        used: used.to_vec(),
        refused,
    }
}

/// What is given replaces what was, and what is not given stays.
pub async fn limits_of_a_platform_are_changed_one_by_one(world: &World) {
    let acme = world.tenant("acme").await;
    let store = &world.stores.rate_limits;
    let set = async || store.rate_limits(&acme.scope).await.unwrap();
    assert_eq!(set().await, PlatformRateLimits::default());
    let change = async |changes: PlatformRateLimitChanges| {
        let changed = store.update_rate_limits(&acme.scope, &changes).await;
        let changed = changed.unwrap();
        assert_eq!(set().await, changed);
        (changed.default, changed.aggregate)
    };
    let default = PlatformRateLimitChanges {
        default: Some(Some(FEW)),
        aggregate: None,
    };
    assert_eq!(change(default).await, (Some(FEW), None));
    let aggregate = PlatformRateLimitChanges {
        default: None,
        aggregate: Some(Some(RateLimits::default())),
    };
    let unlimited = RateLimits::default();
    assert_eq!(change(aggregate).await, (Some(FEW), Some(unlimited)));
    let none = PlatformRateLimitChanges {
        default: Some(None),
        aggregate: None,
    };
    assert_eq!(change(none).await, (None, Some(unlimited)));
}

/// An override is set, read and removed; it goes with its end user, and an update of the user leaves it.
pub async fn an_end_user_has_limits_of_its_own(world: &World) {
    let acme = world.tenant("acme").await;
    let user = world.end_user(&acme, "ann").await;
    let store = &world.stores.rate_limits;
    let own = async || {
        store
            .end_user_rate_limits(&acme.scope, user.id)
            .await
            .unwrap()
    };
    let set = async |limits| {
        let set = store.set_end_user_rate_limits(&acme.scope, user.id, limits);
        set.await.unwrap();
    };
    assert_eq!(own().await, None);
    set(Some(FEW)).await;
    assert_eq!(own().await, Some(FEW));
    world.switch_end_user_off(&acme, &user).await;
    assert_eq!(own().await, Some(FEW));
    set(None).await;
    assert_eq!(own().await, None);

    set(Some(FEW)).await;
    let tenancy = &world.stores.tenancy;
    tenancy.delete_end_user(&acme.scope, user.id).await.unwrap();
    let gone = store.end_user_rate_limits(&acme.scope, user.id).await;
    assert_not_found(gone);
}

/// Whoever finds a key finds the limits of its holders with it.
pub async fn limits_come_with_the_key(world: &World) {
    let acme = world.tenant("acme").await;
    let new = crate::testing::fixtures::new_end_user(acme.platform.id, "ann", world.now());
    let (user, key) = (new.end_user.id, new.key.clone());
    let tenancy = &world.stores.tenancy;
    tenancy.create_end_user(&acme.scope, new).await.unwrap();
    let store = &world.stores.rate_limits;
    let found = async || {
        let scope = scopes::digest();
        let found = world.stores.keys.find_by_digest(&scope, &key.digest);
        let found = found.await.unwrap().unwrap();
        (found.platform_rate_limits, found.end_user_rate_limits)
    };
    assert_eq!(found().await, (PlatformRateLimits::default(), None));
    let changes = PlatformRateLimitChanges {
        default: Some(Some(FEW)),
        aggregate: Some(Some(FEW)),
    };
    let set = store
        .update_rate_limits(&acme.scope, &changes)
        .await
        .unwrap();
    let own = RateLimits {
        tpm: Some(7),
        ..RateLimits::default()
    };
    let written = store.set_end_user_rate_limits(&acme.scope, user, Some(own));
    written.await.unwrap();
    assert_eq!(found().await, (set, Some(own)));
}

/// Another platform neither sees nor changes them, and other nodes hear of changes.
pub async fn limits_stay_on_their_platform_and_are_told(world: &World) {
    let (acme, other) = (world.tenant("acme").await, world.tenant("other").await);
    let user = world.end_user(&acme, "ann").await;
    let store = &world.stores.rate_limits;
    let told = async || {
        let recent = world
            .stores
            .changes
            .recent(&scopes::engine())
            .await
            .unwrap();
        let ours = |change: &&crate::store::Change| {
            change.platform == acme.platform.id && change.what == Changed::Holders
        };
        recent.iter().filter(ours).count()
    };
    let before = told().await;
    let read = store.end_user_rate_limits(&other.scope, user.id).await;
    assert_not_found(read);
    let set = store.set_end_user_rate_limits(&other.scope, user.id, Some(FEW));
    assert_not_found(set.await);
    let nobody = store.set_end_user_rate_limits(&acme.scope, EndUserId::new(), None);
    assert_not_found(nobody.await);
    assert_eq!(told().await, before);

    let set = store.set_end_user_rate_limits(&acme.scope, user.id, Some(FEW));
    set.await.unwrap();
    let changes = PlatformRateLimitChanges {
        default: Some(Some(FEW)),
        aggregate: None,
    };
    store
        .update_rate_limits(&acme.scope, &changes)
        .await
        .unwrap();
    if world.stores.changes.is_shared() {
        assert_eq!(told().await, before + 2);
    }
    let theirs = store.rate_limits(&other.scope).await.unwrap();
    assert_eq!(theirs, PlatformRateLimits::default());

    world
        .stores
        .tenancy
        .delete_platform(&acme.scope)
        .await
        .unwrap();
    assert_not_found(store.rate_limits(&acme.scope).await);
    assert_not_found(store.update_rate_limits(&acme.scope, &changes).await);
}

/// Up to the limit, and not beyond; another window begins at nothing.
pub async fn windows_are_used_up_to_their_limits(world: &World) {
    let acme = world.tenant("acme").await;
    let now = world.now();
    let minute = window(&acme, LimitType::Rpm, now);
    assert_eq!(take(world, &[(minute, 2, 3)]).await, taken(&[2], None));
    assert_eq!(take(world, &[(minute, 2, 3)]).await, taken(&[2], Some(0)));
    assert_eq!(take(world, &[(minute, 1, 3)]).await, taken(&[3], None));
    assert_eq!(take(world, &[(minute, 0, 3)]).await, taken(&[3], None));
    // A limit that was raised since, or lowered.
    assert_eq!(take(world, &[(minute, 1, 4)]).await, taken(&[4], None));
    assert_eq!(take(world, &[(minute, 1, 2)]).await, taken(&[4], Some(0)));

    let later = Timestamp::from_micros(now.as_micros() + 60_000_000);
    let next = window(&acme, LimitType::Rpm, later);
    let tokens = window(&acme, LimitType::Tpm, now);
    assert_eq!(take(world, &[(next, 1, 1)]).await, taken(&[1], None));
    assert_eq!(take(world, &[(tokens, 9, 9)]).await, taken(&[9], None));
    assert_eq!(take(world, &[(minute, 0, 9)]).await, taken(&[4], None));
}

/// One window that is used up keeps all the others from being counted.
pub async fn all_windows_are_taken_from_or_none(world: &World) {
    let acme = world.tenant("acme").await;
    let [minute, tokens, day] = LimitType::ALL.map(|it| window(&acme, it, world.now()));
    let wanted = [(minute, 1, 10), (tokens, 50, 60), (day, 1, 10)];
    assert_eq!(take(world, &wanted).await, taken(&[1, 50, 1], None));
    let refused = taken(&[1, 50, 1], Some(1));
    assert_eq!(take(world, &wanted).await, refused);
    let asked = [(minute, 0, 10), (tokens, 0, 60), (day, 0, 10)];
    assert_eq!(take(world, &asked).await, taken(&[1, 50, 1], None));
}

/// Many at once get what there is, and no more.
pub async fn concurrent_requests_never_exceed_a_limit(world: &World) {
    let acme = world.tenant("acme").await;
    let [minute, tokens, _] = LimitType::ALL.map(|it| window(&acme, it, world.now()));
    let counters = world.stores.rate_counters.clone();
    let wanted: Arc<[Take]> = Arc::new([
        Take {
            window: minute,
            amount: 1,
            limit: 100,
        },
        Take {
            window: tokens,
            amount: 3,
            limit: 50,
        },
    ]);
    let results = at_once(40, |_| {
        let (counters, wanted) = (counters.clone(), wanted.clone());
        async move { counters.take(&wanted).await.unwrap().refused }
    })
    .await;
    let admitted = results.iter().filter(|refused| refused.is_none()).count();
    assert_eq!(admitted, 16);
    let asked = [(minute, 0, 100), (tokens, 0, 50)];
    assert_eq!(take(world, &asked).await, taken(&[16, 48], None));
}

/// What was counted too high or too low is made up, beyond limits and not below nothing.
pub async fn counts_are_corrected(world: &World) {
    let acme = world.tenant("acme").await;
    let [minute, tokens, _] = LimitType::ALL.map(|it| window(&acme, it, world.now()));
    take(world, &[(tokens, 10, 20)]).await;
    let counters = &world.stores.rate_counters;
    counters.add(&[(minute, 5), (tokens, -4)]).await.unwrap();
    let asked = [(minute, 0, 9), (tokens, 0, 99)];
    assert_eq!(take(world, &asked).await, taken(&[5, 6], None));
    counters.add(&[(minute, -9), (tokens, 100)]).await.unwrap();
    let asked = [(minute, 0, 9), (tokens, 0, 999)];
    assert_eq!(take(world, &asked).await, taken(&[0, 106], None));
}

/// Windows that are over for long are forgotten, and no other.
pub async fn old_windows_are_forgotten(world: &World) {
    let acme = world.tenant("acme").await;
    let start = world.now();
    let [minute, _, day] = LimitType::ALL.map(|it| window(&acme, it, start));
    let wanted = [(minute, 1, 9), (day, 1, 9)];
    take(world, &wanted).await;
    let counters = &world.stores.rate_counters;
    counters.prune(start).await.unwrap();
    let asked = [(minute, 0, 9), (day, 0, 9)];
    assert_eq!(take(world, &asked).await, taken(&[1, 1], None));
    world.pass(Duration::from_secs(180));
    let now = world.now();
    assert!(minute.is_over(now) && !day.is_over(now), "the day is young");
    counters.prune(now).await.unwrap();
    assert_eq!(take(world, &asked).await, taken(&[0, 1], None));
    world.pass(Duration::from_secs(90_000));
    counters.prune(world.now()).await.unwrap();
    assert_eq!(take(world, &asked).await, taken(&[0, 0], None));
}
