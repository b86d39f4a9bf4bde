//! Webhooks, their deliveries, and which events were fanned out.

use async_trait::async_trait;
use sea_orm::DbErr;
use sea_orm::sea_query::{ColumnDef, ForeignKey, ForeignKeyAction, Index, Table};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};

use super::{
    big, big_or_null, big_zero, bytes, flag, small_zero, string, string_or_null, text,
    text_or_null, uuid,
};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m20261123_000070_webhooks"
    }
}

#[async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        webhooks(manager).await?;
        deliveries(manager).await?;
        fanned_out(manager).await
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}

async fn webhooks(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let table = Table::create()
        .table("webhooks")
        .col(uuid("id").primary_key())
        .col(uuid("platform_id"))
        .col(text("url"))
        .col(string_or_null("description", 255))
        .col(text("event_types"))
        .col(flag("is_active"))
        .col(string_or_null("disabled_reason", 32))
        .col(bytes("secret"))
        .col(ColumnDef::new("old_secret").blob().null().take())
        .col(big_or_null("old_secret_until"))
        .col(big_or_null("failing_since"))
        .col(big("created_at"))
        .col(big("updated_at"))
        .foreign_key(
            ForeignKey::create()
                .name("webhooks_platform_id")
                .from("webhooks", "platform_id")
                .to("platforms", "id")
                .on_delete(ForeignKeyAction::Cascade),
        )
        .take();
    manager.create_table(table).await?;
    index(manager, "webhooks_platform", "webhooks", &["platform_id"]).await
}

/// `due_at` is null for what is not on its way any more.
async fn deliveries(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let table = Table::create()
        .table("webhook_deliveries")
        .col(uuid("id").primary_key())
        .col(uuid("platform_id"))
        .col(uuid("webhook_id"))
        .col(string("event_id", 80))
        .col(text("payload"))
        .col(small_zero("status"))
        .col(ColumnDef::new("response_status").integer().null().take())
        .col(text_or_null("error"))
        .col(big_zero("attempt"))
        .col(big_zero("claim"))
        .col(big_or_null("due_at"))
        .col(big("created_at"))
        .foreign_key(
            ForeignKey::create()
                .name("webhook_deliveries_webhook_id")
                .from("webhook_deliveries", "webhook_id")
                .to("webhooks", "id")
                .on_delete(ForeignKeyAction::Cascade),
        )
        .take();
    manager.create_table(table).await?;
    for (name, columns) in [
        ("webhook_deliveries_due", &["due_at", "webhook_id"][..]),
        (
            "webhook_deliveries_of_webhook",
            &["webhook_id", "created_at", "id"],
        ),
        ("webhook_deliveries_age", &["created_at"]),
    ] {
        index(manager, name, "webhook_deliveries", columns).await?;
    }
    Ok(())
}

/// A node of an older version does not name the column: what it tells is new.
async fn fanned_out(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let table = Table::alter()
        .table("billing_outbox")
        .add_column(flag("fanned_out").default(false).take())
        .take();
    manager.alter_table(table).await?;
    let columns = ["fanned_out", "created_at"];
    index(manager, "billing_outbox_new", "billing_outbox", &columns).await
}

async fn index(
    manager: &SchemaManager<'_>,
    name: &'static str,
    table: &'static str,
    columns: &[&'static str],
) -> Result<(), DbErr> {
    let mut index = Index::create().name(name).table(table).take();
    for column in columns {
        index.col(*column);
    }
    manager.create_index(index).await
}
