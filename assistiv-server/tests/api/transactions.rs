//! Lists of transactions, and their exports.

use std::time::Duration;

use assistiv_core::clock::ManualClock;
use axum::body::Body;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::Request;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tower::ServiceExt;

use crate::doubt::charge_with;
use crate::support::{App, STORES, Setup, Tenant, User, has_exactly, names, text};

const BUDGET_ROW: &str = "id platform_id end_user_id budget_id type source ledger amount_usd max_usd_after \
    used_usd_after remaining_usd_after amount_tokens max_tokens_after used_tokens_after remaining_tokens_after \
    amount_display max_display_after used_display_after reason metadata idempotency_key log_id \
    reversed_transaction_id created_at";
const WALLET_ROW: &str = "id type amount balance_after description created_at log_id end_user_id reversed_transaction_id metadata";

/// A server whose clock stands still, so that tests can let entries settle.
async fn app(store: crate::support::Store) -> (App, ManualClock) {
    let clock = ManualClock::new("2026-05-03T08:00:00Z".parse().unwrap());
    let setup = Setup {
        clock: Some(clock.clone()),
        ..Setup::default()
    };
    (App::with(store, setup).await, clock)
}

fn pass(clock: &ManualClock, seconds: u64) {
    use assistiv_core::clock::{Clock, Timestamp};
    let span = i64::try_from(Duration::from_secs(seconds).as_micros()).unwrap();
    clock.set(Timestamp::from_micros(clock.now().as_micros() + span));
}

/// A platform and an end user with entries of several types, each a second after the one before.
async fn history(app: &App, clock: &ManualClock) -> (Tenant, User) {
    let tenant = app.tenant("Mine").await;
    let user = app.user(&tenant, "u").await;
    let budget = tenant.user_path(&user, "/budget");
    let post = async |path: String, body: Value| {
        pass(clock, 1);
        let answer = app.send(&tenant.key, "POST", &path, body).await;
        answer.data(if path.ends_with("/budget") { 201 } else { 200 })
    };
    post(budget.clone(), json!({"max_usd": 5, "max_tokens": 5000})).await;
    pass(clock, 1);
    let legs = [9_507_000, 10_695_375, 1_801, 2_500_000];
    let charge = charge_with(app, &tenant, Some(&user), legs).await;
    post(
        format!("{budget}/topup"),
        json!({"amount_usd": 1, "reason": "=SUM(A1)", "metadata": {"a": "b, c"}}),
    )
    .await;
    post(format!("{budget}/debit"), json!({"amount_tokens": 7})).await;
    post(
        format!("{budget}/transactions/{charge}/refund"),
        json!({"amount_usd": 0.004278}),
    )
    .await;
    post(
        tenant.path("/wallet/topup"),
        json!({"amount": 2, "description": "-1 \"x\""}),
    )
    .await;
    (tenant, user)
}

async fn rows(app: &App, key: &str, path: &str) -> (Vec<Value>, Value) {
    let answer = app.get(key, path).await;
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.text);
    let body = answer.json();
    (body["data"].as_array().unwrap().clone(), body)
}

fn types(rows: &[Value]) -> Vec<String> {
    rows.iter().map(|row| text(&row["type"])).collect()
}

#[tokio::test]
async fn budget_transactions_show_every_figure() {
    for store in STORES {
        let (app, clock) = app(store).await;
        let (tenant, user) = history(&app, &clock).await;
        let path = tenant.user_path(&user, "/budget/transactions");
        let (found, body) = rows(&app, &tenant.key, &path).await;
        assert_eq!(
            (&body["total"], &body["page"], &body["limit"]),
            (&json!(6), &json!(1), &json!(20))
        );
        let shown: Vec<_> = found
            .iter()
            .map(|row| {
                (
                    text(&row["type"]),
                    text(&row["ledger"]),
                    text(&row["source"]),
                )
            })
            .collect();
        let row = |kind: &str, ledger: &str, source: &str| {
            (kind.to_owned(), ledger.to_owned(), source.to_owned())
        };
        assert_eq!(
            shown,
            [
                row("refund", "budget", "manual"),
                row("debit", "budget", "manual"),
                row("topup", "budget", "manual"),
                row("debit", "display", "inference"),
                row("debit", "budget", "inference"),
                row("opening_balance", "budget", "manual"),
            ]
        );
        for row in &found {
            has_exactly(row, BUDGET_ROW);
            assert_eq!(row["budget_id"], found[0]["budget_id"]);
            assert_eq!(row["end_user_id"], json!(user.id));
        }
        let answer = app
            .get(&tenant.key, &format!("{path}?source=inference"))
            .await;
        for shown in [
            "\"amount_usd\":0.010695375,\"max_usd_after\":5.000000,\"used_usd_after\":0.010695375,\
             \"remaining_usd_after\":4.989304625,\"amount_tokens\":1801,\"max_tokens_after\":5000,\
             \"used_tokens_after\":1801,\"remaining_tokens_after\":3199,\"amount_display\":null,\
             \"max_display_after\":null,\"used_display_after\":null",
            "\"amount_usd\":0.000000,\"max_usd_after\":5.000000,\"used_usd_after\":0.010695375,\
             \"remaining_usd_after\":4.989304625,\"amount_tokens\":0,\"max_tokens_after\":5000,\
             \"used_tokens_after\":1801,\"remaining_tokens_after\":3199,\"amount_display\":2.5,\
             \"max_display_after\":null,\"used_display_after\":2.5",
        ] {
            assert!(answer.text.contains(shown), "{shown}: {}", answer.text);
        }
        let (display, charge) = (&found[3], &found[4]);
        assert_ne!(display["id"], charge["id"]);
        assert_eq!(display["log_id"], charge["id"]);
        assert_eq!(found[0]["reversed_transaction_id"], charge["id"]);
    }
}

#[tokio::test]
async fn filters_leave_out_and_change_nothing() {
    for store in STORES {
        let (app, clock) = app(store).await;
        let (tenant, user) = history(&app, &clock).await;
        let path = tenant.user_path(&user, "/budget/transactions");
        let (all, _) = rows(&app, &tenant.key, &path).await;
        for (query, wanted) in [
            ("type=debit", vec![1, 3, 4]),
            ("type=refund", vec![0]),
            ("type=suspend", vec![]),
            ("source=manual", vec![0, 1, 2, 5]),
            ("source=mcp", vec![]),
            ("ledger=display", vec![3]),
            ("ledger=budget&type=debit", vec![1, 4]),
            ("idempotency_key=none", vec![]),
            ("from=2026-05-03T08:00:03Z", vec![0, 1, 2]),
            (
                "from=2026-05-03T08:00:02Z&to=2026-05-03T08:00:04Z",
                vec![2, 3, 4],
            ),
            ("limit=2&page=2", vec![2, 3]),
        ] {
            let (found, body) = rows(&app, &tenant.key, &format!("{path}?{query}")).await;
            let expected: Vec<_> = wanted.iter().map(|index| all[*index].clone()).collect();
            assert_eq!(found, expected, "{query}");
            if !query.starts_with("limit") {
                assert_eq!(body["total"], json!(expected.len()), "{query}");
            }
        }
        let bad = format!("{path}?type=x&source=y&ledger=z&from=now&page=0");
        assert_eq!(
            app.get(&tenant.key, &bad).await.bad_fields(),
            ["type", "source", "ledger", "from", "page"]
        );

        let path = tenant.path("/wallet/transactions");
        let (all, body) = rows(&app, &tenant.key, &path).await;
        assert_eq!(body["total"], json!(4));
        assert_eq!(types(&all), ["top_up", "refund", "llm_usage", "top_up"]);
        has_exactly(&all[0], WALLET_ROW);
        for (query, wanted) in [
            ("type=llm_usage", vec![2]),
            ("type=mcp_usage", vec![]),
            ("type=adjustment", vec![]),
            ("type=top_up", vec![0, 3]),
            (&format!("end_user_id={}", user.id), vec![1, 2]),
            ("to=2026-05-03T08:00:02Z", vec![3]),
        ] {
            let (found, _) = rows(&app, &tenant.key, &format!("{path}?{query}")).await;
            let expected: Vec<_> = wanted.iter().map(|index| all[*index].clone()).collect();
            assert_eq!(found, expected, "{query}");
        }
        let bad = format!("{path}?type=topup&end_user_id=x");
        assert_eq!(
            app.get(&tenant.key, &bad).await.bad_fields(),
            ["type", "end_user_id"]
        );
    }
}

#[tokio::test]
async fn a_user_without_a_budget_has_no_transactions() {
    for store in STORES {
        let app = App::new(store).await;
        let tenant = app.tenant("Mine").await;
        let user = app.user(&tenant, "u").await;
        let path = tenant.user_path(&user, "/budget/transactions");
        app.get(&tenant.key, &path)
            .await
            .refused(404, "budget_not_found");
        app.get(&user.key, "/v1/me/budget/transactions")
            .await
            .refused(404, "budget_not_found");
        app.get(&user.key, &path)
            .await
            .refused(403, "wrong_key_type");
        app.get(&tenant.key, "/v1/me/budget/transactions")
            .await
            .refused(403, "wrong_key_type");
        let stranger = app.tenant("Other").await;
        app.get(&stranger.key, &path)
            .await
            .refused(403, "forbidden");
        // One that is out of force keeps its history.
        let budget = tenant.user_path(&user, "/budget");
        app.send(&tenant.key, "POST", &budget, json!({"max_usd": 1}))
            .await
            .data(201);
        app.delete(&tenant.key, &budget).await.no_content();
        let (found, _) = rows(&app, &tenant.key, &path).await;
        assert_eq!(types(&found), ["adjustment", "opening_balance"]);
    }
}

#[tokio::test]
async fn an_end_user_sees_what_its_platform_lets_it() {
    for store in STORES {
        let (app, clock) = app(store).await;
        let (tenant, user) = history(&app, &clock).await;
        let path = "/v1/me/budget/transactions";
        let (found, body) = rows(&app, &user.key, path).await;
        assert_eq!((found.len(), &body["total"]), (6, &json!(6)));
        has_exactly(&found[0], BUDGET_ROW);
        let own = rows(
            &app,
            &tenant.key,
            &tenant.user_path(&user, "/budget/transactions"),
        )
        .await;
        assert_eq!(found, own.0);

        let view = async |view: &str| {
            let settings = json!({"settings": {"end_user_budget_view": view}});
            app.send(&tenant.key, "PATCH", &tenant.path(""), settings)
                .await
                .data(200);
            rows(&app, &user.key, path).await.0
        };
        let found = view("tokens").await;
        assert_eq!(found.len(), 6);
        let found_display = view("display").await;
        assert_eq!(found_display.len(), 1);
        assert_eq!(found_display[0]["amount_display"], json!(2.5));
        for row in found.iter().chain(&found_display) {
            assert!(
                names(row)
                    .iter()
                    .all(|name| !name.contains("usd") && *name != "metadata"),
                "{row}"
            );
        }
        assert!(names(&found[0]).contains(&"used_tokens_after"));
        assert!(!names(&found_display[0]).contains(&"used_tokens_after"));
        let (none, body) = rows(&app, &user.key, &format!("{path}?ledger=budget")).await;
        assert_eq!((none.len(), &body["total"]), (0, &json!(0)));
    }
}

struct File {
    headers: http::HeaderMap,
    text: String,
    digest: String,
}

async fn export(app: &App, key: &str, path: &str, accept: &str) -> File {
    let request = Request::builder()
        .uri(path)
        .header("authorization", format!("Bearer {key}"))
        .header("accept", accept)
        .body(Body::empty())
        .unwrap();
    let response = app.router().oneshot(request).await.unwrap();
    assert_eq!(response.status().as_u16(), 200);
    let headers = response.headers().clone();
    let body = response.into_body().collect().await.unwrap();
    let trailers = body.trailers().unwrap().clone();
    let bytes = body.to_bytes();
    let digest = format!(
        "sha-256=:{}:",
        BASE64_STANDARD.encode(Sha256::digest(&bytes))
    );
    assert_eq!(trailers["content-digest"], digest);
    File {
        headers,
        text: String::from_utf8(bytes.to_vec()).unwrap(),
        digest,
    }
}

#[tokio::test]
async fn wallets_are_exported() {
    for store in STORES {
        let (app, clock) = app(store).await;
        let (tenant, _) = history(&app, &clock).await;
        let path = tenant.path("/wallet/transactions?limit=1&page=7");
        pass(&clock, 6);
        let file = export(&app, &tenant.key, &path, "text/csv").await;
        for (name, value) in [
            (
                "content-type",
                "text/csv; charset=utf-8; header=present".to_owned(),
            ),
            (
                "content-disposition",
                format!(
                    "attachment; filename=\"wallet-transactions-{}.csv\"",
                    tenant.id
                ),
            ),
            ("x-total-count", "4".to_owned()),
            ("x-assistiv-opening", "balance=\"0.000000\"".to_owned()),
            ("x-assistiv-closing", "balance=\"11.994295667\"".to_owned()),
            ("trailer", "content-digest".to_owned()),
        ] {
            assert_eq!(file.headers[name], value, "{name}");
        }
        let lines: Vec<_> = file.text.split("\r\n").collect();
        assert_eq!(lines.len(), 6);
        assert_eq!(lines[0], WALLET_ROW.replace(' ', ","));
        assert!(
            lines[1].contains(
                ",top_up,2.000000,11.994295667,\"'-1 \"\"x\"\"\",2026-05-03T08:00:06Z,,,,{}"
            ),
            "{}",
            lines[1]
        );
        assert!(
            lines[3].contains(",llm_usage,0.009507,9.990493,"),
            "{}",
            lines[3]
        );
        assert_eq!(lines[5], "");
    }
}

#[tokio::test]
async fn budgets_are_exported_as_they_are_listed() {
    for store in STORES {
        let (app, clock) = app(store).await;
        let (tenant, user) = history(&app, &clock).await;
        let path = tenant.user_path(&user, "/budget/transactions");
        pass(&clock, 6);
        let listed = app.get(&tenant.key, &path).await;
        let file = export(&app, &tenant.key, &path, "application/x-ndjson").await;
        assert_eq!(file.headers["content-type"], "application/x-ndjson");
        assert_eq!(file.headers["x-total-count"], "6");
        assert_eq!(
            file.headers["x-assistiv-closing"],
            "used_usd=\"0.006417375\", max_usd=\"6.000000\", used_tokens=\"1808\", max_tokens=\"5000\", \
             used_display=\"2.5\", max_display=\"0\""
        );
        let lines: Vec<_> = file.text.lines().collect();
        assert_eq!(lines.len(), 6);
        for line in &lines {
            assert!(listed.text.contains(line), "{line}");
        }

        let filtered =
            format!("{path}?type=topup&from=2026-05-03T08:00:02Z&to=2026-05-03T08:00:04Z");
        let file = export(&app, &tenant.key, &filtered, "text/csv").await;
        assert_eq!(file.headers["x-total-count"], "1");
        assert_eq!(
            file.headers["x-assistiv-opening"],
            "used_usd=\"0.000000\", max_usd=\"5.000000\", used_tokens=\"0\", max_tokens=\"5000\", \
             used_display=\"0\", max_display=\"0\""
        );
        let line = file.text.lines().nth(1).unwrap();
        for shown in [",'=SUM(A1),", "\"{\"\"a\"\":\"\"b, c\"\"}\""] {
            assert!(line.contains(shown), "{shown}: {line}");
        }
        // What comes later changes nothing about a period that is over.
        app.send(
            &tenant.key,
            "POST",
            &tenant.user_path(&user, "/budget/debit"),
            json!({"amount_usd": 1}),
        )
        .await
        .data(200);
        pass(&clock, 60);
        let again = export(&app, &tenant.key, &filtered, "text/csv").await;
        assert_eq!((again.text, again.digest), (file.text, file.digest));
    }
}

#[tokio::test]
async fn many_rows_come_in_pages() {
    for store in STORES {
        let (app, clock) = app(store).await;
        let tenant = app.tenant("Mine").await;
        for number in 1..=1_201 {
            let scope = assistiv_core::testing::scopes::platform(tenant.id.parse().unwrap());
            let act = assistiv_core::billing::LedgerAct::TopUpWallet {
                amount: assistiv_core::money::NanoUsd::new(number),
            };
            let context = assistiv_core::testing::fixtures::context();
            let ledger = &app.gateway.stores().ledger;
            ledger
                .apply(&scope, &act, &context, None)
                .await
                .unwrap()
                .unwrap();
        }
        pass(&clock, 6);
        let path = tenant.path("/wallet/transactions");
        let file = export(&app, &tenant.key, &path, "application/x-ndjson").await;
        let lines: Vec<_> = file.text.lines().collect();
        assert_eq!(lines.len(), 1_202);
        assert!(
            lines[0].contains("\"amount\":0.000001201,\"balance_after\":10.000721801,"),
            "{}",
            lines[0]
        );
        assert!(lines[1_201].contains("\"balance_after\":10.000000,"));
    }
}

#[tokio::test]
async fn an_export_that_cannot_begin_is_refused_as_usual() {
    let (app, _) = app(STORES[0]).await;
    let tenant = app.tenant("Mine").await;
    let user = app.user(&tenant, "u").await;
    let path = tenant.user_path(&user, "/budget/transactions");
    for (path, status) in [
        (path, 404),
        (tenant.path("/wallet/transactions?type=x"), 400),
    ] {
        let request = Request::builder()
            .uri(path)
            .header("authorization", format!("Bearer {}", tenant.key))
            .header("accept", "text/csv")
            .body(Body::empty())
            .unwrap();
        let answer = app.raw(request).await;
        assert_eq!(answer.status.as_u16(), status, "{}", answer.text);
        assert_eq!(answer.headers["content-type"], "application/json");
    }
}
