//! Repeated requests.

use std::sync::Arc;

use serde_json::json;
use tokio::task::JoinSet;

use crate::doubt;
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

/// A request that moves money: who sends it, where, and what.
struct Request {
    key: String,
    path: String,
    body: String,
    /// The same request about another amount or in the other way.
    other: String,
}

/// One request for each operation that takes a key, on things of their own.
async fn one_of_each(app: &App) -> (Tenant, String, Vec<Request>) {
    let (tenant, user, budget) = with_budget(app).await;
    let charge = doubt::charge(app, &tenant, Some(&user), 1_000_000_000, 2_000_000_000, 5).await;
    let doubtful = doubt::charge(app, &tenant, None, 3_000_000_000, 0, 5).await;
    doubt::sweep(app).await;
    let request = |key: &str, path: String, body: &str, other: &str| Request {
        key: key.to_owned(),
        path,
        body: body.to_owned(),
        other: other.to_owned(),
    };
    let (own, operator) = (&tenant.key, &app.operator);
    let requests = vec![
        request(
            own,
            tenant.path("/wallet/topup"),
            r#"{"amount":1}"#,
            r#"{"amount":1.000000001}"#,
        ),
        request(
            own,
            format!("{budget}/topup"),
            r#"{"amount_usd":1}"#,
            r#"{"amount_usd":2}"#,
        ),
        request(
            own,
            format!("{budget}/debit"),
            r#"{"amount_usd":1}"#,
            r#"{"amount_usd":1,"amount_tokens":1}"#,
        ),
        request(
            operator,
            format!("/v1/admin/platforms/{}/wallet/adjust", tenant.id),
            r#"{"amount":-0.5,"reason":"x"}"#,
            r#"{"amount":-0.5,"reason":"y"}"#,
        ),
        request(
            own,
            format!("{budget}/transactions/{charge}/refund"),
            r#"{"amount_usd":1}"#,
            r#"{"amount_usd":0.9}"#,
        ),
        request(
            operator,
            format!("/v1/admin/billing/unconfirmed/{doubtful}/resolve"),
            r#"{"resolution":"refund"}"#,
            r#"{"resolution":"stands"}"#,
        ),
    ];
    (tenant, budget, requests)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_at_once_have_one_effect_and_one_answer() {
    for store in STORES {
        let app = Arc::new(App::new(store).await);
        let (tenant, budget, requests) = one_of_each(&app).await;
        // All under one key: each operation is independent of the others.
        for request in requests {
            let Request {
                key,
                path,
                body,
                other,
            } = request;
            let mut running = JoinSet::new();
            for _ in 0..64 {
                let (app, key, path, body) = (app.clone(), key.clone(), path.clone(), body.clone());
                running.spawn(async move { send(&app, &key, "POST", &path, &body, "many").await });
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
            send(&app, &key, "POST", &path, &other, "many")
                .await
                .refused(409, "idempotency_key_reused");
        }
        let read = app.get(&tenant.key, &budget).await.data(200);
        assert_eq!(
            (&read["max_usd"], &read["used_usd"]),
            (&json!(101.0), &json!(2.0))
        );
        // 10 − 4 charged + 1 − 0.5 + half of the first charge + the second.
        let wallet = app
            .get(&tenant.key, &tenant.path("/wallet"))
            .await
            .data(200);
        assert_eq!(wallet["balance"], json!(10.0));
    }
}

#[tokio::test]
async fn the_same_body_about_another_transaction_is_another_request() {
    for store in STORES {
        let app = App::new(store).await;
        let (tenant, user, budget) = with_budget(&app).await;
        let mut refused = Vec::new();
        for number in 0..2 {
            let charge = doubt::charge(&app, &tenant, Some(&user), 1_000, 2_000, 5).await;
            let path = format!("{budget}/transactions/{charge}/refund");
            let answer = send(&app, &tenant.key, "POST", &path, "{}", "same").await;
            match number {
                0 => drop(answer.data(200)),
                _ => refused.push(answer),
            }
        }
        refused[0].refused(409, "idempotency_key_reused");
    }
}

#[tokio::test]
async fn a_refused_refund_or_resolution_leaves_the_key_unused() {
    for store in STORES {
        let app = App::new(store).await;
        let (tenant, _, requests) = one_of_each(&app).await;
        let refund = &requests[4];
        let too_much = r#"{"amount_usd":2.000000001}"#;
        send(&app, &refund.key, "POST", &refund.path, too_much, "k")
            .await
            .refused(409, "already_refunded");
        let adjust = &requests[3];
        let too_much = r#"{"amount":-100,"reason":"x"}"#;
        send(&app, &adjust.key, "POST", &adjust.path, too_much, "k")
            .await
            .refused(409, "insufficient_balance");
        let unknown = format!("/v1/admin/billing/unconfirmed/{}/resolve", tenant.id);
        send(
            &app,
            &adjust.key,
            "POST",
            &unknown,
            r#"{"resolution":"stands"}"#,
            "k",
        )
        .await
        .refused(404, "transaction_not_found");
        for request in &requests {
            let answer = send(
                &app,
                &request.key,
                "POST",
                &request.path,
                &request.body,
                "k",
            )
            .await;
            answer.data(200);
            assert!(!is_replay(&answer), "{}", request.path);
        }
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
        // As doubles, amounts above 9,007,199 USD cannot be told apart by a nano-dollar.
        let first = r#"{"amount":9007199.254740993}"#;
        send(&app, &tenant.key, "POST", &path, first, "k")
            .await
            .data(200);
        for other in [
            r#"{"amount":9007199.254740992}"#,
            r#"{"amount":9007199.254740994}"#,
            r#"{"amount":"9007199.254740993"}"#,
        ] {
            let answer = send(&app, &tenant.key, "POST", &path, other, "k").await;
            answer.refused(409, "idempotency_key_reused");
        }
    }
}
