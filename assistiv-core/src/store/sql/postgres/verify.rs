//! Whether the server keeps what it acknowledges, and the connection is one session.

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions as _, Connection, Row};

use crate::store::StoreError;

/// The oldest version that works, as the server numbers them.
const OLDEST: i32 = 130_000;

/// What stands against a server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Unfit {
    #[error("the server is PostgreSQL {found}; version 13 or newer is needed")]
    TooOld { found: String },
    #[error(
        "the server runs with {name}={value}: it may lose charges that it has acknowledged; \
         set {name}={wanted} in postgresql.conf and restart it"
    )]
    Unsafe {
        name: &'static str,
        value: String,
        wanted: &'static str,
    },
    #[error(
        "synchronous_commit is off for this role and database: charges that were acknowledged may \
         be lost; set it to on in postgresql.conf, and reset it for the role and the database"
    )]
    AsynchronousCommit,
    #[error("the database is encoded as {found}; create it with ENCODING 'UTF8'")]
    Encoding { found: String },
    #[error("the server is a standby and only reads; give the address of the primary")]
    Standby,
    #[error(
        "the connection goes through a pooler that gives sessions away between transactions; \
         connect to the server itself, or set pool_mode=session for this database"
    )]
    TransactionPooler,
}

/// Everything that stands against a server, as one error.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
struct Refused(Vec<Unfit>);

/// What a server says about itself.
struct Facts {
    version_number: i32,
    version: String,
    fsync: String,
    full_page_writes: String,
    synchronous_commit: String,
    encoding: String,
    is_standby: bool,
}

const FACTS: &str = "SELECT current_setting('server_version_num')::int AS version_number,
    current_setting('server_version') AS version,
    current_setting('fsync') AS fsync,
    current_setting('full_page_writes') AS full_page_writes,
    current_setting('synchronous_commit') AS synchronous_commit,
    current_setting('server_encoding') AS encoding,
    pg_is_in_recovery() AS is_standby";

/// Refuses a server that may lose what it has acknowledged, or that cannot be worked with.
pub(super) async fn verify(options: &PgConnectOptions) -> Result<(), StoreError> {
    let unfit = unfit(options).await?;
    if unfit.is_empty() {
        Ok(())
    } else {
        Err(StoreError::unavailable(Refused(unfit)))
    }
}

/// The same as texts, one for each problem.
pub(super) async fn problems(options: &PgConnectOptions) -> Result<Vec<String>, StoreError> {
    let unfit = unfit(options).await?;
    Ok(unfit.iter().map(ToString::to_string).collect())
}

async fn unfit(options: &PgConnectOptions) -> Result<Vec<Unfit>, StoreError> {
    let mut unfit = Vec::new();
    let mut session = options.connect().await.map_err(StoreError::unavailable)?;
    let facts = Facts::read(&mut session)
        .await
        .map_err(StoreError::unavailable)?;
    unfit.extend(facts.unfit());
    let pooled = is_shared(options, &mut session)
        .await
        .map_err(StoreError::unavailable)?;
    unfit.extend(pooled.then_some(Unfit::TransactionPooler));
    // Whatever comes of it: nothing was done in the session.
    let _ = session.close().await;
    Ok(unfit)
}

// === impl Facts ===

impl Facts {
    async fn read(session: &mut PgConnection) -> Result<Self, sqlx::Error> {
        // Not prepared: a pooler may not know prepared statements.
        let row = sqlx::raw_sql(FACTS).fetch_one(session).await?;
        Ok(Self {
            version_number: row.try_get("version_number")?,
            version: row.try_get("version")?,
            fsync: row.try_get("fsync")?,
            full_page_writes: row.try_get("full_page_writes")?,
            synchronous_commit: row.try_get("synchronous_commit")?,
            encoding: row.try_get("encoding")?,
            is_standby: row.try_get("is_standby")?,
        })
    }

    fn unfit(&self) -> Vec<Unfit> {
        let mut unfit = Vec::new();
        if self.version_number < OLDEST {
            unfit.push(Unfit::TooOld {
                found: self.version.clone(),
            });
        }
        for (name, value) in [
            ("fsync", &self.fsync),
            ("full_page_writes", &self.full_page_writes),
        ] {
            if value != "on" {
                unfit.push(Unfit::Unsafe {
                    name,
                    value: value.clone(),
                    wanted: "on",
                });
            }
        }
        if self.synchronous_commit == "off" {
            unfit.push(Unfit::AsynchronousCommit);
        }
        if self.encoding != "UTF8" {
            unfit.push(Unfit::Encoding {
                found: self.encoding.clone(),
            });
        }
        if self.is_standby {
            unfit.push(Unfit::Standby);
        }
        unfit
    }
}

/// Whether two connections that are open at the same time come to the same session of the server,
/// or one of them to two: then a pooler gives sessions away between transactions.
async fn is_shared(
    options: &PgConnectOptions,
    first: &mut PgConnection,
) -> Result<bool, sqlx::Error> {
    let before = session_of(first).await?;
    let mut second = options.connect().await?;
    // In a transaction the second connection keeps its session, so the first one gets another if
    // that was its own.
    sqlx::raw_sql("BEGIN").execute(&mut second).await?;
    let other = session_of(&mut second).await?;
    let after = session_of(first).await?;
    let _ = second.close().await;
    Ok(before != after || before == other)
}

async fn session_of(connection: &mut PgConnection) -> Result<i32, sqlx::Error> {
    let row = sqlx::raw_sql("SELECT pg_backend_pid() AS pid")
        .fetch_one(connection)
        .await?;
    row.try_get("pid")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit() -> Facts {
        Facts {
            version_number: 150_000,
            version: "15.0".to_owned(),
            fsync: "on".to_owned(),
            full_page_writes: "on".to_owned(),
            synchronous_commit: "on".to_owned(),
            encoding: "UTF8".to_owned(),
            is_standby: false,
        }
    }

    fn refused(facts: &Facts) -> String {
        let [unfit] = &facts.unfit()[..] else {
            panic!("not one problem: {:?}", facts.unfit());
        };
        unfit.to_string()
    }

    #[test]
    fn a_server_that_keeps_what_it_acknowledges_is_fit() {
        assert_eq!(fit().unfit(), []);
        for synchronous_commit in ["on", "local", "remote_write", "remote_apply"] {
            let facts = Facts {
                synchronous_commit: synchronous_commit.to_owned(),
                ..fit()
            };
            assert_eq!(facts.unfit(), []);
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_the_remedy() {
        let off = || "off".to_owned();
        let old = Facts {
            version_number: 120_017,
            version: "12.17".to_owned(),
            ..fit()
        };
        assert!(refused(&old).contains("12.17"));
        let unsafe_disk = Facts {
            fsync: off(),
            ..fit()
        };
        assert!(refused(&unsafe_disk).contains("set fsync=on"));
        let torn = Facts {
            full_page_writes: off(),
            ..fit()
        };
        assert!(refused(&torn).contains("set full_page_writes=on"));
        let late = Facts {
            synchronous_commit: off(),
            ..fit()
        };
        assert!(refused(&late).contains("synchronous_commit"));
        let ascii = Facts {
            encoding: "SQL_ASCII".to_owned(),
            ..fit()
        };
        assert!(refused(&ascii).contains("ENCODING 'UTF8'"));
        let standby = Facts {
            is_standby: true,
            ..fit()
        };
        assert!(refused(&standby).contains("primary"));
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let facts = Facts {
            fsync: "off".to_owned(),
            full_page_writes: "off".to_owned(),
            ..fit()
        };
        let text = Refused(facts.unfit()).to_string();
        assert!(text.contains("fsync") && text.contains("full_page_writes"));
    }
}
