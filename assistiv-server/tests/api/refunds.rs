//! Refunds, adjustments, and the review of unconfirmed deliveries.

use serde_json::json;

use crate::doubt::{self, charge};
use crate::support::{App, STORES, UNKNOWN, has_exactly, text};

const ITEM: &str = "uid platform_id end_user_id source wallet_usd budget_usd budget_tokens budget_display charged_at \
    node found_at status resolved_at reason";

#[tokio::test]
async fn a_charge_is_refunded_in_parts() {
    for store in STORES {
        let app = App::new(store).await;
        let tenant = app.tenant("Mine").await;
        let user = app.user(&tenant, "u").await;
        let budget = tenant.user_path(&user, "/budget");
        app.send(
            &tenant.key,
            "POST",
            &budget,
            json!({"max_usd": 5, "max_tokens": 5000}),
        )
        .await
        .data(201);
        let charge = charge(&app, &tenant, Some(&user), 9_507_000, 10_695_375, 1_801).await;
        let path = format!("{budget}/transactions/{charge}/refund");
        let refund = async |body: &str| app.send(&tenant.key, "POST", &path, body).await;

        let first = refund(r#"{"amount_usd":0.004278,"reason":"half"}"#).await;
        let data = first.data(200);
        let entry = &data["transaction"];
        has_exactly(
            entry,
            "id type ledger source amount_usd max_usd_after used_usd_after remaining_usd_after amount_tokens \
             max_tokens_after used_tokens_after remaining_tokens_after reason metadata idempotency_key \
             reversed_transaction_id created_at",
        );
        assert_eq!(
            (&entry["type"], &entry["source"], &entry["reason"]),
            (&json!("refund"), &json!("manual"), &json!("half"))
        );
        assert_eq!(text(&entry["reversed_transaction_id"]), charge);
        for shown in [
            "\"amount_usd\":0.004278,",
            "\"used_usd\":0.006417375,",
            "\"used_usd_after\":0.006417375,",
            "\"amount_tokens\":0,",
        ] {
            assert!(first.text.contains(shown), "{shown}: {}", first.text);
        }
        let wallet = app.get(&tenant.key, &tenant.path("/wallet")).await;
        assert!(
            wallet.text.contains("\"balance\":9.994295667,"),
            "{}",
            wallet.text
        );
        let newest = &wallet.data(200)["recent_transactions"][0];
        assert_eq!(
            (&newest["type"], text(&newest["reversed_transaction_id"])),
            (&json!("refund"), charge.clone())
        );

        refund(r#"{"amount_usd":0.006417376}"#)
            .await
            .refused(409, "already_refunded");
        let rest = refund("{}").await;
        rest.data(200);
        assert!(
            rest.text.contains("\"amount_usd\":0.006417375,"),
            "{}",
            rest.text
        );
        assert!(
            rest.text.contains("\"amount_tokens\":1801,"),
            "{}",
            rest.text
        );
        let wallet = app.get(&tenant.key, &tenant.path("/wallet")).await;
        assert!(
            wallet.text.contains("\"balance\":10.000000,"),
            "{}",
            wallet.text
        );
        refund("{}").await.refused(409, "already_refunded");
    }
}

#[tokio::test]
async fn a_refund_needs_no_body_and_may_leave_the_wallet_out() {
    for store in STORES {
        let app = App::new(store).await;
        let tenant = app.tenant("Mine").await;
        let user = app.user(&tenant, "u").await;
        let budget = tenant.user_path(&user, "/budget");
        app.send(&tenant.key, "POST", &budget, json!({"max_usd": 5}))
            .await
            .data(201);
        let kept = charge(&app, &tenant, Some(&user), 1_000, 2_000, 1).await;
        let path = format!("{budget}/transactions/{kept}/refund");
        app.send(&tenant.key, "POST", &path, json!({"refund_wallet": false}))
            .await
            .data(200);
        let debit = app
            .send(
                &tenant.key,
                "POST",
                &format!("{budget}/debit"),
                json!({"amount_usd": 1}),
            )
            .await;
        let debit = text(&debit.data(200)["transaction"]["id"]);
        let request = http::Request::builder()
            .method("POST")
            .uri(format!("{budget}/transactions/{debit}/refund"))
            .header("authorization", format!("Bearer {}", tenant.key));
        let data = app
            .raw(request.body(axum::body::Body::empty()).unwrap())
            .await
            .data(200);
        assert_eq!(data["used_usd"], json!(0.0));
        let wallet = app.get(&tenant.key, &tenant.path("/wallet")).await;
        assert!(
            wallet.text.contains("\"balance\":9.999999000,")
                || wallet.text.contains("\"balance\":9.999999,"),
            "{}",
            wallet.text
        );
    }
}

#[tokio::test]
async fn what_cannot_be_refunded_is_not_found() {
    for store in STORES {
        let app = App::new(store).await;
        let tenant = app.tenant("Mine").await;
        let user = app.user(&tenant, "u").await;
        let other = app.user(&tenant, "v").await;
        for user in [&user, &other] {
            let budget = tenant.user_path(user, "/budget");
            app.send(&tenant.key, "POST", &budget, json!({"max_usd": 5}))
                .await
                .data(201);
        }
        let charge = charge(&app, &tenant, Some(&user), 1_000, 2_000, 1).await;
        let topup = app
            .send(
                &tenant.key,
                "POST",
                &tenant.user_path(&user, "/budget/topup"),
                json!({"amount_usd": 1}),
            )
            .await;
        let topup = text(&topup.data(200)["transaction"]["id"]);
        for (user, entry) in [
            (&user, UNKNOWN),
            (&user, "nonsense"),
            (&user, topup.as_str()),
            (&other, charge.as_str()),
        ] {
            let path = tenant.user_path(user, &format!("/budget/transactions/{entry}/refund"));
            app.send(&tenant.key, "POST", &path, "{}")
                .await
                .refused(404, "transaction_not_found");
        }
        let path = tenant.user_path(&user, &format!("/budget/transactions/{charge}/refund"));
        let bad = json!({"amount_usd": 0, "amount_tokens": -1, "refund_wallet": "x", "reason": 5});
        let bad = app.send(&tenant.key, "POST", &path, bad).await;
        assert_eq!(
            bad.bad_fields(),
            ["amount_usd", "amount_tokens", "reason", "refund_wallet"]
        );
        app.send(&user.key, "POST", &path, "{}")
            .await
            .refused(403, "wrong_key_type");
        let stranger = app.tenant("Other").await;
        app.send(&stranger.key, "POST", &path, "{}")
            .await
            .refused(403, "forbidden");
    }
}

#[tokio::test]
async fn the_operator_adjusts_wallets() {
    for store in STORES {
        let app = App::new(store).await;
        let tenant = app.tenant("Mine").await;
        let path = format!("/v1/admin/platforms/{}/wallet/adjust", tenant.id);
        let adjust = async |body: &str| app.send(&app.operator, "POST", &path, body).await;
        let down = adjust(r#"{"amount":-4.000000001,"reason":"a mistake"}"#).await;
        let data = down.data(200);
        assert_eq!(
            (
                &data["transaction"]["type"],
                &data["transaction"]["description"]
            ),
            (&json!("adjustment"), &json!("a mistake"))
        );
        for shown in ["\"amount\":-4.000000001,", "\"balance\":5.999999999,"] {
            assert!(down.text.contains(shown), "{shown}: {}", down.text);
        }
        adjust(r#"{"amount":"1","reason":"back"}"#).await.data(200);
        adjust(r#"{"amount":-7,"reason":"too much"}"#)
            .await
            .refused(409, "insufficient_balance");
        adjust(r#"{"amount":999999999.999999999,"reason":"too much"}"#)
            .await
            .refused(400, "validation_failed");
        assert_eq!(adjust("{}").await.bad_fields(), ["amount", "reason"]);
        assert_eq!(
            adjust(r#"{"amount":0,"reason":" "}"#).await.bad_fields(),
            ["amount", "reason"]
        );
        let body = json!({"amount": 1, "reason": "mine"});
        app.send(&tenant.key, "POST", &path, &body)
            .await
            .refused(403, "wrong_key_type");
        let unknown = format!("/v1/admin/platforms/{UNKNOWN}/wallet/adjust");
        let answer = app.send(&app.operator, "POST", &unknown, &body).await;
        assert_eq!(answer.status.as_u16(), 404, "{}", answer.text);
    }
}

#[tokio::test]
async fn unconfirmed_deliveries_are_listed_and_resolved() {
    for store in STORES {
        let app = App::new(store).await;
        let tenant = app.tenant("Mine").await;
        let user = app.user(&tenant, "u").await;
        let budget = tenant.user_path(&user, "/budget");
        app.send(&tenant.key, "POST", &budget, json!({"max_usd": 5}))
            .await
            .data(201);
        let stands = charge(&app, &tenant, Some(&user), 9_507_000, 10_695_375, 1_801).await;
        let given = charge(&app, &tenant, None, 1_000_000_000, 0, 5).await;
        doubt::sweep(&app).await;

        let list = "/v1/admin/billing/unconfirmed";
        let listed = app.get(&app.operator, list).await;
        let body = listed.json();
        assert_eq!(
            (&body["total"], &body["page"], &body["limit"]),
            (&json!(2), &json!(1), &json!(20))
        );
        let items = body["data"].as_array().unwrap();
        let item = items.iter().find(|item| item["uid"] == *stands).unwrap();
        has_exactly(item, ITEM);
        assert_eq!(
            (&item["platform_id"], &item["end_user_id"], &item["source"]),
            (&json!(tenant.id), &json!(user.id), &json!("inference"))
        );
        assert_eq!(
            (
                &item["status"],
                &item["resolved_at"],
                &item["budget_tokens"]
            ),
            (&json!("open"), &json!(null), &json!(1801))
        );
        assert!(
            listed
                .text
                .contains("\"wallet_usd\":0.009507,\"budget_usd\":0.010695375,"),
            "{}",
            listed.text
        );
        let bare = items.iter().find(|item| item["uid"] == *given).unwrap();
        assert_eq!(
            (
                &bare["end_user_id"],
                &bare["budget_usd"],
                &bare["budget_display"]
            ),
            (&json!(null), &json!(null), &json!(null))
        );

        let resolve = async |uid: &str, body: &str| {
            let path = format!("{list}/{uid}/resolve");
            app.send(&app.operator, "POST", &path, body).await
        };
        let kept = resolve(&stands, r#"{"resolution":"stands","reason":"seen"}"#).await;
        has_exactly(&kept.data(200), ITEM);
        assert_eq!(
            (&kept.data(200)["status"], &kept.data(200)["reason"]),
            (&json!("stands"), &json!("seen"))
        );
        assert_eq!(
            resolve(&stands, r#"{"resolution":"stands"}"#).await.text,
            kept.text
        );
        resolve(&stands, r#"{"resolution":"refund"}"#)
            .await
            .refused(409, "already_resolved");
        let data = resolve(&given, r#"{"resolution":"refund"}"#)
            .await
            .data(200);
        assert_eq!(data["status"], json!("refunded"));
        let wallet = app.get(&tenant.key, &tenant.path("/wallet")).await;
        assert!(
            wallet.text.contains("\"balance\":9.990493,"),
            "{}",
            wallet.text
        );
        let newest = &wallet.data(200)["recent_transactions"][0];
        assert_eq!(newest["reversed_transaction_id"], json!(given));

        for (query, total) in [
            ("", 0),
            ("?status=stands", 1),
            ("?status=refunded", 1),
            (&format!("?status=refunded&platform_id={}", tenant.id), 1),
            (&format!("?status=refunded&platform_id={UNKNOWN}"), 0),
            ("?status=stands&to=2020-01-01T00:00:00Z", 0),
            ("?status=stands&from=2020-01-01T00:00:00Z", 1),
        ] {
            let body = app
                .get(&app.operator, &format!("{list}{query}"))
                .await
                .json();
            assert_eq!(body["total"], json!(total), "{query}");
        }
        resolve(UNKNOWN, r#"{"resolution":"stands"}"#)
            .await
            .refused(404, "transaction_not_found");
        assert_eq!(resolve(&given, "{}").await.bad_fields(), ["resolution"]);
        let bad = app
            .get(&app.operator, &format!("{list}?status=x&from=y"))
            .await;
        assert_eq!(bad.bad_fields(), ["status", "from"]);
        app.get(&tenant.key, list)
            .await
            .refused(403, "wrong_key_type");
    }
}
