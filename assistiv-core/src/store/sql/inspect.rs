//! A look at a database that changes nothing, beside whoever uses it.

use super::{SqlOptions, SqlStore, Target, migrations};
use crate::clock::Timestamp;
use crate::store::StoreError;

/// A database that was opened for reading alone. Every act that writes fails.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// Its stores.
    pub store: SqlStore,
    /// Whether a gateway uses it now; `None` where that is told by the nodes' heartbeats alone.
    pub is_in_use: Option<bool>,
}

/// What a schema says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaState {
    /// Which one: `main` or `logs`.
    pub schema: &'static str,
    /// The newest migration that was applied.
    pub newest: Option<String>,
    /// Migrations of this program that were not applied.
    pub pending: Vec<String>,
    /// Migrations that this program does not know: a newer version made them.
    pub unknown: Vec<String>,
}

impl SqlStore {
    /// Opens a database for reading alone: no lock is taken and no schema changed.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when there is no such database, or it cannot be opened.
    pub async fn inspect(options: SqlOptions) -> Result<Inspection, StoreError> {
        match options.target {
            #[cfg(feature = "sqlite")]
            Target::Sqlite(path) => {
                let (store, is_in_use) = super::sqlite::open_read_only(path).await?;
                Ok(Inspection {
                    store,
                    is_in_use: Some(is_in_use),
                })
            }
            #[cfg(feature = "postgres")]
            Target::Postgres(url) => Ok(Inspection {
                store: super::postgres::open_read_only(&url).await?,
                is_in_use: None,
            }),
        }
    }

    /// What the schemas say of themselves.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn schemas(&self) -> Result<[SchemaState; 2], StoreError> {
        migrations::states(self.reader(), self.log_reader()).await
    }

    /// What time it is for the database.
    pub fn time(&self) -> Timestamp {
        self.now()
    }
}
