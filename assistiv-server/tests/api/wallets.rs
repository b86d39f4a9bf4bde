//! Wallets, and amounts on the wire.

use assistiv_core::billing::TopUpBy;
use serde_json::json;

use crate::support::{App, STORES, Setup, has_exactly};

const MEMBERS: &str =
    "id platform_id balance currency low_balance_threshold is_active created_at updated_at";

#[tokio::test]
async fn topped_up_and_shown_with_the_newest_entries() {
    for store in STORES {
        let app = App::new(store).await;
        let tenant = app.tenant("Mine").await;
        let (path, topup) = (tenant.path("/wallet"), tenant.path("/wallet/topup"));
        for i in 1..=6 {
            let body = json!({"amount": i, "description": format!("no. {i}")});
            let made = app.send(&tenant.key, "POST", &topup, body).await.data(200);
            has_exactly(&made, &format!("{MEMBERS} transaction"));
            assert_eq!(made["transaction"]["type"], "top_up");
            assert_eq!(made["transaction"]["balance_after"], made["balance"]);
        }
        let wallet = app.get(&tenant.key, &path).await;
        let data = wallet.data(200);
        has_exactly(&data, &format!("{MEMBERS} recent_transactions"));
        assert!(
            wallet
                .text
                .contains("\"balance\":31.000000,\"currency\":\"usd\""),
            "{}",
            wallet.text
        );
        let recent = data["recent_transactions"].as_array().unwrap();
        assert_eq!(recent.len(), 5);
        has_exactly(
            &recent[0],
            "id type amount balance_after description created_at log_id end_user_id reversed_transaction_id metadata",
        );
        let descriptions: Vec<_> = recent
            .iter()
            .map(|entry| entry["description"].clone())
            .collect();
        assert_eq!(descriptions, ["no. 6", "no. 5", "no. 4", "no. 3", "no. 2"]);
        for pair in recent.windows(2) {
            let left =
                pair[0]["balance_after"].as_f64().unwrap() - pair[0]["amount"].as_f64().unwrap();
            assert!((left - pair[1]["balance_after"].as_f64().unwrap()).abs() < 1e-9);
        }
    }
}

#[tokio::test]
async fn amounts_are_exact() {
    for store in STORES {
        let app = App::new(store).await;
        let tenant = app.tenant("Mine").await;
        let topup = tenant.path("/wallet/topup");
        let post = async |amount: &str| {
            app.send(
                &tenant.key,
                "POST",
                &topup,
                format!("{{\"amount\":{amount}}}"),
            )
            .await
        };
        for (amount, shown, balance) in [
            ("0.1", "0.100000", "10.100000"),
            ("\"0.1\"", "0.100000", "10.200000"),
            ("0.000000001", "0.000000001", "10.200000001"),
            ("\"0.123456789\"", "0.123456789", "10.323456790"),
            ("5.00", "5.000000", "15.323456790"),
        ] {
            let answer = post(amount).await;
            answer.data(200);
            let balance = balance
                .strip_suffix('0')
                .filter(|b| b.len() > 9)
                .unwrap_or(balance);
            assert!(
                answer.text.contains(&format!("\"amount\":{shown},")),
                "{amount}: {}",
                answer.text
            );
            assert!(
                answer.text.contains(&format!("\"balance\":{balance},")),
                "{amount}: {}",
                answer.text
            );
        }
        for amount in [
            "0.1234567890",
            "1e3",
            "1E0",
            "\"1e3\"",
            "0",
            "-1",
            "\"\"",
            "\" 1\"",
            "true",
            "[1]",
            "1000000000",
            "\"NaN\"",
            "0.0000000001",
            "null",
        ] {
            assert_eq!(post(amount).await.bad_fields(), ["amount"], "{amount}");
        }
        // More than the largest balance.
        post("999999999.999999999")
            .await
            .refused(400, "validation_failed");
        let wallet = app.get(&tenant.key, &tenant.path("/wallet")).await;
        assert!(
            wallet.text.contains("\"balance\":15.32345679,"),
            "{}",
            wallet.text
        );
    }
}

#[tokio::test]
async fn bad_fields_are_told_all_at_once() {
    let app = App::new(STORES[0]).await;
    let tenant = app.tenant("Mine").await;
    let body = json!({"description": "x".repeat(501)});
    let bad = app
        .send(&tenant.key, "POST", &tenant.path("/wallet/topup"), body)
        .await;
    assert_eq!(bad.bad_fields(), ["amount", "description"]);
    let body = json!({"amount": 1, "description": "a\u{0}"});
    let bad = app
        .send(&tenant.key, "POST", &tenant.path("/wallet/topup"), body)
        .await;
    assert_eq!(bad.bad_fields(), ["description"]);
}

#[tokio::test]
async fn the_threshold_is_set_and_cleared() {
    for store in STORES {
        let app = App::new(store).await;
        let tenant = app.tenant("Mine").await;
        let path = tenant.path("/wallet");
        let patch = async |body: &str| app.send(&tenant.key, "PATCH", &path, body).await;
        let set = patch(r#"{"low_balance_threshold": "20.5"}"#).await;
        has_exactly(&set.data(200), MEMBERS);
        assert!(
            set.text.contains("\"low_balance_threshold\":20.500000,"),
            "{}",
            set.text
        );
        let cleared = patch(r#"{"low_balance_threshold": null}"#).await.data(200);
        assert_eq!(cleared["low_balance_threshold"], json!(null));
        for body in [
            "{}",
            r#"{"low_balance_threshold": -1}"#,
            r#"{"low_balance_threshold": "x"}"#,
        ] {
            assert_eq!(patch(body).await.bad_fields(), ["low_balance_threshold"]);
        }
    }
}

#[tokio::test]
async fn top_ups_may_be_the_operators_alone() {
    let setup = Setup {
        topup_by: TopUpBy::Operator,
        ..Setup::default()
    };
    let app = App::with(STORES[0], setup).await;
    let tenant = app.tenant("Mine").await;
    let (path, body) = (tenant.path("/wallet/topup"), json!({"amount": 1}));
    app.send(&tenant.key, "POST", &path, &body)
        .await
        .refused(403, "forbidden");
    app.send(&app.operator, "POST", &path, &body)
        .await
        .data(200);
}

#[tokio::test]
async fn a_server_may_demand_idempotency_keys() {
    let setup = Setup {
        require_idempotency_key: true,
        ..Setup::default()
    };
    let app = App::with(STORES[0], setup).await;
    let tenant = app.tenant("Mine").await;
    let user = app.user(&tenant, "u").await;
    let budget = tenant.user_path(&user, "/budget");
    app.send(&tenant.key, "POST", &budget, json!({"max_usd": 1}))
        .await
        .data(201);
    let body = json!({"amount": 1});
    for path in [
        tenant.path("/wallet/topup"),
        format!("{budget}/topup"),
        format!("{budget}/debit"),
    ] {
        app.send(&tenant.key, "POST", &path, &body)
            .await
            .refused(400, "idempotency_key_required");
        app.send_with(
            &tenant.key,
            "POST",
            &path,
            &body,
            &[("idempotency-key", "k")],
        )
        .await
        .data(200);
    }
    app.send(&tenant.key, "PATCH", &budget, json!({"max_usd": 2}))
        .await
        .data(200);
}
