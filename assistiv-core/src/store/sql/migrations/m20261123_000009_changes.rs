//! What was changed lately, for nodes that keep copies.

use sea_orm::sea_query::{Index, Table};
use sea_orm_migration::{DbErr, MigrationName, MigrationTrait, SchemaManager, async_trait};

use super::{big, identity, small, uuid};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m20261123_000009_changes"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::create()
            .table("changes")
            .col(identity("seq"))
            .col(uuid("platform_id"))
            .col(small("what"))
            .col(big("created_at"))
            .take();
        manager.create_table(table).await?;
        // Every node asks for the latest ones all the time.
        let by_age = Index::create()
            .name("changes_created")
            .table("changes")
            .col("created_at")
            .take();
        manager.create_index(by_age).await
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}
