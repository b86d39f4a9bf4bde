//! The audit log. Its rows are never changed, and outlive what they tell of.

use sea_orm::sea_query::{Index, IndexOrder, Table};
use sea_orm::{ConnectionTrait, DbBackend};
use sea_orm_migration::{DbErr, MigrationName, MigrationTrait, SchemaManager, async_trait};

use super::{big, text, text_or_null, uuid, uuid_or_null};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m20261124_000051_audit"
    }
}

const ON_SQLITE: &[&str] = &[
    "CREATE TRIGGER audit_log_no_update BEFORE UPDATE ON audit_log
     BEGIN SELECT RAISE(ABORT, 'audit_log is append only'); END",
    "CREATE TRIGGER audit_log_no_delete BEFORE DELETE ON audit_log
     BEGIN SELECT RAISE(ABORT, 'audit_log is append only'); END",
];

const ON_POSTGRES: &[&str] = &[
    "CREATE FUNCTION audit_log_refuse() RETURNS trigger LANGUAGE plpgsql AS
     $$ BEGIN RAISE EXCEPTION 'audit_log is append only'; END $$",
    "CREATE TRIGGER audit_log_no_change BEFORE UPDATE OR DELETE ON audit_log
     FOR EACH ROW EXECUTE FUNCTION audit_log_refuse()",
    "CREATE TRIGGER audit_log_no_truncate BEFORE TRUNCATE ON audit_log
     FOR EACH STATEMENT EXECUTE FUNCTION audit_log_refuse()",
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::create()
            .table("audit_log")
            .col(uuid("id").primary_key())
            .col(uuid("platform_id"))
            .col(text("action"))
            .col(text("actor"))
            .col(uuid_or_null("actor_key"))
            .col(text("resource_type"))
            .col(uuid_or_null("resource_id"))
            .col(uuid_or_null("end_user_id"))
            .col(text("changes"))
            .col(text_or_null("request_id"))
            .col(text_or_null("key_prefix"))
            .col(text_or_null("ip"))
            .col(big("created_at"))
            .take();
        manager.create_table(table).await?;
        let newest_first = Index::create()
            .name("audit_log_platform_id")
            .table("audit_log")
            .col("platform_id")
            .col(("created_at", IndexOrder::Desc))
            .col(("id", IndexOrder::Desc))
            .take();
        manager.create_index(newest_first).await?;
        let statements = match manager.get_database_backend() {
            DbBackend::Postgres => ON_POSTGRES,
            _ => ON_SQLITE,
        };
        for statement in statements {
            manager
                .get_connection()
                .execute_unprepared(statement)
                .await?;
        }
        Ok(())
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}
