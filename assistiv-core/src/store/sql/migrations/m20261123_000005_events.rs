//! Events, and the thresholds that cause some of them.

use async_trait::async_trait;
use sea_orm::sea_query::{Index, Table};
use sea_orm::{ConnectionTrait, DbErr};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};

use super::{big, big_or_null, big_zero, string, text, uuid};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m20261123_000005_events"
    }
}

#[async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        outbox(manager).await?;
        thresholds(manager).await
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}

async fn outbox(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let table = Table::create()
        .table("billing_outbox")
        .col(string("event_id", 80).primary_key())
        .col(uuid("platform_id"))
        .col(string("type", 64))
        .col(text("payload"))
        .col(big("created_at"))
        .take();
    manager.create_table(table).await?;
    let in_order = Index::create()
        .name("billing_outbox_order")
        .table("billing_outbox")
        .col("created_at")
        .col("event_id")
        .take();
    manager.create_index(in_order).await
}

/// The account says what its thresholds are: they are checked where wallets and budgets are not read.
async fn thresholds(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    for column in [
        big_or_null("low_usd"),
        big_or_null("low_tokens"),
        big_zero("low_after"),
    ] {
        let table = Table::alter()
            .table("billing_accounts")
            .add_column(column)
            .take();
        manager.alter_table(table).await?;
    }
    // Accounts of before are armed, and what was debited before is not told any more.
    for statement in [
        "UPDATE billing_accounts SET armed = 3,
            low_after = (SELECT COALESCE(MAX(id), 0) FROM billing_ledger)",
        "UPDATE billing_accounts SET low_usd = (
            SELECT low_balance_threshold FROM wallets WHERE account_id = billing_accounts.id)
         WHERE kind = 1",
        "UPDATE billing_accounts SET
            low_usd = (SELECT threshold_usd FROM budgets
                WHERE account_id = billing_accounts.id AND max_usd IS NOT NULL),
            low_tokens = (SELECT threshold_tokens FROM budgets
                WHERE account_id = billing_accounts.id AND max_tokens IS NOT NULL)
         WHERE kind = 2",
    ] {
        manager
            .get_connection()
            .execute_unprepared(statement)
            .await?;
    }
    Ok(())
}
