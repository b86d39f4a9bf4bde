//! Prices of the operator's, and what becomes of charges when one is corrected.

use assistiv_core::billing::{Metered, Price};
use assistiv_core::money::Markup;
use serde_json::{Value, json};

use crate::doubt;
use crate::support::{App, STORES, Tenant, User, has_exactly, names, text};

const PRICE: &str = "id provider provider_model_id service_tier effective_from currency rates long_context note created_at";
const RATES: &str = "input cached_input cache_write_5m cache_write_30m cache_write_1h cache_write_12h audio_input \
    image_input output reasoning audio_output image_output per_call";
const PRICES: &str = "/v1/admin/prices";
const RERATE: &str = "/v1/admin/prices/rerate";

/// What the catalogue says of a model of OpenAI's.
fn listed(app: &App) -> (String, Price, assistiv_core::id::ModelId) {
    let catalogue = app.gateway.router().catalogue();
    let model = catalogue.model("gpt-4o-mini").unwrap();
    let route = &model.routes[0];
    let price = route.prices_at("2026-11-01T00:00:00Z".parse().unwrap())[0].clone();
    (
        route.provider_model_id.to_string(),
        Price::clone(&price),
        model.id(),
    )
}

fn body(model: &str, input: &str, output: &str) -> Value {
    json!({"provider": "openai", "provider_model_id": model, "effective_from": "2026-01-02T00:00:00Z",
        "rates": {"input": input, "output": output, "per_call": "0.000001"}, "note": "corrected"})
}

#[tokio::test]
async fn a_price_is_added_and_listed() {
    for store in STORES {
        let app = App::new(store).await;
        let (model, ..) = listed(&app);
        let before = app.get(&app.operator, PRICES).await.json()["total"].clone();
        let mut sent = body(&model, "3", "15");
        sent["long_context"] =
            json!({"above_input_tokens": 200_000, "rates": {"input": 6.00, "output": "22.5"}});
        let key = [("idempotency-key", "one")];
        let add = async |sent: &Value| {
            app.send_with(&app.operator, "POST", PRICES, sent, &key)
                .await
        };
        let added = add(&sent).await;
        let data = added.data(201);
        has_exactly(&data, PRICE);
        has_exactly(&data["rates"], RATES);
        for shown in [
            "\"input\":3.000000,",
            "\"output\":15.000000,",
            "\"per_call\":0.000001}",
            "\"above_input_tokens\":200000,",
            "\"output\":22.500000,",
            "\"service_tier\":\"standard\"",
        ] {
            assert!(added.text.contains(shown), "{shown}: {}", added.text);
        }
        let again = add(&sent).await;
        assert_eq!(again.text, added.text);
        assert_eq!(again.headers["idempotent-replayed"], "true");
        add(&body(&model, "4", "15"))
            .await
            .refused(409, "idempotency_key_reused");

        let all = app.get(&app.operator, PRICES).await.json();
        assert_eq!(all["total"].as_u64(), before.as_u64().map(|n| n + 1));
        assert_eq!(all["data"][0], data);
        let of_model = async |query: &str| {
            let path = format!("{PRICES}?provider=openai&provider_model_id={model}{query}");
            let found = app.get(&app.operator, &path).await.json();
            let ids = found["data"].as_array().unwrap().iter();
            ids.map(|row| text(&row["id"])).collect::<Vec<_>>()
        };
        let id = text(&data["id"]);
        assert!(of_model("&service_tier=standard").await.contains(&id));
        assert_eq!(
            of_model("&service_tier=standard&at=2026-11-20T00:00:00Z").await,
            std::slice::from_ref(&id)
        );
        assert!(!of_model("&at=2026-01-01T00:00:00Z").await.contains(&id));
    }
}

#[tokio::test]
async fn a_bad_price_is_refused_field_by_field() {
    let app = App::new(STORES[0]).await;
    let refused = async |body: Value| {
        app.send(&app.operator, "POST", PRICES, body)
            .await
            .bad_fields()
    };
    assert_eq!(
        refused(json!({})).await,
        ["provider", "provider_model_id", "rates"]
    );
    assert_eq!(refused(body("m", "-1", "1")).await, ["rates"]);
    assert_eq!(refused(body("m", "0.0000001", "1")).await, ["rates"]);
    let mut unknown = body("m", "1", "1");
    unknown["rates"]["inputs"] = json!(1);
    assert_eq!(refused(unknown).await, ["rates"]);
    let mut nobody = body("m", "1", "1");
    nobody["provider"] = json!("nobody");
    assert_eq!(refused(nobody).await, ["provider"]);
    let mut euros = body("m", "1", "1");
    euros["currency"] = json!("eur");
    assert_eq!(refused(euros).await, ["currency"]);
    assert_eq!(
        app.send(&app.operator, "POST", RERATE, json!({"dry_run": false}))
            .await
            .bad_fields(),
        ["from", "to", "reason"]
    );
    let tenant = app.tenant("Mine").await;
    for path in [PRICES, RERATE] {
        app.send(&tenant.key, "POST", path, json!({}))
            .await
            .refused(403, "wrong_key_type");
    }
}

/// Charges a call of 1,000 and 1,000 tokens by the catalogue's price, with a markup of 15 %.
async fn charged(app: &App, tenant: &Tenant, user: &User) -> (String, i64, i64) {
    let (_, price, model_id) = listed(app);
    let usage = assistiv_core::billing::Usage {
        input: 1_000,
        output: 1_000,
        ..Default::default()
    };
    let markup = Markup::new(150_000);
    let cost = price.cost(&usage, markup).unwrap();
    let metered = Metered {
        model_id,
        price_id: price.id,
        input_tokens: 1_000,
        cached_tokens: 0,
        output_tokens: 1_000,
        markup,
    };
    let legs = [cost.wallet.get(), cost.budget.usd.get(), 2_000, 0];
    let call = doubt::metered_charge(app, tenant, Some(user), legs, Some(metered)).await;
    (call, legs[0], legs[1])
}

#[tokio::test]
async fn a_corrected_price_is_given_back_once() {
    for store in STORES {
        let app = App::new(store).await;
        let tenant = app.tenant("Mine").await;
        let user = app.user(&tenant, "u").await;
        let budget = tenant.user_path(&user, "/budget");
        app.send(&tenant.key, "POST", &budget, json!({"max_usd": 5}))
            .await
            .data(201);
        let (call, wallet, on_budget) = charged(&app, &tenant, &user).await;
        let (model, ..) = listed(&app);
        // 1,000 and 1,000 tokens for 0.1 USD a million each: 100,000 nUSD and 1,000 for the call.
        app.send(&app.operator, "POST", PRICES, body(&model, "0.1", "0.1"))
            .await
            .data(201);
        let (wallet, on_budget) = (wallet - 201_000, on_budget - 231_150);

        let ask = |dry_run: bool| {
            json!({"from": "2020-01-01T00:00:00Z", "to": doubt::later_than(&call), "dry_run": dry_run,
                "provider": "openai", "reason": "the list price was wrong"})
        };
        let rerate = async |key: &str, body: Value| {
            app.send_with(
                &app.operator,
                "POST",
                RERATE,
                body,
                &[("idempotency-key", key)],
            )
            .await
        };
        let balance = async || {
            app.get(&tenant.key, &tenant.path("/wallet"))
                .await
                .data(200)["balance"]
                .clone()
        };
        let before = balance().await;
        let dry = rerate("a", ask(true)).await;
        let report = dry.data(200);
        has_exactly(
            &report,
            "id dry_run from to log_rows changed_rows wallet_delta_usd budget_delta_usd platforms",
        );
        assert_eq!(
            (&report["log_rows"], &report["changed_rows"]),
            (&json!(1), &json!(1))
        );
        let nano = |nano: i64| assistiv_core::money::NanoUsd::new(nano).to_string();
        let deltas = format!(
            "\"wallet_delta_usd\":{},\"budget_delta_usd\":{}",
            nano(wallet),
            nano(on_budget)
        );
        assert_eq!(
            dry.text.matches(&deltas).count(),
            2,
            "{deltas}: {}",
            dry.text
        );
        assert_eq!(names(&report["platforms"][0]).len(), 4);
        assert_eq!(balance().await, before);

        let real = rerate("a", ask(false)).await;
        assert_eq!(real.data(200)["dry_run"], false);
        assert!(real.text.contains(&deltas), "{}", real.text);
        let replayed = rerate("a", ask(false)).await;
        assert_eq!(replayed.text, real.text);
        assert_eq!(replayed.headers["idempotent-replayed"], "true");
        rerate(
            "a",
            json!({"from": "2020-01-01T00:00:00Z", "to": "2021-01-01T00:00:00Z",
            "dry_run": false, "reason": "x"}),
        )
        .await
        .refused(409, "idempotency_key_reused");

        let entry = app.get(&tenant.key, &tenant.path("/wallet")).await;
        let entry = entry.data(200)["recent_transactions"][0].clone();
        assert_eq!(entry["type"], "adjustment");
        assert_eq!(entry["metadata"]["rerate_id"], real.data(200)["id"]);
        assert_eq!(entry["reversed_transaction_id"], Value::Null);
        let rows = app
            .get(
                &tenant.key,
                &tenant.user_path(&user, "/budget/transactions"),
            )
            .await;
        let row = &rows.json()["data"][0];
        assert_eq!(
            (&row["type"], &row["source"]),
            (&json!("adjustment"), &json!("system"))
        );
        assert!(
            rows.text
                .contains(&format!("\"amount_usd\":{},", nano(on_budget))),
            "{}",
            rows.text
        );
        assert!(
            rows.text.contains("\"used_usd_after\":0.000231150,")
                || rows.text.contains("\"used_usd_after\":0.00023115,"),
            "{}",
            rows.text
        );

        let second = rerate("b", ask(false)).await.data(200);
        assert_eq!(second["changed_rows"], 0);
        assert_eq!(second["platforms"], json!([]));
        let mut elsewhere = ask(true);
        elsewhere["provider"] = json!("xai");
        assert_eq!(rerate("c", elsewhere).await.data(200)["log_rows"], 0);

        // Refunded whole, the charge gives back what is left of it.
        let refund = format!("{budget}/transactions/{call}/refund");
        app.send(&tenant.key, "POST", &refund, json!({}))
            .await
            .data(200);
        let whole = app.get(&tenant.key, &tenant.path("/wallet")).await;
        assert!(
            whole.text.contains("\"balance\":10.000000,"),
            "{}",
            whole.text
        );
    }
}

#[tokio::test]
async fn a_time_that_is_being_settled_is_not_rerated() {
    let app = App::new(STORES[1]).await;
    let soon = json!({"from": "2020-01-01T00:00:00Z", "to": "2999-01-01T00:00:00Z"});
    app.send(&app.operator, "POST", RERATE, soon)
        .await
        .refused(409, "settlement_pending");
}
