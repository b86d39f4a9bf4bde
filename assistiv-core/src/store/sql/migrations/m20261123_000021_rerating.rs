//! Re-ratings, and what they gave back charge by charge.

use sea_orm::sea_query::{Index, Table};
use sea_orm_migration::{DbErr, MigrationName, MigrationTrait, SchemaManager, async_trait};

use super::{append_only, big, big_or_null, string_or_null, text_or_null, uuid, uuid_or_null};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m20261123_000021_rerating"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let reratings = Table::create()
            .table("billing_reratings")
            .col(uuid("id").primary_key())
            .col(big("from_time"))
            .col(big("to_time"))
            .col(uuid_or_null("platform_id"))
            .col(string_or_null("provider", 64))
            .col(string_or_null("provider_model_id", 255))
            .col(string_or_null("reason", 500))
            .col(string_or_null("idempotency_key", 255))
            .col(string_or_null("request_hash", 64))
            .col(text_or_null("report"))
            .col(big("created_at"))
            .col(big_or_null("finished_at"))
            .take();
        manager.create_table(reratings).await?;
        let rerated = Table::create()
            .table("billing_rerated")
            .col(uuid("charge"))
            .col(big("account_id"))
            .col(uuid("rerate_id"))
            .col(big("usd"))
            .primary_key(
                Index::create()
                    .col("charge")
                    .col("account_id")
                    .col("rerate_id"),
            )
            .take();
        manager.create_table(rerated).await?;
        append_only(manager, "billing_rerated").await
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}
