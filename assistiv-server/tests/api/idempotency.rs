//! Repeated requests.

use std::sync::Arc;

use serde_json::json;
use tokio::task::JoinSet;

use crate::support::{Answer, App, STORES, Tenant, User};

const BUDGET: &str = r#"{"max_usd":100,"max_tokens":1000}"#;

async fn with_budget(app: &App) -> (Tenant, User, String) {
    let tenant = app.tenant("Mine").await;
    let user = app.user(&tenant, "u").await;
    let budget = tenant.user_path(&user, "/budget");
    app.send(&tenant.key, "POST", &budget, BUDGET)
        .await
        .data(201);
    (tenant, user, budget)
}

async fn send(
    app: &App,
    key: &str,
    method: &str,
    path: &str,
    body: &str,
    idempotency: &str,
) -> Answer {
    app.send_with(key, method, path, body, &[("idempotency-key", idempotency)])
        .await
}

fn is_replay(answer: &Answer) -> bool {
    answer
        .headers
        .get("idempotent-replayed")
        .is_some_and(|value| value == "true")
}

#[tokio::test]
async fn a_repeat_gets_the_same_bytes_and_has_no_effect() {
    for store in STORES {
        let app = App::new(store).await;
        let (tenant, _, budget) = with_budget(&app).await;
        for (method, path, body, same) in [
            (
                "POST",
                tenant.path("/wallet/topup"),
                r#"{"amount":5,"description":"x"}"#,
                r#"{"description":"x","amount":5.0}"#,
            ),
            (
                "POST",
                format!("{budget}/topup"),
                r#"{"metadata":{"a":[1, 2.50]},"amount_usd":5}"#,
                r#"{ "amount_usd": 5.00, "metadata": {"a":[1.0,2.5]} }"#,
            ),
            (
                "POST",
                format!("{budget}/debit"),
                r#"{"amount_usd":"1","amount_tokens":2}"#,
                r#"{"amount_tokens":2,"amount_usd":"1"}"#,
            ),
            (
                "PATCH",
                budget.clone(),
                r#"{"max_usd":50,"is_suspended":true}"#,
                r#"{"is_suspended":true,"max_usd":50.0}"#,
            ),
        ] {
            let first = send(&app, &tenant.key, method, &path, body, "one").await;
            first.data(200);
            assert!(!is_replay(&first));
            for body in [body, same] {
                let again = send(&app, &tenant.key, method, &path, body, "one").await;
                assert!(is_replay(&again), "{method} {path}");
                assert_eq!(again.text, first.text);
                assert_eq!(again.status, first.status);
            }
            let other = format!("{},\"reason\":\"another\"}}", body.trim_end_matches('}'));
            let other = send(&app, &tenant.key, method, &path, &other, "one").await;
            other.refused(409, "idempotency_key_reused");
            assert_eq!(other.headers["x-should-retry"], "false");
        }
        let read = app.get(&tenant.key, &budget).await.data(200);
        assert_eq!(
            (&read["max_usd"], &read["used_usd"], &read["used_tokens"]),
            (&json!(50.0), &json!(1.0), &json!(2))
        );
        let wallet = app
            .get(&tenant.key, &tenant.path("/wallet"))
            .await
            .data(200);
        assert_eq!(wallet["balance"], json!(15.0));
    }
}

#[tokio::test]
async fn a_refused_request_leaves_the_key_unused() {
    for store in STORES {
        let app = App::new(store).await;
        let (tenant, _, budget) = with_budget(&app).await;
        let path = format!("{budget}/topup");
        send(
            &app,
            &tenant.key,
            "POST",
            &path,
            r#"{"amount_usd":-1}"#,
            "k",
        )
        .await
        .bad_fields();
        let beyond = r#"{"amount_usd":999999999}"#;
        send(&app, &tenant.key, "POST", &path, beyond, "k")
            .await
            .refused(400, "validation_failed");
        let first = send(&app, &tenant.key, "POST", &path, r#"{"amount_usd":1}"#, "k").await;
        first.data(200);
        assert!(!is_replay(&first));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_at_once_have_one_effect_and_one_answer() {
    for store in STORES {
        let app = Arc::new(App::new(store).await);
        let (tenant, _, budget) = with_budget(&app).await;
        for (path, body) in [
            (format!("{budget}/topup"), r#"{"amount_usd":1}"#),
            (tenant.path("/wallet/topup"), r#"{"amount":1}"#),
        ] {
            let mut running = JoinSet::new();
            for _ in 0..32 {
                let (app, key, path) = (app.clone(), tenant.key.clone(), path.clone());
                running.spawn(async move { send(&app, &key, "POST", &path, body, "many").await });
            }
            let answers = running.join_all().await;
            assert_eq!(
                answers.iter().filter(|answer| !is_replay(answer)).count(),
                1,
                "{path}"
            );
            for answer in &answers {
                assert_eq!(
                    (answer.status.as_u16(), &answer.text),
                    (200, &answers[0].text)
                );
            }
        }
        assert_eq!(
            app.get(&tenant.key, &budget).await.data(200)["max_usd"],
            json!(101.0)
        );
        let wallet = app
            .get(&tenant.key, &tenant.path("/wallet"))
            .await
            .data(200);
        assert_eq!(wallet["balance"], json!(11.0));
    }
}

#[tokio::test]
async fn operations_users_and_platforms_are_independent() {
    for store in STORES {
        let app = App::new(store).await;
        let (tenant, _, budget) = with_budget(&app).await;
        let second = app.user(&tenant, "v").await;
        let second_budget = tenant.user_path(&second, "/budget");
        app.send(&tenant.key, "POST", &second_budget, BUDGET)
            .await
            .data(201);
        let other = app.tenant("Other").await;
        let body = r#"{"amount":1}"#;
        for (key, path) in [
            (&tenant.key, format!("{budget}/topup")),
            (&tenant.key, format!("{budget}/debit")),
            (&tenant.key, format!("{second_budget}/topup")),
            (&tenant.key, tenant.path("/wallet/topup")),
            (&other.key, other.path("/wallet/topup")),
        ] {
            let answer = send(&app, key, "POST", &path, body, "same").await;
            answer.data(200);
            assert!(!is_replay(&answer), "{path}");
        }
    }
}

#[tokio::test]
async fn the_key_has_a_form() {
    let app = App::new(STORES[0]).await;
    let (tenant, _, _) = with_budget(&app).await;
    let path = tenant.path("/wallet/topup");
    for bad in ["", &"x".repeat(256), "a\tb", "ü"] {
        let answer = send(&app, &tenant.key, "POST", &path, r#"{"amount":1}"#, bad).await;
        assert_eq!(answer.bad_fields(), ["Idempotency-Key"], "{bad}");
    }
    let twice = [("idempotency-key", "a"), ("idempotency-key", "a")];
    let answer = app
        .send_with(&tenant.key, "POST", &path, r#"{"amount":1}"#, &twice)
        .await;
    assert_eq!(answer.bad_fields(), ["Idempotency-Key"]);
    let longest = "~".repeat(255);
    send(
        &app,
        &tenant.key,
        "POST",
        &path,
        r#"{"amount":1}"#,
        &longest,
    )
    .await
    .data(200);
}

#[tokio::test]
async fn amounts_that_differ_below_a_doubles_precision_are_different_bodies() {
    for store in STORES {
        let app = App::new(store).await;
        let (tenant, _, _) = with_budget(&app).await;
        let path = tenant.path("/wallet/topup");
        let first = r#"{"amount":99999999.000000001}"#;
        send(&app, &tenant.key, "POST", &path, first, "k")
            .await
            .data(200);
        for other in [
            r#"{"amount":99999999.000000002}"#,
            r#"{"amount":"99999999.000000001"}"#,
        ] {
            let answer = send(&app, &tenant.key, "POST", &path, other, "k").await;
            answer.refused(409, "idempotency_key_reused");
        }
    }
}
