//! Rows, rollups and marks of the request log.

use async_trait::async_trait;
use sea_orm::sea_query::{
    ConditionalStatement, Expr, ExprTrait, Index, IndexCreateStatement, Table,
};
use sea_orm::{DbBackend, DbErr};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};

use super::super::{
    big, big_or_null, big_zero, flag, small, string, string_or_null, text_or_null, uuid,
    uuid_or_null,
};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m20261123_000001_logs"
    }
}

#[async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        rows(manager).await?;
        rollups(manager).await?;
        let marks = Table::create()
            .table("log_marks")
            .col(string("name", 32).primary_key())
            .col(big("value"))
            .take();
        manager.create_table(marks).await
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}

async fn rows(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let table = Table::create()
        .table("logs")
        .col(uuid("id").primary_key())
        .col(uuid("platform_id"))
        .col(uuid_or_null("end_user_id"))
        .col(uuid_or_null("api_key_id"))
        .col(small("request_type"))
        .col(uuid_or_null("provider_id"))
        .col(string_or_null("provider", 64))
        .col(uuid_or_null("model_id"))
        .col(string_or_null("model", 64))
        .col(text_or_null("provider_model_id"))
        .col(big("prompt_tokens"))
        .col(big("completion_tokens"))
        .col(big("latency_ms"))
        .col(big("cost_usd"))
        .col(small("status"))
        .col(text_or_null("error_message"))
        .col(string_or_null("reason", 64))
        .col(flag("is_estimated"))
        .col(small("billing_status"))
        .col(text_or_null("request_id"))
        .col(flag("starts_request"))
        .col(big_or_null("overhead_us"))
        .col(uuid_or_null("price_id"))
        .col(text_or_null("metadata"))
        .col(big("created_at"))
        .take();
    manager.create_table(table).await?;
    for (name, columns) in [
        ("logs_platform", &["platform_id", "created_at", "id"][..]),
        (
            "logs_end_user",
            &["platform_id", "end_user_id", "created_at", "id"],
        ),
        ("logs_model", &["platform_id", "model", "created_at", "id"]),
        ("logs_request", &["platform_id", "request_id"]),
        ("logs_age", &["created_at"]),
    ] {
        manager.create_index(index(name, columns)).await?;
    }
    // Both are rare, and looked for.
    for (name, column, value) in [
        ("logs_errors", "status", 1),
        ("logs_pending", "billing_status", 2),
    ] {
        let rare = index(name, &["platform_id", "created_at", "id"])
            .and_where(Expr::col(column).eq(Expr::Constant(value.into())))
            .take();
        manager.create_index(rare).await?;
    }
    Ok(())
}

async fn rollups(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let mut key = Index::create();
    let mut table = Table::create();
    table
        .table("log_rollups")
        .col(uuid("platform_id"))
        .col(small("level"))
        .col(big("start"))
        .col(string("model", 64))
        .col(string("provider", 64))
        .col(small("request_type"))
        .col(uuid("end_user_id"))
        .col(uuid("api_key_id"));
    for column in [
        "platform_id",
        "level",
        "start",
        "model",
        "provider",
        "request_type",
        "end_user_id",
        "api_key_id",
    ] {
        key.col(column);
    }
    for column in [
        "requests",
        "row_count",
        "errors",
        "billed",
        "pending",
        "tool_calls",
        "prompt_tokens",
        "completion_tokens",
        "cost_usd",
    ] {
        table.col(big_zero(column));
    }
    table.primary_key(&mut key);
    if manager.get_database_backend() == DbBackend::Sqlite {
        // Read in the order of the key, and by nothing else.
        table.extra("WITHOUT ROWID");
    }
    manager.create_table(table).await
}

fn index(name: &'static str, columns: &[&'static str]) -> IndexCreateStatement {
    let mut index = Index::create();
    index.name(name).table("logs");
    for column in columns {
        index.col(*column);
    }
    index
}
