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

/// An error with all that led to it, on one line.
fn with_causes(error: &StoreError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
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

    /// What would keep [`SqlStore::open`] from opening a database, all at once; changes nothing. A
    /// SQLite file that is not there yet is no problem.
    pub async fn problems(options: SqlOptions) -> Vec<String> {
        match &options.target {
            #[cfg(feature = "sqlite")]
            Target::Sqlite(path) if !path.exists() => return Vec::new(),
            #[cfg(feature = "sqlite")]
            Target::Sqlite(_) => {}
            #[cfg(feature = "postgres")]
            Target::Postgres(url) => match super::postgres::problems(url).await {
                Ok(problems) if problems.is_empty() => {}
                Ok(problems) => return problems,
                Err(error) => return vec![with_causes(&error)],
            },
        }
        let schemas = async {
            let inspection = Self::inspect(options).await?;
            let schemas = inspection.store.schemas().await?;
            inspection.store.close().await?;
            Ok::<_, StoreError>((schemas, inspection.is_in_use))
        };
        let (schemas, is_in_use) = match schemas.await {
            Ok(found) => found,
            Err(error) => return vec![with_causes(&error)],
        };
        let newer = schemas.iter().flat_map(|schema| &schema.unknown);
        let newer = newer.map(|name| migrations::SchemaTooNew { name: name.clone() }.to_string());
        let in_use = (is_in_use == Some(true)).then(|| "another process uses it".to_owned());
        newer.chain(in_use).collect()
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
