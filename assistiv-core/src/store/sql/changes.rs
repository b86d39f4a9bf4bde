//! [`ChangeFeed`] in SQL.

use async_trait::async_trait;
use sea_orm::{
    ConnectionTrait, DatabaseTransaction, DbBackend, EntityTrait, NotSet, Set, Statement,
};

use super::SqlStore;
use super::entities::change;
use super::error::failed;
use crate::auth::SweeperScope;
use crate::clock::Timestamp;
use crate::id::PlatformId;
use crate::store::{Change, ChangeFeed, Changed, News, StoreError};

/// How long a change is shown, in microseconds.
const SHOWN: i64 = 60_000_000;

/// How long a change is kept, in microseconds.
const KEPT: i64 = 3_600_000_000;

/// Where PostgreSQL tells listening nodes that something was changed.
pub(super) const CHANNEL: &str = "assistiv_changes";

#[async_trait]
impl ChangeFeed for SqlStore {
    fn is_shared(&self) -> bool {
        self.is_shared()
    }

    async fn recent(&self, scope: &SweeperScope) -> Result<Vec<Change>, StoreError> {
        let since = Timestamp::from_micros(self.now().as_micros() - SHOWN);
        let rows = change::Entity::since(scope, since)
            .all(self.reader())
            .await
            .map_err(failed)?;
        rows.iter().map(change::Model::to_domain).collect()
    }

    async fn news(&self) -> News {
        #[cfg(feature = "postgres")]
        if let Some(server) = self.server() {
            return server.news().await;
        }
        std::future::pending().await
    }
}

/// Tells other nodes of a change with the transaction that makes it. Where no other process can be,
/// nothing is told.
pub(super) async fn tell(
    txn: &DatabaseTransaction,
    platform: PlatformId,
    what: Changed,
    now: Timestamp,
) -> Result<(), StoreError> {
    if txn.get_database_backend() == DbBackend::Sqlite {
        return Ok(());
    }
    let row = change::ActiveModel {
        seq: NotSet,
        platform_id: Set(platform.as_uuid()),
        what: Set(what as i16),
        created_at: Set(now.as_micros()),
    };
    change::Entity::insert(row)
        .exec_without_returning(txn)
        .await
        .map_err(failed)?;
    // Old ones go a few at a time, those that nobody else is just removing.
    let prune = "DELETE FROM changes WHERE seq IN (SELECT seq FROM changes WHERE created_at < $1
        ORDER BY created_at LIMIT 10 FOR UPDATE SKIP LOCKED)";
    let kept_since = now.as_micros() - KEPT;
    for (statement, value) in [
        (prune, kept_since.into()),
        // Delivered when the transaction commits.
        ("SELECT pg_notify($1, '')", CHANNEL.into()),
    ] {
        let statement = Statement::from_sql_and_values(DbBackend::Postgres, statement, [value]);
        txn.execute_raw(statement).await.map_err(failed)?;
    }
    Ok(())
}
