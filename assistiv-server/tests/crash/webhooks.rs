//! `kill -9` while webhooks are sent: every event whose cause was acknowledged arrives, and none without a cause.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use assistiv_core::store::Page;
use assistiv_core::store::sql::{SqlOptions, SqlStore};
use assistiv_core::testing::scopes;
use assistiv_server::mock::Mock;
use axum::Router;
use axum::extract::State;
use axum::routing::post;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::server::{self, Server};
use crate::{BALANCE, run};

const ROUNDS: u64 = 3;
/// Longer than the lease of a claim that the last kill left behind.
const PATIENCE: Duration = Duration::from_secs(120);

/// The ids of events that arrived, with the ids of their messages.
type Got = Arc<Mutex<BTreeMap<String, BTreeSet<String>>>>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_loses_no_event_and_invents_none() {
    let got = Got::default();
    let receiver = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}/", receiver.local_addr().unwrap());
    let take = Router::new().route("/", post(take)).with_state(got.clone());
    run(async move { axum::serve(receiver, take).await.unwrap() });

    let mock = Mock::start(([127, 0, 0, 1], 0).into()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let tenant = server::set_up(dir.path(), &mock, BALANCE).await;
    let base = format!("/v1/platforms/{}", tenant.platform_id);
    let key = tenant.key_of(0);
    let acknowledged = Arc::new(AtomicU64::new(0));
    for round in 0..ROUNDS {
        let server = Server::start(dir.path(), &mock).await;
        if round == 0 {
            let hook = json!({"url": url, "event_types": ["wallet.topped_up"]});
            let made = send(server.address(), key, &format!("{base}/webhooks"), &hook).await;
            assert_eq!(made, Some(201));
        }
        let (address, key) = (server.address(), key.to_owned());
        let path = format!("{base}/wallet/topup");
        let taken = acknowledged.clone();
        let load = run(async move {
            // The server is gone: the round is over.
            while let Some(status) = send(address, &key, &path, &json!({"amount": "1"})).await {
                assert!(status < 300, "{status}");
                taken.fetch_add(1, Ordering::Relaxed);
            }
        });
        // Another moment each round: while events are written, fanned out, sent, written down.
        tokio::time::sleep(Duration::from_millis(700 + round * 230)).await;
        server.kill().await;
        load.await.unwrap();
    }
    let acknowledged = acknowledged.load(Ordering::Relaxed);
    assert!(acknowledged > 0, "the load must get answers");

    let server = Server::start(dir.path(), &mock).await;
    let inspection = SqlStore::inspect(SqlOptions::sqlite(dir.path().join("assistiv.db")));
    let ledger = inspection.await.unwrap().store.stores().ledger;
    let scope = scopes::platform(tenant.platform_id);
    let (mut caused, mut page) = (Vec::new(), 1);
    loop {
        let listed = ledger
            .wallet_entries(&scope, Page { page, limit: 100 })
            .await;
        let rows = listed.unwrap().rows;
        if rows.is_empty() {
            break;
        }
        let event = |uid| format!("{uid}:wallet.topped_up");
        caused.extend(rows.iter().map(|row| event(row.entry.uid)));
        page += 1;
    }
    // The oldest entry is the opening balance: nobody listened then.
    let (_, wanted) = caused.split_last().unwrap();
    assert!(wanted.len() as u64 >= acknowledged);
    let missing = || {
        let got = got.lock().unwrap();
        let is_missing = |event: &&String| !got.contains_key(*event);
        wanted.iter().filter(is_missing).count()
    };
    let all_arrived = async {
        while missing() > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let arrived = tokio::time::timeout(PATIENCE, all_arrived).await;
    assert!(
        arrived.is_ok(),
        "{} of {} events are missing",
        missing(),
        wanted.len()
    );
    let got = std::mem::take(&mut *got.lock().unwrap());
    for (event, messages) in &got {
        assert!(caused.contains(event), "{event} has no cause");
        assert_eq!(messages.len(), 1, "{event} was sent as several messages");
    }
    server.terminate().await;
}

async fn take(State(got): State<Got>, headers: HeaderMap, body: String) -> StatusCode {
    let told: Value = serde_json::from_str(&body).unwrap();
    let event = told["event_id"].as_str().unwrap().to_owned();
    let message = headers["svix-id"].to_str().unwrap().to_owned();
    // So that messages are under way at the moment of the kill. Those that are cut off then were not taken.
    tokio::time::sleep(Duration::from_millis(20)).await;
    let mut got = got.lock().unwrap();
    got.entry(event).or_default().insert(message);
    StatusCode::NO_CONTENT
}

/// The status of the answer to a `POST`; `None` when the server is gone before it is there.
async fn send(address: SocketAddr, key: &str, path: &str, body: &Value) -> Option<u16> {
    let body = body.to_string();
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: gateway.test\r\nauthorization: Bearer {key}\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut socket = TcpStream::connect(address).await.ok()?;
    socket.write_all(request.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.ok()?;
    let line = String::from_utf8_lossy(&answer);
    line.split(' ').nth(1)?.parse().ok()
}
