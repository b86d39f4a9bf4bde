//! End users' budgets.

use serde_json::json;

use crate::support::{App, STORES, has_exactly, text};

const MEMBERS: &str = "id platform_id end_user_id max_usd used_usd remaining_usd max_tokens used_tokens \
    remaining_tokens period timezone period_start period_end auto_replenish replenish_amount replenish_tokens \
    low_balance_threshold low_balance_threshold_tokens is_active is_suspended created_at updated_at";
const ENTRY: &str = "id type ledger source amount_usd max_usd_after used_usd_after remaining_usd_after amount_tokens \
    max_tokens_after used_tokens_after remaining_tokens_after reason metadata idempotency_key created_at";

#[tokio::test]
async fn from_creation_to_removal() {
    for store in STORES {
        let app = App::new(store).await;
        let tenant = app.tenant("Mine").await;
        let user = app.user(&tenant, "u").await;
        let path = tenant.user_path(&user, "/budget");
        app.get(&tenant.key, &path)
            .await
            .refused(404, "budget_not_found");
        for (method, suffix) in [("POST", "/topup"), ("POST", "/debit")] {
            let none = app
                .send(
                    &tenant.key,
                    method,
                    &format!("{path}{suffix}"),
                    json!({"amount_usd": 1}),
                )
                .await;
            none.refused(404, "budget_not_found");
        }
        app.send(&tenant.key, "PATCH", &path, json!({"max_usd": 1}))
            .await
            .refused(404, "budget_not_found");
        app.delete(&tenant.key, &path)
            .await
            .refused(404, "budget_not_found");

        let terms = json!({
            "max_usd": "10.000000001", "max_tokens": 1000, "period": "monthly", "timezone": "Europe/Berlin",
            "auto_replenish": true, "replenish_amount": 10, "replenish_tokens": 1000, "low_balance_threshold": 0,
        });
        let made = app.send(&tenant.key, "POST", &path, &terms).await;
        let data = made.data(201);
        has_exactly(&data, MEMBERS);
        assert!(
            made.text
                .contains("\"max_usd\":10.000000001,\"used_usd\":0.000000,"),
            "{}",
            made.text
        );
        assert_eq!(
            (&data["timezone"], &data["remaining_tokens"]),
            (&json!("Europe/Berlin"), &json!(1000))
        );
        app.send(&tenant.key, "POST", &path, &terms)
            .await
            .refused(409, "budget_exists");

        let debit = json!({"amount_usd": "0.000000002", "amount_tokens": 7, "reason": "line\nline", "metadata": {"a": 1}});
        let debit = app
            .send(&tenant.key, "POST", &format!("{path}/debit"), debit)
            .await;
        let data = debit.data(200);
        has_exactly(&data, &format!("{MEMBERS} transaction"));
        let entry = &data["transaction"];
        has_exactly(entry, ENTRY);
        assert_eq!(
            (&entry["type"], &entry["source"], &entry["ledger"]),
            (&json!("debit"), &json!("manual"), &json!("budget"))
        );
        assert_eq!(
            (&entry["amount_tokens"], &entry["used_tokens_after"]),
            (&json!(7), &json!(7))
        );
        assert_eq!(
            (&entry["reason"], &entry["metadata"]),
            (&json!("line\nline"), &json!({"a": 1}))
        );
        assert!(
            debit.text.contains("\"remaining_usd\":9.999999999,"),
            "{}",
            debit.text
        );
        assert!(
            debit
                .text
                .contains("\"amount_usd\":0.000000002,\"max_usd_after\":10.000000001,"),
            "{}",
            debit.text
        );
        assert!(
            debit
                .text
                .contains("\"used_usd_after\":0.000000002,\"remaining_usd_after\":9.999999999,"),
            "{}",
            debit.text
        );

        let topup = app
            .send(
                &tenant.key,
                "POST",
                &format!("{path}/topup"),
                json!({"amount": 5}),
            )
            .await;
        let data = topup.data(200);
        assert_eq!(
            (
                &data["transaction"]["type"],
                &data["transaction"]["amount_tokens"]
            ),
            (&json!("topup"), &json!(0))
        );
        assert!(
            topup.text.contains("\"max_usd\":15.000000001,"),
            "{}",
            topup.text
        );
        assert!(
            topup
                .text
                .contains("\"amount_usd\":5.000000,\"max_usd_after\":15.000000001,"),
            "{}",
            topup.text
        );
        let read = app.get(&tenant.key, &path).await;
        has_exactly(&read.data(200), MEMBERS);
        assert!(
            read.text.contains("\"remaining_usd\":14.999999999,"),
            "{}",
            read.text
        );

        app.delete(&tenant.key, &path).await.no_content();
        app.get(&tenant.key, &path)
            .await
            .refused(404, "budget_not_found");
        let again = app
            .send(&tenant.key, "POST", &path, json!({"max_tokens": 5}))
            .await
            .data(201);
        assert_eq!(
            (&again["max_usd"], &again["remaining_usd"]),
            (&json!(null), &json!(null))
        );
        assert_eq!(
            (&again["used_tokens"], &again["remaining_tokens"]),
            (&json!(0), &json!(5))
        );
        let none = app
            .send(
                &tenant.key,
                "POST",
                &format!("{path}/topup"),
                json!({"amount_usd": 1}),
            )
            .await;
        none.refused(409, "budget_limit_not_set");
    }
}

#[tokio::test]
async fn changes_and_their_entries() {
    for store in STORES {
        let app = App::new(store).await;
        let tenant = app.tenant("Mine").await;
        let user = app.user(&tenant, "u").await;
        let path = tenant.user_path(&user, "/budget");
        app.send(
            &tenant.key,
            "POST",
            &path,
            json!({"max_usd": 10, "max_tokens": 100}),
        )
        .await
        .data(201);
        let patch = async |body| app.send(&tenant.key, "PATCH", &path, body).await;

        let data = patch(json!({"is_suspended": true, "max_usd": 4, "reason": "r"})).await;
        assert!(
            data.text
                .contains("\"amount_usd\":-6.000000,\"max_usd_after\":4.000000,"),
            "{}",
            data.text
        );
        let data = data.data(200);
        has_exactly(&data, &format!("{MEMBERS} transactions"));
        let entries = data["transactions"].as_array().unwrap();
        assert_eq!(entries.len(), 2);
        has_exactly(&entries[0], ENTRY);
        assert_eq!(
            (&entries[0]["type"], &entries[0]["max_usd_after"]),
            (&json!("suspend"), &json!(10.0))
        );
        assert_eq!(
            (&entries[1]["type"], &entries[1]["max_usd_after"]),
            (&json!("adjustment"), &json!(4.0))
        );
        assert_eq!(entries[1]["metadata"]["changes"], json!(["max_usd"]));
        assert_eq!(entries[1]["reason"], "r");

        let same = patch(json!({"is_suspended": true})).await.data(200);
        assert_eq!(same["transactions"], json!([]), "no change, no entry");
        let data = patch(json!({"is_suspended": false})).await.data(200);
        assert_eq!(data["transactions"][0]["type"], "unsuspend");
        let data =
            patch(json!({"max_usd": null, "period": "weekly", "low_balance_threshold_tokens": 5}))
                .await
                .data(200);
        assert_eq!(
            (&data["max_usd"], &data["remaining_usd"]),
            (&json!(null), &json!(null))
        );
        let entry = &data["transactions"][0];
        assert_eq!(
            (&entry["amount_usd"], &entry["max_usd_after"]),
            (&json!(0.0), &json!(null))
        );
        assert_eq!(entry["remaining_usd_after"], json!(null));
        assert!(!text(&data["period_end"]).is_empty());

        assert_eq!(
            patch(json!({"max_tokens": null})).await.bad_fields(),
            ["max_usd"],
            "one limit must remain"
        );
        assert_eq!(patch(json!({})).await.bad_fields(), ["body"]);
        assert_eq!(
            patch(json!({"reason": "alone"})).await.bad_fields(),
            ["body"]
        );
        assert_eq!(
            patch(json!({"auto_replenish": true})).await.bad_fields(),
            ["auto_replenish"]
        );
        let bad = json!({
            "is_suspended": null, "is_active": 1, "max_usd": -1, "max_tokens": 1.0, "period": "yearly",
            "timezone": "Mars", "auto_replenish": "x", "replenish_amount": 0, "replenish_tokens": 0,
            "low_balance_threshold": -1, "low_balance_threshold_tokens": -1, "reason": "x".repeat(501),
            "metadata": {"x": "y".repeat(4096)},
        });
        assert_eq!(patch(bad).await.bad_fields().len(), 13);
        let data = patch(json!({"is_active": false})).await.data(200);
        assert_eq!(data["is_active"], false);
        app.get(&tenant.key, &path)
            .await
            .refused(404, "budget_not_found");
    }
}

#[tokio::test]
async fn bad_fields_are_told_all_at_once() {
    let app = App::new(STORES[0]).await;
    let tenant = app.tenant("Mine").await;
    let user = app.user(&tenant, "u").await;
    let path = tenant.user_path(&user, "/budget");
    let post = async |suffix: &str, body| {
        app.send(&tenant.key, "POST", &format!("{path}{suffix}"), body)
            .await
    };
    assert_eq!(post("", json!({})).await.bad_fields(), ["max_usd"]);
    let bad = json!({"max_usd": 0, "max_tokens": 0, "period": "PT1H", "timezone": 1, "auto_replenish": 1});
    let wanted = [
        "max_usd",
        "max_tokens",
        "period",
        "timezone",
        "auto_replenish",
    ];
    assert_eq!(post("", bad).await.bad_fields(), wanted);
    let bad =
        json!({"max_usd": 1, "period": "one_time", "auto_replenish": true, "replenish_amount": 1});
    assert_eq!(post("", bad).await.bad_fields(), ["auto_replenish"]);
    post("", json!({"max_usd": 1})).await.data(201);
    for suffix in ["/topup", "/debit"] {
        assert_eq!(post(suffix, json!({})).await.bad_fields(), ["amount_usd"]);
        let bad = json!({"amount_usd": -1, "amount": 0, "amount_tokens": 9007199254740992u64, "reason": 5, "metadata": []});
        let wanted = [
            "amount_usd",
            "amount",
            "amount_tokens",
            "reason",
            "metadata",
        ];
        assert_eq!(post(suffix, bad).await.bad_fields(), wanted);
        assert_eq!(
            post(suffix, json!({"amount_usd": 1, "amount": 2}))
                .await
                .bad_fields(),
            ["amount"]
        );
        assert!(
            !post(suffix, json!({"amount_usd": "0.0000000001"}))
                .await
                .bad_fields()
                .is_empty()
        );
    }
    let budget = app.get(&tenant.key, &path).await.data(200);
    assert_eq!(
        (&budget["max_usd"], &budget["used_usd"]),
        (&json!(1.0), &json!(0.0))
    );
}
