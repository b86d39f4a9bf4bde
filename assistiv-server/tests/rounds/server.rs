//! A server as a process that can be frozen and killed.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use serde_json::Value;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::http::{Raw, exchange, request};

/// Longer than a start or a stop takes, on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Server {
    child: Child,
    address: SocketAddr,
    said: PathBuf,
}

impl Server {
    /// Starts a server and waits until it listens. What it says goes to a file.
    pub(crate) async fn start(mut command: Command, said: PathBuf) -> Self {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(&said)
            .unwrap();
        let child = command
            .args(["serve", "--listen", &address.to_string()])
            .stderr(log)
            .spawn()
            .unwrap();
        let mut server = Self {
            child,
            address,
            said,
        };
        let ready = async {
            while TcpStream::connect(address).await.is_err() {
                let ended = server.child.try_wait().unwrap();
                assert!(
                    ended.is_none(),
                    "the server ended at its start: {}",
                    server.said()
                );
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, ready)
            .await
            .expect("the server did not start");
        server
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The end of what it said.
    pub(crate) fn said(&self) -> String {
        let said = std::fs::read_to_string(&self.said).unwrap_or_default();
        let lines: Vec<_> = said.lines().rev().take(30).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// Bytes of memory that the process has in use.
    pub(crate) fn memory(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.id().unwrap());
        let status = std::fs::read_to_string(path).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.unwrap().trim().trim_end_matches("kB").trim();
        kilobytes.parse::<u64>().unwrap() << 10
    }

    /// `kill -9`.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// The same, by the way. It still has to be waited for.
    pub(crate) async fn kill_now(&self) {
        self.signal("-KILL").await;
    }

    pub(crate) async fn freeze(&self) {
        self.signal("-STOP").await;
    }

    pub(crate) async fn thaw(&self) {
        self.signal("-CONT").await;
    }

    /// Asks the server to stop and waits until it has.
    pub(crate) async fn terminate(mut self) -> ExitStatus {
        self.signal("-TERM").await;
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        status.expect("the server did not stop").unwrap()
    }

    async fn signal(&self, signal: &str) {
        let pid = self.child.id().unwrap().to_string();
        let told = Command::new("kill").args([signal, &pid]).status().await;
        assert!(told.unwrap().success());
    }

    /// A management call. None when there was no answer.
    pub(crate) async fn ask(
        &self,
        method: &str,
        path: &str,
        key: &str,
        idempotency: Option<&str>,
        body: &Value,
    ) -> Option<Raw> {
        let header = idempotency.map(|key| ("idempotency-key", key));
        let request = request(method, path, key, header.as_slice(), body);
        exchange(self.address, &request, |_| false).await.ok()
    }

    /// A management call that must succeed; gives the object.
    pub(crate) async fn manage(&self, method: &str, path: &str, key: &str, body: Value) -> Value {
        let answer = self.ask(method, path, key, None, &body).await.unwrap();
        assert!(answer.status() < 300, "{method} {path}: {answer:?}");
        answer.json()["data"].clone()
    }
}
