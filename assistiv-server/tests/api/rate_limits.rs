//! Rate limits as platforms set them and end users see them.

use serde_json::json;

use crate::support::{App, STORES};

#[tokio::test]
async fn what_applies_says_where_it_comes_from() {
    for store in STORES {
        let app = App::new(store).await;
        let tenant = app.tenant("Mine").await;
        let user = app.user(&tenant, "u").await;
        let (all, own) = (
            tenant.path("/rate-limits"),
            tenant.user_path(&user, "/rate-limits"),
        );
        let none = json!({"rpm_limit": null, "tpm_limit": null, "rpd_limit": null});
        let seen = async |resolution: &str, limits: &serde_json::Value| {
            let mut wanted = limits.clone();
            wanted["resolution"] = json!(resolution);
            assert_eq!(app.get(&tenant.key, &own).await.data(200), wanted);
            assert_eq!(
                app.get(&user.key, "/v1/me/rate-limits").await.data(200),
                wanted
            );
        };
        let unset = json!({"default": null, "aggregate": null});
        assert_eq!(app.get(&tenant.key, &all).await.data(200), unset);
        seen("none", &none).await;

        let default = json!({"rpm_limit": 20, "tpm_limit": 40_000, "rpd_limit": 2_000});
        let body = json!({"default": default});
        let set = app.send(&tenant.key, "PUT", &all, body).await.data(200);
        assert_eq!(set, json!({"default": default, "aggregate": null}));
        seen("default", &default).await;

        // Taken whole: what it leaves out is unlimited, and not inherited.
        let explicit = json!({"rpm_limit": 0, "tpm_limit": null, "rpd_limit": null});
        let body = json!({"rpm_limit": 0});
        app.send(&tenant.key, "PUT", &own, body).await.data(200);
        seen("explicit", &explicit).await;

        let aggregate = json!({"rpm_limit": null, "tpm_limit": 5, "rpd_limit": null});
        let body = json!({"aggregate": {"tpm_limit": 5}});
        let set = app.send(&tenant.key, "PUT", &all, body).await.data(200);
        assert_eq!(set, json!({"default": default, "aggregate": aggregate}));
        seen("explicit", &explicit).await;

        for _ in 0..2 {
            app.delete(&tenant.key, &own).await.no_content();
            seen("default", &default).await;
        }
        let body = json!({"default": null});
        app.send(&tenant.key, "PUT", &all, body).await.data(200);
        seen("none", &none).await;
    }
}

#[tokio::test]
async fn wrong_limits_change_nothing() {
    for store in STORES {
        let app = App::new(store).await;
        let tenant = app.tenant("Mine").await;
        let user = app.user(&tenant, "u").await;
        let (all, own) = (
            tenant.path("/rate-limits"),
            tenant.user_path(&user, "/rate-limits"),
        );
        for (body, fields) in [
            (json!({}), vec!["default"]),
            (json!({"default": 5}), vec!["default"]),
            (json!({"default": {"rpm_limit": -1}}), vec!["default"]),
            (
                json!({"default": {"rpm_limit": 1.5}, "aggregate": {"tpm_limit": "5"}}),
                vec!["default", "aggregate"],
            ),
            (
                json!({"aggregate": {"tpm_limit": 1_000_000_000_001_u64}}),
                vec!["aggregate"],
            ),
        ] {
            let answer = app.send(&tenant.key, "PUT", &all, body).await;
            assert_eq!(answer.bad_fields(), fields);
        }
        let body = json!({"rpm_limit": -1, "tpm_limit": "many", "rpd_limit": 1.0});
        let answer = app.send(&tenant.key, "PUT", &own, body).await;
        assert_eq!(answer.bad_fields(), ["rpm_limit", "tpm_limit", "rpd_limit"]);
        let unset = json!({"default": null, "aggregate": null});
        assert_eq!(app.get(&tenant.key, &all).await.data(200), unset);
        let seen = app.get(&tenant.key, &own).await.data(200);
        assert_eq!(seen["resolution"], "none");
    }
}

#[tokio::test]
async fn limits_are_the_platforms_to_set() {
    for store in STORES {
        let app = App::new(store).await;
        let (tenant, other) = (app.tenant("Mine").await, app.tenant("Other").await);
        let user = app.user(&tenant, "u").await;
        let (all, own) = (
            tenant.path("/rate-limits"),
            tenant.user_path(&user, "/rate-limits"),
        );
        let theirs = format!("{}/end-users/{}/rate-limits", other.path(""), user.id);
        let body = json!({"rpm_limit": 1});
        app.get(&user.key, &own)
            .await
            .refused(403, "wrong_key_type");
        app.get(&user.key, &all)
            .await
            .refused(403, "wrong_key_type");
        app.get(&other.key, &all).await.refused(403, "forbidden");
        app.send(&other.key, "PUT", &own, body.clone())
            .await
            .refused(403, "forbidden");
        app.get(&other.key, &theirs)
            .await
            .refused(404, "end_user_not_found");
        app.send(&other.key, "PUT", &theirs, body)
            .await
            .refused(404, "end_user_not_found");
        app.delete(&other.key, &theirs)
            .await
            .refused(404, "end_user_not_found");
        app.get(&tenant.key, "/v1/me/rate-limits")
            .await
            .refused(403, "wrong_key_type");
    }
}
