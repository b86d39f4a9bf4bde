//! What all processes of a test have in common: a database, a provider, and the settings that point to them.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use assistiv_core::id::PlatformId;
use assistiv_core::store::sql::SqlOptions;
use assistiv_core::testing::postgres::{TestDatabase, TestPostgres};
use assistiv_server::mock::Mock;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::server::Server;

/// The database, and where it is.
pub(crate) enum Place {
    /// A file, for one process at a time.
    File,
    /// A server, which may be the test's own.
    Postgres(TestDatabase),
}

pub(crate) struct Site {
    pub(crate) mock: Mock,
    pub(crate) place: Place,
    settings: Vec<(&'static str, String)>,
    dir: tempfile::TempDir,
}

/// Somebody who pays.
#[derive(Clone, Debug)]
pub(crate) struct Tenant {
    pub(crate) platform: PlatformId,
    pub(crate) key: String,
    /// The end user's id and key.
    pub(crate) user: Option<(String, String)>,
}

impl Site {
    pub(crate) fn new(place: Place, settings: &[(&'static str, &str)]) -> Self {
        let settings = settings
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()));
        Self {
            mock: Mock::start(([127, 0, 0, 1], 0).into()).unwrap(),
            place,
            settings: settings.collect(),
            dir: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) async fn on_shared_postgres(settings: &[(&'static str, &str)]) -> Self {
        let database = TestPostgres::shared().empty_database().await;
        Self::new(Place::Postgres(database), settings)
    }

    /// The database for reading.
    pub(crate) fn options(&self) -> SqlOptions {
        match &self.place {
            Place::File => SqlOptions::sqlite(self.dir.path().join("assistiv.db")),
            Place::Postgres(database) => database.options(),
        }
    }

    /// The program with this site's settings, and no others.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_assistiv-server"));
        command
            .env_clear()
            .kill_on_drop(true)
            .current_dir(self.dir.path());
        command
            .env("ASSISTIV_SERVER__DATA_DIR", self.dir.path())
            .env("ASSISTIV_SERVER__DRAIN_DELAY", "0s")
            .env("ASSISTIV_SECURITY__OUTBOUND_ALLOW", "127.0.0.1")
            .env("ASSISTIV_PROVIDERS__OPENAI__BASE_URL", self.mock.base_url())
            .env("ASSISTIV_LOG__LEVEL", "warn,assistiv_core::billing=info");
        if let Place::Postgres(database) = &self.place {
            command.env("ASSISTIV_DATABASE__URL", database.url());
            command.env("ASSISTIV_DATABASE__MAX_CONNECTIONS", "19");
        }
        for (name, value) in &self.settings {
            command.env(name, value);
        }
        command
    }

    /// Starts a server that reaches its database under this URL.
    pub(crate) async fn serve_by(&self, url: &str, name: &str) -> Server {
        let mut command = self.command();
        command.env("ASSISTIV_DATABASE__URL", url);
        Server::start(command, self.said(name)).await
    }

    pub(crate) async fn serve(&self, name: &str) -> Server {
        Server::start(self.command(), self.said(name)).await
    }

    fn said(&self, name: &str) -> PathBuf {
        self.dir.path().join(format!("{name}.log"))
    }

    /// Makes the first operator key.
    pub(crate) async fn operator(&self) -> String {
        let mut command = self.command();
        let arguments = "setup --platform First --balance 0 --json";
        command
            .args(arguments.split(' '))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let made = command.output().await.unwrap();
        assert!(made.status.success(), "{made:?}");
        let made: Value = serde_json::from_slice(&made.stdout).unwrap();
        made["operator_key"].as_str().unwrap().to_owned()
    }

    /// A clean bill of health, from a process of its own; waits for the log's rows.
    pub(crate) async fn doctor(&self) {
        let mut command = self.command();
        command
            .args(["doctor", "--json"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let report = tokio::time::timeout(Duration::from_secs(60), command.output()).await;
        let report = report.unwrap().unwrap();
        let said = String::from_utf8_lossy(&report.stdout);
        assert!(report.status.success(), "{said}{:?}", report.stderr);
    }
}

impl Tenant {
    /// A platform that can call the provider, with this balance in nano-dollars.
    pub(crate) async fn make(
        server: &Server,
        operator: &str,
        balance: i64,
        settings: Value,
    ) -> Self {
        let body = json!({
            "name": "Acme",
            "initial_balance_usd": dollars(balance),
            "settings": settings,
        });
        let made = server
            .manage("POST", "/v1/admin/platforms", operator, body)
            .await;
        let key = made["api_key"]["raw_key"].as_str().unwrap().to_owned();
        let id = made["id"].as_str().unwrap();
        let config = json!({"provider": "openai", "api_key": "sk-upstream"});
        let path = format!("/v1/platforms/{id}/llm-configs");
        server.manage("POST", &path, &key, config).await;
        Self {
            platform: id.parse().unwrap(),
            key,
            user: None,
        }
    }

    /// Gives it an end user with a budget.
    pub(crate) async fn with_user(mut self, server: &Server, budget: Value) -> Self {
        let users = format!("/v1/platforms/{}/end-users", self.platform);
        let body = json!({"external_id": "ada"});
        let made = server.manage("POST", &users, &self.key, body).await;
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let (id, key) = (text(&made["id"]), text(&made["api_key"]["raw_key"]));
        let path = format!("{users}/{id}/budget");
        server.manage("POST", &path, &self.key, budget).await;
        self.user = Some((id, key));
        self
    }
}

/// Nano-dollars as the API takes them.
pub(crate) fn dollars(nano: i64) -> String {
    format!("{}.{:09}", nano / 1_000_000_000, nano % 1_000_000_000)
}
