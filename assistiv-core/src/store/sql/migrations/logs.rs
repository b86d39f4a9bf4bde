//! The schema of the request log. It may be in a database of its own, and so it has migrations of
//! its own.

mod m20261123_000001_logs;

use sea_orm::DynIden;
use sea_orm::sea_query::IntoIden;
use sea_orm_migration::{MigrationTrait, MigratorTrait};

pub(in crate::store::sql) struct LogMigrator;

impl MigratorTrait for LogMigrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(m20261123_000001_logs::Migration)]
    }

    fn migration_table_name() -> DynIden {
        "log_migrations".into_iden()
    }
}
