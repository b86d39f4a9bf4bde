//! Responses: who sees them, what they continue, how long they stay, and turns on threads.

use std::time::Duration;

use crate::auth::CallerScope;
use crate::clock::Timestamp;
use crate::responses::{Keep, NewTurn, ResponseId, StoredResponse};
use crate::testing::scopes;
use crate::testing::world::World;

const DAY: Duration = Duration::from_secs(86_400);

fn later(at: Timestamp, span: Duration) -> Timestamp {
    Timestamp::from_micros(at.as_micros() + i64::try_from(span.as_micros()).unwrap())
}

/// A response of the caller's that expires in a day.
fn made(world: &World, scope: &CallerScope, previous: Option<&StoredResponse>) -> StoredResponse {
    let id = ResponseId::new();
    StoredResponse {
        id,
        platform_id: scope.platform_id(),
        end_user_id: scope.end_user_id(),
        conversation: previous.map_or(id, |previous| previous.conversation),
        previous: previous.map(|previous| previous.id),
        thread: None,
        created_at: world.now(),
        expires_at: later(world.now(), DAY),
        payload: id.to_string().into_bytes(),
    }
}

async fn keep(world: &World, rows: &[&StoredResponse]) {
    let batch: Vec<_> = rows
        .iter()
        .map(|row| Keep::Response((*row).clone()))
        .collect();
    let store = &world.stores.responses;
    store.keep(&scopes::engine(), &batch).await.unwrap();
}

async fn find(world: &World, scope: &CallerScope, id: ResponseId) -> Option<StoredResponse> {
    world.stores.responses.response(scope, id).await.unwrap()
}

async fn chain(world: &World, scope: &CallerScope, id: ResponseId) -> Vec<ResponseId> {
    let rows = world.stores.responses.chain(scope, id).await.unwrap();
    rows.iter().map(|row| row.id).collect()
}

/// A platform with two end users, and another platform.
async fn callers(world: &World) -> [CallerScope; 4] {
    let (acme, other) = (world.tenant("acme").await, world.tenant("other").await);
    let (ann, ben) = (
        world.end_user(&acme, "ann").await,
        world.end_user(&acme, "ben").await,
    );
    let acme = acme.platform.id;
    [
        scopes::caller(acme, Some(ann.id)),
        scopes::caller(acme, Some(ben.id)),
        scopes::caller(acme, None),
        scopes::caller(other.platform.id, None),
    ]
}

/// A caller sees its own, a platform also what its end users have made, and nobody else anything.
pub async fn responses_are_seen_by_their_owners(world: &World) {
    let [ann, ben, acme, other] = callers(world).await;
    let of_ann = made(world, &ann, None);
    let of_acme = made(world, &acme, None);
    keep(world, &[&of_ann, &of_acme]).await;
    assert_eq!(find(world, &ann, of_ann.id).await, Some(of_ann.clone()));
    assert_eq!(find(world, &acme, of_ann.id).await, Some(of_ann.clone()));
    assert_eq!(find(world, &acme, of_acme.id).await, Some(of_acme.clone()));
    for stranger in [&ben, &other] {
        assert_eq!(find(world, stranger, of_ann.id).await, None);
        assert_eq!(find(world, stranger, of_acme.id).await, None);
        assert_eq!(chain(world, stranger, of_ann.id).await, []);
        assert!(
            !world
                .stores
                .responses
                .remove_response(stranger, of_ann.id)
                .await
                .unwrap()
        );
    }
    assert_eq!(find(world, &ann, of_acme.id).await, None);
    // A platform does not go on with what its end users have said.
    assert_eq!(chain(world, &acme, of_ann.id).await, []);
    assert!(
        world
            .stores
            .responses
            .remove_response(&acme, of_ann.id)
            .await
            .unwrap()
    );
    assert_eq!(find(world, &ann, of_ann.id).await, None);
    assert!(
        !world
            .stores
            .responses
            .remove_response(&ann, of_ann.id)
            .await
            .unwrap()
    );
}

/// A chain leads from a response to the beginning, past branches, and ends where one is missing.
pub async fn a_chain_leads_to_the_beginning(world: &World) {
    let [ann, ..] = callers(world).await;
    let first = made(world, &ann, None);
    let second = made(world, &ann, Some(&first));
    let branch = made(world, &ann, Some(&first));
    let third = made(world, &ann, Some(&second));
    keep(world, &[&first, &second, &branch, &third]).await;
    assert_eq!(
        chain(world, &ann, third.id).await,
        [first.id, second.id, third.id]
    );
    assert_eq!(chain(world, &ann, branch.id).await, [first.id, branch.id]);
    assert_eq!(chain(world, &ann, first.id).await, [first.id]);
    assert_eq!(chain(world, &ann, ResponseId::new()).await, []);
    world
        .stores
        .responses
        .remove_response(&ann, second.id)
        .await
        .unwrap();
    assert_eq!(chain(world, &ann, third.id).await, [third.id]);
    assert_eq!(chain(world, &ann, branch.id).await, [first.id, branch.id]);
}

/// What is kept twice stays as it was first.
pub async fn a_response_is_kept_once(world: &World) {
    let [ann, ..] = callers(world).await;
    let row = made(world, &ann, None);
    keep(world, &[&row]).await;
    let again = StoredResponse {
        payload: b"other".to_vec(),
        ..row.clone()
    };
    keep(world, &[&again]).await;
    assert_eq!(find(world, &ann, row.id).await, Some(row));
}

/// Expired responses go, but for those that a live one continues from.
pub async fn expired_responses_go_with_their_conversation(world: &World) {
    let [ann, ..] = callers(world).await;
    let store = &world.stores.responses;
    let alone = made(world, &ann, None);
    let first = made(world, &ann, None);
    let mut second = made(world, &ann, Some(&first));
    second.expires_at = later(world.now(), DAY * 3);
    keep(world, &[&alone, &first, &second]).await;
    let expire = async |days: u32| {
        let now = later(world.now(), DAY * days);
        store
            .expire_responses(&scopes::engine(), now, 10)
            .await
            .unwrap()
    };
    assert_eq!(expire(0).await, 0);
    assert_eq!(expire(2).await, 1);
    assert_eq!(find(world, &ann, alone.id).await, None);
    assert_eq!(chain(world, &ann, second.id).await, [first.id, second.id]);
    assert_eq!(expire(4).await, 2);
    assert_eq!(find(world, &ann, second.id).await, None);
}

/// A thread has one turn at a time, for each caller its own, and goes on after its newest response.
pub async fn a_thread_has_one_turn_at_a_time(world: &World) {
    let [ann, ben, acme, _] = callers(world).await;
    let store = &world.stores.responses;
    let turn = || NewTurn {
        thread: "t".into(),
        id: ResponseId::new(),
        now: world.now(),
        until: later(world.now(), DAY),
    };
    let first = turn();
    assert!(store.begin_turn(&ann, &first).await.unwrap());
    assert!(!store.begin_turn(&ann, &turn()).await.unwrap());
    for other in [&ben, &acme] {
        assert!(store.begin_turn(other, &turn()).await.unwrap());
        assert!(!store.begin_turn(other, &turn()).await.unwrap());
    }
    assert_eq!(store.newest_of_thread(&ann, "t").await.unwrap(), None);
    let mut row = made(world, &ann, None);
    row.thread = Some("t".into());
    let batch = [Keep::Response(row.clone()), Keep::TurnEnded(first.id)];
    store.keep(&scopes::engine(), &batch).await.unwrap();
    assert_eq!(
        store.newest_of_thread(&ann, "t").await.unwrap(),
        Some(row.id)
    );
    for (scope, thread) in [(&ann, "u"), (&ben, "t"), (&acme, "t")] {
        assert_eq!(store.newest_of_thread(scope, thread).await.unwrap(), None);
    }
    assert!(store.begin_turn(&ann, &turn()).await.unwrap());
    // One whose node died ends by itself.
    let late = NewTurn {
        now: later(world.now(), DAY),
        ..turn()
    };
    assert!(store.begin_turn(&ann, &late).await.unwrap());
}

/// Responses go with the end user or the platform that they belong to.
pub async fn responses_go_with_their_owner(world: &World) {
    let (acme, other) = (world.tenant("acme").await, world.tenant("other").await);
    let (ann, ben) = (
        world.end_user(&acme, "ann").await,
        world.end_user(&acme, "ben").await,
    );
    let scope = |end_user| scopes::caller(acme.platform.id, end_user);
    let rows = [Some(ann.id), Some(ben.id), None].map(|id| made(world, &scope(id), None));
    let stranger = scopes::caller(other.platform.id, None);
    let of_other = made(world, &stranger, None);
    keep(world, &[&rows[0], &rows[1], &rows[2], &of_other]).await;
    let tenancy = &world.stores.tenancy;
    tenancy.delete_end_user(&acme.scope, ann.id).await.unwrap();
    let left = async || {
        let mut left = Vec::new();
        for row in &rows {
            left.push(find(world, &scope(None), row.id).await.is_some());
        }
        left
    };
    assert_eq!(left().await, [false, true, true]);
    tenancy.delete_platform(&acme.scope).await.unwrap();
    assert_eq!(left().await, [false, false, false]);
    assert!(find(world, &stranger, of_other.id).await.is_some());
}
