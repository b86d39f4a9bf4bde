//! The server on PostgreSQL: two of them on one database.

#![cfg(feature = "postgres")]
#![expect(clippy::unwrap_used, reason = "a test and its helpers")]

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use assistiv_core::testing::postgres::{TestDatabase, TestPostgres};
use assistiv_server::mock::Mock;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

/// What all processes of a test have in common.
struct Site {
    dir: tempfile::TempDir,
    database: TestDatabase,
    mock: Mock,
}

struct Server {
    child: Child,
    address: SocketAddr,
}

impl Site {
    async fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            database: TestPostgres::shared().empty_database().await,
            mock: Mock::start(([127, 0, 0, 1], 0).into()).unwrap(),
        }
    }

    fn command(&self, dir: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_assistiv-server"));
        // Settings of the one who runs the tests have no business here.
        command.env_clear().kill_on_drop(true).current_dir(dir);
        command
            .env("ASSISTIV_SERVER__DATA_DIR", self.dir.path())
            .env("ASSISTIV_SERVER__DRAIN_DELAY", "0s")
            .env("ASSISTIV_DATABASE__URL", self.database.url())
            .env("ASSISTIV_SECURITY__OUTBOUND_ALLOW", "127.0.0.1")
            .env("ASSISTIV_SECURITY__WEBHOOK_ALLOW", "127.0.0.1")
            .env("ASSISTIV_PROVIDERS__OPENAI__BASE_URL", self.mock.base_url())
            .env("ASSISTIV_LOG__LEVEL", "error");
        command
    }

    async fn run(&self, arguments: &[&str], input: &[u8]) -> Output {
        let mut command = self.command(self.dir.path());
        command.args(arguments).stdin(Stdio::piped());
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input).await.unwrap();
        let output = timeout(Duration::from_secs(60), child.wait_with_output());
        output.await.unwrap().unwrap()
    }

    async fn serve(&self) -> Server {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let mut command = self.command(self.dir.path());
        let listen = address.to_string();
        let child = command
            .args(["serve", "--listen", &listen])
            .spawn()
            .unwrap();
        let mut server = Server { child, address };
        let ready = async {
            while TcpStream::connect(address).await.is_err() {
                let ended = server.child.try_wait().unwrap();
                assert!(ended.is_none(), "the server ended at its start");
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(Duration::from_secs(60), ready).await.unwrap();
        server
    }
}

impl Server {
    /// The status of an answer and its body, which is JSON or nothing.
    async fn ask(&self, method: &str, path: &str, key: &str, body: &Value) -> (u16, Value) {
        let body = body.to_string();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: test\r\nauthorization: Bearer {key}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
        let mut socket = TcpStream::connect(self.address).await.unwrap();
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut raw = String::new();
        let read = timeout(Duration::from_secs(30), socket.read_to_string(&mut raw));
        read.await.unwrap().unwrap();
        let (head, body) = raw.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap_or(Value::Null))
    }

    async fn complete(&self, key: &str) -> u16 {
        let call = json!({
            "model": "gpt-4o-mini",
            "messages": [{ "role": "user", "content": "Hello" }],
        });
        self.ask("POST", "/v1/chat/completions", key, &call).await.0
    }

    async fn terminate(mut self) {
        let pid = self.child.id().unwrap().to_string();
        let told = Command::new("kill").args(["-TERM", &pid]).status().await;
        assert!(told.unwrap().success());
        let status = timeout(Duration::from_secs(60), self.child.wait()).await;
        assert!(status.unwrap().unwrap().success());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_serve_one_database() {
    let site = Site::new().await;
    let checked = site.run(&["check"], b"").await;
    assert!(checked.status.success(), "{checked:?}");
    let arguments = "setup --platform Acme --end-user ada --balance 5.00 --provider openai \
                     --api-key-stdin --json";
    let arguments: Vec<_> = arguments.split_whitespace().collect();
    let made = site.run(&arguments, b"sk-upstream\n").await;
    assert!(made.status.success(), "{made:?}");
    let made: Value = serde_json::from_slice(&made.stdout).unwrap();
    let text = |name: &str| made[name].as_str().unwrap();
    let (platform, key) = (text("platform_id"), text("platform_key"));
    let wallet = format!("/v1/platforms/{platform}/wallet");

    let (one, other) = tokio::join!(site.serve(), site.serve());
    for server in [&one, &other] {
        assert_eq!(server.complete(key).await, 200);
        assert_eq!(server.complete(text("end_user_key")).await, 200);
    }
    let (status, seen) = one.ask("GET", &wallet, key, &Value::Null).await;
    assert_eq!(status, 200, "{seen}");
    assert!(seen["data"]["balance"].as_f64().unwrap() < 5.0, "{seen}");
    let (_, same) = other.ask("GET", &wallet, key, &Value::Null).await;
    assert_eq!(seen["data"]["balance"], same["data"]["balance"]);

    // What one limits the other limits, too, and what both let through adds up to the limit.
    let limits = format!("/v1/platforms/{platform}/rate-limits");
    let ten = json!({ "aggregate": { "rpd_limit": 10 } });
    let (status, answer) = one.ask("PUT", &limits, key, &ten).await;
    assert_eq!(status, 200, "{answer}");
    // The other hears of it within a second.
    sleep(Duration::from_secs(1)).await;
    let calls = (0..30).map(|n| [&one, &other][n % 2].complete(key));
    let statuses = futures_util::future::join_all(calls).await;
    let count = |wanted| statuses.iter().filter(|status| **status == wanted).count();
    assert_eq!((count(200), count(429)), (10, 20), "{statuses:?}");
    let none = json!({ "aggregate": null });
    let (status, answer) = one.ask("PUT", &limits, key, &none).await;
    assert_eq!(status, 200, "{answer}");
    sleep(Duration::from_secs(1)).await;

    // What one switches off the other refuses within a second.
    let user = format!("/v1/platforms/{platform}/end-users/{}", text("end_user_id"));
    let off = json!({ "is_active": false });
    let (status, answer) = one.ask("PATCH", &user, key, &off).await;
    assert_eq!(status, 200, "{answer}");
    let switched = Instant::now();
    while other.complete(text("end_user_key")).await == 200 {
        assert!(switched.elapsed() < Duration::from_secs(1));
    }
    assert_eq!(other.complete(key).await, 200);

    one.terminate().await;
    assert_eq!(other.complete(key).await, 200);
    other.terminate().await;
    for table in ["billing_slots", "billing_streams"] {
        let count = format!("SELECT count(*) FROM {table}");
        let left = site.database.number(&count).await;
        assert_eq!(left, 0, "{table}");
    }
}

/// Takes messages, and keeps their ids.
struct Receiver {
    url: String,
    ids: Arc<Mutex<Vec<String>>>,
}

impl Receiver {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let ids: Arc<Mutex<Vec<String>>> = Arc::default();
        let seen = ids.clone();
        #[expect(
            clippy::disallowed_methods,
            reason = "it lasts as long as the test's runtime"
        )]
        tokio::spawn(async move {
            loop {
                let (mut socket, _) = listener.accept().await.unwrap();
                let mut head = Vec::new();
                while !head.windows(4).any(|end| end == b"\r\n\r\n") {
                    if socket.read_buf(&mut head).await.unwrap_or(0) == 0 {
                        break;
                    }
                }
                let head = String::from_utf8_lossy(&head).to_lowercase();
                let id = head
                    .lines()
                    .find_map(|line| line.strip_prefix("webhook-id: "));
                seen.lock().unwrap().extend(id.map(str::to_owned));
                let answer = b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n";
                let _ = socket.write_all(answer).await;
            }
        });
        Self { url, ids }
    }

    fn ids(&self) -> Vec<String> {
        self.ids.lock().unwrap().clone()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_send_each_event_once() {
    const EVENTS: usize = 20;
    let site = Site::new().await;
    let arguments = "setup --platform Acme --end-user ada --balance 5.00 --json";
    let arguments: Vec<_> = arguments.split_whitespace().collect();
    let made = site.run(&arguments, b"").await;
    assert!(made.status.success(), "{made:?}");
    let made: Value = serde_json::from_slice(&made.stdout).unwrap();
    let text = |name: &str| made[name].as_str().unwrap();
    let key = text("platform_key");
    let platform = format!("/v1/platforms/{}", text("platform_id"));
    let budget = format!("{platform}/end-users/{}/budget", text("end_user_id"));

    let receiver = Receiver::start().await;
    let (one, other) = tokio::join!(site.serve(), site.serve());
    let hook = json!({ "url": receiver.url, "event_types": ["budget.topped_up"] });
    let (status, answer) = one
        .ask("POST", &format!("{platform}/webhooks"), key, &hook)
        .await;
    assert_eq!(status, 201, "{answer}");
    let (status, answer) = one
        .ask("POST", &budget, key, &json!({ "max_usd": 1 }))
        .await;
    assert_eq!(status, 201, "{answer}");
    for number in 0..EVENTS {
        let server = [&one, &other][number % 2];
        let top_up = format!("{budget}/topup");
        let (status, answer) = server
            .ask("POST", &top_up, key, &json!({ "amount_usd": 1 }))
            .await;
        assert_eq!(status, 200, "{answer}");
    }
    let all = async {
        while receiver.ids().len() < EVENTS {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(60), all).await.unwrap();
    // Whoever had more to send would have sent it before it ended.
    one.terminate().await;
    other.terminate().await;
    let mut ids = receiver.ids();
    assert_eq!(ids.len(), EVENTS, "{ids:?}");
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), EVENTS, "an event was sent twice");
}

#[tokio::test]
async fn check_tells_what_is_wrong_with_the_database() {
    let site = Site::new().await;
    site.database
        .execute(
            "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET synchronous_commit = off',
             current_database()); END $$",
        )
        .await;
    let checked = site.run(&["check"], b"").await;
    assert_eq!(checked.status.code(), Some(2), "{checked:?}");
    let said = String::from_utf8(checked.stdout).unwrap();
    assert!(said.contains("synchronous_commit"), "{said}");
}
