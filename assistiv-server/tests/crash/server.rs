//! The server as a process that can be killed.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use assistiv_core::id::PlatformId;
use assistiv_server::mock::Mock;
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

const PROGRAM: &str = env!("CARGO_BIN_EXE_assistiv-server");

/// A platform and an end user of it.
pub(crate) struct Tenant {
    pub(crate) platform_id: PlatformId,
    platform_key: String,
    end_user_key: String,
}

pub(crate) struct Server {
    child: Child,
    address: SocketAddr,
}

impl Tenant {
    /// Platform and end user in turn.
    pub(crate) fn key_of(&self, round: u32) -> &str {
        if round.is_multiple_of(2) {
            &self.platform_key
        } else {
            &self.end_user_key
        }
    }
}

/// Creates a platform with a provider key that the mock takes.
pub(crate) async fn set_up(dir: &Path, mock: &Mock, balance: &str) -> Tenant {
    let mut child = command(dir, mock)
        .args([
            "setup",
            "--platform",
            "Crash",
            "--end-user",
            "ada",
            "--balance",
            balance,
        ])
        .args(["--provider", "openai", "--api-key-stdin", "--json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(b"sk-upstream\n")
        .await
        .unwrap();
    let output = child.wait_with_output().await.unwrap();
    assert!(output.status.success(), "setup failed");
    let made: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |name: &str| made[name].as_str().unwrap().to_owned();
    Tenant {
        platform_id: text("platform_id").parse().unwrap(),
        platform_key: text("platform_key"),
        end_user_key: text("end_user_key"),
    }
}

/// What a server says that does not start.
pub(crate) async fn refused(dir: &Path, mock: &Mock) -> String {
    let mut command = command(dir, mock);
    command
        .args(["serve", "--listen", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let ended = tokio::time::timeout(Duration::from_secs(60), command.output()).await;
    let ended = ended.expect("the server serves").unwrap();
    assert!(!ended.status.success(), "{ended:?}");
    String::from_utf8_lossy(&ended.stderr).into_owned()
}

impl Server {
    /// Starts the server and waits until it is ready.
    pub(crate) async fn start(dir: &Path, mock: &Mock) -> Self {
        let address = free_address();
        let child = command(dir, mock)
            .args(["serve", "--listen", &address.to_string()])
            .spawn()
            .unwrap();
        let mut server = Self { child, address };
        let ready = async {
            while TcpStream::connect(address).await.is_err() {
                assert!(
                    server.child.try_wait().unwrap().is_none(),
                    "the server ended at its start"
                );
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), ready)
            .await
            .expect("the server did not start");
        server
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// `kill -9`.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Asks the server to stop and waits until it has.
    pub(crate) async fn terminate(mut self) {
        let pid = self.child.id().unwrap().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &pid])
                .status()
                .await
                .unwrap()
                .success()
        );
        let status = tokio::time::timeout(Duration::from_secs(60), self.child.wait()).await;
        assert!(status.expect("the server did not stop").unwrap().success());
    }
}

fn command(dir: &Path, mock: &Mock) -> Command {
    let mut command = Command::new(PROGRAM);
    // Settings of the one who runs the tests have no business here.
    command.env_clear().kill_on_drop(true).current_dir(dir);
    command
        .env("ASSISTIV_SERVER__DATA_DIR", dir)
        .env("ASSISTIV_SERVER__DRAIN_DELAY", "0s")
        .env("ASSISTIV_SECURITY__OUTBOUND_ALLOW", "127.0.0.1")
        .env("ASSISTIV_SECURITY__WEBHOOK_ALLOW", "127.0.0.1")
        .env("ASSISTIV_PROVIDERS__OPENAI__BASE_URL", mock.base_url())
        .env("ASSISTIV_LOG__LEVEL", "error");
    command
}

/// A port that nothing listens on at the moment.
fn free_address() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}
