//! End users found: by either name, by literal text, page by page.

use super::assert_not_found;
use crate::id::EndUserId;
use crate::store::{EndUserFilter, Page};
use crate::tenancy::EndUserRef;
use crate::testing::fixtures;
use crate::testing::world::{Tenant, World, every};

async fn found(world: &World, tenant: &Tenant, filter: EndUserFilter) -> Vec<String> {
    let listed = world
        .stores
        .tenancy
        .end_users(&tenant.scope, &filter, Page::default())
        .await
        .unwrap();
    assert_eq!(listed.total, listed.rows.len() as u64);
    listed
        .rows
        .into_iter()
        .map(|user| user.external_id)
        .collect()
}

/// The search finds substrings whatever their case; no character is a wildcard.
pub async fn the_user_search_is_literal(world: &World) {
    let acme = world.tenant("acme").await;
    let users = [
        ("u1", Some("100% Ann")),
        ("u2", Some("100 Ann")),
        ("u_3", None),
        ("uX3", None),
        (r"u\4", None),
        ("U5", Some("it's \"Bob\"")),
    ];
    for (external_id, display_name) in users {
        let mut new = fixtures::new_end_user(acme.platform.id, external_id, world.now());
        new.end_user.display_name = display_name.map(str::to_owned);
        world
            .stores
            .tenancy
            .create_end_user(&acme.scope, new)
            .await
            .unwrap();
        world.tick();
    }
    let cases: [(&str, &[&str]); 9] = [
        ("0%", &["u1"]),
        ("%", &["u1"]),
        ("_3", &["u_3"]),
        ("_", &["u_3"]),
        (r"\", &[r"u\4"]),
        ("ANN", &["u2", "u1"]),
        ("u5", &["U5"]),
        ("s \"b", &["U5"]),
        ("zed", &[]),
    ];
    for (query, expected) in cases {
        let filter = EndUserFilter {
            query: Some(query.into()),
            ..EndUserFilter::default()
        };
        assert_eq!(
            found(world, &acme, filter).await,
            expected,
            "searched for {query}"
        );
    }
}

/// The user whose `external_id` is the searched text stands before those that only contain it.
pub async fn an_exact_external_id_comes_first(world: &World) {
    let acme = world.tenant("acme").await;
    for external_id in ["an", "ann", "anna", "joann"] {
        world.end_user(&acme, external_id).await;
        world.tick();
    }
    let filter = EndUserFilter {
        query: Some("ann".into()),
        ..EndUserFilter::default()
    };
    assert_eq!(
        found(world, &acme, filter.clone()).await,
        ["ann", "joann", "anna"]
    );
    let (tenancy, scope) = (&world.stores.tenancy, &acme.scope);
    let paged = every(1, async |page| {
        tenancy.end_users(scope, &filter, page).await
    })
    .await;
    let names: Vec<&str> = paged.iter().map(|user| user.external_id.as_str()).collect();
    assert_eq!(names, ["ann", "joann", "anna"]);
}

/// Filters narrow the list, pages cut it, newest first.
pub async fn users_are_filtered_and_paged(world: &World) {
    let acme = world.tenant("acme").await;
    for number in 0..7 {
        let user = world.end_user(&acme, &format!("u{number}")).await;
        if number % 3 == 0 {
            world.switch_end_user_off(&acme, &user).await;
        }
        world.tick();
    }
    let all = EndUserFilter::default();
    let (tenancy, scope) = (&world.stores.tenancy, &acme.scope);
    for limit in [1, 3, 7, 100] {
        let paged = every(limit, async |page| {
            tenancy.end_users(scope, &all, page).await
        })
        .await;
        let names: Vec<&str> = paged.iter().map(|user| user.external_id.as_str()).collect();
        assert_eq!(names, ["u6", "u5", "u4", "u3", "u2", "u1", "u0"]);
    }
    let inactive = EndUserFilter {
        is_active: Some(false),
        ..all.clone()
    };
    assert_eq!(found(world, &acme, inactive).await, ["u6", "u3", "u0"]);
    let active = EndUserFilter {
        is_active: Some(true),
        ..all.clone()
    };
    assert_eq!(found(world, &acme, active).await, ["u5", "u4", "u2", "u1"]);
    let exactly = EndUserFilter {
        external_id: Some("u4".into()),
        ..all.clone()
    };
    assert_eq!(found(world, &acme, exactly).await, ["u4"]);
    let other_case = EndUserFilter {
        external_id: Some("U4".into()),
        ..all
    };
    assert!(found(world, &acme, other_case).await.is_empty());
}

/// The gateway's id and the platform's own name lead to the same user.
pub async fn users_are_found_by_either_name(world: &World) {
    let acme = world.tenant("acme").await;
    let ann = world.end_user(&acme, "ann:1/2?x=é").await;
    let tenancy = &world.stores.tenancy;
    for by in [
        EndUserRef::Id(ann.id),
        EndUserRef::External(ann.external_id.clone()),
    ] {
        assert_eq!(tenancy.end_user(&acme.scope, &by).await.unwrap(), ann);
    }
    for by in [
        EndUserRef::Id(EndUserId::new()),
        EndUserRef::External("ANN:1/2?x=é".into()),
    ] {
        assert_not_found(tenancy.end_user(&acme.scope, &by).await);
    }
}
