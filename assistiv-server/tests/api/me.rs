//! Self-service.

use serde_json::json;

use crate::support::{App, STORES, has_exactly};

const WHOSE: &str =
    "id platform_id end_user_id period period_start period_end is_active is_suspended";

#[tokio::test]
async fn an_end_user_sees_itself() {
    for store in STORES {
        let app = App::new(store).await;
        let tenant = app.tenant("Mine").await;
        let user = app.user(&tenant, "u").await;
        let me = app.get(&user.key, "/v1/me").await.data(200);
        has_exactly(
            &me,
            "id platform_id external_id display_name metadata is_active created_at",
        );
        assert_eq!(
            (&me["id"], &me["platform_id"]),
            (&json!(user.id), &json!(tenant.id))
        );
    }
}

#[tokio::test]
async fn the_view_of_the_budget_is_the_platforms_choice() {
    for store in STORES {
        let app = App::new(store).await;
        let tenant = app.tenant("Mine").await;
        let user = app.user(&tenant, "u").await;
        let budget = tenant.user_path(&user, "/budget");
        let view = async |view: &str| {
            let body = json!({"settings": {"end_user_budget_view": view}});
            app.send(&tenant.key, "PATCH", &tenant.path(""), body)
                .await
                .data(200);
            app.get(&user.key, "/v1/me/budget").await
        };
        view("auto").await.refused(404, "budget_not_found");
        app.send(
            &tenant.key,
            "POST",
            &budget,
            json!({"max_usd": 12, "max_tokens": 3}),
        )
        .await
        .data(201);
        app.send(
            &tenant.key,
            "POST",
            &format!("{budget}/debit"),
            json!({"amount_tokens": 3}),
        )
        .await
        .data(200);
        app.send(&tenant.key, "PATCH", &budget, json!({"is_suspended": true}))
            .await
            .data(200);

        let usd = view("auto").await;
        assert!(
            usd.text
                .contains("\"max_usd\":12.000000,\"used_usd\":0.000000,"),
            "{}",
            usd.text
        );
        let usd = usd.data(200);
        let members =
            "max_usd used_usd remaining_usd max_tokens used_tokens remaining_tokens auto_replenish";
        has_exactly(&usd, &format!("{WHOSE} {members}"));
        assert_eq!(usd["is_suspended"], true);
        let tokens = view("tokens").await;
        assert!(!tokens.text.contains("usd"), "{}", tokens.text);
        let tokens = tokens.data(200);
        has_exactly(
            &tokens,
            &format!("{WHOSE} max_tokens used_tokens remaining_tokens auto_replenish is_exhausted"),
        );
        assert_eq!(
            (&tokens["remaining_tokens"], &tokens["is_exhausted"]),
            (&json!(0), &json!(true))
        );
        let display = view("display").await;
        assert!(
            !display.text.contains("usd") && !display.text.contains("12.0"),
            "{}",
            display.text
        );
        let display = display.data(200);
        has_exactly(
            &display,
            &format!("{WHOSE} unit max used remaining is_exhausted"),
        );
        assert_eq!(
            (&display["max"], &display["is_exhausted"]),
            (&json!(null), &json!(true))
        );

        app.send(&tenant.key, "PATCH", &budget, json!({"max_usd": null}))
            .await
            .data(200);
        assert!(
            view("auto").await.data(200).get("max_usd").is_none(),
            "tokens when there is no USD limit"
        );
    }
}
