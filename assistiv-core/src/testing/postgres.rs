//! A PostgreSQL server for tests, from the programs of the system's packages.
//!
//! [`TestPostgres::shared`] is one server for all test processes of this workspace: the first one
//! starts it, and it ends by itself a few seconds after the last one has gone. Each test takes a
//! database of its own from it, a copy of one that has the schema already, which takes a few
//! hundredths of a second. [`TestPostgres::start`] is a server for one test alone, which may stop it
//! in the middle of everything and start it again.
//!
//! ```no_run
//! # async fn example() {
//! use assistiv_core::store::sql::SqlStore;
//! use assistiv_core::testing::postgres::TestPostgres;
//!
//! let database = TestPostgres::shared().database().await;
//! let store = SqlStore::open(database.options()).await.unwrap();
//! # }
//! ```
//!
//! With `ASSISTIV_TEST_POSTGRES_URL` the shared server is the one that it names, as a role that may
//! create databases. `ASSISTIV_TEST_POSTGRES_BIN` names the folder of `initdb` and `pg_ctl` where
//! they are not at Debian's place. Nothing is skipped: a test on a machine without PostgreSQL fails,
//! and says what to install.

mod cluster;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, OnceLock};

use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection, Statement};
use tokio::sync::OnceCell;
use uuid::Uuid;

use self::cluster::Cluster;
use crate::store::sql::{SqlOptions, SqlStore};

/// The database that is always there, for statements that make and remove others.
const MAINTENANCE: &str = "postgres";

/// The key of the advisory lock under which the template is made.
const TEMPLATE_LOCK: i64 = 0x7465_6d70_6c61_7465;

/// A server.
#[derive(Clone, Debug)]
pub struct TestPostgres(Arc<Server>);

#[derive(Debug)]
struct Server {
    at: Address,
    template: OnceCell<String>,
}

#[derive(Debug)]
enum Address {
    /// Started here, or by another test process of this workspace.
    Cluster(Cluster),
    /// Given by whoever runs the tests.
    Given(String),
}

/// A database that goes away with the last clone.
#[derive(Clone, Debug)]
pub struct TestDatabase(Arc<Dropped>);

#[derive(Debug)]
struct Dropped {
    server: Arc<Server>,
    name: String,
}

// === impl TestPostgres ===

impl TestPostgres {
    /// The server that all tests of this workspace share.
    pub fn shared() -> Self {
        static SHARED: OnceLock<TestPostgres> = OnceLock::new();
        let shared = SHARED.get_or_init(|| match std::env::var("ASSISTIV_TEST_POSTGRES_URL") {
            Ok(url) if !url.is_empty() => Self::at(Address::Given(url)),
            _ => Self::at(Address::Cluster(Cluster::shared())),
        });
        shared.clone()
    }

    /// A server of its own, on a free port of the loopback address too. It ends with the last clone,
    /// or with the process.
    pub fn start() -> Self {
        Self::at(Address::Cluster(Cluster::own()))
    }

    fn at(at: Address) -> Self {
        Self(Arc::new(Server {
            at,
            template: OnceCell::new(),
        }))
    }

    /// A new database with the schema in it.
    pub async fn database(&self) -> TestDatabase {
        let template = self.0.template.get_or_init(|| self.make_template()).await;
        self.create(Some(template)).await
    }

    /// A new database with nothing in it.
    pub async fn empty_database(&self) -> TestDatabase {
        self.create(None).await
    }

    /// Ends every session and the server without letting it finish or write anything: what a crash
    /// of the machine leaves behind, but for the disk.
    ///
    /// # Panics
    /// When the server is shared with other tests.
    pub fn crash(&self) {
        self.own_cluster().stop();
    }

    /// Starts the server again after [`TestPostgres::crash`], at the same place.
    ///
    /// # Panics
    /// When the server is shared with other tests, or does not start.
    pub fn start_again(&self) {
        self.own_cluster().start();
    }

    fn own_cluster(&self) -> &Cluster {
        match &self.0.at {
            Address::Cluster(cluster) if cluster.is_own() => cluster,
            _ => panic!("other tests use this server"),
        }
    }

    async fn create(&self, template: Option<&str>) -> TestDatabase {
        let name = format!("test_{}", Uuid::new_v4().simple());
        let from = template.map_or(String::new(), |template| format!(" TEMPLATE {template}"));
        let session = self.0.maintenance().await;
        run(&session, &format!("CREATE DATABASE {name}{from}")).await;
        session.close().await.unwrap();
        TestDatabase(Arc::new(Dropped {
            server: self.0.clone(),
            name,
        }))
    }

    /// Makes the database that the others are copies of, once for each build of a test program.
    async fn make_template(&self) -> String {
        let name = format!("template_{}", build());
        let session = self.0.maintenance().await;
        run(
            &session,
            &format!("SELECT pg_advisory_lock({TEMPLATE_LOCK})"),
        )
        .await;
        let find = format!("SELECT 1 FROM pg_database WHERE datname = '{name}'");
        let find = Statement::from_string(sea_orm::DbBackend::Postgres, find);
        if session.query_one_raw(find).await.unwrap().is_none() {
            let unfinished = format!("{name}_unfinished");
            run(&session, &format!("DROP DATABASE IF EXISTS {unfinished}")).await;
            run(&session, &format!("CREATE DATABASE {unfinished}")).await;
            let store = SqlStore::open(SqlOptions::postgres(self.0.url(&unfinished)))
                .await
                .unwrap();
            store.close().await.unwrap();
            run(
                &session,
                &format!("ALTER DATABASE {unfinished} RENAME TO {name}"),
            )
            .await;
        }
        // The lock goes with the session.
        session.close().await.unwrap();
        name
    }
}

// === impl TestDatabase ===

impl TestDatabase {
    /// Its URL, through a socket file where the server was started here.
    pub fn url(&self) -> String {
        self.0.server.url(&self.0.name)
    }

    /// Its URL over the network.
    ///
    /// # Panics
    /// When the server is the shared one of this workspace, which has no port.
    pub fn tcp_url(&self) -> String {
        match &self.0.server.at {
            Address::Cluster(cluster) => cluster.tcp_url(&self.0.name),
            Address::Given(_) => self.url(),
        }
    }

    /// Options that open it.
    pub fn options(&self) -> SqlOptions {
        SqlOptions::postgres(self.url())
    }

    /// Runs statements that no store has, each of them by itself.
    pub async fn execute(&self, statements: &str) {
        let session = connect(self.url(), 1).await;
        run(&session, statements).await;
        session.close().await.unwrap();
    }

    /// The number that a query finds.
    pub async fn number(&self, query: &str) -> i64 {
        let session = connect(self.url(), 1).await;
        let select = format!("SELECT ({query})::bigint AS number");
        let select = Statement::from_string(sea_orm::DbBackend::Postgres, select);
        let row = session.query_one_raw(select).await.unwrap().unwrap();
        session.close().await.unwrap();
        row.try_get("", "number").unwrap()
    }

    /// A pool of sessions, for statements that no store has.
    pub async fn connect(&self) -> DatabaseConnection {
        connect(self.url(), 2).await
    }
}

impl Drop for Dropped {
    fn drop(&mut self) {
        let url = self.server.url(MAINTENANCE);
        let drop_it = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        // On a thread of its own, because this may be the end of a runtime. What cannot be dropped
        // goes with the server.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            let _ = runtime.map(|runtime| {
                runtime.block_on(async {
                    if let Ok(session) = Database::connect(options(url, 1)).await {
                        let _ = session.execute_unprepared(&drop_it).await;
                        let _ = session.close().await;
                    }
                });
            });
        });
        let _ = dropped.join();
    }
}

// === impl Server ===

impl Server {
    fn url(&self, database: &str) -> String {
        match &self.at {
            Address::Cluster(cluster) => cluster.socket_url(database),
            Address::Given(url) => with_database(url, database),
        }
    }

    async fn maintenance(&self) -> DatabaseConnection {
        connect(self.url(MAINTENANCE), 1).await
    }
}

/// The URL with another database in it.
fn with_database(url: &str, database: &str) -> String {
    let (address, query) = match url.split_once('?') {
        Some((address, query)) => (address, format!("?{query}")),
        None => (url, String::new()),
    };
    let begin = address.find("://").map_or(0, |at| at + 3);
    let end = address[begin..]
        .find('/')
        .map_or(address.len(), |at| begin + at);
    format!("{}/{database}{query}", &address[..end])
}

fn options(url: String, sessions: u32) -> ConnectOptions {
    let mut options = ConnectOptions::new(url);
    options
        .max_connections(sessions)
        .sqlx_logging(false)
        .test_before_acquire(false);
    options
}

async fn connect(url: String, sessions: u32) -> DatabaseConnection {
    Database::connect(options(url, sessions)).await.unwrap()
}

async fn run(session: &DatabaseConnection, statement: &str) {
    session.execute_unprepared(statement).await.unwrap();
}

/// Tells builds of test programs apart: each may have another schema.
fn build() -> String {
    let program = std::env::current_exe().unwrap();
    let mut hasher = DefaultHasher::new();
    program
        .metadata()
        .and_then(|metadata| metadata.modified())
        .unwrap()
        .hash(&mut hasher);
    program.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_takes_another_database() {
        for (url, other) in [
            ("postgres://u:p@h:1/a?x=/y", "postgres://u:p@h:1/b?x=/y"),
            ("postgres://h", "postgres://h/b"),
        ] {
            assert_eq!(with_database(url, "b"), other);
        }
    }
}
