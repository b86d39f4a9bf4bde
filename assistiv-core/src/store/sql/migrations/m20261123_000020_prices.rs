//! Versions of prices that operators add.

use sea_orm::sea_query::Table;
use sea_orm_migration::{DbErr, MigrationName, MigrationTrait, SchemaManager, async_trait};

use super::{append_only, big, identity, string, string_or_null, text, text_or_null, uuid};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m20261123_000020_prices"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // All are read, and kept in memory: no index but that of the order in which they were added.
        let table = Table::create()
            .table("prices")
            .col(identity("seq"))
            .col(uuid("id").unique_key())
            .col(string("provider", 64))
            .col(string("provider_model_id", 255))
            .col(string("service_tier", 64))
            .col(big("effective_from"))
            .col(big("per_call"))
            .col(text("rates"))
            .col(text_or_null("long_context"))
            .col(string_or_null("note", 500))
            .col(big("created_at"))
            .take();
        manager.create_table(table).await?;
        append_only(manager, "prices").await
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}
