//! The schema, as migrations that are only ever appended to.
//!
//! A migration names its tables and columns by itself and never refers to the entities: those
//! follow the newest schema, a migration stays as it was when it was first applied somewhere.

mod logs;
mod m20261123_000001_tenancy;
mod m20261123_000002_billing;
mod m20261123_000003_settings;
mod m20261123_000004_nodes;
mod m20261123_000005_events;
mod m20261123_000008_postgres;
mod m20261123_000009_changes;
mod m20261123_000020_prices;
mod m20261123_000021_rerating;
mod m20261123_000030_responses;
mod m20261123_000070_webhooks;
mod m20261124_000050_model_routes;
mod m20261124_000051_audit;
mod m20261124_000060_rate_limits;

use std::collections::HashSet;

use sea_orm::sea_query::{ColumnDef, Order, Query};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, DbErr};
use sea_orm_migration::{MigrationTrait, MigratorTrait, SchemaManager};

use super::error::failed;
use super::inspect::SchemaState;
use crate::store::StoreError;

struct Migrator;

/// The schema holds a migration that this program does not know: a newer version of it made the
/// database.
#[derive(Debug, thiserror::Error)]
#[error("the database has a newer schema than this program: it has migration `{name}`")]
pub(super) struct SchemaTooNew {
    pub(super) name: String,
}

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m20261123_000001_tenancy::Migration),
            Box::new(m20261123_000002_billing::Migration),
            Box::new(m20261123_000003_settings::Migration),
            Box::new(m20261123_000004_nodes::Migration),
            Box::new(m20261123_000005_events::Migration),
            Box::new(m20261123_000008_postgres::Migration),
            Box::new(m20261123_000009_changes::Migration),
            Box::new(m20261123_000020_prices::Migration),
            Box::new(m20261123_000021_rerating::Migration),
            Box::new(m20261123_000030_responses::Migration),
            Box::new(m20261123_000070_webhooks::Migration),
            Box::new(m20261124_000050_model_routes::Migration),
            Box::new(m20261124_000051_audit::Migration),
            Box::new(m20261124_000060_rate_limits::Migration),
        ]
    }
}

/// Brings the schema up to date.
///
/// # Errors
/// When the schema is newer than this program, or the database fails.
pub(super) async fn migrate(db: &DatabaseConnection) -> Result<(), StoreError> {
    bring_up_to_date::<Migrator>(db).await
}

/// Brings the schema of the request log up to date, in whatever database it is.
///
/// # Errors
/// As [`migrate`].
pub(super) async fn migrate_logs(db: &DatabaseConnection) -> Result<(), StoreError> {
    bring_up_to_date::<logs::LogMigrator>(db).await
}

async fn bring_up_to_date<M: MigratorTrait>(db: &DatabaseConnection) -> Result<(), StoreError> {
    let applied = M::get_migration_models(db).await.map_err(failed)?;
    let known: HashSet<_> = M::migrations()
        .iter()
        .map(|m| m.name().to_owned())
        .collect();
    if let Some(newer) = applied
        .into_iter()
        .find(|model| !known.contains(&model.version))
    {
        return Err(StoreError::unavailable(SchemaTooNew {
            name: newer.version,
        }));
    }
    M::up(db, None).await.map_err(failed)
}

/// What the schemas say of themselves: the main one and the request log's. Changes nothing.
pub(super) async fn states(
    db: &DatabaseConnection,
    logs: &DatabaseConnection,
) -> Result<[SchemaState; 2], StoreError> {
    Ok([
        state::<Migrator>("main", db).await?,
        state::<logs::LogMigrator>("logs", logs).await?,
    ])
}

async fn state<M: MigratorTrait>(
    schema: &'static str,
    db: &DatabaseConnection,
) -> Result<SchemaState, StoreError> {
    let mut select = Query::select();
    select
        .column("version")
        .from(M::migration_table_name())
        .order_by("version", Order::Asc);
    let table = M::migration_table_name().to_string();
    let is_made = SchemaManager::new(db).has_table(table).await;
    let rows = if is_made.map_err(failed)? {
        db.query_all(&select).await.map_err(failed)?
    } else {
        Vec::new()
    };
    let applied = rows
        .iter()
        .map(|row| row.try_get_by_index(0).map_err(failed))
        .collect::<Result<Vec<String>, _>>()?;
    let known: Vec<String> = M::migrations()
        .iter()
        .map(|m| m.name().to_owned())
        .collect();
    let without = |of: &[String], other: &[String]| {
        let rest = of.iter().filter(|name| !other.contains(name));
        rest.cloned().collect()
    };
    Ok(SchemaState {
        schema,
        newest: applied.last().cloned(),
        pending: without(&known, &applied),
        unknown: without(&applied, &known),
    })
}

/// Refuses every change of rows that are there: what was written down stays.
async fn append_only(manager: &SchemaManager<'_>, table: &str) -> Result<(), DbErr> {
    let refuse = format!("{table} is append only");
    let statements = match manager.get_database_backend() {
        DbBackend::Sqlite => ["UPDATE", "DELETE"].map(|change| {
            let name = change.to_lowercase();
            format!(
                "CREATE TRIGGER {table}_no_{name} BEFORE {change} ON {table}
                 BEGIN SELECT RAISE(ABORT, '{refuse}'); END"
            )
        }),
        // The function has the ledger's name in it, and tells it to whoever changes another table.
        _ => [("UPDATE OR DELETE", "ROW"), ("TRUNCATE", "STATEMENT")].map(|(change, each)| {
            let name = each.to_lowercase();
            format!(
                "CREATE TRIGGER {table}_no_{name} BEFORE {change} ON {table}
                 FOR EACH {each} EXECUTE FUNCTION billing_ledger_refuse()"
            )
        }),
    };
    for statement in statements {
        let connection = manager.get_connection();
        connection.execute_unprepared(&statement).await?;
    }
    Ok(())
}

// Columns by type, for the migrations: `NOT NULL` unless the name says otherwise.

fn uuid(name: &'static str) -> ColumnDef {
    ColumnDef::new(name).uuid().not_null().take()
}

fn uuid_or_null(name: &'static str) -> ColumnDef {
    ColumnDef::new(name).uuid().null().take()
}

fn big(name: &'static str) -> ColumnDef {
    ColumnDef::new(name).big_integer().not_null().take()
}

fn big_zero(name: &'static str) -> ColumnDef {
    ColumnDef::new(name)
        .big_integer()
        .not_null()
        .default(0)
        .take()
}

fn big_or_null(name: &'static str) -> ColumnDef {
    ColumnDef::new(name).big_integer().null().take()
}

fn identity(name: &'static str) -> ColumnDef {
    ColumnDef::new(name)
        .big_integer()
        .not_null()
        .auto_increment()
        .primary_key()
        .take()
}

fn small(name: &'static str) -> ColumnDef {
    ColumnDef::new(name).small_integer().not_null().take()
}

fn small_zero(name: &'static str) -> ColumnDef {
    ColumnDef::new(name)
        .small_integer()
        .not_null()
        .default(0)
        .take()
}

fn flag(name: &'static str) -> ColumnDef {
    ColumnDef::new(name).boolean().not_null().take()
}

fn text(name: &'static str) -> ColumnDef {
    ColumnDef::new(name).text().not_null().take()
}

fn text_or_null(name: &'static str) -> ColumnDef {
    ColumnDef::new(name).text().null().take()
}

fn string(name: &'static str, max: u32) -> ColumnDef {
    ColumnDef::new(name).string_len(max).not_null().take()
}

fn string_or_null(name: &'static str, max: u32) -> ColumnDef {
    ColumnDef::new(name).string_len(max).null().take()
}

fn bytes(name: &'static str) -> ColumnDef {
    ColumnDef::new(name).blob().not_null().take()
}
