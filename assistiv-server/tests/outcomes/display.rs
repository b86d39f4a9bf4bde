//! The display ledger of an end user: what each act shows, and that the books add up afterwards.

use serde_json::{Value, json};

use crate::client::Request;
use crate::logs::doctor;
use crate::world::World;

async fn wallet(world: &World) -> Value {
    let request = Request::new("GET", &world.user_path("/wallet"), &world.platform.key);
    let answer = world.send(&request).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["data"]["display_ledger"].clone()
}

/// The rows of the display ledger, oldest first: type, amount, and the limit and the use that it left behind.
async fn rows(world: &World) -> Vec<Value> {
    let path = world.user_path("/budget/transactions?ledger=display&per_page=100");
    let answer = world
        .send(&Request::new("GET", &path, &world.platform.key))
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let mut rows: Vec<_> = answer.json()["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            assert_eq!(row["ledger"], "display", "{row}");
            json!([
                row["type"],
                row["amount_display"],
                row["max_display_after"],
                row["used_display_after"]
            ])
        })
        .collect();
    rows.reverse();
    rows
}

#[tokio::test]
async fn every_act_has_its_row_and_the_books_replay() {
    let mut world = World::new().await;
    let settings = json!({"settings": {"end_user_wallet": {
        "unit": "credits",
        "rules": [{"trigger": "inference_call", "amount": 1}],
    }}});
    world.manage("PATCH", &world.path(""), settings, 200).await;
    let path = world.user_path("/wallet");
    world
        .manage("PUT", &path, json!({"max": 100, "used": 10}), 200)
        .await;
    let act = async |path: &str, key: &str, amount: Value| {
        let body = json!({"amount": amount, "reason": "by hand"});
        let request = Request::new("POST", &world.user_path(path), &world.platform.key)
            .header("idempotency-key", key)
            .json(body);
        let first = world.send(&request).await;
        assert_eq!(first.status, 200, "{first:?}");
        let again = world.send(&request).await;
        assert_eq!((again.status, &again.text), (200, &first.text));
    };
    act("/wallet/topup", "more", json!(50)).await;
    act("/wallet/adjust", "used", json!("2.5")).await;
    act("/wallet/adjust", "back", json!(-4)).await;
    // No more comes back than was used.
    act("/wallet/adjust", "all", json!(-1000)).await;
    assert_eq!(world.whole("mock:words=3").await.status, 200);
    world.no_hold_is_left().await;
    let shown = wallet(&world).await;
    assert_eq!(
        (&shown["unit"], &shown["max"], &shown["used"]),
        (&json!("credits"), &json!(150), &json!(1)),
        "{shown}"
    );
    assert_eq!(
        rows(&world).await,
        [
            json!(["adjustment", 90, 100, 10]),
            json!(["topup", 50, 150, 10]),
            json!(["debit", 2.5, 150, 12.5]),
            json!(["refund", 4, 150, 8.5]),
            json!(["refund", 8.5, 150, 0]),
            json!(["debit", 1, 150, 1]),
        ]
    );

    let off = world
        .send(&Request::new("DELETE", &path, &world.platform.key))
        .await;
    assert_eq!(off.status, 204, "{off:?}");
    assert_eq!(wallet(&world).await, Value::Null);
    let topup = Request::new(
        "POST",
        &world.user_path("/wallet/topup"),
        &world.platform.key,
    );
    world
        .send(&topup.json(json!({"amount": 1})))
        .await
        .refused(409, "display_ledger_disabled");

    world.stop();
    world.closed().await;
    let report = doctor(&world).await;
    assert_eq!(report["ok"], true, "{report:#}");
}
