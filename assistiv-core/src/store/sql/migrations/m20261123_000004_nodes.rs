//! Messages between nodes, and what reconciliation has seen.

use async_trait::async_trait;
use sea_orm::DbErr;
use sea_orm::sea_query::{Index, Query, Table};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};

use super::{big, big_or_null, big_zero, identity, small, text_or_null};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m20261123_000004_nodes"
    }
}

#[async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        control(manager).await?;
        recon(manager).await?;
        recon_marks(manager).await
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}

async fn control(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let table = Table::create()
        .table("billing_control")
        .col(identity("seq"))
        .col(big("account_id"))
        .col(small("op"))
        .col(big("created_at"))
        .take();
    manager.create_table(table).await?;
    // Every node asks for the latest messages once a second.
    let by_age = Index::create()
        .name("billing_control_created")
        .table("billing_control")
        .col("created_at")
        .take();
    manager.create_index(by_age).await
}

async fn recon(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let table = Table::create()
        .table("billing_recon")
        .col(identity("id"))
        .col(small("kind"))
        .col(big("started_at"))
        .col(big_or_null("finished_at"))
        .col(big_zero("accounts"))
        .col(big_zero("mismatches"))
        .col(text_or_null("details"))
        .take();
    manager.create_table(table).await
}

/// Sums of the entries up to a checkpoint, and the one row that says where it lies and who is at it.
async fn recon_marks(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let marks = Table::create()
        .table("billing_recon_marks")
        .col(big("account_id").primary_key())
        .col(big("rem_usd"))
        .col(big("rem_tokens"))
        .col(big("rem_display"))
        .col(big("lim_usd"))
        .col(big("lim_tokens"))
        .col(big("lim_display"))
        .take();
    manager.create_table(marks).await?;
    let runner = Table::create()
        .table("billing_recon_runner")
        .col(big("id").primary_key())
        .col(big_zero("ledger_id"))
        .col(big_zero("busy_until"))
        .take();
    manager.create_table(runner).await?;
    let only = Query::insert()
        .into_table("billing_recon_runner")
        .columns(["id", "ledger_id", "busy_until"])
        .values_panic([1.into(), 0.into(), 0.into()])
        .take();
    manager.execute(only).await
}
